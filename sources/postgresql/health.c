// SPDX-License-Identifier: MIT
// The side connection, an ordinary one to the same database: questions of the decoder about types and
// keys, the slot's health every few seconds, new tables for patterns every minute. It is made when it
// is needed and again when it breaks; the stream goes on without it, but for questions.
//
// The budget: half of it is a warning, beyond it the source is degraded or the slot is dropped, as
// on_budget says. The server's own limit counts likewise (safe_wal_size).
#include "stream.h"

#include "base/clock.h"
#include "pgoutput.h"

#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum {
        SQL_MAX = 2048,
        RECONNECT_SEC = 5,
        AT_ONCE_MSEC = 50,
        SOON_MSEC = 200,
        LEAVE_MSEC = 500,
        MIB = 1024 * 1024
};

static void side_work(Stream *s);

static void arm(Stream *s, uint64_t usec)
{
        if (!s->health)
                return;
        (void)sd_event_source_set_time_relative(s->health, usec);
        (void)sd_event_source_set_enabled(s->health, SD_EVENT_ONESHOT);
}

// A server that shuts down waits until its stream has been read to the end. With nothing left to read
// that is at once; else, under back-pressure for ever, it is the stream that leaves.
static void leave(Stream *s)
{
        s->leaving = false;
        pump_goodbye(s);
        if (s->state == STREAM_RUNNING)
                stream_retry_text(s, FAULT_TRANSIENT, "the server shuts down");
        arm(s, RECONNECT_SEC * USEC_PER_SEC);
}

static int on_health(sd_event_source *e, uint64_t usec, void *userdata)
{
        Stream *s = userdata;
        if (s->leaving)
                leave(s);
        else
                side_work(s);
        return 0;
}

static void side_close(Stream *s)
{
        s->refreshing = publication_free(s->refreshing);
        s->side = server_free(s->side);
        s->dropping = s->side_up = false;
        json_decref(s->slot_stats);
        s->slot_stats = NULL; // not known any more
}

static void on_side_up(void *userdata)
{
        Stream *s = userdata;
        s->side_up = true;
        side_work(s);
}

static void on_side_down(void *userdata, const ServerFault *fault)
{
        Stream *s = userdata;
        bool was_up = s->side_up;
        bool shutdown = strcmp(fault->state, "57P03") == 0 && s->state == STREAM_RUNNING;
        if (s->questioned)
                source_log(s->source, LOG_WARNING, NULL, "cannot ask the catalogue: %s",
                        fault->reason.text);
        side_close(s);
        s->leaving = shutdown;
        // Only a new connection is told that the server shuts down.
        arm(s, shutdown  ? LEAVE_MSEC * USEC_PER_MSEC
                : was_up ? AT_ONCE_MSEC * USEC_PER_MSEC
                         : RECONNECT_SEC * USEC_PER_SEC);
}

// ---- the slot's health
static uint64_t number(const PGresult *r, int column)
{
        return strtoull(PQgetvalue(r, 0, column), NULL, 10);
}

static void judge_budget(Stream *s, uint64_t held, const char *status, const char *safe)
{
        uint64_t budget = s->options->wal_budget;
        uint64_t keep =
                s->preflight.slot_keep_mb > 0 ? (uint64_t)s->preflight.slot_keep_mb * MIB : 0;
        bool half = (budget > 0 && held > budget / 2) ||
                    (keep > 0 && safe[0] && strtoll(safe, NULL, 10) < (long long)(keep / 2));
        bool over = (budget > 0 && held > budget) || strcmp(status, "unreserved") == 0;

        if (half && !s->told_half)
                source_log(s->source, LOG_WARNING, NULL,
                        "slot %s holds %" PRIu64
                        " MiB of WAL, more than half of what it may (wal_status "
                        "%s)",
                        s->slot, held / MIB, status);
        s->told_half = half;
        s->budget_trouble.text[0] = 0;
        if (over)
                (void)reason_set(&s->budget_trouble, 0,
                        "slot %s holds %" PRIu64
                        " MiB of WAL, over its budget (wal_status %s): the source "
                        "must catch up, or the server's disk fills",
                        s->slot, held / MIB, status);
        stream_tell_trouble(s);
}

static void on_slot_dropped(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        s->dropping = false;
        if (fault)
                source_log(s->source, LOG_ERR, NULL, "cannot drop slot %s: %s", s->slot,
                        fault->reason.text);
        else
                source_log(s->source, LOG_ERR, NULL,
                        "dropped slot %s: it held more WAL than wal_budget allows", s->slot);
        arm(s, HEALTH_SEC * USEC_PER_SEC);
}

