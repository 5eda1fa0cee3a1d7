// SPDX-License-Identifier: MIT
// So many things in a span of time, after a pause up to a span's worth at once. The clock is the
// caller's.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct Rate {
        double tokens, max;
        uint64_t span_usec, filled_usec;
} Rate;

static inline Rate rate_new(int64_t max, uint64_t span_usec, uint64_t now)
{
        return (Rate){(double)max, (double)max, span_usec, now};
}

static inline bool rate_has(Rate *r, uint64_t now)
{
        double more = (double)(now - r->filled_usec) * r->max / (double)r->span_usec;
        r->tokens = r->tokens + more > r->max ? r->max : r->tokens + more;
        r->filled_usec = now;
        return r->tokens >= 1;
}

static inline void rate_take(Rate *r)
{
        r->tokens -= 1;
}

// How long until there is one; a little longer, so that whoever waits finds several.
static inline uint64_t rate_wait_usec(const Rate *r)
{
        double missing = 1 - r->tokens, usec = missing * (double)r->span_usec / r->max;
        return usec < 1000 ? 1000 : (uint64_t)usec + 1;
}
