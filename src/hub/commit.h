// SPDX-License-Identifier: MIT
// The one open transaction: when it is committed and what follows from that (commit.c).
#pragma once

#include "hub/queue.h"
#include "store/store.h"
#include <systemd/sd-event.h>

typedef struct Hub Hub;

typedef struct FreshDelivery {
        HubSink *sink;
        DeliveryKey key;
} FreshDelivery;

typedef struct Batch {
        StoreTxn *txn; // NULL: nothing to commit
        uint64_t began_boot;
        size_t bytes;
        unsigned n_events;
        bool grows;        // there are events in it
        bool hurry;        // it is committed as soon as nothing more is waiting to be read
        unsigned patience; // the next commit comes that many times last_commit_took after it
        FreshDelivery *fresh;
        size_t n_fresh, cap_fresh;
        uint64_t last_commit_end_boot, last_commit_took;
        sd_event_source *idle, *timer, *yield;
} Batch;

StoreTxn *batch_txn(Hub *h); // opens it and arms the commit
void batch_hurry(Hub *h);    // no more waiting for company: somebody needs its commit
void batch_note(Hub *h, size_t bytes, unsigned n_events); // counts, commits when over the limits
// Now. -ENOSPC: the map is full and nothing of the transaction is there; its sources are on their way
// back to what is durable, its verdicts will come again. Any other error of the store ends the process.
int batch_try_commit(Hub *h) _must_use_;
void batch_commit(Hub *h); // the same, for whom what happens to a dropped batch is enough
int batch_init(Hub *h) _must_use_;
