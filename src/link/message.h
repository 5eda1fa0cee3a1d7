// SPDX-License-Identifier: MIT
// What the hub and its modules say to each other: one enum, one struct and a pair of put/get
// functions a message. put_* fills the Buf of link_begin(); get_* checks every length and returns
// -EBADMSG on any fault. Slices in a got message borrow from the frame.
// Protocol: both sides send HELLO first; a different LINK_PROTOCOL or build ends the link.
#pragma once

#include "base/wire.h"
#include "link/link.h"

#define LINK_PROTOCOL 2u

typedef enum MessageType {
        // both ways
        MESSAGE_HELLO = 1, // u32 protocol, bytes build, bytes module name ("" from the hub)
        MESSAGE_START,     // hub -> module: MessageStart
        MESSAGE_READY,     // module -> hub: armed and scanned / accepting attempts
        MESSAGE_STOP,      // hub -> module: finish, then exit 0
        MESSAGE_LOG,       // module -> hub: MessageLog
        MESSAGE_STATS,     // module -> hub: one JSON object, at most LIMIT_STATS; replaces the last
        MESSAGE_FAILED,    // module -> hub: MessageFailed; the module then exits
        // hub -> source
        MESSAGE_STATE = 32, // MessageState: answer to STATE_GET
        MESSAGE_DURABLE,    // u64 batch: this and all before are committed
        MESSAGE_PAUSE,
        MESSAGE_RESUME,
        MESSAGE_COMMAND,    // MessageCommand: an operator's (belfry source doctor NAME)
        MESSAGE_PEERS,      // MessagePeers: who may hand in events, to a source with doors; replaces the last
        // source -> hub
        MESSAGE_EVENTS = 48, // MessageEvents
        MESSAGE_STATE_GET,   // bytes from (exclusive; empty = first), u32 max bytes
        MESSAGE_DEGRADED,    // bytes reason ("" = well again): running, but something is missing
        MESSAGE_ANSWER,      // MessageAnswer: a piece of the answer to COMMAND
        // hub -> sink
        MESSAGE_ENDPOINT = 64, // MessageEndpoint
        MESSAGE_FORGET,        // u32 endpoint: all generations, once their attempts have ended
        MESSAGE_ATTEMPT,       // MessageAttempt
        MESSAGE_CANCEL,        // u64 ticket: answered by VERDICT if too late, else by UNSENT
        // sink -> hub
        MESSAGE_VERDICT = 80,  // MessageVerdict
        MESSAGE_UNSENT,        // u64 ticket: not a byte of it was sent
        MESSAGE_ENDPOINT_STATE, // u32 endpoint, u32 generation, bytes reason ("" = usable)
        _MESSAGE_TYPE_MAX,
} MessageType;

typedef struct MessageStart {
        uint64_t credit;       // source: unconfirmed bytes allowed; sink: slots
        uint64_t max_event;    // limits.event, bytes of one record
        Slice options;         // source: JSON object by its option table; sink: {}
        Slice position;        // source: last committed position, absent (flag) if none
        bool has_position;
        Slice credentials_dir; // "" when the service has none
        Slice hostname;
        bool for_command; // source: born to run one command; it makes no events
} MessageStart;

// u32 count of users, their uids, then the gids of groups to the end, u32 each.
enum { MESSAGE_PEERS_MAX = 4096 }; // of both together
typedef struct MessagePeers {
        uint32_t n_uids, n_gids;
        uint32_t ids[MESSAGE_PEERS_MAX]; // users first
} MessagePeers;

typedef struct MessageCommand {
        uint64_t ticket;
        Slice verb;      // one of the module's commands
        Slice arguments; // JSON object
} MessageCommand;

typedef struct MessageAnswer {
        uint64_t ticket;
        bool last;
        Slice piece; // JSON object, at most LIMIT_STATS
} MessageAnswer;

typedef struct MessageLog {
        uint8_t level; // LOG_ERR ..
        Slice message_id, event_id, text;
} MessageLog;

