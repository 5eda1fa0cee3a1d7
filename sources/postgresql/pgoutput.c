// SPDX-License-Identifier: MIT
// Taking one pgoutput message apart. Every length is checked against what is left, every message
// must end where its payload ends, every letter must be one the protocol names: what the server
// sends is trusted no more than a file found on the street. The first walk checks; the iterators
// then read the same bytes without checks.
#include "pgoutput.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct Reader {
        const uint8_t *at, *end, *start;
        const char *fault; // the first one: what was being read
        size_t fault_at;
} Reader;

static void reader_fail(Reader *r, const char *fault)
{
        if (r->fault)
                return;
        r->fault = fault;
        r->fault_at = (size_t)(r->at - r->start);
        r->at = r->end;
}

static bool reader_has(Reader *r, size_t n, const char *what)
{
        if ((size_t)(r->end - r->at) >= n)
                return true;
        reader_fail(r, what);
        return false;
}

static uint16_t load16(const void *at)
{
        uint16_t v;
        memcpy(&v, at, sizeof v);
        return be16toh(v);
}

static uint32_t load32(const void *at)
{
        uint32_t v;
        memcpy(&v, at, sizeof v);
        return be32toh(v);
}

static uint8_t read8(Reader *r, const char *what)
{
        return reader_has(r, 1, what) ? *r->at++ : 0;
}

static uint16_t read16(Reader *r, const char *what)
{
        if (!reader_has(r, 2, what))
                return 0;
        r->at += 2;
        return load16(r->at - 2);
}

static uint32_t read32(Reader *r, const char *what)
{
        if (!reader_has(r, 4, what))
                return 0;
        r->at += 4;
        return load32(r->at - 4);
}

static uint64_t read64(Reader *r, const char *what)
{
        uint64_t high = read32(r, what);
        return high << 32 | read32(r, what);
}

static Slice read_bytes(Reader *r, size_t n, const char *what)
{
        if (!reader_has(r, n, what))
                return SLICE_NULL;
        r->at += n;
        return slice_mem(r->at - n, n);
}

static Slice read_text(Reader *r, const char *what)
{
        const uint8_t *nul = memchr(r->at, 0, (size_t)(r->end - r->at));
        if (!nul) {
                reader_fail(r, what);
                return SLICE_NULL;
        }
        Slice s = slice_mem(r->at, (size_t)(nul - r->at));
        r->at = nul + 1;
        return s;
}

// A name, which is shorter than NAMEDATALEN in the server's encoding.
static Slice read_name(Reader *r, const char *what)
{
        Slice s = read_text(r, what);
        if (s.len > PG_NAME_MAX)
                reader_fail(r, "a name longer than names can be");
        return s;
}

static PgTuple read_tuple(Reader *r)
{
        PgTuple t = {.n = read16(r, "the number of columns of a row")};

        if (t.n > PG_COLUMNS_MAX)
                reader_fail(r, "a row with more columns than there can be");
        t.packed.data = (const char *)r->at;
        for (unsigned i = 0; i < t.n && !r->fault; i++) {
                uint8_t kind = read8(r, "the kind of a value");
                if (kind == 't')
                        (void)read_bytes(r, read32(r, "the length of a value"), "a value");
                else if (kind == 'b')
                        reader_fail(r, "a binary value, though text was asked for");
                else if (kind != 'n' && kind != 'u')
                        reader_fail(r, "the kind of a value");
        }
        t.packed.len = (size_t)((const char *)r->at - t.packed.data);
        return t;
}

