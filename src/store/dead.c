// SPDX-License-Identifier: MIT
// Dead letters: a delivery that was given up, with its reason and every byte that is needed to send
// it again unchanged. It left the queue; its event may still be there for other sinks.
#include "store/internal.h"

#include "base/clock.h"
#include <errno.h>

static void dead_put(StoreTxn *t, uint64_t dead, const DeadRow *d)
{
        buf_reset(&t->tmp);
        dead_encode(&t->tmp, d);
        txn_fail(t, t->tmp.error);
        txn_put(t, TABLE_DEAD, slice_of_number(&dead), buf_slice(&t->tmp));
        if (!fits_inline(d->record_len))
                blob_put(t, (BlobKey){BLOB_DEAD, dead, 0}, d->dead.record, SLICE_NULL);
        if (!fits_inline(d->own_len))
                blob_put(t, (BlobKey){BLOB_DEAD_OWN, dead, 0}, d->dead.route.own_headers,
                        d->dead.route.own_body);
        t->c.dead++;
        t->c.dead_bytes += (uint64_t)d->record_len + d->own_len;
}

static DeadRow dead_row(uint64_t seq, uint32_t source, uint32_t record_len, const char *reason,
        const StoreVerdict *v)
{
        DeadRow row = {
                .seq = seq, .source = source, .record_len = record_len, .dead.reason = reason};
        if (v)
                row.dead.verdict = *v;
        if (row.dead.verdict.detail.len > 512)
                row.dead.verdict.detail.len = 512;
        return row;
}

uint64_t store_put_dead(
        StoreTxn *t, uint32_t source, Slice record, const char *reason, const StoreVerdict *v)
{
        DeadRow row = dead_row(0, source, (uint32_t)record.len, reason, v);
        row.dead.record = record;
        uint64_t dead = t->c.next_dead++;
        dead_put(t, dead, &row);
        return dead;
}

uint64_t store_bury(StoreTxn *t, DeliveryKey d, const char *reason, const StoreVerdict *v)
{
        EventRow e;
        StoreRoute loaded;
        uint32_t own_len;
        uint64_t dead = 0;
        if (delivery_load(t, d, &e, &loaded, &own_len) != 0)
                return 0;
        DeadRow row = dead_row(d.seq, e.source, e.record_len, reason, v);
        StoreRoute *route = &row.dead.route;
        *route = loaded;
        row.own_len = own_len;
        Scratch *mark = t->s->scratch;
        int r = event_record(t->s, t->txn, d.seq, &e);
        if (r == 0 && (route->flags & (ROUTE_OWN_BODY | ROUTE_OWN_HEADERS)))
                r = own_get(t->s, t->txn, d, row.own_len, &route->own_headers, &route->own_body);
        if (r == -EUCLEAN) { // its bytes are damaged: there is nothing to send again
                scratch_free(t->s, mark);
                store_quarantine(t, d.seq);
                return 0;
        }
        txn_fail(t, r);
        if (!t->error) {
                row.own_headers_len = (uint32_t)route->own_headers.len;
                row.dead.record = e.record;
                ledger_add(t, LEDGER_DEAD, d, route, &e, v);
                dead = t->c.next_dead++;
                dead_put(t, dead, &row);
                if (!fits_inline(e.record_len)) // borrowed from scratch, which goes now
                        e.record = SLICE_NULL;
                delivery_close(t, d, &e);
        }
        scratch_free(t->s, mark);
        return dead;
}

static int dead_get_row(Store *s, MDB_txn *txn, uint64_t dead, DeadRow *ret)
{
        Slice body;
        int r = row_get(s, txn, TABLE_DEAD, slice_of_number(&dead), &body);
        return r < 0 ? r : dead_decode(body, ret);
}

int dead_get(Store *s, MDB_txn *txn, uint64_t dead, DeadRow *ret)
{
        DeadRow d;
        int r = dead_get_row(s, txn, dead, &d);
        if (r == 0 && !fits_inline(d.record_len))
                r = blob_borrow(
                        s, txn, (BlobKey){BLOB_DEAD, dead, 0}, d.record_len, &d.dead.record);
        Slice own;
        if (r == 0 && !fits_inline(d.own_len)) {
                r = blob_borrow(s, txn, (BlobKey){BLOB_DEAD_OWN, dead, 0}, d.own_len, &own);
                if (r == 0) {
                        d.dead.route.own_headers = slice_mem(own.data, d.own_headers_len);
                        d.dead.route.own_body = slice_mem(
                                own.data + d.own_headers_len, d.own_len - d.own_headers_len);
                }
        }
        if (r < 0)
                return r;
        d.dead.dead = dead;
        d.dead.source = d.source;
        *ret = d;
        return 0;
}

static void dead_del(StoreTxn *t, uint64_t dead, const DeadRow *d)
{
        if (!fits_inline(d->record_len))
                blob_del(t, (BlobKey){BLOB_DEAD, dead, 0}, d->record_len);
        if (!fits_inline(d->own_len))
                blob_del(t, (BlobKey){BLOB_DEAD_OWN, dead, 0}, d->own_len);
        (void)!txn_del(t, TABLE_DEAD, slice_of_number(&dead));
        t->c.dead--;
        t->c.dead_bytes -= (uint64_t)d->record_len + d->own_len;
}

static void dead_ledger(StoreTxn *t, LedgerKind kind, DeliveryKey d, const DeadRow *row)
{
        StoreVerdict now = {.when_usec = clock_wall_usec(), .class = row->dead.verdict.class};
        EventRow e = {.record_len = row->record_len, .record = row->dead.record};
        ledger_add(t, kind, d, &row->dead.route, &e, &now);
}

static void dead_quarantine(StoreTxn *t, uint64_t dead)
{
        quarantine_row(t, TABLE_DEAD, slice_of_number(&dead));
        for (const char *kind = "db"; *kind; kind++) { // BLOB_DEAD, BLOB_DEAD_OWN
                Key prefix;
                prefix.len = 0;
                key_u8(&prefix, (uint8_t)*kind);
                key_u64(&prefix, dead);
                quarantine_prefix(t, TABLE_CHUNKS, key_slice(&prefix), true);
        }
}

int store_dead_retry(StoreTxn *t, uint64_t dead, uint64_t *ret_seq)
{
        if (t->error)
                return t->error;
        Store *s = t->s;
        Scratch *mark = s->scratch;
        DeadRow d;
        int r = dead_get(s, t->txn, dead, &d);
        if (r == 0) {
                uint64_t seq = store_put_event(t, d.source, d.dead.record, &d.dead.route, 1);
                dead_ledger(t, LEDGER_RETRIED, (DeliveryKey){seq, 0}, &d);
                dead_del(t, dead, &d);
                r = t->error;
                if (r == 0)
                        *ret_seq = seq;
        }
        scratch_free(s, mark);
        return r;
}

int store_dead_drop(StoreTxn *t, uint64_t dead)
{
        if (t->error)
                return t->error;
        Store *s = t->s;
        Scratch *mark = s->scratch;
        DeadRow d;
        int r = dead_get(s, t->txn, dead, &d);
        if (r == 0) {
                dead_ledger(t, LEDGER_DISCARDED, (DeliveryKey){d.seq, 0}, &d);
                dead_del(t, dead, &d);
                r = t->error;
        } else if (r == -EUCLEAN) {
                dead_quarantine(t, dead);
                r = t->error;
        }
        scratch_free(s, mark);
        return r;
}
