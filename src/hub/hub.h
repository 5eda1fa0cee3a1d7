// SPDX-License-Identifier: MIT
// The hub as one object, shared by the files of this folder and by nothing else. Who does what:
//   main.c      arguments, configuration, store, notify, the loop, the end
//   commands.c  what an operator asks of a source; errand.c: a process born for that alone
//   family.c    births and deaths of module processes, back-off, what they log
//   intake.c    what sources say: events, state, positions -> the open transaction
//   commit.c    when the transaction is committed, and what follows from it
//   queue.c     the window of each sink: from disk to memory and back
//   dispatch.c  attempts out: which delivery of which sink goes to which process
//   judge.c     verdicts in: retry, hold, probe, dead letter
//   pressure.c  shares of the store: which sources are paused, which letters are dropped
//   doors.c     the sockets at which applications hand in events
//   reload.c    from one configuration to the next; foresee.c: what it would find missing
//   parked.c    what is owed to sinks that are gone
//   poison.c    events at which the hub itself died
//   status.c    what status says
//   control*.c  the control socket and its methods
#pragma once

#include "base/limits.h"
#include "base/reason.h"
#include "config/config.h"
#include "event/messages.h"
#include "hub/poison.h"
#include "hub/spawn.h"
#include "link/link.h"
#include "link/message.h"
#include "module/verdict.h"
#include "rule/ruleset.h"
#include "store/store.h"
#include <errno.h>
#include <sys/queue.h>
#include <uthash.h>

typedef struct Hub Hub;
typedef struct HubChild HubChild;
typedef struct HubSource HubSource;
typedef struct HubSink HubSink;
typedef struct Delivery Delivery;
typedef struct Control Control;
typedef struct Command Command;
typedef struct Errand Errand;
typedef struct Doors Doors;

// Priorities on the loop: smaller runs first.
enum {
        PRIORITY_SIGNAL = -30,
        PRIORITY_CHILD = -20,
        PRIORITY_VERDICT = -10,
        PRIORITY_CONTROL = 0,
        PRIORITY_INTAKE = 10,
        PRIORITY_DISPATCH = 20,
        PRIORITY_COMMIT = 30, // runs when nothing else is waiting to be read
};

// ---- a module process, of a source or of the sink pool (family.c)
typedef enum ChildState { CHILD_DOWN, CHILD_BORN, CHILD_STARTED, CHILD_READY, CHILD_STOPPING } ChildState;

struct HubChild {
        Hub *hub;
        HubSource *source; // exactly one of source, errand and pool_index says whose it is
        Errand *errand;    // or this: born for one command; then source is NULL and pool_index -1
        int pool_index;    // -1 for sources; 0..n-1 pool; n: the isolation process
        ChildState state;
        pid_t pid;
        int pidfd;
        Link *link;
        sd_event_source *exit_event, *restart_timer;
        uint64_t born_boot, last_death_boot;
        unsigned deaths, deaths_in_row; // ever; within a minute of each other
        char reason[REASON_MAX];        // why it is down or degraded; "" = well
        bool config_failure;            // not retried before a reload
        json_t *stats;
        bool explained;                 // reason is of the process that is there, not of one before
        bool heard;                     // since somebody last looked whether it says anything
        uint64_t log_since_boot, log_dropped; // dropped: lines, ever
        unsigned log_lines;
        bool deaf;                      // killed for being ahead of the disk: not heard any more
        unsigned slots_used;            // sinks: attempts out
        CagePaths cage;                 // what it was born with
        uint64_t cage_stamp;
};

struct HubSource {
        Hub *hub;
        char name[LIMIT_NAME + 1];
        unsigned index; // in hub->config
        uint32_t number; // in the store
        RecordOrigin origin;
        HubChild child;
        bool paused; // told so
        bool flooded; // killed for sending on although it was; now the first batch is too much
        uint64_t paused_since_boot, paused_bytes;
        bool removed;
        uint64_t batch_confirm;  // newest batch in the open transaction
        bool confirm_pending;
        unsigned shrunk; // how often its batches were made smaller, because one did not fit
        uint64_t events, last_event_usec, unmatched;
        char degraded[REASON_MAX];
        LIST_ENTRY(HubSource) link;
};

