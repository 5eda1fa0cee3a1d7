// SPDX-License-Identifier: MIT
// The client side of the control socket. One connection a call; an answer is at most what the
// server may ever send one client.
#include "cli/client.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "cli/output.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct Connection {
        int fd;
        Buf in;
} Connection;

static const char *user_name(void)
{
        const struct passwd *pw = getpwuid(geteuid());
        return pw ? pw->pw_name : "this user";
}

ExitStatus client_explain_connect(const Context *c, const char *name, int error)
{
        const char *dir = c->runtime_dir;
        if (c->quiet)
                return STATUS_NOT_RUNNING;
        switch (error) {
        case ENOENT:
        case ENOTDIR:
                (void)fprintf(stderr,
                        "belfry: belfryd is not running (no %s/%s): systemctl start belfry\n", dir,
                        name);
                return STATUS_NOT_RUNNING;
        case ECONNREFUSED:
                (void)fprintf(stderr,
                        "belfry: belfryd is not running (nobody listens on %s/%s): systemctl start "
                        "belfry\n",
                        dir, name);
                return STATUS_NOT_RUNNING;
        case EACCES:
        case EPERM:
                (void)fprintf(stderr,
                        "belfry: %s may not open %s/%s: try sudo, or join the group that may: "
                        "adduser %s belfry\n",
                        user_name(), dir, name, user_name());
                return STATUS_NOT_PERMITTED;
        default:
                (void)fprintf(stderr, "belfry: cannot reach belfryd at %s/%s: %s\n", dir, name,
                        strerror(error));
                return STATUS_FAILED;
        }
}

// Long directories do not fit sun_path: through a descriptor of the directory.
static int connect_to(int fd, const char *dir, const char *name)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        _cleanup_(closep) int at = -1;
        int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", dir, name);
        if (n >= (int)sizeof(a.sun_path)) {
                at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (at < 0)
                        return -errno;
                (void)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", at, name);
        }
        return connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
}

