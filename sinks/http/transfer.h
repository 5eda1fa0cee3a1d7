// SPDX-License-Identifier: MIT
// One attempt on one easy handle: the request as it goes out, the answer as it comes in, and the
// verdict at its end. Handles are reused; a Transfer owns copies of all it sends while it runs.
#pragma once

#include "base/buf.h"
#include "endpoint.h"
#include "link/message.h"
#include "module/verdict.h"
#include "pump.h"

enum {
        TRANSFER_DETAIL_MAX = 256,  // words for people in a verdict
        TRANSFER_TRACE_MAX = 16384, // a traced exchange
        TRANSFER_KEEP = 16 * 1024,  // body memory an idle transfer keeps
};

typedef struct Transfer {
        CURL *easy;
        Pump *pump;
        Target *target;   // while running
        uint64_t applied; // serial of the target whose options the handle carries; 0 = none
        uint64_t ticket;
        uint32_t endpoint;
        bool running;
        bool trace;
        bool lingering; // its verdict is given, its body is still read

        Buf body, text; // text: header lines, each ended by NUL
        struct curl_slist *nodes;
        size_t n_nodes;
        char method[16];

        // The answer so far.
        unsigned status; // of the last head begun
        bool head_done;  // of a final head
        bool unparsable; // a status line that is none
        bool address_refused;
        bool sending;          // a connection was there: bytes may have gone out
        size_t n_head, n_body; // bytes
        uint64_t retry_after_usec;
        uint64_t head_usec;             // monotonic, when head_done was set
        char note[TRANSFER_DETAIL_MAX]; // status line, Location
        char error[CURL_ERROR_SIZE];
        Buf exchange; // traced bytes
} Transfer;

int transfer_init(Transfer *t, Pump *pump) _must_use_;
void transfer_deinit(Transfer *t); // not running

// Lays the request out and hands it to the pump. Returns 0 (the pump's done() follows, perhaps
// before this returns), -EINVAL with a reason (the request is no good and can never be sent) or
// -ENOMEM.
int transfer_begin(Transfer *t, Target *target, const MessageAttempt *a, Reason *reason) _must_use_;

// What became of it. Slices borrow from t and stand until the next transfer_begin().
void transfer_verdict(Transfer *t, CURLcode result, MessageVerdict *ret);
void transfer_end(
        Transfer *t); // gives the target back, shrinks buffers; the handle is out of the pump
