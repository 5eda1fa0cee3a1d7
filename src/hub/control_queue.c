// SPDX-License-Identifier: MIT
// Why and gaps: what the store knows of one event, and the gaps nobody has acknowledged yet. The
// search walks the queue, the dead letters and the ledger (newest first) in turns of a few
// milliseconds; between two turns nothing of the store is held, only a place to go on from.
#include "base/clock.h"
#include "base/limits.h"
#include "hub/commit.h"
#include "hub/control_methods.h"
#include "hub/hub.h"
#include "hub/queue.h"
#include "hub/status.h"
#include "module/verdict.h"
#include "store/read.h"
#include <errno.h>

uint32_t control_route_hash(const StoreRoute *r)
{
        return r->flags & (ROUTE_OWN_BODY | ROUTE_OWN_HEADERS) ? r->rule : 0;
}

bool control_id_matches(const char *wanted, Slice event_id, uint32_t rule, bool own)
{
        size_t len = strlen(wanted);
        if (len < event_id.len || memcmp(wanted, event_id.data, event_id.len) != 0)
                return false;
        if (len == event_id.len)
                return true; // the event: all its deliveries
        char id[DELIVERY_ID_MAX];
        delivery_id(id, event_id, own ? rule : 0);
        return strcmp(wanted, id) == 0;
}

typedef enum WhyPhase { WHY_EVENTS, WHY_DEAD, WHY_LEDGER, WHY_DONE } WhyPhase;

typedef struct Why {
        Hub *hub;
        ControlCall *call;
        char id[DELIVERY_ID_MAX];
        WhyPhase phase;
        uint64_t next;   // sequence or dead number to go on from
        uint64_t cursor; // of the ledger
        uint64_t
                stored_usec; // of the event, when it was found: the ledger before it is not searched
        uint64_t count, deadline;
        unsigned seen;
        bool damaged, past;
} Why;

static bool why_turn_is_over(Why *w)
{
        return (++w->seen % CONTROL_STEP_CHECK == 0 && clock_mono_usec() >= w->deadline) ||
               control_room(w->call) < LIMIT_CONTROL_CLIENT / 4;
}

static int why_say(Why *w, json_t *o)
{
        w->count++;
        return control_continue(w->call, o);
}

static void set_name(json_t *o, const char *key, Hub *h, StoreNameKind kind, uint32_t number)
{
        control_set(o, key, json_string(store_name(h->store, kind, number)));
}

static const char *owed_word(int r, const StoreOwed *owed, const HubSink *k, DeliveryKey key)
{
        const Delivery *d = k ? delivery_get((HubSink *)k, key) : NULL;
        if (d && d->state == DELIVERY_OUT)
                return "in flight";
        if (r < 0)
                return !k             ? "parked: its sink is not configured"
                       : k->paused    ? "waits: its sink is paused"
                       : k->disabled  ? "waits: its sink is disabled"
                       : k->hold.held ? "waits: its endpoint is held"
                                      : "due";
        switch ((OwedState)owed->state) {
        case OWED_WAITS:
                return "waits for its next attempt";
        case OWED_PARKED:
                return "parked";
        case OWED_ENDED:
                return "ended";
        case OWED_ALONE:
                return "to be sent alone";
        default:
                return "?";
        }
}

static json_t *why_route(
        Why *w, const StoreEvent *e, uint16_t n, const StoreRoute *route, Slice event_id)
{
        Hub *h = w->hub;
        DeliveryKey key = {.seq = e->seq, .route = n};
        StoreOwed owed = {};
        int r = store_get_owed(h->store, key, &owed);
        json_t *o = json_object();
        char id[DELIVERY_ID_MAX];
        delivery_id(id, event_id, control_route_hash(route));
        control_set(o, "id", json_string(id));
        set_name(o, "sink", h, STORE_SINK, route->sink);
        set_name(o, "rule", h, STORE_RULE, route->rule);
        control_set(
                o, "now", json_string(owed_word(r, &owed, sink_by_number(h, route->sink), key)));
        control_set(o, "attempts", json_integer(r < 0 ? 0 : owed.attempts));
        if (r >= 0) {
                control_set(o, "due",
                        owed.state == OWED_WAITS ? control_json_time(owed.due_usec) : json_null());
                control_set(o, "first", control_json_time(owed.first_usec));
                const char *class = verdict_class_to_string(owed.class);
                control_set(o, "class", json_string(class ? class : "?"));
                control_set(o, "status", json_integer(owed.status));
                control_set(o, "detail", control_json_text(slice_of(owed.detail)));
        }
        return o;
}

