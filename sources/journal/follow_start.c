// SPDX-License-Identifier: MIT
// How a journal source begins, waits for a journal that is not there yet, opens it anew after trouble,
// and ends. A journal that is absent is no failure: the position is a time until it is there.
#include "follow_internal.h"

#include "filter.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-login.h>

static int on_journal(sd_event_source *e, int fd, uint32_t events, void *userdata)
{
        follow_news(userdata);
        return 0;
}

// Nothing (READER_NOTHING too) may come from the descriptor on a network filesystem.
static int on_recheck(sd_event_source *e, uint64_t usec, void *userdata)
{
        Follow *f = userdata;
        if (f->reader)
                follow_news(f);
        return 0;
}

int follow_open(Follow *f, Reason *reason)
{
        f->roots_absent = files_roots_absent(f->options);
        int r = reader_open(f->options, &f->reader, reason);
        if (r < 0)
                return r;
        r = sd_event_add_io(source_loop(f->source), &f->io, reader_fd(f->reader),
                reader_events(f->reader), on_journal, f);
        if (r < 0)
                return reason_errno(reason, r, "cannot watch the journal");
        uint64_t due = reader_timeout(f->reader);
        if (due != USEC_INFINITY) {
                (void)sd_event_source_set_time(f->recheck, due);
                (void)sd_event_source_set_enabled(f->recheck, SD_EVENT_ONESHOT);
        }
        return 0;
}

void follow_reopen(Follow *f)
{
        Reason reason = {0};
        f->io = sd_event_source_disable_unref(f->io);
        f->reader = reader_free(f->reader);
        int r = follow_open(f, &reason);
        if (r == -ENOENT || r == -ENOTDIR) {
                (void)reader_free(TAKE_PTR(f->reader));
                return; // it went again: the next look finds out
        }
        if (r >= 0)
                r = follow_seek(f);
        if (r < 0)
                follow_trouble(f, r, "cannot open the journal");
        else
                (void)sd_event_source_set_enabled(f->run, SD_EVENT_ONESHOT);
}

static int on_run(sd_event_source *e, void *userdata)
{
        follow_run(userdata);
        return 0;
}

static int on_look(sd_event_source *e, uint64_t usec, void *userdata)
{
        follow_survey(userdata);
        return 0;
}

static int on_trouble(sd_event_source *e, uint64_t usec, void *userdata)
{
        Follow *f = userdata;
        follow_reopen(f);
        if (f->reader)
                timer_arm(f->look_timer, 0);
        return 0;
}

// At the end of the journal: the position moves to the newest entry, if up to there nothing matches.
static void position_freshen(Follow *f)
{
        if (!f->reader || !f->at_end || f->unsure || !source_may_send(f->source))
                return;
        if (f->matches) {
                Position mark;
                int r = reader_tail(f->reader, &mark);
                if (r >= 0)
                        r = follow_seek(f);
                if (r < 0) {
                        follow_trouble(f, r, "cannot read the journal");
                        return;
                }
                f->mark = mark;
                f->marked = true;
                f->marking = mark.cursor[0] && !f->gap && !f->unsure;
                follow_run(f);
        }
        if (f->reader && f->ahead && source_may_send(f->source))
                tell_commit(f);
}

static int on_mark(sd_event_source *e, uint64_t usec, void *userdata)
{
        position_freshen(userdata);
        return 0;
}

// ---- start

static int follow_arm(Follow *f)
{
        sd_event *loop = source_loop(f->source);
        const struct {
                sd_event_source **ret;
                sd_event_time_handler_t handler;
                uint64_t accuracy;
        } timers[] = {
                {&f->mark_timer, on_mark, USEC_PER_SEC},
                {&f->look_timer, on_look, USEC_PER_SEC / 4},
                {&f->trouble, on_trouble, USEC_PER_SEC / 4},
                {&f->recheck, on_recheck, USEC_PER_SEC / 10},
        };
        int r = sd_event_add_defer(loop, &f->run, on_run, f);
        if (r >= 0)
                r = sd_event_source_set_enabled(f->run, SD_EVENT_OFF);
        for (size_t i = 0; r >= 0 && i < N_ELEMENTS(timers); i++) {
                r = sd_event_add_time(loop, timers[i].ret, CLOCK_MONOTONIC, USEC_INFINITY,
                        timers[i].accuracy, timers[i].handler, f);
                if (r >= 0)
                        r = sd_event_source_set_enabled(*timers[i].ret, SD_EVENT_OFF);
        }
        return r;
}