static void drop_slot(Stream *s)
{
        char sql[SQL_MAX];
        // The stream lets go of it first; what it finds when it is back is a gap.
        stream_retry_text(s, FAULT_TRANSIENT, "slot %s is over wal_budget and is dropped", s->slot);
        (void)snprintf(sql, sizeof sql,
                "SELECT pg_catalog.pg_terminate_backend(active_pid, 5000) FROM "
                "pg_catalog.pg_replication_slots WHERE slot_name = '%s' AND active_pid IS NOT "
                "NULL; "
                "SELECT pg_catalog.pg_drop_replication_slot('%s')",
                s->slot, s->slot);
        s->dropping = server_query(s->side, sql, on_slot_dropped, s) == 0;
}

static void on_slot(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        arm(s, HEALTH_SEC * USEC_PER_SEC);
        if (fault || PQntuples(result) != 1)
                return;
        const char *status = PQgetvalue(result, 0, 0), *safe = PQgetvalue(result, 0, 1);
        uint64_t held = number(result, 2);
        json_decref(s->slot_stats);
        s->slot_stats = json_pack("{s:s s:I s:I}", "wal_status", status, "held_bytes",
                (json_int_t)held, "lag_bytes", (json_int_t)number(result, 3));
        if (s->slot_stats && safe[0])
                (void)json_object_set_new(
                        s->slot_stats, "safe_wal_size", json_integer(strtoll(safe, NULL, 10)));
        if (s->slot_stats && PQgetvalue(result, 0, 4)[0]) {
                (void)json_object_set_new(
                        s->slot_stats, "oldest_holder", json_string(PQgetvalue(result, 0, 4)));
                (void)json_object_set_new(s->slot_stats, "oldest_held_bytes",
                        json_integer((json_int_t)number(result, 5)));
        }
        judge_budget(s, held, status, safe);
        stream_stats(s);
        if (s->options->wal_budget > 0 && held > s->options->wal_budget &&
                s->options->on_budget == ON_BUDGET_DROP && strcmp(status, "lost") != 0)
                drop_slot(s);
}

static void ask_slot(Stream *s)
{
        char sql[SQL_MAX];
        (void)snprintf(sql, sizeof sql,
                "WITH w AS (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() "
                "ELSE "
                "pg_current_wal_lsn() END AS now), o AS (SELECT slot_name, restart_lsn FROM "
                "pg_catalog.pg_replication_slots WHERE restart_lsn IS NOT NULL ORDER BY "
                "restart_lsn LIMIT "
                "1) SELECT s.wal_status, s.safe_wal_size, coalesce(now - s.restart_lsn, 0), "
                "greatest(coalesce(now - s.confirmed_flush_lsn, 0), 0), o.slot_name, now - "
                "o.restart_lsn "
                "FROM w, pg_catalog.pg_replication_slots s LEFT JOIN o ON true WHERE s.slot_name = "
                "'%s'",
                s->slot);
        if (server_query(s->side, sql, on_slot, s) == 0)
                s->side_usec = clock_mono_usec();
}

// ---- questions of the decoder
static void on_answer(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        Reason reason = {""};
        int r = 0;

        // The stream that asked may be gone.
        if (!s->questioned || s->state != STREAM_RUNNING || !change_question(s->change)) {
                arm(s, SOON_MSEC * USEC_PER_MSEC);
                return;
        }
        s->questioned = false;
        if (fault) {
                stream_retry(s, fault);
                return;
        }
        for (int i = 0; i < PQntuples(result) && r == 0; i++) {
                Slice fields[CHANGE_ANSWER_FIELDS];
                for (int k = 0; k < CHANGE_ANSWER_FIELDS; k++)
                        fields[k] = slice_mem(
                                PQgetvalue(result, i, k), (size_t)PQgetlength(result, i, k));
                r = PQnfields(result) == CHANGE_ANSWER_FIELDS ? change_answer(s->change, fields)
                                                              : -EBADMSG;
        }
        if (r == 0)
                r = change_answered(s->change, &reason);
        if (r < 0) {
                stream_retry_text(s, r == -ENOSPC ? FAULT_BUSY : FAULT_SETTING,
                        "the catalogue's answer cannot be used: %s",
                        reason.text[0] ? reason.text : strerror(-r));
                return;
        }
        arm(s, SOON_MSEC * USEC_PER_MSEC);
        pump(s);
}

