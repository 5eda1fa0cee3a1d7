// SPDX-License-Identifier: MIT
// Reading: one read transaction at a time, renewed for each read and reset behind it, because a
// reader that stays keeps every page that is freed. Rows are checked as they are read; values that
// stand in chunks are put together in memory that lives until the end of the read.
#include "store/files.h"

#include <assert.h>
#include <errno.h>

static const char *const end_names[_DELIVERY_END_MAX] = {
        [END_DELIVERED] = "delivered",
        [END_DEAD] = "dead",
        [END_DISCARDED] = "discarded",
};

const char *delivery_end_to_string(DeliveryEnd e)
{
        return e >= 0 && e < _DELIVERY_END_MAX ? end_names[e] : "?";
}

int store_read_counters(Store *s, MDB_txn *txn, Counters *ret)
{
        Slice body;
        int r = row_get(s, txn, TABLE_META, SLICE_LIT("commit"), &body);
        if (r == -ENOENT)
                r = -EUCLEAN;
        return r < 0 ? r : counters_decode(body, ret);
}

int store_read_begin(Store *s)
{
        assert(!s->reading);
        int r = lmdb_error(s->read ? mdb_txn_renew(s->read)
                                   : mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->read));
        if (r < 0)
                return r;
        if (s->read_only) { // another process writes
                Counters c;
                r = store_read_counters(s, s->read, &c);
                if (r < 0) {
                        mdb_txn_reset(s->read);
                        return r;
                }
                counters_deinit(&s->committed);
                s->committed = c;
                s->used = env_claimed(s, s->read, &s->committed);
        }
        s->reading = true;
        return 0;
}

void store_read_end(Store *s)
{
        if (!s->reading)
                return;
        mdb_txn_reset(s->read);
        scratch_free(s, NULL);
        s->reading = false;
}

static StoreEvent event_view(uint64_t seq, const EventRow *e)
{
        return (StoreEvent){.seq = seq,
                .n_routes = e->n_routes,
                .source = e->source,
                .stored_usec = e->stored_usec,
                .record = e->record,
                .routes_raw = e->routes};
}

int store_get_event(Store *s, uint64_t seq, StoreEvent *ret)
{
        EventRow e;
        int r = event_get(s, s->read, seq, &e);
        if (r == 0)
                r = event_record(s, s->read, seq, &e);
        if (r == -EUCLEAN)
                store_suspect(s);
        if (r == 0)
                *ret = event_view(seq, &e);
        return r;
}

int store_event_route(const StoreEvent *e, uint16_t route, StoreRoute *ret)
{
        if (route >= e->n_routes)
                return -ENOENT;
        uint32_t own_len;
        EventRow row = {.n_routes = e->n_routes, .routes = e->routes_raw};
        event_row_route(&row, route, ret, &own_len);
        return 0;
}

int store_get_own(Store *s, DeliveryKey d, Slice *ret_headers, Slice *ret_body)
{
        EventRow e;
        int r = event_get(s, s->read, d.seq, &e);
        if (r < 0)
                return r;
        if (d.route >= e.n_routes)
                return -ENOENT;
        StoreRoute route;
        uint32_t own_len;
        event_row_route(&e, d.route, &route, &own_len);
        if (!(route.flags & (ROUTE_OWN_BODY | ROUTE_OWN_HEADERS))) {
                *ret_headers = *ret_body = SLICE_NULL;
                return 0;
        }
        return own_get(s, s->read, d, own_len, ret_headers, ret_body);
}

int store_get_owed(Store *s, DeliveryKey d, StoreOwed *ret)
{
        Key key = key_delivery(d);
        Slice body;
        int r = row_get(s, s->read, TABLE_OWED, key_slice(&key), &body);
        return r < 0 ? r : owed_decode(body, ret);
}

int store_get_dead(Store *s, uint64_t dead, StoreDead *ret)
{
        DeadRow d;
        int r = dead_get(s, s->read, dead, &d);
        if (r == 0)
                *ret = d.dead;
        return r;
}

// All rows of a table of numbers from one on. A damaged row does not hide those behind it: they
// are told, and -EUCLEAN is returned at the end.
typedef int (*NumberEach)(Store *s, uint64_t number, Slice body, void *u);

