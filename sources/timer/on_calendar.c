// SPDX-License-Identifier: MIT
// systemd.time(7)'s spelling of a calendar: "[WEEKDAYS] [[YEAR-]MONTH-DAY] [HOUR:MINUTE[:SECOND]]",
// each part "*" or a list of values, ranges (..) and repetitions (/); "~" instead of the last "-"
// counts days from the end of the month. Also minutely to yearly. It does not take fractions of a
// second or "@" with seconds since the epoch.
#include "calendar.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

typedef struct Element {
        int first, last, step; // last -1: only first, or up to the end when step is given
} Element;

enum { ELEMENTS_MAX = 32 };
typedef struct Chain {
        Element list[ELEMENTS_MAX];
        unsigned n; // 0: any
} Chain;

static int refuse(Reason *reason, const char *what, const char *at)
{
        return reason_set(reason, -EINVAL,
                "%s at \"%.40s\" (see systemd.time(7), for example: Mon..Fri "
                "*-*-* 02:30:00)",
                what, at);
}

static int number_at(const char **p, int *ret)
{
        char *end;
        if (!isdigit((unsigned char)**p))
                return -EINVAL;
        long n = strtol(*p, &end, 10);
        if (end - *p > 6)
                return -EINVAL;
        *p = end;
        *ret = (int)n;
        return 0;
}

static int element_at(const char **p, Element *e)
{
        *e = (Element){.last = -1};
        if (number_at(p, &e->first) < 0)
                return -EINVAL;
        if (strncmp(*p, "..", 2) == 0) {
                *p += 2;
                if (number_at(p, &e->last) < 0)
                        return -EINVAL;
        }
        if (**p == '/') {
                (*p)++;
                if (number_at(p, &e->step) < 0 || e->step == 0)
                        return -EINVAL;
        }
        return 0;
}

static int chain_at(const char **p, Chain *c, Reason *reason)
{
        c->n = 0;
        if (**p == '*') {
                (*p)++;
                return 0;
        }
        for (;;) {
                if (c->n == ELEMENTS_MAX)
                        return refuse(reason, "too long a list", *p);
                const char *at = *p;
                if (element_at(p, &c->list[c->n++]) < 0)
                        return refuse(reason, "expected a number, a range or *", at);
                if (**p != ',')
                        return 0;
                (*p)++;
        }
}

// Days from the end repeat forward: 7th last, 6th last, ... so their values go down.
static int chain_bits(const Chain *c, const char *what, int min, int max, bool from_end,
        uint64_t *ret, Reason *reason)
{
        *ret = 0;
        for (int i = min; c->n == 0 && i <= max; i++)
                *ret |= UINT64_C(1) << i;
        for (unsigned i = 0; i < c->n; i++) {
                const Element *e = &c->list[i];
                int first = e->first, last = e->last, step = e->step ? e->step : 1;
                if (last < 0)
                        last = !e->step ? first : from_end ? min : max;
                if (first < min || first > max || last < min || last > max)
                        return reason_set(
                                reason, -EINVAL, "the %s goes from %d to %d", what, min, max);
                if (from_end && e->last < 0) {
                        for (int v = first; v >= last; v -= step)
                                *ret |= UINT64_C(1) << v;
                        continue;
                }
                if (last < first)
                        return reason_set(reason, -EINVAL,
                                "the %s has %d..%d, which ends before it begins", what, first,
                                last);
                // A range from the end with a step begins at its far end.
                for (int v = first; v <= last; v += step)
                        *ret |= UINT64_C(1) << (from_end ? last - (v - first) : v);
        }
        return 0;
}

static int chain_years(const Chain *c, Calendar *ret, Reason *reason)
{
        ret->n_years = 0;
        for (unsigned i = 0; i < c->n; i++) {
                const Element *e = &c->list[i];
                int first = e->first, last = e->last;
                if (ret->n_years == CALENDAR_YEARS_MAX)
                        return reason_set(reason, -EINVAL, "more than %d years in the list",
                                CALENDAR_YEARS_MAX);
                if (first < 100)
                        first += first < 70 ? 2000 : 1900;
                if (last >= 0 && last < 100)
                        last += last < 70 ? 2000 : 1900;
                if (last < 0)
                        last = e->step ? CALENDAR_YEAR_END : first;
                if (first < 1970 || first > CALENDAR_YEAR_END || last < first ||
                        last > CALENDAR_YEAR_END)
                        return reason_set(reason, -EINVAL, "the year goes from 1970 to %d",
                                CALENDAR_YEAR_END);
                ret->years[ret->n_years++] = (CalendarYears){first, last, e->step ? e->step : 1};
        }
        return 0;
}

