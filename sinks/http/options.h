// SPDX-License-Identifier: MIT
// The options of one http endpoint as their table fills them. What every sink has (queue, retry,
// max_age, in_flight, method, format) is not here: see SinkPolicy in config/config.h.
#pragma once

#include "config/option.h"

typedef enum HttpVersion { HTTP_VERSION_AUTO, HTTP_VERSION_1_1, HTTP_VERSION_2 } HttpVersion;

typedef struct HttpOptions {
        char *url;
        StringMap headers, query;
        char **secret; // references; NULL-terminated, or NULL
        uint64_t timeout_usec, connect_timeout_usec;
        uint64_t response_limit; // bytes
        char *ca;
        bool verify;
        int http; // HttpVersion
        char **allow, **deny;
} HttpOptions;

extern const Option http_options[];
extern const size_t n_http_options;
void http_check(const void *options, OptionFaults *f);
