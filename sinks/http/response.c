// SPDX-License-Identifier: MIT
// What an answer means. The status decides as soon as the head is complete; libcurl's error code
// only when it never was. Dates are read strictly: a hint that is not one of the three forms of
// RFC 9110 is ignored, since guessing could park an endpoint.

#include "response.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"

VerdictClass response_class(unsigned status)
{
        switch (status) {
        case 200 ... 299:
                return VERDICT_DELIVERED;
        case 300 ... 399:
                return VERDICT_REDIRECT;
        case 401:
        case 404:
        case 407:
        case 409:
                return VERDICT_CLIENT;
        case 408:
        case 500 ... 599:
                return VERDICT_SERVER;
        case 410:
                return VERDICT_GONE;
        case 425:
        case 429:
                return VERDICT_THROTTLED;
        default:
                return status >= 400 && status < 500 ? VERDICT_REJECTED : VERDICT_PROTOCOL;
        }
}

VerdictClass response_error_class(CURLcode c)
{
        switch (c) {
        case CURLE_OPERATION_TIMEDOUT:
                return VERDICT_TIMEOUT;
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_ENGINE_NOTFOUND:
        case CURLE_SSL_ENGINE_SETFAILED:
        case CURLE_SSL_ENGINE_INITFAILED:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CRL_BADFILE:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        case CURLE_SSL_INVALIDCERTSTATUS:
        case CURLE_SSL_SHUTDOWN_FAILED:
        case CURLE_USE_SSL_FAILED:
                return VERDICT_TLS;
        case CURLE_UNSUPPORTED_PROTOCOL: // HTTP/0.9
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_HTTP2:
        case CURLE_BAD_CONTENT_ENCODING:
        case CURLE_WRITE_ERROR:   // our own limit on the head
        case CURLE_OUT_OF_MEMORY: // libcurl's limit on one header line
        case CURLE_FILESIZE_EXCEEDED:
                return VERDICT_PROTOCOL;
        default:
                return VERDICT_NETWORK;
        }
}

const char *response_error_words(VerdictClass k, CURLcode c)
{
        switch (c) {
        case CURLE_WRITE_ERROR:
        case CURLE_OUT_OF_MEMORY:
                return "the head of the answer is too long or not HTTP";
        case CURLE_UNSUPPORTED_PROTOCOL:
                return "the answer is not HTTP";
        case CURLE_GOT_NOTHING:
                return "the connection was closed without an answer";
        default:
                return k == VERDICT_FORBIDDEN ? "the address is not allowed"
                                              : curl_easy_strerror(c);
        }
}

unsigned response_status_parse(Slice line)
{
        const char *p = memchr(line.data, ' ', line.len);
        const char *end = line.data + line.len;

        if (!slice_starts(line, SLICE_LIT("HTTP/")) || !p)
                return 0;
        while (p < end && *p == ' ')
                p++;
        if (end - p < 3)
                return 0;
        unsigned status = 0;
        for (int i = 0; i < 3; i++) {
                if (p[i] < '0' || p[i] > '9')
                        return 0;
                status = status * 10 + (unsigned)(p[i] - '0');
        }
        return end - p == 3 || p[3] < '0' || p[3] > '9' ? status : 0;
}

// A reader that eats a fixed shape piece by piece; one miss fails the whole.
typedef struct DateReader {
        Slice rest;
        bool bad;
} DateReader;

static void date_literal(DateReader *d, const char *text)
{
        Slice s = slice_of(text);

        if (d->bad || !slice_starts(d->rest, s)) {
                d->bad = true;
                return;
        }
        d->rest = slice_mem(d->rest.data + s.len, d->rest.len - s.len);
}

static int date_digits(DateReader *d, size_t n)
{
        int v = 0;

        if (d->bad || d->rest.len < n) {
                d->bad = true;
                return 0;
        }
        for (size_t i = 0; i < n; i++) {
                char c = d->rest.data[i];
                if (c < '0' || c > '9') {
                        d->bad = true;
                        return 0;
                }
                v = v * 10 + (c - '0');
        }
        d->rest = slice_mem(d->rest.data + n, d->rest.len - n);
        return v;
}

// One of the words; long ones stand before their prefixes in no table here, so the first hit is it.
static int date_word(DateReader *d, const char *const *words, int n)
{
        for (int i = 0; i < n && !d->bad; i++) {
                Slice s = slice_of(words[i]);
                if (slice_starts(d->rest, s)) {
                        d->rest = slice_mem(d->rest.data + s.len, d->rest.len - s.len);
                        return i;
                }
        }
        d->bad = true;
        return 0;
}

