// SPDX-License-Identifier: MIT
// The window of each sink: a bounded part of its queue in memory, the rest on disk. Fresh deliveries
// come straight from a commit while the window has room; otherwise from a scan behind the cursor.
// Those that wait come from the table of due times. A delivery stays known here until what the
// verdict wrote is committed, so that no scan of the older snapshot brings it twice.
#include "hub/queue.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "event/messages.h"
#include "hub/commit.h"
#include "hub/dispatch.h"
#include "hub/hub.h"
#include "hub/judge.h"
#include "store/read.h"
#include <errno.h>

HubSink *sink_by_number(Hub *h, uint16_t number)
{
        HubSink *k;
        LIST_FOREACH (k, &h->sinks, link)
                if (k->number == number)
                        return k;
        return NULL;
}

Delivery *delivery_get(HubSink *k, DeliveryKey key)
{
        Delivery *d;
        DeliveryKey padded;
        memset(&padded, 0, sizeof(padded)); // the hash is over all bytes
        padded.seq = key.seq;
        padded.route = key.route;
        HASH_FIND(hh, k->by_key, &padded, sizeof(padded), d);
        return d;
}

Delivery *delivery_add(HubSink *k, DeliveryKey key)
{
        Delivery *d = calloc(1, sizeof(*d));
        if (!d)
                return NULL;
        d->key.seq = key.seq;
        d->key.route = key.route;
        d->sink = k;
        d->state = DELIVERY_READY;
        HASH_ADD(hh, k->by_key, key, sizeof(d->key), d);
        TAILQ_INSERT_TAIL(&k->ready, d, link);
        k->n_ready++;
        return d;
}

static void delivery_forget(Delivery *d)
{
        HASH_DELETE(hh, d->sink->by_key, d);
        free(d);
}

void delivery_settle(Delivery *d)
{
        HubSink *k = d->sink;
        if (d->state == DELIVERY_READY) {
                if (d->alone) {
                        TAILQ_REMOVE(&k->hub->alone, d, link);
                } else {
                        TAILQ_REMOVE(&k->ready, d, link);
                        k->n_ready--;
                }
        } else if (d->state == DELIVERY_OUT) {
                TAILQ_REMOVE(&k->out, d, link);
                k->n_out--;
        }
        d->state = DELIVERY_SETTLING;
        TAILQ_INSERT_TAIL(&k->settling, d, link);
        k->n_settling++;
}

void queue_committed(HubSink *k)
{
        Delivery *d;
        while ((d = TAILQ_FIRST(&k->settling))) {
                TAILQ_REMOVE(&k->settling, d, link);
                delivery_forget(d);
        }
        k->n_settling = 0;
        if (k->next_due_open < k->next_due_wall)
                k->next_due_wall = k->next_due_open;
        k->next_due_open = USEC_INFINITY;
}

void queue_undo(HubSink *k)
{
        Delivery *d;
        while ((d = TAILQ_FIRST(&k->settling))) {
                TAILQ_REMOVE(&k->settling, d, link);
                d->state = DELIVERY_READY;
                d->probe = false;
                if (d->alone) {
                        TAILQ_INSERT_HEAD(&k->hub->alone, d, link);
                } else {
                        TAILQ_INSERT_HEAD(&k->ready, d, link);
                        k->n_ready++;
                }
        }
        k->n_settling = 0;
        // What a scan took out of the queue (a damaged row) is there still: look once more.
        k->cursor = 1;
        k->fresh_on_disk = true;
        k->next_due_wall = 0;
        k->next_due_open = USEC_INFINITY;
}

void queue_fresh(HubSink *k, DeliveryKey key)
{
        if (k->fresh_on_disk)
                return; // the scan will find it
        if (k->n_ready >= LIMIT_WINDOW || !delivery_add(k, key)) {
                k->fresh_on_disk = true;
                k->cursor = key.seq;
                return;
        }
        k->cursor = key.seq + 1;
}

static bool queue_take_due(HubSink *k, const DueDelivery *due)
{
        if (due->owed.state != OWED_WAITS || delivery_get(k, due->key))
                return false;
        Delivery *d = delivery_add(k, due->key);
        if (!d)
                return false;
        d->attempts = due->owed.attempts;
        d->crashes = due->owed.crashes;
        d->first_usec = due->owed.first_usec;
        return true;
}

enum { SCAN_CHUNK = LIMIT_ROUTES, SCAN_EVENTS = 4096 };

