// SPDX-License-Identifier: MIT
// Two looks (the publication, the tables), then at most one text of SQL, which the server runs as one
// transaction: all of it or nothing. Tables with a condition or a column list are tried in the same
// transaction by an EXPLAIN DELETE: the server judges there whether the application's own writes
// would still work, and when they would not, nothing was changed.
#include "publication.h"

#include "base/digest.h"

#include <errno.h>
#include <fnmatch.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

// Before a change that is made here; who is to run it by hand needs it not.
#define PATIENCE "SET LOCAL lock_timeout = '10s'; "

enum { SQL_MAX = 4 << 20, FINDINGS_MAX = 56 * 1024, MARK_MAX = 40 };

struct Publication {
        Server *server;
        PublicationPlan plan;
        PublicationDone done;
        void *userdata;
        PublicationResult result;
        char *name_sql, *name_text; // quoted
        bool exists, ours, all_tables, via_root;
        char mark_found[MARK_MAX], mark[MARK_MAX];
        unsigned published_operations;
        Buf sql, list, add, drop;
        size_t n_add, n_drop, n_foreign; // foreign: to be published, of another owner
};

static const struct {
        ChangeOperation operation;
        const char *word;
} publish_words[] = {{CHANGE_INSERT, "insert"}, {CHANGE_UPDATE, "update"},
        {CHANGE_DELETE, "delete"}, {CHANGE_TRUNCATE, "truncate"}};

// ---- what is told
static void finding(Publication *p, bool good, const char *text, const char *sql)
{
        buf_addf(&p->result.findings, "%s  %s\n", good ? "ok " : "BAD", text);
        if (sql)
                buf_addf(&p->result.findings, "       %s\n", sql);
        if (good || p->result.trouble.text[0])
                return;
        (void)reason_set(&p->result.trouble, 0, "%.200s%s%.280s", text, sql ? "; run: " : "",
                sql ? sql : "");
}

static void finish(Publication *p, const ServerFault *fault)
{
        p->done(p->userdata, &p->result, fault);
}

static void ask(Publication *p, ServerAnswer answer)
{
        ServerFault fault = {.reason = {"out of memory"}};
        // A connection that is lost tells so itself.
        if (p->sql.error < 0)
                finish(p, &fault);
        else
                (void)!server_query(p->server, buf_text(&p->sql), answer, p);
}

// ---- what is asked for
static const TableOption *table_options(const Publication *p, size_t *n)
{
        *n = p->plan.options->tables.n;
        return p->plan.options->tables.items;
}

static bool is_pattern(const char *name)
{
        return strpbrk(name, "*?[") != NULL;
}

bool publication_has_patterns(const PostgresqlOptions *o)
{
        const TableOption *t = o->tables.items;
        for (size_t i = 0; i < o->tables.n; i++)
                if (is_pattern(t[i].name))
                        return true;
        return false;
}

static bool table_matches(const TableOption *t, const char *schema, const char *table)
{
        char pattern[256];
        const char *dot = strchr(t->name, '.');
        if (!dot)
                return false;
        (void)snprintf(pattern, sizeof pattern, "%.*s", (int)(dot - t->name), t->name);
        return fnmatch(pattern, schema, 0) == 0 && fnmatch(dot + 1, table, 0) == 0;
}

// What stands in the mark: everything that the catalogue cannot be compared with.
static int make_mark(Publication *p)
{
        size_t n;
        const TableOption *t = table_options(p, &n);
        unsigned operations = options_operations(p->plan.options);
        uint8_t hash[SHA256_SIZE];
        _cleanup_(buf_deinitp) Buf all = BUF_INIT(SQL_MAX);

        buf_addf(&all, "%u",
                operations & (CHANGE_INSERT | CHANGE_UPDATE | CHANGE_DELETE | CHANGE_TRUNCATE));
        for (size_t i = 0; i < n; i++) {
                if (!t[i].where && !t[i].columns)
                        continue;
                buf_addf(&all, "\n%s\n%s\n", t[i].name, t[i].where ? t[i].where : "");
                for (char *const *c = t[i].columns; c && *c; c++)
                        buf_addf(&all, "%s\n", *c);
        }
        int r = all.error < 0 ? all.error : digest_sha256(buf_slice(&all), hash);
        if (r < 0)
                return r;
        char hex[17] = "";
        digest_hex(hash, 8, hex);
        (void)snprintf(p->mark, sizeof p->mark, "belfry:%.16s", hex);
        return 0;
}

// ---- the tables of the catalogue
typedef struct Row {
        const char *schema, *table, *sql; // sql: quoted schema.table
        bool partition, identity, full, owned, member, published;
} Row;

