// SPDX-License-Identifier: MIT
// Attempts out: which delivery of which sink goes to which process (dispatch.c).
#pragma once

#include "hub/child.h"
#include "hub/queue.h"
#include "link/message.h"

typedef struct Hub Hub;

// What is out: one slot an attempt. ticket = rising count << 16 | slot index.
typedef void (*PingDone)(const MessageVerdict *v, void *userdata);
typedef struct AttemptSlot {
        uint64_t ticket;    // 0 = free
        Delivery *delivery; // NULL for a ping
        HubChild *child;
        uint64_t sent_boot;
        PingDone ping_done;
        void *ping_data;
        HubSink *ping_sink;
} AttemptSlot;
enum { SLOTS_PER_PROCESS = 256, POOL_MAX = 17, SLOTS_MAX = SLOTS_PER_PROCESS * POOL_MAX };

void dispatch_wake(Hub *h); // soon, once
int dispatch_init(Hub *h) _must_use_;
int pool_frame(HubChild *c, uint16_t type, Slice payload) _must_use_;
void pool_ready(HubChild *c);        // endpoints are told
void pool_died(HubChild *c);         // what it held goes alone
void pool_send_endpoint(HubSink *k); // new generation to every process
bool sink_usable(const HubSink *k);  // not paused, disabled, removed, nor without what it needs
int sink_ping(HubSink *k, PingDone done, void *userdata, Reason *reason) _must_use_;
void slot_free(Hub *h, AttemptSlot *slot);
AttemptSlot *slot_find(Hub *h, uint64_t ticket);
void dispatch_check_hung(Hub *h); // kills a process whose attempt is out far too long
