// SPDX-License-Identifier: MIT
// What posting costs with libcurl and nothing else: the multi interface on a bare epoll loop, reused
// handles and connections, a body from memory, one Content-Type header or those that are given. The
// measure that the family is compared with.
// Usage: bench-bare-client URL COUNT IN_FLIGHT BODY_FILE [HEADER...]

#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { FDS_MAX = 4096 };

static CURLM *multi;
static int epoll_fd;
static uint32_t masks[FDS_MAX];
static long timeout_msec = -1;
static unsigned long n_left, n_running, n_failed;

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_userdata)
{
        uint32_t mask = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0u) |
                        (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0u);
        struct epoll_event e = {.events = mask, .data.fd = fd};

        if (fd >= FDS_MAX)
                return -1;
        if (what == CURL_POLL_REMOVE || masks[fd] == mask)
                return 0; // stays registered: the next request wants it again
        (void)epoll_ctl(epoll_fd, masks[fd] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
        masks[fd] = mask;
        return 0;
}

static int on_close(void *userdata, curl_socket_t fd)
{
        masks[fd] = 0;
        return close(fd);
}

static int on_timer(CURLM *m, long msec, void *userdata)
{
        timeout_msec = msec;
        return 0;
}

static size_t on_data(char *data, size_t size, size_t n, void *userdata)
{
        return size * n;
}

static void drain(void)
{
        CURLMsg *m;
        int left;

        while ((m = curl_multi_info_read(multi, &left))) {
                CURL *easy = m->easy_handle;
                long status = 0;
                (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
                n_failed += m->data.result != CURLE_OK || status / 100 != 2;
                curl_multi_remove_handle(multi, easy);
                if (n_left > 0) {
                        n_left--;
                        curl_multi_add_handle(multi, easy);
                } else
                        n_running--;
        }
}

static void run(void)
{
        struct epoll_event events[64];
        int running;

        while (n_running > 0) {
                while (timeout_msec == 0) {
                        timeout_msec = -1;
                        curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
                        drain();
                }
                if (n_running == 0)
                        return;
                int n = epoll_wait(epoll_fd, events, 64, (int)timeout_msec);
                if (n == 0)
                        timeout_msec = 0;
                for (int i = 0; i < n; i++)
                        curl_multi_socket_action(multi, events[i].data.fd,
                                (events[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                                        (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0),
                                &running);
                drain();
        }
}

static void start(CURLU *url, struct curl_slist *headers, const char *body, size_t n_body)
{
        CURL *e = curl_easy_init();

        if (!e)
                exit(1);
        curl_easy_setopt(e, CURLOPT_CURLU, url);
        curl_easy_setopt(e, CURLOPT_PROXY, "");
        curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)n_body);
        curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
        curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close);
        curl_multi_add_handle(multi, e);
        n_left--;
        n_running++;
}

static size_t read_body(const char *path, char *body, size_t size)
{
        FILE *f = fopen(path, "re");
        size_t n = f ? fread(body, 1, size, f) : 0;

        if (f)
                (void)fclose(f);
        return n;
}

int main(int argc, char **argv)
{
        static char body[64 * 1024];
        unsigned long count = argc > 4 ? strtoul(argv[2], NULL, 10) : 0;
        unsigned long in_flight = argc > 4 ? strtoul(argv[3], NULL, 10) : 0;
        size_t n_body = argc > 4 ? read_body(argv[4], body, sizeof(body)) : 0;
        struct timespec t0, t1;
        struct rusage u;

        if (count == 0 || in_flight == 0 || n_body == 0) {
                (void)fprintf(stderr,
                        "usage: bench-bare-client URL COUNT IN_FLIGHT BODY_FILE [HEADER...]\n");
                return 2;
        }
        CURLU *url = curl_url();
        curl_global_init(CURL_GLOBAL_DEFAULT);
        multi = curl_multi_init();
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (!url || !multi || epoll_fd < 0 ||
                curl_url_set(url, CURLUPART_URL, argv[1], 0) != CURLUE_OK)
                return 1;
        struct curl_slist *headers = NULL;
        for (int i = 5; i < argc; i++)
                headers = curl_slist_append(headers, argv[i]);
        if (!headers)
                headers = curl_slist_append(NULL, "Content-Type: application/json");
        curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)in_flight + 16);
        clock_gettime(CLOCK_MONOTONIC, &t0);
        n_left = count;
        for (unsigned long i = 0; i < in_flight && n_left > 0; i++)
                start(url, headers, body, n_body);
        run();
        clock_gettime(CLOCK_MONOTONIC, &t1);
        getrusage(RUSAGE_SELF, &u);
        double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                     (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
        double wall = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
        printf("%lu requests, %lu failed, %.0f a second, %.2f us of CPU each\n", count, n_failed,
                (double)count / wall, cpu / (double)count * 1e6);
        return n_failed > 0;
}