static void find_own_unit(Follow *f)
{
        static const char suffix[] = ".service";
        char *unit = NULL;
        if (sd_pid_get_user_unit(0, &unit) < 0 && sd_pid_get_unit(0, &unit) < 0)
                return;
        size_t n = unit ? strlen(unit) : 0;
        if (n > strlen(suffix) && strcmp(unit + n - strlen(suffix), suffix) == 0)
                f->own_unit = TAKE_PTR(unit);
        free(unit);
}

static bool has_any(char *const *list)
{
        return list && list[0];
}

static int follow_init(Follow *f, Source *s, const JournalOptions *o)
{
        f->source = s;
        f->options = o;
        f->rules = (EntryRules){.fields = o->fields, .max_field = o->max_field};
        f->rules.max_data =
                source_batch_max(s) / 2 < ENTRY_DATA_MAX ? source_batch_max(s) / 2 : ENTRY_DATA_MAX;
        f->data = BUF_INIT(LIMIT_EVENT_MAX);
        f->entry = entry_new(&f->rules);
        if (!f->entry)
                return -ENOMEM;
        for (char *const *u = o->units; u && *u; u++)
                f->patterns |= unit_is_pattern(*u);
        f->matches = has_any(o->match) || o->priority || has_any(o->identifiers) ||
                     strcmp(o->boot, "all") != 0 || (has_any(o->units) && !f->patterns);
        find_own_unit(f);
        return follow_arm(f);
}

// Where to begin the first time, made durable at once.
static int follow_begin(Follow *f, Reason *reason)
{
        uint64_t since, wall = clock_wall_usec();
        int r = since_parse(f->options->since, wall, &since, reason);
        if (r < 0)
                return r;
        f->progress = (Progress){.at.realtime_usec = since == SINCE_NOW ? wall : since};
        f->survey_usec = f->progress.at.realtime_usec;
        if (since == SINCE_NOW && f->reader)
                r = reader_tail(f->reader, &f->progress.at);
        if (r < 0)
                return reason_errno(reason, r, "cannot find the end of the journal");
        tell_commit(f);
        return 0;
}

static int follow_resume_at(Follow *f, Slice position, Reason *reason)
{
        int r = position.data ? progress_decode(position, follow_where(f), &f->progress) : 0;
        if (r < 0)
                return reason_set(reason, r,
                        "the stored position is of another version; forget it with: belfry source "
                        "forget %s",
                        source_name(f->source));
        f->survey_usec = f->progress.at.realtime_usec;
        return r > 0 ? 0 : follow_begin(f, reason);
}

int follow_start(Source *s, const JournalOptions *o, Slice position, Follow **ret, Reason *reason)
{
        Follow *f = calloc(1, sizeof(*f));
        if (!f)
                return reason_set(reason, -ENOMEM, "out of memory");
        *ret = f;
        int r = follow_init(f, s, o);
        if (r < 0)
                return reason_errno(reason, r, "cannot start");
        if (source_for_command(s))
                return 0;
        r = follow_open(f, reason);
        if (r == -ENOENT || r == -ENOTDIR)
                r = 0;
        if (r >= 0)
                r = follow_resume_at(f, position, reason);
        if (r < 0)
                return r;
        f->begun_usec = f->survey_usec;
        if (!f->progress.at.before)
                sequences_saw(&f->sequences, f->progress.at.cursor);
        if (f->reader)
                r = follow_seek(f);
        if (r < 0)
                return reason_errno(reason, r, "cannot read the journal");
        follow_survey(f);
        source_ready(s);
        (void)sd_event_source_set_enabled(f->run, SD_EVENT_ONESHOT);
        return 0;
}

void follow_resume(Follow *f)
{
        follow_run(f);
}

void follow_stop(Follow *f)
{
        position_freshen(f);
        f->stopping = true;
        if (f->ahead && source_may_send(f->source))
                tell_commit(f);
        source_stopped(f->source);
}

void follow_free(Follow *f)
{
        if (!f)
                return;
        sd_event_source_disable_unref(f->io);
        sd_event_source_disable_unref(f->run);
        sd_event_source_disable_unref(f->mark_timer);
        sd_event_source_disable_unref(f->look_timer);
        sd_event_source_disable_unref(f->trouble);
        sd_event_source_disable_unref(f->recheck);
        (void)reader_free(f->reader);
        (void)entry_free(f->entry);
        buf_deinit(&f->data);
        free(f->own_unit);
        free(f);
}
