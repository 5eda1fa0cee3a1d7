// SPDX-License-Identifier: MIT
// Reading one table. A window begins with the table's lock and only then takes its snapshot: a table
// that is rewritten between the two would look empty to the snapshot. The description (columns, key,
// the publication's filter) is asked for inside, so it holds for every chunk of the window. Rows come
// one by one; what is over the chunk's size is dropped and read again with the next.
#include "backfill_internal.h"

#include "base/wire.h"

#include <endian.h>
#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum { SEEN_AGAIN_MSEC = 50, ENDED_MSEC = 1000 };

// What the description's columns are.
enum {
        D_SNAPSHOT,
        D_LSN,
        D_IDENTITY,
        D_SCHEMA,
        D_TABLE,
        D_FILTER,
        D_BLOCKS,
        D_FILE,
        D_ESTIMATE,
        D_NAME,
        D_NAME_SQL,
        D_TYPE,
        D_TYPMOD,
        D_PUBLISHED,
        D_IS_IDENTITY,
        D_KEY,
        D_TYPE_SQL,
        D_TYPE_SCHEMA,
};

static void put_u16(Buf *b, unsigned v)
{
        uint16_t n = htobe16((uint16_t)v);
        buf_add(b, &n, sizeof n);
}

static void put_u32(Buf *b, uint32_t v)
{
        v = htobe32(v);
        buf_add(b, &v, sizeof v);
}

void backfill_columns_clear(BackfillColumns *c)
{
        buf_deinit(&c->published);
        buf_deinit(&c->keys);
        buf_deinit(&c->path);
        buf_deinit(&c->filter);
        for (size_t i = 0; i < N_ELEMENTS(c->types); i++)
                buf_deinit(&c->types[i]);
        c->n_published = c->n_keys = 0;
}

void backfill_release(Backfill *b)
{
        buf_shrink(&b->chunk, CHUNK_BYTES);
        b->chunk_at = 0;
        b->stalls = b->last = b->cut = false;
        b->stream->backfill_lsn = UINT64_MAX;
        if (b->state != BACKFILL_OFF)
                b->state = BACKFILL_IDLE;
}

void backfill_forget(Backfill *b)
{
        watch_end(b->watch);
        backfill_release(b);
}

// Once more in a moment, with the stream as it is.
static void again(Backfill *b, uint64_t msec)
{
        bool stalled = b->stalls;
        backfill_forget(b);
        b->current->retry_usec = clock_mono_usec() + msec * USEC_PER_MSEC;
        backfill_step(b);
        if (stalled)
                pump(b->stream);
}

static void odd(Backfill *b, const char *what)
{
        ServerFault fault = {0};
        (void)reason_set(&fault.reason, 0, "%s", what);
        backfill_trouble(b, &fault);
}

// ---- the end of a window
static void on_closed(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Backfill *b = userdata;
        b->open = false;
        if (fault)
                backfill_trouble(b, fault);
        else
                backfill_step(b);
}

void backfill_close(Backfill *b)
{
        (void)!server_query(b->server, "COMMIT", on_closed, b);
}

// ---- a chunk
// Has what was kept of the row as the message that the stream would send for it.
static void on_row(void *userdata, const PGresult *r)
{
        Backfill *b = userdata;
        unsigned n = b->columns.n_published;
        unsigned behind = (unsigned)PQnfields(r) - n;

        b->n_rows++;
        if (b->cut || (b->n_kept > 0 && b->chunk.len > CHUNK_BYTES)) {
                b->cut = true;
                return;
        }
        size_t at = b->chunk.len;
        wire_put_u32(&b->chunk, 0);
        buf_add_char(&b->chunk, 'I');
        put_u32(&b->chunk, b->current->told);
        buf_add_char(&b->chunk, 'N');
        put_u16(&b->chunk, n);
        for (unsigned i = 0; i < n; i++) {
                bool null = PQgetisnull(r, 0, (int)i);
                buf_add_char(&b->chunk, null ? 'n' : 't');
                if (null)
                        continue;
                put_u32(&b->chunk, (uint32_t)PQgetlength(r, 0, (int)i));
                buf_add(&b->chunk, PQgetvalue(r, 0, (int)i), (size_t)PQgetlength(r, 0, (int)i));
        }
        if (b->chunk.error == 0)
                wire_set_u32(&b->chunk, at, (uint32_t)(b->chunk.len - at - 4));
        for (unsigned i = n; i < n + behind; i++)
                wire_put_bytes(&b->chunk,
                        slice_mem(PQgetvalue(r, 0, (int)i), (size_t)PQgetlength(r, 0, (int)i)));
        b->n_kept++;
}

