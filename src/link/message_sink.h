// SPDX-License-Identifier: MIT
// The messages between hub and sink: endpoints, attempts, verdicts. The second half of
// link/message.h, which includes it and says what holds for all messages.
#pragma once

#include "base/wire.h"

typedef struct MessageEndpoint {
        uint32_t endpoint;   // the hub's number for the sink, the same until the hub restarts
        uint32_t generation; // rises with each reload that changes it
        Slice name, options; // options: JSON object by the sink's option table, references unresolved
} MessageEndpoint;
void message_put_endpoint(Buf *b, const MessageEndpoint *m);
int message_get_endpoint(Slice p, MessageEndpoint *ret) _must_use_;

typedef struct MessageEndpointState {
        uint32_t endpoint, generation;
        Slice reason; // "" = usable
} MessageEndpointState;
void message_put_endpoint_state(Buf *b, const MessageEndpointState *m);
int message_get_endpoint_state(Slice p, MessageEndpointState *ret) _must_use_;

// How the body was made, fixed when stored: what the sink says about content type and headers.
typedef enum BodyFormat {
        BODY_CLOUDEVENTS,        // the record's JSON text
        BODY_CLOUDEVENTS_BINARY, // data as body, head as ce-* headers (in `headers`)
        BODY_DATA,               // data alone
        BODY_RENDERED,           // a rule's own body
        _BODY_FORMAT_MAX,
        _BODY_FORMAT_INVALID = -22,
} BodyFormat;
const char *body_format_to_string(BodyFormat f);
BodyFormat body_format_from_string(const char *s); // _BODY_FORMAT_INVALID when unknown

typedef struct MessageAttempt {
        uint64_t ticket;     // the hub's number of this attempt
        uint32_t endpoint, generation;
        uint8_t format;      // BodyFormat
        bool trace;          // ping: report the whole exchange in the verdict
        Slice method, id;    // webhook-id
        Slice headers;       // rule's headers: (bytes name, bytes value)*, rendered and checked
        Slice body;
} MessageAttempt;
void message_put_attempt(Buf *b, const MessageAttempt *m);
int message_get_attempt(Slice p, MessageAttempt *ret) _must_use_;

typedef struct MessageVerdict {
        uint64_t ticket;
        uint8_t class;          // VerdictClass, module/verdict.h
        uint16_t status;        // HTTP status, 0 if none came
        uint64_t retry_after_usec; // from now; 0 = the endpoint did not say
        uint64_t total_usec, connect_usec, first_byte_usec;
        Slice detail;           // a few words for people, at most 256 bytes
        Slice trace;            // only when asked for
} MessageVerdict;
void message_put_verdict(Buf *b, const MessageVerdict *m);
int message_get_verdict(Slice p, MessageVerdict *ret) _must_use_;
