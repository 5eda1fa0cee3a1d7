// SPDX-License-Identifier: MIT
// What an answer means: the table of belfry-http(5), as pure functions.
#pragma once

#include "base/slice.h"
#include "module/verdict.h"
#include <curl/curl.h>
#include <stdint.h>

enum {
        RESPONSE_HEAD_MAX = 64 * 1024, // bytes of all header lines of one attempt, 1xx included
        RETRY_AFTER_MAX_SEC = 3600,
};

VerdictClass response_class(unsigned status);                 // of a complete final head
VerdictClass response_error_class(CURLcode c);                // no complete head came
const char *response_error_words(VerdictClass k, CURLcode c); // short; names no host and no secret

// A status line: "HTTP/1.1 200 OK". The three digits, or 0 when it is not one.
unsigned response_status_parse(Slice line);

// Retry-After: delta-seconds or an HTTP-date (RFC 9110 10.2.3, all three forms). Microseconds from
// now, at most one hour; 0 when absent, past or garbage.
uint64_t retry_after_parse(Slice value, uint64_t now_wall_usec);
// -EINVAL when it is none. Seconds since the epoch.
int http_date_parse(Slice text, int64_t now_sec, int64_t *ret_sec);
