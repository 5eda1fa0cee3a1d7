// SPDX-License-Identifier: MIT
// The options of a timer source, as the table in options.c fills them, and its event types.
#pragma once

#include "config/option.h"
#include "event/schema.h"
#include "schedule.h"

typedef enum MissedPolicy { MISSED_SKIP, MISSED_ONCE, MISSED_ALL } MissedPolicy;

typedef struct TimerOptions {
        char *schedule, *at, *zone; // one of schedule and at; zone NULL: the host's
        int gap, fold, missed;      // GapPolicy, FoldPolicy, MissedPolicy
        int64_t missed_max;
        uint64_t jitter_usec;
        bool jitter_random;
} TimerOptions;

extern const Option timer_options[];
extern const size_t n_timer_options;
extern const EventType timer_types[];
extern const size_t n_timer_types;

void timer_check(const void *options, OptionFaults *f);
// schedule or at as they stand in the options, and the zone; sets the zone of the process. The
// option at fault is named in *ret_option.
int timer_options_parse(
        const TimerOptions *o, Schedule *ret, const char **ret_option, Reason *reason) _must_use_;
