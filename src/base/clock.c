// SPDX-License-Identifier: MIT
// Clocks and RFC 3339. The calendar is the proleptic Gregorian one, computed here: gmtime_r and
// timegm cost ten times as much and take locks. No time zones, no leap-second table.
#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define SECONDS_A_DAY UINT64_C(86400)
#define LAST_USEC (UINT64_C(253402300800) * USEC_PER_SEC - 1) // end of the year 9999

static uint64_t now(clockid_t id)
{
        struct timespec ts;
        int r = clock_gettime(id, &ts);
        assert(r == 0);
        (void)r;
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_wall_usec(void)
{
        return now(CLOCK_REALTIME);
}

uint64_t clock_boot_usec(void)
{
        return now(CLOCK_BOOTTIME);
}

uint64_t clock_mono_usec(void)
{
        return now(CLOCK_MONOTONIC);
}

static void put_digits(char *out, unsigned width, unsigned value)
{
        for (unsigned i = width; i-- > 0; value /= 10)
                out[i] = (char)('0' + value % 10);
}

const char *clock_rfc3339(uint64_t wall_usec, char out[static CLOCK_RFC3339_MAX])
{
        if (wall_usec > LAST_USEC) // five-digit years are not RFC 3339
                wall_usec = LAST_USEC;
        uint64_t seconds = wall_usec / USEC_PER_SEC;
        unsigned of_day = (unsigned)(seconds % SECONDS_A_DAY);

        // Days to a date, years beginning in March so that the leap day is the last one.
        unsigned days = (unsigned)(seconds / SECONDS_A_DAY) + 719468;
        unsigned era = days / 146097, day_of_era = days % 146097;
        unsigned year_of_era =
                (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        unsigned day_of_year =
                day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        unsigned shifted = (5 * day_of_year + 2) / 153;
        unsigned day = day_of_year - (153 * shifted + 2) / 5 + 1;
        unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
        unsigned year = year_of_era + era * 400 + (month <= 2);

        memcpy(out, "0000-00-00T00:00:00.000000Z", CLOCK_RFC3339_MAX);
        put_digits(out, 4, year);
        put_digits(out + 5, 2, month);
        put_digits(out + 8, 2, day);
        put_digits(out + 11, 2, of_day / 3600);
        put_digits(out + 14, 2, of_day / 60 % 60);
        put_digits(out + 17, 2, of_day % 60);
        put_digits(out + 20, 6, (unsigned)(wall_usec % USEC_PER_SEC));
        return out;
}

// Exactly `width` digits at *at; moves on.
static bool get_digits(const char **at, const char *end, unsigned width, unsigned *ret)
{
        if ((size_t)(end - *at) < width)
                return false;
        unsigned v = 0;
        for (unsigned i = 0; i < width; i++) {
                char c = (*at)[i];
                if (c < '0' || c > '9')
                        return false;
                v = v * 10 + (unsigned)(c - '0');
        }
        *at += width;
        *ret = v;
        return true;
}

static bool get_char(const char **at, const char *end, char upper)
{
        if (*at == end || (**at != upper && **at != (upper | 0x20)))
                return false;
        (*at)++;
        return true;
}

// ".d" to ".ddddddddd", or nothing.
static bool get_fraction(const char **at, const char *end, unsigned *ret_usec)
{
        *ret_usec = 0;
        if (*at == end || **at != '.')
                return true;
        (*at)++;
        unsigned n = 0, usec = 0;
        for (; *at < end && **at >= '0' && **at <= '9'; (*at)++, n++)
                if (n < 6)
                        usec = usec * 10 + (unsigned)(**at - '0');
        for (unsigned i = n; i < 6; i++)
                usec *= 10;
        *ret_usec = usec;
        return n >= 1 && n <= 9;
}

static bool get_offset(const char **at, const char *end, int64_t *ret_seconds)
{
        *ret_seconds = 0;
        if (get_char(at, end, 'Z'))
                return true;
        if (*at == end || (**at != '+' && **at != '-'))
                return false;
        bool west = *(*at)++ == '-';
        unsigned hours, minutes;
        if (!get_digits(at, end, 2, &hours) || *at == end || *(*at)++ != ':' ||
                !get_digits(at, end, 2, &minutes) || hours > 23 || minutes > 59)
                return false;
        int64_t seconds = (int64_t)hours * 3600 + minutes * 60;
        *ret_seconds = west ? -seconds : seconds;
        return true;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
        static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        return month == 2 && leap ? 29 : days[month - 1];
}

static int64_t days_since_epoch(unsigned year, unsigned month, unsigned day)
{
        unsigned y = year - (month <= 2 && year > 0);
        // The year 0 before March would need a negative era; it is before the epoch anyway.
        if (year == 0)
                return -1;
        unsigned era = y / 400, year_of_era = y % 400;
        unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
        unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        return (int64_t)era * 146097 + day_of_era - 719468;
}

int clock_parse_rfc3339(const char *text, size_t len, uint64_t *ret_wall_usec)
{
        const char *at = text, *end = text + len;
        unsigned year, month, day, hour, minute, second, usec;
        int64_t offset;
        if (!get_digits(&at, end, 4, &year) || !get_char(&at, end, '-') ||
                !get_digits(&at, end, 2, &month) || !get_char(&at, end, '-') ||
                !get_digits(&at, end, 2, &day) || !get_char(&at, end, 'T') ||
                !get_digits(&at, end, 2, &hour) || !get_char(&at, end, ':') ||
                !get_digits(&at, end, 2, &minute) || !get_char(&at, end, ':') ||
                !get_digits(&at, end, 2, &second) || !get_fraction(&at, end, &usec) ||
                !get_offset(&at, end, &offset) || at != end)
                return -EINVAL;
        if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
                minute > 59 || second > 60)
                return -EINVAL;
        int64_t seconds = days_since_epoch(year, month, day) * (int64_t)SECONDS_A_DAY +
                          hour * 3600 + minute * 60 + second - offset;
        if (seconds < 0)
                return -EINVAL;
        if (second == 60 && (uint64_t)seconds % SECONDS_A_DAY != 0) // a leap second ends a UTC day
                return -EINVAL;
        *ret_wall_usec = (uint64_t)seconds * USEC_PER_SEC + usec;
        return 0;
}
