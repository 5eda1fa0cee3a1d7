// SPDX-License-Identifier: MIT
// From a connection that is up to a running stream, one question after the other: who is the server,
// is it fit, is the publication in line (always before the slot: a slot older than its publication
// cannot be read), what became of the slot, does it join our position, begin there. Whatever a step
// finds wrong ends in stream_retry(), so the next attempt looks at everything anew.
#include "stream.h"

#include "base/clock.h"
#include "base/json.h"
#include "pgoutput.h"

#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum { SQL_MAX = 4096, SLOW_SLOT_USEC = 5000000 };

static void attach_slot(Stream *s);
static void attach_stream(Stream *s);

static void ask(Stream *s, const char *sql, ServerAnswer answer)
{
        ServerFault fault = {.reason = {"the connection to the server was lost"}};
        int r = server_query(s->main, sql, answer, s);
        if (r == -EPIPE)
                stream_retry(s, &fault);
        else if (r < 0)
                stream_retry_text(s, FAULT_TRANSIENT, "cannot ask the server: %s", strerror(-r));
}

static void ask_format(Stream *s, ServerAnswer answer, const char *format, ...) _printf_(3, 4);

// The values are names of slots (letters, digits, underscores) and numbers: nothing to quote.
static void ask_format(Stream *s, ServerAnswer answer, const char *format, ...)
{
        char sql[SQL_MAX];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(sql, sizeof sql, format, ap);
        va_end(ap);
        ask(s, sql, answer);
}

// ---- the stream begins
static void on_streaming(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        if (fault) {
                stream_retry(s, fault);
                return;
        }
        if (PQresultStatus(result) != PGRES_COPY_BOTH) {
                stream_retry_text(s, FAULT_SETTING, "the server did not begin to stream");
                return;
        }
        s->state = STREAM_RUNNING;
        s->republished = false;
        if (!s->stuck)
                stream_well(s);
        if (!s->ready)
                source_ready(s->source);
        s->ready = true;
        char lsn[PG_LSN_TEXT];
        source_log(s->source, LOG_INFO, NULL, "streaming from slot %s at %s", s->slot,
                pg_lsn_text(s->start_lsn, lsn));
        health_start(s);
        pump_start(s);
}

static void attach_stream(Stream *s)
{
        char lsn[PG_LSN_TEXT];
        char *name = server_quote_name(s->main, s->publication);
        char *list = name ? server_quote_text(s->main, name) : NULL;

        if (!list)
                stream_retry_text(s, FAULT_TRANSIENT, "out of memory");
        else
                ask_format(s, on_streaming,
                        "START_REPLICATION SLOT \"%s\" LOGICAL %s (proto_version '1', "
                        "publication_names %s, messages 'true')",
                        s->slot, pg_lsn_text(s->start_lsn, lsn), list);
        free(name);
        free(list);
}

// ---- a new beginning
static void gap_data(const Stream *s, uint64_t to, Buf *out)
{
        const Continuity *c = &s->continuity;
        char from_text[PG_LSN_TEXT], to_text[PG_LSN_TEXT];
        JsonWriter w = json_writer(out);
        json_begin(&w, '{');
        json_key(&w, "reason");
        json_text(&w, c->reason);
        json_key(&w, "from");
        json_text(&w, c->from ? pg_lsn_text(c->from, from_text) : NULL);
        json_key(&w, "to");
        json_text(&w, pg_lsn_text(to, to_text));
        json_key(&w, "detail");
        json_text(&w, c->detail);
        json_end(&w, '}');
}

static void add_gap(Stream *s, uint64_t to)
{
        char material[256];
        _cleanup_(buf_deinitp) Buf data = BUF_INIT(4096);
        const Continuity *c = &s->continuity;

        gap_data(s, to, &data);
        (void)snprintf(material, sizeof material, "gap:%" PRIu64 ":%s:%" PRIx64 ":%" PRIx64,
                s->server_facts.system_id, c->reason, c->from, to);
        source_add(s->source, &(SourceEvent){.type = "source.gap",
                                      .subject = slice_of(s->slot),
                                      .id_material = slice_of(material),
                                      .data = buf_slice(&data)});
        source_log(s->source, LOG_ERR, NULL, "gap (%s): %s", c->reason, c->detail);
}

