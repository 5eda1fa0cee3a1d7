// SPDX-License-Identifier: MIT
// What the files with the methods' bodies share: the table is control_methods.c's.
#pragma once

#include "hub/control.h"
#include "hub/hub.h"

int control_source_command(ControlCall *c, void *hub); // commands.c
extern const ControlMethod control_methods[];
extern const size_t n_control_methods;

// One turn of a search holds the store's read transaction at most this long.
enum { CONTROL_STEP_USEC = 5 * 1000, CONTROL_STEP_CHECK = 64 };

// Does this webhook-id (or event id) name that delivery? rule 0: the event's own id.
bool control_id_matches(const char *wanted, Slice event_id, uint32_t rule, bool own);
// The rule part of a delivery's id: the rule's hash where it made body or headers, else 0.
uint32_t control_route_hash(const StoreRoute *r);
json_t *control_json_text(Slice s);       // any bytes; invalid ones become U+FFFD
json_t *control_json_time(uint64_t usec); // null for 0
void control_set(json_t *o, const char *key, json_t *value); // steals; a failure leaves it out
json_t *control_dead_row(Hub *h, const StoreDead *d);

// control_queue.c, control_dead.c, control_tail.c
int control_why(ControlCall *c, void *hub);
int control_gaps_list(ControlCall *c, void *hub);
int control_gaps_ack(ControlCall *c, void *hub);
int control_dead_list(ControlCall *c, void *hub);
int control_dead_show(ControlCall *c, void *hub);
int control_dead_retry(ControlCall *c, void *hub);
int control_dead_drop(ControlCall *c, void *hub);
int control_tail(ControlCall *c, void *hub);

// For the rest of the hub.
int control_start(Hub *h, Reason *reason) _must_use_;
void control_stop(Hub *h);
void control_roles_apply(Hub *h);                   // after a reload
void control_unknown_of(const Config *c, Buf *ret); // those that c names in vain
const char *control_unknown(
        const Hub *h); // configured users and groups that do not exist; "" = none
void control_tail_event(Hub *h, const Record *r, unsigned n_routes); // for tail clients
