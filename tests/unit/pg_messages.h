// SPDX-License-Identifier: MIT
// pgoutput messages put together by hand, as the server would send them.
#pragma once

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

typedef struct PgText {
        const char *text; // NULL with kind 't' is not used
        char kind;        // 'n', 'u', 't'
} PgText;

#define T(x) ((PgText){x, 't'})
#define N ((PgText){NULL, 'n'})
#define U ((PgText){NULL, 'u'})

static inline void pg8(Buf *b, unsigned v)
{
        buf_add_char(b, (char)v);
}

static inline void pg16(Buf *b, unsigned v)
{
        pg8(b, v >> 8);
        pg8(b, v);
}

static inline void pg32(Buf *b, uint32_t v)
{
        pg16(b, v >> 16);
        pg16(b, v);
}

static inline void pg64(Buf *b, uint64_t v)
{
        pg32(b, (uint32_t)(v >> 32));
        pg32(b, (uint32_t)v);
}

static inline void pgstr(Buf *b, const char *s)
{
        buf_add(b, s, strlen(s) + 1);
}

static inline void pg_begin(Buf *b, uint64_t final_lsn, uint32_t xid)
{
        buf_reset(b);
        pg8(b, 'B');
        pg64(b, final_lsn);
        pg64(b, 0); // 2000-01-01
        pg32(b, xid);
}

static inline void pg_commit(Buf *b, uint64_t commit_lsn, uint64_t end_lsn)
{
        buf_reset(b);
        pg8(b, 'C');
        pg8(b, 0);
        pg64(b, commit_lsn);
        pg64(b, end_lsn);
        pg64(b, 0);
}

// columns: "*id:23,name:25" - a star marks the identity, the number is the type's OID.
static inline void pg_relation(
        Buf *b, uint32_t oid, const char *schema, const char *name, char identity, const char *columns)
{
        unsigned n = 0;

        buf_reset(b);
        pg8(b, 'R');
        pg32(b, oid);
        pgstr(b, schema);
        pgstr(b, name);
        pg8(b, (unsigned)identity);
        for (const char *p = columns; *p; p++)
                n += *p == ':';
        pg16(b, n);
        for (const char *p = columns; n > 0; n--) {
                const char *colon = strchr(p, ':');
                char *end;
                pg8(b, *p == '*');
                p += *p == '*';
                buf_add(b, p, (size_t)(colon - p));
                pg8(b, 0);
                pg32(b, (uint32_t)strtoul(colon + 1, &end, 10));
                pg32(b, (uint32_t)-1);
                p = end + (*end == ',');
        }
}

static inline void pg_tuple(Buf *b, char kind, unsigned n, const PgText *values)
{
        pg8(b, (unsigned)kind);
        pg16(b, n);
        for (unsigned i = 0; i < n; i++) {
                pg8(b, (unsigned)values[i].kind);
                if (values[i].kind != 't')
                        continue;
                pg32(b, (uint32_t)strlen(values[i].text));
                buf_add_str(b, values[i].text);
        }
}

static inline void pg_row(Buf *b, char type, uint32_t relation)
{
        buf_reset(b);
        pg8(b, (unsigned)type);
        pg32(b, relation);
}

static inline void pg_insert(Buf *b, uint32_t relation, unsigned n, const PgText *values)
{
        pg_row(b, 'I', relation);
        pg_tuple(b, 'N', n, values);
}

static inline void pg_truncate(Buf *b, unsigned flags, unsigned n, const uint32_t *relations)
{
        buf_reset(b);
        pg8(b, 'T');
        pg32(b, n);
        pg8(b, flags);
        for (unsigned i = 0; i < n; i++)
                pg32(b, relations[i]);
}

static inline void pg_message(Buf *b, bool transactional, uint64_t lsn, const char *prefix, Slice content)
{
        buf_reset(b);
        pg8(b, 'M');
        pg8(b, transactional);
        pg64(b, lsn);
        pgstr(b, prefix);
        pg32(b, (uint32_t)content.len);
        buf_add_slice(b, content);
}
