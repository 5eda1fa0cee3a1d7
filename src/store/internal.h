// SPDX-License-Identifier: MIT
// What the store's own files share: the open database, the one write transaction, and rows by
// table and key. Nobody outside src/store includes this.
//
// Two sets of counters exist: `committed` (what the database says) and the transaction's own, which
// becomes `committed` only after mdb_txn_commit() succeeded. Memory never runs ahead of the disk.
#pragma once

#include "store/counters.h"
#include "store/envelope.h"
#include "store/read.h"
#include <lmdb.h>

enum {
        NUMBER_MAX = 65535, // of sources and of sinks ever named; StoreRoute.sink is 16 bits
        RULE_NAMES_MAX = 16384,
        DEFER_COST = 256, // bytes of an owed and a due row with a long detail, in pages 70 % full
        BOOT_ID_SIZE = 36,
        EXIT_LMDB_ASSERTION = 70,
};

typedef struct Name {
        uint32_t number;
        char *text;
} Name;

typedef struct Names {
        Name *names;
        size_t n, n_committed;
} Names;

enum { N_NAME_KINDS = STORE_RULE + 1 };

typedef struct Scratch {
        struct Scratch *next;
        uint8_t bytes[];
} Scratch;

struct StoreTxn {
        Store *s;
        MDB_txn *txn;
        MDB_cursor *events;
        int error; // the first one; everything behind it does nothing
        bool dirty, recount;
        uint32_t content; // of all rows put, for the chain
        Counters c;
        Buf ledger;           // entries not yet put
        unsigned ledger_part; // rows of this commit's ledger already put
        Buf tmp;
        int64_t room; // bytes that may still be put before intake is refused
};

struct Store {
        MDB_env *env;
        MDB_dbi dbi[_TABLE_MAX];
        MDB_txn *read;
        bool reading, read_only, failed, suspect, in_txn;
        int lock_fd;
        char *state_dir;
        uint64_t size, used, page;
        uint64_t readers_checked; // monotonic
        unsigned ledger_percent;
        char boot_id[BOOT_ID_SIZE + 1];
        unsigned starts; // without a clean end, this one included; 0 once it has proved itself
        Counters committed;
        Names names[N_NAME_KINDS];
        Scratch *scratch;
        StoreTxn txn;
};

// Everything but commit, chain and the next numbers, counted from the rows; damaged rows count
// nothing.
int counters_recount(Store *s, MDB_txn *txn, Counters *c) _must_use_;

int lmdb_error(int rc) _must_use_; // 0 or a negative errno; damage is -EUCLEAN
static inline MDB_val val_of(Slice s)
{
        return (MDB_val){.mv_size = s.len, .mv_data = (void *)(uintptr_t)s.data};
}
static inline Slice slice_of_val(MDB_val v)
{
        return slice_mem(v.mv_data, v.mv_size);
}
static inline Slice slice_of_number(const uint64_t *n)
{
        return slice_mem(n, sizeof(*n));
}

// ---- rows
int row_get(Store *s, MDB_txn *txn, Table table, Slice key, Slice *ret_body) _must_use_;
int row_at(Table table, const MDB_val *key, const MDB_val *row, Slice *ret_body) _must_use_;
int txn_get(StoreTxn *t, Table table, Slice key,
        Slice *ret_body) _must_use_; // also sets t->error, but for -ENOENT
void txn_put(StoreTxn *t, Table table, Slice key, Slice body);
// Room for `len` bytes of body; to be filled and sealed before the next call. NULL on error.
uint8_t *txn_reserve(StoreTxn *t, Table table, Slice key, size_t len, unsigned flags);
void txn_seal(StoreTxn *t, Table table, Slice key, uint8_t *body, size_t len);
int txn_del(StoreTxn *t, Table table, Slice key); // 0, 1 = was not there; errors stick
void txn_fail(StoreTxn *t, int error);            // keeps the first
int txn_begin_lmdb(Store *s, StoreTxn *t) _must_use_;
bool txn_may_grow(StoreTxn *t, size_t len); // false: -ENOSPC stuck, the last part is for ends

// ---- values longer than one chunk
typedef enum BlobKind {
        BLOB_RECORD = 'r',
        BLOB_OWN = 'o',
        BLOB_DEAD = 'd',
        BLOB_DEAD_OWN = 'b',
        BLOB_GAP = 'g'
} BlobKind;
typedef struct BlobKey {
        BlobKind kind;
        uint64_t id;
        uint16_t route;
} BlobKey;
void blob_put(StoreTxn *t, BlobKey k, Slice first, Slice second); // the two one behind the other
void blob_del(StoreTxn *t, BlobKey k, size_t len);
int blob_read(Store *s, MDB_txn *txn, BlobKey k, size_t len, uint8_t *out) _must_use_; // -EUCLEAN
int blob_borrow(
        Store *s, MDB_txn *txn, BlobKey k, size_t len, Slice *ret) _must_use_; // into scratch
uint8_t *scratch_alloc(Store *s, size_t n);
void scratch_free(Store *s, Scratch *until);

// ---- queue.c
int event_get(Store *s, MDB_txn *txn, uint64_t seq, EventRow *ret) _must_use_;
int event_record(Store *s, MDB_txn *txn, uint64_t seq, EventRow *e) _must_use_; // fills e->record
int own_get(Store *s, MDB_txn *txn, DeliveryKey d, uint32_t own_len, Slice *headers,
        Slice *body) _must_use_;
// The event of a delivery that has not ended; 1 = there is none (any more).
int delivery_load(
        StoreTxn *t, DeliveryKey d, EventRow *e, StoreRoute *r, uint32_t *own_len) _must_use_;
void delivery_close(StoreTxn *t, DeliveryKey d, const EventRow *e);

// ---- ledger.c
void ledger_add(StoreTxn *t, LedgerKind kind, DeliveryKey d, const StoreRoute *r, const EventRow *e,
        const StoreVerdict *v);
void ledger_flush(StoreTxn *t);
uint64_t ledger_cost(size_t body_len); // bytes of the map that a row takes

// ---- scan.c
void sinks_settle_oldest(StoreTxn *t);

// ---- dead.c, state.c, quarantine.c
int dead_get(Store *s, MDB_txn *txn, uint64_t dead, DeadRow *ret) _must_use_; // with its blobs
int gap_decode(Slice body, uint32_t *ret_source, uint32_t *ret_len, Slice *ret_record) _must_use_;
void quarantine_row(StoreTxn *t, Table table, Slice key);
void quarantine_prefix(StoreTxn *t, Table table, Slice prefix, bool keep);
int store_read_counters(Store *s, MDB_txn *txn, Counters *ret) _must_use_;

// ---- names.c
int names_load(Store *s, MDB_txn *txn) _must_use_;
void names_settle(Store *s, bool committed);
void names_free(Store *s);