int client_connect(const Context *c, const char *name, uint64_t wait_usec, int *ret_fd)
{
        _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        struct timeval wait = {.tv_sec = (time_t)(wait_usec / USEC_PER_SEC),
                .tv_usec = (suseconds_t)(wait_usec % USEC_PER_SEC)};
        if (wait_usec) {
                (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
                (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
        }
        int r = connect_to(fd, c->runtime_dir, name);
        if (r >= 0)
                *ret_fd = TAKE_FD(fd);
        return r;
}

static ExitStatus connection_open(Connection *n, Context *c, unsigned wait_sec)
{
        *n = (Connection){.fd = -1, .in = BUF_INIT(2 * (size_t)LIMIT_CONTROL_CLIENT)};
        int r = client_connect(c, "control", wait_sec * USEC_PER_SEC, &n->fd);
        return r < 0 ? client_explain_connect(c, "control", -r) : STATUS_OK;
}

static void connection_close(Connection *n)
{
        closep(&n->fd);
        buf_deinit(&n->in);
}

static ExitStatus connection_send(Connection *n, const char *method, json_t *parameters, bool more)
{
        _cleanup_(buf_deinitp) Buf name = BUF_INIT(256);
        buf_addf(&name, "io.belfry.Control.%s", method);
        json_t *request = json_pack("{s:s, s:o}", "method", buf_text(&name), "parameters",
                parameters ? parameters : json_object());
        if (more)
                (void)json_object_set_new(request, "more", json_true());
        _cleanup_(freep) char *text = json_dumps(request, JSON_COMPACT);
        json_decref(request);
        if (!text) {
                (void)fprintf(stderr, "belfry: the request cannot be written as JSON (an argument "
                                      "is not UTF-8?)\n");
                return STATUS_USAGE;
        }
        // MSG_NOSIGNAL: a daemon that goes away now is told below, not by a signal.
        size_t len = strlen(text) + 1, at = 0;
        while (at < len) {
                ssize_t sent = send(n->fd, text + at, len - at, MSG_NOSIGNAL);
                if (sent < 0 && errno != EINTR)
                        break; // perhaps it said why before it closed: read
                at += sent > 0 ? (size_t)sent : 0;
        }
        return STATUS_OK;
}

static ExitStatus connection_receive(const Context *c, Connection *n, json_t **ret)
{
        const char *end;
        while (!(end = n->in.len ? memchr(n->in.data, 0, n->in.len) : NULL)) {
                enum { CHUNK = 65536 };
                uint8_t *room = buf_grow(&n->in, CHUNK);
                ssize_t got = room ? recv(n->fd, room, CHUNK, 0) : -1;
                int error = room ? errno : ENOMEM;
                if (room)
                        n->in.len -= CHUNK - (got > 0 ? (size_t)got : 0);
                if (got > 0 || (got < 0 && error == EINTR))
                        continue;
                if (c->quiet)
                        return STATUS_FAILED;
                if (got < 0 && (error == EAGAIN || error == EWOULDBLOCK))
                        (void)fprintf(stderr,
                                "belfry: belfryd does not answer (is it stopped or very busy?)\n");
                else
                        (void)fprintf(stderr, "belfry: belfryd ended the connection%s%s\n",
                                got < 0 ? ": " : "", got < 0 ? strerror(error) : "");
                return STATUS_FAILED;
        }
        json_error_t error;
        size_t len = (size_t)(end - (const char *)n->in.data);
        *ret = json_loadb((const char *)n->in.data, len, JSON_REJECT_DUPLICATES, &error);
        buf_consume(&n->in, len + 1);
        if (!json_is_object(*ret)) {
                json_decref(*ret);
                (void)fprintf(stderr, "belfry: belfryd's answer makes no sense: %s\n", error.text);
                return STATUS_FAILED;
        }
        return STATUS_OK;
}

static ExitStatus explain_error(const Context *c, const json_t *answer)
{
        if (c->quiet)
                return STATUS_FAILED;
        const char *error = json_string_value(json_object_get(answer, "error"));
        const json_t *p = json_object_get(answer, "parameters");
        const char *message = json_string_value(json_object_get(p, "message"));
        print_diagnostics(stderr, json_object_get(p, "diagnostics"));
        const char *dot = strrchr(error, '.'), *word = dot ? dot + 1 : error;
        if (strcmp(word, "NotPermitted") == 0 && json_object_get(p, "role")) {
                const char *role = json_string_value(json_object_get(p, "role"));
                const char *line = json_string_value(json_object_get(p, "line"));
                // The daemon knows only our number; the name reads better.
                _cleanup_(buf_deinitp) Buf number = BUF_INIT(64), with_name = BUF_INIT(4096);
                buf_addf(&number, "\"%u\" ]", geteuid());
                const char *at = line ? strstr(line, buf_text(&number)) : NULL;
                if (at)
                        buf_addf(&with_name, "%.*s\"%s\"%s", (int)(at - line), line, user_name(),
                                at + strcspn(at, " "));
                (void)fprintf(stderr,
                        "belfry: %s does not have the role \"%s\". To give it, put into the "
                        "configuration, then reload:\n    %s\n",
                        user_name(), role ? role : "?",
                        at     ? buf_text(&with_name)
                        : line ? line
                               : "");
                return STATUS_NOT_PERMITTED;
        }
        if (message)
                print_error(message);
        else
                (void)fprintf(stderr, "belfry: belfryd says %s (%s)\n", word,
                        "is the daemon of another version? belfry --version, belfryd --version");
        return STATUS_FAILED;
}

ExitStatus client_call(
        Context *c, const char *method, json_t *parameters, unsigned wait_sec, json_t **ret)
{
        Connection n;
        json_t *answer = NULL;
        ExitStatus r = connection_open(&n, c, wait_sec);
        if (r == STATUS_OK)
                r = connection_send(&n, method, parameters, false);
        else
                json_decref(parameters);
        if (r == STATUS_OK)
                r = connection_receive(c, &n, &answer);
        connection_close(&n);
        if (r != STATUS_OK)
                return r;
        if (json_is_string(json_object_get(answer, "error"))) {
                r = explain_error(c, answer);
        } else {
                json_t *p = json_object_get(answer, "parameters");
                *ret = p ? json_incref(p) : json_object();
        }
        json_decref(answer);
        return r;
}

ExitStatus client_stream(
        Context *c, const char *method, json_t *parameters, ClientEach each, void *userdata)
{
        Connection n;
        bool last = false;
        ExitStatus r = connection_open(&n, c, 0);
        if (r == STATUS_OK)
                r = connection_send(&n, method, parameters, true);
        else
                json_decref(parameters);
        while (r == STATUS_OK && !last) {
                json_t *answer = NULL;
                r = connection_receive(c, &n, &answer);
                if (r != STATUS_OK)
                        break;
                last = !json_is_true(json_object_get(answer, "continues"));
                if (json_is_string(json_object_get(answer, "error")))
                        r = explain_error(c, answer);
                else
                        r = each(c, json_object_get(answer, "parameters"), last, userdata);
                json_decref(answer);
        }
        connection_close(&n);
        return r;
}

json_t *client_try(Context *c, const char *method)
{
        json_t *answer = NULL;
        c->quiet = true;
        ExitStatus r = client_call(c, method, NULL, 2, &answer);
        c->quiet = false;
        return r == STATUS_OK ? answer : NULL;
}
