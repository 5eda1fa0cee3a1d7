// SPDX-License-Identifier: MIT
// Schedules: what is understood, what is refused and in which words, and the firings around every
// transition of every zone, against a walk through the minutes that knows nothing of how the code
// under test works.
#include "test.h"

#include "schedule.h"
#include "zone.h"
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t utc(int year, int month, int day, int hour, int minute, int second)
{
        struct tm t = {.tm_year = year - 1900,
                .tm_mon = month - 1,
                .tm_mday = day,
                .tm_hour = hour,
                .tm_min = minute,
                .tm_sec = second};
        return timegm(&t);
}

static const struct {
        const char *schedule, *first, *second; // after 2026-11-26 12:00:00 UTC
} good[] = {
        {"* * * * *", "2026-11-26 12:01:00", "2026-11-26 12:02:00"},
        {"30 2 * * *", "2026-11-27 02:30:00", "2026-11-28 02:30:00"},
        {"0 0 13 * fri", "2026-11-27 00:00:00", "2026-12-04 00:00:00"},
        {"0 0 13 * 7", "2026-11-29 00:00:00", "2026-12-06 00:00:00"},
        {"0 0 */10 * 1", "2026-12-21 00:00:00", "2027-01-11 00:00:00"},
        {"0 0 * 2 sun", "2027-02-07 00:00:00", "2027-02-14 00:00:00"},
        {"*/20 9-17/4 1,15 jan-mar *", "2027-01-01 09:00:00", "2027-01-01 09:20:00"},
        {"0 0 29 2 *", "2028-02-29 00:00:00", "2032-02-29 00:00:00"},
        {"  5\t4 * * MON-wed ", "2026-11-30 04:05:00", "2026-12-01 04:05:00"},
        {"@hourly", "2026-11-26 13:00:00", "2026-11-26 14:00:00"},
        {"@midnight", "2026-11-27 00:00:00", "2026-11-28 00:00:00"},
        {"@yearly", "2027-01-01 00:00:00", "2028-01-01 00:00:00"},
        {"@every 90s", "2026-11-26 12:01:30", "2026-11-26 12:03:00"},
        {"@every 1d", "2026-11-27 00:00:00", "2026-11-28 00:00:00"},
        {"12:30", "2026-11-26 12:30:00", "2026-11-27 12:30:00"},
        {"*:0/15", "2026-11-26 12:15:00", "2026-11-26 12:30:00"},
        {"*-*-* *:*:0/20", "2026-11-26 12:00:20", "2026-11-26 12:00:40"},
        {"Mon..Fri 02:30", "2026-11-27 02:30:00", "2026-11-30 02:30:00"},
        {"Sat,Sun", "2026-11-28 00:00:00", "2026-11-29 00:00:00"},
        {"tuesday 3:0", "2026-12-01 03:00:00", "2026-12-08 03:00:00"},
        {"*-02~01", "2027-02-28 00:00:00", "2028-02-29 00:00:00"},
        {"Mon *-05~07/1", "2027-05-31 00:00:00", "2028-05-29 00:00:00"},
        {"*-*~03..05/2 1:00", "2026-11-28 01:00:00", "2026-12-27 01:00:00"},
        {"2027..2030/2-01-01", "2027-01-01 00:00:00", "2029-01-01 00:00:00"},
        {"27-1-1 3:00", "2027-01-01 03:00:00", NULL},
        {"weekly", "2026-11-30 00:00:00", "2026-12-07 00:00:00"},
        {"quarterly", "2027-01-01 00:00:00", "2027-04-01 00:00:00"},
        {"*-*-* 02:30:00 UTC", "2026-11-27 02:30:00", "2026-11-28 02:30:00"},
};

static const char *text_of(int64_t at, char out[static 32])
{
        time_t t = (time_t)at;
        struct tm tm;
        (void)strftime(out, 32, "%F %T", gmtime_r(&t, &tm));
        return out;
}

static void test_good(void **state)
{
        char text[32];
        for (size_t i = 0; i < N_ELEMENTS(good); i++) {
                Schedule s = {0};
                Reason reason = {0};
                Firing f;
                if (schedule_parse(&s, good[i].schedule, NULL, "UTC", &reason) < 0)
                        fail_msg("\"%s\": %s", good[i].schedule, reason.text);
                assert_true(schedule_next(&s, utc(2026, 11, 26, 12, 0, 0), &f));
                assert_string_equal(text_of(f.utc, text), good[i].first);
                assert_int_equal(schedule_next(&s, f.utc, &f), good[i].second != NULL);
                if (good[i].second)
                        assert_string_equal(text_of(f.utc, text), good[i].second);
        }
}

