// SPDX-License-Identifier: MIT
// A process of a module, of a source or of the sink pool: its birth, life and death (family.c).
#pragma once

#include "base/reason.h"
#include "hub/spawn.h"
#include "link/link.h"
#include <jansson.h>
#include <systemd/sd-event.h>

typedef struct Hub Hub;
typedef struct HubChild HubChild;
typedef struct HubSource HubSource;
typedef struct Errand Errand;

typedef enum ChildState {
        CHILD_DOWN,
        CHILD_BORN,
        CHILD_STARTED,
        CHILD_READY,
        CHILD_STOPPING
} ChildState;

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
        char last_death[REASON_MAX];    // why it is one that was started again; "" = it is not
        bool config_failure;            // not retried before a reload
        json_t *stats;
        bool explained; // reason is of the process that is there, not of one before
        bool heard;     // since somebody last looked whether it says anything
        uint64_t log_since_boot, log_dropped; // dropped: lines, ever
        unsigned log_lines;
        bool deaf;           // killed for being ahead of the disk: not heard any more
        unsigned slots_used; // sinks: attempts out
        CagePaths cage;      // what it was born with
        uint64_t cage_stamp;
};

int family_start(Hub *h, Reason *reason) _must_use_; // family.lock, orphans, programs
void child_init(HubChild *c, Hub *h, HubSource *source, int pool_index);
void child_birth(HubChild *c);                 // spawn now; failures are retried with back-off
void child_stop(HubChild *c);                  // MESSAGE_STOP; killed when it does not end in time
void child_kill(HubChild *c, const char *why); // for one that hangs or breaks the rules
void child_fall_back(HubChild *c);  // killed and born again at once: it is ahead of the disk
void child_check_cage(HubChild *c); // started anew when its cage shows too little
void child_clear(HubChild *c);      // frees; the process must be gone or is killed
const char *child_state_to_string(const HubChild *c);
const char *child_title(const HubChild *c); // "source uploads", "sink process 1"