static Row row_of(const PGresult *r, int i)
{
        const char *kind = PQgetvalue(r, i, 3);
        bool key = PQgetvalue(r, i, 4)[0] == 't', index = PQgetvalue(r, i, 5)[0] == 't';
        return (Row){
                .schema = PQgetvalue(r, i, 0),
                .table = PQgetvalue(r, i, 1),
                .sql = PQgetvalue(r, i, 2),
                .identity = kind[0] == 'f' || (kind[0] == 'd' && key) || (kind[0] == 'i' && index),
                .full = kind[0] == 'f',
                .partition = PQgetvalue(r, i, 6)[0] == 't',
                .owned = PQgetvalue(r, i, 7)[0] == 't',
                .member = PQgetvalue(r, i, 8)[0] == 't',
                .published = PQgetvalue(r, i, 9)[0] == 't',
        };
}

static bool writes_need_identity(const Publication *p)
{
        return (p->exists && !p->ours ? p->published_operations
                                      : options_operations(p->plan.options)) &
               (CHANGE_UPDATE | CHANGE_DELETE);
}

static void add_table(Publication *p, Buf *list, const Row *row, const TableOption *t)
{
        buf_addf(list, "%s%s", list->len ? ", " : "", row->sql);
        for (char *const *c = t->columns; c && *c; c++) {
                char *name = server_quote_name(p->server, *c);
                buf_addf(list, "%s%s", c == t->columns ? " (" : ", ", name ? name : "");
                if (!name)
                        list->error = -ENOMEM;
                free(name);
        }
        if (t->columns)
                buf_add_char(list, ')');
        if (t->where)
                buf_addf(list, " WHERE (%s)", t->where);
}

static void refuse_identity(Publication *p, const Row *row)
{
        char text[300], sql[200];
        (void)snprintf(text, sizeof text,
                "table %.90s.%.90s has no replica identity: publishing it would make the "
                "application's "
                "own UPDATE and DELETE fail",
                row->schema, row->table);
        (void)snprintf(sql, sizeof sql, "ALTER TABLE %.140s REPLICA IDENTITY FULL;", row->sql);
        finding(p, false, text, sql);
}

// One table that is asked for.
static void want(Publication *p, const Row *row, const TableOption *t)
{
        char text[300];
        _cleanup_(buf_deinitp) Buf sql = BUF_INIT(4096);

        if (!row->identity && writes_need_identity(p)) {
                refuse_identity(p, row);
                if (p->ours && row->member)
                        buf_addf(&p->drop, "%s%s", p->n_drop++ ? ", " : "", row->sql);
                return;
        }
        bool there = p->ours ? row->member : row->published || row->member;
        if (!there && p->exists && (!p->ours || !row->owned)) {
                (void)snprintf(text, sizeof text, "table %.120s is not in publication %.63s",
                        row->sql, p->plan.name);
                buf_addf(&sql, "ALTER PUBLICATION %s ADD TABLE ", p->name_sql);
                Buf one = BUF_INIT(2048);
                add_table(p, &one, row, t);
                buf_addf(&sql, "%s;", buf_text(&one));
                buf_deinit(&one);
                finding(p, false, text, buf_text(&sql));
                return;
        }
        p->result.n_tables++;
        add_table(p, &p->list, row, t);
        if (!there) {
                add_table(p, &p->add, row, t);
                p->n_add++;
                p->n_foreign += !row->owned;
        }
        (void)snprintf(text, sizeof text, "table %.200s%s", row->sql, there ? " is published" : "");
        if (there)
                finding(p, true, text, NULL);
}

static void consider(Publication *p, const Row *row, bool *matched)
{
        size_t n;
        const TableOption *t = table_options(p, &n), *hit = NULL;
        for (size_t i = 0; i < n; i++) {
                if (!table_matches(&t[i], row->schema, row->table))
                        continue;
                matched[i] = true;
                // A pattern means the partitioned table, not each of its parts besides.
                if (!hit && !(row->partition && is_pattern(t[i].name)))
                        hit = &t[i];
        }
        if (hit)
                want(p, row, hit);
        else if (p->ours && row->member)
                buf_addf(&p->drop, "%s%s", p->n_drop++ ? ", " : "", row->sql);
        else if (row->published && n == 0) {
                p->result.n_tables++;
                if (!row->identity && writes_need_identity(p))
                        refuse_identity(p, row);
        }
}

static void tell_unmatched(Publication *p, const bool *matched)
{
        size_t n;
        const TableOption *t = table_options(p, &n);
        for (size_t i = 0; i < n; i++) {
                char text[256];
                if (matched[i])
                        continue;
                (void)snprintf(text, sizeof text,
                        is_pattern(t[i].name)
                                ? "no table matches %.160s yet"
                                : "table %.160s does not exist, or is no ordinary table",
                        t[i].name);
                finding(p, is_pattern(t[i].name), text, NULL);
        }
}

