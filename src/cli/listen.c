// SPDX-License-Identifier: MIT
// listen: a real receiver of webhooks for trying, for demonstrations and for tests. HTTP/1.1 and TLS
// are libmicrohttpd's (a server is no place for a parser of our own); its epoll descriptor is one
// source of our loop. An answer that is to be late is a suspended connection in a queue in order of
// time. Output is flushed once a turn, so that a burst is not a write a line.
#include "cli/listen.h"

#include "base/clock.h"
#include "base/file.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <systemd/sd-event.h>

enum { IDLE_SEC = 120, HEADER_BYTES_MAX = 64 * 1024, PEM_MAX = 1 << 20, BACKLOG = 1024 };

typedef struct Request {
        struct Listener *listener;
        struct MHD_Connection *connection;
        Buf body;
        bool shown, too_large;
        unsigned status;
        uint64_t due; // CLOCK_BOOTTIME, when it waits
        bool waits;
        TAILQ_ENTRY(Request) entry;
} Request;

typedef struct Listener {
        Context *context;
        Reporter *reporter;
        sd_event *event;
        struct MHD_Daemon *daemon;
        struct MHD_Response *answer;
        sd_event_source *epoll, *timer, *release;
        TAILQ_HEAD(Waiting, Request) waiting;
        uint64_t delay_usec, fail, count, status;
        uint64_t received, completed;
        bool stopping;
} Listener;

// ---- one request

static Slice header(struct MHD_Connection *c, const char *name, bool *ret_has)
{
        const char *v = MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
        if (ret_has)
                *ret_has = v != NULL;
        return slice_of(v);
}

static void request_show(Listener *l, Request *q, const char *method, const char *path)
{
        struct MHD_Connection *c = q->connection;
        q->shown = true;
        l->received++;
        q->status = q->too_large             ? MHD_HTTP_CONTENT_TOO_LARGE
                    : l->received <= l->fail ? MHD_HTTP_INTERNAL_SERVER_ERROR
                                             : (unsigned)l->status;
        Received r = {.method = slice_of(method),
                .path = slice_of(path),
                .body = buf_slice(&q->body),
                .status = q->status,
                .too_large = q->too_large};
        r.id = header(c, "webhook-id", &r.has_id);
        r.signature = header(c, "webhook-signature", &r.has_signature);
        r.timestamp = header(c, "webhook-timestamp", NULL);
        r.ce_type = header(c, "ce-type", NULL);
        r.ce_subject = header(c, "ce-subject", NULL);
        r.content_type = header(c, "content-type", NULL);
        reporter_show(l->reporter, &r);
}

static enum MHD_Result request_answer(Listener *l, Request *q)
{
        return MHD_queue_response(q->connection, q->status, l->answer);
}

static void request_wait(Listener *l, Request *q)
{
        q->waits = true;
        q->due = clock_boot_usec() + l->delay_usec;
        TAILQ_INSERT_TAIL(&l->waiting, q, entry); // one delay for all: in order of time
        MHD_suspend_connection(q->connection);
        if (TAILQ_FIRST(&l->waiting) == q) {
                (void)sd_event_source_set_time(l->release, q->due);
                (void)sd_event_source_set_enabled(l->release, SD_EVENT_ONESHOT);
        }
}

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *c, const char *url,
        const char *method, const char *version, const char *data, size_t *len, void **state)
{
        Listener *l = userdata;
        Request *q = *state;
        if (!q) {
                if (l->stopping)
                        return MHD_NO;
                q = calloc(1, sizeof(*q));
                if (!q)
                        return MHD_NO;
                *q = (Request){.listener = l, .connection = c, .body = BUF_INIT(BODY_MAX)};
                *state = q;
                return MHD_YES;
        }
        if (*len > 0) {
                if (!q->too_large)
                        buf_add(&q->body, data, *len);
                if (q->body.error) {
                        q->too_large = true;
                        buf_deinit(&q->body);
                }
                *len = 0;
                return MHD_YES;
        }
        if (!q->shown) {
                // Beyond the wanted number: not shown, not counted, the connection ends.
                if (l->count && l->received >= l->count)
                        return MHD_NO;
                request_show(l, q, method, url);
                if (l->delay_usec) {
                        request_wait(l, q);
                        return MHD_YES;
                }
        }
        return request_answer(l, q);
}

