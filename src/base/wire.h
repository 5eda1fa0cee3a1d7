// SPDX-License-Identifier: MIT
// Little-endian packing of integers and counted byte strings, for the link and for stored values.
// The reader checks each length against what is left; it is sticky: after the first fault
// everything reads as zero or empty and `bad` is true. Check `bad` once, after the last field.
#pragma once

#include "base/buf.h"

typedef struct WireReader {
        const uint8_t *at;
        size_t left;
        bool bad;
} WireReader;

WireReader wire_reader(Slice bytes);
uint8_t wire_u8(WireReader *r);
uint16_t wire_u16(WireReader *r);
uint32_t wire_u32(WireReader *r);
uint64_t wire_u64(WireReader *r);
Slice wire_raw(WireReader *r, size_t n); // n bytes as they stand
Slice wire_bytes(WireReader *r);         // u32 length, then the bytes; borrowed from the input
bool wire_end(const WireReader *r);      // all read and nothing bad

void wire_put_u8(Buf *b, uint8_t v);
void wire_put_u16(Buf *b, uint16_t v);
void wire_put_u32(Buf *b, uint32_t v);
void wire_put_u64(Buf *b, uint64_t v);
void wire_put_bytes(Buf *b, Slice s);
// Overwrites the u32 at `offset`, put earlier as a placeholder.
void wire_set_u32(Buf *b, size_t offset, uint32_t v);
