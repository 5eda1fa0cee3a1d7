// SPDX-License-Identifier: MIT
// What the stream tells while rows of one table are read beside it: so that no row is told as it was
// before a change that was told already. Pure.
//
// A reading begins with watch_begin(). From then on each row that the stream tells of that table is
// noted, until the reading's snapshot is known (watch_snapshot()); after that only those of
// transactions that the snapshot does not see. A row that was noted is stale in what was read.
#pragma once

#include "base/cleanup.h"
#include "base/slice.h"
#include <stdint.h>

enum {
        WATCH_TOLD = 65536,  // transactions that are remembered as told
        WATCH_ROWS = 65536,  // noted at a time; beyond it, or ...
        WATCH_BYTES = 4 * 1024 * 1024, // ... beyond this in keys, the whole table counts as touched
};

// Which transactions a reading sees: pg_current_snapshot().
typedef struct Snapshot {
        uint64_t xmin, xmax;
        uint64_t *running; // ascending
        size_t n_running;
} Snapshot;

int snapshot_parse(Slice text, Snapshot *ret) _must_use_; // "10:20:10,14,15"; -EBADMSG -ENOMEM
void snapshot_deinit(Snapshot *s);
bool snapshot_sees(const Snapshot *s, uint32_t xid);

typedef enum WatchVerdict {
        WATCH_UNTOUCHED, // as it was read
        WATCH_TOUCHED,   // the stream has told all of it since
        WATCH_IN_PART,   // the stream has told of it, but not all (unchanged large values)
} WatchVerdict;

typedef struct Watch Watch;
Watch *watch_new(void); // NULL: no memory
Watch *watch_free(Watch *w);

// The stream's side. The transaction xid tells something now, before it is told.
void watch_transaction(Watch *w, uint32_t xid);
bool watch_wants(const Watch *w, uint32_t table);
void watch_row(Watch *w, uint32_t xid, Slice key, bool whole); // whole: of watch_wants()'s table
void watch_table(Watch *w, uint32_t xid);                      // any row of it may be stale

// The reader's side.
void watch_begin(Watch *w, uint32_t table);
// 1: a transaction that was told before watch_begin() is not seen by the snapshot: read again, it
// ends in a moment. 0; -EBADMSG -ENOMEM. SLICE_NULL: not known (a standby), it is taken as one that
// sees all that was told before and nothing of what is told after watch_begin().
int watch_snapshot(Watch *w, Slice text) _must_use_;
WatchVerdict watch_verdict(const Watch *w, Slice key);
bool watch_table_touched(const Watch *w);
void watch_end(Watch *w);