// Position, gap and, when the operator is to decide, the row that halts: in one batch.
static void begin(Stream *s)
{
        char from[PG_LSN_TEXT], to[PG_LSN_TEXT];
        Position p = pump_position(s);
        bool halts = s->continuity.gap && s->options->on_gap == ON_GAP_STOP;

        // Across a failover what was taken of a transaction still counts.
        if (s->continuity.gap || p.system_id != s->server_facts.system_id)
                p = (Position){.end_lsn = s->start_lsn, .message_lsn = s->start_lsn};
        if (p.end_lsn < s->start_lsn)
                p.end_lsn = s->start_lsn;
        p.system_id = s->server_facts.system_id;
        p.timeline = s->server_facts.timeline;
        (void)snprintf(p.slot, sizeof p.slot, "%s", s->slot);
        source_begin(s->source);
        if (s->continuity.gap) {
                uint64_t end = s->continuity.to ? s->continuity.to : s->start_lsn;
                if (halts) {
                        (void)snprintf(s->halt, sizeof s->halt, "gap from %s to %s: %.300s",
                                s->continuity.from ? pg_lsn_text(s->continuity.from, from)
                                                   : "the beginning",
                                pg_lsn_text(end, to), s->continuity.detail);
                        source_state_put(s->source, SLICE_LIT("halt"), slice_of(s->halt));
                }
                add_gap(s, end);
                if (s->options->on_gap == ON_GAP_BACKFILL)
                        backfill_request_all(s->backfill);
        }
        int r = pump_commit(s, &p);
        if (r < 0) {
                source_fail(s->source, false, "cannot store a new position: %s", strerror(-r));
                return;
        }
        change_set_position(s->change, &p);
        s->idle_lsn = 0;
        s->republished = false;
        s->continuity.gap = false;
}

static void halt(Stream *s)
{
        s->state = STREAM_HALTED;
        s->main = server_free(s->main);
        (void)reason_set(&s->trouble, 0,
                "%.400s; nothing is delivered until: belfry source continue %s", s->halt,
                source_name(s->source));
        stream_tell_trouble(s);
        if (!s->ready)
                source_ready(s->source);
        s->ready = true;
        health_start(s);
}

void attach_go_on(Stream *s)
{
        if (s->state != STREAM_BEGINNING || !source_may_send(s->source))
                return;
        begin(s);
        s->state = STREAM_ATTACHING;
        if (s->halt[0])
                halt(s);
        else
                attach_stream(s);
}

void attach_continue(Stream *s)
{
        bool halted = s->state == STREAM_HALTED;
        Position p = pump_position(s);
        s->halt[0] = 0;
        source_begin(s->source);
        source_state_del(s->source, SLICE_LIT("halt"));
        int r = pump_commit(s, &p);
        if (r < 0)
                source_fail(s->source, false, "cannot go on: %s", strerror(-r));
        else if (halted) {
                s->trouble.text[0] = 0;
                stream_connect(s);
        }
}

// ---- the slot
static void join(Stream *s)
{
        const Position p = pump_position(s);
        // Where nothing changes nothing is stored anew.
        bool same = p.system_id == s->server_facts.system_id && p.end_lsn >= s->start_lsn &&
                    strcmp(p.slot, s->slot) == 0 && !s->continuity.gap;
        if (same && p.timeline == s->server_facts.timeline) {
                if (s->halt[0])
                        halt(s);
                else
                        attach_stream(s);
                return;
        }
        s->state = STREAM_BEGINNING;
        attach_go_on(s);
}

static void on_created(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        s->timer = sd_event_source_disable_unref(s->timer);
        if (fault) {
                stream_retry(s, fault);
                return;
        }
        if (PQntuples(result) != 1 ||
                pg_lsn_parse(slice_of(PQgetvalue(result, 0, 0)), &s->start_lsn) < 0) {
                stream_retry_text(s, FAULT_SETTING, "the server made a slot and did not say where");
                return;
        }
        source_log(s->source, LOG_NOTICE, NULL, "made replication slot %s", s->slot);
        join(s);
}

