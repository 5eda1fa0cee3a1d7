// SPDX-License-Identifier: MIT
// What sources say becomes part of the open transaction: events get their envelope and their routes,
// state and positions are stored under the connection's own source. A source is told "durable" by
// commit.c, never here. Nothing in a message names a file, a sink or another source.
#include "hub/intake.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "event/messages.h"
#include "hub/child.h"
#include "hub/commands.h"
#include "hub/commit.h"
#include "hub/control_methods.h"
#include "hub/doors.h"
#include "hub/hub.h"
#include "hub/pressure.h"
#include "hub/status.h"
#include "link/message.h"
#include "module/verdict.h"
#include "store/read.h"
#include <errno.h>

enum {
        CREDIT_SHRINKS = 4,   // a quarter each time: 4 MiB to 16 KiB, batches 1 MiB to 4 KiB
        ROOM_FORGET_SEC = 60, // so long after the last refusal a process gets all of it again
        FLOOD_SEC = 60,       // a paused source may send its credit once in so long
};

static const ConfigSource *source_config(const HubSource *s)
{
        return &s->hub->config->sources[s->index];
}

static uint32_t source_credit(HubSource *s)
{
        if (clock_boot_usec() > s->hub->room_retry_boot + ROOM_FORGET_SEC * USEC_PER_SEC)
                s->shrunk = 0;
        return LIMIT_SOURCE_CREDIT >> 2 * (s->shrunk < CREDIT_SHRINKS ? s->shrunk : CREDIT_SHRINKS);
}

int source_put_start(HubChild *c, uint32_t number, const json_t *values, bool for_command)
{
        Hub *h = c->hub;
        _cleanup_(freep) char *options = json_dumps(values, JSON_COMPACT);
        if (!options)
                return -ENOMEM;
        // A batch of the dead process may be in the open transaction: position and state are read
        // after it, or the new process would bring the same events once more.
        batch_commit(h);
        int r = store_read_begin(h->store);
        if (r < 0)
                return r;
        MessageStart m = {
                .credit = c->source ? source_credit(c->source) : LIMIT_SOURCE_CREDIT,
                .max_event = h->config->limits.event,
                .options = slice_of(options),
                .credentials_dir = slice_of(h->credentials_dir ? h->credentials_dir : ""),
                .hostname = slice_of(h->hostname),
                .for_command = for_command,
        };
        m.has_position = number && store_get_position(h->store, number, &m.position) == 0;
        message_put_start(link_begin(c->link, MESSAGE_START), &m);
        store_read_end(h->store);
        return link_end(c->link, true);
}

int source_send_start(HubSource *s)
{
        s->degraded[0] = 0; // that was the process before; this one looks for itself
        int r = source_put_start(&s->child, s->number, source_config(s)->options, false);
        if (r >= 0 && source_config(s)->module->description->doors)
                r = doors_tell(s);
        if (r >= 0 && s->paused)
                r = link_send(s->child.link, MESSAGE_PAUSE, SLICE_NULL);
        return r;
}

// *ret_version: of the type's fields, 0 for a type of an application's own.
static bool source_may_type(const HubSource *s, Slice type, unsigned *ret_version)
{
        const ModuleDescription *d = source_config(s)->module->description;
        const EventType *known = slice_eq_str(type, event_type_gap.name) ? &event_type_gap : NULL;
        for (size_t i = 0; i < d->n_types && !known; i++)
                if (slice_eq_str(type, d->types[i].name))
                        known = &d->types[i];
        *ret_version = known ? event_type_version(known) : 0;
        return known || (d->own_types && event_type_is_own(type));
}

static int batch_add_fresh(Batch *b, HubSink *sink, DeliveryKey key)
{
        if (b->n_fresh == b->cap_fresh) {
                size_t cap = b->cap_fresh ? b->cap_fresh * 2 : 256;
                FreshDelivery *grown = reallocarray(b->fresh, cap, sizeof(*grown));
                if (!grown)
                        return -ENOMEM;
                b->fresh = grown;
                b->cap_fresh = cap;
        }
        b->fresh[b->n_fresh++] = (FreshDelivery){sink, key};
        return 0;
}

