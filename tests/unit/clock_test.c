// SPDX-License-Identifier: MIT
// RFC 3339 in both directions, against known instants and against the C library's calendar.
#include "test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include <errno.h>
#include <string.h>
#include <time.h>

static const struct {
        const char *text;
        uint64_t usec;
} good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.000001Z", 1},
        {"2026-11-23T09:33:00.123456Z", UINT64_C(1795426380123456)},
        {"2026-11-23t09:33:00.123456z", UINT64_C(1795426380123456)},
        {"2026-11-23T10:33:00.123456+01:00", UINT64_C(1795426380123456)},
        {"2026-11-23T04:03:00.123456-05:30", UINT64_C(1795426380123456)},
        {"2026-11-23T09:33:00.1Z", UINT64_C(1795426380100000)},
        {"2026-11-23T09:33:00.123456999Z", UINT64_C(1795426380123456)},
        {"2000-02-29T12:00:00-00:00", UINT64_C(951825600000000)},
        {"2016-12-31T23:59:60Z", UINT64_C(1483228800000000)},
        {"2017-01-01T00:59:60+01:00", UINT64_C(1483228800000000)},
        {"1969-12-31T23:00:00-01:00", 0},
        {"9999-12-31T23:59:59.999999Z", UINT64_C(253402300799999999)},
};

static const char *const bad[] = {
        "",
        "2026",
        "2026-11-23",
        "2026-11-23 09:33:00Z",
        "2026-11-23T09:33:00",
        "2026-11-23T09:33Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T12:00:60Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567890Z",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+00:60",
        "2026-01-01T00:00:00+0000",
        "2026-01-01T00:00:00Zx",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "-026-01-01T00:00:00Z",
        "2026-01-01T+1:00:00Z",
};

static void test_parse(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(good); i++) {
                uint64_t usec = 1;
                int r = clock_parse_rfc3339(good[i].text, strlen(good[i].text), &usec);
                if (r < 0 || usec != good[i].usec)
                        fail_msg("%s: %d, %llu", good[i].text, r, (unsigned long long)usec);
        }
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                uint64_t usec = 77;
                int r = clock_parse_rfc3339(bad[i], strlen(bad[i]), &usec);
                if (r != -EINVAL || usec != 77)
                        fail_msg("%s: %d", bad[i], r);
        }
}

static void test_every_cut_is_refused(void **state)
{
        static const char text[] = "2026-11-23T09:33:00.123456+01:00";
        for (size_t n = 0; n < sizeof(text) - 1; n++) {
                _cleanup_(freep) char *copy = malloc(n ? n : 1);
                memcpy(copy, text, n);
                uint64_t usec;
                assert_int_equal(clock_parse_rfc3339(copy, n, &usec), -EINVAL);
        }
}

static void test_print(void **state)
{
        char out[CLOCK_RFC3339_MAX];
        assert_string_equal(clock_rfc3339(0, out), "1970-01-01T00:00:00.000000Z");
        assert_string_equal(
                clock_rfc3339(UINT64_C(1795426380123456), out), "2026-11-23T09:33:00.123456Z");
        assert_string_equal(clock_rfc3339(UINT64_MAX, out), "9999-12-31T23:59:59.999999Z");
}

static void test_calendar_agrees_with_libc(void **state)
{
        // Every 9th day or so to the year 9999: all months, leap years and centuries are met.
        for (uint64_t t = 0; t < UINT64_C(253402300800); t += 777777) {
                char ours[CLOCK_RFC3339_MAX], theirs[64];
                time_t when = (time_t)t;
                struct tm tm;
                assert_non_null(gmtime_r(&when, &tm));
                assert_true(strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%S.000000Z", &tm) > 0);
                assert_string_equal(clock_rfc3339(t * USEC_PER_SEC, ours), theirs);
                uint64_t back = 0;
                assert_int_equal(clock_parse_rfc3339(ours, strlen(ours), &back), 0);
                assert_true(back == t * USEC_PER_SEC);
        }
}

static void test_clocks_advance(void **state)
{
        uint64_t boot = clock_boot_usec(), mono = clock_mono_usec();
        assert_true(clock_boot_usec() >= boot);
        assert_true(clock_mono_usec() >= mono);
        assert_true(clock_wall_usec() > UINT64_C(1700000000) * USEC_PER_SEC);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_every_cut_is_refused),
                cmocka_unit_test(test_print),
                cmocka_unit_test(test_calendar_agrees_with_libc),
                cmocka_unit_test(test_clocks_advance),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