static void read_relation(Reader *r, PgMessage *m)
{
        m->relation.oid = read32(r, "a table's OID");
        m->relation.schema = read_name(r, "a table's schema");
        m->relation.name = read_name(r, "a table's name");
        m->relation.identity = (char)read8(r, "a replica identity");
        if (!r->fault && (!m->relation.identity || !strchr("dnfi", m->relation.identity)))
                reader_fail(r, "a replica identity that is none");
        m->relation.n_columns = read16(r, "a table's number of columns");
        if (m->relation.n_columns > PG_COLUMNS_MAX)
                reader_fail(r, "a table with more columns than there can be");
        if (m->relation.schema.len == 0)
                m->relation.schema = SLICE_LIT("pg_catalog");
        m->relation.columns.data = (const char *)r->at;
        for (unsigned i = 0; i < m->relation.n_columns && !r->fault; i++) {
                (void)read8(r, "a column's flags");
                (void)read_name(r, "a column's name");
                (void)read_bytes(r, 8, "a column's type");
        }
        m->relation.columns.len = (size_t)((const char *)r->at - m->relation.columns.data);
}

// I, U and D: what stands in front of the rows differs, the rest is the same.
static void read_row(Reader *r, PgMessage *m)
{
        m->row.relation = read32(r, "a table's OID");
        uint8_t kind = read8(r, "the kind of a row");
        if (m->type != PG_INSERT && (kind == 'K' || kind == 'O')) {
                m->row.old_kind = (char)kind;
                m->row.old_row = read_tuple(r);
                kind = m->type == PG_UPDATE ? read8(r, "the kind of a row") : 0;
        } else if (m->type == PG_DELETE) {
                reader_fail(r, "a deleted row that is neither key nor row");
        }
        if (m->type == PG_DELETE)
                return;
        if (!r->fault && kind != 'N')
                reader_fail(r, "a row that is not the new one");
        m->row.new_row = read_tuple(r);
}

static void read_truncate(Reader *r, PgMessage *m)
{
        m->truncate.n = read32(r, "the number of tables");
        uint8_t flags = read8(r, "the flags of TRUNCATE");
        m->truncate.cascade = flags & 1;
        m->truncate.restart = flags & 2;
        m->truncate.relations = read_bytes(r, (size_t)m->truncate.n * 4, "the tables of TRUNCATE");
}

static void read_message(Reader *r, PgMessage *m)
{
        uint8_t flags = read8(r, "the flags of a message");
        if (flags > 1)
                reader_fail(r, "flags of a message that are unknown");
        m->message.transactional = flags & 1;
        m->message.lsn = read64(r, "the LSN of a message");
        m->message.prefix = read_text(r, "the prefix of a message");
        m->message.content =
                read_bytes(r, read32(r, "the length of a message"), "the content of a message");
}

static void read_any(Reader *r, PgMessage *m)
{
        switch (m->type) {
        case PG_BEGIN:
                m->begin.final_lsn = read64(r, "the LSN of a transaction");
                m->begin.time = (int64_t)read64(r, "the time of a transaction");
                m->begin.xid = read32(r, "the number of a transaction");
                break;
        case PG_COMMIT:
                if (read8(r, "the flags of a commit") != 0)
                        reader_fail(r, "flags of a commit that are unknown");
                m->commit.commit_lsn = read64(r, "the LSN of a commit");
                m->commit.end_lsn = read64(r, "the end LSN of a commit");
                m->commit.time = (int64_t)read64(r, "the time of a commit");
                break;
        case PG_ORIGIN:
                m->origin.lsn = read64(r, "the LSN of an origin");
                m->origin.name = read_text(r, "the name of an origin");
                break;
        case PG_RELATION:
                read_relation(r, m);
                break;
        case PG_TYPE:
                m->named.oid = read32(r, "a type's OID");
                m->named.schema = read_name(r, "a type's schema");
                m->named.name = read_name(r, "a type's name");
                if (m->named.schema.len == 0)
                        m->named.schema = SLICE_LIT("pg_catalog");
                break;
        case PG_INSERT:
        case PG_UPDATE:
        case PG_DELETE:
                read_row(r, m);
                break;
        case PG_TRUNCATE:
                read_truncate(r, m);
                break;
        case PG_MESSAGE:
                read_message(r, m);
                break;
        default:
                reader_fail(r, "a message of a type that was not asked for");
        }
}

