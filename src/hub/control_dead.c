// SPDX-License-Identifier: MIT
// The dead letters: list, show, retry, drop. All of them walk the table in turns of a few
// milliseconds from a number on. A retry or a drop of many is committed turn by turn, and leaves
// alone what died after it was asked for: an endpoint that goes on refusing cannot keep it busy for
// ever.
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/wire.h"
#include "hub/commit.h"
#include "hub/control_methods.h"
#include "hub/dispatch.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "hub/queue.h"
#include "hub/status.h"
#include "module/verdict.h"
#include "store/read.h"
#include <errno.h>

enum { DEAD_CHUNK = 64, BODY_PIECE = 96 * 1024 };

typedef struct DeadWalk {
        Hub *hub;
        ControlCall *call;
        uint64_t next, deadline, began_wall;
        unsigned seen;
        // What is asked for; NULL or 0 = any.
        char *id, *sink, *rule, *reason;
        uint64_t number;
        // list
        uint64_t count;
        // retry, drop: found in this turn
        uint64_t chunk[DEAD_CHUNK];
        unsigned n_chunk;
        bool drop;
        uint64_t done, skipped;
        // show
        uint64_t shown; // the letter whose body is being sent
        size_t body_at;
} DeadWalk;

static void walk_free(void *state)
{
        DeadWalk *w = state;
        free(w->id);
        free(w->sink);
        free(w->rule);
        free(w->reason);
        free(w);
}

static char *copy_parameter(const ControlCall *c, const char *name)
{
        const char *s = control_get_string(c, name, NULL);
        return s ? strdup(s) : NULL;
}

static int walk_new(ControlCall *c, Hub *h, DeadWalk **ret)
{
        DeadWalk *w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->hub = h;
        w->began_wall = clock_wall_usec();
        w->id = copy_parameter(c, "id");
        w->sink = copy_parameter(c, "sink");
        w->rule = copy_parameter(c, "rule");
        w->reason = copy_parameter(c, "reason");
        // A plain number is the letter's own; ids have 32 digits.
        if (w->id && strlen(w->id) < 20 && strspn(w->id, "0123456789") == strlen(w->id) && *w->id) {
                w->number = strtoull(w->id, NULL, 10);
                w->next = w->number;
        }
        *ret = w;
        return 0;
}

static bool walk_wants(const DeadWalk *w, const StoreDead *d)
{
        Hub *h = w->hub;
        if (w->sink && strcmp(w->sink, store_name(h->store, STORE_SINK, d->sink)) != 0)
                return false;
        if (w->rule && strcmp(w->rule, store_name(h->store, STORE_RULE, d->rule)) != 0)
                return false;
        if (w->reason && strcmp(w->reason, d->reason) != 0)
                return false;
        if (w->number)
                return d->dead == w->number;
        Record r;
        return !w->id ||
               (record_parse(d->record, &r) >= 0 && control_id_matches(w->id, r.id, d->rule,
                                                            control_route_hash(&d->route) != 0));
}

// The turn's end, or the end of the walk because nothing behind can match.
static bool walk_pauses(DeadWalk *w)
{
        return ++w->seen % CONTROL_STEP_CHECK == 0 && clock_mono_usec() >= w->deadline;
}

static Slice dead_body(const StoreDead *d, const Record *r)
{
        if (d->route.flags & ROUTE_OWN_BODY)
                return d->route.own_body;
        return d->route.format == BODY_CLOUDEVENTS ? r->json : r->data;
}

json_t *control_dead_row(Hub *h, const StoreDead *d)
{
        json_t *o = json_object();
        Record r = {};
        _cleanup_(buf_deinitp) Buf subject = BUF_INIT(LIMIT_SUBJECT * 2);
        bool readable = record_parse(d->record, &r) >= 0;
        char id[DELIVERY_ID_MAX] = "?";
        if (readable) {
                delivery_id(id, r.id, control_route_hash(&d->route));
                record_text(&subject, r.subject);
        }
        const char *class = verdict_class_to_string(d->verdict.class);
        const char *format = body_format_to_string(d->route.format);
        control_set(o, "number", json_integer((json_int_t)d->dead));
        control_set(o, "id", json_string(id));
        control_set(o, "event", control_json_text(r.id));
        control_set(o, "type", control_json_text(r.type));
        control_set(o, "subject", control_json_text(buf_slice(&subject)));
        // One that no rule has seen (poison.c) was for no sink yet.
        control_set(
                o, "rule", json_string(d->rule ? store_name(h->store, STORE_RULE, d->rule) : "-"));
        control_set(
                o, "sink", json_string(d->sink ? store_name(h->store, STORE_SINK, d->sink) : "-"));
        control_set(o, "reason", json_string(d->reason));
        control_set(o, "class", json_string(class ? class : "?"));
        control_set(o, "status", json_integer(d->verdict.status));
        control_set(o, "attempts", json_integer(d->verdict.attempts));
        control_set(o, "detail", control_json_text(d->verdict.detail));
        control_set(o, "time", control_json_time(r.time_usec));
        control_set(o, "when", control_json_time(d->verdict.when_usec));
        control_set(o, "method",
                control_json_text((Slice){
                        d->route.method, strnlen(d->route.method, sizeof(d->route.method))}));
        control_set(o, "format", json_string(format ? format : "?"));
        control_set(o, "bytes", json_integer((json_int_t)(readable ? dead_body(d, &r).len : 0)));
        return o;
}

