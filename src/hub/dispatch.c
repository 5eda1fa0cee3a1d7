// SPDX-License-Identifier: MIT
// Attempts out: which delivery of which sink goes to which process. Round robin over the sinks that
// may send; no endpoint holds more than half of the slots while another waits; a held endpoint gets
// one probe at a time; what was out when a process died goes one by one through the isolation
// process, so that a poison delivery takes nothing else with it.
#include "hub/dispatch.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "event/messages.h"
#include "hub/child.h"
#include "hub/commit.h"
#include "hub/hub.h"
#include "hub/judge.h"
#include "hub/queue.h"
#include "hub/status.h"
#include "link/message.h"
#include "module/verdict.h"
#include "store/read.h"
#include <errno.h>
#include <systemd/sd-event.h>

enum { SEND_AT_ONCE = 16, LINK_QUEUE_HIGH = 1024 * 1024, HUNG_SEC = 10 };

static int dispatch_run(sd_event_source *e, void *userdata);

int dispatch_init(Hub *h)
{
        TAILQ_INIT(&h->alone);
        for (unsigned i = 0; i < SLOTS_MAX; i++)
                h->free_slots[h->n_free_slots++] = SLOTS_MAX - 1 - i;
        int r = sd_event_add_defer(h->event, &h->dispatch_event, dispatch_run, h);
        if (r < 0)
                return r;
        (void)sd_event_source_set_enabled(h->dispatch_event, SD_EVENT_OFF);
        return sd_event_source_set_priority(h->dispatch_event, PRIORITY_DISPATCH);
}

void dispatch_wake(Hub *h)
{
        if (h->state != HUB_STOPPING)
                (void)sd_event_source_set_enabled(h->dispatch_event, SD_EVENT_ONESHOT);
}

static AttemptSlot *slot_take(Hub *h, HubChild *child)
{
        uint32_t i = h->free_slots[--h->n_free_slots];
        AttemptSlot *slot = &h->slots[i];
        *slot = (AttemptSlot){.ticket = ++h->next_ticket << 16 | i,
                .child = child,
                .sent_boot = clock_boot_usec()};
        child->slots_used++;
        return slot;
}

AttemptSlot *slot_find(Hub *h, uint64_t ticket)
{
        uint32_t i = ticket & 0xffff;
        return i < SLOTS_MAX && ticket && h->slots[i].ticket == ticket ? &h->slots[i] : NULL;
}

void slot_free(Hub *h, AttemptSlot *slot)
{
        slot->child->slots_used--;
        slot->ticket = 0;
        slot->delivery = NULL;
        h->free_slots[h->n_free_slots++] = (uint32_t)(slot - h->slots);
}

static HubChild *pool_choose(Hub *h)
{
        HubChild *best = NULL;
        for (unsigned i = 0; i < h->n_pool; i++) {
                HubChild *c = &h->pool[i];
                if (c->state != CHILD_READY || c->slots_used >= SLOTS_PER_PROCESS ||
                        link_queued(c->link) > LINK_QUEUE_HIGH)
                        continue;
                if (!best || c->slots_used < best->slots_used)
                        best = c;
        }
        return best;
}

// The ce-* headers of CloudEvents' binary mode, percent-encoded as its HTTP binding asks.
static void put_ce_header(Buf *b, Buf *scratch, const char *name, Slice escaped)
{
        static const char hex[] = "0123456789ABCDEF";
        _cleanup_(buf_deinitp) Buf plain = BUF_INIT(LIMIT_SUBJECT * 4);
        json_unescape(&plain, escaped);
        buf_reset(scratch);
        for (size_t i = 0; i < plain.len; i++) {
                uint8_t c = plain.data[i];
                if (c > 0x20 && c < 0x7f && c != '"' && c != '%') {
                        buf_add_char(scratch, (char)c);
                } else {
                        char out[3] = {'%', hex[c >> 4], hex[c & 15]};
                        buf_add(scratch, out, 3);
                }
        }
        wire_put_bytes(b, slice_of(name));
        wire_put_bytes(b, buf_slice(scratch));
}

