// SPDX-License-Identifier: MIT
// Sinks and the window of each: at most LIMIT_WINDOW of its deliveries are in memory, and those that
// are out; the rest is on disk (queue.c).
#pragma once

#include "base/limits.h"
#include "base/reason.h"
#include "store/store.h"
#include <sys/queue.h>
#include <systemd/sd-event.h>
#include <uthash.h>

typedef struct Hub Hub;
typedef struct HubSink HubSink;
typedef struct Delivery Delivery;

typedef enum DeliveryState { DELIVERY_READY, DELIVERY_OUT, DELIVERY_SETTLING } DeliveryState;

struct Delivery {
        DeliveryKey key;
        HubSink *sink;
        DeliveryState state;
        bool probe; // out as the endpoint's probe: spends no attempt
        bool alone; // to be sent by the isolation process
        uint8_t crashes;
        uint16_t attempts;          // spent before this one
        uint32_t slot;              // in hub->slots while out
        uint64_t first_usec;        // wall, first attempt; 0 = none yet
        TAILQ_ENTRY(Delivery) link; // in ready, out, settling or hub->alone
        UT_hash_handle hh;
};
TAILQ_HEAD(DeliveryList, Delivery);

typedef struct SinkHold {
        bool held;
        uint64_t since_boot, until_boot; // no probe before until_boot
        unsigned probes;                 // made since it is held
        bool probe_out;
        bool at_once; // by Retry-After, not by five failures
} SinkHold;

struct HubSink {
        Hub *hub;
        char name[LIMIT_NAME + 1];
        unsigned index;  // in hub->config
        uint16_t number; // in the store
        uint32_t endpoint, generation;
        bool paused, disabled, removed;   // paused and disabled survive a restart (meta)
        char endpoint_reason[REASON_MAX]; // the sink says it is unusable; "" = usable
        struct DeliveryList ready, out, settling;
        unsigned n_ready, n_out, n_settling;
        Delivery *by_key;
        uint64_t cursor;    // fresh events before it have been looked at
        bool fresh_on_disk; // there may be fresh ones at or behind the cursor
        uint64_t next_due_wall;
        uint64_t next_due_open; // of what the open transaction defers: no scan sees that yet
        bool sweeping;          // after a release: everything that waits is due now
        uint64_t sweep_since_usec;
        DueDelivery sweep_at;
        bool sweep_started;
        SinkHold hold;
        unsigned failures_in_row;
        sd_event_source *timer; // hold, next due, expiry
        bool full;              // over its share
        uint64_t delivered, failed, dead;
        uint64_t last_success_usec, last_failure_usec;
        uint8_t last_class;
        uint16_t last_status;
        char last_detail[256];
        LIST_ENTRY(HubSink) link;
};

HubSink *sink_by_number(Hub *h, uint16_t number);
Delivery *delivery_get(HubSink *k, DeliveryKey key);
Delivery *delivery_add(HubSink *k, DeliveryKey key); // into ready; NULL when memory is out
void delivery_settle(Delivery *d);             // its end or deferral is in the open transaction
void queue_fresh(HubSink *k, DeliveryKey key); // just committed
void queue_refill(HubSink *k);                 // from disk when the window has room
void queue_committed(HubSink *k);              // frees what settled
void queue_undo(HubSink *k);           // what settled did not get onto the disk: it is ready again
void queue_release(HubSink *k);        // all that waits is due now
void queue_arm(HubSink *k);            // the timer for the next thing this sink waits for
void queue_drop_memory(HubSink *k);    // forget the window (reload, stop); nothing durable changes
int queue_load(HubSink *k) _must_use_; // at start: crashes, what was out alone