// ---- deliveries in memory (queue.c): at most LIMIT_WINDOW of a sink, and those out
typedef enum DeliveryState { DELIVERY_READY, DELIVERY_OUT, DELIVERY_SETTLING } DeliveryState;

struct Delivery {
        DeliveryKey key;
        HubSink *sink;
        DeliveryState state;
        bool probe;          // out as the endpoint's probe: spends no attempt
        bool alone;          // to be sent by the isolation process
        uint8_t crashes;
        uint16_t attempts;   // spent before this one
        uint32_t slot;       // in hub->slots while out
        uint64_t first_usec; // wall, first attempt; 0 = none yet
        TAILQ_ENTRY(Delivery) link; // in ready, out, settling or hub->alone
        UT_hash_handle hh;
};
TAILQ_HEAD(DeliveryList, Delivery);

typedef struct SinkHold {
        bool held;
        uint64_t since_boot, until_boot; // no probe before until_boot
        unsigned probes;                 // made since it is held
        bool probe_out;
        bool at_once;                    // by Retry-After, not by five failures
} SinkHold;

struct HubSink {
        Hub *hub;
        char name[LIMIT_NAME + 1];
        unsigned index;  // in hub->config
        uint16_t number; // in the store
        uint32_t endpoint, generation;
        bool paused, disabled, removed; // paused and disabled survive a restart (meta)
        char endpoint_reason[REASON_MAX]; // the sink says it is unusable; "" = usable
        struct DeliveryList ready, out, settling;
        unsigned n_ready, n_out, n_settling;
        Delivery *by_key;
        uint64_t cursor;    // fresh events before it have been looked at
        bool fresh_on_disk; // there may be fresh ones at or behind the cursor
        uint64_t next_due_wall;
        uint64_t next_due_open; // of what the open transaction defers: no scan sees that yet
        bool sweeping;      // after a release: everything that waits is due now
        uint64_t sweep_since_usec;
        DueDelivery sweep_at;
        bool sweep_started;
        SinkHold hold;
        unsigned failures_in_row;
        sd_event_source *timer; // hold, next due, expiry
        bool full;              // over its share
        uint64_t delivered, failed, dead;
        uint64_t last_success_usec, last_failure_usec;
        uint8_t last_class;
        uint16_t last_status;
        char last_detail[256];
        LIST_ENTRY(HubSink) link;
};

// What is out: one slot an attempt. ticket = rising count << 16 | slot index.
typedef void (*PingDone)(const MessageVerdict *v, void *userdata);
typedef struct AttemptSlot {
        uint64_t ticket; // 0 = free
        Delivery *delivery; // NULL for a ping
        HubChild *child;
        uint64_t sent_boot;
        PingDone ping_done;
        void *ping_data;
        HubSink *ping_sink;
} AttemptSlot;
enum { SLOTS_PER_PROCESS = 256, POOL_MAX = 17, SLOTS_MAX = SLOTS_PER_PROCESS * POOL_MAX };

// ---- the open transaction (commit.c)
typedef struct FreshDelivery {
        HubSink *sink;
        DeliveryKey key;
} FreshDelivery;

typedef struct Batch {
        StoreTxn *txn;       // NULL: nothing to commit
        uint64_t began_boot;
        size_t bytes;
        unsigned n_events;
        bool grows; // there are events in it
        bool hurry; // it is committed as soon as nothing more is waiting to be read
        unsigned patience;   // the next commit comes that many times last_commit_took after it
        FreshDelivery *fresh;
        size_t n_fresh, cap_fresh;
        uint64_t last_commit_end_boot, last_commit_took;
        sd_event_source *idle, *timer, *yield;
} Batch;

typedef enum HubState { HUB_STARTING, HUB_RUNNING, HUB_STOPPING } HubState;

