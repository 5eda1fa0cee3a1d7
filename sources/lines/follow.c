// SPDX-License-Identifier: MIT
// Start, the turn of the loop, stop. A turn: what the kernel said, names when they changed, rows that
// are owed, one batch of each file that changed, the timer. Nothing is read while nothing may be
// sent; the files keep it.
#include "follow.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum { STATE_BYTES = 512 * 1024, STATS_USEC = 1000000, AGAIN_PRIORITY = 10, WATCHES_TOLD = 100 };

void follow_fail(Follow *w, const char *what, int error)
{
        if (w->failed)
                return;
        w->failed = true;
        source_fail(w->source, false, "%s: %s", what, strerror(-error));
}

void follow_trouble(Follow *w, const char *format, ...)
{
        size_t n = strlen(w->trouble);
        va_list ap;
        if (n > 0)
                n += (size_t)snprintf(w->trouble + n, sizeof w->trouble - n, "; ");
        if (n >= sizeof w->trouble)
                return;
        va_start(ap, format);
        (void)vsnprintf(w->trouble + n, sizeof w->trouble - n, format, ap);
        va_end(ap);
}

void follow_begin(Follow *w)
{
        source_begin(w->source);
        if (w->position_owed)
                position_put(w);
}

void follow_commit(Follow *w)
{
        int r = source_commit(w->source, NULL);
        if (r < 0)
                follow_fail(w, "cannot hand over a batch", r);
        w->stats_owed = true;
}

void follow_wake(Follow *w)
{
        if (w->again)
                (void)sd_event_source_set_enabled(w->again, SD_EVENT_ONESHOT);
}

// ---- what is due

// When lines that are not over, or a file that is, have waited long enough; 0: never.
static uint64_t file_due(const Follow *w, const LogFile *f)
{
        uint64_t due = UINT64_MAX;
        if (f->fd < 0 || f->gone || f->flags & FILE_COPY)
                return due;
        if (f->flags & FILE_ROTATED)
                due = f->grown + REST_USEC;
        else if (w->framer.start && f->size > f->offset && f->size != f->waited)
                due = f->grown + w->options->multiline_wait_usec;
        return due;
}

static uint64_t next_due(const Follow *w)
{
        uint64_t due = w->poll_due < w->discover_due ? w->poll_due : w->discover_due;
        if (w->stats_owed && w->stats_due < due)
                due = w->stats_due;
        if (!source_may_send(w->source))
                return due; // resume() goes on with the files
        for (const LogFile *f = w->files; f; f = f->hh.next)
                if (file_due(w, f) < due)
                        due = file_due(w, f);
        return due;
}

