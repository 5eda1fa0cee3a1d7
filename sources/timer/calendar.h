// SPDX-License-Identifier: MIT
// A repeating calendar date as sets of allowed values, in local time, whichever way it was spelled:
// cron(5)'s five fields or systemd.time(7)'s OnCalendar expressions. Knows nothing of zones: it
// answers in "local seconds", the seconds since the epoch that a clock on the wall would count.
#pragma once

#include "base/reason.h"
#include "base/slice.h"
#include <stdint.h>

enum { CALENDAR_YEARS_MAX = 16, CALENDAR_YEAR_END = 2200, CALENDAR_TEXT_MAX = 256 };

typedef struct CalendarYears {
        int first, last, step;
} CalendarYears;

typedef struct Calendar {
        uint64_t seconds, minutes; // bit n: n is allowed
        uint32_t hours;
        uint32_t days;     // bit n: the n-th day of the month, 1 to 31
        uint32_t last_days; // bit n: the n-th last day of the month, 1 = the last
        uint16_t months;   // bits 1 to 12
        uint8_t weekdays;  // bit 0 = Sunday
        bool day_or;       // cron, both restricted: day of the month OR of the week
        CalendarYears years[CALENDAR_YEARS_MAX]; // none: every year
        unsigned n_years;
} Calendar;

// Both -EINVAL with a reason that names the field and what was expected.
// cron: "30 2 * * mon-fri", names, lists, ranges, steps; also @hourly, @daily, @midnight, @weekly,
// @monthly, @yearly, @annually.
int calendar_parse_cron(const char *text, Calendar *ret, Reason *reason) _must_use_;
// OnCalendar: "Mon..Fri *-*-* 02:30:00", "*:0/15", "*-02~01", "weekly". A zone at its end is the
// caller's: *ret_zone is the rest that was not understood as date or time ("" = none).
int calendar_parse_on(const char *text, Calendar *ret, Slice *ret_zone, Reason *reason) _must_use_;

#define CALENDAR_NEVER INT64_MAX
// The first matching local second >= `local`; CALENDAR_NEVER: none before the year 2200.
int64_t calendar_next(const Calendar *c, int64_t local);
