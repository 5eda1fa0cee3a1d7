// SPDX-License-Identifier: MIT
// One message of PostgreSQL's output plugin "pgoutput" (proto_version 1), taken apart. The layouts
// are those of the manual, "Logical Replication Message Formats"; integers are big-endian. Pure: no
// memory, no state. Slices borrow from the payload. What pgoutput_parse() accepts has been walked
// to its end, so the iterators below cannot fail on it.
#pragma once

#include "base/reason.h"
#include "base/slice.h"
#include <stdint.h>

typedef enum PgType {
        PG_BEGIN = 'B',
        PG_COMMIT = 'C',
        PG_ORIGIN = 'O',
        PG_RELATION = 'R',
        PG_TYPE = 'Y',
        PG_INSERT = 'I',
        PG_UPDATE = 'U',
        PG_DELETE = 'D',
        PG_TRUNCATE = 'T',
        PG_MESSAGE = 'M',
} PgType;

// A row as it came: `n` values packed in `packed`. Absent: packed.data == NULL.
typedef struct PgTuple {
        uint16_t n;
        Slice packed;
} PgTuple;

typedef struct PgValue {
        char kind;  // 'n' null (or not sent, in a 'K' tuple), 'u' unchanged TOAST, 't' text
        Slice text; // of 't'
} PgValue;

typedef struct PgColumn {
        bool key; // part of the replica identity
        Slice name;
        uint32_t type;
        int32_t typmod;
} PgColumn;

typedef struct PgMessage {
        PgType type;
        union {
                struct {
                        uint64_t final_lsn; // of the commit record
                        int64_t time;       // microseconds since 2000-01-01
                        uint32_t xid;
                } begin;
                struct {
                        uint64_t commit_lsn, end_lsn;
                        int64_t time;
                } commit;
                struct {
                        uint64_t lsn;
                        Slice name;
                } origin;
                struct {
                        uint32_t oid;
                        Slice schema; // "pg_catalog" where the wire says ""
                        Slice name;
                        char identity; // d n f i
                        uint16_t n_columns;
                        Slice columns;
                } relation;
                struct {
                        uint32_t oid;
                        Slice schema, name; // of a domain: those of its base type
                } named;
                struct {
                        uint32_t relation;
                        char old_kind; // 'K', 'O' or 0
                        PgTuple old_row, new_row;
                } row; // I U D
                struct {
                        bool cascade, restart;
                        uint32_t n;
                        Slice relations; // n big-endian u32: pg_truncate_relation()
                } truncate;
                struct {
                        bool transactional;
                        uint64_t lsn;
                        Slice prefix, content;
                } message;
        };
} PgMessage;

enum {
        PG_COLUMNS_MAX = 1664, // MaxTupleAttributeNumber, more than a table may have
        PG_NAME_MAX = 256,     // bytes in UTF-8; 63 in the server's encoding
};

// 0, or -EBADMSG with the reason: what was wrong, and where in the payload.
int pgoutput_parse(Slice payload, PgMessage *ret, Reason *reason) _must_use_;

// Iterators over what was parsed. `rest` starts as tuple.packed or relation.columns.
PgValue pg_next_value(Slice *rest);
PgColumn pg_next_column(Slice *rest);
uint32_t pg_truncate_relation(const PgMessage *m, uint32_t index);

// PostgreSQL's clock to CLOCK_REALTIME microseconds; 0 for what lies before 1970.
uint64_t pg_time_usec(int64_t time);
// "16/B374D848"; out takes at least PG_LSN_TEXT bytes.
enum { PG_LSN_TEXT = 24 };
const char *pg_lsn_text(uint64_t lsn, char out[static PG_LSN_TEXT]);
int pg_lsn_parse(Slice text, uint64_t *ret) _must_use_; // -EINVAL
int pg_oid_parse(Slice text, uint32_t *ret) _must_use_; // decimal; -EINVAL
