// SPDX-License-Identifier: MIT
// When the open transaction is committed, and what follows from it. Everything the hub learns
// between two commits (events, state, positions, verdicts) goes into ONE transaction. It is
// committed when nothing more is waiting to be read, or at 1 MB, or at 5 ms. Behind a commit that
// brought events the next one waits for company, the longer the more there were and the slower the
// disk is: a lone event waits for nothing, a stream does not pay two disk barriers for each handful.
// A commit error ends the process: after a restart the database says what holds. But a full map is no
// error of the disk: the transaction is dropped as a whole, its sources fall back to what is durable
// and wait, its deliveries are as if no verdict had come.
#include "hub/commit.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "base/log.h"
#include "event/messages.h"
#include "hub/child.h"
#include "hub/dispatch.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "hub/pressure.h"
#include "hub/queue.h"
#include "link/message.h"
#include <errno.h>
#include <systemd/sd-event.h>

// A commit costs the hub about as much CPU as ten events and blocks it for `took`. Waiting up to
// eight times that long leaves it at most a ninth of the time; LIMIT_BATCH_USEC bounds the latency.
enum {
        PATIENCE_MAX = 8,
        BATCH_SMALL = 1024, // bytes as batch_note() counts them: a handful of verdicts
};

static int batch_on_idle(sd_event_source *e, void *userdata);
static int batch_on_timer(sd_event_source *e, uint64_t usec, void *userdata);
static int batch_on_yield(sd_event_source *e, void *userdata);

int batch_init(Hub *h)
{
        int r = sd_event_add_defer(h->event, &h->batch.idle, batch_on_idle, h);
        if (r < 0)
                return r;
        (void)sd_event_source_set_priority(h->batch.idle, PRIORITY_COMMIT);
        (void)sd_event_source_set_enabled(h->batch.idle, SD_EVENT_OFF);
        r = sd_event_add_defer(h->event, &h->batch.yield, batch_on_yield, h);
        if (r < 0)
                return r;
        (void)sd_event_source_set_priority(h->batch.yield, PRIORITY_DISPATCH);
        (void)sd_event_source_set_enabled(h->batch.yield, SD_EVENT_OFF);
        r = sd_event_add_time(h->event, &h->batch.timer, CLOCK_BOOTTIME, 0, 1, batch_on_timer, h);
        if (r < 0)
                return r;
        (void)sd_event_source_set_priority(h->batch.timer, PRIORITY_VERDICT);
        return sd_event_source_set_enabled(h->batch.timer, SD_EVENT_OFF);
}

StoreTxn *batch_txn(Hub *h)
{
        Batch *b = &h->batch;
        if (!b->txn) {
                b->txn = store_begin(h->store);
                b->began_boot = clock_boot_usec();
                b->bytes = 0;
                b->n_events = 0;
                b->grows = b->hurry = false;
                (void)sd_event_source_set_enabled(b->idle, SD_EVENT_ONESHOT);
        }
        return b->txn;
}

// A source that never pauses would keep from running what comes behind intake: attempts, deaths. So
// behind a commit that was forced no source is read before those that wait have had their turn.
static void batch_yield(Hub *h)
{
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                if (s->child.link)
                        link_pause_read(s->child.link);
        (void)sd_event_source_set_enabled(h->batch.yield, SD_EVENT_ONESHOT);
}

static int batch_on_yield(sd_event_source *e, void *userdata)
{
        Hub *h = userdata;
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                if (s->child.link)
                        link_resume_read(s->child.link);
        return 0;
}

void batch_note(Hub *h, size_t bytes, unsigned n_events)
{
        Batch *b = &h->batch;
        b->bytes += bytes;
        b->n_events += n_events;
        // After a refused one in small steps, so that ends, which make room, surely fit.
        size_t most = h->refused ? BATCH_SMALL : LIMIT_BATCH_BYTES;
        if (b->bytes >= most || clock_boot_usec() - b->began_boot >= LIMIT_BATCH_USEC) {
                batch_commit(h);
                batch_yield(h);
        }
}

