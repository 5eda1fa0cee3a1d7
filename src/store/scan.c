// SPDX-License-Identifier: MIT
// What the scheduler asks: which deliveries of a sink are fresh, which are due, which are owed at
// all, and how old the oldest is. Each call is bounded by its caller's numbers, whatever the
// backlog.
#include "store/files.h"

#include "base/clock.h"
#include <errno.h>

enum { SETTLE_STEPS = 64 };

// Which routes of the event have an owed row (fresh ones have none). The cursor runs along with
// the events, both in order of seq.
typedef struct OwedWalk {
        MDB_cursor *cursor;
        DeliveryKey at; // of the row under the cursor
        bool end;
} OwedWalk;

static int owed_walk_take(OwedWalk *w, int rc, const MDB_val *key)
{
        if (rc == 0 && key_read_delivery(slice_of_val(*key), &w->at) < 0)
                return -EUCLEAN;
        w->end = rc == MDB_NOTFOUND;
        return rc == 0 || w->end ? 0 : lmdb_error(rc);
}

static int owed_walk_to(OwedWalk *w, uint64_t seq)
{
        MDB_val row;
        if (w->end || w->at.seq >= seq)
                return 0;
        Key from = key_delivery((DeliveryKey){seq, 0});
        MDB_val key = val_of(key_slice(&from));
        return owed_walk_take(w, mdb_cursor_get(w->cursor, &key, &row, MDB_SET_RANGE), &key);
}

// Moves behind (seq, route); *ret_owed: that route had a row.
static int owed_walk_route(OwedWalk *w, uint64_t seq, uint16_t route, bool *ret_owed)
{
        MDB_val key, row;
        *ret_owed = false;
        while (!w->end && w->at.seq == seq && w->at.route <= route) {
                *ret_owed |= w->at.route == route;
                int r = owed_walk_take(w, mdb_cursor_get(w->cursor, &key, &row, MDB_NEXT), &key);
                if (r < 0)
                        return r;
        }
        return 0;
}

typedef struct FreshScan {
        uint16_t sink;
        DeliveryKey *keys;
        uint64_t *bytes;
        unsigned n, max;
} FreshScan;

// 1: the event's deliveries do not fit any more.
static int fresh_event(FreshScan *f, OwedWalk *w, uint64_t seq, const EventRow *e)
{
        unsigned before = f->n;
        bool positioned = false;
        for (uint16_t i = 0; i < e->n_routes; i++) {
                StoreRoute route;
                uint32_t own_len;
                event_row_route(e, i, &route, &own_len);
                if (route.sink != f->sink)
                        continue;
                bool owed = false;
                int r = positioned ? 0 : owed_walk_to(w, seq);
                positioned = true;
                if (r == 0)
                        r = owed_walk_route(w, seq, i, &owed);
                if (r < 0)
                        return r;
                if (owed)
                        continue;
                if (f->n == f->max) {
                        f->n = before;
                        return 1;
                }
                f->keys[f->n] = (DeliveryKey){seq, i};
                if (f->bytes)
                        f->bytes[f->n] = (uint64_t)e->record_len + own_len;
                f->n++;
        }
        return 0;
}

static int fresh_walk(Store *s, MDB_cursor *events, OwedWalk *owed, FreshScan *f, uint64_t *cursor,
        unsigned max_scan)
{
        uint64_t seq = *cursor;
        MDB_val key = val_of(slice_of_number(&seq)), row;
        int rc = mdb_cursor_get(events, &key, &row, MDB_SET_RANGE);
        for (unsigned i = 0; i < max_scan && rc == 0; i++) {
                Slice body;
                EventRow e;
                if (key.mv_size != sizeof(seq))
                        return -EUCLEAN;
                memcpy(&seq, key.mv_data, sizeof(seq));
                int r = row_at(TABLE_EVENTS, &key, &row, &body);
                if (r == 0)
                        r = event_row_decode(body, &e);
                if (r == -EUCLEAN) {
                        store_suspect(s);
                        *cursor = seq;
                        return f->n ? 0 : -EUCLEAN; // what was found first, then the fault
                }
                if (r == 0)
                        r = fresh_event(f, owed, seq, &e);
                if (r) {
                        *cursor = seq;
                        return r < 0 ? r : f->n ? 0 : -ENOBUFS;
                }
                *cursor = seq + 1;
                if (f->n == f->max)
                        return 0;
                rc = mdb_cursor_get(events, &key, &row, MDB_NEXT);
        }
        return rc == MDB_NOTFOUND ? 0 : lmdb_error(rc);
}

