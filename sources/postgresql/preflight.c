// SPDX-License-Identifier: MIT
// The query and its judgement. Settings are read, never set.
#include "preflight.h"

#include "base/clock.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

enum {
        FIELD_VERSION,
        FIELD_WAL_LEVEL,
        FIELD_SLOTS_MAX,
        FIELD_SLOTS,
        FIELD_SENDERS_MAX,
        FIELD_SENDERS,
        FIELD_TIMEOUT,
        FIELD_KEEP,
        FIELD_RECOVERY,
        FIELD_USER,
        FIELD_REPLICATION,
        FIELD_CREATE,
        FIELD_DATABASE,
        N_FIELDS
};

const char *preflight_sql(void)
{
        return "SELECT current_setting('server_version_num'), current_setting('wal_level'),"
               " current_setting('max_replication_slots'),"
               " (SELECT count(*) FROM pg_catalog.pg_replication_slots),"
               " current_setting('max_wal_senders'),"
               " (SELECT count(*) FROM pg_catalog.pg_stat_replication),"
               " (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'),"
               " (SELECT setting FROM pg_catalog.pg_settings WHERE name = "
               "'max_slot_wal_keep_size'),"
               " pg_is_in_recovery(), current_user,"
               " (SELECT rolsuper OR rolreplication FROM pg_catalog.pg_roles WHERE rolname = "
               "current_user)"
               " OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname IN ('rds_replication')"
               " AND pg_has_role(current_user, oid, 'MEMBER')),"
               " has_database_privilege(current_database(), 'CREATE'), current_database()";
}

static bool is_true(const char *text)
{
        return text[0] == 't';
}

int preflight_take(const PGresult *result, Preflight *ret)
{
        if (PQntuples(result) != 1 || PQnfields(result) != N_FIELDS)
                return -EBADMSG;
        const char *v[N_FIELDS];
        for (int i = 0; i < N_FIELDS; i++)
                v[i] = PQgetvalue(result, 0, i);
        *ret = (Preflight){
                .version = (int)strtol(v[FIELD_VERSION], NULL, 10),
                .in_recovery = is_true(v[FIELD_RECOVERY]),
                .replication = is_true(v[FIELD_REPLICATION]),
                .may_create = is_true(v[FIELD_CREATE]),
                .slots_max = strtol(v[FIELD_SLOTS_MAX], NULL, 10),
                .slots_used = strtol(v[FIELD_SLOTS], NULL, 10),
                .senders_max = strtol(v[FIELD_SENDERS_MAX], NULL, 10),
                .senders_used = strtol(v[FIELD_SENDERS], NULL, 10),
                .sender_timeout_usec = strtoull(v[FIELD_TIMEOUT], NULL, 10) * USEC_PER_MSEC,
                .slot_keep_mb = strtoll(v[FIELD_KEEP], NULL, 10),
        };
        (void)snprintf(ret->wal_level, sizeof ret->wal_level, "%s", v[FIELD_WAL_LEVEL]);
        (void)snprintf(ret->user, sizeof ret->user, "%s", v[FIELD_USER]);
        (void)snprintf(ret->database, sizeof ret->database, "%s", v[FIELD_DATABASE]);
        return 0;
}

static void judge_server(const Preflight *p, Finding finding, void *u)
{
        char text[256];

        (void)snprintf(text, sizeof text, "PostgreSQL %d, database %s, role %s", p->version / 10000,
                p->database, p->user);
        if (p->version < SERVER_OLDEST)
                finding(u, FINDING_BAD, "the server is older than PostgreSQL 14", NULL);
        else
                finding(u, FINDING_GOOD, text, NULL);
        if (p->in_recovery && p->version < 160000)
                finding(u, FINDING_BAD,
                        "the server is a standby, which before PostgreSQL 16 cannot decode: "
                        "connect to "
                        "the primary (target_session_attrs=read-write)",
                        NULL);
        if (strcmp(p->wal_level, "logical") == 0)
                finding(u, FINDING_GOOD, "wal_level is logical", NULL);
        else {
                (void)snprintf(text, sizeof text,
                        "wal_level is %s, it must be logical (then restart the server)",
                        p->wal_level);
                finding(u, FINDING_BAD, text, "ALTER SYSTEM SET wal_level = 'logical';");
        }
        if (p->replication)
                finding(u, FINDING_GOOD, "the role may replicate", NULL);
        else {
                char sql[160];
                (void)snprintf(sql, sizeof sql, "ALTER ROLE \"%s\" REPLICATION;", p->user);
                finding(u, FINDING_BAD, "the role may not replicate", sql);
        }
}

static void judge_room(
        const Preflight *p, const PostgresqlOptions *o, bool slot_exists, Finding finding, void *u)
{
        char text[256], sql[128];

        if (!slot_exists && p->slots_used >= p->slots_max) {
                (void)snprintf(text, sizeof text,
                        "all %ld replication slots are taken (then restart the server)",
                        p->slots_max);
                (void)snprintf(sql, sizeof sql, "ALTER SYSTEM SET max_replication_slots = %ld;",
                        p->slots_max + 5);
                finding(u, FINDING_BAD, text, sql);
        } else {
                (void)snprintf(text, sizeof text, "%ld of %ld replication slots are taken",
                        p->slots_used, p->slots_max);
                finding(u, FINDING_GOOD, text, NULL);
        }
        if (p->slot_keep_mb < 0 && o->wal_budget == 0)
                finding(u, FINDING_NOTE,
                        "nothing limits the WAL that a slot holds while Belfry is away: set a "
                        "limit on "
                        "the server, or wal_budget for the source",
                        "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT "
                        "pg_reload_conf();");
        if (p->sender_timeout_usec > 0 && p->sender_timeout_usec < 3 * USEC_PER_SEC)
                finding(u, FINDING_NOTE,
                        "wal_sender_timeout is below 3 s: a loaded host may be cut off",
                        "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();");
}

void preflight_judge(const Preflight *p, const PostgresqlOptions *o, bool slot_exists,
        Finding finding, void *userdata)
{
        judge_server(p, finding, userdata);
        judge_room(p, o, slot_exists, finding, userdata);
}

void preflight_explain(const ServerFault *fault, const char *user, Reason *ret)
{
        const char *text = fault->reason.text;
        char name[96];

        *ret = fault->reason;
        if (user && user[0])
                (void)snprintf(name, sizeof name, "\"%s\"", user);
        else
                (void)snprintf(name, sizeof name, "ROLE");
        if (strstr(text, "unsupported startup parameter") ||
                strstr(text, "replication connections"))
                (void)reason_set(ret, 0,
                        "%.300s; this is a pooler, which does not pass on replication: connect to "
                        "the "
                        "server itself, by its own port",
                        text);
        else if (strstr(text, "to start walsender") ||
                 strstr(text, "permission denied to start WAL"))
                (void)reason_set(ret, 0, "%.300s; run: ALTER ROLE %s REPLICATION;", text, name);
        else if (strcmp(fault->state, "28P01") == 0 || strstr(text, "no password supplied"))
                (void)reason_set(ret, 0,
                        "%.400s; the password comes from passfile: does it have a line for this "
                        "host, port, database and role?",
                        text);
        else if (strcmp(fault->state, "28000") == 0)
                (void)reason_set(ret, 0,
                        "%.300s; pg_hba.conf needs a line for this database, role and address (the "
                        "keyword replication is not needed)",
                        text);
        else if (strcmp(fault->state, "3D000") == 0)
                (void)reason_set(
                        ret, 0, "%.300s; name an existing one with dbname= in conninfo", text);
}
