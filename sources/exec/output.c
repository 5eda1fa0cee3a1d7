// SPDX-License-Identifier: MIT
// What the program prints. Standard output becomes lines, taken one after the other while the hub takes
// events and the program is within its rate; else nothing is read and the program waits. A few hundred
// lines make a turn, so that signals and the hub have theirs. Standard error is always read: its lines go
// to the log, at a rate, the rest is counted.
#include "exec.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <sys/epoll.h>
#include <syslog.h>

enum { TURN_LINES = 256, ERROR_BUFFER = EXEC_ERROR_LINE + EXEC_CHUNK };

// ---- standard output

// May a line be taken now? Out of the rate it is looked at again when it is not.
static bool may_take(Exec *x)
{
        if (!exec_may_take(x))
                return false;
        // What is left of a program that was ended is soon taken.
        if (x->stopping || rate_has(&x->rate, clock_boot_usec()))
                return true;
        (void)sd_event_source_set_time_relative(x->refill, rate_wait_usec(&x->rate));
        (void)sd_event_source_set_enabled(x->refill, SD_EVENT_ONESHOT);
        return false;
}

// A last line without its end: taken when it is whole, as its closing brace shows.
static Taken take_rest(Exec *x, Slice rest)
{
        EventLine l;
        Reason reason;
        int r = event_line_parse(&x->parser, rest, true, &l, &reason);
        if (r >= 0)
                return take_line(x, rest);
        if (x->options->replay == REPLAY_NONE)
                return take_refuse(x, "the program ended within it");
        source_log(x->source, LOG_INFO, NULL,
                "the program ended within a line, which it is to print again");
        return TAKE_DONE;
}

// A line that is too long is refused when that is seen, and passed over up to its end.
static Taken take_long(Exec *x)
{
        char why[64];
        (void)snprintf(why, sizeof(why), "it is longer than max_line (%llu bytes)",
                (unsigned long long)x->options->max_line);
        Taken t = take_refuse(x, why);
        x->skipping = t == TAKE_DONE;
        return t;
}

// The line at `at`, or the part of one that can be dealt with. *ret: how many bytes are done with;
// TAKE_LATER: none, for now.
static Taken take_at(Exec *x, size_t at, size_t *ret)
{
        const char *text = (const char *)x->lines.data + at;
        size_t len = x->lines.len - at, from = x->scanned > at ? x->scanned - at : 0;
        const char *end = len > from ? memchr(text + from, '\n', len - from) : NULL;
        size_t n = end ? (size_t)(end - text) : len;
        x->scanned = at + n;
        *ret = end ? n + 1 : n;
        if (x->skipping) {
                x->skipping = !end;
                return n || end ? TAKE_DONE : TAKE_LATER;
        }
        if (n > x->options->max_line) {
                Taken t = take_long(x);
                x->skipping &= !end;
                return t;
        }
        if (!end && !(x->out_over && n > 0))
                return TAKE_LATER;
        if (n == 0 || !may_take(x))
                return n == 0 ? TAKE_DONE : TAKE_LATER;
        Taken t = end ? take_line(x, slice_mem(text, n)) : take_rest(x, slice_mem(text, n));
        if (t == TAKE_DONE)
                rate_take(&x->rate);
        return t;
}

