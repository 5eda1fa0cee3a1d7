// SPDX-License-Identifier: MIT
// Which tables there are to read: the publication's, as the catalogue lists them. A partitioned table
// without a key is read part by part. With the option backfill a table that was never listed is read;
// an operator's wish and a gap read anew what was read before.
#include "backfill_internal.h"

#include <errno.h>
#include <fnmatch.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

static bool wished(const Backfill *b, const char *name)
{
        return b->asked && (!b->asked[0] || fnmatch(b->asked, name, 0) == 0);
}

static int take_table(Backfill *b, const PGresult *r, int i)
{
        uint32_t told = (uint32_t)strtoul(PQgetvalue(r, i, 0), NULL, 10);
        uint32_t oid = (uint32_t)strtoul(PQgetvalue(r, i, 1), NULL, 10);
        const char *name = PQgetvalue(r, i, 2);
        uint64_t ended = strtoull(PQgetvalue(r, i, 3), NULL, 10);
        BackfillTable *t = backfill_find(b, oid);
        bool known = t != NULL, asked = wished(b, name);

        // What an operator asked for and is being read is not begun again.
        bool anew = b->all_run != 0 || (asked && (!known || t->done)) ||
                    (!known && b->stream->options->backfill);
        b->n_asked += asked;
        if (t && asked)
                t->retry_usec = 0; // somebody may have mended what was in the way
        if (!known && anew) {
                t = backfill_table_new(oid);
                if (!t)
                        return -ENOMEM;
                int k = backfill_add(b, t);
                if (k < 0)
                        return k;
        }
        if (!t)
                return 0;
        t->listed = true;
        t->gone = false;
        t->told = told;
        (void)snprintf(t->name, sizeof t->name, "%s", name);
        // Of a transaction that changed it before it was published nothing is streamed: it must end.
        if (anew)
                backfill_table_begin(t, b->all_run ? b->all_run : clock_wall_usec(),
                        b->all_run || b->first ? 0 : ended);
        return 0;
}

static void on_listed(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Backfill *b = userdata;
        int r = 0;
        b->state = BACKFILL_IDLE;
        if (fault) {
                backfill_answer(b, false, "%s", fault->reason.text);
                backfill_trouble(b, fault);
                return;
        }
        b->relist = false;
        b->list_usec = clock_mono_usec();
        b->n_asked = 0;
        for (size_t i = 0; i < b->n_tables; i++)
                b->tables[i]->listed = false;
        for (int i = 0; i < PQntuples(result) && r == 0; i++)
                r = take_table(b, result, i);
        for (size_t i = b->n_tables; i-- > 0;)
                if (!b->tables[i]->listed && r == 0)
                        backfill_drop(b, b->tables[i]);
        b->first = false;
        if (r < 0)
                backfill_answer(b, false, "cannot read %d tables: %s", PQntuples(result),
                        r == -ENOSPC ? "too many" : "out of memory");
        else if (b->asked && b->n_asked == 0)
                backfill_answer(b, false,
                        b->asked[0] ? "no published table is named %s"
                                    : "publication has no table%s",
                        b->asked);
        else
                backfill_answer(b, true,
                        "%zu table%s being read in the background; belfry status shows how far",
                        b->n_asked, b->n_asked == 1 ? " is" : "s are");
        b->all_listed = b->all_run != 0;
        backfill_step(b);
}

void backfill_list(Backfill *b)
{
        char *name = server_quote_text(b->server, b->stream->publication);
        buf_reset(&b->sql);
        if (!name)
                b->sql.error = -ENOMEM;
        else
                buf_addf(&b->sql,
                        "SELECT c.oid, coalesce(l.relid::pg_catalog.oid, c.oid), n.nspname || '.' "
                        "||"
                        " c.relname, pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"
                        " FROM pg_catalog.pg_publication_tables p JOIN pg_catalog.pg_namespace n ON"
                        " n.nspname = p.schemaname JOIN pg_catalog.pg_class c ON c.relnamespace ="
                        " n.oid AND c.relname = p.tablename"
                        " LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisvalid "
                        "AND"
                        " CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary "
                        "END"
                        " LEFT JOIN LATERAL (SELECT t.relid FROM"
                        " pg_catalog.pg_partition_tree(c.oid) t WHERE t.isleaf AND c.relkind = 'p'"
                        " AND i.indrelid IS NULL) l ON true"
                        " WHERE p.pubname = %s AND (c.relkind <> 'p' OR i.indrelid IS NOT NULL OR"
                        " l.relid IS NOT NULL) ORDER BY 3, 2",
                        name);
        free(name);
        backfill_ask(b, on_listed);
}
