// SPDX-License-Identifier: MIT
// What an operator asks of a source: doctor (look at everything and say the SQL for what is missing),
// continue (go on behind a gap), drop-slot (of a source that left the configuration). Each has a
// connection of its own, so it also works where the stream does not, and in a process born for it.
#include "stream.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 60 * 1024, SQL_MAX = 2048 };

const SourceCommand postgresql_commands[] = {
        {.verb = "doctor",
                .prose = "Looks at server, role, publication, tables and slot, and prints the SQL "
                         "for what is missing.",
                .looks_only = true},
        {.verb = "continue",
                .prose = "Goes on behind a gap at which on_gap = \"stop\" halted the source."},
        {.verb = "backfill",
                .argument = "[TABLE]",
                .prose = "Reads the rows that are there, of all published tables or those that "
                         "the name (schema.table, patterns) says, as row.read events."},
        {.verb = "backfill-cancel",
                .argument = "[TABLE]",
                .prose = "Reads existing rows no further, of all tables or those that the name "
                         "says."},
        {.verb = "drop-slot",
                .prose = "Drops the replication slot of a source that left the configuration, and "
                         "the "
                         "publication if Belfry made it: what is not read yet is lost.",
                .after_removal = true,
                .leaves = "its replication slot holds the server's WAL"},
};
const size_t n_postgresql_commands = sizeof postgresql_commands / sizeof *postgresql_commands;

typedef struct Doctor {
        Stream *stream;
        uint64_t ticket;
        Server *server;
        Publication *publication;
        Preflight preflight;
        Buf text;
        bool bad, slot_exists;
} Doctor;

static void answer(Stream *s, uint64_t ticket, bool ok, const char *text)
{
        json_t *o = json_pack("{s:b s:s}", "ok", ok, "text", text);
        if (o)
                source_answer(s->source, ticket, true, o);
        json_decref(o);
}

static void doctor_end(Doctor *d)
{
        // What is found are lines to read; a failure itself is one sentence.
        if (d->bad) {
                json_t *o = json_pack("{s:s}", "text", buf_text(&d->text));
                if (o)
                        source_answer(d->stream->source, d->ticket, false, o);
                json_decref(o);
        }
        answer(d->stream, d->ticket, !d->bad,
                d->bad ? "what is marked BAD needs a hand" : buf_text(&d->text));
        d->publication = publication_free(d->publication);
        d->server = server_free(d->server);
        buf_deinit(&d->text);
        free(d);
}

static void add_finding(void *userdata, FindingLevel level, const char *text, const char *sql)
{
        static const char *const words[] = {"ok ", "NB ", "BAD"};
        Doctor *d = userdata;
        buf_addf(&d->text, "%s  %s\n", words[level], text);
        if (sql)
                buf_addf(&d->text, "       %s\n", sql);
        d->bad = d->bad || level == FINDING_BAD;
}

static void doctor_fault(Doctor *d, const ServerFault *fault)
{
        Reason why;
        preflight_explain(fault, server_user(d->server), &why);
        add_finding(d, FINDING_BAD, why.text, NULL);
        doctor_end(d);
}

static void on_down(void *userdata, const ServerFault *fault)
{
        doctor_fault(userdata, fault);
}

static void doctor_ask(Doctor *d, const char *sql, ServerAnswer next)
{
        const ServerFault fault = {.reason = {"the connection to the server was lost"}};
        if (server_query(d->server, sql, next, d) < 0)
                doctor_fault(d, &fault);
}

// ---- doctor
static void on_readable(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Doctor *d = userdata;
        char text[256], sql[512];
        if (fault) {
                doctor_fault(d, fault);
                return;
        }
        for (int i = 0; i < PQntuples(result); i++) {
                const char *table = PQgetvalue(result, i, 0);
                (void)snprintf(
                        text, sizeof text, "the rows of %.150s may not be read (backfill)", table);
                (void)snprintf(sql, sizeof sql, "GRANT SELECT ON %.200s TO %.200s;", table,
                        PQgetvalue(result, i, 1));
                add_finding(d, FINDING_BAD, text, sql);
        }
        doctor_end(d);
}