static int body_of(Hub *h, const StoreRoute *route, DeliveryKey key, const Record *r,
        Slice *ret_headers, Slice *ret_body)
{
        *ret_headers = SLICE_NULL;
        *ret_body = route->format == BODY_CLOUDEVENTS ? r->json : r->data;
        Slice own_headers = SLICE_NULL, own_body = SLICE_NULL;
        if (route->flags & (ROUTE_OWN_BODY | ROUTE_OWN_HEADERS)) {
                int e = store_get_own(h->store, key, &own_headers, &own_body);
                if (e < 0)
                        return e;
        }
        if (route->flags & ROUTE_OWN_BODY)
                *ret_body = own_body;
        *ret_headers = own_headers;
        if (route->format != BODY_CLOUDEVENTS_BINARY)
                return 0;
        _cleanup_(buf_deinitp) Buf scratch = BUF_INIT(LIMIT_SUBJECT * 4);
        char time[CLOCK_RFC3339_MAX];
        buf_reset(&h->body);
        buf_add_slice(&h->body, own_headers);
        put_ce_header(&h->body, &scratch, "ce-specversion", SLICE_LIT("1.0"));
        put_ce_header(&h->body, &scratch, "ce-id", r->id);
        put_ce_header(&h->body, &scratch, "ce-source", r->source);
        put_ce_header(&h->body, &scratch, "ce-type", r->type);
        put_ce_header(&h->body, &scratch, "ce-subject", r->subject);
        put_ce_header(&h->body, &scratch, "ce-time", slice_of(clock_rfc3339(r->time_usec, time)));
        Slice schema = record_schema(r);
        if (schema.len > 0)
                put_ce_header(&h->body, &scratch, "ce-dataschema", schema);
        *ret_headers = buf_slice(&h->body);
        return h->body.error ? h->body.error : scratch.error;
}

static int attempt_put(Delivery *d, HubChild *child)
{
        HubSink *k = d->sink;
        Hub *h = k->hub;
        StoreEvent event;
        StoreRoute route;
        Record record;
        int r = store_get_event(h->store, d->key.seq, &event);
        if (r >= 0)
                r = store_event_route(&event, d->key.route, &route);
        if (r >= 0)
                r = record_parse(event.record, &record);
        if (r < 0)
                return r == -EBADMSG ? -EUCLEAN : r;
        MessageAttempt a = {.endpoint = k->endpoint,
                .generation = k->generation,
                .format = route.format,
                .method = {route.method, strnlen(route.method, sizeof(route.method))}};
        r = body_of(h, &route, d->key, &record, &a.headers, &a.body);
        if (r < 0)
                return r;
        char id[DELIVERY_ID_MAX];
        delivery_id(
                id, record.id, route.flags & (ROUTE_OWN_BODY | ROUTE_OWN_HEADERS) ? route.rule : 0);
        a.id = slice_of(id);
        FAILPOINT("hub.attempt-built");

        AttemptSlot *slot = slot_take(h, child);
        a.ticket = slot->ticket;
        message_put_attempt(link_begin(child->link, MESSAGE_ATTEMPT), &a);
        r = link_end(child->link, false);
        if (r < 0) {
                slot_free(h, slot);
                return 0;
        }
        slot->delivery = d;
        d->slot = (uint32_t)(slot - h->slots);
        if (d->alone) {
                TAILQ_REMOVE(&h->alone, d, link);
        } else {
                TAILQ_REMOVE(&k->ready, d, link);
                k->n_ready--;
        }
        TAILQ_INSERT_TAIL(&k->out, d, link);
        k->n_out++;
        d->state = DELIVERY_OUT;
        if (!d->first_usec)
                d->first_usec = clock_wall_usec();
        return 1;
}

// Within a read section. 1 = sent, 0 = not now, < 0 = this delivery cannot be read.
static int attempt_send(Delivery *d, HubChild *child)
{
        poison_at_stored(d->sink->hub, d->key.seq);
        int r = attempt_put(d, child);
        poison_past(child->hub);
        return r;
}