static void output_turn(Exec *x)
{
        size_t at = 0, n = 0;
        unsigned lines = 0;
        while (lines < TURN_LINES && take_at(x, at, &n) == TAKE_DONE) {
                at += n;
                lines++;
        }
        buf_consume(&x->lines, at);
        x->scanned = x->scanned > at ? x->scanned - at : 0;
        // More to take: in the next turn. Nothing whole is left: read on.
        bool more = lines == TURN_LINES;
        bool whole = x->lines.len > x->scanned;
        (void)sd_event_source_set_enabled(x->turn, more ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        if (x->out)
                (void)sd_event_source_set_enabled(
                        x->out, !more && !whole && may_take(x) ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int on_output(sd_event_source *e, int fd, uint32_t revents, void *userdata)
{
        Exec *x = userdata;
        uint8_t *to = buf_grow(&x->lines, EXEC_CHUNK);
        if (!to)
                exec_failed(x, x->lines.error, "cannot keep a line");
        ssize_t n = read(fd, to, EXEC_CHUNK);
        x->lines.len -= EXEC_CHUNK - (n > 0 ? (size_t)n : 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                x->out_over = true;
                x->out = sd_event_source_disable_unref(x->out);
        }
        output_turn(x);
        run_look(x);
        return 0;
}

void output_look(Exec *x)
{
        if (x->turn)
                output_turn(x);
}

static int on_turn(sd_event_source *e, void *userdata)
{
        output_turn(userdata);
        run_look(userdata);
        return 0;
}

static int on_refill(sd_event_source *e, uint64_t usec, void *userdata)
{
        return on_turn(e, userdata);
}

// ---- standard error

static void log_line(Exec *x, Slice line)
{
        x->counts.errors++;
        exec_stats_soon(x);
        if (!rate_has(&x->log_rate, clock_boot_usec())) {
                if (x->counts.unlogged++ == 0)
                        source_log(x->source, LOG_WARNING, NULL,
                                "the program's standard error is over log_rate; the rest is "
                                "counted");
                return;
        }
        rate_take(&x->log_rate);
        source_log(x->source, LOG_NOTICE, NULL, "%.*s", SLICE_ARG(line));
}

static void errors_take(Exec *x)
{
        size_t at = 0;
        while (at < x->errors.len) {
                const char *text = (const char *)x->errors.data + at;
                size_t len = x->errors.len - at;
                const char *end = memchr(text, '\n', len);
                size_t n = end ? (size_t)(end - text) : len;
                if (!end && n < EXEC_ERROR_LINE && !x->err_over && !x->err_skipping)
                        break;
                if (!x->err_skipping && n > 0)
                        log_line(x, slice_mem(text, n < EXEC_ERROR_LINE ? n : EXEC_ERROR_LINE));
                x->err_skipping = !end;
                at += end ? n + 1 : n;
        }
        buf_consume(&x->errors, at);
}

static int on_errors(sd_event_source *e, int fd, uint32_t revents, void *userdata)
{
        Exec *x = userdata;
        uint8_t *to = buf_grow(&x->errors, EXEC_CHUNK);
        if (!to)
                exec_failed(x, x->errors.error, "cannot keep a line");
        ssize_t n = read(fd, to, EXEC_CHUNK);
        x->errors.len -= EXEC_CHUNK - (n > 0 ? (size_t)n : 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                x->err_over = true;
                x->err = sd_event_source_disable_unref(x->err);
        }
        errors_take(x);
        run_look(x);
        return 0;
}

// ---- both

int output_open(Exec *x, int out, int err)
{
        x->lines = BUF_INIT(x->options->max_line + 2 * EXEC_CHUNK);
        x->errors = BUF_INIT(ERROR_BUFFER);
        x->scanned = 0;
        x->skipping = x->out_over = x->err_over = x->err_skipping = false;
        int r = sd_event_add_io(x->event, &x->out, out, EPOLLIN, on_output, x);
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(x->out, true);
        if (r >= 0)
                r = sd_event_add_io(x->event, &x->err, err, EPOLLIN, on_errors, x);
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(x->err, true);
        if (r >= 0)
                r = sd_event_add_defer(x->event, &x->turn, on_turn, x);
        if (r >= 0)
                r = sd_event_source_set_enabled(x->turn, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(x->event, &x->refill, CLOCK_BOOTTIME, 0, 1000, on_refill, x);
        if (r >= 0)
                r = sd_event_source_set_enabled(x->refill, SD_EVENT_OFF);
        if (r >= 0)
                output_turn(x);
        return r;
}

void output_close(Exec *x)
{
        x->out = sd_event_source_disable_unref(x->out);
        x->err = sd_event_source_disable_unref(x->err);
        x->turn = sd_event_source_disable_unref(x->turn);
        x->refill = sd_event_source_disable_unref(x->refill);
        buf_deinit(&x->lines);
        buf_deinit(&x->errors);
}

bool output_is_over(const Exec *x)
{
        return x->out_over && x->err_over && x->lines.len == 0;
}
