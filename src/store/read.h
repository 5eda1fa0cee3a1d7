// SPDX-License-Identifier: MIT
// Reading the durable queue (store.h). Between begin and end (under 100 ms) slices into the map stay
// valid; a commit in between ends them. Nestable reads are not needed and not allowed.
#pragma once

#include "store/rows.h"

typedef struct Store Store;

int store_read_begin(Store *s) _must_use_;
void store_read_end(Store *s);

int store_get_event(Store *s, uint64_t seq, StoreEvent *ret) _must_use_; // -ENOENT -EUCLEAN
int store_event_route(const StoreEvent *e, uint16_t route, StoreRoute *ret) _must_use_;
int store_get_own(Store *s, DeliveryKey d, Slice *ret_headers, Slice *ret_body) _must_use_;
int store_get_owed(Store *s, DeliveryKey d, StoreOwed *ret) _must_use_;   // -ENOENT
int store_get_position(Store *s, uint32_t source, Slice *ret) _must_use_; // -ENOENT
int store_get_meta(Store *s, const char *key, Slice *ret) _must_use_;     // -ENOENT
// Rows of a source's state with key > from, until max bytes; 1 = there is more.
int store_each_state(Store *s, uint32_t source, Slice from, size_t max,
        int (*each)(Slice key, Slice value, void *u), void *u) _must_use_;
// Deliveries of one sink without an owed row, seq >= *cursor, in order; moves the cursor behind the
// last one looked at. Stops after n, or after looking at max_scan events. A corrupt row stops the
// scan with -EUCLEAN, *cursor at it.
// All routes of one event to the sink come in one call: n should be LIMIT_ROUTES at least; when
// not even the first event fits, -ENOBUFS. Found ones are returned before a fault is told.
int store_scan_fresh(Store *s, uint16_t sink, uint64_t *cursor, unsigned max_scan, DeliveryKey *ret,
        uint64_t *ret_bytes, unsigned n, unsigned *ret_n) _must_use_;
// Waiting deliveries of one sink with due <= until, in order of time, beginning behind `after`
// (NULL: at the first). Next due beyond it goes to *ret_next (USEC_INFINITY when none).
// Only OWED_WAITS is ever due; parked and alone ones come from store_each_owed().
int store_scan_due(Store *s, uint16_t sink, const DueDelivery *after, uint64_t until_usec,
        DueDelivery *ret, unsigned n, unsigned *ret_n, uint64_t *ret_next) _must_use_;
// All that wait, are parked or alone (not the ended), those that wait first, in order of time.
int store_each_owed(Store *s, uint16_t sink,
        int (*each)(DeliveryKey d, const StoreOwed *o, void *u), void *u) _must_use_;

// The three below: slices are valid during the call of each() only. A damaged row does not hide
// those behind it; -EUCLEAN comes at the end.
int store_each_dead(
        Store *s, uint64_t from, int (*each)(const StoreDead *d, void *u), void *u) _must_use_;
int store_get_dead(Store *s, uint64_t dead, StoreDead *ret) _must_use_;

int store_each_gap(Store *s, int (*each)(const StoreGap *g, void *u), void *u) _must_use_;
int store_each_event(
        Store *s, uint64_t from, int (*each)(const StoreEvent *e, void *u), void *u) _must_use_;

// From the newest backwards, at most max_commits commits looked at; *cursor (0 = newest) resumes.
int store_each_ledger(Store *s, uint64_t *cursor, unsigned max_commits,
        int (*each)(const LedgerEntry *e, void *u), void *u) _must_use_;