static void date_clock(DateReader *d, struct tm *tm)
{
        tm->tm_hour = date_digits(d, 2);
        date_literal(d, ":");
        tm->tm_min = date_digits(d, 2);
        date_literal(d, ":");
        tm->tm_sec = date_digits(d, 2);
}

static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
static const char *const long_days[] = {
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
static const char *const months[] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// "Sun, 06 Nov 1994 08:49:37 GMT"
static bool date_imf(Slice text, struct tm *tm)
{
        DateReader d = {text, false};

        (void)date_word(&d, days, 7);
        date_literal(&d, ", ");
        tm->tm_mday = date_digits(&d, 2);
        date_literal(&d, " ");
        tm->tm_mon = date_word(&d, months, 12);
        date_literal(&d, " ");
        tm->tm_year = date_digits(&d, 4) - 1900;
        date_literal(&d, " ");
        date_clock(&d, tm);
        date_literal(&d, " GMT");
        return !d.bad && d.rest.len == 0;
}

// "Sunday, 06-Nov-94 08:49:37 GMT"; a year more than 50 years ahead means the century before.
static bool date_rfc850(Slice text, int64_t now_sec, struct tm *tm)
{
        DateReader d = {text, false};
        time_t now = (time_t)now_sec;
        struct tm now_tm;

        (void)date_word(&d, long_days, 7);
        date_literal(&d, ", ");
        tm->tm_mday = date_digits(&d, 2);
        date_literal(&d, "-");
        tm->tm_mon = date_word(&d, months, 12);
        date_literal(&d, "-");
        int year = date_digits(&d, 2);
        date_literal(&d, " ");
        date_clock(&d, tm);
        date_literal(&d, " GMT");
        if (d.bad || d.rest.len > 0 || !gmtime_r(&now, &now_tm))
                return false;
        int century = now_tm.tm_year - now_tm.tm_year % 100;
        tm->tm_year = century + year;
        if (tm->tm_year > now_tm.tm_year + 50)
                tm->tm_year -= 100;
        return true;
}

// "Sun Nov  6 08:49:37 1994"
static bool date_asctime(Slice text, struct tm *tm)
{
        DateReader d = {text, false};

        (void)date_word(&d, days, 7);
        date_literal(&d, " ");
        tm->tm_mon = date_word(&d, months, 12);
        date_literal(&d, " ");
        bool padded = d.rest.len > 0 && d.rest.data[0] == ' ';
        if (padded)
                date_literal(&d, " ");
        tm->tm_mday = date_digits(&d, padded ? 1 : 2);
        date_literal(&d, " ");
        date_clock(&d, tm);
        date_literal(&d, " ");
        tm->tm_year = date_digits(&d, 4) - 1900;
        return !d.bad && d.rest.len == 0;
}

int http_date_parse(Slice text, int64_t now_sec, int64_t *ret_sec)
{
        struct tm tm = {0};

        if (!date_imf(text, &tm)) {
                tm = (struct tm){0};
                if (!date_rfc850(text, now_sec, &tm)) {
                        tm = (struct tm){0};
                        if (!date_asctime(text, &tm))
                                return -EINVAL;
                }
        }
        if (tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
                tm.tm_sec > 60)
                return -EINVAL;
        struct tm given = tm;
        int64_t sec = (int64_t)timegm(&tm);
        if (tm.tm_sec == given.tm_sec && tm.tm_mday != given.tm_mday) // the 31st of a month of 30
                return -EINVAL;
        *ret_sec = sec;
        return 0;
}

uint64_t retry_after_parse(Slice value, uint64_t now_wall_usec)
{
        uint64_t seconds = 0;
        size_t i = 0;

        while (value.len > 0 && (value.data[0] == ' ' || value.data[0] == '\t'))
                value = slice_mem(value.data + 1, value.len - 1);
        while (value.len > 0 && strchr(" \t\r\n", value.data[value.len - 1]))
                value.len--;
        for (; i < value.len && value.data[i] >= '0' && value.data[i] <= '9'; i++)
                if (seconds <= RETRY_AFTER_MAX_SEC)
                        seconds = seconds * 10 + (uint64_t)(value.data[i] - '0');
        if (value.len == 0)
                return 0;
        if (i < value.len) {
                int64_t when, now = (int64_t)(now_wall_usec / USEC_PER_SEC);
                if (http_date_parse(value, now, &when) < 0 || when <= now)
                        return 0;
                seconds = (uint64_t)(when - now);
        }
        return (seconds > RETRY_AFTER_MAX_SEC ? RETRY_AFTER_MAX_SEC : seconds) * USEC_PER_SEC;
}
