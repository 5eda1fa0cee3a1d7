// SPDX-License-Identifier: MIT
// What stands around and inside each stored value: the envelope (magic, version, table, length,
// CRC32C over key, head and body) and the packed forms of the bodies. Pure functions over bytes:
// they know neither LMDB nor the store, and every length is checked before it is believed.
#pragma once

#include "base/wire.h"
#include "store/store.h"
#include <endian.h>

typedef enum Table {
        TABLE_META,
        TABLE_EVENTS,
        TABLE_OWED,
        TABLE_DUE,
        TABLE_BODIES,
        TABLE_CHUNKS,
        TABLE_DEAD,
        TABLE_POSITIONS,
        TABLE_STATE,
        TABLE_LEDGER,
        TABLE_GAPS,
        TABLE_QUARANTINE,
        _TABLE_MAX,
} Table;

const char *table_name(Table t);
bool table_is_integer(Table t); // the key is one native u64 (MDB_INTEGERKEY)

enum {
        ENVELOPE_SIZE = 12,
        EVENT_HEAD = 18, // source, stored, record length, routes
        ROUTE_SIZE = 20,
        CHUNK_BODY = 32740, // fills eight pages with LMDB's 16 byte page head and the envelope
        KEY_MAX = 511,
};

// `row` holds ENVELOPE_SIZE free bytes and then the body, `len` counts both.
void envelope_seal(Table table, Slice key, uint8_t *row, size_t len);
// True for an intact row of a later version of the format.
bool envelope_is_newer(Slice key, Slice row);
int envelope_open(Table table, Slice key, Slice row, Slice *ret_body) _must_use_; // -EUCLEAN

// Keys that are not one integer, big-endian so that bytes sort as numbers.
typedef struct Key {
        uint8_t bytes[KEY_MAX];
        size_t len;
} Key;
static inline Slice key_slice(const Key *k)
{
        return slice_mem(k->bytes, k->len);
}
void key_add(Key *k, const void *data, size_t n);
void key_u8(Key *k, uint8_t v);
void key_u16(Key *k, uint16_t v);
void key_u32(Key *k, uint32_t v);
void key_u64(Key *k, uint64_t v);
Key key_delivery(DeliveryKey d);
int key_read_delivery(Slice key, DeliveryKey *ret) _must_use_; // -EUCLEAN

// Waiting rows sort by time; what waits for no time sorts behind all times.
#define DUE_NEVER UINT64_MAX
typedef struct DueKey {
        uint16_t sink;
        uint64_t due_usec;
        DeliveryKey d;
} DueKey;
Key key_due(const DueKey *k);
int key_read_due(Slice key, DueKey *ret) _must_use_; // -EUCLEAN
static inline uint64_t owed_due(const StoreOwed *o)
{
        if (o->state != OWED_WAITS)
                return DUE_NEVER;
        return o->due_usec == DUE_NEVER ? DUE_NEVER - 1 : o->due_usec;
}

typedef struct EventRow {
        uint32_t source;
        uint64_t stored_usec;
        uint32_t record_len;
        uint16_t n_routes;
        Slice routes;
        Slice record; // data == NULL: in chunks
} EventRow;
static inline bool fits_inline(size_t len)
{
        return len <= CHUNK_BODY;
}
size_t event_row_size(size_t record_len, uint16_t n_routes);
// Writes all but the record, returns where it goes (nowhere when it does not fit inline).
uint8_t *event_row_encode(uint8_t *body, const EventRow *e, const StoreRoute *routes);
int event_row_decode(Slice body, EventRow *ret) _must_use_; // -EUCLEAN
void route_encode(uint8_t *out, const StoreRoute *r, uint32_t own_len);
void route_decode(const uint8_t *at, StoreRoute *ret, uint32_t *ret_own_len);
static inline void event_row_route(const EventRow *e, uint16_t n, StoreRoute *r, uint32_t *own_len)
{
        route_decode((const uint8_t *)e->routes.data + (size_t)n * ROUTE_SIZE, r, own_len);
}

void owed_encode(Buf *out, const StoreOwed *o);
int owed_decode(Slice body, StoreOwed *ret) _must_use_; // -EUCLEAN

typedef struct DeadRow {
        StoreDead dead; // reason and verdict.detail borrow; slices that are in chunks are NULL
        uint64_t seq;
        uint32_t source, record_len, own_headers_len, own_len;
} DeadRow;
void dead_encode(Buf *out, const DeadRow *d);
int dead_decode(Slice body, DeadRow *ret) _must_use_; // -EUCLEAN

void ledger_encode(Buf *out, const LedgerEntry *e);
bool ledger_decode(WireReader *r, LedgerEntry *ret); // false at the end or when it is bad
