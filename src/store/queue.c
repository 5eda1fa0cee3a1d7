// SPDX-License-Identifier: MIT
// The queue: events come in with their routes, deliveries are deferred and end, an event goes with
// its last route. Fresh work is one row. Invariants: a route without an owed row is due now; every
// owed row that has not ended has exactly one due row, at owed_due(); an ENDED row exists only
// while another route of its event has not ended; a bodies row exists as long as its route has not
// ended.
#include "store/files.h"

#include "base/clock.h"
#include <errno.h>

static void own_put(StoreTxn *t, DeliveryKey d, const StoreRoute *r)
{
        size_t len = r->own_headers.len + r->own_body.len;
        size_t here = fits_inline(len) ? len : 0;
        Key key = key_delivery(d);
        uint8_t *to = txn_reserve(t, TABLE_BODIES, key_slice(&key), 8 + here, 0);
        if (!to)
                return;
        uint32_t sizes[2] = {htole32((uint32_t)r->own_headers.len), htole32((uint32_t)len)};
        memcpy(to, sizes, sizeof(sizes));
        if (here && r->own_headers.len)
                memcpy(to + 8, r->own_headers.data, r->own_headers.len);
        if (here && r->own_body.len)
                memcpy(to + 8 + r->own_headers.len, r->own_body.data, r->own_body.len);
        txn_seal(t, TABLE_BODIES, key_slice(&key), to, 8 + here);
        if (!here && len)
                blob_put(t, (BlobKey){BLOB_OWN, d.seq, d.route}, r->own_headers, r->own_body);
}

int own_get(Store *s, MDB_txn *txn, DeliveryKey d, uint32_t own_len, Slice *headers, Slice *body)
{
        Key key = key_delivery(d);
        Slice row;
        int r = row_get(s, txn, TABLE_BODIES, key_slice(&key), &row);
        if (r < 0)
                return r == -ENOENT ? -EUCLEAN : r;
        WireReader w = wire_reader(row);
        uint32_t headers_len = wire_u32(&w);
        uint32_t len = wire_u32(&w);
        Slice all = fits_inline(len) ? wire_raw(&w, len) : SLICE_NULL;
        if (!wire_end(&w) || headers_len > len || len != own_len)
                return -EUCLEAN;
        if (!fits_inline(len)) {
                r = blob_borrow(s, txn, (BlobKey){BLOB_OWN, d.seq, d.route}, len, &all);
                if (r < 0)
                        return r;
        }
        *headers = slice_mem(all.data, headers_len);
        *body = slice_mem(all.data + headers_len, len - headers_len);
        return 0;
}

static void own_del(StoreTxn *t, DeliveryKey d, uint32_t own_len)
{
        Key key = key_delivery(d);
        (void)txn_del(t, TABLE_BODIES, key_slice(&key));
        if (!fits_inline(own_len))
                blob_del(t, (BlobKey){BLOB_OWN, d.seq, d.route}, own_len);
}

static bool has_own(const StoreRoute *r)
{
        return r->flags & (ROUTE_OWN_BODY | ROUTE_OWN_HEADERS);
}

static void count_put(StoreTxn *t, uint64_t seq, size_t record_len, const StoreRoute *r)
{
        SinkCounter *k = counters_sink(&t->c, r->sink);
        if (!k || r->sink == 0) {
                txn_fail(t, k ? -EINVAL : -ENOMEM);
                return;
        }
        size_t own_len = r->own_headers.len + r->own_body.len;
        if (k->deliveries++ == 0)
                k->oldest = seq;
        k->bytes += record_len + own_len;
        t->c.event_bytes += own_len;
}

uint64_t store_put_event(
        StoreTxn *t, uint32_t source, Slice record, const StoreRoute *routes, uint16_t n_routes)
{
        uint64_t seq = t->c.next_seq;
        if (t->error)
                return seq;
        t->c.next_seq++;
        t->dirty = true; // the number is taken even if nothing is stored
        if (n_routes == 0)
                return seq;
        size_t total = record.len, row_len = event_row_size(record.len, n_routes);
        for (uint16_t i = 0; i < n_routes; i++)
                total += ROUTE_SIZE + DEFER_COST + routes[i].own_headers.len +
                         routes[i].own_body.len;
        if (!txn_may_grow(t, total))
                return seq;
        EventRow e = {.source = source,
                .stored_usec = clock_wall_usec(),
                .record_len = (uint32_t)record.len,
                .n_routes = n_routes};
        uint8_t *body = txn_reserve(t, TABLE_EVENTS, slice_of_number(&seq), row_len, MDB_APPEND);
        if (!body)
                return seq;
        uint8_t *at = event_row_encode(body, &e, routes);
        if (fits_inline(record.len) && record.len)
                memcpy(at, record.data, record.len);
        txn_seal(t, TABLE_EVENTS, slice_of_number(&seq), body, row_len);
        if (!fits_inline(record.len))
                blob_put(t, (BlobKey){BLOB_RECORD, seq, 0}, record, SLICE_NULL);
        t->c.events++;
        t->c.event_bytes += record.len;
        for (uint16_t i = 0; i < n_routes && !t->error; i++) {
                count_put(t, seq, record.len, &routes[i]);
                if (has_own(&routes[i]))
                        own_put(t, (DeliveryKey){seq, i}, &routes[i]);
        }
        return seq;
}