// Runs one turn over the table. 1 = there is more.
static int walk_turn(DeadWalk *w, ControlCall *c, int (*each)(const StoreDead *d, void *u))
{
        w->call = c;
        w->deadline = clock_mono_usec() + CONTROL_STEP_USEC;
        int r = store_read_begin(w->hub->store);
        if (r < 0)
                return r;
        r = store_each_dead(w->hub->store, w->next, each, w);
        store_read_end(w->hub->store);
        if (r > 0 && w->number && w->next > w->number)
                return 0;
        return r;
}

// ---- list

static int list_each(const StoreDead *d, void *u)
{
        DeadWalk *w = u;
        if (control_room(w->call) < LIMIT_CONTROL_CLIENT / 4)
                return 1;
        w->next = d->dead + 1;
        if (walk_wants(w, d)) {
                w->count++;
                int r = control_continue(
                        w->call, json_pack("{s:o}", "letter", control_dead_row(w->hub, d)));
                if (r < 0)
                        return r;
        }
        return walk_pauses(w);
}

static int list_step(ControlCall *c, void *state)
{
        DeadWalk *w = state;
        int r = walk_turn(w, c, list_each);
        return r == 0  ? control_reply(c, json_pack("{s:I}", "count", (json_int_t)w->count))
               : r < 0 ? r
                       : 0;
}

int control_dead_list(ControlCall *c, void *hub)
{
        DeadWalk *w;
        int r = walk_new(c, hub, &w);
        if (r >= 0)
                control_set_step(c, list_step, w, walk_free);
        return r;
}

// ---- show

static json_t *headers_json(Slice raw)
{
        json_t *list = json_array();
        WireReader r = wire_reader(raw);
        while (r.left > 0 && !r.bad) {
                Slice name = wire_bytes(&r), value = wire_bytes(&r);
                if (!r.bad)
                        (void)json_array_append_new(
                                list, json_pack("{s:o, s:o}", "name", control_json_text(name),
                                              "value", control_json_text(value)));
        }
        return list;
}

static int show_each(const StoreDead *d, void *u)
{
        DeadWalk *w = u;
        w->next = d->dead + 1;
        if (!walk_wants(w, d))
                return walk_pauses(w);
        w->shown = d->dead;
        int r = control_continue(
                w->call, json_pack("{s:o, s:o}", "letter", control_dead_row(w->hub, d), "headers",
                                 headers_json(d->route.own_headers)));
        return r < 0 ? r : 1;
}

static int show_body(DeadWalk *w, ControlCall *c)
{
        StoreDead d;
        Record record;
        int r = store_read_begin(w->hub->store);
        if (r < 0)
                return r;
        r = store_get_dead(w->hub->store, w->shown, &d);
        if (r >= 0)
                r = record_parse(d.record, &record);
        if (r >= 0) {
                Slice body = dead_body(&d, &record);
                size_t left = body.len > w->body_at ? body.len - w->body_at : 0;
                size_t n = left < BODY_PIECE ? left : BODY_PIECE;
                if (n > 0) {
                        _cleanup_(buf_deinitp) Buf b = BUF_INIT(BODY_PIECE * 2);
                        digest_base64(&b, (Slice){body.data + w->body_at, n});
                        r = control_continue(c, json_pack("{s:s}", "body", buf_text(&b)));
                }
                w->body_at += n;
                if (n == left)
                        w->shown = 0;
        }
        store_read_end(w->hub->store);
        if (r == -ENOENT) // retried or dropped meanwhile: what was sent is all there is
                w->shown = 0;
        return r == -ENOENT ? 0 : r;
}

static int show_step(ControlCall *c, void *state)
{
        DeadWalk *w = state;
        if (w->shown) {
                int r = show_body(w, c);
                return r < 0 || w->shown ? r : control_reply(c, NULL);
        }
        int r = walk_turn(w, c, show_each);
        if (r == 0 && !w->shown)
                return control_fail(c, "NotFound",
                        "there is no dead letter \"%.64s\"; see: belfry dead", w->id);
        return r < 0 ? r : 0;
}

int control_dead_show(ControlCall *c, void *hub)
{
        DeadWalk *w;
        int r = walk_new(c, hub, &w);
        if (r >= 0)
                control_set_step(c, show_step, w, walk_free);
        return r;
}

