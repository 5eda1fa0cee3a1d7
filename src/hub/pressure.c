// SPDX-License-Identifier: MIT
// Back-pressure: each sink owns a share of the store. At its limit the sources that route to it are
// paused (nothing is dropped), or its new deliveries become dead letters, as its policy says. Over
// 85 % of the store all sources pause, until 80 %: the last part is for verdicts. Dead letters have a
// share of their own.
#include "hub/pressure.h"

#include "base/clock.h"
#include "base/log.h"
#include "event/messages.h"
#include "hub/child.h"
#include "hub/commit.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "hub/status.h"
#include "link/message.h"
#include "store/read.h"

enum {
        TIGHT_PERCENT = 70, // more of the store than this in use, or less room than
        TIGHT_ROOM = 16u << 20,
        ROOM_RETRY_MSEC = 250,  // before what did not fit is tried again, twice as long each time,
        ROOM_RETRY_DOUBLES = 7, // up to 32 s
};

static uint64_t dead_share(const Hub *h)
{
        return h->config->store.size / 10;
}

bool pressure_tight(const Hub *h)
{
        StoreUsage u;
        store_usage(h->store, &u);
        return h->refused || u.used > u.size / 100 * TIGHT_PERCENT || u.size - u.used < TIGHT_ROOM;
}

bool pressure_dead_full(Hub *h)
{
        if (h->config->store.dead_full != 0)
                return false;
        StoreUsage u;
        store_usage(h->store, &u);
        return u.dead_bytes >= dead_share(h);
}

static int dead_oldest(const StoreDead *d, void *userdata)
{
        *(uint64_t *)userdata = d->dead;
        return 1;
}

// dead_full = "drop-oldest": the named policy under which something leaves undelivered.
static void pressure_trim_dead(Hub *h)
{
        StoreUsage u;
        store_usage(h->store, &u);
        for (unsigned i = 0;
                i < 64 && h->config->store.dead_full != 0 && u.dead_bytes > dead_share(h); i++) {
                uint64_t oldest = 0;
                if (store_read_begin(h->store) < 0)
                        return;
                int r = store_each_dead(h->store, 0, dead_oldest, &oldest);
                store_read_end(h->store);
                if (r != 1 || store_dead_drop(batch_txn(h), oldest) < 0)
                        return;
                batch_note(h, 64, 0);
                store_usage(h->store, &u);
        }
}

static bool rule_takes(const ConfigRule *rule, const char *source)
{
        if (!rule->enabled)
                return false;
        if (!rule->from || !rule->from[0])
                return true;
        for (char **f = rule->from; *f; f++)
                if (strcmp(*f, source) == 0)
                        return true;
        return false;
}

static bool source_feeds_full(const HubSource *s)
{
        Hub *h = s->hub;
        for (size_t i = 0; i < h->config->n_rules; i++) {
                const ConfigRule *rule = &h->config->rules[i];
                if (!rule_takes(rule, s->name))
                        continue;
                for (char **to = rule->to; to && *to; to++)
                        for (size_t k = 0; k < h->config->n_sinks; k++)
                                if (strcmp(h->config->sinks[k].name, *to) == 0 &&
                                        h->sink_of[k]->full &&
                                        h->config->sinks[k].policy.queue.on_full ==
                                                QUEUE_FULL_PAUSE)
                                        return true;
        }
        return false;
}

static void source_pause(HubSource *s, bool pause)
{
        if (s->paused == pause)
                return;
        s->paused = pause;
        s->flooded = false;
        s->paused_since_boot = clock_boot_usec();
        s->paused_bytes = 0;
        if (s->child.link && s->child.state >= CHILD_STARTED &&
                link_send(s->child.link, pause ? MESSAGE_PAUSE : MESSAGE_RESUME, SLICE_NULL) < 0)
                child_kill(&s->child, "it does not read what it is told");
        hub_notify(s->hub);
}

static bool sink_update_full(HubSink *k)
{
        SinkUsage u;
        store_sink_usage(k->hub->store, k->number, &u);
        uint64_t share = k->hub->config->sinks[k->index].policy.queue.size;
        bool full = k->full ? u.bytes > share - share / 10 : u.bytes >= share;
        if (full && !k->full)
                log_write(LOG_WARNING,
                        &(LogFields){.message_id = MESSAGE_ID_FULL, .instance = k->name},
                        "sink %s: its share of the store is full (%llu bytes): %s", k->name,
                        (unsigned long long)u.bytes,
                        k->hub->config->sinks[k->index].policy.queue.on_full == QUEUE_FULL_PAUSE
                                ? "the sources that feed it are paused"
                                : "new deliveries become dead letters");
        bool changed = full != k->full;
        k->full = full;
        return changed;
}

static bool pressure_look(Hub *h)
{
        StoreUsage u;
        store_usage(h->store, &u);
        bool was = h->all_paused, changed = false, over = was && !h->refused;
        over = u.used > u.size / 100 * (over ? 80 : 85);
        h->all_paused = over || (h->refused && clock_boot_usec() < h->room_retry_boot);
        if (over && !was)
                log_write(LOG_WARNING, &(LogFields){.message_id = MESSAGE_ID_FULL},
                        "the store is filled to 85 %%: all sources are paused until it is below 80 "
                        "%%");
        HubSink *k;
        LIST_FOREACH (k, &h->sinks, link)
                changed |= sink_update_full(k);
        pressure_trim_dead(h);
        return changed || h->all_paused != was;
}

static void pause_sources(Hub *h)
{
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                source_pause(s, h->all_paused || source_feeds_full(s));
}

void pressure_update(Hub *h)
{
        if (pressure_look(h))
                pause_sources(h);
}

void pressure_apply(Hub *h)
{
        (void)pressure_look(h);
        pause_sources(h);
}

static int pressure_on_room(sd_event_source *e, uint64_t usec, void *userdata)
{
        pressure_update(userdata);
        return 0;
}

void pressure_refused(Hub *h)
{
        unsigned n = h->refused < ROOM_RETRY_DOUBLES ? h->refused : ROOM_RETRY_DOUBLES;
        uint64_t wait = (uint64_t)ROOM_RETRY_MSEC * USEC_PER_MSEC << n;
        if (h->refused++ == 0)
                log_write(LOG_WARNING, &(LogFields){.message_id = MESSAGE_ID_FULL},
                        "what came did not fit into the store (option store.size): its sources go "
                        "back to what is durable, all sources wait for room");
        h->refused_ever++;
        h->room_retry_boot = clock_boot_usec() + wait;
        if (h->room_timer)
                (void)sd_event_source_set_time(h->room_timer, h->room_retry_boot);
        else if (sd_event_add_time(h->event, &h->room_timer, CLOCK_BOOTTIME, h->room_retry_boot,
                         USEC_PER_MSEC, pressure_on_room, h) < 0)
                log_error("out of memory: sources wait until the next commit");
        if (h->room_timer)
                (void)sd_event_source_set_enabled(h->room_timer, SD_EVENT_ONESHOT);
        pressure_update(h);
}
