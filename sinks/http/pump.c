// SPDX-License-Identifier: MIT
// Driving libcurl. Two savings matter here, both measured: a timeout of zero is answered by running
// libcurl at once instead of going round through a timer, and a socket that libcurl loses interest
// in between two requests stays registered, since it will be wanted again a moment later.
//
// Invariants: sockets[fd].mask is what the kernel has for an fd that is `kept` (opened through
// pump_socket_opened, forgotten in pump_socket_close, so a number is never mistaken for its
// predecessor). Other descriptors, such as the resolver's, are registered and removed as told. An
// event on a socket nobody wants takes it out, else it would be reported for ever.

#include "pump.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"

enum {
        EVENTS_MAX = 64, // taken from the kernel at once
        TURNS_MAX = 64,  // immediate runs in one go; then the loop gets its turn
        TIMER_ACCURACY_USEC = 1000,
};

typedef struct Watched {
        uint32_t mask;   // registered with the kernel; 0 = not registered
        uint32_t wanted; // what libcurl asked for last
        bool kept;       // closed through pump_socket_close
} Watched;

struct Pump {
        sd_event *event;
        sd_event_source *io, *timer;
        CURLM *multi;
        int epoll_fd;
        Watched *sockets; // by descriptor
        size_t n_sockets;
        PumpDone done;
        void *userdata;
        uint64_t deadline; // monotonic; what libcurl wants
        uint64_t armed;    // what the time source has; never later than the deadline
        bool due;          // libcurl asked to be run at once
        bool running;
};

static void timer_arm(Pump *p)
{
        if (p->deadline >= p->armed)
                return; // rings too early once, then is set anew: cheaper than setting it often
        p->armed = p->deadline;
        (void)sd_event_source_set_time(p->timer, p->armed);
        (void)sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
}

static void drain(Pump *p)
{
        CURLMsg *m;
        int left;

        while ((m = curl_multi_info_read(p->multi, &left))) {
                if (m->msg != CURLMSG_DONE)
                        continue;
                CURL *easy = m->easy_handle; // m is gone after the removal
                CURLcode result = m->data.result;
                curl_multi_remove_handle(p->multi, easy);
                p->done(easy, result, p->userdata);
        }
}

// Runs libcurl until it no longer asks for it, and hands out what has ended.
static void run(Pump *p)
{
        int running;

        if (p->running)
                return; // an outer run goes on with it
        p->running = true;
        drain(p);
        for (int i = 0; p->due && i < TURNS_MAX; i++) {
                p->due = false;
                (void)curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
                drain(p);
        }
        p->running = false;
        if (p->due)
                p->deadline = 0;
        timer_arm(p);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        Pump *p = userdata;

        p->armed = USEC_INFINITY;
        if (clock_mono_usec() >= p->deadline) {
                p->deadline = USEC_INFINITY; // libcurl says anew
                p->due = true;
        }
        run(p);
        return 0;
}

static uint32_t epoll_mask(int what)
{
        return (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0u) |
               (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0u);
}

