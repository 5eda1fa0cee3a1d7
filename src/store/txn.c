// SPDX-License-Identifier: MIT
// The one write transaction, and rows by table and key. Errors stick in the transaction: the first
// one decides what commit says, and nothing behind it has an effect. Counters and names become the
// store's own only after LMDB's commit succeeded.
#include "store/files.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/failpoint.h"
#include <assert.h>
#include <errno.h>

#define READER_CHECK_USEC (60 * USEC_PER_SEC)

enum {
        BUFFER_MAX = 64 * 1024 * 1024,
        PROVED_COMMITS = 64, // so many commits after a start show that it was a good one
};

int row_at(Table table, const MDB_val *key, const MDB_val *row, Slice *ret_body)
{
        return envelope_open(table, slice_of_val(*key), slice_of_val(*row), ret_body);
}

int row_get(Store *s, MDB_txn *txn, Table table, Slice key, Slice *ret_body)
{
        MDB_val k = val_of(key), v;
        int r = lmdb_error(mdb_get(txn, s->dbi[table], &k, &v));
        if (r == 0)
                r = envelope_open(table, key, slice_of_val(v), ret_body);
        if (r == -EUCLEAN)
                store_suspect(s);
        return r;
}

void txn_fail(StoreTxn *t, int error)
{
        if (!t->error)
                t->error = error;
}

int txn_get(StoreTxn *t, Table table, Slice key, Slice *ret_body)
{
        if (t->error)
                return t->error;
        int r = row_get(t->s, t->txn, table, key, ret_body);
        if (r < 0 && r != -ENOENT)
                txn_fail(t, r);
        return r;
}

uint8_t *txn_reserve(StoreTxn *t, Table table, Slice key, size_t len, unsigned flags)
{
        if (t->error)
                return NULL;
        MDB_val k = val_of(key), v = {.mv_size = len + ENVELOPE_SIZE};
        int rc = mdb_put(t->txn, t->s->dbi[table], &k, &v, flags | MDB_RESERVE);
        if (rc) {
                txn_fail(t, lmdb_error(rc));
                return NULL;
        }
        t->dirty = true;
        return (uint8_t *)v.mv_data + ENVELOPE_SIZE;
}

void txn_seal(StoreTxn *t, Table table, Slice key, uint8_t *body, size_t len)
{
        uint8_t *row = body - ENVELOPE_SIZE;
        uint32_t crc;
        envelope_seal(table, key, row, len + ENVELOPE_SIZE);
        memcpy(&crc, row + 8, sizeof(crc));
        t->content = t->content * 31 + crc;
}

void txn_put(StoreTxn *t, Table table, Slice key, Slice body)
{
        uint8_t *to = txn_reserve(t, table, key, body.len, 0);
        if (!to)
                return;
        if (body.len)
                memcpy(to, body.data, body.len);
        txn_seal(t, table, key, to, body.len);
}

int txn_del(StoreTxn *t, Table table, Slice key)
{
        if (t->error)
                return t->error;
        MDB_val k = val_of(key);
        int rc = mdb_del(t->txn, t->s->dbi[table], &k, NULL);
        if (rc == MDB_NOTFOUND)
                return 1;
        if (rc) {
                txn_fail(t, lmdb_error(rc));
                return t->error;
        }
        t->dirty = true;
        return 0;
}

// The last part of the map is for what makes it emptier: ends, their ledger, and the pages that a
// commit must copy before it can free any.
static uint64_t reserve_of(uint64_t size)
{
        const uint64_t least = size / 4 < (1u << 20) ? size / 4 : 1u << 20, most = 64u << 20;
        uint64_t part = size / 16;
        return part < least ? least : part > most ? most : part;
}

bool txn_may_grow(StoreTxn *t, size_t len)
{
        if (t->error)
                return false;
        int64_t cost = (int64_t)len + (int64_t)len / 4 + 64 + (len > 2000 ? 4096 : 0);
        t->room -= cost;
        if (t->room >= 0)
                return true;
        t->room = (int64_t)(t->s->size - reserve_of(t->s->size)) -
                  (int64_t)env_claimed(t->s, t->txn, &t->c) - cost;
        if (t->room < 0)
                txn_fail(t, -ENOSPC);
        return t->room >= 0;
}

