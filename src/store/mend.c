// SPDX-License-Identifier: MIT
// A store that was put together from what could be read again: rows whose other half is missing
// go, the index of times is made anew from the owed rows, the counters are counted. What remains
// is a store that scrub finds no fault in. Says what it dropped; adds nothing that was not there.
#include "store/files.h"

#include <errno.h>

// Numbers are skipped when it is not known which were given out, so that none is given twice.
#define NUMBERS_SKIPPED UINT64_C(1000000)

// The first faulty row behind `from` (which is moved to it); false at the end.
static bool next_fault(StoreTxn *t, Table table, Key *from)
{
        MDB_cursor *cursor;
        if (t->error)
                return false;
        int rc = mdb_cursor_open(t->txn, t->s->dbi[table], &cursor);
        if (rc) {
                txn_fail(t, lmdb_error(rc));
                return false;
        }
        MDB_val key = val_of(key_slice(from)), row;
        bool found = false;
        rc = mdb_cursor_get(cursor, &key, &row, from->len ? MDB_SET_RANGE : MDB_FIRST);
        while (rc == 0 && !found) {
                Slice body;
                found = row_at(table, &key, &row, &body) < 0 ||
                        row_fault(t->s, t->txn, table, slice_of_val(key), body) != NULL;
                scratch_free(t->s, NULL);
                if (found) {
                        from->len = 0;
                        key_add(from, key.mv_data, key.mv_size);
                } else {
                        rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
                }
        }
        mdb_cursor_close(cursor);
        if (rc && rc != MDB_NOTFOUND)
                txn_fail(t, lmdb_error(rc));
        return found;
}

static unsigned drop_faulty(StoreTxn *t, Table table)
{
        Key key;
        key.len = 0;
        unsigned n = 0;
        while (next_fault(t, table, &key)) {
                if (table == TABLE_EVENTS) {
                        uint64_t seq;
                        memcpy(&seq, key.bytes, sizeof(seq));
                        store_quarantine(t, seq);
                } else {
                        quarantine_row(t, table, key_slice(&key));
                }
                n++;
        }
        return n;
}

static void due_rebuild(StoreTxn *t)
{
        MDB_cursor *cursor;
        int rc = t->error ? MDB_NOTFOUND : mdb_cursor_open(t->txn, t->s->dbi[TABLE_OWED], &cursor);
        if (rc) {
                txn_fail(t, t->error ? t->error : lmdb_error(rc));
                return;
        }
        MDB_val key, row;
        while (!t->error && (rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) == 0) {
                DeliveryKey d;
                StoreOwed o;
                EventRow e;
                Slice body;
                if (row_at(TABLE_OWED, &key, &row, &body) < 0 || owed_decode(body, &o) < 0 ||
                        key_read_delivery(slice_of_val(key), &d) < 0 || o.state == OWED_ENDED ||
                        event_get(t->s, t->txn, d.seq, &e) < 0 || d.route >= e.n_routes)
                        continue; // dropped afterwards, or needs none
                StoreRoute route;
                uint32_t own_len;
                event_row_route(&e, d.route, &route, &own_len);
                Key due = key_due(&(DueKey){.sink = route.sink, .due_usec = owed_due(&o), .d = d});
                txn_put(t, TABLE_DUE, key_slice(&due), SLICE_NULL);
        }
        mdb_cursor_close(cursor);
}

static uint64_t last_number(StoreTxn *t, Table table)
{
        MDB_cursor *cursor;
        MDB_val key, row;
        uint64_t number = 0;
        if (t->error || mdb_cursor_open(t->txn, t->s->dbi[table], &cursor) != 0)
                return 0;
        if (mdb_cursor_get(cursor, &key, &row, MDB_LAST) == 0 && key.mv_size == sizeof(number))
                memcpy(&number, key.mv_data, sizeof(number));
        mdb_cursor_close(cursor);
        return number;
}

// The commit row, if it came over, knows which numbers were given out; else guess high.
static void numbers_restore(StoreTxn *t)
{
        Counters old;
        if (!t->error && store_read_counters(t->s, t->txn, &old) == 0) {
                t->c.commit = old.commit + 1;
                t->c.next_seq = old.next_seq;
                t->c.next_dead = old.next_dead;
                memcpy(t->c.chain, old.chain, CHAIN_SIZE);
                counters_deinit(&old);
        } else {
                t->c.commit = (last_number(t, TABLE_LEDGER) >> 10) + NUMBERS_SKIPPED;
                t->c.next_seq = 1 + NUMBERS_SKIPPED;
                t->c.next_dead = 1 + NUMBERS_SKIPPED;
        }
        uint64_t seq = last_number(t, TABLE_EVENTS), gap = last_number(t, TABLE_GAPS);
        uint64_t dead = last_number(t, TABLE_DEAD);
        seq = gap > seq ? gap : seq;
        if (t->c.next_seq <= seq)
                t->c.next_seq = seq + NUMBERS_SKIPPED;
        if (t->c.next_dead <= dead)
                t->c.next_dead = dead + NUMBERS_SKIPPED;
}

int mend(Store *s, Buf *ret_lost)
{
        static const Table order[] = {TABLE_EVENTS, TABLE_DEAD, TABLE_GAPS, TABLE_OWED,
                TABLE_BODIES, TABLE_CHUNKS, TABLE_DUE, TABLE_POSITIONS, TABLE_STATE, TABLE_LEDGER};
        StoreTxn *t = store_begin(s);
        numbers_restore(t);
        due_rebuild(t);
        for (size_t i = 0; i < N_ELEMENTS(order); i++) {
                unsigned n = drop_faulty(t, order[i]);
                if (n)
                        buf_addf(ret_lost, "%s%u incomplete in %s", ret_lost->len ? ", " : "", n,
                                table_name(order[i]));
        }
        t->recount = true;
        t->dirty = true;
        Reason ignored;
        return store_commit(t, &ignored);
}
