// SPDX-License-Identifier: MIT
// What a server may send, in any order: the first byte chooses the options, then pieces of
// (u16 length, bytes) are pgoutput messages, but for those that begin with '?' (the stored position),
// '/' (a state row: u8 length, key, value), '!' (the connection broke). A question is answered by
// what the piece's own bytes choose. Whatever comes: each event is one JSON object within its limits,
// a refusal has its reason, questions end, and the position never goes back.
#include "base/json.h"
#include "base/limits.h"
#include "base/wire.h"
#include "change.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EVENT_MAX = 20000 };

static void assert_event(const SourceEvent *e)
{
        assert(e->data.len > 0 && e->data.data[0] == '{' && e->data.len <= EVENT_MAX);
        assert(json_check(e->data, LIMIT_JSON_DEPTH - 1, NULL) == 0);
        assert(e->subject.len > 0 && e->subject.len <= LIMIT_SUBJECT && e->key.len <= LIMIT_KEY);
        assert(e->id_material.len > 0 && e->id_material.len <= LIMIT_ID_MATERIAL);
        for (size_t i = 0; i < n_postgresql_types; i++)
                if (strcmp(postgresql_types[i].name, e->type) == 0)
                        return;
        assert(false);
}

static int drain(Change *c, Reason *reason)
{
        const ChangeItem *item;
        uint64_t end = change_position(c)->end_lsn;
        int r = 0;

        while (r == 0 && (item = change_item(c))) {
                assert(item->event || item->state_key.data);
                assert(item->state_key.len <= LIMIT_STATE_KEY);
                assert(item->state_value.len <= LIMIT_STATE_VALUE);
                if (item->event)
                        assert_event(item->event);
                r = change_taken(c, reason);
                assert(change_position(c)->end_lsn >= end);
                end = change_position(c)->end_lsn;
        }
        return r;
}

// One row for each number of the question, of a kind that the message chooses.
static int answer(Change *c, Slice message, Reason *reason)
{
        char oid[12], element[12];
        const char *question = change_question(c);
        unsigned n = 0;

        for (const char *p = question; (p = strpbrk(p, "0123456789")); p += strcspn(p, ",) ")) {
                unsigned pick = (uint8_t)message.data[n++ % message.len];
                (void)snprintf(oid, sizeof oid, "%lu", strtoul(p, NULL, 10));
                (void)snprintf(element, sizeof element, "%u", pick < 64 ? pick : 20000 + pick % 8);
                Slice base = slice_of(pick & 1 ? element : "0");
                Slice fields[] = {slice_of(pick & 2 ? "t" : "k"), slice_of(oid), base,
                        slice_of(pick & 1 ? "0" : element), SLICE_LIT(",")};
                int r = change_answer(c, fields);
                assert(r == 0 || r == -EBADMSG || r == -ENOSPC);
        }
        return change_answered(c, reason);
}

static int message(Change *c, Slice m, Reason *reason)
{
        int r = change_feed(c, m, reason);

        if (r == 0)
                r = drain(c, reason);
        for (unsigned turns = 0; r == 0 && change_question(c); turns++) {
                assert(turns < 1000);
                r = answer(c, m, reason);
                if (r == 0)
                        r = drain(c, reason);
        }
        assert(r < 0 || !change_waits(c));
        return r;
}

static void piece(Change *c, Slice s)
{
        Reason reason = {""};
        Position p;
        WireReader r = wire_reader(s);

        switch (wire_u8(&r)) {
        case '!':
                change_disconnected(c);
                return;
        case '?':
                if (position_get(wire_raw(&r, r.left), &p, &reason) == 0)
                        change_set_position(c, &p);
                return;
        case '/': {
                Slice key = wire_raw(&r, wire_u8(&r));
                (void)change_load(c, key, wire_raw(&r, r.left));
                return;
        }
        }
        if (message(c, s, &reason) < 0) {
                assert(reason.text[0]);
                change_disconnected(c);
                change_connected(c, 7, 1, "slot");
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        WireReader r = wire_reader(slice_mem(data, size));
        unsigned flags = wire_u8(&r);
        ChangeOptions o = {.operations = flags & 4 ? CHANGE_ALL : flags >> 3,
                .numbers = flags & 1,
                .group = flags & 2,
                .event_max = EVENT_MAX};
        Change *c = change_new(&o);

        assert(c);
        change_connected(c, 7, 1, "slot");
        while (r.left > 2 && !r.bad) {
                size_t n = wire_u16(&r);
                piece(c, wire_raw(&r, n < r.left ? n : r.left));
        }
        change_free(c);
        return 0;
}