static int numbers_each(Store *s, Table table, uint64_t from, NumberEach each, void *u)
{
        MDB_cursor *cursor;
        int rc = mdb_cursor_open(s->read, s->dbi[table], &cursor), r = 0;
        if (rc)
                return lmdb_error(rc);
        bool damaged = false;
        MDB_val key = val_of(slice_of_number(&from)), row;
        rc = mdb_cursor_get(cursor, &key, &row, MDB_SET_RANGE);
        for (; rc == 0 && r == 0; rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) {
                uint64_t number = 0;
                Slice body;
                Scratch *mark = s->scratch;
                if (key.mv_size == sizeof(number))
                        memcpy(&number, key.mv_data, sizeof(number));
                r = row_at(table, &key, &row, &body);
                if (r == 0)
                        r = each(s, number, body, u);
                if (r == -EUCLEAN) {
                        store_suspect(s);
                        damaged = true;
                        r = 0;
                }
                scratch_free(s, mark);
        }
        mdb_cursor_close(cursor);
        if (r)
                return r;
        if (rc != MDB_NOTFOUND)
                return lmdb_error(rc);
        return damaged ? -EUCLEAN : 0;
}

typedef struct EachCall {
        int (*event)(const StoreEvent *e, void *u);
        int (*dead)(const StoreDead *d, void *u);
        int (*gap)(const StoreGap *g, void *u);
        void *u;
} EachCall;

static int event_each(Store *s, uint64_t seq, Slice body, void *u)
{
        const EachCall *c = u;
        EventRow e;
        int r = event_row_decode(body, &e);
        if (r == 0)
                r = event_record(s, s->read, seq, &e);
        if (r < 0)
                return r;
        StoreEvent view = event_view(seq, &e);
        return c->event(&view, c->u);
}

int store_each_event(Store *s, uint64_t from, int (*each)(const StoreEvent *e, void *u), void *u)
{
        EachCall c = {.event = each, .u = u};
        return numbers_each(s, TABLE_EVENTS, from, event_each, &c);
}

static int dead_each(Store *s, uint64_t dead, Slice body, void *u)
{
        const EachCall *c = u;
        DeadRow d;
        int r = dead_get(s, s->read, dead, &d);
        return r < 0 ? r : c->dead(&d.dead, c->u);
}

int store_each_dead(Store *s, uint64_t from, int (*each)(const StoreDead *d, void *u), void *u)
{
        EachCall c = {.dead = each, .u = u};
        return numbers_each(s, TABLE_DEAD, from, dead_each, &c);
}

static int gap_each(Store *s, uint64_t seq, Slice body, void *u)
{
        const EachCall *c = u;
        StoreGap g = {.seq = seq};
        uint32_t len;
        int r = gap_decode(body, &g.source, &len, &g.record);
        if (r == 0 && !fits_inline(len))
                r = blob_borrow(s, s->read, (BlobKey){BLOB_GAP, seq, 0}, len, &g.record);
        return r < 0 ? r : c->gap(&g, c->u);
}

int store_each_gap(Store *s, int (*each)(const StoreGap *g, void *u), void *u)
{
        EachCall c = {.gap = each, .u = u};
        return numbers_each(s, TABLE_GAPS, 0, gap_each, &c);
}

void store_usage(Store *s, StoreUsage *ret)
{
        const Counters *c = &s->committed;
        *ret = (StoreUsage){
                .size = s->size,
                .used = s->used,
                .events = c->events,
                .event_bytes = c->event_bytes,
                .dead = c->dead,
                .dead_bytes = c->dead_bytes,
                .ledger_bytes = c->ledger_bytes,
                .quarantined = c->quarantined,
                .open_gaps = c->gaps,
                .last_seq = c->next_seq - 1,
                .commits = c->commit,
        };
}

void store_sink_usage(Store *s, uint16_t sink, SinkUsage *ret)
{
        *ret = (SinkUsage){0};
        if (sink >= s->committed.n_sinks)
                return;
        const SinkCounter *k = &s->committed.sinks[sink];
        *ret = (SinkUsage){k->deliveries, k->bytes, k->deliveries ? k->oldest : 0};
}

uint64_t store_state_bytes(Store *s, uint32_t source)
{
        return source < s->committed.n_state ? s->committed.state[source] : 0;
}