static const struct {
        const char *schedule, *zone, *words;
} bad[] = {
        {"", "UTC", "empty"},
        {"* * * *", "UTC", "expected a date"},
        {"* * * * * *", "UTC", "five fields"},
        {"60 * * * *", "UTC", "the minute field has \"60\": expected 0 to 59"},
        {"* 24 * * *", "UTC", "the hour field has \"24\""},
        {"* * 0 * *", "UTC", "the day of the month field has \"0\""},
        {"* * * foo *", "UTC", "or a name"},
        {"* * * * fri-mon", "UTC", "ends before it begins"},
        {"*/0 * * * *", "UTC", "the minute field"},
        {"5/15 * * * *", "UTC", "write 5-59/15"},
        {"1,,2 * * * *", "UTC", "the minute field has \"\""},
        {"0 0 30 2 *", "UTC", "never comes"},
        {"2020-01-01", "UTC", "never comes"},
        {"@dayly", "UTC", "not one of @hourly"},
        {"@every", "UTC", "whole seconds"},
        {"@every 500ms", "UTC", "whole seconds"},
        {"@every soon", "UTC", "whole seconds"},
        {"25:00", "UTC", "the hour goes from 0 to 23"},
        {"12:60", "UTC", "the minute goes from 0 to 59"},
        {"12:30.5", "UTC", "fractions"},
        {"12:30:00.5", "UTC", "fractions"},
        {"*-13-01", "UTC", "the month goes from 1 to 12"},
        {"*-*-32", "UTC", "the day goes from 1 to 31"},
        {"*:*/5", "UTC", "expected a space"},
        {"Sun..Mon 3:00", "UTC", "the week begins on Monday"},
        {"Mon,Foo 3:00", "UTC", "expected a weekday"},
        {"tomorrow", "UTC", "expected weekdays, a date or a time"},
        {"*:0/0", "UTC", "expected a number"},
        {"*-*-* 02:30:00 Mars/Olympus", "", "no time zone \"Mars/Olympus\""},
        {"*-*-* 02:30:00 Asia/Tokyo", "Europe/Berlin", "name it once"},
        {"12:30", "../../etc/passwd", "no name of a time zone"},
        {"12:30", "Europe/Berlim", "no time zone"},
};

static void test_bad(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                Schedule s = {0};
                Reason reason = {0};
                assert_true(schedule_parse(&s, bad[i].schedule, NULL, bad[i].zone, &reason) < 0);
                if (!strstr(reason.text, bad[i].words))
                        fail_msg("\"%s\" says: %s", bad[i].schedule, reason.text);
        }
}

static void test_at(void **state)
{
        static const struct {
                const char *text, *zone;
                int64_t utc; // 0: refused
        } cases[] = {
                {"2026-12-01 03:00", "Europe/Berlin", 1796090400},
                {"2026-12-01 03:00:30", "UTC", 1796094030},
                {"2026-12-01T03:00:00+01:00", "UTC", 1796090400},
                {"2026-12-01 03:00:00Z", "Europe/Berlin", 1796094000},
                {"2027-03-28 02:30", "Europe/Berlin", 0},
                {"2026-12-01", "UTC", 0},
                {"2026-12-01 03:00 pm", "UTC", 0},
                {"2026-02-30 03:00", "UTC", 0},
                {"soon", "UTC", 0},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Schedule s = {0};
                Reason reason = {0};
                int r = schedule_parse(&s, NULL, cases[i].text, cases[i].zone, &reason);
                assert_int_equal(r, cases[i].utc ? 0 : -EINVAL);
                if (r < 0)
                        continue;
                Firing f;
                assert_true(schedule_next(&s, cases[i].utc - 1, &f) && f.utc == cases[i].utc);
                assert_false(schedule_next(&s, cases[i].utc, &f));
        }
}

// ---- every zone, minute by minute

enum { FROM_YEAR = 2018, YEARS = 20, BEFORE = 26 * 3600, AFTER = 26 * 3600 };

