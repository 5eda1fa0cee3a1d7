// SPDX-License-Identifier: MIT
// belfry emit: hands events in at the socket of an app source and ends when each of them is durable or
// refused.
//
// Every line has a key of its own before it is sent, so a connection that breaks is made anew and
// what was not answered is sent again: the source takes it once. Lines are sent without waiting for
// answers, which come in their order; so many are kept here that wait for theirs. What is not
// answered within the timeout ends it.
#include "cli/emit_line.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "cli/client.h"
#include "cli/output.h"
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
        LINES_MAX = 256,             // not answered yet
        BYTES_MAX = 4 * 1024 * 1024, // of them; one may be longer
        LINE_MAX_BYTES = 16 * 1024 * 1024,
        CHUNK = 64 * 1024,
        ANSWER_MAX = 256 * 1024,
        AGAIN_MSEC = 100, // between two connections
};

typedef struct Line {
        uint64_t number; // of standard input, from 1; 0: of the command line
        size_t len;
        STAILQ_ENTRY(Line) link;
        char text[];
} Line;

typedef struct Emit {
        Context *c;
        EmitParts parts;
        EmitLine maker;
        bool whole; // each line of standard input is an event, not data
        Buf in;
        size_t scanned;
        bool eof, skips; // skips: the rest of a line that is too long
        uint64_t n_read;
        STAILQ_HEAD(, Line) lines; // not answered, oldest first
        size_t n_lines, bytes;
        Line *next; // the first that is not wholly sent; NULL: none
        size_t sent;
        int fd;
        bool connected; // once at least
        Buf answers;
        uint64_t timeout_usec, since_usec; // MONOTONIC: since then an answer is waited for
        uint64_t again_usec;               // no connection is made before
        bool refused;
        bool unsure;    // a connection broke and what was sent on it may have been taken
        Reason trouble; // why there is no answer, as far as it is known
} Emit;

// ---- lines in

static ExitStatus line_add(Emit *e, Slice text, uint64_t number)
{
        Line *l = malloc(sizeof(*l) + text.len);
        if (!l) {
                (void)fprintf(stderr, "belfry: out of memory\n");
                return STATUS_FAILED;
        }
        *l = (Line){.number = number, .len = text.len};
        memcpy(l->text, text.data, text.len);
        if (STAILQ_EMPTY(&e->lines))
                e->since_usec = clock_mono_usec();
        STAILQ_INSERT_TAIL(&e->lines, l, link);
        if (!e->next)
                e->next = l;
        e->n_lines++;
        e->bytes += l->len;
        return STATUS_OK;
}

static void line_drop(Emit *e)
{
        Line *l = STAILQ_FIRST(&e->lines);
        if (e->next == l) {
                e->next = STAILQ_NEXT(l, link);
                e->sent = 0;
        }
        STAILQ_REMOVE_HEAD(&e->lines, link);
        e->n_lines--;
        e->bytes -= l->len;
        e->since_usec = clock_mono_usec();
        e->trouble.text[0] = 0;
        free(l);
}

static void say_refused(Emit *e, uint64_t number, const char *why)
{
        e->refused = true;
        if (e->c->json) {
                json_t *o = json_pack("{s:s}", "error", why);
                if (o && number)
                        (void)json_object_set_new(o, "line", json_integer((json_int_t)number));
                print_json(o);
                json_decref(o);
                return;
        }
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(2 * REASON_MAX);
        if (number)
                buf_addf(&text, "line %llu: ", (unsigned long long)number);
        buf_add_str(&text, why);
        print_error(buf_text(&text));
}

static ExitStatus take_line(Emit *e, Slice text)
{
        Reason reason = {0};
        while (text.len > 0 && strchr(" \t\r", text.data[text.len - 1]))
                text.len--;
        if (text.len == 0)
                return STATUS_OK;
        int r = e->whole ? emit_line_whole(&e->maker, text, &reason)
                         : emit_line_data(&e->maker, &e->parts, text, &reason);
        if (r >= 0)
                return line_add(e, buf_slice(&e->maker.out), e->n_read);
        say_refused(e, e->n_read, reason.text);
        return r == -EINVAL ? STATUS_OK : STATUS_FAILED;
}