typedef enum FailureKind {
        FAILURE_WORLD,  // a path, server or permission: degraded, retried with back-off
        FAILURE_CONFIG, // never good without a change: degraded, not retried until reload
        _FAILURE_KIND_MAX,
        _FAILURE_KIND_INVALID = -22,
} FailureKind;

typedef struct MessageFailed {
        uint8_t kind;
        Slice reason;
} MessageFailed;

// One event of a source, before the hub gives it its envelope. data is JSON text; key may be
// absent (len 0): then it is the subject.
typedef struct MessageEvent {
        uint64_t time_usec; // wall; when it happened as far as the source knows
        Slice type, subject, key, id_material, data;
} MessageEvent;

typedef struct MessageStateChange {
        bool put;     // else delete
        Slice key, value;
} MessageStateChange;

// EVENTS is written and read piecewise, since it can be large:
// u64 batch, u8 has_position, bytes position, u32 n_events, events, u32 n_changes, changes.
typedef struct MessageEvents {
        uint64_t batch; // strictly rising within one connection
        bool has_position;
        Slice position;
        uint32_t n_events, n_changes;
        uint32_t events_left, changes_left; // not yet read
        WireReader rest; // stands before the first event; read n_events, then n_changes
} MessageEvents;

void message_put_hello(Buf *b, Slice build, Slice module);
int message_get_hello(Slice p, uint32_t *ret_protocol, Slice *ret_build, Slice *ret_module) _must_use_;
void message_put_start(Buf *b, const MessageStart *m);
int message_get_start(Slice p, MessageStart *ret) _must_use_;
void message_put_peers(Buf *b, const MessagePeers *m);
int message_get_peers(Slice p, MessagePeers *ret) _must_use_;
void message_put_command(Buf *b, const MessageCommand *m);
int message_get_command(Slice p, MessageCommand *ret) _must_use_;
void message_put_answer(Buf *b, const MessageAnswer *m);
int message_get_answer(Slice p, MessageAnswer *ret) _must_use_;
void message_put_log(Buf *b, const MessageLog *m);
int message_get_log(Slice p, MessageLog *ret) _must_use_;
void message_put_failed(Buf *b, const MessageFailed *m);
int message_get_failed(Slice p, MessageFailed *ret) _must_use_;
void message_put_event(Buf *b, const MessageEvent *e);
// Walks the whole frame: after it every next_* of the announced number succeeds, so that a caller
// never takes half a frame. Reading beyond them is -EBADMSG; changes come after all events.
int message_get_events(Slice p, MessageEvents *ret) _must_use_;
int message_next_event(MessageEvents *m, MessageEvent *ret) _must_use_;
void message_put_change(Buf *b, const MessageStateChange *c);
int message_next_change(MessageEvents *m, MessageStateChange *ret) _must_use_;
void message_put_u64(Buf *b, uint64_t v);                       // DURABLE, CANCEL, UNSENT
int message_get_u64(Slice p, uint64_t *ret) _must_use_;
void message_put_u32(Buf *b, uint32_t v);                       // FORGET
int message_get_u32(Slice p, uint32_t *ret) _must_use_;
void message_put_bytes(Buf *b, Slice s);                        // DEGRADED, STATS
int message_get_bytes(Slice p, Slice *ret) _must_use_;

void message_put_state_get(Buf *b, Slice from, uint32_t max);
int message_get_state_get(Slice p, Slice *ret_from, uint32_t *ret_max) _must_use_;
// STATE: u8 more, then (bytes key, bytes value) to the end of the frame.
typedef struct MessageState {
        bool more;
        WireReader rest;
} MessageState;
int message_get_state(Slice p, MessageState *ret) _must_use_;
int message_next_state(MessageState *m, Slice *ret_key, Slice *ret_value) _must_use_; // 0 = end, 1 = a row

#include "link/message_sink.h"