static void route_fill(const Hub *h, const RuleRoute *from, StoreRoute *to)
{
        const ConfigSink *sink = &h->config->sinks[from->sink];
        *to = (StoreRoute){
                .sink = h->sink_of[from->sink]->number,
                .flags = (from->own_body ? ROUTE_OWN_BODY : 0) |
                         (from->own_headers ? ROUTE_OWN_HEADERS : 0),
                .format = from->own_body ? BODY_RENDERED : (uint8_t)sink->policy.format,
                .rule = rule_hash(h->config->rules[from->rule].name),
                .own_headers = from->headers,
                .own_body = from->body,
        };
        const char *method = sink_methods[sink->policy.method];
        memcpy(to->method, method, strnlen(method, sizeof(to->method)));
}

// Where each route of the new event goes: the window, or at once to the dead letters.
static int intake_place(Hub *h, uint64_t seq, const RuleRoutes *routes)
{
        for (unsigned i = 0; i < routes->n; i++) {
                const RuleRoute *route = &routes->list[i];
                HubSink *sink = h->sink_of[route->sink];
                DeliveryKey key = {seq, (uint16_t)i};
                const SinkPolicy *policy = &h->config->sinks[route->sink].policy;
                const char *why = route->failed ? "render-failed"
                                  : sink->full && policy->queue.on_full == QUEUE_FULL_DEAD
                                          ? "queue-full"
                                          : NULL;
                if (!why) {
                        int r = batch_add_fresh(&h->batch, sink, key);
                        if (r < 0)
                                return r;
                        continue;
                }
                StoreVerdict v = {.class = VERDICT_REJECTED,
                        .when_usec = clock_wall_usec(),
                        .detail = slice_of(route->failed ? route->failed
                                                         : "the queue share of the sink is full")};
                store_bury(h->batch.txn, key, why, &v);
                sink->dead++;
        }
        return 0;
}

static int intake_store(HubSource *s, const Record *record, Slice bytes)
{
        Hub *h = s->hub;
        RuleRoutes routes = {0};
        int r = ruleset_route(h->rules, s->index, record, h->config->limits.body, &routes);
        if (r < 0)
                return r;
        FAILPOINT("hub.event-routed");
        bool gap = slice_eq_str(record->type, event_type_gap.name);
        s->events++;
        s->last_event_usec = record->time_usec;
        if (routes.n == 0)
                s->unmatched++;
        control_tail_event(h, record, routes.n);
        if (routes.n == 0 && !gap)
                return 0;

        StoreRoute stored[LIMIT_ROUTES];
        unsigned n = routes.n < LIMIT_ROUTES ? routes.n : LIMIT_ROUTES;
        routes.n = n;
        for (unsigned i = 0; i < n; i++)
                route_fill(h, &routes.list[i], &stored[i]);
        StoreTxn *t = batch_txn(h);
        uint64_t seq = store_put_event(t, s->number, bytes, stored, (uint16_t)n);
        if (gap) {
                char id[DELIVERY_ID_MAX];
                (void)snprintf(id, sizeof(id), "%.*s", SLICE_ARG(record->id));
                store_put_gap(t, seq, s->number, bytes);
                log_write(LOG_WARNING,
                        &(LogFields){
                                .message_id = MESSAGE_ID_GAP, .instance = s->name, .event_id = id},
                        "source %s: something may have gone unreported: %.*s", s->name,
                        SLICE_ARG(record->data));
        }
        return intake_place(h, seq, &routes);
}

// Already its envelope killed the hub: what is left is that it happened, and which one it was.
static int intake_strip(HubSource *s, EventDraft *draft)
{
        char id[ID_HEX];
        if (s->hub->poison.n_known == 0)
                return 0;
        int r = record_id(&s->origin, draft->id_material, id);
        if (r < 0 || poison_deaths(s->hub, slice_mem(id, sizeof(id))) <= POISON_DEATHS)
                return r;
        draft->subject = draft->key = SLICE_NULL;
        draft->data = SLICE_LIT("{\"withheld\":\"belfryd died at this event\"}");
        return 0;
}

// Appends the record of one event; nothing is stored yet.
static int intake_build(HubSource *s, const MessageEvent *e, Reason *reason)
{
        Hub *h = s->hub;
        unsigned version;
        if (!source_may_type(s, e->type, &version))
                return reason_set(reason, -EBADMSG,
                        "event type \"%.*s\" is not in the module's table", SLICE_ARG(e->type));
        EventDraft draft = {
                .time_usec = e->time_usec ? e->time_usec : clock_wall_usec(),
                .type = e->type,
                .subject = e->subject,
                .key = e->key,
                .id_material = e->id_material,
                .data = e->data,
                .schema_version = version,
        };
        size_t before = h->records.len;
        int r = intake_strip(s, &draft);
        poison_at_arriving(h, &s->origin, e->id_material);
        FAILPOINT("hub.event-arrived");
        if (r >= 0)
                r = record_build(&h->records, &s->origin, &draft, h->config->limits.event, reason);
        poison_past(h);
        if (r < 0)
                return r;
        wire_put_u32(&h->lengths, (uint32_t)(h->records.len - before));
        return h->records.error ? h->records.error : h->lengths.error;
}