static void watch(Pump *p, int fd, uint32_t mask)
{
        Watched *w = &p->sockets[fd];
        struct epoll_event e = {.events = mask, .data.fd = fd};

        if (w->mask == mask)
                return;
        if (mask == 0)
                (void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        else if (epoll_ctl(p->epoll_fd, w->mask ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0 &&
                 epoll_ctl(p->epoll_fd, w->mask ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e) < 0)
                mask = 0; // the request then ends in its timeout
        w->mask = mask;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        Pump *p = userdata;
        struct epoll_event events[EVENTS_MAX];
        int running, n = epoll_wait(p->epoll_fd, events, EVENTS_MAX, 0);

        p->running = true;
        for (int i = 0; i < n; i++) {
                int socket = events[i].data.fd;
                uint32_t got = events[i].events;
                Watched *w = &p->sockets[socket];
                if (w->mask == 0)
                        continue; // closed or let go by an earlier event of this round
                if (w->wanted == 0) {
                        watch(p, socket, 0);
                        continue;
                }
                (void)curl_multi_socket_action(p->multi, socket,
                        (got & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                                (got & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                                (got & EPOLLERR ? CURL_CSELECT_ERR : 0),
                        &running);
        }
        p->running = false;
        run(p);
        return 0;
}

static int sockets_grow(Pump *p, int fd)
{
        size_t n = p->n_sockets ? p->n_sockets : 64;

        while (n <= (size_t)fd)
                n *= 2;
        if (n == p->n_sockets)
                return 0;
        Watched *grown = reallocarray(p->sockets, n, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        memset(grown + p->n_sockets, 0, (n - p->n_sockets) * sizeof(*grown));
        p->sockets = grown;
        p->n_sockets = n;
        return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_userdata)
{
        Pump *p = userdata;

        if (sockets_grow(p, fd) < 0)
                return -1;
        Watched *w = &p->sockets[fd];
        w->wanted = what == CURL_POLL_REMOVE ? 0 : epoll_mask(what);
        if (w->wanted != 0 || !w->kept)
                watch(p, fd, w->wanted);
        return 0;
}

static int on_curl_timer(CURLM *multi, long msec, void *userdata)
{
        Pump *p = userdata;

        p->due |= msec == 0; // whoever caused this call runs next
        p->deadline =
                msec <= 0 ? USEC_INFINITY : clock_mono_usec() + (uint64_t)msec * USEC_PER_MSEC;
        timer_arm(p);
        return 0;
}

int pump_socket_opened(Pump *p, int fd)
{
        int r = sockets_grow(p, fd);
        if (r == 0)
                p->sockets[fd] = (Watched){.kept = true};
        return r;
}

int pump_socket_close(void *pump, curl_socket_t fd)
{
        Pump *p = pump;

        p->sockets[fd] = (Watched){0}; // closing takes it out of the epoll set
        return close(fd);
}

int pump_add(Pump *p, CURL *easy)
{
        CURLMcode c = curl_multi_add_handle(p->multi, easy);

        if (c != CURLM_OK)
                return c == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO;
        p->due = true;
        run(p);
        return 0;
}

void pump_remove(Pump *p, CURL *easy)
{
        curl_multi_remove_handle(p->multi, easy);
        run(p);
}

Pump *pump_free(Pump *p)
{
        if (!p)
                return NULL;
        sd_event_source_disable_unref(p->io);
        sd_event_source_disable_unref(p->timer);
        curl_multi_cleanup(p->multi); // closes the idle connections, through pump_socket_close
        if (p->epoll_fd >= 0)
                (void)close(p->epoll_fd);
        free(p->sockets);
        sd_event_unref(p->event);
        free(p);
        return NULL;
}

int pump_new(Pump **ret, sd_event *event, unsigned max_idle, PumpDone done, void *userdata)
{
        _cleanup_(pump_freep) Pump *p = calloc(1, sizeof(*p));

        if (!p)
                return -ENOMEM;
        p->event = sd_event_ref(event);
        p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (p->epoll_fd < 0)
                return -errno;
        p->deadline = p->armed = USEC_INFINITY;
        p->done = done;
        p->userdata = userdata;
        p->multi = curl_multi_init();
        if (!p->multi ||
                curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
                curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p) != CURLM_OK ||
                curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer) != CURLM_OK ||
                curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p) != CURLM_OK ||
                curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)max_idle) != CURLM_OK)
                return -ENOMEM;
        int r = sd_event_add_io(event, &p->io, p->epoll_fd, EPOLLIN, on_io, p);
        if (r >= 0)
                r = sd_event_add_time(event, &p->timer, CLOCK_MONOTONIC, USEC_INFINITY,
                        TIMER_ACCURACY_USEC, on_timer, p);
        if (r >= 0)
                r = sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}
