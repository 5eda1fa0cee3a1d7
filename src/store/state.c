// SPDX-License-Identifier: MIT
// What sources remember: positions, state rows, and beside them the hub's own small rows and the
// open gaps. A position has two slots, written in turn, so that a damaged one leaves the one
// before it. A source's rows are counted by its number; nobody can name another's.
#include "store/files.h"

#include "base/limits.h"
#include <errno.h>

enum { FORGET_STEP = 2000, SLOTS = 2 };

static Key source_key(uint32_t source, Slice rest)
{
        Key k;
        k.len = 0;
        key_u32(&k, source);
        key_add(&k, rest.data, rest.len);
        return k;
}

static Key position_key(uint32_t source, uint8_t slot)
{
        return source_key(source, slice_mem(&slot, sizeof(slot)));
}

// -ENOENT or -EUCLEAN when there is none.
static int position_slot(
        Store *s, MDB_txn *txn, uint32_t source, uint8_t slot, uint64_t *ret_commit, Slice *ret)
{
        Key key = position_key(source, slot);
        Slice body;
        int r = row_get(s, txn, TABLE_POSITIONS, key_slice(&key), &body);
        if (r < 0)
                return r;
        WireReader w = wire_reader(body);
        *ret_commit = wire_u64(&w);
        *ret = slice_mem(w.at, w.left);
        return w.bad ? -EUCLEAN : 0;
}

static int position_newest(Store *s, MDB_txn *txn, uint32_t source, uint8_t *ret_slot,
        uint64_t *ret_commit, Slice *ret)
{
        int result = -ENOENT;
        uint64_t newest = 0;
        for (uint8_t i = 0; i < SLOTS; i++) {
                uint64_t commit;
                Slice body;
                int r = position_slot(s, txn, source, i, &commit, &body);
                if (r == 0 && commit >= newest) {
                        newest = commit;
                        *ret_slot = i;
                        *ret_commit = commit;
                        *ret = body;
                        result = 0;
                } else if (r < 0 && r != -ENOENT && result == -ENOENT) {
                        result = r;
                }
        }
        return result;
}

void store_put_position(StoreTxn *t, uint32_t source, Slice position)
{
        if (t->error)
                return;
        if (position.len > LIMIT_POSITION || source == 0) {
                txn_fail(t, -EINVAL);
                return;
        }
        uint8_t slot = 0;
        uint64_t commit = 0;
        Slice old;
        int r = position_newest(t->s, t->txn, source, &slot, &commit, &old);
        if (r == 0 && commit != t->c.commit) // twice in one commit is one write
                slot ^= 1;
        Key key = position_key(source, slot);
        uint8_t *to = txn_reserve(t, TABLE_POSITIONS, key_slice(&key), position.len + 8, 0);
        if (!to)
                return;
        uint64_t number = htole64(t->c.commit);
        memcpy(to, &number, sizeof(number));
        if (position.len)
                memcpy(to + 8, position.data, position.len);
        txn_seal(t, TABLE_POSITIONS, key_slice(&key), to, position.len + 8);
}

int store_get_position(Store *s, uint32_t source, Slice *ret)
{
        uint8_t slot;
        uint64_t commit;
        return position_newest(s, s->read, source, &slot, &commit, ret);
}

// Bytes of a state row as its source is charged for them, without the source's number.
static uint64_t state_charge(Slice key, const MDB_val *row)
{
        return row->mv_size >= ENVELOPE_SIZE ? key.len - 4 + row->mv_size - ENVELOPE_SIZE : 0;
}

static int state_row_bytes(StoreTxn *t, Slice key, uint64_t *ret)
{
        MDB_val k = val_of(key), row;
        int rc = mdb_get(t->txn, t->s->dbi[TABLE_STATE], &k, &row);
        *ret = rc == 0 ? state_charge(key, &row) : 0;
        return rc == MDB_NOTFOUND ? 0 : lmdb_error(rc);
}