typedef struct Wanted { // a calendar of minutes, matched without the code under test
        const char *schedule;
        bool (*match)(const struct tm *t);
} Wanted;

static bool match_half_past(const struct tm *t)
{
        return t->tm_min == 30 && t->tm_sec == 0;
}

static bool match_nightly(const struct tm *t)
{
        return t->tm_min == 15 && t->tm_hour == 2 && t->tm_sec == 0;
}

static bool match_quarters(const struct tm *t)
{
        return t->tm_min % 15 == 0 && t->tm_sec == 0;
}

static bool match_midnight_weekdays(const struct tm *t)
{
        return t->tm_hour == 0 && t->tm_min == 0 && t->tm_sec == 0 && t->tm_wday >= 1 &&
               t->tm_wday <= 5;
}

static const Wanted wanted[] = {
        {"30 * * * *", match_half_past},
        {"*-*-* 02:15:00", match_nightly},
        {"*:0/15", match_quarters},
        {"0 0 * * mon-fri", match_midnight_weekdays},
};

// What is to fire at this second, by definition: its local time matches, and (first) it is not there
// for the second time; or (next-valid) it is the first after a gap in which one matches.
static bool fires(const Wanted *w, const struct tm *local, int64_t at, int64_t transition,
        int64_t before, GapPolicy gap, FoldPolicy fold)
{
        int64_t now = local->tm_gmtoff;
        if (gap == GAP_NEXT_VALID && at == transition && now > before)
                for (int64_t missing = transition + before; missing < transition + now; missing++) {
                        time_t m = (time_t)missing;
                        struct tm tm;
                        if (w->match(gmtime_r(&m, &tm)))
                                return true;
                }
        if (!w->match(local))
                return false;
        bool again = at >= transition && before > now && at < transition + (before - now);
        return !again || fold == FOLD_BOTH;
}

static unsigned n_zones, n_transitions;

enum { MINUTES = (BEFORE + AFTER) / 60 + 2 };
static struct {
        int64_t at;
        struct tm local;
} minutes[MINUTES];

// Offsets are whole minutes in these years, so whole minutes and the transition are all there is.
static unsigned minutes_around(int64_t transition)
{
        unsigned n = 0;
        for (int64_t at = transition - BEFORE + 1; at <= transition + AFTER; at++) {
                if (at % 60 && at != transition)
                        continue;
                time_t t = (time_t)at;
                minutes[n].at = at;
                (void)localtime_r(&t, &minutes[n++].local);
        }
        return n;
}

static void check_policy(
        const Wanted *w, const Schedule *s, unsigned n, int64_t transition, const char *zone)
{
        int64_t before = zone_offset(transition - 1);
        Firing f = {.utc = transition - BEFORE};
        for (unsigned i = 0; i < n; i++) {
                int64_t at = minutes[i].at, last = f.utc;
                if (!fires(w, &minutes[i].local, at, transition, before, s->gap, s->fold))
                        continue;
                if (!schedule_next(s, last, &f) || f.utc != at || f.utc <= last)
                        fail_msg("%s, \"%s\", gap %d fold %d: after %lld came %lld, not %lld", zone,
                                w->schedule, s->gap, s->fold, (long long)last, (long long)f.utc,
                                (long long)at);
        }
}

static void check_transition(int64_t transition, const char *zone)
{
        unsigned n = minutes_around(transition);
        for (size_t i = 0; i < N_ELEMENTS(wanted); i++) {
                Schedule s = {0};
                Reason reason = {0};
                assert_int_equal(schedule_parse(&s, wanted[i].schedule, NULL, zone, &reason), 0);
                for (unsigned policy = 0; policy < 4; policy++) {
                        s.gap = (GapPolicy)(policy & 1);
                        s.fold = (FoldPolicy)(policy >> 1);
                        check_policy(&wanted[i], &s, n, transition, zone);
                }
        }
        n_transitions++;
}

// Zones that are the same file under another name, and transitions at the same instant with the same
// offsets, are looked at once.
static struct {
        int64_t at, before, after;
} seen[20000];
static unsigned n_seen;

