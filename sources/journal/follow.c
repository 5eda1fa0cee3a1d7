// SPDX-License-Identifier: MIT
// The loop of a journal source. Its position is the cursor of the last entry that was looked at; it
// is committed with the events up to there. Invariants: entries are taken in the journal's order,
// each once for each position behind it; whatever invalidates what sd_journal holds (rotation,
// vacuuming), reading goes on from the position, and an entry that is no longer there is a gap unless
// its successor in the same sequence follows, or all up to the first one left had been looked at.
// What is written is read before a notice of its removal is taken in; under back-pressure nothing is
// read, but notices are taken, so that deleted files are let go.
// With matches only some entries are seen. At the end of the journal the position is therefore moved
// to the newest entry from time to time, so that it does not grow old and be vacuumed while nothing
// matches. Without matches the entries' numbers are without holes; one is told as missing.
#include "follow_internal.h"

#include "filter.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>

enum {
        TURN_MAX = 512,   // entries of one loop turn
        MARK_SEC = 30,    // at the end: how often the position alone is committed
        NEWS_SEC = 1,     // how long the kernel's notices may wait while there is something to read
        MISSING_SEC = 60, // how long missing entries are gathered before they are told
        LOOK_SEC = 30,    // how often the files are looked at when nothing else is a cause
        TROUBLE_SEC_MAX = 60,
        WRITE_USEC = 10000, // journald takes the time of an entry, then writes it
};

void follow_failed(Follow *f, int r, const char *what)
{
        source_fail(f->source, false, "%s: %s", what, strerror(-r));
}

void timer_arm(sd_event_source *e, uint64_t usec)
{
        uint64_t due = clock_mono_usec() + usec, armed;
        int on;
        if (sd_event_source_get_enabled(e, &on) > 0 && sd_event_source_get_time(e, &armed) >= 0 &&
                armed <= due)
                return;
        (void)sd_event_source_set_time(e, due);
        (void)sd_event_source_set_enabled(e, SD_EVENT_ONESHOT);
}

void follow_trouble(Follow *f, int r, const char *what)
{
        if (r == -ENOMEM)
                follow_failed(f, r, what);
        (void)snprintf(f->trouble_text, sizeof(f->trouble_text), "%s: %s", what, strerror(-r));
        if (f->troubles == 0)
                source_log(f->source, LOG_WARNING, NULL, "%s; it is opened anew", f->trouble_text);
        f->io = sd_event_source_disable_unref(f->io);
        f->reader = reader_free(f->reader);
        uint64_t sec = 1u << (f->troubles < 6 ? f->troubles : 6);
        f->troubles++;
        timer_arm(f->trouble, (sec < TROUBLE_SEC_MAX ? sec : TROUBLE_SEC_MAX) * USEC_PER_SEC);
        follow_health(f);
}

int follow_seek(Follow *f)
{
        ReaderFound found;
        int r = reader_seek(f->reader, &f->progress.at, &found, &f->gap_to);
        if (r < 0)
                return r;
        // All up to the first entry left had been looked at: nothing is lost with those removed.
        bool seen = f->drained_usec > 0 && f->gap_to.realtime_usec <= f->drained_usec;
        f->gap = found == READER_GONE && !seen;
        f->unsure = found == READER_UNSURE;
        f->at_end = f->marking = false;
        if (found == READER_GONE && seen)
                timer_arm(f->mark_timer, 0);
        return 0;
}

// ---- entries

static bool is_own(const Follow *f)
{
        static const char *const programs[] = {"belfryd", "belfry-births", "belfry-web"};
        if (f->own_unit)
                return slice_eq_str(entry_text(f->entry, ENTRY_SYSTEMD_UNIT), f->own_unit) ||
                       slice_eq_str(entry_text(f->entry, ENTRY_SYSTEMD_USER_UNIT), f->own_unit);
        Slice comm = entry_text(f->entry, ENTRY_COMM);
        for (size_t i = 0; i < N_ELEMENTS(programs); i++)
                if (slice_eq_str(comm, programs[i]))
                        return true;
        return slice_starts(comm, SLICE_LIT("belfry-source-")) ||
               slice_starts(comm, SLICE_LIT("belfry-sink-"));
}

static bool is_wanted(const Follow *f)
{
        char name[UNIT_NAME_SIZE];
        Reason reason;
        if (f->options->exclude_self && is_own(f))
                return false;
        if (!f->patterns)
                return true;
        for (char *const *u = f->options->units; *u; u++)
                if (unit_mangle(*u, name, &reason) == 0 && entry_is_of_unit(f->entry, name))
                        return true;
        return false;
}