// After a release: all that waited when the endpoint came back, whatever its own due time. What
// failed again since then keeps its new time.
static void queue_sweep(HubSink *k)
{
        DueDelivery rows[SCAN_CHUNK];
        while (k->sweeping && k->n_ready < LIMIT_WINDOW) {
                unsigned n = 0;
                uint64_t next;
                int r = store_scan_due(k->hub->store, k->number,
                        k->sweep_started ? &k->sweep_at : NULL, USEC_INFINITY, rows, SCAN_CHUNK, &n,
                        &next);
                for (unsigned i = 0; i < n; i++)
                        if (rows[i].owed.since_usec <= k->sweep_since_usec)
                                (void)queue_take_due(k, &rows[i]);
                if (n) {
                        k->sweep_at = rows[n - 1];
                        k->sweep_started = true;
                }
                if (r < 0 || n < SCAN_CHUNK)
                        k->sweeping = false;
        }
}

static void queue_scan_due(HubSink *k)
{
        uint64_t now = clock_wall_usec();
        if (k->next_due_wall > now)
                return;
        DueDelivery rows[SCAN_CHUNK], last;
        bool begun = false;
        while (k->n_ready < LIMIT_WINDOW) {
                unsigned n = 0;
                uint64_t next = USEC_INFINITY;
                int r = store_scan_due(k->hub->store, k->number, begun ? &last : NULL, now, rows,
                        SCAN_CHUNK, &n, &next);
                for (unsigned i = 0; i < n; i++)
                        (void)queue_take_due(k, &rows[i]);
                if (n) {
                        last = rows[n - 1];
                        begun = true;
                }
                if (r < 0 || n < SCAN_CHUNK) {
                        k->next_due_wall = next;
                        return;
                }
        }
}

static void queue_quarantine(HubSink *k, uint64_t seq)
{
        log_write(LOG_ERR, &(LogFields){.message_id = MESSAGE_ID_STORE, .instance = k->name},
                "sink %s: the stored event %llu is damaged: it is kept in the quarantine, the rest "
                "goes on",
                k->name, (unsigned long long)seq);
        store_quarantine(batch_txn(k->hub), seq);
        batch_note(k->hub, 64, 0);
}

static void queue_scan_fresh(HubSink *k)
{
        DeliveryKey keys[SCAN_CHUNK];
        uint64_t bytes[SCAN_CHUNK], bad = 0;
        while (k->fresh_on_disk && k->n_ready < LIMIT_WINDOW) {
                unsigned n = 0;
                uint64_t before = k->cursor;
                int r = store_scan_fresh(k->hub->store, k->number, &k->cursor, SCAN_EVENTS, keys,
                        bytes, SCAN_CHUNK, &n);
                for (unsigned i = 0; i < n; i++)
                        if (!delivery_get(k, keys[i]) && !delivery_add(k, keys[i])) {
                                k->cursor = keys[i].seq;
                                return;
                        }
                if (r == -EUCLEAN) {
                        bad = k->cursor++;
                        break;
                }
                if (r < 0 || (n == 0 && k->cursor == before))
                        k->fresh_on_disk = false;
        }
        if (bad)
                queue_quarantine(k, bad);
}

void queue_refill(HubSink *k)
{
        if (k->n_ready > LIMIT_WINDOW / 2)
                return;
        bool due = k->sweeping || k->next_due_wall <= clock_wall_usec();
        if ((!due && !k->fresh_on_disk) || store_read_begin(k->hub->store) < 0)
                return;
        queue_sweep(k);
        queue_scan_due(k);
        queue_scan_fresh(k);
        store_read_end(k->hub->store);
}

void queue_release(HubSink *k)
{
        k->sweeping = true;
        k->sweep_started = false;
        k->sweep_since_usec = clock_wall_usec();
        dispatch_wake(k->hub);
}

enum { EXPIRE_AT_ONCE = 256, ASK_AGAIN_USEC = 10 * USEC_PER_MSEC };

static int queue_on_timer(sd_event_source *e, uint64_t usec, void *userdata)
{
        HubSink *k = userdata;
        Delivery *d;
        unsigned n = 0;
        // While the endpoint is held nothing else looks at ages.
        while (n < EXPIRE_AT_ONCE && k->hold.held && (d = TAILQ_FIRST(&k->ready)) &&
                judge_expired(d))
                n++;
        if (n < EXPIRE_AT_ONCE)
                dispatch_wake(k->hub);
        else
                queue_arm(k);
        return 0;
}