static int intake_one(HubSource *s, const Record *record, Slice bytes)
{
        Hub *h = s->hub;
        if (poison_deaths(h, record->id) >= POISON_DEATHS) {
                poison_set_aside(h, s->number, bytes);
                return 0;
        }
        poison_at_event(h, record->id);
        int r = intake_store(s, record, bytes);
        poison_past(h);
        return r;
}

int intake_again(HubSource *s, Slice bytes)
{
        Record record;
        int r = record_parse(bytes, &record);
        if (r < 0)
                return r;
        poison_forgive(s->hub, record.id);
        return intake_one(s, &record, bytes);
}

static int intake_store_all(HubSource *s)
{
        Hub *h = s->hub;
        size_t at = 0;
        WireReader lengths = wire_reader(buf_slice(&h->lengths));
        while (lengths.left > 0) {
                Slice bytes = slice_mem(h->records.data + at, wire_u32(&lengths));
                at += bytes.len;
                Record record;
                int r = record_parse(bytes, &record);
                if (r >= 0)
                        r = intake_one(s, &record, bytes);
                if (r < 0)
                        return r;
        }
        return 0;
}

// The store takes a row over its limits for the hub's own fault, so it is refused here. m is a copy:
// the changes are read once more when they are stored.
static int intake_check_changes(MessageEvents m, Reason *reason)
{
        if (m.has_position && m.position.len > LIMIT_POSITION)
                return reason_set(reason, -EMSGSIZE, "a position of %zu bytes", m.position.len);
        for (uint32_t i = 0; i < m.n_changes; i++) {
                MessageStateChange c;
                int r = message_next_change(&m, &c);
                if (r < 0)
                        return r;
                if (c.key.len == 0 || c.key.len > LIMIT_STATE_KEY ||
                        c.value.len > LIMIT_STATE_VALUE)
                        return reason_set(reason, -EMSGSIZE, "a state row of %zu + %zu bytes",
                                c.key.len, c.value.len);
        }
        return 0;
}

// A pause is no wall: what was on its way comes, and a source may commit while it drains the kernel.
// Beyond its credit it does not listen; born anew it gets no second one.
static bool source_floods(HubSource *s, size_t bytes)
{
        uint64_t now = clock_boot_usec();
        size_t frame = s->hub->config->limits.event + LIMIT_FRAME_SLACK + LIMIT_STATE_BATCH;
        if (now - s->paused_since_boot > FLOOD_SEC * USEC_PER_SEC) {
                s->paused_since_boot = now;
                s->paused_bytes = 0;
        }
        s->paused_bytes += bytes;
        s->flooded |= s->paused_bytes > (frame > LIMIT_SOURCE_CREDIT ? frame : LIMIT_SOURCE_CREDIT);
        return s->flooded;
}

// First everything of the batch is read and built, so that a source that breaks the rules is ended
// before any of it is in the transaction it shares with the others.
static int intake_events(HubSource *s, Slice payload)
{
        Hub *h = s->hub;
        MessageEvents m;
        Reason reason = {0};
        buf_shrink(&h->records, 4 * LIMIT_EVENT_DEFAULT);
        buf_reset(&h->lengths);
        int r = message_get_events(payload, &m);
        if (r >= 0 && s->paused && m.n_events && source_floods(s, payload.len))
                r = reason_set(&reason, -EPROTO,
                        "it is paused and goes on sending, beyond its credit of %u MiB",
                        LIMIT_SOURCE_CREDIT >> 20);
        for (uint32_t i = 0; r >= 0 && i < m.n_events; i++) {
                MessageEvent e;
                r = message_next_event(&m, &e);
                if (r >= 0)
                        r = intake_build(s, &e, &reason);
        }
        if (r >= 0)
                r = intake_check_changes(m, &reason);
        if (r < 0) {
                child_kill(&s->child, reason.text[0] ? reason.text : "it sent a malformed batch");
                return r;
        }
        // With little room a batch that does not fit must take nobody else's work with it.
        bool tight = pressure_tight(h);
        if (tight) {
                batch_commit(h);
                if (s->child.deaf)
                        return 0; // an earlier batch of its own did not fit
        }
        StoreTxn *t = batch_txn(h);
        r = intake_store_all(s);
        if (r < 0) {
                log_error("out of memory within a batch: restarting from what is durable");
                (void)store_abort(TAKE_PTR(h->batch.txn));
                _exit(EXIT_FAILURE);
        }
        for (uint32_t i = 0; i < m.n_changes; i++) {
                MessageStateChange c;
                if (message_next_change(&m, &c) < 0)
                        break; // message_get_events has walked them all
                if (c.put)
                        store_put_state(t, s->number, c.key, c.value);
                else
                        store_del_state(t, s->number, c.key);
        }
        if (m.has_position)
                store_put_position(t, s->number, m.position);
        s->batch_confirm = m.batch;
        s->confirm_pending = true;
        h->batch.grows |= m.n_events > 0;
        batch_note(h, payload.len, m.n_events ? m.n_events : 1); // the source waits for it anyway
        if (tight)
                batch_commit(h);
        return 0;
}

