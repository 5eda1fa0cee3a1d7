// SPDX-License-Identifier: MIT
// The durable queue: events and the source positions that brought them, committed together in one
// LMDB transaction. Nobody else opens the database. Knows sinks and sources as small numbers with
// names, and nothing of rules, HTTP or time-outs.
//
// Tables (all values in an envelope with version and CRC32C over key and value):
//   events    seq -> routes, record      the queue; a route without an owed row is due now
//   owed      (seq, route) -> StoreOwed  only what failed, waits, is parked, or ended while another
//                                        route of the same event has not
//   due       (sink, wall time, seq, route) -> nothing: owed rows that wait, in order of time
//   bodies    (seq, route) -> headers and body that a rule rendered
//   dead      dead id -> why, and everything needed to send it again with the same bytes
//   positions source -> position         state  (source, key) -> value
//   ledger    commit -> packed entries   gaps   seq -> a gap not yet acknowledged
//   meta      small rows: format, names, counters with the per-commit hash chain, the hub's own
//
// Any error of store_commit() is final: the process logs it and exits; after a restart the database
// says what was committed. What its rows hold is in rows.h, reading them in read.h.
#pragma once

#include "base/reason.h"
#include "store/rows.h"

typedef struct Store Store;
typedef struct StoreTxn StoreTxn;

typedef struct StoreOptions {
        const char *state_dir;   // created 0700; the database is state_dir/store/
        uint64_t size;           // bytes of the map, all allocated at creation
        unsigned ledger_percent; // 5
        bool read_only;          // a second process of the same user, for scrub and backup
} StoreOptions;

typedef enum StoreOpened {
        STORE_EXISTED = 0,
        STORE_CREATED = 1,
        STORE_SALVAGED = 2, // was corrupt: moved aside, valid records kept, positions rewound
} StoreOpened;

// Returns a StoreOpened, or: -EAGAIN (another process holds the lock; the reason names its pid),
// -EPROTO (a newer version's store), -ENOSPC (size cannot be allocated), -EMEDIUMTYPE (network or
// FUSE filesystem), other errno. Scans everything in a child first after a power cut (boot id
// changed), when asked to by a mark left behind (state_dir/store.check), or after several starts
// in a row that did not get far.
// With a result >= 0 the reason may still hold a warning for the log: what was lost
// (STORE_SALVAGED: the hub emits a gap with that text), a copy-on-write file system, or a size
// smaller than what is in use. A larger size grows the store; a smaller one takes effect down to
// the last page ever used, never below. A reason of "" means all is well.
int store_open(Store **ret, const StoreOptions *o, Reason *reason) _must_use_;
Store *store_close(Store *s);
DEFINE_CLEANUP(Store, store_close)

// ---- names: small stable numbers for sources and sinks, from 1; 0 is none
typedef enum StoreNameKind { STORE_SOURCE, STORE_SINK, STORE_RULE } StoreNameKind;
// Existing number or a new one (committed with the txn). Rules: the number is event/record.h's
// rule_hash(), here only remembered for display.
int store_intern(StoreTxn *t, StoreNameKind kind, const char *name, uint32_t *ret) _must_use_;
int store_lookup(
        Store *s, StoreNameKind kind, const char *name, uint32_t *ret) _must_use_; // -ENOENT
const char *store_name(Store *s, StoreNameKind kind, uint32_t number); // "?" when unknown
// All names of a kind, in order of number; stops at the first non-zero return and returns it.
int store_each_name(Store *s, StoreNameKind kind,
        int (*each)(uint32_t number, const char *name, void *u), void *u);
int store_forget_source(
        StoreTxn *t, uint32_t source) _must_use_; // position and state, in steps: 1 = call again