int event_get(Store *s, MDB_txn *txn, uint64_t seq, EventRow *ret)
{
        Slice body;
        int r = row_get(s, txn, TABLE_EVENTS, slice_of_number(&seq), &body);
        return r < 0 ? r : event_row_decode(body, ret);
}

int event_record(Store *s, MDB_txn *txn, uint64_t seq, EventRow *e)
{
        if (e->record.data || fits_inline(e->record_len))
                return 0;
        return blob_borrow(s, txn, (BlobKey){BLOB_RECORD, seq, 0}, e->record_len, &e->record);
}

// One descent for reading the row and for deleting it.
static int event_seek(StoreTxn *t, uint64_t seq, EventRow *ret)
{
        int rc = t->events ? 0 : mdb_cursor_open(t->txn, t->s->dbi[TABLE_EVENTS], &t->events);
        MDB_val key = val_of(slice_of_number(&seq)), row;
        if (!rc)
                rc = mdb_cursor_get(t->events, &key, &row, MDB_SET);
        if (rc)
                return lmdb_error(rc);
        Slice body;
        int r = envelope_open(TABLE_EVENTS, slice_of_number(&seq), slice_of_val(row), &body);
        return r < 0 ? r : event_row_decode(body, ret);
}

static bool owed_is_empty(StoreTxn *t)
{
        MDB_stat stat;
        return mdb_stat(t->txn, t->s->dbi[TABLE_OWED], &stat) == 0 && stat.ms_entries == 0;
}

// 0, -ENOENT or -EUCLEAN; a damaged row is not the transaction's error, it can be overwritten.
static int owed_load(StoreTxn *t, DeliveryKey d, StoreOwed *ret)
{
        if (t->error || owed_is_empty(t))
                return -ENOENT;
        Key key = key_delivery(d);
        Slice body;
        int r = row_get(t->s, t->txn, TABLE_OWED, key_slice(&key), &body);
        return r < 0 ? r : owed_decode(body, ret);
}

static void due_put(StoreTxn *t, uint16_t sink, uint64_t due_usec, DeliveryKey d)
{
        Key key = key_due(&(DueKey){.sink = sink, .due_usec = due_usec, .d = d});
        txn_put(t, TABLE_DUE, key_slice(&key), SLICE_NULL);
}

// The owed row that knew the time is damaged: look for the due row by what it points to.
static void due_del_lost(StoreTxn *t, uint16_t sink, DeliveryKey d)
{
        MDB_cursor *cursor;
        int rc = mdb_cursor_open(t->txn, t->s->dbi[TABLE_DUE], &cursor);
        if (rc) {
                txn_fail(t, lmdb_error(rc));
                return;
        }
        Key first = key_due(&(DueKey){.sink = sink});
        MDB_val key = val_of(key_slice(&first)), row;
        for (rc = mdb_cursor_get(cursor, &key, &row, MDB_SET_RANGE); rc == 0;
                rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) {
                DueKey k;
                if (key_read_due(slice_of_val(key), &k) < 0 || k.sink != sink)
                        break;
                if (k.d.seq != d.seq || k.d.route != d.route)
                        continue;
                rc = mdb_cursor_del(cursor, 0);
                break;
        }
        mdb_cursor_close(cursor);
        if (rc && rc != MDB_NOTFOUND)
                txn_fail(t, lmdb_error(rc));
}

static void due_del(StoreTxn *t, uint16_t sink, DeliveryKey d)
{
        StoreOwed o;
        int r = owed_load(t, d, &o);
        if (r == -EUCLEAN)
                due_del_lost(t, sink, d);
        if (r < 0 || o.state == OWED_ENDED)
                return;
        Key key = key_due(&(DueKey){.sink = sink, .due_usec = owed_due(&o), .d = d});
        (void)txn_del(t, TABLE_DUE, key_slice(&key));
}