static void on_completed(
        void *userdata, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
        Listener *l = userdata;
        Request *q = *state;
        if (!q)
                return;
        *state = NULL;
        if (q->waits)
                TAILQ_REMOVE(&l->waiting, q, entry);
        if (q->shown)
                l->completed++;
        buf_deinit(&q->body);
        free(q);
        if (l->count && l->completed >= l->count && !l->stopping) {
                l->stopping = true;
                (void)sd_event_exit(l->event, 0);
        }
}

// ---- the loop

static void listener_turn(Listener *l)
{
        MHD_UNSIGNED_LONG_LONG wait_msec;
        (void)MHD_run(l->daemon);
        if (MHD_get_timeout(l->daemon, &wait_msec) == MHD_YES) {
                (void)sd_event_source_set_time_relative(l->timer, wait_msec * USEC_PER_MSEC);
                (void)sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT);
        } else {
                (void)sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
        }
        if (fflush(stdout) != 0)
                (void)sd_event_exit(l->event, 1);
}

static int on_epoll(sd_event_source *e, int fd, uint32_t events, void *userdata)
{
        listener_turn(userdata);
        return 0;
}

static int on_timer(sd_event_source *e, uint64_t usec, void *userdata)
{
        listener_turn(userdata);
        return 0;
}

static int on_release(sd_event_source *e, uint64_t usec, void *userdata)
{
        Listener *l = userdata;
        uint64_t now = clock_boot_usec();
        Request *q;
        while ((q = TAILQ_FIRST(&l->waiting)) && q->due <= now) {
                TAILQ_REMOVE(&l->waiting, q, entry);
                q->waits = false;
                MHD_resume_connection(q->connection);
        }
        if (q) {
                (void)sd_event_source_set_time(l->release, q->due);
                (void)sd_event_source_set_enabled(l->release, SD_EVENT_ONESHOT);
        }
        listener_turn(l);
        return 0;
}