void batch_hurry(Hub *h)
{
        Batch *b = &h->batch;
        if (!b->txn || b->hurry)
                return;
        b->hurry = true;
        (void)sd_event_source_set_enabled(b->idle, SD_EVENT_ONESHOT);
}

// How long the open transaction should still wait for company.
static uint64_t batch_wait(const Batch *b, uint64_t now)
{
        if (b->hurry)
                return 0;
        // Only verdicts: nobody waits for them, and a crash repeats at most what was in flight.
        uint64_t until = b->n_events == 0
                                 ? b->began_boot + LIMIT_BATCH_USEC
                                 : b->last_commit_end_boot + b->last_commit_took * b->patience;
        if (until > b->began_boot + LIMIT_BATCH_USEC)
                until = b->began_boot + LIMIT_BATCH_USEC;
        return until > now ? until - now : 0;
}

static int batch_on_idle(sd_event_source *e, void *userdata)
{
        Hub *h = userdata;
        if (!h->batch.txn)
                return 0;
        uint64_t wait = batch_wait(&h->batch, clock_boot_usec());
        if (wait == 0) {
                batch_commit(h);
                return 0;
        }
        (void)sd_event_source_set_time_relative(h->batch.timer, wait);
        (void)sd_event_source_set_enabled(h->batch.timer, SD_EVENT_ONESHOT);
        return 0;
}

static int batch_on_timer(sd_event_source *e, uint64_t usec, void *userdata)
{
        batch_commit(userdata);
        return 0;
}

static void batch_tell_sources(Hub *h)
{
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link) {
                if (!s->confirm_pending)
                        continue;
                s->confirm_pending = false;
                if (!s->child.link)
                        continue;
                message_put_u64(link_begin(s->child.link, MESSAGE_DURABLE), s->batch_confirm);
                if (link_end(s->child.link, true) < 0)
                        child_kill(&s->child, "it does not read what it is told");
        }
}

// Nothing of the transaction is there. What a source holds in memory is ahead of that, so its process
// goes; the next one begins where the disk says, with smaller batches.
static void batch_drop(Hub *h)
{
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link) {
                if (!s->confirm_pending)
                        continue;
                s->confirm_pending = false;
                s->shrunk++;
                child_fall_back(&s->child);
        }
        HubSink *k;
        LIST_FOREACH (k, &h->sinks, link)
                queue_undo(k);
        h->batch.n_fresh = 0;
        pressure_refused(h);
        dispatch_wake(h);
}

int batch_try_commit(Hub *h)
{
        Batch *b = &h->batch;
        if (!b->txn)
                return 0;
        uint64_t began = clock_boot_usec();
        Reason reason = {0};
        int r = store_commit(TAKE_PTR(b->txn), &reason);
        if (r < 0 && r != -ENOSPC) {
                log_write(LOG_CRIT, &(LogFields){.message_id = MESSAGE_ID_STORE},
                        "the store did not take a commit: %s; restarting from what is durable",
                        reason.text);
                _exit(EXIT_FAILURE);
        }
        b->patience = b->n_events + 1 < PATIENCE_MAX ? b->n_events + 1 : PATIENCE_MAX;
        b->last_commit_end_boot = clock_boot_usec();
        b->last_commit_took = b->last_commit_end_boot - began;
        (void)sd_event_source_set_enabled(b->idle, SD_EVENT_OFF);
        (void)sd_event_source_set_enabled(b->timer, SD_EVENT_OFF);
        if (r == -ENOSPC) {
                batch_drop(h);
                return r;
        }

        if (b->grows)
                h->refused = 0;
        batch_tell_sources(h);
        FAILPOINT("hub.durable-told");
        HubSink *k;
        LIST_FOREACH (k, &h->sinks, link)
                queue_committed(k);
        for (size_t i = 0; i < b->n_fresh; i++)
                queue_fresh(b->fresh[i].sink, b->fresh[i].key);
        b->n_fresh = 0;
        pressure_update(h);
        dispatch_wake(h);
        return 0;
}

void batch_commit(Hub *h)
{
        (void)!batch_try_commit(h);
}
