// SPDX-License-Identifier: MIT
// What stands in the store's tables, as its callers see it. Slices are borrowed from the map and from
// whoever fills a row in.
#pragma once

#include "base/buf.h"
#include <stdint.h>

typedef struct DeliveryKey {
        uint64_t seq;
        uint16_t route;
} DeliveryKey;

typedef enum RouteFlags {
        ROUTE_OWN_BODY = 1,    // bodies row: headers and body; id gets the rule's hash
        ROUTE_OWN_HEADERS = 2, // bodies row: headers; body by format; id gets the rule's hash
        ROUTE_TEST = 4,
} RouteFlags;

typedef struct StoreRoute {
        uint16_t sink;
        uint8_t flags;
        uint8_t format;    // BodyFormat
        char method[8];    // NUL-padded
        uint32_t rule;     // rule_hash of the (first) rule
        Slice own_headers; // in: for put; (bytes name, bytes value)*
        Slice own_body;
} StoreRoute;

typedef struct StoreEvent {
        uint64_t seq;
        uint16_t n_routes;
        uint32_t source;
        uint64_t stored_usec; // wall
        Slice record;
        Slice routes_raw; // store_event_route() reads it
} StoreEvent;

typedef enum OwedState {
        OWED_WAITS,  // due at due_usec
        OWED_PARKED, // until something else ends or a person acts
        OWED_ENDED,  // done; kept only until the event's other routes have ended
        OWED_ALONE,  // was out when a sink died: re-sent alone; crashes counts
        _OWED_STATE_MAX,
} OwedState;

typedef struct StoreOwed {
        uint8_t state; // OwedState
        uint8_t class; // VerdictClass of the last attempt
        uint16_t status;
        uint16_t attempts;   // spent
        uint8_t crashes;     // out alone when a sink process died
        uint64_t due_usec;   // wall
        uint64_t first_usec; // wall, of the first attempt
        uint64_t since_usec; // wall, when it came into this state
        char detail[96];     // NUL-terminated
} StoreOwed;

typedef enum DeliveryEnd {
        END_DELIVERED,
        END_DEAD,
        END_DISCARDED,
        _DELIVERY_END_MAX,
} DeliveryEnd;
const char *delivery_end_to_string(DeliveryEnd e);

// What a ledger entry says: one attempt, or one end.
typedef enum LedgerKind {
        LEDGER_ATTEMPT_FAILED,
        LEDGER_DELIVERED,
        LEDGER_DEAD,
        LEDGER_DISCARDED,
        LEDGER_RETRIED, // from the dead letters
        _LEDGER_KIND_MAX,
} LedgerKind;

typedef struct StoreVerdict { // what is remembered of an attempt or an end
        uint8_t class;
        uint16_t status;
        uint16_t attempts;
        uint64_t when_usec;
        uint32_t took_usec;
        Slice detail;
} StoreVerdict;

typedef struct DueDelivery {
        DeliveryKey key;
        uint64_t due_usec;
        StoreOwed owed;
} DueDelivery;

typedef struct StoreDead {
        uint64_t dead;
        uint16_t sink;
        uint32_t rule;
        uint32_t source;
        const char *reason; // short word
        StoreRoute route;   // with own_headers and own_body
        StoreVerdict verdict;
        Slice record;
} StoreDead;

typedef struct StoreGap {
        uint64_t seq;
        uint32_t source;
        Slice record;
} StoreGap;

typedef struct LedgerEntry {
        LedgerKind kind;
        uint64_t seq;
        uint16_t route, sink;
        uint32_t rule;
        char event_id[33]; // hex
        StoreVerdict verdict;
} LedgerEntry;