static void arm(Follow *w, bool more)
{
        if (more)
                follow_wake(w);
        (void)sd_event_source_set_time(w->timer, next_due(w));
        (void)sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static void tell_stats(Follow *w)
{
        char last[CLOCK_RFC3339_MAX] = "";
        uint64_t behind = 0;
        unsigned files = 0, rotated = 0;
        if (!w->stats_owed || w->now < w->stats_due)
                return;
        w->stats_owed = false;
        w->stats_due = w->now + STATS_USEC;
        for (const LogFile *f = w->files; f; f = f->hh.next) {
                if (f->flags & FILE_COPY)
                        continue;
                files++;
                rotated += (f->flags & FILE_ROTATED) != 0;
                behind += f->size > f->offset ? f->size - f->offset : 0;
        }
        json_t *j = json_pack("{s:i s:i s:I s:I s:I s:I s:I s:I s:I}", "files", (int)files,
                "rotated", (int)rotated, "behind_bytes", (json_int_t)behind, "events",
                (json_int_t)w->count.events, "bytes", (json_int_t)w->count.bytes, "cut",
                (json_int_t)w->count.cut, "unparsed", (json_int_t)w->count.unparsed, "truncated",
                (json_int_t)w->count.truncated, "gaps", (json_int_t)w->count.gaps);
        if (!j)
                return;
        if (w->count.last_event_usec)
                (void)json_object_set_new(j, "last_event",
                        json_string(clock_rfc3339(w->count.last_event_usec, last)));
        json_t *paths = json_array();
        for (char **p = w->options->paths; p && *p && json_array_size(paths) < WATCHES_TOLD; p++)
                (void)json_array_append_new(paths, json_string(*p));
        (void)json_object_set_new(j, "watches", paths);
        source_stats(w->source, j);
        json_decref(j);
}

static void look_at_all(Follow *w)
{
        w->poll_due = w->now + w->options->poll_usec;
        for (LogFile *f = w->files; f; f = f->hh.next)
                f->changed = true;
        w->discover_due = w->now;
}

static bool read_files(Follow *w)
{
        bool more = false;
        for (LogFile *f = w->files; f && !w->failed; f = f->hh.next) {
                if (!f->changed && w->now < file_due(w, f))
                        continue;
                if (!source_may_send(w->source))
                        return false;
                more |= file_read(w, f);
        }
        return more;
}

static void follow_pump(Follow *w)
{
        if (!w->loaded || w->failed || w->stopping)
                return;
        w->now = clock_mono_usec();
        watch_read(w);
        if (w->now >= w->poll_due)
                look_at_all(w);
        if (w->now >= w->discover_due)
                discover(w);
        rows_flush(w);
        if (!w->ready && !w->failed) {
                w->ready = w->stats_owed = true;
                source_ready(w->source);
        }
        bool more = read_files(w);
        rows_flush(w);
        if (w->failed)
                return;
        if (strcmp(w->trouble, w->told) != 0) {
                memcpy(w->told, w->trouble, sizeof w->told);
                source_degraded(w->source, w->told[0] ? "%s" : NULL, w->told);
        }
        tell_stats(w);
        arm(w, more);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        follow_pump(userdata);
        return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
        follow_pump(userdata);
        return 0;
}

static int on_again(sd_event_source *s, void *userdata)
{
        follow_pump(userdata);
        return 0;
}

// ---- start and stop

static int add_sources(Follow *w)
{
        sd_event *loop = source_loop(w->source);
        int r = sd_event_add_io(loop, &w->io, w->inotify_fd, EPOLLIN, on_io, w);
        if (r >= 0)
                r = sd_event_add_time(loop, &w->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, w);
        if (r >= 0)
                r = sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_defer(loop, &w->again, on_again, w);
        if (r >= 0)
                r = sd_event_source_set_enabled(w->again, SD_EVENT_OFF);
        return r < 0 ? r : sd_event_source_set_priority(w->again, AGAIN_PRIORITY);
}

static int compile(Follow *w, Reason *reason)
{
        size_t at;
        int r = parser_new(&w->parser, w->options->parse, &at, reason);
        if (r >= 0 && w->options->multiline) {
                r = parse_regex(
                        &w->start, slice_of(w->options->multiline), SLICE_NULL, &at, reason);
                if (r >= 0)
                        r = regex_matcher_new(&w->framer.matcher);
        }
        w->framer.start = w->start;
        w->framer.max_line = (size_t)w->options->max_line;
        return r;
}

int follow_start(Source *s, const LinesOptions *o, Slice position, Follow **ret, Reason *reason)
{
        Follow *w = calloc(1, sizeof *w);
        if (!w)
                return reason_errno(reason, -ENOMEM, "start");
        *ret = w;
        w->source = s;
        w->options = o;
        w->inotify_fd = -1;
        w->row = w->scratch = BUF_INIT(LIMIT_EVENT_MAX);
        w->data = BUF_INIT(2 * LIMIT_EVENT_MAX);
        w->stats_due = 0;
        w->discover_due = w->poll_due = 0;
        if (source_for_command(s))
                return 0;
        int r = compile(w, reason);
        if (r < 0)
                return r;
        w->n_bytes = frame_window(w->framer.max_line);
        if (w->n_bytes < READ_BYTES)
                w->n_bytes = READ_BYTES;
        w->bytes = malloc(w->n_bytes);
        r = w->bytes ? watch_init(w) : -ENOMEM;
        if (r >= 0)
                r = add_sources(w);
        if (r < 0)
                return reason_errno(reason, r, "cannot watch files");
        w->taking_stock = !position_is_current(w, position);
        r = source_state_get(s, SLICE_NULL, STATE_BYTES);
        return r < 0 ? reason_errno(reason, r, "cannot read the state") : 0;
}

int follow_state(Follow *w, Slice key, Slice value)
{
        w->now = clock_mono_usec();
        int r = row_get(w, key, value);
        if (r == -EBADMSG)
                source_fail(w->source, false, "a stored row is damaged: belfry source forget %s",
                        source_name(w->source));
        buf_reset(&w->data);
        buf_add_slice(&w->data, key);
        return r;
}

int follow_state_end(Follow *w, bool more)
{
        if (more)
                return source_state_get(w->source, buf_slice(&w->data), STATE_BYTES);
        w->loaded = true;
        follow_wake(w);
        return 0;
}

void follow_stop(Follow *w)
{
        w->stopping = true;
        source_stopped(w->source);
}

void follow_free(Follow *w)
{
        LogFile *f, *next;
        if (!w)
                return;
        sd_event_source_disable_unref(w->io);
        sd_event_source_disable_unref(w->timer);
        sd_event_source_disable_unref(w->again);
        HASH_ITER (hh, w->files, f, next)
                file_free(w, f);
        watch_deinit(w);
        (void)parser_free(w->parser);
        (void)regex_free(w->start);
        (void)regex_matcher_free(w->framer.matcher);
        buf_deinit(&w->data);
        buf_deinit(&w->row);
        buf_deinit(&w->scratch);
        free(w->later);
        free(w->bytes);
        free(w);
}
