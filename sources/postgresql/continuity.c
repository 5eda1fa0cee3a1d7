// SPDX-License-Identifier: MIT
// The cases, the most telling first: another cluster, another branch of its history, a log that ends
// before our position, a slot that is gone, lost, or beyond us.
#include "continuity.h"

#include "pgoutput.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void gap(Continuity *c, const char *reason, uint64_t from, uint64_t to, const char *format,
        ...) _printf_(5, 6);

static void gap(
        Continuity *c, const char *reason, uint64_t from, uint64_t to, const char *format, ...)
{
        va_list ap;
        c->gap = true;
        c->reason = reason;
        c->from = from;
        c->to = to;
        va_start(ap, format);
        (void)vsnprintf(c->detail, sizeof c->detail, format, ap);
        va_end(ap);
}

static bool refused(const ServerFacts *server, const SlotFacts *slot, Continuity *c)
{
        if (!slot->exists || (slot->logical && slot->ours))
                return false;
        c->action = CONTINUITY_REFUSE;
        if (!slot->logical)
                (void)snprintf(c->detail, sizeof c->detail,
                        "slot %s is a physical one of somebody else: choose another name with the "
                        "option "
                        "slot",
                        server->slot);
        else
                (void)snprintf(c->detail, sizeof c->detail,
                        "slot %s belongs to somebody else (plugin %s, database %s): choose another "
                        "name "
                        "with the option slot, or run SELECT pg_drop_replication_slot('%s');",
                        server->slot, slot->plugin, slot->database, server->slot);
        return true;
}

// The end of what we know for certain to be part of this server's history.
static uint64_t known_end(const Position *p, const ServerFacts *server, Continuity *c)
{
        char ours[PG_LSN_TEXT], theirs[PG_LSN_TEXT];

        (void)pg_lsn_text(p->end_lsn, ours);
        if (p->system_id != server->system_id) {
                gap(c, "other-cluster", p->end_lsn, 0,
                        "the server is another database cluster (system %" PRIu64
                        ", before %" PRIu64 ")",
                        server->system_id, p->system_id);
                return 0;
        }
        if (p->timeline != server->timeline && !server->branch_known) {
                gap(c, "other-timeline", p->end_lsn, 0,
                        "the server is on timeline %" PRIu32 ", which did not grow out of timeline "
                        "%" PRIu32 " where we were",
                        server->timeline, p->timeline);
                return 0;
        }
        if (p->timeline != server->timeline && p->end_lsn > server->branch) {
                gap(c, "position-ahead", server->branch, p->end_lsn,
                        "the server left timeline %" PRIu32
                        " at %s, before our position %s: events "
                        "after that point were taken back by the failover or restore",
                        p->timeline, pg_lsn_text(server->branch, theirs), ours);
                return server->branch;
        }
        // A standby that was started anew still replays what it had shown before.
        if (p->end_lsn > server->now && server->in_recovery) {
                c->action = CONTINUITY_WAIT;
                (void)snprintf(c->detail, sizeof c->detail,
                        "the standby has come to %s, not yet to our position %s",
                        pg_lsn_text(server->now, theirs), ours);
                return 0;
        }
        if (p->end_lsn > server->now) {
                gap(c, "position-ahead", server->now, p->end_lsn,
                        "the server's log ends at %s, before our position %s: it was restored from "
                        "an "
                        "older state",
                        pg_lsn_text(server->now, theirs), ours);
                return server->now;
        }
        return p->end_lsn;
}

static void judge_slot(const Position *p, const ServerFacts *server, const SlotFacts *slot,
        uint64_t end, Continuity *c)
{
        bool fresh = p->system_id == 0;
        char confirmed[PG_LSN_TEXT], ours[PG_LSN_TEXT];
        bool renamed = !fresh && strcmp(p->slot, server->slot) != 0;

        if (!slot->exists) {
                c->action = CONTINUITY_CREATE;
                if (!fresh && !c->gap)
                        gap(c, renamed ? "slot-renamed" : "slot-missing", end, 0,
                                renamed ? "the configured slot %s did not exist yet; the one "
                                          "before, %s, "
                                          "may still hold WAL"
                                        : "slot %s was dropped%s",
                                server->slot, renamed ? p->slot : "");
                return;
        }
        if (slot->lost || server->republished) {
                c->action = CONTINUITY_RECREATE;
                uint64_t from = fresh ? slot->confirmed : end;
                if (slot->lost && !c->gap)
                        gap(c, "slot-invalidated", from, 0,
                                "slot %s was invalidated by the server%s%s", server->slot,
                                slot->why[0] ? ": " : "", slot->why);
                else if (!c->gap)
                        gap(c, "publication-missing", from, 0,
                                "the publication did not exist where slot %s stands: it was "
                                "dropped, or "
                                "made after the slot",
                                server->slot);
                return;
        }
        c->action = CONTINUITY_GO;
        c->start = slot->confirmed > end ? slot->confirmed : end;
        if (c->gap) {
                if (c->to == 0)
                        c->to = c->start;
                return;
        }
        if (!fresh && slot->confirmed > end)
                gap(c, "slot-ahead", end, slot->confirmed,
                        "slot %s stands at %s, beyond our position %s: it was made anew or moved "
                        "by "
                        "somebody else, or the state directory is an old copy",
                        server->slot, pg_lsn_text(slot->confirmed, confirmed),
                        pg_lsn_text(end, ours));
}

void continuity_judge(
        const Position *p, const ServerFacts *server, const SlotFacts *slot, Continuity *ret)
{
        *ret = (Continuity){.action = CONTINUITY_GO};
        if (refused(server, slot, ret))
                return;
        uint64_t end = p->system_id ? known_end(p, server, ret) : 0;
        if (ret->action == CONTINUITY_WAIT)
                return;
        judge_slot(p, server, slot, end, ret);
}

bool timeline_branch(Slice history, uint32_t timeline, uint64_t *ret)
{
        for (const char *at = history.data, *end = at + history.len; at && at < end;) {
                const char *eol = memchr(at, '\n', (size_t)(end - at));
                size_t n = (size_t)((eol ? eol : end) - at);
                char line[128], *rest;
                (void)snprintf(line, sizeof line, "%.*s", (int)(n < 127 ? n : 127), at);
                unsigned long id = strtoul(line, &rest, 10);
                if (rest != line && id == timeline) {
                        rest += strspn(rest, " \t");
                        return pg_lsn_parse(slice_mem(rest, strcspn(rest, " \t\r")), ret) == 0;
                }
                at = eol ? eol + 1 : end;
        }
        return false;
}