struct Hub {
        sd_event *event;
        const char *config_path;
        char *state_dir, *runtime_dir, *module_dir, *credentials_dir;
        char hostname[256];
        HubState state;
        Config *config;
        RuleSet *rules;
        Store *store;
        Batch batch;
        Poison poison;
        LIST_HEAD(, HubSource) sources;
        LIST_HEAD(, HubSink) sinks;
        HubSource **source_of; // by index in config
        HubSink **sink_of;
        HubChild pool[POOL_MAX]; // the sink processes; [n_pool] is the isolation process
        unsigned n_pool;
        struct DeliveryList alone;
        AttemptSlot slots[SLOTS_MAX];
        uint32_t free_slots[SLOTS_MAX];
        unsigned n_free_slots;
        uint64_t next_ticket;
        uint32_t next_endpoint;
        sd_event_source *dispatch_event;
        HubSink *dispatch_from; // round robin
        int family_fd;
        LIST_HEAD(, Command) commands; // to sources, under way (commands.c)
        LIST_HEAD(, Errand) errands;
        unsigned n_commands;
        uint64_t next_command;
        Control *control;
        Doors *doors; // NULL until a source asks for them
        bool all_paused; // the store is over 85 %, or a batch did not fit
        unsigned refused; // batches in a row that did not fit; 0 after one that did
        uint64_t refused_ever, room_retry_boot;
        sd_event_source *room_timer;
        bool ready_sent;
        uint64_t started_wall;
        sd_event_source *stop_timer;
        uint64_t stop_began_boot; // when stopping began (minus a margin)
        Buf records, lengths; // scratch of intake: the records of one batch, u32 length each
        Buf record;           // scratch for one record
        Buf body;   // scratch of dispatch
        char status_line[256];
};

// family.c
int family_start(Hub *h, Reason *reason) _must_use_; // family.lock, orphans, programs
void child_init(HubChild *c, Hub *h, HubSource *source, int pool_index);
void child_birth(HubChild *c);          // spawn now; failures are retried with back-off
void child_stop(HubChild *c);           // MESSAGE_STOP; killed when it does not end in time
void child_kill(HubChild *c, const char *why); // for one that hangs or breaks the rules
void child_fall_back(HubChild *c);      // killed and born again at once: it is ahead of the disk
void child_check_cage(HubChild *c);     // started anew when its cage shows too little
void child_clear(HubChild *c);          // frees; the process must be gone or is killed
const char *child_state_to_string(const HubChild *c);
const char *child_title(const HubChild *c); // "source uploads", "sink process 1"

// intake.c
int source_frame(HubChild *c, uint16_t type, Slice payload) _must_use_;
int source_send_start(HubSource *s) _must_use_;
// START with the position of source `number` (0: none); and the rows of state it asks for.
int source_put_start(HubChild *c, uint32_t number, const json_t *options, bool for_command) _must_use_;
int source_get_state(HubChild *c, uint32_t number, Slice payload) _must_use_;
// For events the hub itself makes for a source (salvage): one source.gap.
// One that was set aside unrouted (poison.c) goes through the rules after all. In the open transaction.
int intake_again(HubSource *s, Slice record) _must_use_;
void intake_gap(HubSource *s, const char *why, const char *from, const char *to, const char *detail);

// commit.c
StoreTxn *batch_txn(Hub *h);                 // opens it and arms the commit
void batch_hurry(Hub *h);                    // no more waiting for company: somebody needs its commit
void batch_note(Hub *h, size_t bytes, unsigned n_events); // counts, commits when over the limits
// Now. -ENOSPC: the map is full and nothing of the transaction is there; its sources are on their way
// back to what is durable, its verdicts will come again. Any other error of the store ends the process.
int batch_try_commit(Hub *h) _must_use_;
void batch_commit(Hub *h); // the same, for whom what happens to a dropped batch is enough
int batch_init(Hub *h) _must_use_;