int store_scan_fresh(Store *s, uint16_t sink, uint64_t *cursor, unsigned max_scan, DeliveryKey *ret,
        uint64_t *ret_bytes, unsigned n, unsigned *ret_n)
{
        FreshScan f = {.sink = sink, .keys = ret, .bytes = ret_bytes, .max = n};
        OwedWalk owed = {0};
        MDB_cursor *events = NULL;
        *ret_n = 0;
        if (n == 0)
                return 0;
        int rc = mdb_cursor_open(s->read, s->dbi[TABLE_EVENTS], &events);
        if (!rc)
                rc = mdb_cursor_open(s->read, s->dbi[TABLE_OWED], &owed.cursor);
        int r = lmdb_error(rc);
        if (r == 0)
                r = fresh_walk(s, events, &owed, &f, cursor, max_scan);
        if (owed.cursor)
                mdb_cursor_close(owed.cursor);
        if (events)
                mdb_cursor_close(events);
        *ret_n = f.n;
        return r;
}

// The owed row of a due row. One that is damaged is replaced by a young one: its budget is lost,
// its delivery is not.
static int due_owed(Store *s, const DueKey *k, StoreOwed *ret)
{
        int r = store_get_owed(s, k->d, ret);
        if (r == -EUCLEAN) {
                *ret = (StoreOwed){.state = k->due_usec == DUE_NEVER ? OWED_PARKED : OWED_WAITS,
                        .due_usec = k->due_usec == DUE_NEVER ? 0 : k->due_usec};
                return 0;
        }
        return r;
}

typedef int (*DueEach)(const DueKey *k, void *u); // non-zero stops

static int due_walk(Store *s, const DueKey *first, DueEach each, void *u)
{
        MDB_cursor *cursor;
        int rc = mdb_cursor_open(s->read, s->dbi[TABLE_DUE], &cursor), r = 0;
        if (rc)
                return lmdb_error(rc);
        Key from = key_due(first);
        MDB_val key = val_of(key_slice(&from)), row;
        rc = mdb_cursor_get(cursor, &key, &row, MDB_SET_RANGE);
        for (; rc == 0 && r == 0; rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) {
                DueKey k;
                Slice body;
                if (row_at(TABLE_DUE, &key, &row, &body) < 0 ||
                        key_read_due(slice_of_val(key), &k) < 0) {
                        store_suspect(s); // the next open rebuilds this table from the owed rows
                        continue;
                }
                if (k.sink != first->sink)
                        break;
                r = each(&k, u);
        }
        mdb_cursor_close(cursor);
        return r ? r : rc == MDB_NOTFOUND ? 0 : lmdb_error(rc);
}

typedef struct DueScan {
        Store *s;
        const DueDelivery *after;
        uint64_t until_usec, next;
        DueDelivery *out;
        unsigned n, max;
} DueScan;

static int due_scan_each(const DueKey *k, void *u)
{
        DueScan *d = u;
        if (d->after && k->due_usec == d->after->due_usec && k->d.seq == d->after->key.seq &&
                k->d.route == d->after->key.route)
                return 0;
        if (k->due_usec == DUE_NEVER)
                return 1;
        if (k->due_usec > d->until_usec || d->n == d->max) {
                d->next = k->due_usec;
                return 1;
        }
        DueDelivery *out = &d->out[d->n];
        int r = due_owed(d->s, k, &out->owed);
        if (r == -ENOENT)
                return 0; // an index row without its row: the scrub's business
        if (r < 0)
                return r;
        out->key = k->d;
        out->due_usec = k->due_usec;
        d->n++;
        return 0;
}