int pgoutput_parse(Slice payload, PgMessage *ret, Reason *reason)
{
        const uint8_t *at = (const uint8_t *)payload.data;
        Reader r = {.at = at, .end = at + payload.len, .start = at};
        PgMessage m = {0};

        if (payload.len == 0)
                return reason_set(reason, -EBADMSG, "the server sent an empty pgoutput message");
        m.type = (PgType)*r.at++;
        read_any(&r, &m);
        if (!r.fault && r.at != r.end)
                reader_fail(&r, "its end");
        if (r.fault) {
                char letter[8];
                uint8_t c = (uint8_t)m.type;
                (void)snprintf(letter, sizeof letter, c > ' ' && c < 127 ? "%c" : "0x%02x", c);
                return reason_set(reason, -EBADMSG,
                        "the server sent a pgoutput message '%s' of %zu bytes that is malformed at "
                        "byte %zu: %s",
                        letter, payload.len, r.fault_at, r.fault);
        }
        *ret = m;
        return 0;
}

PgValue pg_next_value(Slice *rest)
{
        PgValue v = {.kind = *rest->data};
        size_t used = 1;

        if (v.kind == 't') {
                v.text = slice_mem(rest->data + 5, load32(rest->data + 1));
                used = 5 + v.text.len;
        }
        rest->data += used;
        rest->len -= used;
        return v;
}

PgColumn pg_next_column(Slice *rest)
{
        PgColumn c = {.key = *rest->data & 1, .name = slice_of(rest->data + 1)};
        const char *numbers = c.name.data + c.name.len + 1;

        c.type = load32(numbers);
        c.typmod = (int32_t)load32(numbers + 4);
        size_t used = (size_t)(numbers + 8 - rest->data);
        rest->data += used;
        rest->len -= used;
        return c;
}

uint32_t pg_truncate_relation(const PgMessage *m, uint32_t index)
{
        return load32(m->truncate.relations.data + (size_t)index * 4);
}

// Seconds between 1970-01-01 and 2000-01-01.
#define PG_EPOCH_USEC (INT64_C(946684800) * 1000000)

uint64_t pg_time_usec(int64_t time)
{
        int64_t wall;
        if (__builtin_add_overflow(time, PG_EPOCH_USEC, &wall) || wall < 0)
                return 0;
        return (uint64_t)wall;
}

const char *pg_lsn_text(uint64_t lsn, char out[static PG_LSN_TEXT])
{
        (void)snprintf(out, PG_LSN_TEXT, "%X/%X", (unsigned)(lsn >> 32), (unsigned)lsn);
        return out;
}

static int parse_hex32(Slice s, uint32_t *ret)
{
        uint32_t v = 0;

        if (s.len == 0 || s.len > 8)
                return -EINVAL;
        for (size_t i = 0; i < s.len; i++) {
                unsigned char c = (unsigned char)s.data[i], lower = c | 0x20;
                if (c >= '0' && c <= '9')
                        v = v << 4 | (uint32_t)(c - '0');
                else if (lower >= 'a' && lower <= 'f')
                        v = v << 4 | (uint32_t)(lower - 'a' + 10);
                else
                        return -EINVAL;
        }
        *ret = v;
        return 0;
}

int pg_lsn_parse(Slice text, uint64_t *ret)
{
        const char *slash = text.len ? memchr(text.data, '/', text.len) : NULL;
        uint32_t high, low;

        if (!slash)
                return -EINVAL;
        size_t n = (size_t)(slash - text.data);
        if (parse_hex32(slice_mem(text.data, n), &high) < 0 ||
                parse_hex32(slice_mem(slash + 1, text.len - n - 1), &low) < 0)
                return -EINVAL;
        *ret = (uint64_t)high << 32 | low;
        return 0;
}

int pg_oid_parse(Slice text, uint32_t *ret)
{
        uint64_t v = 0;

        if (text.len == 0 || text.len > 10)
                return -EINVAL;
        for (size_t i = 0; i < text.len; i++) {
                if (text.data[i] < '0' || text.data[i] > '9')
                        return -EINVAL;
                v = v * 10 + (uint64_t)(text.data[i] - '0');
        }
        if (v > UINT32_MAX)
                return -EINVAL;
        *ret = (uint32_t)v;
        return 0;
}