bool sink_usable(const HubSink *k)
{
        return !k->paused && !k->disabled && !k->removed && !k->endpoint_reason[0];
}

// What has been sent counts until its end is durable: a crash then repeats no more than the limit.
static bool sink_has_room(const HubSink *k)
{
        const SinkPolicy *p = &k->hub->config->sinks[k->index].policy;
        return k->n_out + k->n_settling < (uint64_t)p->in_flight;
}

static bool sink_may_send(const HubSink *k)
{
        if (!sink_usable(k) || k->n_ready == 0 || !sink_has_room(k))
                return false;
        return !k->hold.held || (!k->hold.probe_out && clock_boot_usec() >= k->hold.until_boot);
}

// Half of its room is taken by ends that are not durable yet: they are not to wait for company.
static bool sink_waits_for_commit(const HubSink *k)
{
        return k->n_ready > 0 && k->n_settling > 0 && k->n_settling >= k->n_out &&
               !sink_has_room(k) && !k->hold.held;
}

// A row that cannot be read: damaged ones are quarantined, one that is gone needs nothing more.
static void attempt_unreadable(Delivery *d, int error)
{
        Hub *h = d->sink->hub;
        log_write(LOG_ERR, &(LogFields){.message_id = MESSAGE_ID_STORE, .instance = d->sink->name},
                "sink %s: the stored event %llu cannot be read (%s): it leaves the queue for the "
                "quarantine",
                d->sink->name, (unsigned long long)d->key.seq, strerror(-error));
        if (error == -EUCLEAN)
                store_quarantine(batch_txn(h), d->key.seq);
        delivery_settle(d);
}

// Up to n attempts of one sink; true when something was sent.
static bool sink_send(HubSink *k, unsigned n, bool others_wait)
{
        Hub *h = k->hub;
        bool sent = false;
        while (n-- && sink_may_send(k)) {
                HubChild *child = pool_choose(h);
                if (!child || h->n_free_slots == 0)
                        break;
                if (others_wait && k->n_out >= SLOTS_PER_PROCESS * h->n_pool / 2)
                        break;
                Delivery *d = TAILQ_FIRST(&k->ready);
                bool probe = k->hold.held;
                int r = attempt_send(d, child);
                if (r < 0)
                        attempt_unreadable(d, r);
                if (r == 0)
                        break;
                if (r > 0 && probe) {
                        d->probe = true;
                        k->hold.probe_out = true;
                }
                sent |= r > 0;
        }
        return sent;
}

// What a dying process held: one at a time, through a process of its own.
static void isolation_send(Hub *h)
{
        HubChild *c = &h->pool[h->n_pool];
        Delivery *d = TAILQ_FIRST(&h->alone);
        while (d && (!sink_usable(d->sink) || !sink_has_room(d->sink)))
                d = TAILQ_NEXT(d, link);
        if (!d) {
                if (c->state == CHILD_READY && c->slots_used == 0 && TAILQ_EMPTY(&h->alone))
                        child_stop(c);
                return;
        }
        if (c->state == CHILD_DOWN && !c->restart_timer)
                child_birth(c);
        if (c->state != CHILD_READY || c->slots_used > 0)
                return;
        int r = attempt_send(d, c);
        if (r < 0)
                attempt_unreadable(d, r);
        else if (r > 0 && link_flush(c->link) < 0)
                child_kill(c, "it does not read what it is told");
}

static int dispatch_run(sd_event_source *e, void *userdata)
{
        Hub *h = userdata;
        HubSink *k;
        unsigned waiting = 0;
        LIST_FOREACH (k, &h->sinks, link) {
                if (sink_usable(k))
                        queue_refill(k);
                waiting += sink_may_send(k);
        }
        if (store_read_begin(h->store) < 0)
                return 0;
        bool more = waiting > 0;
        while (more) {
                more = false;
                LIST_FOREACH (k, &h->sinks, link)
                        more |= sink_send(k, SEND_AT_ONCE, waiting > 1);
        }
        isolation_send(h);
        store_read_end(h->store);
        for (unsigned i = 0; i < h->n_pool; i++)
                if (h->pool[i].link && link_flush(h->pool[i].link) < 0)
                        child_kill(&h->pool[i], "it does not read what it is told");
        if (waiting)
                FAILPOINT("hub.attempts-sent");
        bool hurry = false;
        LIST_FOREACH (k, &h->sinks, link) {
                queue_arm(k);
                hurry |= sink_waits_for_commit(k);
        }
        if (hurry)
                batch_hurry(h);
        return 0;
}

