// SPDX-License-Identifier: MIT
// The cheapest receiver there can be: raw epoll, keep-alive, a 200 without a body for each request.
// It finds the end of a request by Content-Length alone and looks at nothing else, so that a
// benchmark measures the sender. It sleeps only after some looks in vain: waking another processor
// costs the sender more than sending, and a receiver on another host would spare it that. Prints where it listens; on SIGUSR1, and on SIGTERM before it ends,
// how many requests it has seen.
// Usage: bench-receiver [PORT]

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
        FDS_MAX = 4096,
        BUFFER = 64 * 1024,
        SPINS = 1000, // looks for a request before it sleeps, about 300 us
};

typedef struct Client {
        char data[BUFFER];
        size_t len;  // bytes of the next request's head so far
        size_t skip; // bytes of a body still to come
} Client;

static Client *clients[FDS_MAX];
static unsigned long n_requests;

static size_t content_length(const char *head, const char *end)
{
        static const char name[] = "\ncontent-length:";

        for (const char *p = head; p + sizeof(name) < end; p++)
                if (*p == '\n' && strncasecmp(p, name, sizeof(name) - 1) == 0)
                        return strtoul(p + sizeof(name) - 1, NULL, 10);
        return 0;
}

// Answers every whole request in the buffer; false when the client is of no more use.
static int client_serve(int fd, Client *c)
{
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        char out[64 * (sizeof(answer) - 1)];
        size_t n_out = 0, at = 0;

        while (at < c->len && n_out + sizeof(answer) <= sizeof(out)) {
                if (c->skip > 0) {
                        size_t n = c->len - at < c->skip ? c->len - at : c->skip;
                        at += n;
                        c->skip -= n;
                        if (c->skip > 0)
                                break;
                } else {
                        char *end = memmem(c->data + at, c->len - at, "\r\n\r\n", 4);
                        if (!end)
                                break;
                        c->skip = content_length(c->data + at, end + 2);
                        at = (size_t)(end + 4 - c->data);
                        if (c->skip > 0)
                                continue;
                }
                memcpy(out + n_out, answer, sizeof(answer) - 1);
                n_out += sizeof(answer) - 1;
                n_requests++;
        }
        memmove(c->data, c->data + at, c->len - at);
        c->len -= at;
        return n_out == 0 || send(fd, out, n_out, MSG_NOSIGNAL) == (ssize_t)n_out;
}

static void client_read(int fd)
{
        Client *c = clients[fd];
        ssize_t n = recv(fd, c->data + c->len, sizeof(c->data) - c->len, MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
                return;
        if (n > 0) {
                c->len += (size_t)n;
                if (client_serve(fd, c))
                        return;
        }
        free(c);
        clients[fd] = NULL;
        (void)close(fd);
}

static void client_accept(int epoll_fd, int listener)
{
        int fd, one = 1;

        while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
                struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
                if (fd >= FDS_MAX || !(clients[fd] = calloc(1, sizeof(Client)))) {
                        (void)close(fd);
                        continue;
                }
                (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
        }
}

// False at the end.
static int signal_read(int fd)
{
        struct signalfd_siginfo info;

        if (read(fd, &info, sizeof(info)) != sizeof(info))
                return 0;
        printf("%lu requests\n", n_requests);
        (void)fflush(stdout);
        return info.ssi_signo == SIGUSR1;
}

static int add(int epoll_fd, int fd)
{
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

        return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

int main(int argc, char **argv)
{
        int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        struct sockaddr_in a = {.sin_family = AF_INET,
                .sin_port = htons(argc > 1 ? (uint16_t)atoi(argv[1]) : 0),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(a);
        struct epoll_event events[64];
        sigset_t signals;

        (void)sigemptyset(&signals);
        (void)sigaddset(&signals, SIGTERM);
        (void)sigaddset(&signals, SIGUSR1);
        int asked = signalfd(-1, &signals, SFD_CLOEXEC);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0 || asked < 0 || listener < 0 ||
                epoll_fd < 0 ||
                setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
                bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
                listen(listener, 1024) < 0 ||
                getsockname(listener, (struct sockaddr *)&a, &len) < 0 ||
                add(epoll_fd, listener) < 0 || add(epoll_fd, asked) < 0) {
                perror("bench-receiver");
                return 1;
        }
        printf("listening on 127.0.0.1:%u\n", ntohs(a.sin_port));
        (void)fflush(stdout);
        for (unsigned empty = 0;;) {
                int n = epoll_wait(epoll_fd, events, 64, empty < SPINS ? 0 : -1);
                empty = n > 0 ? 0 : empty + 1;
                for (int i = 0; i < n; i++) {
                        int fd = events[i].data.fd;
                        if (fd == listener)
                                client_accept(epoll_fd, listener);
                        else if (fd == asked && !signal_read(asked))
                                return 0;
                        else if (fd != asked && clients[fd])
                                client_read(fd);
                }
        }
}