void health_question(Stream *s)
{
        s->questioned = true;
        side_work(s);
}

// ---- new tables
static void on_refreshed(void *userdata, const PublicationResult *result, const ServerFault *fault)
{
        Stream *s = userdata;
        s->publication_trouble = result->trouble;
        if (result->changed)
                source_log(s->source, LOG_NOTICE, NULL, "publication %s follows tables: %zu now",
                        s->publication, result->n_tables);
        s->refreshing = publication_free(s->refreshing);
        stream_tell_trouble(s);
        arm(s, HEALTH_SEC * USEC_PER_SEC);
}

static bool refresh_is_due(const Stream *s)
{
        bool wanted = publication_has_patterns(s->options) || s->publication_trouble.text[0];
        return wanted && s->state == STREAM_RUNNING &&
               clock_mono_usec() - s->refresh_usec > REFRESH_SEC * USEC_PER_SEC;
}

static void refresh(Stream *s)
{
        const PublicationPlan plan = {.options = s->options,
                .name = s->publication,
                .may_create = s->preflight.may_create};
        s->refresh_usec = clock_mono_usec();
        if (publication_run(&s->refreshing, s->side, &plan, on_refreshed, s) < 0)
                arm(s, RECONNECT_SEC * USEC_PER_SEC);
}

// ---- what is next
static void side_work(Stream *s)
{
        static const ServerHandlers handlers = {.up = on_side_up, .down = on_side_down};
        const char *question =
                s->questioned && s->state == STREAM_RUNNING ? change_question(s->change) : NULL;
        Reason why;

        if (!s->health)
                return;
        if (!s->side) {
                if (stream_login(s, false, &handlers, s, &s->side, &why) < 0)
                        arm(s, RECONNECT_SEC * USEC_PER_SEC);
                return;
        }
        if (!server_is_up(s->side) || server_is_busy(s->side) || s->refreshing)
                return; // its end comes here
        if (question)
                (void)!server_query(s->side, question, on_answer, s);
        else if (refresh_is_due(s))
                refresh(s);
        else
                ask_slot(s);
}

void health_start(Stream *s)
{
        if (s->health)
                return;
        int r = sd_event_add_time_relative(
                source_loop(s->source), &s->health, CLOCK_MONOTONIC, 0, 0, on_health, s);
        if (r < 0)
                source_fail(s->source, false, "cannot set a timer: %s", strerror(-r));
}

void health_stop(Stream *s)
{
        side_close(s);
        s->leaving = false;
        s->health = sd_event_source_disable_unref(s->health);
}

// ---- status
static const char *const state_words[] = {
        [STREAM_LOADING] = "loading",
        [STREAM_CONNECTING] = "connecting",
        [STREAM_ATTACHING] = "attaching",
        [STREAM_BEGINNING] = "attaching",
        [STREAM_RUNNING] = "streaming",
        [STREAM_HALTED] = "halted",
        [STREAM_BACKOFF] = "waiting",
        [STREAM_STOPPED] = "stopping",
};

void stream_stats(Stream *s)
{
        char lsn[PG_LSN_TEXT], time[CLOCK_RFC3339_MAX];
        const ChangeStats *c = change_stats(s->change);
        json_t *o = json_pack("{s:s s:s s:s s:s s:I s:I s:I}", "state", state_words[s->state],
                "slot", s->slot, "publication", s->publication, "confirmed",
                pg_lsn_text(s->told_lsn, lsn), "transactions", (json_int_t)c->transactions, "rows",
                (json_int_t)c->rows, "messages", (json_int_t)c->messages);
        if (!o)
                return;
        if (s->preflight.version)
                (void)json_object_set_new(o, "server", json_integer(s->preflight.version / 10000));
        if (s->preflight.database[0])
                (void)json_object_set_new(o, "database", json_string(s->preflight.database));
        if (s->event_usec)
                (void)json_object_set_new(
                        o, "last_change", json_string(clock_rfc3339(s->event_usec, time)));
        if (s->slot_stats)
                (void)json_object_update(o, s->slot_stats);
        json_t *backfill = backfill_stats(s->backfill);
        if (backfill)
                (void)json_object_set_new(o, "backfill", backfill);
        source_stats(s->source, o);
        json_decref(o);
}
