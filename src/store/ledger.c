// SPDX-License-Identifier: MIT
// What became of each attempt: packed, one value a commit (more only when it is longer than a
// chunk), the oldest dropped beyond the ledger's share of the store. It explains; nothing is
// decided by it, so a nearly full store writes none.
#include "store/files.h"

#include "event/record.h"
#include <errno.h>

enum {
        DETAIL_MAX = 255,
        PARTS_BITS = 10,     // a commit's number and its part make the key
        TRIM_A_COMMIT = 512, // rows; old ones may be much smaller than what one commit adds
        ENTRIES_MAX = 1024,  // of one value: CHUNK_BODY over the smallest entry, with room
};

uint64_t ledger_cost(size_t body_len)
{
        // Beyond half a page LMDB gives a value whole pages of its own.
        return body_len < 2000 ? body_len + 40
                               : (body_len + ENVELOPE_SIZE + 16 + 4095) & ~UINT64_C(4095);
}

static void ledger_put(StoreTxn *t)
{
        uint64_t number = t->c.commit << PARTS_BITS | t->ledger_part++;
        size_t len = t->ledger.len;
        uint8_t *to = txn_reserve(t, TABLE_LEDGER, slice_of_number(&number), len, MDB_APPEND);
        if (!to)
                return;
        memcpy(to, t->ledger.data, len);
        txn_seal(t, TABLE_LEDGER, slice_of_number(&number), to, len);
        t->c.ledger_bytes += ledger_cost(len);
        buf_reset(&t->ledger);
}

void ledger_add(StoreTxn *t, LedgerKind kind, DeliveryKey d, const StoreRoute *r, const EventRow *e,
        const StoreVerdict *v)
{
        if (t->error || t->ledger_part >> PARTS_BITS)
                return;
        LedgerEntry entry = {
                .kind = kind, .seq = d.seq, .route = d.route, .sink = r->sink, .rule = r->rule};
        Scratch *mark = t->s->scratch;
        EventRow row = *e;
        Record record;
        if (event_record(t->s, t->txn, d.seq, &row) == 0 &&
                record_parse(row.record, &record) == 0 && record.id.len == ID_HEX)
                memcpy(entry.event_id, record.id.data, ID_HEX);
        scratch_free(t->s, mark);
        if (v)
                entry.verdict = *v;
        if (entry.verdict.detail.len > DETAIL_MAX)
                entry.verdict.detail.len = DETAIL_MAX;
        size_t before = t->ledger.len;
        ledger_encode(&t->ledger, &entry);
        if (t->ledger.error) {
                txn_fail(t, t->ledger.error);
        } else if (t->ledger.len > CHUNK_BODY) { // the new entry begins the next value
                uint8_t last[DETAIL_MAX + 128];
                size_t n = t->ledger.len - before;
                memcpy(last, t->ledger.data + before, n);
                t->ledger.len = before;
                ledger_put(t);
                buf_add(&t->ledger, last, n);
        }
}

// Returns what the oldest value took; 0: there is none.
static uint64_t ledger_drop_oldest(StoreTxn *t, MDB_cursor *cursor)
{
        MDB_val key, row;
        int rc = mdb_cursor_get(cursor, &key, &row, MDB_FIRST);
        uint64_t cost = rc == 0 && row.mv_size >= ENVELOPE_SIZE
                                ? ledger_cost(row.mv_size - ENVELOPE_SIZE)
                                : 0;
        if (rc == 0)
                rc = mdb_cursor_del(cursor, 0);
        if (rc && rc != MDB_NOTFOUND)
                txn_fail(t, lmdb_error(rc));
        return rc == 0 ? cost : 0;
}

static void ledger_trim(StoreTxn *t)
{
        uint64_t limit = t->s->size / 100 * t->s->ledger_percent;
        MDB_cursor *cursor;
        if (t->error || t->c.ledger_bytes <= limit)
                return;
        int rc = mdb_cursor_open(t->txn, t->s->dbi[TABLE_LEDGER], &cursor);
        if (rc) {
                txn_fail(t, lmdb_error(rc));
                return;
        }
        for (int i = 0; i < TRIM_A_COMMIT && !t->error && t->c.ledger_bytes > limit; i++) {
                uint64_t cost = ledger_drop_oldest(t, cursor);
                if (cost == 0)
                        break;
                t->c.ledger_bytes -= cost < t->c.ledger_bytes ? cost : t->c.ledger_bytes;
        }
        mdb_cursor_close(cursor);
}

void ledger_flush(StoreTxn *t)
{
        if (t->error || t->ledger.len == 0)
                return;
        if (t->s->size - env_used(t->s, t->txn) > t->s->size / 64)
                ledger_put(t);
        ledger_trim(t);
}

// Entries stand oldest first; the reader wants the newest first.
static int ledger_each_back(Slice body, int (*each)(const LedgerEntry *e, void *u), void *u)
{
        static uint32_t ends[ENTRIES_MAX]; // offsets behind each entry
        uint32_t n = 0;
        WireReader w = wire_reader(body);
        LedgerEntry e;
        uint32_t starts = 0;
        while (n < ENTRIES_MAX && ledger_decode(&w, &e)) {
                ends[n++] = starts;
                starts = (uint32_t)(body.len - w.left);
        }
        if (w.bad)
                return -EUCLEAN;
        while (n-- > 0) {
                w = wire_reader(slice_mem(body.data + ends[n], body.len - ends[n]));
                if (!ledger_decode(&w, &e))
                        return -EUCLEAN;
                int r = each(&e, u);
                if (r)
                        return r;
        }
        return 0;
}

int store_each_ledger(Store *s, uint64_t *cursor, unsigned max_commits,
        int (*each)(const LedgerEntry *e, void *u), void *u)
{
        MDB_cursor *c;
        int rc = mdb_cursor_open(s->read, s->dbi[TABLE_LEDGER], &c);
        if (rc)
                return lmdb_error(rc);
        MDB_val key, row;
        uint64_t before = *cursor;
        int r = 0;
        if (before) {
                key = val_of(slice_of_number(&before));
                rc = mdb_cursor_get(c, &key, &row, MDB_SET_RANGE);
                rc = mdb_cursor_get(c, &key, &row, rc == 0 ? MDB_PREV : MDB_LAST);
        } else {
                rc = mdb_cursor_get(c, &key, &row, MDB_LAST);
        }
        for (unsigned i = 0; i < max_commits && rc == 0 && r == 0; i++) {
                Slice body;
                if (key.mv_size == sizeof(*cursor))
                        memcpy(cursor, key.mv_data, sizeof(*cursor));
                if (row_at(TABLE_LEDGER, &key, &row, &body) == 0)
                        r = ledger_each_back(body, each, u);
                else
                        store_suspect(s); // its entries are gone; older ones may still answer
                if (r == 0)
                        rc = mdb_cursor_get(c, &key, &row, MDB_PREV);
        }
        mdb_cursor_close(c);
        if (r == 0 && rc == MDB_NOTFOUND)
                *cursor = 1; // nothing is older than the first key
        return r ? r : rc == MDB_NOTFOUND ? 0 : lmdb_error(rc);
}