static bool seen_before(int64_t at)
{
        int64_t before = zone_offset(at - 1), after = zone_offset(at);
        for (unsigned i = 0; i < n_seen; i++)
                if (seen[i].at == at && seen[i].before == before && seen[i].after == after)
                        return true;
        if (n_seen < N_ELEMENTS(seen)) {
                seen[n_seen].at = at;
                seen[n_seen].before = before;
                seen[n_seen++].after = after;
        }
        return false;
}

static int each_zone(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
        const char *name = path + strlen("/usr/share/zoneinfo/");
        if (flag != FTW_F || !strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ", *name) || strchr(name, '.'))
                return 0;
        Reason reason = {0};
        assert_int_equal(zone_set(name, &reason), 0);
        n_zones++;
        int64_t end = utc(FROM_YEAR + YEARS, 1, 1, 0, 0, 0);
        for (int64_t at = utc(FROM_YEAR, 1, 1, 0, 0, 0);;) {
                at = zone_transition(at, end);
                if (at == INT64_MAX)
                        break;
                if (!seen_before(at))
                        check_transition(at, name);
        }
        return 0;
}

static void test_every_zone(void **state)
{
        assert_int_equal(nftw("/usr/share/zoneinfo", each_zone, 16, FTW_PHYS), 0);
        print_message("%u zones, %u transitions\n", n_zones, n_transitions);
        assert_true(n_zones > 300 && n_transitions > 500);
}

// Where transitions are near each other or odd: what a reader can check by hand.
static void test_known_transitions(void **state)
{
        static const struct {
                const char *schedule, *zone;
                GapPolicy gap;
                FoldPolicy fold;
                const char *after, *utc;
        } cases[] = {
                {"30 2 * * *", "Europe/Berlin", GAP_SKIP, FOLD_FIRST, "2027-03-27 12:00:00",
                        "2027-03-29 00:30:00"},
                {"30 2 * * *", "Europe/Berlin", GAP_NEXT_VALID, FOLD_FIRST, "2027-03-27 12:00:00",
                        "2027-03-28 01:00:00"},
                {"30 2 * * *", "Europe/Berlin", GAP_SKIP, FOLD_FIRST, "2026-10-25 00:30:00",
                        "2026-10-26 01:30:00"},
                {"30 2 * * *", "Europe/Berlin", GAP_SKIP, FOLD_BOTH, "2026-10-25 00:30:00",
                        "2026-10-25 01:30:00"},
                {"30 1 * * *", "Europe/Dublin", GAP_SKIP, FOLD_FIRST, "2027-03-27 12:00:00",
                        "2027-03-29 00:30:00"},
                {"2026-10-25 02:30:00", "Europe/Berlin", GAP_SKIP, FOLD_BOTH, "2026-10-25 00:30:00",
                        "2026-10-25 01:30:00"},
                {"15 2 * * *", "Australia/Lord_Howe", GAP_NEXT_VALID, FOLD_FIRST,
                        "2026-10-03 12:00:00", "2026-10-03 15:30:00"},
                {"0 12 30 12 *", "Pacific/Apia", GAP_SKIP, FOLD_FIRST, "2011-12-01 00:00:00",
                        "2012-12-29 22:00:00"},
                {"0 12 30 12 *", "Pacific/Apia", GAP_NEXT_VALID, FOLD_FIRST, "2011-12-01 00:00:00",
                        "2011-12-30 10:00:00"},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Schedule s = {.gap = cases[i].gap, .fold = cases[i].fold};
                Calendar c;
                Slice zone;
                Reason reason = {0};
                Firing f;
                char text[32];
                struct tm tm = {0};
                // Not schedule_parse(): it refuses what will never come again.
                int r = strchr(cases[i].schedule, ':')
                                ? calendar_parse_on(cases[i].schedule, &c, &zone, &reason)
                                : calendar_parse_cron(cases[i].schedule, &c, &reason);
                assert_int_equal(r, 0);
                assert_int_equal(zone_set(cases[i].zone, &reason), 0);
                s.calendar = c;
                assert_non_null(strptime(cases[i].after, "%F %T", &tm));
                assert_true(schedule_next(&s, timegm(&tm), &f));
                assert_string_equal(text_of(f.utc, text), cases[i].utc);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),
                cmocka_unit_test(test_bad),
                cmocka_unit_test(test_at),
                cmocka_unit_test(test_known_transitions),
                cmocka_unit_test(test_every_zone),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