static void owed_put(StoreTxn *t, DeliveryKey d, const StoreOwed *o)
{
        Key key = key_delivery(d);
        buf_reset(&t->tmp);
        owed_encode(&t->tmp, o);
        txn_fail(t, t->tmp.error);
        txn_put(t, TABLE_OWED, key_slice(&key), buf_slice(&t->tmp));
}

int delivery_load(StoreTxn *t, DeliveryKey d, EventRow *e, StoreRoute *r, uint32_t *own_len)
{
        if (t->error)
                return t->error;
        int result = event_seek(t, d.seq, e);
        if (result == -EUCLEAN) { // nobody can deliver it any more, whatever became of this attempt
                store_suspect(t->s);
                store_quarantine(t, d.seq);
                return 1;
        }
        if (result == -ENOENT)
                return 1;
        if (result == 0 && d.route >= e->n_routes)
                result = -EINVAL;
        if (result < 0) {
                txn_fail(t, result);
                return result;
        }
        event_row_route(e, d.route, r, own_len);
        StoreOwed o;
        if (e->n_routes > 1 && owed_load(t, d, &o) == 0 && o.state == OWED_ENDED)
                return 1;
        return 0;
}

static bool others_have_ended(StoreTxn *t, DeliveryKey d, const EventRow *e)
{
        for (uint16_t i = 0; i < e->n_routes; i++) {
                StoreOwed o;
                if (i != d.route &&
                        (owed_load(t, (DeliveryKey){d.seq, i}, &o) < 0 || o.state != OWED_ENDED))
                        return false;
        }
        return true;
}

static void event_remove(StoreTxn *t, uint64_t seq, const EventRow *e)
{
        bool any_owed = !owed_is_empty(t);
        for (uint16_t i = 0; any_owed && i < e->n_routes; i++) {
                Key key = key_delivery((DeliveryKey){seq, i});
                (void)txn_del(t, TABLE_OWED, key_slice(&key));
        }
        if (!fits_inline(e->record_len))
                blob_del(t, (BlobKey){BLOB_RECORD, seq, 0}, e->record_len);
        t->c.events--;
        t->c.event_bytes -= e->record_len;
        if (!t->error) // the cursor still stands where delivery_load() put it
                txn_fail(t, lmdb_error(mdb_cursor_del(t->events, 0)));
        t->dirty = true;
}

void delivery_close(StoreTxn *t, DeliveryKey d, const EventRow *e)
{
        StoreRoute route;
        uint32_t own_len;
        event_row_route(e, d.route, &route, &own_len);
        due_del(t, route.sink, d);
        if (has_own(&route))
                own_del(t, d, own_len);
        SinkCounter *k = counters_sink(&t->c, route.sink);
        if (!k) {
                txn_fail(t, -ENOMEM);
                return;
        }
        k->deliveries--;
        k->bytes -= (uint64_t)e->record_len + own_len;
        k->stale |= d.seq == k->oldest;
        if (k->deliveries == 0)
                k->oldest = 0;
        if (others_have_ended(t, d, e)) {
                for (uint16_t i = 0; i < e->n_routes;
                        i++) { // bytes of all routes left with the event
                        event_row_route(e, i, &route, &own_len);
                        t->c.event_bytes -= own_len;
                }
                event_remove(t, d.seq, e);
        } else {
                owed_put(t, d, &(StoreOwed){.state = OWED_ENDED});
        }
}

void store_defer(StoreTxn *t, DeliveryKey d, const StoreOwed *o, const StoreVerdict *v)
{
        EventRow e;
        StoreRoute route;
        uint32_t own_len;
        if (o->state >= _OWED_STATE_MAX || o->state == OWED_ENDED)
                txn_fail(t, -EINVAL);
        if (delivery_load(t, d, &e, &route, &own_len) != 0)
                return;
        if (v)
                ledger_add(t, LEDGER_ATTEMPT_FAILED, d, &route, &e, v);
        due_del(t, route.sink, d);
        owed_put(t, d, o);
        due_put(t, route.sink, owed_due(o), d);
}

void store_end(StoreTxn *t, DeliveryKey d, DeliveryEnd end, const StoreVerdict *v)
{
        EventRow e;
        StoreRoute route;
        uint32_t own_len;
        if (delivery_load(t, d, &e, &route, &own_len) != 0)
                return;
        LedgerKind kind = end == END_DELIVERED ? LEDGER_DELIVERED
                          : end == END_DEAD    ? LEDGER_DEAD
                                               : LEDGER_DISCARDED;
        ledger_add(t, kind, d, &route, &e, v);
        delivery_close(t, d, &e);
}