// ---- the change
static void add_publish(const Publication *p, Buf *sql)
{
        unsigned operations = options_operations(p->plan.options);
        bool first = true;
        buf_add_str(sql, "publish = '");
        for (size_t i = 0; i < N_ELEMENTS(publish_words); i++)
                if (operations & publish_words[i].operation) {
                        buf_addf(sql, "%s%s", first ? "" : ", ", publish_words[i].word);
                        first = false;
                }
        buf_add_str(sql, "', publish_via_partition_root = true");
}

static void add_trials(Publication *p, const PGresult *tables)
{
        size_t n;
        const TableOption *t = table_options(p, &n);
        if (!(options_operations(p->plan.options) & (CHANGE_UPDATE | CHANGE_DELETE)))
                return;
        for (int i = 0; i < PQntuples(tables); i++) {
                Row row = row_of(tables, i);
                for (size_t k = 0; k < n; k++)
                        if (table_matches(&t[k], row.schema, row.table)) {
                                if ((t[k].where || t[k].columns) && row.owned)
                                        buf_addf(&p->sql, "EXPLAIN DELETE FROM %s; ", row.sql);
                                break;
                        }
        }
}

static void make_change(Publication *p, bool again)
{
        Buf *sql = &p->sql;
        buf_reset(sql);
        buf_add_str(sql, PATIENCE);
        if (!p->exists) {
                buf_addf(sql, "CREATE PUBLICATION %s ", p->name_sql);
                if (p->list.len > 0)
                        buf_addf(sql, "FOR TABLE %s ", buf_text(&p->list));
                buf_add_str(sql, "WITH (");
                add_publish(p, sql);
                buf_add_str(sql, "); ");
        } else {
                if (p->n_drop > 0)
                        buf_addf(sql, "ALTER PUBLICATION %s DROP TABLE %s; ", p->name_sql,
                                buf_text(&p->drop));
                if (again && p->list.len > 0)
                        buf_addf(sql, "ALTER PUBLICATION %s SET TABLE %s; ", p->name_sql,
                                buf_text(&p->list));
                else if (p->n_add > 0)
                        buf_addf(sql, "ALTER PUBLICATION %s ADD TABLE %s; ", p->name_sql,
                                buf_text(&p->add));
                if (again) {
                        buf_addf(sql, "ALTER PUBLICATION %s SET (", p->name_sql);
                        add_publish(p, sql);
                        buf_add_str(sql, "); ");
                }
        }
        if (again || !p->exists)
                buf_addf(sql, "COMMENT ON PUBLICATION %s IS '%s'; ", p->name_sql, p->mark);
        sql->error = sql->error      ? sql->error
                     : p->list.error ? p->list.error
                     : p->add.error  ? p->add.error
                                     : p->drop.error;
}

static const char *change_text(Publication *p)
{
        return p->sql.error < 0 ? "" : buf_text(&p->sql) + strlen(PATIENCE);
}

// The change is not made: who has to, and how.
static void tell_change(Publication *p)
{
        char text[256];
        const char *lacks =
                p->exists             ? ""
                : !p->plan.may_create ? ", and the role may not make it (CREATE on the database)"
                : p->n_foreign        ? ", and the role may not make it (tables of another owner)"
                                      : "";
        bool good = p->plan.look_only && p->plan.options->create == CREATE_AUTO && !lacks[0];
        (void)snprintf(text, sizeof text, "publication %.63s %s%s", p->plan.name,
                p->exists ? "is not as configured" : "does not exist", lacks);
        finding(p, good, text, good ? NULL : change_text(p));
        if (good)
                buf_addf(&p->result.findings, "       Belfry will run: %s\n", change_text(p));
}

static void on_changed(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Publication *p = userdata;
        char text[300];
        if (!fault) {
                p->result.usable = p->result.changed = true;
                finish(p, NULL);
                return;
        }
        (void)snprintf(text, sizeof text, "publication %.63s cannot be %s: %.180s", p->plan.name,
                p->exists ? "changed" : "made", fault->reason.text);
        // The trials stand behind what somebody else is to run.
        finding(p, false, text, fault_class(fault) == FAULT_SETTING ? change_text(p) : NULL);
        p->result.usable = p->exists;
        finish(p, fault_class(fault) == FAULT_TRANSIENT ? fault : NULL);
}

static void on_tables(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Publication *p = userdata;
        size_t n;
        (void)table_options(p, &n);
        _cleanup_(freep) bool *matched = calloc(n + 1, sizeof *matched);
        ServerFault memory = {.reason = {"out of memory"}};

        if (fault || !matched) {
                finish(p, fault ? fault : &memory);
                return;
        }
        for (int i = 0; i < PQntuples(result); i++) {
                Row row = row_of(result, i);
                consider(p, &row, matched);
        }
        tell_unmatched(p, matched);
        p->result.usable = p->exists;
        bool again = p->ours && strcmp(p->mark, p->mark_found) != 0;
        bool differs = !p->exists || (p->ours && (again || p->n_add > 0 || p->n_drop > 0));
        if (!differs) {
                finish(p, NULL);
                return;
        }
        make_change(p, again);
        if (p->plan.look_only || p->plan.options->create == CREATE_NEVER) {
                tell_change(p);
                finish(p, NULL);
                return;
        }
        add_trials(p, result);
        ask(p, on_changed);
}

