// SPDX-License-Identifier: MIT
// The next match of a calendar: years, months and days are walked, hours to seconds are looked up in
// their sets. A walk ends at the year 2200, so that "30 February" is an answer and not a loop.
#include "calendar.h"

#include <time.h>

enum { DAY = 86400 };

static bool year_allowed(const Calendar *c, int year)
{
        for (unsigned i = 0; i < c->n_years; i++) {
                const CalendarYears *y = &c->years[i];
                if (year >= y->first && year <= y->last && (year - y->first) % y->step == 0)
                        return true;
        }
        return c->n_years == 0;
}

static int month_days(int year, int month)
{
        static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        return days[month - 1] + (month == 2 && leap);
}

static bool day_allowed(const Calendar *c, const struct tm *t)
{
        int back = month_days(t->tm_year + 1900, t->tm_mon + 1) - t->tm_mday + 1;
        bool day = (c->days >> t->tm_mday & 1) || (c->last_days >> back & 1);
        bool weekday = c->weekdays >> t->tm_wday & 1;
        return c->day_or ? day || weekday : day && weekday;
}

// The first allowed second of the day >= `second`; -1: none.
static int time_next(const Calendar *c, int second)
{
        for (int h = second / 3600; h < 24; h++) {
                if (!(c->hours >> h & 1))
                        continue;
                bool same_hour = h == second / 3600;
                for (int m = same_hour ? second % 3600 / 60 : 0; m < 60; m++) {
                        if (!(c->minutes >> m & 1))
                                continue;
                        bool same_minute = same_hour && m == second % 3600 / 60;
                        for (int s = same_minute ? second % 60 : 0; s < 60; s++)
                                if (c->seconds >> s & 1)
                                        return h * 3600 + m * 60 + s;
                }
        }
        return -1;
}

int64_t calendar_next(const Calendar *c, int64_t local)
{
        int64_t day = local >= 0 ? local / DAY : -((-local + DAY - 1) / DAY);
        int second = (int)(local - day * DAY);
        for (;;) {
                time_t at = (time_t)(day * DAY);
                struct tm t;
                if (!gmtime_r(&at, &t) || t.tm_year + 1900 >= CALENDAR_YEAR_END)
                        return CALENDAR_NEVER;
                int year = t.tm_year + 1900, skip = 1;
                if (!year_allowed(c, year)) {
                        skip = 365 + (month_days(year, 2) == 29) - t.tm_yday;
                } else if (!(c->months >> (t.tm_mon + 1) & 1)) {
                        skip = month_days(year, t.tm_mon + 1) - t.tm_mday + 1;
                } else if (day_allowed(c, &t)) {
                        int found = time_next(c, second);
                        if (found >= 0)
                                return day * DAY + found;
                }
                day += skip;
                second = 0;
        }
}
