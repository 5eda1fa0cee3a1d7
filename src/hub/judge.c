// SPDX-License-Identifier: MIT
// Verdicts in: what becomes of a delivery and of its endpoint after an attempt. The class decides
// (module/verdict.h), the sink's policy says how long to wait. Everything is written into the open
// transaction; the delivery leaves memory when that is committed.
#include "hub/judge.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "event/messages.h"
#include "hub/commit.h"
#include "hub/hub.h"
#include "hub/pressure.h"
#include "hub/queue.h"
#include "hub/status.h"
#include "module/verdict.h"
#include "store/read.h"
#include <sys/random.h>

static const SinkPolicy *sink_policy(const HubSink *k)
{
        return &k->hub->config->sinks[k->index].policy;
}

// The wait before the attempt after `attempts` spent ones; USEC_INFINITY: no more.
static uint64_t retry_wait(const SinkPolicy *p, unsigned attempts)
{
        uint64_t wait;
        if (p->retry.base_usec) {
                if (attempts >= (uint64_t)p->retry.attempts)
                        return USEC_INFINITY;
                wait = p->retry.base_usec;
                for (unsigned i = 1; i < attempts && wait < p->retry.cap_usec; i++)
                        wait *= 2;
                wait = wait < p->retry.cap_usec ? wait : p->retry.cap_usec;
        } else {
                if (attempts >= p->retry.schedule.n)
                        return USEC_INFINITY;
                wait = p->retry.schedule.usec[attempts];
        }
        uint32_t random = 0;
        if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
                random = 0;                                 // no jitter is better than no retry
        return wait + (wait / 10) * (random % 1024) / 1024; // late by up to a tenth, never early
}

static StoreVerdict verdict_of(const Delivery *d, const MessageVerdict *v)
{
        return (StoreVerdict){
                .class = v->class,
                .status = v->status,
                .attempts = (uint16_t)(d->attempts + 1),
                .when_usec = clock_wall_usec(),
                .took_usec = v->total_usec > UINT32_MAX ? UINT32_MAX : (uint32_t)v->total_usec,
                .detail = v->detail,
        };
}

static int delivery_stored(Delivery *d, uint64_t *ret_usec)
{
        StoreEvent e;
        int r = store_read_begin(d->sink->hub->store);
        if (r < 0)
                return r;
        r = store_get_event(d->sink->hub->store, d->key.seq, &e);
        if (r >= 0)
                *ret_usec = e.stored_usec;
        store_read_end(d->sink->hub->store);
        return r;
}

static void delivery_defer(
        Delivery *d, uint8_t state, uint64_t due, unsigned attempts, const StoreVerdict *v)
{
        HubSink *k = d->sink;
        uint64_t now = clock_wall_usec();
        StoreOwed o = {
                .state = state,
                .class = v ? v->class : 0,
                .status = v ? v->status : 0,
                .attempts = (uint16_t)attempts,
                .crashes = d->crashes,
                .due_usec = due,
                .first_usec = d->first_usec ? d->first_usec : now,
                .since_usec = now,
        };
        if (v)
                (void)snprintf(o.detail, sizeof(o.detail), "%.*s", SLICE_ARG(v->detail));
        store_defer(batch_txn(k->hub), d->key, &o, v);
        if (state == OWED_WAITS && due < k->next_due_open)
                k->next_due_open = due;
}

// For the log; "" when it cannot be read.
static void delivery_event_id(Delivery *d, char ret[DELIVERY_ID_MAX])
{
        StoreEvent e;
        Record record;
        ret[0] = 0;
        if (store_read_begin(d->sink->hub->store) < 0)
                return;
        if (store_get_event(d->sink->hub->store, d->key.seq, &e) >= 0 &&
                record_parse(e.record, &record) >= 0)
                (void)snprintf(ret, DELIVERY_ID_MAX, "%.*s", SLICE_ARG(record.id));
        store_read_end(d->sink->hub->store);
}

void judge_bury(Delivery *d, const char *reason, const StoreVerdict *v)
{
        HubSink *k = d->sink;
        Hub *h = k->hub;
        if (pressure_dead_full(h)) {
                // No room among the dead letters: it stays where it is and asks again later.
                delivery_defer(d, OWED_WAITS, v->when_usec + 300 * USEC_PER_SEC, d->attempts, v);
        } else {
                store_bury(batch_txn(h), d->key, reason, v);
                k->dead++;
                if ((k->dead & (k->dead - 1)) == 0) { // 1, 2, 4, 8 ...: a storm in a few lines
                        char id[DELIVERY_ID_MAX];
                        delivery_event_id(d, id);
                        log_write(LOG_WARNING,
                                &(LogFields){.message_id = MESSAGE_ID_DEAD,
                                        .instance = k->name,
                                        .event_id = id[0] ? id : NULL},
                                "dead letter of sink %s (%s): %.*s; %llu since start, see: belfry "
                                "dead ls",
                                k->name, reason, SLICE_ARG(v->detail), (unsigned long long)k->dead);
                }
        }
        delivery_settle(d);
        batch_note(h, 256, 0);
}