static int listener_loop_init(Listener *l)
{
        sigset_t mask;
        (void)sigemptyset(&mask);
        (void)sigaddset(&mask, SIGTERM);
        (void)sigaddset(&mask, SIGINT);
        (void)sigprocmask(SIG_BLOCK, &mask, NULL);
        (void)signal(
                SIGPIPE, SIG_IGN); // a client that goes away; output is checked after each turn
        int r = sd_event_new(&l->event);
        if (r >= 0)
                r = sd_event_add_signal(l->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(l->event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_time(l->event, &l->timer, CLOCK_BOOTTIME, 0, 1, on_timer, l);
        if (r >= 0)
                r = sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(l->event, &l->release, CLOCK_BOOTTIME, 0, 1, on_release, l);
        return r >= 0 ? sd_event_source_set_enabled(l->release, SD_EVENT_OFF) : r;
}

// ---- start

static ExitStatus open_socket(
        const char *address, uint64_t port, int *ret_fd, char where[static 128])
{
        char service[16];
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                        *found = NULL;
        (void)snprintf(service, sizeof(service), "%llu", (unsigned long long)port);
        int e = getaddrinfo(address, service, &hints, &found);
        if (e != 0) {
                (void)fprintf(stderr, "belfry: --bind %s: %s\n", address, gai_strerror(e));
                return STATUS_FAILED;
        }
        int on = 1;
        _cleanup_(closep) int fd =
                socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0) {
                (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
                (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        }
        bool up = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 &&
                  listen(fd, BACKLOG) == 0;
        int error = errno;
        freeaddrinfo(found);
        if (!up) {
                (void)fprintf(stderr, "belfry: cannot listen on %s port %llu: %s\n", address,
                        (unsigned long long)port, strerror(error));
                return STATUS_FAILED;
        }
        struct sockaddr_storage a;
        socklen_t len = sizeof(a);
        char host[64] = "?";
        unsigned bound = 0;
        if (getsockname(fd, (struct sockaddr *)&a, &len) == 0 && a.ss_family == AF_INET6) {
                const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&a;
                char plain[INET6_ADDRSTRLEN];
                (void)snprintf(host, sizeof(host), "[%s]",
                        inet_ntop(AF_INET6, &six->sin6_addr, plain, sizeof(plain)));
                bound = ntohs(six->sin6_port);
        } else {
                const struct sockaddr_in *four = (const struct sockaddr_in *)&a;
                (void)inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host));
                bound = ntohs(four->sin_port);
        }
        (void)snprintf(where, 128, "%s:%u", host, bound);
        *ret_fd = TAKE_FD(fd);
        return STATUS_OK;
}

static ExitStatus read_pem(const char *option, const char *path, Buf *out)
{
        int r = file_read(AT_FDCWD, path, out);
        if (r >= 0)
                return STATUS_OK;
        (void)fprintf(stderr, "belfry: --%s %s: %s\n", option, path, strerror(-r));
        return STATUS_FAILED;
}

static ExitStatus write_certificate(const char *path, Slice pem)
{
        _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        int r = fd < 0 ? -errno : file_write_all(fd, pem.data, pem.len);
        if (r >= 0)
                return STATUS_OK;
        (void)fprintf(stderr, "belfry: --write-cert %s: %s\n", path, strerror(-r));
        return STATUS_FAILED;
}

static ExitStatus load_tls(const Context *c, const char *address, Buf *cert, Buf *key)
{
        const char *cert_path = option_value(c, "cert"), *key_path = option_value(c, "key"),
                   *write_to = option_value(c, "write-cert");
        if ((cert_path != NULL) != (key_path != NULL)) {
                (void)fprintf(stderr, "belfry: --cert and --key belong together\n");
                return STATUS_USAGE;
        }
        if (cert_path) {
                ExitStatus r = read_pem("cert", cert_path, cert);
                return r == STATUS_OK ? read_pem("key", key_path, key) : r;
        }
        int e = tls_make_certificate(address, cert, key);
        if (e < 0) {
                (void)fprintf(stderr, "belfry: cannot make a certificate: %s\n", strerror(-e));
                return STATUS_FAILED;
        }
        return write_to ? write_certificate(write_to, buf_slice(cert)) : STATUS_OK;
}

static void on_server_error(void *userdata, const char *format, va_list ap)
{
        // What clients do wrong shows as missing lines; for the rest there are return values.
}

static struct MHD_Daemon *start_server(Listener *l, int fd, bool tls, Buf *cert, Buf *key)
{
        unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                         (tls ? MHD_USE_TLS : 0);
        (void)buf_text(cert); // ends both texts
        (void)buf_text(key);
        static char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
        struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
        struct MHD_OptionItem secured[] = {
                {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)cert->data},
                {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key->data},
                {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)priorities},
                {MHD_OPTION_END, 0, NULL},
        };
        return MHD_start_daemon(flags, 0, NULL, NULL, on_request, l, MHD_OPTION_EXTERNAL_LOGGER,
                on_server_error, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED,
                on_completed, l, MHD_OPTION_CONNECTION_LIMIT, (unsigned)LISTEN_CONNECTIONS_MAX,
                MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SEC,
                MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES_MAX, MHD_OPTION_ARRAY,
                tls ? secured : none, MHD_OPTION_END);
}