static ExitStatus take_lines(Emit *e)
{
        size_t at = 0;
        ExitStatus s = STATUS_OK;
        while (s == STATUS_OK && at < e->in.len) {
                const char *from = (const char *)e->in.data + at;
                size_t left = e->in.len - at, skip = e->scanned > at ? e->scanned - at : 0;
                const char *end = left > skip ? memchr(from + skip, '\n', left - skip) : NULL;
                if (!end && !e->eof)
                        break;
                size_t len = end ? (size_t)(end - from) : left;
                e->n_read++;
                if (!e->skips)
                        s = take_line(e, slice_mem(from, len));
                e->skips = false;
                at += len + (end ? 1 : 0);
        }
        buf_consume(&e->in, at);
        e->scanned = e->in.len;
        if (e->in.len > LINE_MAX_BYTES) {
                if (!e->skips)
                        say_refused(e, e->n_read + 1, "the line is longer than 16 MiB");
                e->skips = true;
                buf_shrink(&e->in, CHUNK);
                e->scanned = 0;
        }
        return s;
}

static ExitStatus read_input(Emit *e)
{
        uint8_t *room = buf_grow(&e->in, CHUNK);
        if (!room) {
                (void)fprintf(stderr, "belfry: out of memory\n");
                return STATUS_FAILED;
        }
        ssize_t n = read(STDIN_FILENO, room, CHUNK);
        int error = errno;
        e->in.len -= CHUNK - (n > 0 ? (size_t)n : 0);
        if (n < 0 && error != EINTR && error != EAGAIN) {
                (void)fprintf(stderr, "belfry: cannot read standard input: %s\n", strerror(error));
                return STATUS_FAILED;
        }
        if (n == 0)
                e->eof = true;
        return take_lines(e);
}

// ---- the connection

static void disconnect(Emit *e)
{
        e->unsure |= !e->trouble.text[0] && e->next != STAILQ_FIRST(&e->lines);
        closep(&e->fd);
        e->fd = -1;
        e->again_usec = clock_mono_usec() + AGAIN_MSEC * USEC_PER_MSEC;
        e->next = STAILQ_FIRST(&e->lines); // all that is not answered, again
        e->sent = 0;
        buf_reset(&e->answers);
}

// Not running, or running without a source that has the socket.
static ExitStatus explain_absent(Emit *e, int error)
{
        json_t *status = client_try(e->c, "Status");
        if (!status)
                return client_explain_connect(e->c, "events", error);
        json_decref(status);
        (void)fprintf(stderr,
                "belfry: belfryd takes no events: its configuration has no source for them. Put "
                "into it, then reload:\n    sources = { apps = { module = \"app\"; }; };\n");
        return STATUS_FAILED;
}

static ExitStatus explain_forbidden(void)
{
        const struct passwd *pw = getpwuid(geteuid());
        (void)fprintf(stderr,
                "belfry: %s may not hand in events. To allow it, put into the configuration, then "
                "reload:\n    control = { inject = [ \"%s\" ]; };\n",
                pw ? pw->pw_name : "this user", pw ? pw->pw_name : "NAME");
        return STATUS_NOT_PERMITTED;
}

// STATUS_OK with e->fd < 0: to be tried again.
static ExitStatus connect_again(Emit *e)
{
        if (clock_mono_usec() < e->again_usec)
                return STATUS_OK;
        int r = client_connect(e->c, "events", e->timeout_usec, &e->fd);
        if (r >= 0) {
                e->connected = true;
                return STATUS_OK;
        }
        if (r == -EACCES || r == -EPERM)
                return explain_forbidden();
        if (!e->connected)
                return r == -ENOENT || r == -ECONNREFUSED
                               ? explain_absent(e, -r)
                               : client_explain_connect(e->c, "events", -r);
        (void)reason_errno(&e->trouble, r, "cannot reach belfryd");
        e->again_usec = clock_mono_usec() + AGAIN_MSEC * USEC_PER_MSEC;
        return STATUS_OK;
}

