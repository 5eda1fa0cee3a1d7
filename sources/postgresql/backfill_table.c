// SPDX-License-Identifier: MIT
// A table's state row, written and read back. What cannot be read is a damaged store or another
// version, and is never guessed around.
#include "backfill_table.h"

#include "base/wire.h"
#include "pgoutput.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { VERSION = 1 };
#define PREFIX BACKFILL_ALL "/"

BackfillTable *backfill_table_new(uint32_t oid)
{
        BackfillTable *t = calloc(1, sizeof *t);
        if (!t)
                return NULL;
        t->oid = t->told = oid;
        t->basis = BUF_INIT(BACKFILL_BASIS_MAX);
        t->cursor = BUF_INIT(BACKFILL_CURSOR_MAX + 4 * BACKFILL_KEYS_MAX);
        return t;
}

BackfillTable *backfill_table_free(BackfillTable *t)
{
        if (!t)
                return NULL;
        buf_deinit(&t->basis);
        buf_deinit(&t->cursor);
        free(t);
        return NULL;
}

void backfill_table_begin(BackfillTable *t, uint64_t run, uint64_t not_before)
{
        t->run = run;
        t->not_before = not_before;
        t->told_rows = t->read_rows = 0;
        t->done = t->cancelled = t->by_place = false;
        t->end_block = t->file = 0;
        t->n_cursor = 0;
        t->retry_usec = 0;
        t->estimate = 0;
        t->trouble.text[0] = 0;
        buf_reset(&t->basis);
        buf_reset(&t->cursor);
        t->dirty = true;
}

void backfill_table_key(uint32_t oid, Buf *out)
{
        buf_reset(out);
        buf_add_str(out, PREFIX);
        buf_add_u64(out, oid);
}

void backfill_table_value(const BackfillTable *t, Buf *out)
{
        buf_reset(out);
        wire_put_u8(out, VERSION);
        wire_put_u8(out, t->cancelled ? 2 : t->done);
        wire_put_u32(out, t->told);
        wire_put_u64(out, t->run);
        wire_put_u64(out, t->not_before);
        wire_put_u64(out, t->told_rows);
        wire_put_u64(out, t->read_rows);
        wire_put_u8(out, t->by_place);
        wire_put_u32(out, t->end_block);
        wire_put_u32(out, t->file);
        wire_put_bytes(out, buf_slice(&t->basis));
        wire_put_bytes(out, slice_of(t->name));
        wire_put_u16(out, (uint16_t)t->n_cursor);
        buf_add_slice(out, buf_slice(&t->cursor));
}

static int take(WireReader *in, BackfillTable *t)
{
        if (wire_u8(in) != VERSION)
                return -EBADMSG;
        uint8_t done = wire_u8(in);
        t->done = done > 0;
        t->cancelled = done == 2;
        t->told = wire_u32(in);
        t->run = wire_u64(in);
        t->not_before = wire_u64(in);
        t->told_rows = wire_u64(in);
        t->read_rows = wire_u64(in);
        t->by_place = wire_u8(in);
        t->end_block = wire_u32(in);
        t->file = wire_u32(in);
        buf_add_slice(&t->basis, wire_bytes(in));
        Slice name = wire_bytes(in);
        (void)snprintf(t->name, sizeof t->name, "%.*s", SLICE_ARG(name));
        t->n_cursor = wire_u16(in);
        if (in->bad || t->n_cursor > BACKFILL_KEYS_MAX)
                return -EBADMSG;
        for (unsigned i = 0; i < t->n_cursor; i++)
                wire_put_bytes(&t->cursor, wire_bytes(in));
        if (!wire_end(in))
                return -EBADMSG;
        int error = t->basis.error ? t->basis.error : t->cursor.error;
        return error == -ENOBUFS ? -EBADMSG : error;
}

int backfill_table_load(Slice key, Slice value, BackfillTable **ret)
{
        WireReader in = wire_reader(value);
        const Slice prefix = SLICE_LIT(PREFIX);
        uint32_t oid;

        if (!slice_starts(key, prefix))
                return 1;
        if (pg_oid_parse((Slice){key.data + prefix.len, key.len - prefix.len}, &oid) < 0)
                return -EBADMSG;
        BackfillTable *t = backfill_table_new(oid);
        if (!t)
                return -ENOMEM;
        int r = take(&in, t);
        if (r < 0)
                (void)backfill_table_free(t);
        else
                *ret = t;
        return r;
}

void backfill_all_value(uint64_t run, Buf *out)
{
        buf_reset(out);
        wire_put_u8(out, VERSION);
        wire_put_u64(out, run);
}

int backfill_all_load(Slice key, Slice value, uint64_t *ret_run)
{
        WireReader in = wire_reader(value);
        if (!slice_eq_str(key, BACKFILL_ALL))
                return 1;
        if (wire_u8(&in) != VERSION)
                return -EBADMSG;
        uint64_t run = wire_u64(&in);
        if (!wire_end(&in) || run == 0)
                return -EBADMSG;
        *ret_run = run;
        return 0;
}
