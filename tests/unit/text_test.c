// SPDX-License-Identifier: MIT
// UTF-8, quantities, names, the nearest word, terminal-safe text.
#include "test.h"

#include "base/clock.h"
#include "base/text.h"
#include "torture.h"
#include <errno.h>

static void test_utf8(void **state)
{
        static const struct {
                const char *bytes;
                size_t len, expected;
        } cases[] = {
                {"", 0, 0},
                {"a", 1, 1},
                {"\0", 1, 1},
                {"\x7f", 1, 1},
                {"\x80", 1, 0},
                {"\xc0\x80", 2, 0},
                {"\xc1\xbf", 2, 0},
                {"\xc2\x80", 2, 2},
                {"\xc2", 1, 0},
                {"\xc2\x41", 2, 0},
                {"\xdf\xbf", 2, 2},
                {"\xe0\x9f\xbf", 3, 0},
                {"\xe0\xa0\x80", 3, 3},
                {"\xed\x9f\xbf", 3, 3},
                {"\xed\xa0\x80", 3, 0},
                {"\xee\x80\x80", 3, 3},
                {"\xef\xbf\xbf", 3, 3},
                {"\xe2\x82", 2, 0},
                {"\xf0\x8f\xbf\xbf", 4, 0},
                {"\xf0\x90\x80\x80", 4, 4},
                {"\xf4\x8f\xbf\xbf", 4, 4},
                {"\xf4\x90\x80\x80", 4, 0},
                {"\xf5\x80\x80\x80", 4, 0},
                {"\xf0\x9f\x94", 3, 0},
                {"\xf0\x9f\x94\x41", 4, 0},
                {"\xff", 1, 0},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                if (text_utf8_len(slice_mem(cases[i].bytes, cases[i].len)) != cases[i].expected)
                        fail_msg("case %zu", i);
}

static void test_utf8_valid_at_every_alignment(void **state)
{
        char text[40];
        for (size_t at = 0; at < 30; at++) {
                memset(text, 'x', sizeof(text));
                assert_true(text_utf8_valid(slice_mem(text, sizeof(text))));
                memcpy(text + at, "\xf0\x9f\x94\x94", 4);
                assert_true(text_utf8_valid(slice_mem(text, sizeof(text))));
                assert_false(text_utf8_valid(slice_mem(text, at + 3)));
                text[at + 2] = 'x';
                assert_false(text_utf8_valid(slice_mem(text, sizeof(text))));
        }
        assert_true(text_utf8_valid(SLICE_NULL));
}

static void test_durations(void **state)
{
        static const struct {
                const char *text;
                int r;
                uint64_t usec;
        } cases[] = {
                {"15s", 0, 15 * USEC_PER_SEC},
                {"500ms", 0, 500 * USEC_PER_MSEC},
                {"0", 0, 0},
                {"4d", 0, UINT64_C(4) * 86400 * USEC_PER_SEC},
                {"2h", 0, UINT64_C(7200) * USEC_PER_SEC},
                {"5m", 0, 300 * USEC_PER_SEC},
                {"7", 0, 7 * USEC_PER_SEC},
                {"007s", 0, 7 * USEC_PER_SEC},
                {"", -EINVAL, 0},
                {"s", -EINVAL, 0},
                {"5 s", -EINVAL, 0},
                {" 5s", -EINVAL, 0},
                {"5s ", -EINVAL, 0},
                {"-5s", -EINVAL, 0},
                {"+5s", -EINVAL, 0},
                {"1.5s", -EINVAL, 0},
                {"5S", -EINVAL, 0},
                {"5min", -EINVAL, 0},
                {"5us", -EINVAL, 0},
                {"0x5", -EINVAL, 0},
                {"213503983d", -ERANGE, 0},
                {"99999999999999999999s", -ERANGE, 0},
                {"99999999999999999999q", -EINVAL, 0},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                uint64_t usec = 0;
                int r = text_parse_duration(slice_of(cases[i].text), USEC_PER_SEC, &usec);
                if (r != cases[i].r || usec != cases[i].usec)
                        fail_msg("\"%s\": %d, %llu", cases[i].text, r, (unsigned long long)usec);
        }
}

static void test_sizes(void **state)
{
        static const struct {
                const char *text;
                int r;
                uint64_t bytes;
        } cases[] = {
                {"10M", 0, 10 << 20},
                {"64K", 0, 64 << 10},
                {"1G", 0, 1 << 30},
                {"12", 0, 12},
                {"0", 0, 0},
                {"18446744073709551615", 0, UINT64_MAX},
                {"18446744073709551616", -ERANGE, 0},
                {"17179869184G", -ERANGE, 0},
                {"1T", -EINVAL, 0},
                {"1k", -EINVAL, 0},
                {"1KB", -EINVAL, 0},
                {"K", -EINVAL, 0},
                {"", -EINVAL, 0},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                uint64_t bytes = 0;
                int r = text_parse_size(slice_of(cases[i].text), &bytes);
                if (r != cases[i].r || bytes != cases[i].bytes)
                        fail_msg("\"%s\": %d, %llu", cases[i].text, r, (unsigned long long)bytes);
        }
}

static void test_quantities_print_as_they_parse(void **state)
{
        char out[TEXT_QUANTITY_MAX];
        assert_string_equal(text_duration(0, out), "0s");
        assert_string_equal(text_duration(90 * USEC_PER_SEC, out), "90s");
        assert_string_equal(text_duration(120 * USEC_PER_SEC, out), "2m");
        assert_string_equal(text_duration(UINT64_C(4) * 86400 * USEC_PER_SEC, out), "4d");
        assert_string_equal(text_duration(1500 * USEC_PER_MSEC, out), "1500ms");
        assert_string_equal(text_duration(1, out), "1us");
        assert_string_equal(text_duration(USEC_INFINITY, out), "infinity");
        assert_string_equal(text_size(0, out), "0");
        assert_string_equal(text_size(1023, out), "1023");
        assert_string_equal(text_size(1 << 20, out), "1M");
        assert_string_equal(text_size(1536, out), "1536");
        for (uint64_t v = 1; v < UINT64_MAX / 7; v *= 7) {
                uint64_t back = 0;
                assert_int_equal(text_parse_size(slice_of(text_size(v << 10, out)), &back), 0);
                assert_true(back == v << 10);
                uint64_t msec = v / 1000 * 1000;
                assert_int_equal(
                        text_parse_duration(slice_of(text_duration(msec, out)), 1, &back), 0);
                assert_true(back == msec);
        }
}

static void test_short_durations(void **state)
{
        static const struct {
                uint64_t usec;
                const char *text;
        } cases[] = {
                {0, "0s"},
                {7, "7us"},
                {1200, "1ms"},
                {250000, "250ms"},
                {1250000, "1s 250ms"},
                {12250000, "12s"},
                {UINT64_C(185000000), "3min 5s"},
                {UINT64_C(3600000000), "1h"},
                {UINT64_C(90061000000), "1d 1h"},
                {UINT64_MAX - 1, "213503982d 8h"},
                {UINT64_MAX, "infinity"},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char out[TEXT_QUANTITY_MAX];
                assert_string_equal(text_duration_short(cases[i].usec, out), cases[i].text);
        }
}

static void test_nearest(void **state)
{
        static const char *const words[] = {
                "path", "paths", "recursive", "one_filesystem", "url", "to"};
        static const struct {
                const char *word, *expected;
        } cases[] = {
                {"pahts", "paths"},
                {"path", "path"},
                {"pth", "path"},
                {"recusrive", "recursive"},
                {"recursiv", "recursive"},
                {"one-file-system", "one_filesystem"},
                {"URL", "url"},
                {"ulr", "url"},
                {"id", NULL},
                {"xy", NULL},
                {"zzzzzz", NULL},
                {"", NULL},
                {"x", NULL},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                const char *got = text_nearest(slice_of(cases[i].word), words, N_ELEMENTS(words));
                if (!cases[i].expected ? got != NULL : !got || strcmp(got, cases[i].expected) != 0)
                        fail_msg("%s: %s", cases[i].word, got ? got : "(none)");
        }
        char long_word[1000];
        memset(long_word, 'p', sizeof(long_word));
        assert_null(
                text_nearest(slice_mem(long_word, sizeof(long_word)), words, N_ELEMENTS(words)));
        assert_null(text_nearest(SLICE_LIT("path"), NULL, 0));
}

static void test_names(void **state)
{
        static const char *const good[] = {"a", "a-b", "a1", "abcdefghijklmnopqrstuvwxyz-01234"};
        static const char *const bad[] = {
                "", "A", "1a", "-a", "a_b", "a.b", "\xc3\xa4", "abcdefghijklmnopqrstuvwxyz-012345"};
        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                assert_true(text_is_name(slice_of(good[i])));
        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_false(text_is_name(slice_of(bad[i])));
}

static void test_escape(void **state)
{
        static const struct {
                const char *in, *out;
        } cases[] = {
                {"plain \xc3\xa4 \xf0\x9f\x94\x94", "plain \xc3\xa4 \xf0\x9f\x94\x94"},
                {"a\nb\tc", "a\\x0ab\\x09c"},
                {"\x1b[31m", "\\x1b[31m"},
                {"\x7f", "\\x7f"},
                {"\xc2\x9b"
                 "31m",
                        "\\xc2\\x9b31m"},
                {"\xff\xfe", "\\xff\\xfe"},
                {"\xe2\x82", "\\xe2\\x82"},
                {"\xe2\x80\xae"
                 "evil",
                        "\\xe2\\x80\\xaeevil"},
                {"\xe2\x81\xa6", "\\xe2\\x81\\xa6"},
                {"\xe2\x80\x93", "\xe2\x80\x93"},
                {"\xd8\x9c", "\\xd8\\x9c"},
                {"", ""},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(buf_deinitp) Buf b = BUF_INIT(100);
                text_add_escaped(&b, slice_of(cases[i].in));
                assert_string_equal(buf_text(&b), cases[i].out);
        }
}

static int escape(void *arg)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        for (int i = 0; i < 20; i++)
                text_add_escaped(&b, SLICE_LIT("\x1b plain \xff"));
        return b.error;
}

static void test_torture(void **state)
{
        assert_true(torture(escape, NULL) >= 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_utf8),
                cmocka_unit_test(test_utf8_valid_at_every_alignment),
                cmocka_unit_test(test_durations),
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_quantities_print_as_they_parse),
                cmocka_unit_test(test_short_durations),
                cmocka_unit_test(test_nearest),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_escape),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
