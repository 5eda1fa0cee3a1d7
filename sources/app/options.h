// SPDX-License-Identifier: MIT
// The options of an app source, as the table in options.c fills them.
#pragma once

#include "config/option.h"
#include "event/schema.h"

typedef struct AppOptions {
        uint64_t max_line;   // bytes of one line
        int64_t rate;        // events a second of one user
        int64_t connections; // of one user
        uint64_t line_usec;  // how long a line may take to come, and an answer to be read
        uint64_t key_usec;   // how long a key is remembered
        int64_t keys;        // and how many
} AppOptions;

extern const Option app_options[];
extern const size_t n_app_options;
