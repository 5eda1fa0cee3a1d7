// SPDX-License-Identifier: MIT
// From one configuration to the next (reload.c), what it would find missing (foresee.c), and what is
// owed to sinks that it does not have (parked.c).
#pragma once

#include "base/reason.h"
#include "config/config.h"
#include "rule/ruleset.h"
#include "store/store.h"

typedef struct Hub Hub;

typedef struct ReloadOptions {
        bool force, park, drop;
} ReloadOptions;
// 0, or -EINVAL (diagnostics say why, nothing changed), -EBUSY (reason).
int hub_reload(Hub *h, const ReloadOptions *o, Diagnostics *d, Reason *reason) _must_use_;
int hub_apply(
        Hub *h, Config *c, RuleSet *rules, Reason *reason) _must_use_; // takes both; also at start

// foresee.c: how many things would be degraded with c that are not now; each a warning in d
unsigned foresee(Hub *h, const Config *c, Diagnostics *d);

// parked.c: what is owed to sinks that the configuration does not have
typedef struct ParkedSink {
        uint16_t number;
        const char *name;
        SinkUsage usage;
} ParkedSink;
int parked_each(Hub *h, const Config *c, int (*each)(Hub *h, const ParkedSink *p, void *userdata),
        void *userdata);
void parked_drop(Hub *h, Diagnostics *d); // what was dropped, and what could not be, goes to d