static int on_slow(sd_event_source *e, uint64_t usec, void *userdata)
{
        Stream *s = userdata;
        s->timer = sd_event_source_disable_unref(s->timer);
        (void)reason_set(&s->trouble, 0,
                "slot %s begins when all transactions that run now have ended", s->slot);
        stream_tell_trouble(s);
        return 0;
}

static void create_slot(Stream *s)
{
        bool failover = s->preflight.version >= 170000 && !s->preflight.in_recovery;
        if (s->options->create == CREATE_NEVER) {
                stream_retry_text(s, FAULT_SETTING,
                        "slot %s does not exist; run: SELECT "
                        "pg_create_logical_replication_slot('%s', "
                        "'pgoutput');",
                        s->slot, s->slot);
                return;
        }
        stream_alarm(s, SLOW_SLOT_USEC, on_slow);
        ask_format(s, on_created,
                "SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot('%s', 'pgoutput', "
                "false, "
                "false%s)",
                s->slot, failover ? ", true" : "");
}

static void on_dropped(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        if (fault)
                stream_retry(s, fault);
        else
                create_slot(s);
}

static void judge(Stream *s)
{
        const Position p = pump_position(s);
        Continuity *c = &s->continuity;

        s->server_facts.republished = s->republished;
        continuity_judge(&p, &s->server_facts, &s->slot_facts, c);
        switch (c->action) {
        case CONTINUITY_REFUSE:
                stream_retry_text(s, FAULT_SETTING, "%s", c->detail);
                break;
        case CONTINUITY_WAIT:
                stream_retry_text(s, FAULT_TRANSIENT, "%s", c->detail);
                break;
        case CONTINUITY_CREATE:
                create_slot(s);
                break;
        case CONTINUITY_RECREATE:
                if (s->options->create == CREATE_NEVER)
                        stream_retry_text(s, FAULT_SETTING,
                                "%.300s; run: SELECT pg_drop_replication_slot('%s'), "
                                "pg_create_logical_replication_slot('%s', 'pgoutput');",
                                c->detail, s->slot, s->slot);
                else
                        ask_format(s, on_dropped,
                                "SELECT pg_catalog.pg_drop_replication_slot('%s')", s->slot);
                break;
        case CONTINUITY_GO:
                s->start_lsn = c->start;
                join(s);
                break;
        }
}

static void on_history(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        const Position p = pump_position(s);
        // 58P01: a file that is gone from the server, so nothing says where it came from.
        if (fault && strcmp(fault->state, "58P01") != 0) {
                stream_retry(s, fault);
                return;
        }
        if (!fault && PQntuples(result) == 1 && PQnfields(result) == 2)
                s->server_facts.branch_known = timeline_branch(
                        slice_mem(PQgetvalue(result, 0, 1), (size_t)PQgetlength(result, 0, 1)),
                        p.timeline, &s->server_facts.branch);
        judge(s);
}

static void take_slot(Stream *s, const PGresult *r)
{
        SlotFacts *f = &s->slot_facts;
        *f = (SlotFacts){.exists = !PQgetisnull(r, 0, 1)};
        f->logical = strcmp(PQgetvalue(r, 0, 1), "logical") == 0;
        (void)snprintf(f->plugin, sizeof f->plugin, "%s", PQgetvalue(r, 0, 2));
        (void)snprintf(f->database, sizeof f->database, "%s", PQgetvalue(r, 0, 3));
        f->ours = strcmp(f->plugin, "pgoutput") == 0 &&
                  strcmp(f->database, s->preflight.database) == 0;
        (void)!pg_lsn_parse(slice_of(PQgetvalue(r, 0, 4)), &f->confirmed); // physical: none
        f->lost = strcmp(PQgetvalue(r, 0, 5), "lost") == 0;
        (void)snprintf(f->why, sizeof f->why, "%s",
                f->lost ? "it held more WAL than max_slot_wal_keep_size, or stood still too long"
                        : "");
}

