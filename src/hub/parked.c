// SPDX-License-Identifier: MIT
// What is owed to sinks that the configuration no longer has. It is parked: kept as it is, under the
// sink's number, until a sink of that name is back (the queue is then loaded as after a restart), or
// until somebody has it dropped. Dropping goes through the ledger, in commits of a bounded size; what
// it does not get done before a crash is parked still.
#include "hub/reload.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "event/messages.h"
#include "hub/commit.h"
#include "hub/hub.h"
#include "module/verdict.h"
#include "store/read.h"
#include <errno.h>

enum { DROP_AT_ONCE = 1024, DROP_SCAN = 4096 };

typedef struct ParkedWalk {
        Hub *hub;
        const Config *config;
        int (*each)(Hub *h, const ParkedSink *p, void *userdata);
        void *userdata;
} ParkedWalk;

static int parked_name(uint32_t number, const char *name, void *userdata)
{
        const ParkedWalk *w = userdata;
        ParkedSink p = {.number = (uint16_t)number, .name = name};
        for (size_t i = 0; i < w->config->n_sinks; i++)
                if (strcmp(w->config->sinks[i].name, name) == 0)
                        return 0;
        store_sink_usage(w->hub->store, p.number, &p.usage);
        return p.usage.deliveries ? w->each(w->hub, &p, w->userdata) : 0;
}

int parked_each(Hub *h, const Config *c, int (*each)(Hub *h, const ParkedSink *p, void *userdata),
        void *userdata)
{
        ParkedWalk w = {.hub = h, .config = c, .each = each, .userdata = userdata};
        return store_each_name(h->store, STORE_SINK, parked_name, &w);
}

typedef struct DropKeys {
        DeliveryKey keys[DROP_AT_ONCE];
        unsigned n;
} DropKeys;

static int drop_note(DeliveryKey key, const StoreOwed *o, void *userdata)
{
        DropKeys *k = userdata;
        k->keys[k->n++] = key;
        return k->n == N_ELEMENTS(k->keys);
}

static int drop_commit(Hub *h, const DropKeys *k)
{
        StoreVerdict v = {.class = VERDICT_REJECTED,
                .when_usec = clock_wall_usec(),
                .detail = SLICE_LIT("dropped with its sink")};
        for (unsigned i = 0; i < k->n; i++)
                store_end(batch_txn(h), k->keys[i], END_DISCARDED, &v);
        return batch_try_commit(h);
}

// Those that never failed: the rest of the events is skipped.
static int drop_fresh(Hub *h, uint16_t sink, DropKeys *k)
{
        uint64_t cursor = 1, before;
        do {
                before = cursor;
                int r = store_read_begin(h->store);
                if (r < 0)
                        return r;
                r = store_scan_fresh(h->store, sink, &cursor, DROP_SCAN, k->keys, NULL,
                        N_ELEMENTS(k->keys), &k->n);
                store_read_end(h->store);
                if (r == -EUCLEAN)
                        store_quarantine(batch_txn(h), cursor++);
                else if (r < 0)
                        return r;
                r = drop_commit(h, k);
                if (r < 0)
                        return r;
        } while (k->n || cursor != before);
        return 0;
}

// Those that wait, are parked or are to be sent alone.
static int drop_owed(Hub *h, uint16_t sink, DropKeys *k)
{
        for (;;) {
                SinkUsage before, after;
                k->n = 0;
                int r = store_read_begin(h->store);
                if (r < 0)
                        return r;
                r = store_each_owed(h->store, sink, drop_note, k);
                store_read_end(h->store);
                if (r < 0 || k->n == 0)
                        return r;
                store_sink_usage(h->store, sink, &before);
                r = drop_commit(h, k);
                if (r < 0)
                        return r;
                store_sink_usage(h->store, sink, &after);
                if (after.deliveries >= before.deliveries)
                        return -EUCLEAN; // rows that lead nowhere: the scrub's business
        }
}

static int drop_sink(Hub *h, const ParkedSink *p, void *userdata)
{
        Diagnostics *d = userdata;
        char path[LIMIT_NAME + 8];
        _cleanup_(freep) DropKeys *k = calloc(1, sizeof(*k));
        int r = k ? drop_fresh(h, p->number, k) : -ENOMEM;
        if (r >= 0)
                r = drop_owed(h, p->number, k);
        (void)snprintf(path, sizeof(path), "sinks.%s", p->name);
        SinkUsage left;
        store_sink_usage(h->store, p->number, &left);
        unsigned long long n = p->usage.deliveries - left.deliveries;
        log_write(LOG_NOTICE, &(LogFields){.message_id = MESSAGE_ID_RELOADED, .instance = p->name},
                "sink %s: dropped %llu of its deliveries, as asked", p->name, n);
        diagnose(d, SEVERITY_WARNING, (Place){0}, path, "dropped %llu deliveries", n);
        if (r < 0)
                diagnose(d, SEVERITY_WARNING, (Place){0}, path,
                        "%llu deliveries could not be dropped and stay parked: %s",
                        (unsigned long long)left.deliveries, strerror(-r));
        return 0;
}

void parked_drop(Hub *h, Diagnostics *d)
{
        (void)parked_each(h, h->config, drop_sink, d);
}