// More rows while they are small, fewer when they are large.
static void adapt(Backfill *b)
{
        if (b->cut)
                b->limit = b->n_kept > CHUNK_ROWS_MIN ? b->n_kept : CHUNK_ROWS_MIN;
        else if (b->chunk.len < CHUNK_BYTES / 2 && b->limit < CHUNK_ROWS_MAX)
                b->limit = 2 * b->limit < CHUNK_ROWS_MAX ? 2 * b->limit : CHUNK_ROWS_MAX;
        if (b->cut || b->chunk.len > CHUNK_BYTES)
                b->blocks = b->blocks > 1 ? b->blocks / 2 : 1;
        else if (b->chunk.len < CHUNK_BYTES / 4 && b->blocks < 1024)
                b->blocks *= 2;
}

static void on_chunk(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Backfill *b = userdata;
        const BackfillTable *t = b->current;
        if (fault) {
                backfill_trouble(b, fault);
                return;
        }
        if (b->chunk.error < 0) {
                odd(b, "a row is too large to be read");
                return;
        }
        b->last = !b->cut && (t->by_place ? b->next_block >= t->end_block : b->n_rows < b->limit);
        adapt(b);
        b->state = BACKFILL_HOLDING;
        b->stalls = false;
        b->stream->backfill_lsn = b->lsn;
        backfill_arm(b, HOLD_MSEC * USEC_PER_MSEC);
        pump(b->stream); // passes it on when the stream is there already
}

static void add_cursor(Backfill *b, const BackfillTable *t)
{
        Buf *sql = &b->sql;
        WireReader in = wire_reader(buf_slice(&t->cursor));
        buf_addf(sql, " AND (%s) > (", buf_text(&b->columns.keys));
        for (unsigned i = 0; i < t->n_cursor; i++) {
                Slice text = wire_bytes(&in);
                char *plain = strndup(text.data ? text.data : "", text.len);
                char *quoted = plain ? server_quote_text(b->server, plain) : NULL;
                buf_addf(sql, "%s%s::%s", i ? ", " : "", quoted ? quoted : "",
                        buf_text(&b->columns.types[i]));
                if (!quoted)
                        sql->error = -ENOMEM;
                free(plain);
                free(quoted);
        }
        buf_add_char(sql, ')');
}

// The place behind which reading goes on, and the first page of the chunk.
static unsigned place(const BackfillTable *t, Slice *ret)
{
        WireReader in = wire_reader(buf_slice(&t->cursor));
        *ret = t->n_cursor ? wire_bytes(&in) : SLICE_LIT("(0,0)");
        return ret->len > 1 ? (unsigned)strtoul(ret->data + 1, NULL, 10) : 0;
}

static void add_places(Backfill *b, const BackfillTable *t)
{
        Slice from;
        unsigned first = place(t, &from);
        b->next_block = t->end_block - first > b->blocks ? first + b->blocks : t->end_block;
        buf_addf(&b->sql, " AND ctid > '%.*s' AND ctid < '(%u,0)'", SLICE_ARG(from), b->next_block);
        // A version made since the beginning is told by the stream.
        if (t->basis.len > 0)
                buf_addf(&b->sql,
                        " AND pg_catalog.pg_visible_in_snapshot(xmin::pg_catalog.text::"
                        "pg_catalog.xid8, '%.*s')",
                        SLICE_ARG(buf_slice(&t->basis)));
        buf_add_str(&b->sql, " ORDER BY ctid");
}

void backfill_chunk(Backfill *b)
{
        const BackfillTable *t = b->current;
        BackfillColumns *c = &b->columns;
        Buf *sql = &b->sql;

        buf_shrink(&b->chunk, CHUNK_BYTES);
        b->chunk_at = 0;
        b->n_rows = b->n_kept = 0;
        b->cut = b->last = false;
        buf_reset(sql);
        if (c->path.len > 0)
                buf_addf(sql, "SET LOCAL search_path = pg_catalog%s; ", buf_text(&c->path));
        buf_addf(sql, "SELECT %s%s%s FROM %s%s WHERE %s%s%s", buf_text(&c->published),
                c->n_published > 0 ? ", " : "",
                t->by_place ? "ctid::pg_catalog.text AS place" : buf_text(&c->keys),
                b->root && t->told == t->oid ? "" : "ONLY ", b->read_sql,
                c->filter.len > 0 ? "(" : "", c->filter.len > 0 ? buf_text(&c->filter) : "true",
                c->filter.len > 0 ? ")" : "");
        if (t->by_place)
                add_places(b, t);
        else {
                if (t->n_cursor > 0)
                        add_cursor(b, t);
                buf_addf(sql, " ORDER BY %s LIMIT %u", buf_text(&c->keys), b->limit);
        }
        backfill_ask_rows(b, on_row, on_chunk);
}

