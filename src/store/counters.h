// SPDX-License-Identifier: MIT
// What the store holds, in numbers, as kept with each commit. Knows nothing of LMDB.
#pragma once

#include "base/buf.h"
#include <stdint.h>

enum { CHAIN_SIZE = 16 };

typedef struct SinkCounter {
        uint64_t deliveries, bytes;
        uint64_t oldest; // a lower bound
        bool stale;      // oldest may have ended; sinks_settle_oldest() will look
} SinkCounter;

typedef struct Counters {
        uint64_t commit, next_seq, next_dead;
        uint8_t chain[CHAIN_SIZE];
        uint64_t events, event_bytes, dead, dead_bytes, ledger_bytes, quarantined, gaps;
        SinkCounter *sinks; // by number
        uint64_t *state;    // bytes, by number of the source
        uint32_t n_sinks, n_state;
} Counters;

int counters_copy(Counters *to, const Counters *from) _must_use_;
void counters_deinit(Counters *c);
SinkCounter *counters_sink(Counters *c, uint32_t number); // NULL: no memory
uint64_t *counters_state(Counters *c, uint32_t source);   // NULL: no memory or no such number
void counters_encode(Buf *out, const Counters *c);
int counters_decode(Slice body, Counters *ret) _must_use_; // -EUCLEAN, -ENOMEM