// Reading the rows that are there needs what streaming does not.
static void ask_readable(Doctor *d)
{
        _cleanup_(buf_deinitp) Buf sql = BUF_INIT(SQL_MAX);
        char *name = server_quote_text(d->server, d->stream->publication);
        buf_addf(&sql,
                "SELECT pg_catalog.quote_ident(p.schemaname) || '.' ||"
                " pg_catalog.quote_ident(p.tablename), pg_catalog.quote_ident(current_user)"
                " FROM pg_catalog.pg_publication_tables p JOIN pg_catalog.pg_namespace n ON"
                " n.nspname = p.schemaname JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND"
                " c.relname = p.tablename WHERE p.pubname = %s AND NOT"
                " pg_catalog.has_any_column_privilege(c.oid, 'SELECT') ORDER BY 1 LIMIT 20",
                name ? name : "NULL");
        free(name);
        doctor_ask(d, buf_text(&sql), on_readable);
}

static void on_publication(
        void *userdata, const PublicationResult *result, const ServerFault *fault)
{
        Doctor *d = userdata;
        Buf findings = result->findings;
        d->bad = d->bad || result->trouble.text[0];
        buf_add_slice(&d->text, buf_slice(&findings));
        if (fault)
                doctor_fault(d, fault);
        else if (d->stream->options->backfill)
                ask_readable(d);
        else
                doctor_end(d);
}

static void on_slot(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Doctor *d = userdata;
        Stream *s = d->stream;
        char text[512];
        if (fault) {
                doctor_fault(d, fault);
                return;
        }
        bool exists = PQntuples(result) == 1;
        preflight_judge(&d->preflight, s->options, exists, add_finding, d);
        if (!exists) {
                (void)snprintf(text, sizeof text, "slot %s does not exist%s", s->slot,
                        s->options->create == CREATE_AUTO ? " yet; Belfry will make it" : "");
                char sql[256];
                (void)snprintf(sql, sizeof sql,
                        "SELECT pg_create_logical_replication_slot('%s', 'pgoutput');", s->slot);
                add_finding(d, s->options->create == CREATE_AUTO ? FINDING_GOOD : FINDING_BAD, text,
                        s->options->create == CREATE_AUTO ? NULL : sql);
        } else {
                const char *status = PQgetvalue(result, 0, 0);
                (void)snprintf(text, sizeof text,
                        "slot %s: wal_status %s, holds %s of WAL, confirmed %s, %s", s->slot,
                        status, PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2),
                        PQgetvalue(result, 0, 3)[0] ? "in use" : "not in use");
                bool lost = strcmp(status, "lost") == 0;
                bool ours = strcmp(PQgetvalue(result, 0, 4), "pgoutput") == 0;
                add_finding(d, lost || !ours ? FINDING_BAD : FINDING_GOOD, text, NULL);
        }
        if (s->halt[0])
                add_finding(d, FINDING_BAD, s->halt, NULL);
        const PublicationPlan plan = {.options = s->options,
                .name = s->publication,
                .may_create = d->preflight.may_create,
                .look_only = true};
        if (publication_run(&d->publication, d->server, &plan, on_publication, d) < 0) {
                add_finding(d, FINDING_BAD, "cannot look at the publication: out of memory", NULL);
                doctor_end(d);
        }
}

static void on_preflight(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Doctor *d = userdata;
        char sql[SQL_MAX];
        const ServerFault odd = {.reason = {"the server does not answer like PostgreSQL"}};
        if (fault || preflight_take(result, &d->preflight) < 0) {
                doctor_fault(d, fault ? fault : &odd);
                return;
        }
        (void)snprintf(sql, sizeof sql,
                "SELECT wal_status, pg_size_pretty(coalesce(CASE WHEN pg_is_in_recovery() THEN "
                "pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - restart_lsn, 0)), "
                "confirmed_flush_lsn, active_pid, plugin FROM pg_catalog.pg_replication_slots "
                "WHERE "
                "slot_name = '%s'",
                d->stream->slot);
        doctor_ask(d, sql, on_slot);
}