int txn_begin_lmdb(Store *s, StoreTxn *t)
{
        int r = counters_copy(&t->c, &s->committed);
        if (r < 0)
                return r;
        return lmdb_error(mdb_txn_begin(s->env, NULL, 0, &t->txn));
}

StoreTxn *store_begin(Store *s)
{
        assert(!s->in_txn);
        StoreTxn *t = &s->txn;
        *t = (StoreTxn){.s = s, .c = t->c, .ledger = t->ledger, .tmp = t->tmp};
        t->ledger.max = t->tmp.max = BUFFER_MAX;
        buf_reset(&t->ledger);
        buf_reset(&t->tmp);
        s->in_txn = true;
        if (s->failed || s->read_only) {
                t->error = s->read_only ? -EROFS : -EIO;
                return t;
        }
        t->error = txn_begin_lmdb(s, t);
        t->c.commit++;
        t->room = (int64_t)(s->size - reserve_of(s->size)) - (int64_t)s->used;
        return t;
}

static void txn_end(StoreTxn *t, bool committed)
{
        Store *s = t->s;
        if (t->txn) { // else LMDB has ended it
                if (t->events)
                        mdb_cursor_close(t->events);
                mdb_txn_abort(t->txn);
        }
        t->txn = NULL;
        t->events = NULL;
        if (committed) {
                Counters old = s->committed; // its memory serves the next transaction
                s->committed = t->c;
                t->c = old;
        }
        names_settle(s, committed);
        buf_shrink(&t->ledger, 256 * 1024);
        buf_shrink(&t->tmp, 256 * 1024);
        s->in_txn = false;
}

StoreTxn *store_abort(StoreTxn *t)
{
        if (t)
                txn_end(t, false);
        return NULL;
}

// The chain says which commits came before: each link covers the one before it and this row.
static void commit_row_put(StoreTxn *t)
{
        uint8_t sum[SHA256_SIZE];
        Buf *b = &t->tmp;
        buf_reset(b);
        counters_encode(b, &t->c);
        Slice parts[] = {buf_slice(b), slice_mem(&t->content, sizeof(t->content))};
        int r = b->error ? b->error : digest_sha256_parts(parts, N_ELEMENTS(parts), sum);
        if (r < 0) {
                txn_fail(t, r);
                return;
        }
        memcpy(t->c.chain, sum, CHAIN_SIZE);
        memcpy(b->data + sizeof(uint64_t), sum,
                CHAIN_SIZE); // where counters_encode put the old one
        txn_put(t, TABLE_META, SLICE_LIT("commit"), buf_slice(b));
}

static void txn_prepare(StoreTxn *t)
{
        if (t->recount && !t->error)
                txn_fail(t, counters_recount(t->s, t->txn, &t->c));
        ledger_flush(t);
        if (!t->error)
                sinks_settle_oldest(t);
        if (t->dirty && !t->error)
                commit_row_put(t);
}

static int commit_failed(Store *s, int error, Reason *reason)
{
        if (error == -ENOSPC)
                return reason_set(reason, error, "the store is full (option store.size)");
        s->failed = true;
        store_suspect(s);
        return reason_errno(reason, error, "the store cannot commit");
}

// A second process that died while reading must not keep pages for ever.
static void reader_check(Store *s)
{
        uint64_t now = clock_mono_usec();
        if (now - s->readers_checked < READER_CHECK_USEC)
                return;
        s->readers_checked = now;
        (void)mdb_reader_check(s->env, NULL);
}

int store_commit(StoreTxn *t, Reason *reason)
{
        Store *s = t->s;
        txn_prepare(t);
        if (t->error || !t->dirty) {
                int error = t->error;
                txn_end(t, false);
                return error ? commit_failed(s, error, reason) : 0;
        }
        uint64_t used = env_claimed(s, t->txn, &t->c);
        FAILPOINT("store.before-commit");
        if (t->events)
                mdb_cursor_close(t->events);
        t->events = NULL;
        int r = lmdb_error(mdb_txn_commit(t->txn));
        t->txn = NULL;
        if (r < 0) {
                txn_end(t, false);
                return commit_failed(s, r, reason);
        }
        FAILPOINT("store.after-commit");
        s->used = used;
        txn_end(t, true);
        if (s->starts && s->committed.commit % PROVED_COMMITS == 0)
                s->starts = 0;
        reader_check(s);
        lockfile_write(s);
        return 0;
}