// Room for a row that must not be there yet, in one descent; NULL: it is, *ret_old bytes, or an error
// sticks. The transaction is lost as a whole when it may not grow, so that is asked afterwards.
static uint8_t *state_row_new(StoreTxn *t, Slice key, size_t len, uint64_t *ret_old)
{
        MDB_val k = val_of(key), row = {.mv_size = len + ENVELOPE_SIZE};
        int rc = mdb_put(t->txn, t->s->dbi[TABLE_STATE], &k, &row, MDB_NOOVERWRITE | MDB_RESERVE);
        *ret_old = rc == MDB_KEYEXIST ? state_charge(key, &row) : 0;
        if (rc == MDB_KEYEXIST)
                return NULL;
        txn_fail(t, lmdb_error(rc));
        t->dirty = true;
        return !t->error && txn_may_grow(t, key.len - 4 + len)
                       ? (uint8_t *)row.mv_data + ENVELOPE_SIZE
                       : NULL;
}

void store_put_state(StoreTxn *t, uint32_t source, Slice key, Slice value)
{
        if (t->error)
                return;
        uint64_t *bytes = counters_state(&t->c, source), old = 0;
        if (key.len == 0 || key.len > LIMIT_STATE_KEY || value.len > LIMIT_STATE_VALUE ||
                source == 0 || source > NUMBER_MAX) {
                txn_fail(t, -EINVAL);
                return;
        }
        if (!bytes) {
                txn_fail(t, -ENOMEM);
                return;
        }
        Key k = source_key(source, key);
        uint8_t *to = state_row_new(t, key_slice(&k), value.len, &old);
        if (!to && !t->error &&
                (key.len + value.len <= old || txn_may_grow(t, key.len + value.len)))
                to = txn_reserve(t, TABLE_STATE, key_slice(&k), value.len, 0);
        if (!to)
                return;
        if (value.len)
                memcpy(to, value.data, value.len);
        txn_seal(t, TABLE_STATE, key_slice(&k), to, value.len);
        *bytes += key.len + value.len - old;
}

void store_del_state(StoreTxn *t, uint32_t source, Slice key)
{
        uint64_t *bytes = counters_state(&t->c, source), old = 0;
        if (t->error || key.len == 0 || key.len > LIMIT_STATE_KEY)
                return; // such a row cannot be there
        Key k = source_key(source, key);
        txn_fail(t, bytes ? state_row_bytes(t, key_slice(&k), &old) : -ENOMEM);
        if (!t->error && txn_del(t, TABLE_STATE, key_slice(&k)) == 0)
                *bytes -= old;
}

int store_forget_source(StoreTxn *t, uint32_t source)
{
        Key prefix = source_key(source, SLICE_NULL);
        uint64_t *bytes = counters_state(&t->c, source);
        if (!bytes)
                txn_fail(t, -ENOMEM);
        MDB_cursor *cursor;
        if (t->error)
                return t->error;
        int rc = mdb_cursor_open(t->txn, t->s->dbi[TABLE_STATE], &cursor), n = 0;
        MDB_val key = val_of(key_slice(&prefix)), row;
        if (rc == 0) {
                rc = mdb_cursor_get(cursor, &key, &row, MDB_SET_RANGE);
                while (rc == 0 && n < FORGET_STEP &&
                        slice_starts(slice_of_val(key), key_slice(&prefix))) {
                        if (row.mv_size >= ENVELOPE_SIZE)
                                *bytes -= key.mv_size - 4 + row.mv_size - ENVELOPE_SIZE;
                        rc = mdb_cursor_del(cursor, 0);
                        t->dirty = true;
                        n++;
                        if (rc == 0)
                                rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
                }
                mdb_cursor_close(cursor);
        }
        if (rc && rc != MDB_NOTFOUND)
                txn_fail(t, lmdb_error(rc));
        if (t->error || n == FORGET_STEP)
                return t->error ? t->error : 1;
        for (uint8_t i = 0; i < SLOTS; i++) {
                Key k = position_key(source, i);
                (void)!txn_del(t, TABLE_POSITIONS, key_slice(&k));
        }
        return t->error;
}