static void write_lines(Emit *e)
{
        while (e->next) {
                ssize_t n = send(e->fd, e->next->text + e->sent, e->next->len - e->sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0) // what broke it is read next
                        return;
                e->sent += (size_t)n;
                if (e->sent == e->next->len) {
                        e->next = STAILQ_NEXT(e->next, link);
                        e->sent = 0;
                }
        }
}

// ---- answers

static ExitStatus take_answer(Emit *e, Slice text)
{
        json_t *answer = json_loadb(text.data, text.len, 0, NULL);
        const char *error = get_text(answer, "error"), *code = get_text(answer, "code");
        Line *l = STAILQ_FIRST(&e->lines);
        ExitStatus s = STATUS_OK;
        if (strcmp(code, "not-permitted") == 0) {
                s = explain_forbidden();
        } else if (*error && strcmp(code, "invalid") != 0 && strcmp(code, "too-long") != 0) {
                (void)reason_set(&e->trouble, 0, "%s", error); // it closes now; again later
        } else if (!l || (!*error && !*get_text(answer, "id"))) {
                (void)fprintf(stderr, "belfry: belfryd's answer makes no sense\n");
                s = STATUS_FAILED;
        } else if (*error) {
                say_refused(e, l->number, error);
                line_drop(e);
        } else {
                if (e->c->json)
                        print_json(answer);
                else
                        (void)puts(get_text(answer, "id"));
                line_drop(e);
        }
        json_decref(answer);
        return s;
}

static ExitStatus read_answers(Emit *e)
{
        uint8_t *room = buf_grow(&e->answers, CHUNK);
        ssize_t n = room ? recv(e->fd, room, CHUNK, MSG_DONTWAIT) : 0;
        int error = errno;
        if (room)
                e->answers.len -= CHUNK - (n > 0 ? (size_t)n : 0);
        if (n < 0 && (error == EAGAIN || error == EINTR))
                return STATUS_OK;
        size_t at = 0;
        ExitStatus s = STATUS_OK;
        const char *end;
        while (s == STATUS_OK && at < e->answers.len &&
                (end = memchr(e->answers.data + at, '\n', e->answers.len - at))) {
                const char *from = (const char *)e->answers.data + at;
                s = take_answer(e, slice_mem(from, (size_t)(end - from)));
                at += (size_t)(end - from) + 1;
        }
        buf_consume(&e->answers, at);
        if (n <= 0)
                disconnect(e);
        return s;
}

// ---- the whole

static ExitStatus say_timeout(const Emit *e)
{
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(4 * REASON_MAX);
        const char *trouble = e->trouble.text[0]
                                      ? e->trouble.text
                                      : "belfryd takes nothing at the moment, see belfry status";
        buf_addf(&text, "no answer in time (%s); ", trouble);
        bool unsure = e->unsure || (e->fd >= 0 && e->next != STAILQ_FIRST(&e->lines));
        if (e->n_lines > 1)
                buf_addf(&text, "%zu events were", e->n_lines);
        else
                buf_add_str(&text, "the event was");
        buf_add_str(&text, unsure ? " perhaps taken, perhaps not" : " not taken");
        if (unsure && e->parts.key)
                buf_add_str(&text, "; with the same --id it is safe to hand it in again");
        print_error(buf_text(&text));
        return STATUS_FAILED;
}

// Milliseconds until the timeout; -1: none.
static int time_left(const Emit *e)
{
        if (STAILQ_EMPTY(&e->lines) || e->timeout_usec == 0)
                return -1;
        uint64_t waited = clock_mono_usec() - e->since_usec;
        if (waited >= e->timeout_usec)
                return 0;
        uint64_t left = (e->timeout_usec - waited) / USEC_PER_MSEC + 1;
        return left < INT32_MAX ? (int)left : INT32_MAX;
}

