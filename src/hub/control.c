// SPDX-License-Identifier: MIT
// The control server: one listening socket, a list of clients, and the turns each of them gets.
//
// A client is in one of these states, and client_arm() is the only place that maps a state to what
// the loop waits for:
//   reading    nothing to answer and no whole request: wait for input
//   ready      a whole request lies in `in`, all answers are written: a turn is due
//   working    a call is active: wait for its step's room, or for somebody to answer it
//   closing    `closes` or end of file: write what is left, then go
//   broken     to be freed in its own next turn, never under somebody's feet
// Steps of long calls take at most a quarter of the time, or a search through a large store would
// keep everything behind it in the loop's order waiting.
// Input is not read while a call is active, so a client cannot pile up requests here; the next
// request runs only when the answers before it are written, so it cannot pile up answers either.
#include "hub/control_internal.h"

#include "base/clock.h"
#include "base/limits.h"
#include "hub/socket_file.h"
#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
        READ_CHUNK = 64 * 1024,
        ACCEPTS_A_TURN = 8,
        KEEP_BYTES = 64 * 1024,
        STEP_LONG_USEC = 50 * 1000
};

static const char *first_nul(const Buf *in)
{
        return in->len ? memchr(in->data, 0, in->len) : NULL;
}

static Client *client_free(Client *c)
{
        control_call_end(&c->call);
        TAILQ_REMOVE(&c->control->clients, c, entry);
        c->control->n_clients--;
        sd_event_source_disable_unref(c->io);
        sd_event_source_disable_unref(c->turn);
        sd_event_source_disable_unref(c->pause);
        (void)close(c->fd);
        peer_deinit(&c->peer);
        buf_deinit(&c->in);
        buf_deinit(&c->out);
        free(c);
        return NULL;
}

static bool step_has_room(const Client *c)
{
        return c->call.active && c->call.step && c->out.len < LIMIT_CONTROL_CLIENT / 2;
}

static bool request_is_due(const Client *c)
{
        return !c->call.active && !c->closes && c->out.len == 0 && first_nul(&c->in);
}

static bool is_finished(const Client *c)
{
        return !c->call.active && c->out.len == 0 && (c->closes || (c->eof && !first_nul(&c->in)));
}

// Failure to arm leaves the client deaf: it is better dropped.
static void client_arm(Client *c)
{
        uint32_t mask = 0;
        if (c->out.len > 0)
                mask |= EPOLLOUT;
        if (!c->call.active && !c->eof && !c->closes && !first_nul(&c->in))
                mask |= EPOLLIN;
        bool step = step_has_room(c), later = step && clock_mono_usec() < c->step_after;
        bool turn = c->broken || (step && !later) || request_is_due(c) || is_finished(c);
        if (sd_event_source_set_io_events(c->io, mask) < 0)
                c->broken = turn = true;
        (void)sd_event_source_set_enabled(c->turn, turn ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        if (later && !turn) {
                (void)sd_event_source_set_time(c->pause, c->step_after);
                (void)sd_event_source_set_enabled(c->pause, SD_EVENT_ONESHOT);
        }
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata)
{
        control_wake(userdata);
        return 0;
}

void control_wake(Client *c)
{
        (void)sd_event_source_set_enabled(c->turn, SD_EVENT_ONESHOT);
}

static void client_write(Client *c)
{
        if (c->broken || c->out.len == 0)
                return;
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
                if (errno != EAGAIN && errno != EINTR)
                        c->broken = true;
                return;
        }
        buf_consume(&c->out, (size_t)n);
        if (c->out.len == 0)
                buf_shrink(&c->out, KEEP_BYTES);
}

static void client_read(Client *c)
{
        uint8_t *room = buf_grow(&c->in, READ_CHUNK);
        if (!room) {
                c->broken = true;
                return;
        }
        ssize_t n = recv(c->fd, room, READ_CHUNK, MSG_DONTWAIT);
        c->in.len -= READ_CHUNK - (n > 0 ? (size_t)n : 0);
        if (n == 0)
                c->eof = true;
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
                c->broken = true;
}

static void client_next_request(Client *c)
{
        const char *end = first_nul(&c->in);
        size_t len = end ? (size_t)(end - (const char *)c->in.data) : c->in.len;
        if (len > LIMIT_CONTROL_REQUEST) {
                c->closes = true;
                (void)control_fail(&c->call, "InvalidRequest", "a request is at most %u bytes",
                        LIMIT_CONTROL_REQUEST);
                return;
        }
        if (!end || !request_is_due(c))
                return;
        control_dispatch(c, (Slice){(const char *)c->in.data, len});
        buf_consume(&c->in, len + 1);
        if (c->in.len == 0)
                buf_shrink(&c->in, KEEP_BYTES);
}

static void client_step(Client *c)
{
        uint64_t began = clock_mono_usec();
        int r = c->call.step(&c->call, c->call.state);
        if (r < 0 && c->call.active)
                (void)control_fail(&c->call, "Failed", "%s", strerror(-r));
        uint64_t took = clock_mono_usec() - began;
        c->step_after = began + (took < STEP_LONG_USEC ? took : STEP_LONG_USEC) * 4;
}

static int on_turn(sd_event_source *source, void *userdata)
{
        Client *c = userdata;
        if (!c->broken) {
                client_write(c);
                if (step_has_room(c) && clock_mono_usec() >= c->step_after) {
                        client_step(c);
                } else {
                        client_next_request(c);
                }
                client_write(c);
        }
        if (c->broken || is_finished(c))
                client_free(c);
        else
                client_arm(c);
        return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Client *c = userdata;
        if (events & EPOLLIN)
                client_read(c);
        if (events & EPOLLOUT)
                client_write(c);
        // Closed altogether: nobody will read an answer. What it sent before leaving still runs.
        if ((events & EPOLLERR) || ((events & EPOLLHUP) && (c->call.active || c->eof)))
                c->broken = true;
        if (!c->broken && !first_nul(&c->in) && c->in.len > LIMIT_CONTROL_REQUEST)
                client_next_request(c); // refuses it
        client_arm(c);
        return 0;
}