static int weekday_at(const char **p)
{
        static const char *const names[] = {
                "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
        size_t n = 0;
        while (isalpha((unsigned char)(*p)[n]))
                n++;
        for (int i = 0; i < 7; i++)
                if ((n == 3 || n == strlen(names[i])) && strncasecmp(*p, names[i], n) == 0) {
                        *p += n;
                        return i;
                }
        return -1;
}

// Monday is the first day of a range: Sat..Sun is one, Sun..Mon is not.
static int weekdays_at(const char **p, uint8_t *ret, Reason *reason)
{
        const char *at = *p;
        if (weekday_at(&at) < 0)
                return 0; // no weekdays here
        *ret = 0;
        for (;;) {
                int first = weekday_at(p), last = first;
                if (first < 0)
                        return refuse(reason, "expected a weekday", *p);
                if (strncmp(*p, "..", 2) == 0 || **p == '-') {
                        *p += **p == '-' ? 1 : 2;
                        last = weekday_at(p);
                        if (last < 0)
                                return refuse(reason, "expected a weekday", *p);
                }
                int from = (first + 6) % 7, to = (last + 6) % 7;
                if (to < from)
                        return reason_set(reason, -EINVAL,
                                "a range of weekdays ends before it begins (the week begins on "
                                "Monday); "
                                "write two");
                for (int i = from; i <= to; i++)
                        *ret |= (uint8_t)(1 << (i + 1) % 7);
                if (**p != ',')
                        break;
                (*p)++;
        }
        if (**p && **p != ' ')
                return refuse(reason, "expected a space after the weekdays", *p);
        *p += strspn(*p, " ");
        return 0;
}

static int date_set(
        Calendar *c, const Chain *month, const Chain *day, bool from_end, Reason *reason)
{
        uint64_t months, days;
        int r = chain_bits(month, "month", 1, 12, false, &months, reason);
        if (r >= 0)
                r = chain_bits(day, "day", 1, from_end ? 28 : 31, from_end, &days, reason);
        if (r < 0)
                return r;
        c->months = (uint16_t)months;
        c->days = from_end ? 0 : (uint32_t)days;
        c->last_days = from_end ? (uint32_t)days : 0;
        return 0;
}

// 1: there was a date, 0: what stands here is a time.
static int date_at(const char **p, Calendar *c, Reason *reason)
{
        const char *t = *p;
        Chain a, b, d;
        int r = chain_at(&t, &a, reason);
        if (r < 0)
                return r;
        if (*t == ':')
                return 0;
        if (*t != '-' && *t != '~')
                return refuse(reason, "expected a date (MONTH-DAY) or a time (HOUR:MINUTE)", *p);
        bool from_end = *t++ == '~';
        r = chain_at(&t, &b, reason);
        if (r < 0)
                return r;
        if (*t == 0 || *t == ' ') {
                r = date_set(c, &a, &b, from_end, reason);
        } else {
                if (from_end || (*t != '-' && *t != '~'))
                        return refuse(reason, "expected a space after the date", t);
                from_end = *t++ == '~';
                r = chain_at(&t, &d, reason);
                if (r >= 0 && *t && *t != ' ')
                        return refuse(reason, "expected a space after the date", t);
                if (r >= 0)
                        r = chain_years(&a, c, reason);
                if (r >= 0)
                        r = date_set(c, &b, &d, from_end, reason);
        }
        *p = t + strspn(t, " ");
        return r < 0 ? r : 1;
}

static int time_at(const char **p, Calendar *c, Reason *reason)
{
        Chain hour, minute, second = {.list = {{.last = -1}}, .n = 1};
        uint64_t hours;
        int r = chain_at(p, &hour, reason);
        if (r < 0)
                return r;
        if (**p != ':')
                return refuse(reason, "expected HOUR:MINUTE", *p);
        (*p)++;
        r = chain_at(p, &minute, reason);
        if (r >= 0 && **p == ':') {
                (*p)++;
                r = chain_at(p, &second, reason);
        }
        if (r >= 0 && **p == '.')
                return refuse(reason, "fractions of a second are not supported", *p);
        if (r >= 0 && **p && **p != ' ')
                return refuse(reason, "expected a space after the time", *p);
        if (r >= 0)
                r = chain_bits(&hour, "hour", 0, 23, false, &hours, reason);
        if (r >= 0)
                r = chain_bits(&minute, "minute", 0, 59, false, &c->minutes, reason);
        if (r >= 0)
                r = chain_bits(&second, "second", 0, 59, false, &c->seconds, reason);
        if (r < 0)
                return r;
        c->hours = (uint32_t)hours;
        *p += strspn(*p, " ");
        return 0;
}

static const char *word_text(const char **p)
{
        static const char *const words[][2] = {
                {"minutely", "*-*-* *:*:00"},
                {"hourly", "*-*-* *:00:00"},
                {"daily", "*-*-* 00:00:00"},
                {"monthly", "*-*-01 00:00:00"},
                {"weekly", "Mon *-*-* 00:00:00"},
                {"yearly", "*-01-01 00:00:00"},
                {"annually", "*-01-01 00:00:00"},
                {"quarterly", "*-01,04,07,10-01 00:00:00"},
                {"biannually", "*-01,07-01 00:00:00"},
                {"semiannually", "*-01,07-01 00:00:00"},
        };
        for (size_t i = 0; i < N_ELEMENTS(words); i++) {
                size_t n = strlen(words[i][0]);
                if (strncasecmp(*p, words[i][0], n) == 0 && ((*p)[n] == 0 || (*p)[n] == ' ')) {
                        *p += n;
                        *p += strspn(*p, " ");
                        return words[i][1];
                }
        }
        return NULL;
}

int calendar_parse_on(const char *text, Calendar *ret, Slice *ret_zone, Reason *reason)
{
        Calendar c = {.seconds = 1,
                .minutes = 1,
                .hours = 1,
                .days = UINT32_MAX,
                .months = 0x1ffe,
                .weekdays = 0x7f};
        const char *rest = text + strspn(text, " "), *word = word_text(&rest),
                   *p = word ? word : rest;
        if (!*p)
                return reason_set(reason, -EINVAL, "empty");
        int r = weekdays_at(&p, &c.weekdays, reason);
        bool dated = p != rest;
        if (r >= 0 && (isdigit((unsigned char)*p) || *p == '*')) {
                r = date_at(&p, &c, reason);
                if (r >= 0 && (r == 0 || isdigit((unsigned char)*p) || *p == '*'))
                        r = time_at(&p, &c, reason);
        } else if (r >= 0 && !dated) {
                return refuse(reason, "expected weekdays, a date or a time", p);
        }
        if (r < 0)
                return r;
        *ret_zone = slice_of(word ? rest : p);
        *ret = c;
        return 0;
}
