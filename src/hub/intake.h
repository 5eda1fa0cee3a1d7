// SPDX-License-Identifier: MIT
// A source as the hub sees it, and what it says: events, state and positions go into the open
// transaction (intake.c).
#pragma once

#include "base/limits.h"
#include "event/record.h"
#include "hub/child.h"
#include <sys/queue.h>

typedef struct Hub Hub;
typedef struct HubSource HubSource;

struct HubSource {
        Hub *hub;
        char name[LIMIT_NAME + 1];
        unsigned index;  // in hub->config
        uint32_t number; // in the store
        RecordOrigin origin;
        HubChild child;
        bool paused;  // told so
        bool flooded; // killed for sending on although it was; now the first batch is too much
        uint64_t paused_since_boot, paused_bytes;
        bool removed;
        uint64_t batch_confirm; // newest batch in the open transaction
        bool confirm_pending;
        unsigned shrunk; // how often its batches were made smaller, because one did not fit
        uint64_t events, last_event_usec, unmatched;
        char degraded[REASON_MAX];
        LIST_ENTRY(HubSource) link;
};

int source_frame(HubChild *c, uint16_t type, Slice payload) _must_use_;
int source_send_start(HubSource *s) _must_use_;
// START with the position of source `number` (0: none); and the rows of state it asks for.
int source_put_start(
        HubChild *c, uint32_t number, const json_t *options, bool for_command) _must_use_;
int source_get_state(HubChild *c, uint32_t number, Slice payload) _must_use_;
// One that was set aside unrouted (poison.c) goes through the rules after all. In the open transaction.
int intake_again(HubSource *s, Slice record) _must_use_;
// For events the hub itself makes for a source (salvage): one source.gap.
void intake_gap(
        HubSource *s, const char *why, const char *from, const char *to, const char *detail);
