// SPDX-License-Identifier: MIT
// Packing and unpacking of little-endian integers and counted bytes. The reader never looks behind
// `left` and never moves after its first fault. No versions, no types: callers know the layout.
#include "base/wire.h"

#include <assert.h>
#include <endian.h>

WireReader wire_reader(Slice bytes)
{
        return (WireReader){.at = (const uint8_t *)bytes.data, .left = bytes.len};
}

static const uint8_t *take(WireReader *r, size_t n)
{
        if (r->bad || n > r->left) {
                r->bad = true;
                return NULL;
        }
        const uint8_t *at = r->at;
        r->at += n;
        r->left -= n;
        return at;
}

uint8_t wire_u8(WireReader *r)
{
        const uint8_t *p = take(r, 1);
        return p ? *p : 0;
}

uint16_t wire_u16(WireReader *r)
{
        uint16_t v = 0;
        const uint8_t *p = take(r, sizeof(v));
        if (p)
                memcpy(&v, p, sizeof(v));
        return le16toh(v);
}

uint32_t wire_u32(WireReader *r)
{
        uint32_t v = 0;
        const uint8_t *p = take(r, sizeof(v));
        if (p)
                memcpy(&v, p, sizeof(v));
        return le32toh(v);
}

uint64_t wire_u64(WireReader *r)
{
        uint64_t v = 0;
        const uint8_t *p = take(r, sizeof(v));
        if (p)
                memcpy(&v, p, sizeof(v));
        return le64toh(v);
}

Slice wire_raw(WireReader *r, size_t n)
{
        // An empty run is "" and not absent, so that it passes for text anywhere.
        const uint8_t *p = n ? take(r, n) : NULL;
        return p ? slice_mem(p, n) : SLICE_LIT("");
}

Slice wire_bytes(WireReader *r)
{
        return wire_raw(r, wire_u32(r));
}

bool wire_end(const WireReader *r)
{
        return !r->bad && r->left == 0;
}

void wire_put_u8(Buf *b, uint8_t v)
{
        buf_add_char(b, (char)v);
}

void wire_put_u16(Buf *b, uint16_t v)
{
        v = htole16(v);
        buf_add(b, &v, sizeof(v));
}

void wire_put_u32(Buf *b, uint32_t v)
{
        v = htole32(v);
        buf_add(b, &v, sizeof(v));
}

void wire_put_u64(Buf *b, uint64_t v)
{
        v = htole64(v);
        buf_add(b, &v, sizeof(v));
}

void wire_put_bytes(Buf *b, Slice s)
{
        assert(s.len <= UINT32_MAX);
        wire_put_u32(b, (uint32_t)s.len);
        buf_add_slice(b, s);
}

void wire_set_u32(Buf *b, size_t offset, uint32_t v)
{
        if (b->error < 0) // the placeholder may never have been written
                return;
        assert(offset + sizeof(v) <= b->len);
        v = htole32(v);
        memcpy(b->data + offset, &v, sizeof(v));
}