// When this sink has to be looked at again by itself. A pause, a missing process, a probe that is out:
// what ends them wakes the dispatcher. So a time that has passed already means that something else is
// awaited, or passed just now: it is asked for again soon, not at once, which would leave the loop no
// time for anything else.
void queue_arm(HubSink *k)
{
        uint64_t boot = clock_boot_usec(), wall = clock_wall_usec(), at = USEC_INFINITY;
        if (k->next_due_wall != USEC_INFINITY)
                at = boot + (k->next_due_wall > wall ? k->next_due_wall - wall : 0);
        if (k->hold.held && k->n_ready)
                at = k->hold.until_boot;
        else if (k->hold.held && at < k->hold.until_boot)
                at = k->hold.until_boot;
        if (!sink_usable(k) || k->hold.probe_out || at == USEC_INFINITY) {
                if (k->timer)
                        (void)sd_event_source_set_enabled(k->timer, SD_EVENT_OFF);
                return;
        }
        if (at < boot + ASK_AGAIN_USEC)
                at = boot + ASK_AGAIN_USEC;
        if (!k->timer) {
                if (sd_event_add_time(k->hub->event, &k->timer, CLOCK_BOOTTIME, at, 1000,
                            queue_on_timer, k) < 0)
                        return;
                (void)sd_event_source_set_priority(k->timer, PRIORITY_DISPATCH);
        } else {
                (void)sd_event_source_set_time(k->timer, at);
        }
        (void)sd_event_source_set_enabled(k->timer, SD_EVENT_ONESHOT);
}

void queue_drop_memory(HubSink *k)
{
        Delivery *d, *next;
        HASH_ITER (hh, k->by_key, d, next) {
                if (d->state == DELIVERY_OUT)
                        continue; // its verdict will come
                if (d->state == DELIVERY_SETTLING)
                        TAILQ_REMOVE(&k->settling, d, link);
                else if (d->alone)
                        TAILQ_REMOVE(&k->hub->alone, d, link);
                else
                        TAILQ_REMOVE(&k->ready, d, link);
                delivery_forget(d);
        }
        k->n_ready = k->n_settling = 0;
        k->cursor = 1;
        k->fresh_on_disk = true;
        k->next_due_wall = 0;
}

typedef struct QueueLoad {
        HubSink *sink;
        uint64_t latest; // no due time may be later: the clock was set back
        struct {
                DeliveryKey key;
                StoreOwed owed;
        } capped[256];
        unsigned n_capped;
} QueueLoad;

static int queue_load_owed(DeliveryKey key, const StoreOwed *o, void *userdata)
{
        QueueLoad *l = userdata;
        if (o->state == OWED_ALONE) {
                Delivery *d = delivery_add(l->sink, key);
                if (!d)
                        return -ENOMEM;
                TAILQ_REMOVE(&l->sink->ready, d, link);
                l->sink->n_ready--;
                d->alone = true;
                d->crashes = o->crashes;
                d->attempts = o->attempts;
                d->first_usec = o->first_usec;
                TAILQ_INSERT_TAIL(&l->sink->hub->alone, d, link);
        } else if (o->state == OWED_WAITS && o->due_usec > l->latest &&
                   l->n_capped < N_ELEMENTS(l->capped)) {
                l->capped[l->n_capped].key = key;
                l->capped[l->n_capped].owed = *o;
                l->capped[l->n_capped++].owed.due_usec = l->latest;
        }
        return 0;
}

int queue_load(HubSink *k)
{
        const SinkPolicy *p = &k->hub->config->sinks[k->index].policy;
        uint64_t longest = p->retry.base_usec ? p->retry.cap_usec : 0;
        for (size_t i = 0; i < p->retry.schedule.n; i++)
                if (p->retry.schedule.usec[i] > longest)
                        longest = p->retry.schedule.usec[i];
        _cleanup_(freep) QueueLoad *l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;
        l->sink = k;
        l->latest = clock_wall_usec() + longest + longest / 8 +
                    USEC_PER_SEC * 3600; // Retry-After's cap
        k->cursor = 1;
        k->fresh_on_disk = true;
        k->next_due_wall = 0;
        k->next_due_open = USEC_INFINITY;
        int r = store_read_begin(k->hub->store);
        if (r < 0)
                return r;
        r = store_each_owed(k->hub->store, k->number, queue_load_owed, l);
        store_read_end(k->hub->store);
        for (unsigned i = 0; i < l->n_capped; i++)
                store_defer(batch_txn(k->hub), l->capped[i].key, &l->capped[i].owed, NULL);
        return r;
}