static int pool_verdict(HubChild *c, Slice payload)
{
        Hub *h = c->hub;
        MessageVerdict v;
        int r = message_get_verdict(payload, &v);
        if (r < 0)
                return r;
        AttemptSlot *slot = slot_find(h, v.ticket);
        if (!slot || slot->child != c || v.class >= _VERDICT_CLASS_MAX)
                return -EBADMSG;
        Delivery *d = slot->delivery;
        PingDone done = slot->ping_done;
        void *data = slot->ping_data;
        slot_free(h, slot);
        if (d)
                judge_verdict(d, &v);
        else if (done)
                done(&v, data);
        dispatch_wake(h);
        return 0;
}

static int pool_unsent(HubChild *c, Slice payload)
{
        Hub *h = c->hub;
        uint64_t ticket;
        int r = message_get_u64(payload, &ticket);
        if (r < 0)
                return r;
        AttemptSlot *slot = slot_find(h, ticket);
        if (!slot || slot->child != c)
                return -EBADMSG;
        Delivery *d = slot->delivery;
        if (!d && slot->ping_done)
                slot->ping_done(NULL, slot->ping_data);
        slot_free(h, slot);
        if (!d)
                return 0;
        HubSink *k = d->sink;
        if (d->probe)
                k->hold.probe_out = false;
        d->probe = false;
        TAILQ_REMOVE(&k->out, d, link);
        k->n_out--;
        d->state = DELIVERY_READY;
        if (d->alone) {
                TAILQ_INSERT_HEAD(&h->alone, d, link);
        } else {
                TAILQ_INSERT_HEAD(&k->ready, d, link);
                k->n_ready++;
        }
        dispatch_wake(h);
        return 0;
}

static int pool_endpoint_state(HubChild *c, Slice payload)
{
        Hub *h = c->hub;
        WireReader r = wire_reader(payload);
        uint32_t endpoint = wire_u32(&r), generation = wire_u32(&r);
        Slice reason = wire_bytes(&r);
        if (!wire_end(&r))
                return -EBADMSG;
        HubSink *k;
        LIST_FOREACH (k, &h->sinks, link) {
                if (k->endpoint != endpoint || k->generation != generation)
                        continue;
                (void)snprintf(
                        k->endpoint_reason, sizeof(k->endpoint_reason), "%.*s", SLICE_ARG(reason));
                if (reason.len)
                        log_write(LOG_WARNING,
                                &(LogFields){.message_id = MESSAGE_ID_MODULE_FAILED,
                                        .instance = k->name},
                                "sink %s: the endpoint is not usable: %s", k->name,
                                k->endpoint_reason);
                hub_notify(h);
                dispatch_wake(h);
        }
        return 0;
}

int pool_frame(HubChild *c, uint16_t type, Slice payload)
{
        switch (type) {
        case MESSAGE_VERDICT:
                return pool_verdict(c, payload);
        case MESSAGE_UNSENT:
                return pool_unsent(c, payload);
        case MESSAGE_ENDPOINT_STATE:
                return pool_endpoint_state(c, payload);
        default:
                return -EBADMSG;
        }
}

static void pool_tell_endpoint(HubChild *c, HubSink *k)
{
        if (!c->link || c->state < CHILD_STARTED || k->removed)
                return;
        _cleanup_(freep) char *options =
                json_dumps(k->hub->config->sinks[k->index].options, JSON_COMPACT);
        if (!options)
                return;
        MessageEndpoint m = {.endpoint = k->endpoint,
                .generation = k->generation,
                .name = slice_of(k->name),
                .options = slice_of(options)};
        message_put_endpoint(link_begin(c->link, MESSAGE_ENDPOINT), &m);
        if (link_end(c->link, true) < 0)
                child_kill(c, "it does not read what it is told");
}