// queue.c
HubSink *sink_by_number(Hub *h, uint16_t number);
Delivery *delivery_get(HubSink *k, DeliveryKey key);
Delivery *delivery_add(HubSink *k, DeliveryKey key); // into ready; NULL when memory is out
void delivery_settle(Delivery *d);    // its end or deferral is in the open transaction
void queue_fresh(HubSink *k, DeliveryKey key);  // just committed
void queue_refill(HubSink *k);        // from disk when the window has room
void queue_committed(HubSink *k);     // frees what settled
void queue_undo(HubSink *k);          // what settled did not get onto the disk: it is ready again
void queue_release(HubSink *k);       // all that waits is due now
void queue_arm(HubSink *k);           // the timer for the next thing this sink waits for
void queue_drop_memory(HubSink *k);   // forget the window (reload, stop); nothing durable changes
int queue_load(HubSink *k) _must_use_; // at start: crashes, what was out alone

// dispatch.c
void dispatch_wake(Hub *h);           // soon, once
int dispatch_init(Hub *h) _must_use_;
int pool_frame(HubChild *c, uint16_t type, Slice payload) _must_use_;
void pool_ready(HubChild *c);         // endpoints are told
void pool_died(HubChild *c);          // what it held goes alone
void pool_send_endpoint(HubSink *k);  // new generation to every process
bool sink_usable(const HubSink *k); // not paused, disabled, removed, nor without what it needs
int sink_ping(HubSink *k, PingDone done, void *userdata, Reason *reason) _must_use_;
void slot_free(Hub *h, AttemptSlot *slot);
AttemptSlot *slot_find(Hub *h, uint64_t ticket);
void dispatch_check_hung(Hub *h);     // kills a process whose attempt is out far too long

// judge.c
void judge_verdict(Delivery *d, const MessageVerdict *v);
void judge_crashed(Delivery *d);      // its process died while it was out
void judge_bury(Delivery *d, const char *reason, const StoreVerdict *v);
bool judge_expired(Delivery *d);      // over max_age: buried; true when so
void hold_begin(HubSink *k, uint64_t until_boot, bool at_once);
void hold_end(HubSink *k, const char *why);
void sink_set_paused(HubSink *k, bool paused);
void sink_resume(HubSink *k);         // out of paused and disabled, hold ended
void sink_load_flags(HubSink *k);

// pressure.c
void pressure_update(Hub *h);         // after each commit: pauses and resumes sources
void pressure_apply(Hub *h);          // the same after a reload: rules may feed other sinks
void pressure_refused(Hub *h);        // a batch did not fit: all sources wait, then try again
bool pressure_tight(const Hub *h);    // so little room that each batch gets its own transaction
bool pressure_dead_full(Hub *h);      // the dead letters' share is full and its policy is to wait

// reload.c
typedef struct ReloadOptions {
        bool force, park, drop;
} ReloadOptions;
// 0, or -EINVAL (diagnostics say why, nothing changed), -EBUSY (reason).
int hub_reload(Hub *h, const ReloadOptions *o, Diagnostics *d, Reason *reason) _must_use_;
int hub_apply(Hub *h, Config *c, RuleSet *rules, Reason *reason) _must_use_; // takes both; also at start

// foresee.c: how many things would be degraded with c that are not now; each a warning in d
unsigned foresee(Hub *h, const Config *c, Diagnostics *d);

// parked.c: what is owed to sinks that the configuration does not have
typedef struct ParkedSink {
        uint16_t number;
        const char *name;
        SinkUsage usage;
} ParkedSink;
int parked_each(Hub *h, const Config *c, int (*each)(Hub *h, const ParkedSink *p, void *userdata), void *userdata);
void parked_drop(Hub *h, Diagnostics *d); // what was dropped, and what could not be, goes to d

// status.c
json_t *hub_status(Hub *h);           // the object of status --json; new reference
const char *hub_state_word(Hub *h);   // "running" "starting" "degraded" "stopping"
void hub_notify(Hub *h);              // READY=1, STATUS=...

// control.c (its own header says more)
int control_start(Hub *h, Reason *reason) _must_use_;
void control_stop(Hub *h);
void control_roles_apply(Hub *h);       // after a reload
void control_unknown_of(const Config *c, Buf *ret); // those that c names in vain
const char *control_unknown(const Hub *h); // configured users and groups that do not exist; "" = none
void control_tail_event(Hub *h, const Record *r, unsigned n_routes); // for tail clients