bool judge_expired(Delivery *d)
{
        uint64_t stored, now = clock_wall_usec(), max = sink_policy(d->sink)->max_age_usec;
        if (delivery_stored(d, &stored) < 0 || stored + max > now)
                return false;
        StoreVerdict v = {.class = d->sink->last_class,
                .status = d->sink->last_status,
                .attempts = d->attempts,
                .when_usec = now,
                .detail = SLICE_LIT("older than max_age")};
        judge_bury(d, "expired", &v);
        return true;
}

static uint64_t hold_next_probe(const SinkHold *hold, uint64_t now)
{
        static const uint64_t first[] = {1, 2, 5};
        uint64_t wait = hold->probes < N_ELEMENTS(first)               ? first[hold->probes]
                        : now - hold->since_boot < 3600 * USEC_PER_SEC ? 10
                                                                       : 60;
        return now + wait * USEC_PER_SEC;
}

void hold_begin(HubSink *k, uint64_t until_boot, bool at_once)
{
        SinkHold *hold = &k->hold;
        if (!hold->held) {
                *hold = (SinkHold){
                        .held = true, .since_boot = clock_boot_usec(), .at_once = at_once};
                log_write(LOG_WARNING,
                        &(LogFields){.message_id = MESSAGE_ID_HELD, .instance = k->name},
                        "sink %s: the endpoint is held: %s%s%s", k->name,
                        verdict_class_to_string(k->last_class), k->last_detail[0] ? ": " : "",
                        k->last_detail);
                hub_notify(k->hub);
        }
        if (until_boot > hold->until_boot)
                hold->until_boot = until_boot;
        queue_arm(k);
}

void hold_end(HubSink *k, const char *why)
{
        if (!k->hold.held)
                return;
        k->hold = (SinkHold){0};
        k->failures_in_row = 0;
        log_write(LOG_NOTICE, &(LogFields){.message_id = MESSAGE_ID_RELEASED, .instance = k->name},
                "sink %s: the endpoint is released: %s", k->name, why);
        queue_release(k);
        hub_notify(k->hub);
}

static void judge_delivered(Delivery *d, const MessageVerdict *v)
{
        HubSink *k = d->sink;
        StoreVerdict sv = verdict_of(d, v);
        store_end(batch_txn(k->hub), d->key, END_DELIVERED, &sv);
        k->delivered++;
        k->last_success_usec = sv.when_usec;
        k->failures_in_row = 0;
        if (k->hold.held && (d->probe || !k->hold.at_once))
                hold_end(k, "it answers");
        delivery_settle(d);
        FAILPOINT("hub.verdict-noted");
        batch_note(k->hub, 64, 0);
}

static void sink_disable(HubSink *k)
{
        k->disabled = true;
        char key[64];
        (void)snprintf(key, sizeof(key), "disabled/%s", k->name);
        store_put_meta(batch_txn(k->hub), key, SLICE_LIT("410"));
        log_write(LOG_ERR, &(LogFields){.message_id = MESSAGE_ID_DISABLED, .instance = k->name},
                "sink %s: the endpoint answered 410 Gone: disabled, what follows is held; then: "
                "belfry resume %s",
                k->name, k->name);
        hub_notify(k->hub);
}

// A probe found the endpoint still down: nothing is spent, the delivery goes back to the front.
static void judge_probe_failed(Delivery *d, const MessageVerdict *v)
{
        HubSink *k = d->sink;
        uint64_t now = clock_boot_usec();
        k->hold.until_boot = hold_next_probe(&k->hold, now);
        if (v->retry_after_usec && now + v->retry_after_usec > k->hold.until_boot)
                k->hold.until_boot = now + v->retry_after_usec;
        TAILQ_REMOVE(&k->out, d, link);
        k->n_out--;
        d->state = DELIVERY_READY;
        d->probe = false;
        TAILQ_INSERT_HEAD(&k->ready, d, link);
        k->n_ready++;
        queue_arm(k);
}