static json_t *unescaped(Slice text)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(LIMIT_SUBJECT * 2);
        record_text(&b, text);
        return control_json_text(buf_slice(&b));
}

static int why_event(const StoreEvent *e, void *u)
{
        Why *w = u;
        w->next = e->seq + 1;
        Record r;
        if (record_parse(e->record, &r) < 0) {
                w->damaged = true;
                return why_turn_is_over(w);
        }
        json_t *routes = NULL;
        for (uint16_t i = 0; i < e->n_routes; i++) {
                StoreRoute route;
                if (store_event_route(e, i, &route) < 0 ||
                        !control_id_matches(
                                w->id, r.id, route.rule, control_route_hash(&route) != 0))
                        continue;
                if (!routes)
                        routes = json_array();
                (void)json_array_append_new(routes, why_route(w, e, i, &route, r.id));
        }
        if (routes) {
                if (w->stored_usec == 0 || e->stored_usec < w->stored_usec)
                        w->stored_usec = e->stored_usec;
                json_t *o = json_object();
                control_set(o, "item", json_string("queued"));
                control_set(o, "event", control_json_text(r.id));
                control_set(o, "type", unescaped(r.type));
                control_set(o, "subject", unescaped(r.subject));
                set_name(o, "source", w->hub, STORE_SOURCE, e->source);
                control_set(o, "time", control_json_time(r.time_usec));
                control_set(o, "stored", control_json_time(e->stored_usec));
                control_set(o, "routes", routes);
                if (why_say(w, o) < 0)
                        return -ENOBUFS;
        }
        return why_turn_is_over(w);
}

static int why_dead(const StoreDead *d, void *u)
{
        Why *w = u;
        w->next = d->dead + 1;
        Record r;
        if (record_parse(d->record, &r) < 0) {
                w->damaged = true;
        } else if (control_id_matches(w->id, r.id, d->rule, control_route_hash(&d->route) != 0)) {
                json_t *o = control_dead_row(w->hub, d);
                control_set(o, "item", json_string("dead-letter"));
                if (why_say(w, o) < 0)
                        return -ENOBUFS;
        }
        return why_turn_is_over(w);
}

static const char *ledger_word(LedgerKind k)
{
        static const char *const words[_LEDGER_KIND_MAX] = {
                [LEDGER_ATTEMPT_FAILED] = "attempt",
                [LEDGER_DELIVERED] = "delivered",
                [LEDGER_DEAD] = "dead",
                [LEDGER_DISCARDED] = "discarded",
                [LEDGER_RETRIED] = "retried",
        };
        return k < _LEDGER_KIND_MAX ? words[k] : "?";
}

static int why_ledger(const LedgerEntry *e, void *u)
{
        Why *w = u;
        const StoreVerdict *v = &e->verdict;
        // Entries are in order of commits, their times nearly so: a minute of grace.
        if (w->stored_usec && v->when_usec && v->when_usec + 60 * USEC_PER_SEC < w->stored_usec)
                w->past = true;
        if (strncmp(e->event_id, w->id, ID_HEX) != 0)
                return 0;
        // The ledger does not tell whether the rule made a body: its hash decides when asked for.
        if (w->id[ID_HEX] && strtoul(w->id + ID_HEX + 1, NULL, 16) != e->rule)
                return 0;
        json_t *o = json_object();
        control_set(o, "item", json_string(ledger_word(e->kind)));
        set_name(o, "sink", w->hub, STORE_SINK, e->sink);
        set_name(o, "rule", w->hub, STORE_RULE, e->rule);
        control_set(o, "when", control_json_time(v->when_usec));
        const char *class = verdict_class_to_string(v->class);
        control_set(o, "class", json_string(class ? class : "?"));
        control_set(o, "status", json_integer(v->status));
        control_set(o, "attempts", json_integer(v->attempts));
        control_set(o, "took_usec", json_integer(v->took_usec));
        control_set(o, "detail", control_json_text(v->detail));
        // A commit is looked at whole or not at all; a step begins with half the room free.
        if (why_say(w, o) < 0)
                w->damaged = true;
        return 0;
}

static int why_search(Why *w)
{
        Store *s = w->hub->store;
        int r;
        switch (w->phase) {
        case WHY_EVENTS:
                r = store_each_event(s, w->next, why_event, w);
                break;
        case WHY_DEAD:
                r = store_each_dead(s, w->next, why_dead, w);
                break;
        default:
                r = store_each_ledger(s, &w->cursor, 256, why_ledger, w);
                // 1: nothing is older than what has been read.
                return r < 0 ? r : w->cursor > 1 && !w->past;
        }
        return r;
}

