// SPDX-License-Identifier: MIT
// Rows whose checksum is wrong are set aside as the bytes they are, under (table, key), for a
// person to look at; the queue goes on without them. What a damaged event said about its routes is
// not to be trusted, so the counters are counted anew in the same transaction.
#include "store/internal.h"

#include <errno.h>

void quarantine_row(StoreTxn *t, Table table, Slice key)
{
        MDB_val k = val_of(key), row;
        int rc = t->error ? MDB_NOTFOUND : mdb_get(t->txn, t->s->dbi[table], &k, &row);
        if (rc) {
                if (rc != MDB_NOTFOUND)
                        txn_fail(t, lmdb_error(rc));
                return;
        }
        Key to;
        to.len = 0;
        key_u8(&to, (uint8_t)table);
        key_add(&to, key.data, key.len);
        buf_reset(&t->tmp); // the row may stand in a page that the put changes
        buf_add(&t->tmp, row.mv_data, row.mv_size);
        txn_fail(t, t->tmp.error);
        txn_put(t, TABLE_QUARANTINE, key_slice(&to), buf_slice(&t->tmp));
        (void)!txn_del(t, table, key);
        t->recount = true;
}

static bool prefix_first(StoreTxn *t, Table table, Slice prefix, Key *ret)
{
        MDB_cursor *cursor;
        MDB_val key = val_of(prefix), row;
        int rc = mdb_cursor_open(t->txn, t->s->dbi[table], &cursor);
        if (rc) {
                txn_fail(t, lmdb_error(rc));
                return false;
        }
        rc = mdb_cursor_get(cursor, &key, &row, MDB_SET_RANGE);
        bool found = rc == 0 && slice_starts(slice_of_val(key), prefix);
        ret->len = 0;
        if (found)
                key_add(ret, key.mv_data, key.mv_size);
        mdb_cursor_close(cursor);
        if (rc && rc != MDB_NOTFOUND)
                txn_fail(t, lmdb_error(rc));
        return found;
}

void quarantine_prefix(StoreTxn *t, Table table, Slice prefix, bool keep)
{
        Key key;
        while (!t->error && prefix_first(t, table, prefix, &key)) {
                if (keep)
                        quarantine_row(t, table, key_slice(&key));
                else
                        (void)!txn_del(t, table, key_slice(&key));
        }
}

static void due_del_event(StoreTxn *t, uint64_t seq)
{
        MDB_cursor *cursor;
        if (t->error)
                return;
        int rc = mdb_cursor_open(t->txn, t->s->dbi[TABLE_DUE], &cursor);
        if (rc) {
                txn_fail(t, lmdb_error(rc));
                return;
        }
        MDB_val key, row;
        rc = mdb_cursor_get(cursor, &key, &row, MDB_FIRST);
        while (rc == 0) {
                DueKey k;
                if (key_read_due(slice_of_val(key), &k) == 0 && k.d.seq == seq)
                        rc = mdb_cursor_del(cursor, 0);
                if (rc == 0)
                        rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
        }
        mdb_cursor_close(cursor);
        if (rc != MDB_NOTFOUND)
                txn_fail(t, lmdb_error(rc));
}

void store_quarantine(StoreTxn *t, uint64_t seq)
{
        quarantine_row(t, TABLE_EVENTS, slice_of_number(&seq));
        Key prefix;
        prefix.len = 0;
        key_u64(&prefix, seq);
        quarantine_prefix(t, TABLE_BODIES, key_slice(&prefix), true);
        quarantine_prefix(t, TABLE_OWED, key_slice(&prefix), false);
        due_del_event(t, seq);
        for (const char *kind = "ro"; *kind; kind++) { // BLOB_RECORD, BLOB_OWN
                prefix.len = 0;
                key_u8(&prefix, (uint8_t)*kind);
                key_u64(&prefix, seq);
                quarantine_prefix(t, TABLE_CHUNKS, key_slice(&prefix), true);
        }
        t->recount = true;
}