static ExitStatus listener_start(Listener *l, bool tls, char where[static 128])
{
        const Context *c = l->context;
        const char *address = option_value(c, "bind");
        uint64_t port = 8080;
        _cleanup_(buf_deinitp) Buf cert = BUF_INIT(PEM_MAX), key = BUF_INIT(PEM_MAX);
        if (!address)
                address = "127.0.0.1";
        ExitStatus r = option_number(c, "port", 65535, &port);
        if (r == STATUS_OK && tls)
                r = load_tls(c, address, &cert, &key);
        int fd = -1;
        if (r == STATUS_OK)
                r = open_socket(address, port, &fd, where);
        if (r != STATUS_OK)
                return r;
        l->answer = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
        int e = listener_loop_init(l);
        if (e >= 0 && l->answer)
                l->daemon = start_server(l, fd, tls, &cert, &key);
        explicit_bzero(key.data, key.len);
        if (!l->daemon) {
                (void)close(fd); // with a daemon it is the daemon's
                (void)fprintf(stderr, "belfry: cannot start the server%s\n",
                        tls ? " (are the certificate and its key good PEM files that belong "
                              "together?)"
                            : "");
                return STATUS_FAILED;
        }
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (!info ||
                sd_event_add_io(l->event, &l->epoll, info->epoll_fd, EPOLLIN, on_epoll, l) < 0) {
                (void)fprintf(stderr, "belfry: cannot watch the server's sockets\n");
                return STATUS_FAILED;
        }
        return STATUS_OK;
}

static void listener_end(Listener *l)
{
        Request *q;
        while ((q = TAILQ_FIRST(&l->waiting))) {
                TAILQ_REMOVE(&l->waiting, q, entry);
                q->waits = false;
                MHD_resume_connection(
                        q->connection); // the daemon must not stop with suspended ones
        }
        l->stopping = true;
        sd_event_source_disable_unref(l->epoll);
        if (l->daemon)
                MHD_stop_daemon(l->daemon);
        if (l->answer)
                MHD_destroy_response(l->answer);
        sd_event_source_disable_unref(l->timer);
        sd_event_source_disable_unref(l->release);
        sd_event_unref(l->event);
        (void)reporter_free(l->reporter);
}

ExitStatus command_listen(Context *c)
{
        Listener l = {.context = c, .status = 200};
        char where[128] = "";
        bool tls = option_given(c, "tls") || option_given(c, "cert") || option_given(c, "key");
        TAILQ_INIT(&l.waiting);
        ExitStatus r = option_number(c, "status", 599, &l.status);
        if (r == STATUS_OK && (l.status < 200)) {
                (void)fprintf(stderr, "belfry: --status: an answer has a status from 200 to 599\n");
                r = STATUS_USAGE;
        }
        if (r == STATUS_OK)
                r = option_duration(c, "delay", &l.delay_usec);
        if (r == STATUS_OK)
                r = option_number(c, "fail", UINT32_MAX, &l.fail);
        if (r == STATUS_OK)
                r = option_number(c, "count", UINT32_MAX, &l.count);
        if (r == STATUS_OK)
                r = reporter_new(&l.reporter, c);
        struct rlimit files;
        if (r == STATUS_OK && getrlimit(RLIMIT_NOFILE, &files) == 0 &&
                files.rlim_cur < LISTEN_CONNECTIONS_MAX + 64) {
                files.rlim_cur = files.rlim_max < LISTEN_CONNECTIONS_MAX + 64
                                         ? files.rlim_max
                                         : LISTEN_CONNECTIONS_MAX + 64;
                (void)setrlimit(RLIMIT_NOFILE, &files);
        }
        if (r == STATUS_OK)
                r = listener_start(&l, tls, where);
        if (r == STATUS_OK) {
                static char buffer[1 << 16];
                (void)setvbuf(stdout, buffer, _IOFBF, sizeof(buffer)); // flushed each turn
                (void)fprintf(c->json ? stderr : stdout, "listening on %s://%s/\n",
                        tls ? "https" : "http", where);
                listener_turn(&l);
                int e = sd_event_loop(l.event);
                bool good = l.reporter && reporter_all_verified(l.reporter);
                r = e == 0 && good ? STATUS_OK : STATUS_FAILED;
        }
        listener_end(&l);
        (void)fflush(stdout);
        return r;
}
