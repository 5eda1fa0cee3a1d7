// SPDX-License-Identifier: MIT
// What the server must be like before anything is asked of it: version, wal_level, the role, free
// slots. One query, and findings with the exact SQL that mends each. Shared by the connection, which
// stops at the first that is fatal, and by the doctor, which tells them all.
#pragma once

#include "options.h"
#include "server.h"

typedef enum FindingLevel { FINDING_GOOD, FINDING_NOTE, FINDING_BAD } FindingLevel;

// sql: what to run, NULL when nothing helps by itself.
typedef void (*Finding)(void *userdata, FindingLevel level, const char *text, const char *sql);

typedef struct Preflight {
        int version; // 150018
        char wal_level[16], user[64], database[64];
        bool in_recovery, replication, may_create;
        long slots_max, slots_used, senders_max, senders_used;
        uint64_t sender_timeout_usec; // 0: none
        int64_t slot_keep_mb;         // max_slot_wal_keep_size; -1: no limit
} Preflight;

enum { SERVER_OLDEST = 140000 };

const char *preflight_sql(void);
int preflight_take(const PGresult *result, Preflight *ret) _must_use_; // -EBADMSG
// slot_exists: then no free one is needed.
void preflight_judge(const Preflight *p, const PostgresqlOptions *o, bool slot_exists, Finding finding,
        void *userdata);
// Why a connection failed, with what to do about it, in the reason.
void preflight_explain(const ServerFault *fault, const char *user, Reason *ret);
