// SPDX-License-Identifier: MIT
// What became of one attempt, as the sink judges it, and what the hub does about each: the table of
// belfry-http(5). The sink maps its protocol onto a class; the hub acts on the class alone.
#pragma once

#include <stdbool.h>

typedef enum VerdictClass {
        VERDICT_DELIVERED,
        VERDICT_NETWORK,   // refused, reset, DNS, broken mid-way
        VERDICT_TIMEOUT,
        VERDICT_TLS,       // handshake or certificate
        VERDICT_SERVER,    // 408, 5xx
        VERDICT_THROTTLED, // 425, 429
        VERDICT_PROTOCOL,  // 101, other final 1xx, 000, 600 and above, unparsable
        VERDICT_CLIENT,    // 401, 404, 407, 409: retried at most 4 times
        VERDICT_REJECTED,  // other 4xx
        VERDICT_REDIRECT,  // 3xx
        VERDICT_GONE,      // 410
        VERDICT_FORBIDDEN, // the address is not allowed (link-local, metadata)
        VERDICT_ENDPOINT,  // the endpoint is not usable (credential missing): nothing was tried
        _VERDICT_CLASS_MAX,
        _VERDICT_CLASS_INVALID = -22,
} VerdictClass;

typedef struct VerdictPolicy {
        const char *name;        // "network"
        bool retry;              // else dead letter at once (or delivered)
        unsigned max_attempts;   // 0: as the endpoint's schedule says
        bool counts_for_hold;    // five of these in a row hold the endpoint
        bool holds_at_once;      // the endpoint waits for Retry-After or the delivery's own retry
        bool disables;           // the endpoint is disabled until resumed
        bool spends_attempt;
        const char *advice;      // what a person should do, for status and dead letters
} VerdictPolicy;

const VerdictPolicy *verdict_policy(VerdictClass c); // never NULL for a valid class
const char *verdict_class_to_string(VerdictClass c);
VerdictClass verdict_class_from_string(const char *s);
