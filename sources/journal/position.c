// SPDX-License-Identifier: MIT
// Positions and cursors, to and from bytes.
#include "position.h"

#include "base/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { POSITION_VERSION = 2, BEFORE = 1, CAUGHT_UP = 2 };

void progress_encode(const Progress *p, Slice where, Buf *out)
{
        wire_put_u8(out, POSITION_VERSION);
        wire_put_u8(out, (uint8_t)((p->at.before ? BEFORE : 0) | (p->caught_up ? CAUGHT_UP : 0)));
        wire_put_u64(out, p->at.realtime_usec);
        wire_put_bytes(out, slice_of(p->at.cursor));
        wire_put_bytes(out, where);
        wire_put_u64(out, p->missing.n);
        wire_put_u64(out, p->missing.from_usec);
        wire_put_u64(out, p->missing.to_usec);
        wire_put_u8(out, (uint8_t)p->n_told);
        for (unsigned i = 0; i < p->n_told; i++) {
                wire_put_u64(out, p->told[i].dev);
                wire_put_u64(out, p->told[i].ino);
        }
}

int progress_decode(Slice stored, Slice where, Progress *ret)
{
        Progress p = {0};
        WireReader r = wire_reader(stored);
        uint8_t version = wire_u8(&r), flags = wire_u8(&r);
        p.at.realtime_usec = wire_u64(&r);
        Slice cursor = wire_bytes(&r), its = wire_bytes(&r);
        p.missing.n = wire_u64(&r);
        p.missing.from_usec = wire_u64(&r);
        p.missing.to_usec = wire_u64(&r);
        p.n_told = wire_u8(&r);
        if (version != POSITION_VERSION || cursor.len >= CURSOR_SIZE || p.n_told > TOLD_MAX)
                return -EBADMSG;
        for (unsigned i = 0; i < p.n_told; i++) {
                p.told[i].dev = wire_u64(&r);
                p.told[i].ino = wire_u64(&r);
        }
        if (!wire_end(&r) || memchr(cursor.data, '\0', cursor.len))
                return -EBADMSG;
        if (cursor.len > 0)
                memcpy(p.at.cursor, cursor.data, cursor.len);
        p.at.before = flags & BEFORE;
        p.caught_up = flags & CAUGHT_UP;
        *ret = p;
        return slice_eq(its, where);
}

int file_id_compare(const void *a, const void *b)
{
        const FileId *x = a, *y = b;
        if (x->dev != y->dev)
                return x->dev < y->dev ? -1 : 1;
        return (x->ino > y->ino) - (x->ino < y->ino);
}

// One "k=..." of a cursor; empty when it has none.
static Slice cursor_part(const char *cursor, char key)
{
        for (const char *at = cursor; *at;) {
                size_t n = strcspn(at, ";");
                if (n > 2 && at[0] == key && at[1] == '=')
                        return (Slice){at + 2, n - 2};
                at += n + (at[n] == ';');
        }
        return SLICE_NULL;
}

bool cursor_same(const char *a, const char *b, const char *keys)
{
        for (const char *k = keys; *k; k++) {
                Slice x = cursor_part(a, *k);
                if (x.len == 0 || !slice_eq(x, cursor_part(b, *k)))
                        return false;
        }
        return true;
}

uint64_t cursor_number(const char *cursor, char key)
{
        Slice s = cursor_part(cursor, key);
        return s.data ? strtoull(s.data, NULL, 16) : 0;
}

uint64_t cursor_between(const char *a, const char *b)
{
        if (!cursor_same(a, b, "s"))
                return 0;
        uint64_t x = cursor_number(a, 'i'), y = cursor_number(b, 'i');
        return y > x ? y - x - 1 : 0;
}