// ---- the window
// Where the cursor was made for another key, or for pages that were rewritten, it is read anew.
static void settle_cursor(Backfill *b, const PGresult *r, const Snapshot *seen, bool recovery)
{
        BackfillTable *t = b->current;
        const BackfillColumns *c = &b->columns;
        _cleanup_(buf_deinitp) Buf basis = BUF_INIT(BACKFILL_BASIS_MAX);
        bool by_place = c->n_keys == 0;

        for (unsigned i = 0; i < c->n_keys; i++)
                buf_addf(&basis, "%s%.*s", i ? "," : "", SLICE_ARG(buf_slice(&c->types[i])));
        uint32_t file = (uint32_t)strtoul(PQgetvalue(r, 0, D_FILE), NULL, 10);
        bool same =
                by_place == t->by_place &&
                (by_place ? file == t->file : slice_eq(buf_slice(&basis), buf_slice(&t->basis)));
        if (t->n_cursor > 0 && !same)
                backfill_table_begin(t, clock_wall_usec(), 0);
        if (t->n_cursor > 0)
                return;
        t->by_place = by_place;
        buf_reset(&t->basis);
        if (!by_place)
                buf_add_slice(&t->basis, buf_slice(&basis));
        // Beyond 2^32 a version's xmin may be one of an earlier round: then none is left out.
        else if (!recovery && seen->xmax < UINT32_MAX &&
                 PQgetlength(r, 0, D_SNAPSHOT) < BACKFILL_BASIS_MAX)
                buf_add_str(&t->basis, PQgetvalue(r, 0, D_SNAPSHOT));
        if (by_place) {
                t->end_block = (uint32_t)strtoul(PQgetvalue(r, 0, D_BLOCKS), NULL, 10);
                t->file = file;
        }
}

static void on_answers(void *userdata, const PGresult *result, const ServerFault *fault);

// Types of users are asked for, then the first chunk.
static void ask_types(Backfill *b)
{
        int r = change_read_ask(b->rows);
        if (r < 0) {
                odd(b, "out of memory");
                return;
        }
        if (r == 0) {
                backfill_chunk(b);
                return;
        }
        buf_reset(&b->sql);
        buf_add_str(&b->sql, change_question(b->rows));
        backfill_ask(b, on_answers);
}

static void on_answers(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Backfill *b = userdata;
        ServerFault why = {0};
        int r = 0;
        if (fault) {
                backfill_trouble(b, fault);
                return;
        }
        for (int i = 0; i < PQntuples(result) && r == 0; i++) {
                Slice fields[CHANGE_ANSWER_FIELDS];
                for (int k = 0; k < CHANGE_ANSWER_FIELDS; k++)
                        fields[k] = slice_of(PQgetvalue(result, i, k));
                r = change_answer(b->rows, fields);
        }
        if (r == 0)
                r = change_answered(b->rows, &why.reason);
        if (r < 0)
                odd(b, why.reason.text[0] ? why.reason.text : "the catalogue's answer is odd");
        else
                ask_types(b);
}

static void take_column(Backfill *b, const PGresult *r, int i)
{
        BackfillColumns *c = &b->columns;
        const char *name = PQgetvalue(r, i, D_NAME_SQL);
        if (PQgetvalue(r, i, D_PUBLISHED)[0] != 't')
                return;
        buf_addf(&c->published, "%s%s", c->n_published++ ? ", " : "", name);
        buf_add_char(&b->describe, PQgetvalue(r, i, D_IS_IDENTITY)[0] == 't');
        buf_add(&b->describe, PQgetvalue(r, i, D_NAME), (size_t)PQgetlength(r, i, D_NAME) + 1);
        put_u32(&b->describe, (uint32_t)strtoul(PQgetvalue(r, i, D_TYPE), NULL, 10));
        put_u32(&b->describe, (uint32_t)strtol(PQgetvalue(r, i, D_TYPMOD), NULL, 10));
}

