// SPDX-License-Identifier: MIT
// The options of a lines source, as the table in options.c fills them, and its event types.
#pragma once

#include "config/option.h"
#include "event/schema.h"

typedef enum LinesStart { START_END, START_BEGINNING } LinesStart;

typedef struct LinesOptions {
        char **paths, **exclude;
        int start; // LinesStart
        char *parse;
        char *multiline; // NULL: each line is its own event
        uint64_t multiline_wait_usec, poll_usec, max_line;
} LinesOptions;

extern const Option lines_options[];
extern const size_t n_lines_options;
extern const EventType lines_types[];
extern const size_t n_lines_types;

void lines_check(const void *options, OptionFaults *f);
