// SPDX-License-Identifier: MIT
// The tables the stream has spoken of. The server describes a table once a connection, before its
// first row, and again after a change; so what was described on this connection must stay known
// (`seen`), and what is known from before (kept in the source's state) is there to notice changes
// that were made while nobody listened. Bounded: over RELATIONS_MAX the one longest not spoken of
// goes; when all were described on this connection the connection must be made anew (-ENOSPC).
#pragma once

#include "base/wire.h"
#include "pgoutput.h"
#include "table.h"
#include "types.h"

enum {
        RELATIONS_MAX = 4096,
        RELATIONS_BYTES_MAX = 16 * 1024 * 1024, // of all their columns and names
        RELATIONS_EVICT = 16,
};

typedef struct Column {
        Slice name;
        Slice json_name; // `"name":`, escaped
        uint32_t type;
        int32_t typmod;
        Slice type_name;       // as schema.changed shows it
        bool identity;         // in the replica identity: sent in 'K' tuples
        bool key;              // in the key that events carry
        const ValueType *value; // NULL until relation_resolve() has found it
} Column;

typedef struct Relation Relation;
struct Relation {
        uint32_t oid;
        Slice schema, name;
        Slice subject; // schema.table
        Slice head;    // `"schema":"public","table":"orders"`
        char identity; // d n f i
        uint16_t n_columns, n_key;
        Column *columns;
        bool seen;        // described on this connection
        bool resolved;    // types and key are known
        bool key_known;   // false: identity f and n say nothing of it, the catalogue is asked
        size_t bytes;     // what it is charged with
        uint64_t used;    // larger is later
        Relation *told;   // as the state row has it, where that is not this one; owned
        UT_hash_handle hh;
};

typedef struct Relations {
        Relation *by_oid;
        size_t n, bytes;
        uint64_t clock;
        Types *types;
        uint32_t evicted[RELATIONS_EVICT]; // made room in the last relations_describe():
        unsigned n_evicted;                // their state rows go
} Relations;

int relations_init(Relations *r) _must_use_; // -ENOMEM
void relations_deinit(Relations *r);
void relations_disconnected(Relations *r); // none is `seen` any more
Relation *relations_find(Relations *r, uint32_t oid); // NULL: not described

typedef enum RelationNews {
        RELATION_SAME = 0, // known, unchanged
        RELATION_NEW,
        RELATION_CHANGED, // *ret_before holds what it was; relation_free() it
} RelationNews;

// A message R. replay: it belongs to what is skipped, so it may be older than what the state row says:
// it serves for the rows that follow, and what was told stays what changes are measured by.
// Returns RelationNews, or -ENOMEM, -ENOSPC with the reason.
int relations_describe(Relations *r, const PgMessage *m, bool replay, Relation **ret,
        Relation **ret_before, Reason *reason) _must_use_;
Relation *relation_free(Relation *r);

// Looks up the types of the columns; true when all is known. Else ask for relation_missing_type().
bool relation_resolve(Relations *all, Relation *r);
uint32_t relation_missing_type(const Relations *all, const Relation *r, unsigned *at); // next; 0: none
void relation_key_column(Relation *r, Slice name); // of the catalogue's primary key

// The data of schema.changed without the transaction, as members of an object that is open.
void relation_write_changes(const Relation *before, const Relation *after, Buf *out);

// State rows: key "relation/OID". A relation whose row would exceed LIMIT_STATE_VALUE is not kept.
void relation_state_key(uint32_t oid, Buf *out);
void relation_state_value(const Relation *r, Buf *out);
// 0; 1: not a row of ours; -EBADMSG, -ENOMEM.
int relations_load(Relations *r, Slice key, Slice value) _must_use_;
// Of relations_load(): `in` stands before the first of n columns.
int relations_restore(Relations *r, uint32_t oid, Slice schema, Slice name, char identity,
        unsigned n, WireReader *in) _must_use_;