static unsigned clients_of(const Control *s, uid_t uid)
{
        unsigned n = 0;
        const Client *c;
        TAILQ_FOREACH (c, &s->clients, entry)
                n += c->peer.uid == uid;
        return n;
}

// Takes fd even on failure.
static int client_new(Control *s, int fd)
{
        Client *c = calloc(1, sizeof(*c));
        if (!c) {
                (void)close(fd);
                return -ENOMEM;
        }
        *c = (Client){.control = s,
                .fd = fd,
                .in = BUF_INIT(LIMIT_CONTROL_REQUEST + READ_CHUNK + 1),
                // A refusal must fit behind answers that filled the client's share.
                .out = BUF_INIT(LIMIT_CONTROL_CLIENT + KEEP_BYTES)};
        c->call.client = c;
        TAILQ_INSERT_TAIL(&s->clients, c, entry);
        s->n_clients++;

        int r = peer_get(fd, &c->peer);
        if (r >= 0)
                r = sd_event_add_io(s->event, &c->io, fd, EPOLLIN, on_io, c);
        if (r >= 0)
                r = sd_event_source_set_priority(c->io, s->options.priority);
        if (r >= 0)
                r = sd_event_add_defer(s->event, &c->turn, on_turn, c);
        if (r >= 0)
                r = sd_event_source_set_priority(c->turn, s->options.priority);
        if (r >= 0)
                r = sd_event_source_set_enabled(c->turn, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(s->event, &c->pause, CLOCK_MONOTONIC, 0, 1, on_pause_over, c);
        if (r >= 0)
                r = sd_event_source_set_priority(c->pause, s->options.priority);
        if (r >= 0)
                r = sd_event_source_set_enabled(c->pause, SD_EVENT_OFF);
        if (r < 0) {
                client_free(c);
                return r;
        }
        // Over the limit it still hears why, then goes.
        if (s->n_clients > LIMIT_CONTROL_CLIENTS ||
                (c->peer.uid != 0 && clients_of(s, c->peer.uid) > LIMIT_CONTROL_CLIENTS / 2)) {
                c->closes = true;
                (void)control_fail(&c->call, "Busy", "too many connections (%u), try again later",
                        s->n_clients - 1);
        }
        return 0;
}

static int on_accept(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Control *s = userdata;
        // One that must be told "busy" counts until it is told; beyond a few of those, wait.
        for (int i = 0; i < ACCEPTS_A_TURN && s->n_clients < LIMIT_CONTROL_CLIENTS + ACCEPTS_A_TURN;
                i++) {
                int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (client < 0)
                        break; // nothing more; out of descriptors shows as a client that waits
                (void)client_new(s, client);
        }
        return 0;
}

int control_new(Control **ret, sd_event *event, const ControlOptions *o, Reason *reason)
{
        _cleanup_(control_freep) Control *s = calloc(1, sizeof(*s));
        if (!s)
                return reason_set(reason, -ENOMEM, "out of memory");
        TAILQ_INIT(&s->clients);
        s->fd = -1;
        s->options = *o;
        s->event = sd_event_ref(event);
        int r = socket_file_new(o->path, SOCK_STREAM, &s->fd);
        if (r >= 0)
                r = socket_file_open_to_group(o->path);
        if (r >= 0)
                r = listen(s->fd, (int)LIMIT_CONTROL_CLIENTS) < 0 ? -errno : 0;
        if (r == -EADDRINUSE)
                return reason_set(reason, r,
                        "another belfryd answers on %s; stop that one or give this one a runtime "
                        "directory of its own",
                        o->path);
        if (r < 0)
                return reason_errno(reason, r, "cannot listen on %s", o->path);
        s->path = strdup(o->path);
        if (!s->path)
                return reason_set(reason, -ENOMEM, "out of memory");
        r = sd_event_add_io(event, &s->accept, s->fd, EPOLLIN, on_accept, s);
        if (r >= 0)
                r = sd_event_source_set_priority(s->accept, o->priority);
        if (r < 0)
                return reason_errno(reason, r, "cannot watch %s", o->path);
        *ret = TAKE_PTR(s);
        return 0;
}

Control *control_free(Control *s)
{
        if (!s)
                return NULL;
        while (!TAILQ_EMPTY(&s->clients)) {
                client_write(TAILQ_FIRST(&s->clients)); // a last answer, if the socket takes it
                client_free(TAILQ_FIRST(&s->clients));
        }
        sd_event_source_disable_unref(s->accept);
        if (s->fd >= 0)
                (void)close(s->fd);
        if (s->path)
                (void)unlink(s->path);
        free(s->path);
        control_roles_deinit(&s->roles);
        sd_event_unref(s->event);
        free(s);
        return NULL;
}

int control_set_roles(Control *s, char *const *const lists[_CONTROL_ROLE_MAX], Buf *ret_unknown)
{
        ControlRoles made = {};
        int r = control_roles_init(&made, lists, ret_unknown);
        if (r < 0)
                return r;
        control_roles_deinit(&s->roles);
        s->roles = made;
        (void)control_roles_open(&s->roles, CONTROL_READ, s->path);
        return 0;
}

ControlCall *control_find(Control *s, uint64_t ticket)
{
        Client *c;
        TAILQ_FOREACH (c, &s->clients, entry)
                if (c->call.active && c->call.ticket == ticket && !c->broken)
                        return &c->call;
        return NULL;
}