// ---- one write transaction at a time. Errors are sticky: put what there is to put, then commit.
// store_begin never blocks for long (one writer). Functions returning int are those whose positive
// or specific result the caller needs; the others only fail the commit.
StoreTxn *store_begin(Store *s); // never NULL; its error shows at commit
StoreTxn *store_abort(StoreTxn *t);
// 0 = durable. -ENOSPC: the map is full, nothing of this transaction is there, the store goes on
// (the last part of the map takes only ends, deferrals and what comes with them; should thousands
// of those in one commit not fit either, they fit in smaller ones).
// Anything else is final (see above).
int store_commit(StoreTxn *t, Reason *reason) _must_use_;

// With no routes nothing is stored, but the number is taken (for a gap nobody routes).
uint64_t store_put_event(
        StoreTxn *t, uint32_t source, Slice record, const StoreRoute *routes, uint16_t n_routes);
// Positions, keys and values beyond the limits of base/limits.h fail the commit (-EINVAL): check
// what a source sends before it gets here.
void store_put_position(StoreTxn *t, uint32_t source, Slice position);
void store_put_state(StoreTxn *t, uint32_t source, Slice key, Slice value);
void store_del_state(StoreTxn *t, uint32_t source, Slice key);
void store_put_meta(StoreTxn *t, const char *key, Slice value); // the hub's own; len 0 deletes
// A gap event (already put as seq) stays open until acknowledged.
void store_put_gap(StoreTxn *t, uint64_t seq, uint32_t source, Slice record);
int store_ack_gap(StoreTxn *t, uint64_t seq) _must_use_; // -ENOENT

// The delivery waits (or is parked): writes owed and due, and a ledger entry when v is given.
void store_defer(StoreTxn *t, DeliveryKey d, const StoreOwed *o, const StoreVerdict *v);
// It ended: delivered or discarded. Removes the event with its last route.
void store_end(StoreTxn *t, DeliveryKey d, DeliveryEnd end, const StoreVerdict *v);
// It is dead: moved to the dead letters with its bytes. `reason` is a short word ("rejected").
// Returns the number of the letter; 0 when there is none.
uint64_t store_bury(StoreTxn *t, DeliveryKey d, const char *reason, const StoreVerdict *v);
// A dead letter of an event that no rule has seen: of no sink and no rule (0), so not to be retried
// by the store. Returns its number.
uint64_t store_put_dead(
        StoreTxn *t, uint32_t source, Slice record, const char *reason, const StoreVerdict *v);
// Back into the queue as a new sequence number with a fresh budget, the same id and bytes.
int store_dead_retry(StoreTxn *t, uint64_t dead, uint64_t *ret_seq) _must_use_; // -ENOENT
int store_dead_drop(StoreTxn *t, uint64_t dead) _must_use_;                     // -ENOENT
// A row whose checksum is wrong leaves the queue for the quarantine (kept for a person).
void store_quarantine(StoreTxn *t, uint64_t seq);

// ---- what it holds, kept in memory and with each commit: cheap to ask
typedef struct StoreUsage {
        uint64_t size; // bytes of the map
        uint64_t used; // bytes of pages in use and of what deferring everything may need
        uint64_t events, event_bytes;
        uint64_t dead, dead_bytes;
        uint64_t ledger_bytes, quarantined, open_gaps;
        uint64_t last_seq, commits;
} StoreUsage;
void store_usage(Store *s, StoreUsage *ret);
typedef struct SinkUsage {
        uint64_t deliveries, bytes; // owed to the sink, ended ones not counted
        uint64_t oldest_seq;        // a lower bound; 0 when none
} SinkUsage;
void store_sink_usage(Store *s, uint16_t sink, SinkUsage *ret);
uint64_t store_state_bytes(Store *s, uint32_t source);

// Reads every row and checks sums, references and counters; while it runs no page gets free, so a
// live store is scrubbed from a short-lived second process (read_only). Returns the number of faults (each told
// through `fault`), or a negative errno.
int store_scrub(Store *s, void (*fault)(const char *text, void *u), void *u) _must_use_;
