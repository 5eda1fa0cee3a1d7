// SPDX-License-Identifier: MIT
// What an answer means: the whole table of belfry-http(5), status lines and Retry-After.
#include "test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "response.h"
#include <errno.h>

static void test_status_classes(void **state)
{
        for (unsigned s = 0; s <= 999; s++) {
                VerdictClass expected = VERDICT_PROTOCOL; // 000, 1xx, 600 and above
                if (s >= 200 && s <= 299)
                        expected = VERDICT_DELIVERED;
                else if (s >= 300 && s <= 399)
                        expected = VERDICT_REDIRECT;
                else if (s == 410)
                        expected = VERDICT_GONE;
                else if (s == 408 || (s >= 500 && s <= 599))
                        expected = VERDICT_SERVER;
                else if (s == 425 || s == 429)
                        expected = VERDICT_THROTTLED;
                else if (s == 401 || s == 404 || s == 407 || s == 409)
                        expected = VERDICT_CLIENT;
                else if (s >= 400 && s <= 499)
                        expected = VERDICT_REJECTED;
                if (response_class(s) != expected)
                        fail_msg("%u is %s", s, verdict_class_to_string(response_class(s)));
        }
}

static void test_error_classes(void **state)
{
        static const struct {
                CURLcode code;
                VerdictClass class;
        } cases[] = {
                {CURLE_COULDNT_RESOLVE_HOST, VERDICT_NETWORK},
                {CURLE_COULDNT_CONNECT, VERDICT_NETWORK},
                {CURLE_GOT_NOTHING, VERDICT_NETWORK},
                {CURLE_SEND_ERROR, VERDICT_NETWORK},
                {CURLE_RECV_ERROR, VERDICT_NETWORK},
                {CURLE_HTTP2_STREAM, VERDICT_NETWORK},
                {CURLE_OPERATION_TIMEDOUT, VERDICT_TIMEOUT},
                {CURLE_SSL_CONNECT_ERROR, VERDICT_TLS},
                {CURLE_PEER_FAILED_VERIFICATION, VERDICT_TLS},
                {CURLE_SSL_CACERT_BADFILE, VERDICT_TLS},
                {CURLE_UNSUPPORTED_PROTOCOL, VERDICT_PROTOCOL},
                {CURLE_WEIRD_SERVER_REPLY, VERDICT_PROTOCOL},
                {CURLE_HTTP2, VERDICT_PROTOCOL},
                {CURLE_WRITE_ERROR, VERDICT_PROTOCOL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                assert_int_equal(response_error_class(cases[i].code), cases[i].class);
                assert_non_null(response_error_words(cases[i].class, cases[i].code));
        }
        // Whatever libcurl comes up with is a class that may be retried.
        for (int c = 1; c < CURL_LAST; c++) {
                VerdictClass k = response_error_class((CURLcode)c);
                assert_true(k == VERDICT_NETWORK || k == VERDICT_TIMEOUT || k == VERDICT_TLS ||
                            k == VERDICT_PROTOCOL);
        }
}

static void test_status_lines(void **state)
{
        static const struct {
                const char *line;
                unsigned status;
        } cases[] = {
                {"HTTP/1.1 200 OK\r\n", 200},
                {"HTTP/1.1 200\r\n", 200},
                {"HTTP/1.1 200", 200},
                {"HTTP/2 204 \r\n", 204},
                {"HTTP/1.0  404 x", 404},
                {"HTTP/1.1 999 x", 999},
                {"HTTP/1.1 000 x", 0},
                {"HTTP/1.1 20 OK", 0},
                {"HTTP/1.1 2000 OK", 0},
                {"HTTP/1.1 2x0 OK", 0},
                {"HTTP/1.1 -20 OK", 0},
                {"HTTP/1.1", 0},
                {"HTTP/1.1 ", 0},
                {"HTTX/1.1 200 OK", 0},
                {"", 0},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                if (response_status_parse(slice_of(cases[i].line)) != cases[i].status)
                        fail_msg("%s: %u", cases[i].line,
                                response_status_parse(slice_of(cases[i].line)));
}

#define NOW UINT64_C(784111777) // Sun, 06 Nov 1994 08:49:37 GMT

static void test_retry_after(void **state)
{
        static const struct {
                const char *value;
                uint64_t sec;
        } cases[] = {
                {"0", 0},
                {"1", 1},
                {"120", 120},
                {" 120 \r\n", 120},
                {"3600", 3600},
                {"3601", 3600},
                {"1000000000", 3600},
                {"99999999999999999999999999999999999", 3600},
                {"-1", 0},
                {"+5", 0},
                {"1e9", 0},
                {"5.5", 0},
                {"5s", 0},
                {"0x10", 0},
                {"", 0},
                {"soon", 0},
                {"Sun, 06 Nov 1994 08:49:47 GMT", 10},
                {"Sunday, 06-Nov-94 08:49:47 GMT", 10},
                {"Sun Nov  6 08:49:47 1994", 10},
                {"Sun, 06 Nov 1994 10:49:47 GMT", 3600},
                {"Sun, 06 Nov 1994 08:49:37 GMT", 0}, // now
                {"Sun, 06 Nov 1994 08:49:36 GMT", 0}, // past
                {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
                {"Sun, 06 Nov 1994 08:49:47 UTC", 0},
                {"Sun, 06 Nov 1994 08:49:47 +0000", 0},
                {"sun, 06 nov 1994 08:49:47 gmt", 0},
                {"Sun, 6 Nov 1994 08:49:47 GMT", 0},
                {"Sun, 06 Nov 1994 08:49:47 GMT x", 0},
                {"Sun, 32 Nov 1994 08:49:47 GMT", 0},
                {"Sun, 31 Nov 1994 08:49:47 GMT", 0},
                {"Sun, 06 Nov 1994 24:49:47 GMT", 0},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                uint64_t usec = retry_after_parse(slice_of(cases[i].value), NOW * USEC_PER_SEC);
                if (usec != cases[i].sec * USEC_PER_SEC)
                        fail_msg("'%s': %llu us", cases[i].value, (unsigned long long)usec);
        }
}

static void test_two_digit_years(void **state)
{
        int64_t sec;

        // 1994 seen from 1994 and from 2026; 70 seen from 2026 is the past, not 2070.
        assert_int_equal(
                http_date_parse(SLICE_LIT("Sunday, 06-Nov-94 08:49:37 GMT"), (int64_t)NOW, &sec),
                0);
        assert_int_equal(sec, (int64_t)NOW);
        assert_int_equal(
                http_date_parse(SLICE_LIT("Sunday, 06-Nov-94 08:49:37 GMT"), 1795432920, &sec), 0);
        assert_int_equal(sec, (int64_t)NOW);
        assert_int_equal(
                http_date_parse(SLICE_LIT("Monday, 23-Nov-26 11:22:00 GMT"), 1795432920, &sec), 0);
        assert_int_equal(sec, 1795432920);
        sec = 5;
        assert_int_equal(http_date_parse(SLICE_LIT("garbage"), 0, &sec), -EINVAL);
        assert_int_equal(sec, 5);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_status_classes),
                cmocka_unit_test(test_error_classes),
                cmocka_unit_test(test_status_lines),
                cmocka_unit_test(test_retry_after),
                cmocka_unit_test(test_two_digit_years),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