static void on_doctor_up(void *userdata)
{
        add_finding(userdata, FINDING_GOOD, "the server lets a replication connection in", NULL);
        doctor_ask(userdata, preflight_sql(), on_preflight);
}

// ---- drop-slot
static void on_dropped(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Doctor *d = userdata;
        if (fault) {
                doctor_fault(d, fault);
                return;
        }
        bool there = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == '1';
        buf_addf(&d->text, there ? "slot %s is dropped\n" : "slot %s does not exist\n",
                d->stream->slot);
        doctor_end(d);
}

static void on_publication_dropped(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Doctor *d = userdata;
        char sql[SQL_MAX];
        if (fault)
                buf_addf(&d->text, "publication %s stays: %s\n", d->stream->publication,
                        fault->reason.text);
        (void)snprintf(sql, sizeof sql,
                "SELECT count(pg_catalog.pg_drop_replication_slot(slot_name)::text) FROM "
                "pg_catalog.pg_replication_slots WHERE slot_name = '%s' AND plugin = 'pgoutput' "
                "AND "
                "database = current_database()",
                d->stream->slot);
        doctor_ask(d, sql, on_dropped);
}

static void on_drop_up(void *userdata)
{
        Doctor *d = userdata;
        char sql[SQL_MAX];
        char *name = server_quote_name(d->server, d->stream->publication);
        char *text = name ? server_quote_text(d->server, d->stream->publication) : NULL;
        char *inner = name ? server_quote_text(d->server, name) : NULL;
        (void)snprintf(sql, sizeof sql,
                "DO $do$ BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = %s "
                "AND "
                "pg_catalog.obj_description(oid, 'pg_publication') LIKE 'belfry:%%') THEN EXECUTE "
                "'DROP "
                "PUBLICATION ' || %s; END IF; END $do$",
                text ? text : "''", inner ? inner : "''");
        free(name);
        free(text);
        free(inner);
        doctor_ask(d, sql, on_publication_dropped);
}

// ---- the commands
static void begin(Stream *s, uint64_t ticket, bool replication, const ServerHandlers *handlers)
{
        Reason why = {"out of memory"};
        Doctor *d = calloc(1, sizeof *d);
        if (!d) {
                answer(s, ticket, false, why.text);
                return;
        }
        *d = (Doctor){.stream = s, .ticket = ticket, .text = BUF_INIT(TEXT_MAX)};
        if (stream_login(s, replication, handlers, d, &d->server, &why) < 0) {
                add_finding(d, FINDING_BAD, why.text, NULL);
                doctor_end(d);
        }
}

static void command_continue(Stream *s, uint64_t ticket)
{
        if (source_for_command(s->source))
                answer(s, ticket, false, "the source is not running");
        else if (!s->halt[0])
                answer(s, ticket, false, "the source is not halted at a gap");
        else if (!source_may_send(s->source))
                answer(s, ticket, false, "the source is paused now: try again");
        else {
                attach_continue(s);
                answer(s, ticket, true, "going on behind the gap");
        }
}

void doctor_command(Stream *s, uint64_t ticket, const char *verb, const json_t *arguments)
{
        static const ServerHandlers doctor = {.up = on_doctor_up, .down = on_down};
        static const ServerHandlers drop = {.up = on_drop_up, .down = on_down};

        if (strcmp(verb, "doctor") == 0)
                begin(s, ticket, true, &doctor);
        else if (strcmp(verb, "continue") == 0)
                command_continue(s, ticket);
        else if (strcmp(verb, "backfill") == 0)
                backfill_command(s, ticket, arguments);
        else if (strcmp(verb, "backfill-cancel") == 0)
                backfill_cancel_command(s, ticket, arguments);
        else if (!source_for_command(s->source))
                answer(s, ticket, false,
                        "the source is configured and would make the slot anew: remove it from the "
                        "configuration first");
        else
                begin(s, ticket, false, &drop);
}
