// SPDX-License-Identifier: MIT
// The hub as one object, shared by the files of this folder and by nothing else; what a file offers
// the others stands in its own header. Who does what:
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
#include "config/config.h"
#include "hub/child.h"
#include "hub/commit.h"
#include "hub/dispatch.h"
#include "hub/poison.h"
#include "hub/queue.h"
#include "rule/ruleset.h"
#include "store/store.h"
#include <sys/queue.h>

typedef struct Hub Hub;
typedef struct HubSource HubSource;
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
        Doors *doors;     // NULL until a source asks for them
        bool all_paused;  // the store is over 85 %, or a batch did not fit
        unsigned refused; // batches in a row that did not fit; 0 after one that did
        uint64_t refused_ever, room_retry_boot;
        sd_event_source *room_timer;
        bool ready_sent;
        uint64_t started_wall;
        sd_event_source *stop_timer;
        uint64_t stop_began_boot; // when stopping began (minus a margin)
        Buf records, lengths;     // scratch of intake: the records of one batch, u32 length each
        Buf record;               // scratch for one record
        Buf body;                 // scratch of dispatch
        char status_line[256];
};