static void on_slot(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        const Position p = pump_position(s);
        if (fault) {
                stream_retry(s, fault);
                return;
        }
        if (PQntuples(result) != 1 ||
                pg_lsn_parse(slice_of(PQgetvalue(result, 0, 0)), &s->server_facts.now) < 0) {
                stream_retry_text(s, FAULT_TRANSIENT, "the server does not say where its log ends");
                return;
        }
        take_slot(s, result);
        if (!s->slot_facts.exists && s->preflight.slots_used >= s->preflight.slots_max) {
                stream_retry_text(s, FAULT_SETTING,
                        "all %ld replication slots are taken; run: ALTER SYSTEM SET "
                        "max_replication_slots = %ld; and restart the server",
                        s->preflight.slots_max, s->preflight.slots_max + 5);
                return;
        }
        s->server_facts.in_recovery = s->preflight.in_recovery;
        // The first timeline has no history.
        if (p.system_id == s->server_facts.system_id && p.timeline != s->server_facts.timeline &&
                s->server_facts.timeline > 1)
                ask_format(s, on_history, "TIMELINE_HISTORY %" PRIu32, s->server_facts.timeline);
        else
                judge(s);
}

static void attach_slot(Stream *s)
{
        ask_format(s, on_slot,
                "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE "
                "pg_current_wal_flush_lsn() END, s.slot_type, s.plugin, s.database, "
                "s.confirmed_flush_lsn, s.wal_status FROM (SELECT 1) one LEFT JOIN "
                "pg_catalog.pg_replication_slots s ON s.slot_name = '%s'",
                s->slot);
}

// ---- the publication
static void on_published(void *userdata, const PublicationResult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        bool usable = result->usable;
        s->publication_trouble = result->trouble;
        s->publishing = publication_free(s->publishing);
        s->refresh_usec = clock_mono_usec();
        if (fault)
                stream_retry(s, fault);
        else if (!usable) {
                Reason why = s->publication_trouble;
                s->publication_trouble.text[0] = 0;
                stream_retry_text(s, FAULT_SETTING, "%s", why.text);
        } else
                attach_slot(s);
}

static void attach_publication(Stream *s)
{
        const PublicationPlan plan = {.options = s->options,
                .name = s->publication,
                .may_create = s->preflight.may_create};
        int r = publication_run(&s->publishing, s->main, &plan, on_published, s);
        if (r < 0)
                stream_retry_text(
                        s, FAULT_TRANSIENT, "cannot look at the publication: %s", strerror(-r));
}

// ---- the server
static void first_bad(void *userdata, FindingLevel level, const char *text, const char *sql)
{
        Reason *why = userdata;
        if (level == FINDING_BAD && !why->text[0])
                (void)reason_set(why, 0, "%s%s%s", text, sql ? "; run: " : "", sql ? sql : "");
}

static void on_preflight(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        Reason why = {""};
        if (fault) {
                stream_retry(s, fault);
                return;
        }
        if (preflight_take(result, &s->preflight) < 0) {
                stream_retry_text(s, FAULT_SETTING, "the server does not answer like PostgreSQL");
                return;
        }
        preflight_judge(&s->preflight, s->options, true, first_bad, &why);
        if (why.text[0])
                stream_retry_text(s, FAULT_SETTING, "%s", why.text);
        else
                attach_publication(s);
}

static void on_bytes(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        if (fault)
                stream_retry(s, fault);
        else
                ask(s, preflight_sql(), on_preflight);
}

static void on_identified(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        if (fault) {
                stream_retry(s, fault);
                return;
        }
        if (PQntuples(result) != 1 || PQnfields(result) < 4) {
                stream_retry_text(s, FAULT_SETTING,
                        "this does not speak the replication protocol: a pooler? Connect to the "
                        "server "
                        "itself, by its own port");
                return;
        }
        s->server_facts = (ServerFacts){
                .system_id = strtoull(PQgetvalue(result, 0, 0), NULL, 10),
                .timeline = (uint32_t)strtoul(PQgetvalue(result, 0, 1), NULL, 10),
                .slot = s->slot,
        };
        // Nothing there can be made UTF-8, and the server ends a stream at the first text that is not:
        // taken as bytes, what is none is replaced where it is written as JSON.
        if (server_is_ascii(s->main))
                ask(s, "SET client_encoding TO 'SQL_ASCII'", on_bytes);
        else
                ask(s, preflight_sql(), on_preflight);
}

void attach_begin(Stream *s)
{
        s->state = STREAM_ATTACHING;
        ask(s, "IDENTIFY_SYSTEM", on_identified);
}
