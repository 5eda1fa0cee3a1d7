// SPDX-License-Identifier: MIT
// One table whose existing rows are read: how far it got, as it is kept in the source's state. Pure.
//
// State row "backfill/OID", little-endian: u8 version (1), u8 done (2: cancelled), u32 told, u64 run, u64 not_before,
// u64 told_rows, u64 read_rows, u8 by_place, u32 end_block, u32 file, bytes basis, bytes name, u16 n, bytes of
// each of the n texts behind which reading goes on. Row "backfill": u8 version, u64 run: all tables
// are asked for and not listed yet.
#pragma once

#include "base/buf.h"
#include "base/reason.h"
#include <stdint.h>

enum {
        BACKFILL_KEYS_MAX = 32,          // INDEX_MAX_KEYS
        BACKFILL_CURSOR_MAX = 32 * 1024, // bytes of a key
        BACKFILL_BASIS_MAX = 16 * 1024,
        BACKFILL_NAME_MAX = 160,
        BACKFILL_TABLES_MAX = 8192,
};
#define BACKFILL_ALL "backfill"

typedef struct BackfillTable {
        uint32_t oid;  // what is read
        uint32_t told; // as what it is told: itself, or the partitioned table that it is a part of
        bool done, cancelled; // cancelled: done, but not to the end
        uint64_t run;         // wall clock at which it was asked for: part of the ids
        uint64_t not_before;  // transactions older than this must have ended
        uint64_t told_rows, read_rows;
        bool by_place; // without a key: in the order of pages, up to end_block
        uint32_t end_block;
        uint32_t file; // by_place: what holds the pages; after a rewrite rows are elsewhere
        Buf basis; // the key's types; by_place: a snapshot (what it does not see the stream tells), or empty
        char name[BACKFILL_NAME_MAX];
        unsigned n_cursor; // texts; 0 = at the beginning
        Buf cursor;        // wire bytes, n_cursor times

        // Of this process.
        bool dirty;          // the row is not as stored
        bool listed, gone;   // the last list has it; it is no more, and its row goes
        unsigned moved;      // times that it was not where it was found
        double estimate;     // rows in all; 0 = not known
        uint64_t retry_usec; // monotonic; it cannot be read before
        Reason trouble;
} BackfillTable;

BackfillTable *backfill_table_new(uint32_t oid);
BackfillTable *backfill_table_free(BackfillTable *t);
void backfill_table_begin(
        BackfillTable *t, uint64_t run, uint64_t not_before); // from its first row
void backfill_table_key(uint32_t oid, Buf *out);
void backfill_table_value(const BackfillTable *t, Buf *out);
// 0; 1: not such a row; -EBADMSG, -ENOMEM.
int backfill_table_load(Slice key, Slice value, BackfillTable **ret) _must_use_;
void backfill_all_value(uint64_t run, Buf *out);
int backfill_all_load(Slice key, Slice value, uint64_t *ret_run) _must_use_; // as above