static void note_missing(Follow *f, uint64_t n, const Position *here)
{
        Missing *m = &f->progress.missing;
        if (m->n == 0) {
                m->from_usec = f->progress.at.realtime_usec;
                f->missing_due = clock_mono_usec() + MISSING_SEC * USEC_PER_SEC;
        }
        m->n += n;
        m->to_usec = here->realtime_usec;
        f->missing += n;
}

// Numbers left out between the entry before and this one. Of what was stored before the source caught
// up, users' own files may have been vacuumed long ago: holes say nothing then.
static void look_for_holes(Follow *f, const Position *here)
{
        const Position *at = &f->progress.at;
        if (f->matches || at->before || (!f->progress.caught_up && f->files.split))
                return;
        uint64_t n = cursor_between(at->cursor, here->cursor);
        if (n > 0)
                note_missing(f, n, here);
}

static void reached_end(Follow *f, uint64_t since_usec)
{
        f->at_end = f->progress.caught_up = true;
        f->drained_usec = since_usec - WRITE_USEC;
        if (f->marking && strcmp(f->mark.cursor, f->progress.at.cursor) != 0) {
                f->progress.at = f->mark;
                f->ahead = true;
        }
        f->marking = false;
}

// One entry. 1: go on; 0: enough for now.
static int follow_step(Follow *f)
{
        Position here;
        uint64_t wall = clock_wall_usec();
        int r = reader_next(f->reader);
        if (r == 0)
                reached_end(f, wall);
        if (r <= 0)
                return r;
        r = reader_entry(f->reader, f->entry, &here);
        if (r < 0 && r != -EBADMSG)
                return r;
        if (r >= 0 && is_wanted(f)) {
                if (!tell_entry(f, &here)) {
                        reader_again(f->reader);
                        return 0;
                }
        } else if (r >= 0) {
                f->excluded++;
        }
        look_for_holes(f, &here);
        if (r == -EBADMSG) {
                f->damaged++;
                note_missing(f, 1, &here);
        }
        f->progress.at = here;
        sequences_saw(&f->sequences, here.cursor);
        f->ahead = true;
        f->marking = false;
        return 1;
}

// At the end of a turn: what is to be handed over, and what is to be done later.
static void turn_end(Follow *f)
{
        uint64_t mono = clock_mono_usec();
        if (f->progress.missing.n > 0 && source_may_send(f->source) &&
                (f->at_end || mono >= f->missing_due))
                tell_missing(f);
        if (f->batch > 0 || (f->ahead && mono >= f->mark_due && source_may_send(f->source)))
                tell_commit(f);
        if (!f->at_end && source_may_send(f->source))
                (void)sd_event_source_set_enabled(f->run, SD_EVENT_ONESHOT);
        if (f->at_end && (f->ahead || (f->matches && !f->marked)))
                timer_arm(f->mark_timer, MARK_SEC * USEC_PER_SEC);
        if (f->at_end && mono >= f->look_due) {
                f->look_due = mono + LOOK_SEC * USEC_PER_SEC;
                timer_arm(f->look_timer, 0);
        }
        tell_stats(f, f->at_end);
}

void follow_run(Follow *f)
{
        int r = 0;
        if (f->stopping || !f->reader || !source_may_send(f->source))
                return;
        f->at_end = false;
        if (f->unsure)
                r = follow_seek(f);
        if (r >= 0 && f->gap)
                tell_vacuumed(f);
        if (r >= 0)
                r = 1;
        for (unsigned n = 0; r > 0 && n < TURN_MAX && source_may_send(f->source); n++)
                r = follow_step(f);
        if (r >= 0 || f->batch > 0)
                turn_end(f);
        if (r < 0)
                follow_trouble(f, r, "cannot read the journal");
        else if (f->troubles > 0) {
                f->troubles = 0;
                f->trouble_text[0] = '\0';
                follow_health(f);
        }
}

void follow_news(Follow *f)
{
        ReaderNews news;
        uint64_t mono = clock_mono_usec();
        if (source_may_send(f->source)) {
                follow_run(f);
                if (!f->reader || (!f->at_end && mono < f->news_due))
                        return;
        }
        f->news_due = mono + NEWS_SEC * USEC_PER_SEC;
        int r = reader_process(f->reader, &news);
        if (r >= 0 && news == READER_INVALIDATED) {
                r = follow_seek(f);
                if (r >= 0)
                        timer_arm(f->look_timer, 0);
        }
        uint64_t due = r >= 0 ? reader_timeout(f->reader) : USEC_INFINITY;
        (void)sd_event_source_set_time(f->recheck, due);
        (void)sd_event_source_set_enabled(
                f->recheck, due == USEC_INFINITY ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
        if (r < 0)
                follow_trouble(f, r, "cannot follow the journal");
        else if (news != READER_NOTHING) {
                f->marked = false;
                follow_run(f);
        }
}