static void ask_tables(Publication *p)
{
        buf_reset(&p->sql);
        buf_add_str(&p->sql,
                "SELECT n.nspname, c.relname,"
                " pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),"
                " c.relreplident,"
                " EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND "
                "i.indisprimary),"
                " EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND "
                "i.indisreplident),"
                " c.relispartition, pg_catalog.pg_has_role(c.relowner, 'USAGE'),"
                " EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN "
                "pg_catalog.pg_publication p ON"
                " p.oid = r.prpubid WHERE r.prrelid = c.oid AND p.pubname = ");
        buf_addf(&p->sql, "%s), ", p->name_text);
        if (p->exists)
                buf_addf(&p->sql,
                        "c.oid IN (SELECT t.relid FROM pg_catalog.pg_get_publication_tables(%s) t)",
                        p->name_text);
        else
                buf_add_str(&p->sql, "false");
        buf_add_str(&p->sql, " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid "
                             "= c.relnamespace"
                             " WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'"
                             " AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE "
                             "'pg\\_%' ORDER BY 1, 2");
        ask(p, on_tables);
}

static bool needs_15(const Publication *p)
{
        size_t n;
        const TableOption *t = table_options(p, &n);
        for (size_t i = 0; i < n; i++)
                if (t[i].where || t[i].columns)
                        return true;
        return false;
}

static void on_publication(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Publication *p = userdata;
        if (fault) {
                finish(p, fault);
                return;
        }
        p->exists = PQntuples(result) > 0;
        if (p->exists) {
                for (int i = 0; i < 4; i++)
                        if (PQgetvalue(result, 0, i)[0] == 't')
                                p->published_operations |= publish_words[i].operation;
                (void)snprintf(p->mark_found, sizeof p->mark_found, "%s", PQgetvalue(result, 0, 4));
                p->ours = strncmp(p->mark_found, "belfry:", 7) == 0 &&
                          PQgetvalue(result, 0, 5)[0] == 't' && p->plan.options->tables.items;
        }
        if (needs_15(p) && (!p->exists || p->ours) && server_version(p->server) < 150000) {
                finding(p, false,
                        "where and columns need PostgreSQL 15: this server would send all rows and "
                        "columns; filter in a rule (when), or update the server",
                        NULL);
                p->result.usable = false;
                finish(p, NULL);
                return;
        }
        if (!p->exists && !p->plan.options->tables.items) {
                char text[128];
                (void)snprintf(text, sizeof text, "publication %.63s does not exist", p->plan.name);
                finding(p, false, text, "CREATE PUBLICATION ... FOR TABLE ...; or name tables");
                finish(p, NULL);
                return;
        }
        ask_tables(p);
}

int publication_run(Publication **ret, Server *server, const PublicationPlan *plan,
        PublicationDone done, void *userdata)
{
        Publication *p = calloc(1, sizeof *p);
        if (!p)
                return -ENOMEM;
        *p = (Publication){.server = server, .plan = *plan, .done = done, .userdata = userdata};
        p->sql.max = p->list.max = p->add.max = p->drop.max = SQL_MAX;
        p->result.findings.max = FINDINGS_MAX;
        p->name_sql = server_quote_name(server, plan->name);
        p->name_text = server_quote_text(server, plan->name);
        int r = p->name_sql && p->name_text ? make_mark(p) : -ENOMEM;
        buf_addf(&p->sql,
                "SELECT pubinsert, pubupdate, pubdelete, pubtruncate,"
                " coalesce(pg_catalog.obj_description(oid, 'pg_publication'), ''),"
                " pg_catalog.pg_has_role(pubowner, 'USAGE')"
                " FROM pg_catalog.pg_publication WHERE pubname = %s",
                p->name_text ? p->name_text : "");
        if (r == 0)
                r = p->sql.error ? p->sql.error
                                 : server_query(server, buf_text(&p->sql), on_publication, p);
        if (r < 0) {
                (void)publication_free(p);
                return r;
        }
        *ret = p;
        return 0;
}

Publication *publication_free(Publication *p)
{
        if (!p)
                return NULL;
        free(p->name_sql);
        free(p->name_text);
        buf_deinit(&p->sql);
        buf_deinit(&p->list);
        buf_deinit(&p->add);
        buf_deinit(&p->drop);
        buf_deinit(&p->result.findings);
        free(p);
        return NULL;
}