void pool_ready(HubChild *c)
{
        HubSink *k;
        LIST_FOREACH (k, &c->hub->sinks, link)
                pool_tell_endpoint(c, k);
        dispatch_wake(c->hub);
}

void pool_send_endpoint(HubSink *k)
{
        Hub *h = k->hub;
        k->endpoint_reason[0] = 0;
        for (unsigned i = 0; i <= h->n_pool; i++)
                pool_tell_endpoint(&h->pool[i], k);
}

void pool_died(HubChild *c)
{
        Hub *h = c->hub;
        bool counted = false;
        for (unsigned i = 0; i < SLOTS_MAX && c->slots_used > 0; i++) {
                AttemptSlot *slot = &h->slots[i];
                if (!slot->ticket || slot->child != c)
                        continue;
                Delivery *d = slot->delivery;
                PingDone done = slot->ping_done;
                void *data = slot->ping_data;
                slot_free(h, slot);
                if (d)
                        judge_crashed(d);
                else if (done)
                        done(NULL, data);
                counted |= d != NULL;
        }
        // Unlike a verdict this does not wait for company: a death that a dying hub forgets is one more.
        if (counted)
                batch_commit(h);
        dispatch_wake(h);
}

// The sink's own time-out covers a whole attempt; twice that and HUNG_SEC more is a hang.
void dispatch_check_hung(Hub *h)
{
        uint64_t now = clock_boot_usec();
        for (unsigned i = 0; i < SLOTS_MAX; i++) {
                AttemptSlot *slot = &h->slots[i];
                HubSink *k = slot->delivery ? slot->delivery->sink : slot->ping_sink;
                if (!slot->ticket || !k)
                        continue;
                uint64_t timeout = (uint64_t)json_integer_value(
                        json_object_get(h->config->sinks[k->index].options, "timeout"));
                if (now - slot->sent_boot > 2 * timeout + HUNG_SEC * USEC_PER_SEC)
                        child_kill(slot->child, "an attempt is out far beyond its time-out");
        }
}

int sink_ping(HubSink *k, PingDone done, void *userdata, Reason *reason)
{
        Hub *h = k->hub;
        HubChild *c = pool_choose(h);
        if (!c || h->n_free_slots == 0)
                return reason_set(reason, -EAGAIN, "no sink process is ready");
        if (k->endpoint_reason[0])
                return reason_set(reason, -ENOTCONN, "%s", k->endpoint_reason);
        RecordOrigin origin;
        char material[64];
        uint64_t now = clock_wall_usec();
        (void)snprintf(
                material, sizeof(material), "ping:%s:%llu", k->name, (unsigned long long)now);
        EventDraft draft = {.time_usec = now,
                .type = SLICE_LIT("belfry.ping"),
                .subject = slice_of(k->name),
                .id_material = slice_of(material),
                .data = SLICE_LIT("{\"test\":true}")};
        Record record;
        buf_reset(&h->record);
        int r = record_origin_init(&origin, h->hostname, "belfry");
        if (r >= 0)
                r = record_build(&h->record, &origin, &draft, LIMIT_EVENT_DEFAULT, reason);
        if (r >= 0)
                r = record_parse(buf_slice(&h->record), &record);
        if (r < 0)
                return r;
        AttemptSlot *slot = slot_take(h, c);
        slot->ping_done = done;
        slot->ping_data = userdata;
        slot->ping_sink = k;
        const char *method = sink_methods[h->config->sinks[k->index].policy.method];
        MessageAttempt a = {.ticket = slot->ticket,
                .endpoint = k->endpoint,
                .generation = k->generation,
                .format = BODY_CLOUDEVENTS,
                .trace = true,
                .method = slice_of(method),
                .id = record.id,
                .body = record.json};
        message_put_attempt(link_begin(c->link, MESSAGE_ATTEMPT), &a);
        r = link_end(c->link, true);
        if (r < 0)
                slot_free(h, slot);
        return r;
}