static void take_key(Backfill *b, const PGresult *r, unsigned position)
{
        BackfillColumns *c = &b->columns;
        for (int i = 0; i < PQntuples(r); i++) {
                if (strtoul(PQgetvalue(r, i, D_KEY), NULL, 10) != position)
                        continue;
                const char *schema = PQgetvalue(r, i, D_TYPE_SCHEMA);
                buf_addf(&c->keys, "%s%s", c->n_keys ? ", " : "", PQgetvalue(r, i, D_NAME_SQL));
                buf_add_str(&c->types[c->n_keys++], PQgetvalue(r, i, D_TYPE_SQL));
                if (strcmp(schema, "pg_catalog") != 0)
                        buf_addf(&c->path, ", %s", schema);
                return;
        }
}

// The description as the message R that the stream would send.
static void take_columns(Backfill *b, const PGresult *r)
{
        BackfillColumns *c = &b->columns;
        unsigned published = 0;

        backfill_columns_clear(c);
        c->published.max = c->keys.max = c->path.max = c->filter.max = BACKFILL_SQL_MAX / 8;
        for (size_t i = 0; i < N_ELEMENTS(c->types); i++)
                c->types[i].max = 1024;
        for (int i = 0; i < PQntuples(r); i++)
                published += PQgetvalue(r, i, D_PUBLISHED)[0] == 't';
        buf_reset(&b->describe);
        buf_add_char(&b->describe, 'R');
        put_u32(&b->describe, b->current->told);
        buf_add(&b->describe, PQgetvalue(r, 0, D_SCHEMA), (size_t)PQgetlength(r, 0, D_SCHEMA) + 1);
        buf_add(&b->describe, PQgetvalue(r, 0, D_TABLE), (size_t)PQgetlength(r, 0, D_TABLE) + 1);
        buf_add_char(&b->describe, PQgetvalue(r, 0, D_IDENTITY)[0]);
        put_u16(&b->describe, published);
        for (int i = 0; i < PQntuples(r); i++)
                take_column(b, r, i);
        for (unsigned position = 1; position <= BACKFILL_KEYS_MAX; position++)
                take_key(b, r, position);
        buf_add_str(&c->filter, PQgetvalue(r, 0, D_FILTER));
}

static void on_described(void *userdata, const PGresult *r, const ServerFault *fault)
{
        Backfill *b = userdata;
        BackfillTable *t = b->current;
        Snapshot seen = {0};
        ServerFault why = {0};
        bool recovery = b->stream->preflight.in_recovery;

        if (fault) {
                backfill_trouble(b, fault);
                return;
        }
        b->open = true;
        b->window_usec = b->ask_usec = clock_mono_usec();
        if (PQntuples(r) == 0) { // published no more, or another table of that name
                backfill_forget(b);
                backfill_drop(b, t);
                backfill_step(b);
                return;
        }
        Slice text = slice_of(PQgetvalue(r, 0, D_SNAPSHOT));
        if (snapshot_parse(text, &seen) < 0 ||
                pg_lsn_parse(slice_of(PQgetvalue(r, 0, D_LSN)), &b->lsn) < 0) {
                odd(b, "the server does not say what it sees");
                return;
        }
        // A standby does not say who still runs; but there what was streamed is always seen.
        int k = watch_snapshot(b->watch, recovery ? SLICE_NULL : text);
        if (k == 0 && seen.xmin < t->not_before)
                k = 2;
        take_columns(b, r);
        if (k == 0)
                settle_cursor(b, r, &seen, recovery);
        snapshot_deinit(&seen);
        t->estimate = strtod(PQgetvalue(r, 0, D_ESTIMATE), NULL);
        if (k < 0)
                odd(b, "the server's snapshot cannot be read");
        else if (k > 0)
                again(b, k == 1 ? SEEN_AGAIN_MSEC : ENDED_MSEC);
        else if (change_read_table(b->rows, buf_slice(&b->describe), b->lsn, &why.reason) < 0)
                odd(b, why.reason.text);
        else
                ask_types(b);
}

#define LSN_NOW                                                 \
        "(SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN" \
        " pg_catalog.pg_last_wal_replay_lsn() ELSE"             \
        " pg_catalog.pg_current_wal_insert_lsn() END)"
#define ROWS_OF_PARTS                                                         \
        "(SELECT sum(p.reltuples) FROM pg_catalog.pg_partition_tree(c.oid) s" \
        " JOIN pg_catalog.pg_class p ON p.oid = s.relid WHERE s.isleaf AND p.reltuples >= 0)"

