// SPDX-License-Identifier: MIT
// Values longer than one chunk, cut into rows of 32 KiB: LMDB needs a run of free pages for each
// value, and in a map that has been full once long runs are rare. Read back whole, into memory that
// lives until the end of the read. The owner's row knows the length; nothing here does.
#include "store/internal.h"

#include <errno.h>

static Key chunk_key(BlobKey b, uint16_t index)
{
        Key k;
        k.len = 0;
        key_u8(&k, (uint8_t)b.kind);
        key_u64(&k, b.id);
        key_u16(&k, b.route);
        key_u16(&k, index);
        return k;
}

static size_t chunks_of(size_t len)
{
        return (len + CHUNK_BODY - 1) / CHUNK_BODY;
}

static size_t chunk_len(size_t len, size_t index)
{
        size_t rest = len - index * CHUNK_BODY;
        return rest < CHUNK_BODY ? rest : CHUNK_BODY;
}

// Copies bytes [from, from + n) of first + second.
static void copy_range(uint8_t *to, Slice first, Slice second, size_t from, size_t n)
{
        if (from < first.len) {
                size_t part = n < first.len - from ? n : first.len - from;
                memcpy(to, first.data + from, part);
                to += part;
                from += part;
                n -= part;
        }
        if (n)
                memcpy(to, second.data + (from - first.len), n);
}

void blob_put(StoreTxn *t, BlobKey k, Slice first, Slice second)
{
        size_t len = first.len + second.len;
        if (chunks_of(len) > UINT16_MAX)
                txn_fail(t, -EFBIG);
        for (size_t i = 0; i < chunks_of(len) && !t->error; i++) {
                Key key = chunk_key(k, (uint16_t)i);
                size_t n = chunk_len(len, i);
                uint8_t *to = txn_reserve(t, TABLE_CHUNKS, key_slice(&key), n, 0);
                if (!to)
                        return;
                copy_range(to, first, second, i * CHUNK_BODY, n);
                txn_seal(t, TABLE_CHUNKS, key_slice(&key), to, n);
        }
}

void blob_del(StoreTxn *t, BlobKey k, size_t len)
{
        for (size_t i = 0; i < chunks_of(len) && !t->error; i++) {
                Key key = chunk_key(k, (uint16_t)i);
                (void)txn_del(t, TABLE_CHUNKS, key_slice(&key));
        }
}

int blob_read(Store *s, MDB_txn *txn, BlobKey k, size_t len, uint8_t *out)
{
        for (size_t i = 0; i < chunks_of(len); i++) {
                Key key = chunk_key(k, (uint16_t)i);
                Slice body;
                int r = row_get(s, txn, TABLE_CHUNKS, key_slice(&key), &body);
                if (r == -ENOENT || (r == 0 && body.len != chunk_len(len, i)))
                        r = -EUCLEAN;
                if (r < 0)
                        return r;
                memcpy(out + i * CHUNK_BODY, body.data, body.len);
        }
        return 0;
}

int blob_borrow(Store *s, MDB_txn *txn, BlobKey k, size_t len, Slice *ret)
{
        uint8_t *bytes = scratch_alloc(s, len);
        if (!bytes)
                return -ENOMEM;
        int r = blob_read(s, txn, k, len, bytes);
        if (r == 0)
                *ret = slice_mem(bytes, len);
        return r;
}

uint8_t *scratch_alloc(Store *s, size_t n)
{
        Scratch *p = malloc(sizeof(*p) + n);
        if (!p)
                return NULL;
        p->next = s->scratch;
        s->scratch = p;
        return p->bytes;
}

void scratch_free(Store *s, Scratch *until)
{
        while (s->scratch != until) {
                Scratch *p = s->scratch;
                s->scratch = p->next;
                free(p);
        }
}
