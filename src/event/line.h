// SPDX-License-Identifier: MIT
// One line as applications and programs write it: {"type", "subject", "id", "time", "data"}, all but
// the type optional; of a program also "position", with or without an event, and "ready". Pure: text
// in, an event's parts or a reason out.
#pragma once

#include "base/json.h"
#include "base/reason.h"

enum { EVENT_LINE_ID_MAX = 256, EVENT_LINE_POSITION_MAX = 1024, EVENT_LINE_TYPE_TEXT_MAX = 129 };

typedef struct EventLine {
        char type[EVENT_LINE_TYPE_TEXT_MAX]; // "": no event, of a program only
        Slice subject;      // plain text, borrowed from the parser; empty when absent
        Slice key;          // its own id; absent (data NULL) when it gave none
        uint64_t time_usec; // 0: not given
        Slice data;         // one JSON object, borrowed from the line; "{}" when absent
        Slice position;     // of a program: without control characters; absent when it gave none
        bool ready;         // of a program
} EventLine;

// Memory that lines share. {0} to begin with (event_parser_init).
typedef struct EventParser {
        JsonTree tree;
        Buf texts; // subject, key and position, escapes undone
} EventParser;

void event_parser_init(EventParser *p);
void event_parser_deinit(EventParser *p);

// 0, or -EINVAL with a reason for whoever wrote the line, or -ENOMEM. What the hub would refuse is
// refused here: a source that sends it would be ended. Valid until the next line.
int event_line_parse(
        EventParser *p, Slice text, bool program, EventLine *ret, Reason *reason) _must_use_;