static int state_row_put(Slice key, Slice value, void *userdata)
{
        Buf *b = userdata;
        wire_put_bytes(b, key);
        wire_put_bytes(b, value);
        return b->error;
}

int source_get_state(HubChild *c, uint32_t number, Slice payload)
{
        Hub *h = c->hub;
        Slice from;
        uint32_t max;
        int r = message_get_state_get(payload, &from, &max);
        if (r < 0)
                return r;
        if (max > LIMIT_EVENT_DEFAULT)
                max = LIMIT_EVENT_DEFAULT;
        batch_commit(h);
        r = store_read_begin(h->store);
        if (r < 0)
                return r;
        Buf *b = link_begin(c->link, MESSAGE_STATE);
        size_t at = b->len;
        wire_put_u8(b, 0);
        r = store_each_state(h->store, number, from, max, state_row_put, b);
        store_read_end(h->store);
        if (r > 0 && !b->error)
                b->data[at] = 1;
        int e = link_end(c->link, true);
        return r < 0 ? r : e;
}

int source_frame(HubChild *c, uint16_t type, Slice payload)
{
        HubSource *s = c->source;
        Slice text;
        int r;
        switch (type) {
        case MESSAGE_EVENTS:
                // Of one that left the configuration: its rules and its table are gone. What it sent is
                // not confirmed, so it comes again should the source come back.
                return s->removed ? 0 : intake_events(s, payload);
        case MESSAGE_STATE_GET:
                return source_get_state(c, s->number, payload);
        case MESSAGE_ANSWER:
                return commands_answer(c, payload);
        case MESSAGE_DEGRADED:
                r = message_get_bytes(payload, &text);
                if (r < 0)
                        return r;
                (void)snprintf(s->degraded, sizeof(s->degraded), "%.*s", SLICE_ARG(text));
                if (text.len)
                        log_write(LOG_WARNING,
                                &(LogFields){.message_id = MESSAGE_ID_MODULE_FAILED,
                                        .instance = s->name},
                                "degraded: %s", s->degraded);
                hub_notify(s->hub);
                return 0;
        default:
                return -EBADMSG;
        }
}

void intake_gap(HubSource *s, const char *why, const char *from, const char *to, const char *detail)
{
        _cleanup_(buf_deinitp) Buf data = BUF_INIT(LIMIT_STATS);
        JsonWriter w = json_writer(&data);
        json_begin(&w, '{');
        json_key(&w, "reason");
        json_text(&w, why);
        json_key(&w, "from");
        json_text(&w, from);
        json_key(&w, "to");
        json_text(&w, to);
        json_key(&w, "detail");
        json_text(&w, detail);
        json_end(&w, '}');
        char material[128];
        (void)snprintf(material, sizeof(material), "gap:%s:%llu", why,
                (unsigned long long)clock_wall_usec());
        MessageEvent e = {
                .time_usec = clock_wall_usec(),
                .type = slice_of(event_type_gap.name),
                .subject = slice_of(s->name),
                .id_material = slice_of(material),
                .data = buf_slice(&data),
        };
        Reason reason = {0};
        buf_reset(&s->hub->records);
        buf_reset(&s->hub->lengths);
        (void)batch_txn(s->hub);
        if (data.error || intake_build(s, &e, &reason) < 0 || intake_store_all(s) < 0)
                log_write(LOG_ERR, &(LogFields){.instance = s->name}, "could not store a gap: %s",
                        detail);
}