static void judge_retry(Delivery *d, const MessageVerdict *v, const VerdictPolicy *policy)
{
        HubSink *k = d->sink;
        const SinkPolicy *p = sink_policy(k);
        StoreVerdict sv = verdict_of(d, v);
        unsigned attempts = d->attempts + (policy->spends_attempt ? 1 : 0);
        uint64_t wait = retry_wait(p, attempts ? attempts : 1), stored = sv.when_usec;
        bool over =
                wait == USEC_INFINITY || (policy->max_attempts && attempts >= policy->max_attempts);
        if (wait != USEC_INFINITY && v->retry_after_usec > wait)
                wait = v->retry_after_usec;
        (void)delivery_stored(d, &stored);
        if (over) {
                judge_bury(d, policy->max_attempts ? policy->name : "exhausted", &sv);
        } else if (sv.when_usec + wait > stored + p->max_age_usec) {
                judge_bury(d, "expired", &sv);
        } else {
                delivery_defer(d, OWED_WAITS, sv.when_usec + wait, attempts, &sv);
                delivery_settle(d);
                batch_note(k->hub, 128, 0);
        }
        uint64_t now = clock_boot_usec();
        if (policy->holds_at_once || (v->retry_after_usec && !policy->max_attempts))
                hold_begin(k,
                        now + (v->retry_after_usec ? v->retry_after_usec
                                      : over       ? USEC_PER_SEC
                                                   : wait),
                        true);
        else if (policy->counts_for_hold && k->failures_in_row >= 5)
                hold_begin(k, k->hold.held ? 0 : hold_next_probe(&(SinkHold){0}, now), false);
}

void judge_verdict(Delivery *d, const MessageVerdict *v)
{
        HubSink *k = d->sink;
        const VerdictPolicy *policy = verdict_policy(v->class);
        bool was_probe = d->probe;
        if (was_probe) {
                k->hold.probe_out = false;
                k->hold.probes++;
        }
        if (v->class == VERDICT_DELIVERED) {
                judge_delivered(d, v);
                return;
        }
        k->failed++;
        k->last_failure_usec = clock_wall_usec();
        k->last_class = v->class;
        k->last_status = v->status;
        (void)snprintf(k->last_detail, sizeof(k->last_detail), "%.*s", SLICE_ARG(v->detail));
        k->failures_in_row = policy->counts_for_hold ? k->failures_in_row + 1 : 0;
        bool still_down = policy->counts_for_hold || policy->holds_at_once;
        if (was_probe && still_down && k->hold.held) {
                judge_probe_failed(d, v);
                return;
        }
        if (was_probe && k->hold.held)
                hold_end(k, "it answers, though not with success");
        if (policy->retry) {
                judge_retry(d, v, policy);
                return;
        }
        StoreVerdict sv = verdict_of(d, v);
        judge_bury(d, policy->name, &sv);
        if (policy->disables)
                sink_disable(k);
}

void judge_crashed(Delivery *d)
{
        HubSink *k = d->sink;
        if (d->probe) {
                k->hold.probe_out = false;
                k->hold.until_boot = hold_next_probe(&k->hold, clock_boot_usec());
                d->probe = false;
        }
        TAILQ_REMOVE(&k->out, d, link);
        k->n_out--;
        if (d->alone && ++d->crashes >= 3) {
                TAILQ_INSERT_TAIL(&k->out, d, link); // judge_bury settles it from there
                k->n_out++;
                StoreVerdict v = {.class = VERDICT_NETWORK,
                        .attempts = d->attempts,
                        .when_usec = clock_wall_usec(),
                        .detail = SLICE_LIT(
                                "the sink process died three times with this delivery alone")};
                judge_bury(d, "sink-crashed", &v);
                return;
        }
        d->alone = true;
        d->state = DELIVERY_READY;
        TAILQ_INSERT_TAIL(&k->hub->alone, d, link);
        delivery_defer(d, OWED_ALONE, 0, d->attempts, NULL);
        batch_note(k->hub, 128, 0);
}

static void sink_meta_key(char out[static 64], const char *what, const HubSink *k)
{
        (void)snprintf(out, 64, "%s/%s", what, k->name);
}

void sink_set_paused(HubSink *k, bool paused)
{
        char key[64];
        sink_meta_key(key, "paused", k);
        k->paused = paused;
        batch_commit(k->hub); // what others have in it must not take this along
        store_put_meta(batch_txn(k->hub), key, paused ? SLICE_LIT("1") : SLICE_NULL);
        batch_commit(k->hub);
        hub_notify(k->hub);
}

void sink_resume(HubSink *k)
{
        char key[64];
        sink_meta_key(key, "disabled", k);
        batch_commit(k->hub);
        store_put_meta(batch_txn(k->hub), key, SLICE_NULL);
        k->disabled = false;
        sink_set_paused(k, false);
        hold_end(k, "resumed by hand");
        queue_release(k);
}

void sink_load_flags(HubSink *k)
{
        char key[64];
        Slice value;
        if (store_read_begin(k->hub->store) < 0)
                return;
        sink_meta_key(key, "paused", k);
        k->paused = store_get_meta(k->hub->store, key, &value) == 0;
        sink_meta_key(key, "disabled", k);
        k->disabled = store_get_meta(k->hub->store, key, &value) == 0;
        store_read_end(k->hub->store);
}