int store_scan_due(Store *s, uint16_t sink, const DueDelivery *after, uint64_t until_usec,
        DueDelivery *ret, unsigned n, unsigned *ret_n, uint64_t *ret_next)
{
        DueScan d = {.s = s,
                .after = after,
                .until_usec = until_usec,
                .next = USEC_INFINITY,
                .out = ret,
                .max = n};
        DueKey first = {.sink = sink};
        if (after) {
                first.due_usec = after->due_usec;
                first.d = after->key;
        }
        int r = due_walk(s, &first, due_scan_each, &d);
        *ret_n = d.n;
        if (ret_next)
                *ret_next = d.next;
        return r < 0 ? r : 0;
}

typedef struct OwedEach {
        Store *s;
        int (*each)(DeliveryKey d, const StoreOwed *o, void *u);
        void *u;
} OwedEach;

static int owed_each(const DueKey *k, void *u)
{
        OwedEach *e = u;
        StoreOwed o;
        int r = due_owed(e->s, k, &o);
        if (r == -ENOENT)
                return 0;
        return r < 0 ? r : e->each(k->d, &o, e->u);
}

int store_each_owed(
        Store *s, uint16_t sink, int (*each)(DeliveryKey d, const StoreOwed *o, void *u), void *u)
{
        OwedEach e = {s, each, u};
        return due_walk(s, &(DueKey){.sink = sink}, owed_each, &e);
}

// 1: the event still owes something to the sink.
static int event_owes(StoreTxn *t, uint64_t seq, const EventRow *e, uint16_t sink)
{
        for (uint16_t i = 0; i < e->n_routes; i++) {
                StoreRoute route;
                uint32_t own_len;
                event_row_route(e, i, &route, &own_len);
                if (route.sink != sink)
                        continue;
                Key key = key_delivery((DeliveryKey){seq, i});
                Slice body;
                StoreOwed o;
                if (e->n_routes == 1 ||
                        row_get(t->s, t->txn, TABLE_OWED, key_slice(&key), &body) < 0 ||
                        owed_decode(body, &o) < 0 || o.state != OWED_ENDED)
                        return 1;
        }
        return 0;
}

static void sink_settle_oldest(StoreTxn *t, uint16_t sink, SinkCounter *k)
{
        uint64_t seq = k->oldest;
        MDB_val key = val_of(slice_of_number(&seq)), row;
        int rc = mdb_cursor_get(t->events, &key, &row, MDB_SET_RANGE);
        for (int i = 0; i < SETTLE_STEPS && rc == 0; i++) {
                Slice body;
                EventRow e;
                memcpy(&k->oldest, key.mv_data, sizeof(k->oldest));
                if (row_at(TABLE_EVENTS, &key, &row, &body) < 0 || event_row_decode(body, &e) < 0)
                        return; // it stays the bound until it is quarantined
                if (event_owes(t, k->oldest, &e, sink)) {
                        k->stale = false;
                        return;
                }
                rc = mdb_cursor_get(t->events, &key, &row, MDB_NEXT);
        }
        if (rc && rc != MDB_NOTFOUND)
                txn_fail(t, lmdb_error(rc));
}

// The oldest event of each sink whose oldest ended, found with a bounded look; what is not found
// yet stays a lower bound and the next commit goes on from there.
void sinks_settle_oldest(StoreTxn *t)
{
        for (uint32_t i = 1; i < t->c.n_sinks && !t->error; i++) {
                SinkCounter *k = &t->c.sinks[i];
                if (k->deliveries == 0)
                        k->stale = false;
                if (!k->stale)
                        continue;
                int rc = t->events ? 0
                                   : mdb_cursor_open(t->txn, t->s->dbi[TABLE_EVENTS], &t->events);
                txn_fail(t, lmdb_error(rc));
                if (!t->error)
                        sink_settle_oldest(t, (uint16_t)i, k);
        }
}