static void add_description(Backfill *b, char *publication, char *told)
{
        const BackfillTable *t = b->current;
        int version = b->stream->preflight.version;
        bool lists = version >= 150000;
        // Before 18 generated columns are never streamed, though the list may name them.
        const char *published = version >= 180000 ? "a.attname = ANY (p.attnames)"
                                : lists ? "a.attgenerated = '' AND a.attname = ANY (p.attnames)"
                                        : "a.attgenerated = ''";
        buf_addf(&b->sql,
                "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, " LSN_NOW
                ", c.relreplident, n.nspname, c.relname, %s,"
                " pg_catalog.pg_relation_size(r.oid) /"
                " pg_catalog.current_setting('block_size')::pg_catalog.int8,"
                " pg_catalog.pg_relation_filenode(r.oid),"
                " CASE WHEN r.relkind = 'p' THEN " ROWS_OF_PARTS " ELSE r.reltuples END,"
                " a.attname, pg_catalog.quote_ident(a.attname), a.atttypid, a.atttypmod, %s,"
                " CASE c.relreplident WHEN 'd' THEN i.indimmediate WHEN 'i' THEN true ELSE false"
                " END AND k.position IS NOT NULL, k.position,"
                " pg_catalog.format_type(a.atttypid, -1), pg_catalog.quote_ident(tn.nspname)"
                " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid ="
                " c.relnamespace JOIN pg_catalog.pg_class r ON r.oid = %u"
                " JOIN pg_catalog.pg_publication_tables p ON p.pubname = %s AND p.schemaname ="
                " n.nspname AND p.tablename = c.relname"
                " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT"
                " a.attisdropped JOIN pg_catalog.pg_type ty ON ty.oid = a.atttypid"
                " JOIN pg_catalog.pg_namespace tn ON tn.oid = ty.typnamespace"
                " LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisvalid AND CASE"
                " c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END"
                " LEFT JOIN LATERAL (SELECT pg_catalog.array_position((i.indkey::"
                "pg_catalog.int2[])[0:i.indnkeyatts - 1], a.attnum) position) k ON true"
                " WHERE c.oid = %u AND c.oid = %s::pg_catalog.regclass ORDER BY a.attnum",
                lists ? "coalesce(p.rowfilter, '')" : "''", published, t->oid, publication, t->told,
                told);
}

static void on_named(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Backfill *b = userdata;
        if (fault) {
                backfill_trouble(b, fault);
                return;
        }
        if (PQntuples(result) != 1) {
                backfill_forget(b);
                backfill_drop(b, b->current);
                backfill_step(b);
                return;
        }
        free(b->told_sql);
        free(b->read_sql);
        const char *told = PQgetvalue(result, 0, 0);
        b->told_sql = strdup(told);
        b->read_sql = strdup(PQgetvalue(result, 0, 1));
        b->root = PQgetvalue(result, 0, 2)[0] == 'p';
        char *name = server_quote_text(b->server, b->stream->publication);
        char *text = server_quote_text(b->server, told);
        buf_reset(&b->sql);
        buf_addf(&b->sql,
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '2s';"
                " SET LOCAL row_security = off; LOCK TABLE %s%s IN ACCESS SHARE MODE; ",
                b->root ? "" : "ONLY ", told);
        if (!name || !text || !b->told_sql || !b->read_sql)
                b->sql.error = -ENOMEM;
        else
                add_description(b, name, text);
        free(name);
        free(text);
        // From here on what the stream tells is noted; a careful reader lets it wait.
        watch_begin(b->watch, b->current->told);
        b->stalls = b->careful;
        backfill_ask(b, on_described);
}

void backfill_window(Backfill *b)
{
        const BackfillTable *t = b->current;
        buf_reset(&b->sql);
        buf_addf(&b->sql,
                "SELECT pg_catalog.quote_ident(tn.nspname) || '.' ||"
                " pg_catalog.quote_ident(t.relname), pg_catalog.quote_ident(rn.nspname) || '.' ||"
                " pg_catalog.quote_ident(r.relname), t.relkind"
                " FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace tn ON tn.oid ="
                " t.relnamespace, pg_catalog.pg_class r JOIN pg_catalog.pg_namespace rn ON rn.oid ="
                " r.relnamespace WHERE t.oid = %u AND r.oid = %u",
                t->told, t->oid);
        backfill_ask(b, on_named);
}
