// SPDX-License-Identifier: MIT
// The journal behind sd_journal: opened with the matches of the options, read forward, and found
// again at a stored cursor, or not. Emits nothing and waits for nothing; follow.c does.
#pragma once

#include "entry.h"
#include "options.h"
#include "position.h"

#include "base/reason.h"
#include <stdint.h>

typedef struct Reader Reader;

// -ENOENT: there is no journal; -EMFILE, -ENOSPC: no inotify to be had. The options are borrowed.
int reader_open(const JournalOptions *o, Reader **ret, Reason *reason) _must_use_;
Reader *reader_free(Reader *r);

int reader_fd(Reader *r);
uint32_t reader_events(Reader *r);
// When to call reader_process() at the latest, CLOCK_MONOTONIC; USEC_INFINITY: when the fd says so.
uint64_t reader_timeout(Reader *r);
typedef enum ReaderNews { READER_NOTHING, READER_APPENDED, READER_INVALIDATED } ReaderNews;
int reader_process(Reader *r, ReaderNews *ret) _must_use_;

// What the journal knows about a position.
typedef enum ReaderFound {
        READER_THERE, // its entry is there, or it has none
        READER_GONE, // its entry is gone, and entries behind it may be: *ret_next is the first left
        READER_UNSURE, // its entry is gone and nothing is behind it yet: ask again when there is
} ReaderFound;
// The next reader_next() gives the first entry that matches after the position.
int reader_seek(Reader *r, const Position *at, ReaderFound *ret, Position *ret_next) _must_use_;
// The newest entry, matching or not; without one the cursor is "". Call reader_seek() afterwards.
int reader_tail(Reader *r, Position *ret) _must_use_;

int reader_next(Reader *r) _must_use_; // 1: an entry, 0: no more for now, or a negative errno
void reader_again(Reader *r);          // the next reader_next() gives the same entry once more
// Its fields and its place. -EBADMSG: it is damaged, ret_at is good nevertheless.
int reader_entry(Reader *r, Entry *e, Position *ret_at) _must_use_;