// ---- retry and drop

// Whose event it is, of a letter that no rule has seen.
static HubSource *dead_source(Hub *h, const StoreDead *d)
{
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                if (s->number == d->source && !s->removed)
                        return s;
        return NULL;
}

static int act_each(const StoreDead *d, void *u)
{
        DeadWalk *w = u;
        if (w->n_chunk == DEAD_CHUNK)
                return 1;
        w->next = d->dead + 1;
        bool later = d->verdict.when_usec > w->began_wall;
        if (walk_wants(w, d) && !later) {
                bool somebody = d->sink ? sink_by_number(w->hub, d->sink) != NULL
                                        : dead_source(w->hub, d) != NULL;
                if (!w->drop && !somebody)
                        w->skipped++; // nobody would send it
                else
                        w->chunk[w->n_chunk++] = d->dead;
        }
        return walk_pauses(w);
}

typedef struct Retried {
        HubSink *sink;
        DeliveryKey key;
} Retried;

// One letter, into the open transaction. ret->sink: whose window has to hear of it.
static int act_one(DeadWalk *w, uint64_t letter, Retried *ret)
{
        Hub *h = w->hub;
        StoreDead d;
        HubSource *unrouted = NULL;
        *ret = (Retried){};
        if (!w->drop && store_read_begin(h->store) >= 0) {
                if (store_get_dead(h->store, letter, &d) >= 0) {
                        ret->sink = sink_by_number(h, d.sink);
                        unrouted = d.sink ? NULL : dead_source(h, &d);
                        buf_reset(&h->record);
                        if (unrouted)
                                buf_add_slice(&h->record, d.record);
                }
                store_read_end(h->store);
        }
        if (w->drop)
                return store_dead_drop(batch_txn(h), letter);
        if (!unrouted)
                return store_dead_retry(batch_txn(h), letter, &ret->key.seq);
        int r = h->record.error;
        if (r >= 0)
                r = store_dead_drop(batch_txn(h), letter);
        return r < 0 ? r : intake_again(unrouted, buf_slice(&h->record));
}

// One committed batch of what was found in this turn.
static int act_chunk(DeadWalk *w)
{
        Hub *h = w->hub;
        Retried fresh[DEAD_CHUNK];
        unsigned n_fresh = 0;
        // On its own: what enters the queue here is told to the windows in order, below.
        batch_commit(h);
        for (unsigned i = 0; i < w->n_chunk; i++) {
                int r = act_one(w, w->chunk[i], &fresh[n_fresh]);
                if (r == -ENOENT)
                        continue;
                if (r < 0) {
                        batch_commit(h);
                        return r;
                }
                w->done++;
                n_fresh += fresh[n_fresh].sink != NULL;
        }
        int r = batch_try_commit(h);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < n_fresh; i++)
                queue_fresh(fresh[i].sink, fresh[i].key);
        if (n_fresh)
                dispatch_wake(h);
        return 0;
}

static int act_step(ControlCall *c, void *state)
{
        DeadWalk *w = state;
        w->n_chunk = 0;
        int more = walk_turn(w, c, act_each);
        if (more < 0)
                return more;
        int r = w->n_chunk ? act_chunk(w) : 0;
        if (r < 0)
                return r;
        json_t *totals = json_pack(
                "{s:I, s:I}", "done", (json_int_t)w->done, "skipped", (json_int_t)w->skipped);
        if (more)
                return control_continue(c, totals);
        log_notice("dead letters: %llu %s by uid %u", (unsigned long long)w->done,
                w->drop ? "dropped" : "retried", control_uid(c));
        poison_look(w->hub);
        hub_notify(w->hub);
        if (w->id && w->done == 0) {
                json_decref(totals);
                return w->skipped
                               ? control_fail(c, "Refused",
                                         "the sink of \"%.64s\", or the source of one that never "
                                         "was routed, is not in the configuration any more",
                                         w->id)
                               : control_fail(c, "NotFound",
                                         "there is no dead letter \"%.64s\"; see: belfry dead",
                                         w->id);
        }
        return control_reply(c, totals);
}

static int act_start(ControlCall *c, Hub *h, bool drop)
{
        bool all = control_get_bool(c, "all", false);
        if (all == (control_get_string(c, "id", NULL) != NULL))
                return control_fail(c, "Refused", "an id or all, one of them");
        DeadWalk *w;
        int r = walk_new(c, h, &w);
        if (r < 0)
                return r;
        w->drop = drop;
        control_set_step(c, act_step, w, walk_free);
        return 0;
}

int control_dead_retry(ControlCall *c, void *hub)
{
        return act_start(c, hub, false);
}

int control_dead_drop(ControlCall *c, void *hub)
{
        return act_start(c, hub, true);
}
