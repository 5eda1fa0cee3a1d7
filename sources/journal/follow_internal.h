// SPDX-License-Identifier: MIT
// What the files of the follower share: follow.c reads, follow_tell.c makes the events,
// follow_files.c watches over files that cannot be read, follow_start.c opens and begins.
#pragma once

#include "entry.h"
#include "files.h"
#include "follow.h"
#include "reader.h"

struct Follow {
        Source *source;
        const JournalOptions *options;
        EntryRules rules;
        Entry *entry;
        Reader *reader; // NULL: there is no journal now, or it is being opened anew
        char *own_unit; // NULL: told by the names of our programs
        bool patterns;  // a unit is a pattern
        bool matches;   // some entries are not seen at all

        Progress progress; // looked at up to progress.at
        bool ahead;        // of what was handed over
        bool gap;          // to be told before the next entry
        Position gap_to;
        bool unsure; // the position's entry is gone and nothing has come since
        bool at_end, stopping;
        bool marked;  // nothing came since the position was moved to the newest entry
        bool marking; // at the end nothing was found yet since `mark` was the newest entry
        Position mark;
        uint64_t
                drained_usec; // wall: all that was logged until then has been looked at; 0 = unknown
        unsigned batch;       // events of this batch

        Sequences sequences; // without matches: what was seen of each
        uint64_t begun_usec; // wall: the position when this process began
        FilesReport files;
        uint64_t survey_usec; // wall: the position when all files had been judged last
        struct FileWatch {
                FileId id;
                uint64_t since_usec; // CLOCK_MONOTONIC
                bool told;
        } watched[FILES_SKIPPED_MAX];
        unsigned n_watched;
        unsigned roots_absent; // when the journal was opened, or at the last look

        Buf data;
        sd_event_source *io, *run, *mark_timer, *look_timer, *trouble, *recheck;
        unsigned troubles; // in a row
        char trouble_text[REASON_MAX];
        uint64_t entries, excluded, damaged, missing, gaps, cut;
        uint64_t stats_due, mark_due, news_due, missing_due, look_due; // CLOCK_MONOTONIC
};

// ---- follow.c
int follow_seek(Follow *f) _must_use_; // to where the position says; is its entry still there?
void follow_run(Follow *f);            // takes in entries as far as it may
void follow_news(Follow *f);           // takes in what the kernel tells of the journal's files
void follow_trouble(Follow *f, int r, const char *what); // closes the journal; opened anew later
void timer_arm(sd_event_source *e, uint64_t usec);       // earlier, if it is armed for later
void follow_failed(Follow *f, int r, const char *what);

// ---- follow_tell.c
void tell_commit(Follow *f);                      // begins a batch if none is begun
bool tell_entry(Follow *f, const Position *here); // false: no credit is left, it is to come again
void tell_vacuumed(Follow *f);                    // f->gap; commits
void tell_missing(Follow *f);                     // what is missing up to here, into this batch
void tell_files(Follow *f, unsigned n, const SkippedFile *first); // commits
void tell_stats(Follow *f, bool now);
Slice follow_where(const Follow *f);

// ---- follow_files.c
void follow_survey(Follow *f); // may end the process with the reason
void follow_health(Follow *f); // what is to be seen in status

// ---- follow_start.c
int follow_open(Follow *f, Reason *reason) _must_use_;
void follow_reopen(Follow *f); // closes it first; reading goes on in the next turn of the loop
