// SPDX-License-Identifier: MIT
// Files of the journal that are not read. libsystemd leaves out what it cannot open and lets go of a
// file in which it strikes damage, both without a word; a look at what lies there and what is open
// shows it. Of a file whose end is zeros, as after a power cut, it gives what is before them, which the
// numbers of the entries show when all are read. A file is judged when it was seen unread for some seconds (it may be in the making): if it
// changed after the position of the look before, entries may be lost with it, and a gap is told, once
// for each file. One whose header is well is tried once more, with a journal opened anew.
// A right that is missing is no damage: without any readable file, or when membership in a group would
// help, the source fails with that reason.
#include "follow_internal.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum { SETTLED_SEC = 3, ABSENT_SEC = 5 };

static _Noreturn void follow_denied(Follow *f)
{
        const char *path = f->files.first_denied;
        if (f->options->directory)
                source_fail(f->source, false,
                        "%s may not be read; let this user: setfacl -Rm u:USER:rX,d:u:USER:rX %s, "
                        "or add it to the group that may",
                        path, f->options->directory);
        else if (f->files.group_missing)
                source_fail(f->source, false,
                        "the journal may not be read (%s): this user is not in the group "
                        "systemd-journal; install the drop-in journal.conf (see "
                        "belfry-journal(5)) and restart the daemon",
                        path);
        else
                source_fail(f->source, false,
                        "the journal may not be read (%s): it is for the group systemd-journal, "
                        "but this directory or file does not let it in; systemd-tmpfiles --create "
                        "--prefix /var/log/journal restores its rights",
                        path);
        abort(); // it does not come back
}

void follow_health(Follow *f)
{
        const JournalOptions *o = f->options;
        if (f->trouble_text[0])
                source_degraded(f->source, "%s", f->trouble_text);
        else if (f->files.directories == 0)
                source_degraded(f->source, "there is no journal yet: %s",
                        o->directory ? o->directory
                                     : "neither /var/log/journal nor /run/log/journal");
        else if (f->files.denied > 0)
                source_degraded(f->source, "%u of %u journal files may not be read: %s",
                        f->files.denied, f->files.files, f->files.first_denied);
        else
                source_degraded(f->source, NULL);
}

static bool was_told(const Follow *f, FileId id)
{
        for (unsigned i = 0; i < f->progress.n_told; i++)
                if (file_id_compare(&f->progress.told[i], &id) == 0)
                        return true;
        return false;
}

static void keep_told(Follow *f, FileId id)
{
        Progress *p = &f->progress;
        if (was_told(f, id))
                return;
        if (p->n_told == TOLD_MAX) { // the oldest goes
                memmove(p->told, p->told + 1, (TOLD_MAX - 1) * sizeof(p->told[0]));
                p->n_told--;
        }
        p->told[p->n_told++] = id;
}

// The table of watched files becomes that of the skipped ones, in their order.
static void watch_update(Follow *f)
{
        struct FileWatch next[FILES_SKIPPED_MAX];
        for (unsigned i = 0; i < f->files.n_list; i++) {
                FileId id = f->files.list[i].id;
                next[i] = (struct FileWatch){
                        .id = id, .since_usec = clock_mono_usec(), .told = was_told(f, id)};
                for (unsigned k = 0; k < f->n_watched; k++)
                        if (file_id_compare(&f->watched[k].id, &id) == 0)
                                next[i] = f->watched[k];
        }
        f->n_watched = f->files.n_list;
        memcpy(f->watched, next, f->n_watched * sizeof(next[0]));
}

// What only they hold is lost: told together. True: one of them may be well, after all.
static bool judge(Follow *f)
{
        const SkippedFile *newest = NULL;
        unsigned lost = 0;
        bool whole = false;
        for (unsigned i = 0; i < f->n_watched; i++) {
                const SkippedFile *s = &f->files.list[i];
                struct FileWatch *w = &f->watched[i];
                if (w->told || clock_mono_usec() < w->since_usec + SETTLED_SEC * USEC_PER_SEC)
                        continue;
                w->told = true;
                if (s->changed_usec < f->survey_usec) {
                        source_log(f->source, LOG_NOTICE, NULL,
                                "a journal file is not read, but is older than what is awaited: %s",
                                s->what);
                        continue;
                }
                keep_told(f, s->id);
                whole |= s->whole;
                if (!newest || s->changed_usec > newest->changed_usec)
                        newest = s;
                lost++;
        }
        if (newest)
                tell_files(f, lost, newest);
        return whole;
}

static bool all_judged(const Follow *f)
{
        for (unsigned i = 0; i < f->n_watched; i++)
                if (!f->watched[i].told)
                        return false;
        return true;
}

// libsystemd may have looked at a file while it was being made, and hears nothing of it afterwards.
static bool whole_but_unread(const Follow *f)
{
        for (unsigned i = 0; i < f->n_watched; i++)
                if (!f->watched[i].told && f->files.list[i].whole)
                        return true;
        return false;
}

void follow_survey(Follow *f)
{
        const FilesSeen seen = {&f->sequences, f->begun_usec, f->drained_usec};
        bool all_read = f->at_end && !f->matches && !f->unsure && !f->gap;
        int r = files_survey(f->options, all_read ? &seen : NULL, &f->files);
        if (r < 0)
                follow_failed(f, r, "cannot look at the journal's files");
        if (f->files.group_missing || (f->files.denied > 0 && f->files.open == 0))
                follow_denied(f);
        watch_update(f);
        bool came = f->files.roots_absent < f->roots_absent;
        bool anew = came || whole_but_unread(f);
        f->roots_absent = f->files.roots_absent;
        if (f->roots_absent > 0 || f->files.open == 0)
                timer_arm(f->look_timer, ABSENT_SEC * USEC_PER_SEC);
        if (f->n_watched > 0 && f->batch == 0 && source_may_send(f->source))
                anew |= judge(f);
        if (!all_judged(f))
                timer_arm(f->look_timer, SETTLED_SEC * USEC_PER_SEC);
        else if (f->at_end)
                f->survey_usec = f->progress.at.realtime_usec;
        if (anew)
                follow_reopen(f);
        follow_health(f);
}