static ExitStatus emit_wait(Emit *e)
{
        bool more = !e->eof && e->n_lines < LINES_MAX && e->bytes < BYTES_MAX;
        struct pollfd p[2] = {
                {.fd = more ? STDIN_FILENO : -1, .events = POLLIN},
                {.fd = e->fd, .events = (short)(POLLIN | (e->next ? POLLOUT : 0))},
        };
        int wait = time_left(e);
        if (wait == 0)
                return say_timeout(e);
        if (e->fd < 0 && !STAILQ_EMPTY(&e->lines))
                wait = wait < 0 || wait > AGAIN_MSEC ? AGAIN_MSEC : wait;
        (void)fflush(stdout);
        if (poll(p, 2, wait) < 0 && errno != EINTR) {
                (void)fprintf(stderr, "belfry: cannot wait: %s\n", strerror(errno));
                return STATUS_FAILED;
        }
        ExitStatus s = STATUS_OK;
        if (p[1].revents & POLLOUT)
                write_lines(e);
        if (p[1].revents & (POLLIN | POLLHUP | POLLERR))
                s = read_answers(e);
        if (s == STATUS_OK && p[0].revents)
                s = read_input(e);
        return s;
}

static ExitStatus emit_all(Emit *e)
{
        ExitStatus s = STATUS_OK;
        while (s == STATUS_OK && !(e->eof && STAILQ_EMPTY(&e->lines))) {
                if (e->fd < 0 && !STAILQ_EMPTY(&e->lines))
                        s = connect_again(e);
                if (s == STATUS_OK)
                        s = emit_wait(e);
        }
        return s == STATUS_OK && e->refused ? STATUS_FAILED : s;
}

// What the command line says; for a single event its line is made here.
static ExitStatus emit_begin(Emit *e)
{
        Context *c = e->c;
        const char *type = c->arguments[0], *data = c->n_arguments > 1 ? c->arguments[1] : "{}";
        e->whole = strcmp(type, "-") == 0;
        bool input = e->whole || strcmp(data, "-") == 0;
        e->parts = (EmitParts){.type = type,
                .subject = option_value(c, "subject"),
                .key = option_value(c, "id"),
                .time = option_value(c, "time")};
        ExitStatus s = option_duration(c, "timeout", &e->timeout_usec);
        if (s != STATUS_OK)
                return s;
        if ((e->whole && (c->n_arguments > 1 || e->parts.subject || e->parts.time)) ||
                (input && e->parts.key)) {
                (void)fprintf(stderr, e->whole ? "belfry: emit - takes whole events from standard "
                                                 "input: no data, --subject, --id or --time\n"
                                               : "belfry: --id is of one event, not of all lines "
                                                 "of standard input\n");
                return STATUS_USAGE;
        }
        if (input)
                return STATUS_OK;
        Reason reason = {0};
        e->eof = true;
        if (emit_line_data(&e->maker, &e->parts, slice_of(data), &reason) < 0) {
                print_error(reason.text);
                return STATUS_USAGE;
        }
        return line_add(e, buf_slice(&e->maker.out), 0);
}

ExitStatus command_emit(Context *c)
{
        Emit e = {.c = c,
                .fd = -1,
                .timeout_usec = 30 * USEC_PER_SEC,
                .in = BUF_INIT(LINE_MAX_BYTES + 2 * (size_t)CHUNK),
                .answers = BUF_INIT(ANSWER_MAX + (size_t)CHUNK)};
        STAILQ_INIT(&e.lines);
        emit_line_init(&e.maker, 2 * (size_t)LINE_MAX_BYTES);
        ExitStatus s = emit_begin(&e);
        if (s == STATUS_OK)
                s = emit_all(&e);
        while (!STAILQ_EMPTY(&e.lines))
                line_drop(&e);
        closep(&e.fd);
        emit_line_deinit(&e.maker);
        buf_deinit(&e.in);
        buf_deinit(&e.answers);
        return s;
}

void help_emit(Context *c)
{
        (void)c;
        (void)puts("\nThe id of each event is printed once it is on the disk.\n"
                   "JSON is the event's data, one object; - reads data from standard input, one "
                   "object a line.\n"
                   "Without a type, - reads whole events, such as {\"type\":\"backup.done\"}.\n"
                   "See belfry-app(5).");
}
