// SPDX-License-Identifier: MIT
// When a timer elapses: a pure function of its schedule, its zone's rules and an instant. All three
// spellings end here, and so does what is declared for local times that do not exist (gap) or exist
// twice (fold). Knows nothing of events, jitter or what was missed.
#pragma once

#include "calendar.h"

typedef enum GapPolicy { GAP_SKIP, GAP_NEXT_VALID } GapPolicy;
typedef enum FoldPolicy { FOLD_FIRST, FOLD_BOTH } FoldPolicy;

typedef enum ScheduleKind {
        SCHEDULE_CALENDAR,
        SCHEDULE_EVERY,  // the multiples of `every` since the epoch
        SCHEDULE_AT,     // once
        SCHEDULE_REBOOT, // once for each boot of the host; not a matter of time
} ScheduleKind;

typedef struct Schedule {
        ScheduleKind kind;
        GapPolicy gap;
        FoldPolicy fold;
        Calendar calendar;
        int64_t every; // seconds
        int64_t at;    // seconds since the epoch
} Schedule;

typedef struct Firing {
        int64_t utc;          // seconds since the epoch
        bool second_time;     // the local time occurs twice, this is the second
        bool moved;           // gap = next-valid: its local time does not exist, this is the first that does
        int64_t skipped;      // gap = skip: the first local second passed over on the way here because it
                              // does not exist; CALENDAR_NEVER: none
} Firing;

// `schedule` or `at` (the other is NULL), and `zone` (NULL or "": the host's). Sets the zone of the
// process. A zone at the end of an OnCalendar expression must not contradict `zone`.
// -EINVAL: the text; -ENOENT: the zone.
int schedule_parse(Schedule *ret, const char *schedule, const char *at, const char *zone, Reason *reason) _must_use_;

// The first firing after `after` (seconds since the epoch). False: none before the year 2200.
bool schedule_next(const Schedule *s, int64_t after, Firing *ret);