static int why_step(ControlCall *c, void *state)
{
        Why *w = state;
        w->call = c;
        w->deadline = clock_mono_usec() + CONTROL_STEP_USEC;
        int r = store_read_begin(w->hub->store);
        if (r < 0)
                return r;
        r = why_search(w);
        store_read_end(w->hub->store);
        if (r == -ENOBUFS || r > 0)
                return 0; // more of this phase in the next turn
        if (r < 0)
                w->damaged = true; // a row that cannot be read ends its table, not the story
        w->phase++;
        w->next = 0;
        if (w->phase < WHY_DONE)
                return 0;
        return control_reply(
                c, json_pack("{s:I, s:b}", "count", (json_int_t)w->count, "complete", !w->damaged));
}

int control_why(ControlCall *c, void *hub)
{
        const char *id = control_get_string(c, "id", "");
        size_t len = strlen(id), hex = strspn(id, "0123456789abcdef");
        bool whole = len == ID_HEX && hex == ID_HEX;
        bool of_rule = len == DELIVERY_ID_MAX - 1 && hex == ID_HEX && id[ID_HEX] == '_' &&
                       strspn(id + ID_HEX + 1, "0123456789abcdef") == 8;
        if (!whole && !of_rule)
                return control_fail(c, "NotFound",
                        "\"%.64s\" is no id: 32 hex digits, as in webhook-id (and \"_\" and 8 more "
                        "for a rule's own body)",
                        id);
        Why *w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->hub = hub;
        (void)snprintf(w->id, sizeof(w->id), "%s", id);
        control_set_step(c, why_step, w, free);
        return 0;
}

// ---- gaps

typedef struct GapScan {
        Hub *hub;
        const char *wanted; // id, or NULL: all
        json_t *rows;       // NULL when only numbers are wanted
        uint64_t seqs[256];
        unsigned n;
        size_t bytes;
        bool full;
} GapScan;

static int gap_each(const StoreGap *g, void *u)
{
        GapScan *s = u;
        Record r;
        bool readable = record_parse(g->record, &r) >= 0;
        if (s->wanted && !(readable && slice_eq_str(r.id, s->wanted)))
                return 0;
        if (s->n == N_ELEMENTS(s->seqs) || s->bytes > LIMIT_CONTROL_CLIENT / 2) {
                s->full = true;
                return 1;
        }
        s->seqs[s->n++] = g->seq;
        s->bytes += g->record.len;
        if (!s->rows || !readable)
                return 0;
        json_t *o = json_object();
        control_set(o, "id", control_json_text(r.id));
        set_name(o, "source", s->hub, STORE_SOURCE, g->source);
        control_set(o, "time", control_json_time(r.time_usec));
        control_set(o, "subject", unescaped(r.subject));
        json_t *data = json_loadb(r.data.data, r.data.len, JSON_DECODE_ANY, NULL);
        control_set(o, "data", data ? data : json_null());
        (void)json_array_append_new(s->rows, o);
        return 0;
}

static int gap_scan(GapScan *s)
{
        int r = store_read_begin(s->hub->store);
        if (r < 0)
                return r;
        r = store_each_gap(s->hub->store, gap_each, s);
        store_read_end(s->hub->store);
        return r < 0 ? r : 0;
}

int control_gaps_list(ControlCall *c, void *hub)
{
        _cleanup_(freep) GapScan *s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->hub = hub;
        s->rows = json_array();
        int r = gap_scan(s);
        if (r < 0) {
                json_decref(s->rows);
                return r;
        }
        return control_reply(c, json_pack("{s:o, s:b}", "gaps", s->rows, "truncated", s->full));
}

int control_gaps_ack(ControlCall *c, void *hub)
{
        Hub *h = hub;
        const char *id = control_get_string(c, "id", NULL);
        uint64_t done = 0;
        _cleanup_(freep) GapScan *s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        do {
                *s = (GapScan){.hub = h, .wanted = id};
                int r = gap_scan(s);
                for (unsigned i = 0; r >= 0 && i < s->n; i++)
                        r = store_ack_gap(batch_txn(h), s->seqs[i]);
                int committed = batch_try_commit(h);
                if (r < 0 || committed < 0)
                        return r < 0 ? r : committed;
                done += s->n;
        } while (s->full && s->n > 0);
        if (id && done == 0)
                return control_fail(
                        c, "NotFound", "there is no open gap \"%.64s\"; see: belfry gaps", id);
        hub_notify(h);
        return control_reply(c, json_pack("{s:I}", "acknowledged", (json_int_t)done));
}