int store_each_state(Store *s, uint32_t source, Slice from, size_t max,
        int (*each)(Slice key, Slice value, void *u), void *u)
{
        if (from.len > LIMIT_STATE_KEY)
                return -EINVAL;
        Key prefix = source_key(source, SLICE_NULL), first = source_key(source, from);
        MDB_cursor *cursor;
        int rc = mdb_cursor_open(s->read, s->dbi[TABLE_STATE], &cursor);
        if (rc)
                return lmdb_error(rc);
        MDB_val key = val_of(key_slice(&first)), row;
        size_t given = 0;
        int r = 0;
        rc = mdb_cursor_get(cursor, &key, &row, MDB_SET_RANGE);
        for (; rc == 0 && r == 0; rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) {
                Slice k = slice_of_val(key), body;
                if (!slice_starts(k, key_slice(&prefix)))
                        break;
                if (slice_eq(k, key_slice(&first)))
                        continue;
                r = row_at(TABLE_STATE, &key, &row, &body);
                if (r == -EUCLEAN)
                        store_suspect(s);
                if (r < 0)
                        break;
                if (given && given + k.len + body.len > max) {
                        r = 1;
                        break;
                }
                given += k.len + body.len;
                r = each(slice_mem(k.data + 4, k.len - 4), body, u);
        }
        mdb_cursor_close(cursor);
        return r ? r : rc == MDB_NOTFOUND ? 0 : lmdb_error(rc);
}

static Key meta_key(const char *key)
{
        Key k;
        k.len = 0;
        key_u8(&k, 'u'); // apart from the store's own rows
        size_t n = strlen(key);
        key_add(&k, key, n < KEY_MAX - 1 ? n : KEY_MAX - 1);
        return k;
}

void store_put_meta(StoreTxn *t, const char *key, Slice value)
{
        Key k = meta_key(key);
        if (value.len > LIMIT_STATE_VALUE)
                txn_fail(t, -EINVAL);
        else if (value.len)
                txn_put(t, TABLE_META, key_slice(&k), value);
        else
                (void)!txn_del(t, TABLE_META, key_slice(&k));
}

int store_get_meta(Store *s, const char *key, Slice *ret)
{
        Key k = meta_key(key);
        return row_get(s, s->read, TABLE_META, key_slice(&k), ret);
}

void store_put_gap(StoreTxn *t, uint64_t seq, uint32_t source, Slice record)
{
        Slice old;
        int r = t->error ? t->error
                         : row_get(t->s, t->txn, TABLE_GAPS, slice_of_number(&seq), &old);
        if (r != -ENOENT && r != -EUCLEAN) // a damaged one is written anew
                return;
        buf_reset(&t->tmp);
        wire_put_u32(&t->tmp, source);
        wire_put_u32(&t->tmp, (uint32_t)record.len);
        if (fits_inline(record.len))
                buf_add_slice(&t->tmp, record);
        txn_fail(t, t->tmp.error);
        txn_put(t, TABLE_GAPS, slice_of_number(&seq), buf_slice(&t->tmp));
        if (!fits_inline(record.len))
                blob_put(t, (BlobKey){BLOB_GAP, seq, 0}, record, SLICE_NULL);
        if (r == -ENOENT)
                t->c.gaps++;
}

int gap_decode(Slice body, uint32_t *ret_source, uint32_t *ret_len, Slice *ret_record)
{
        WireReader w = wire_reader(body);
        *ret_source = wire_u32(&w);
        *ret_len = wire_u32(&w);
        *ret_record = fits_inline(*ret_len) ? wire_raw(&w, *ret_len) : SLICE_NULL;
        return wire_end(&w) ? 0 : -EUCLEAN;
}

int store_ack_gap(StoreTxn *t, uint64_t seq)
{
        Slice body, record;
        uint32_t source, len;
        if (t->error)
                return t->error;
        int r = row_get(t->s, t->txn, TABLE_GAPS, slice_of_number(&seq), &body);
        if (r == 0)
                r = gap_decode(body, &source, &len, &record);
        if (r == -EUCLEAN) {
                quarantine_row(t, TABLE_GAPS, slice_of_number(&seq));
                return t->error;
        }
        if (r < 0)
                return r;
        if (!fits_inline(len))
                blob_del(t, (BlobKey){BLOB_GAP, seq, 0}, len);
        (void)!txn_del(t, TABLE_GAPS, slice_of_number(&seq));
        t->c.gaps--;
        return t->error;
}
