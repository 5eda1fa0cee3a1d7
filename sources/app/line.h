// SPDX-License-Identifier: MIT
// One line as an application writes it: {"type", "subject", "id", "time", "data"}, all but the type
// optional. Pure: text in, an event's parts or a reason out.
#pragma once

#include "base/json.h"
#include "base/reason.h"

enum { APP_KEY_MAX = 256, APP_TYPE_TEXT_MAX = 129 };

typedef struct AppLine {
        char type[APP_TYPE_TEXT_MAX];
        Slice subject;      // plain text, borrowed from the parser; empty when absent
        Slice key;          // the client's own id; absent (data NULL) when it gave none
        uint64_t time_usec; // 0: not given
        Slice data;         // one JSON object, borrowed from the line; "{}" when absent
} AppLine;

// Memory that lines share. {0} to begin with (app_parser_init).
typedef struct AppParser {
        JsonTree tree;
        Buf texts; // subject and key, escapes undone
} AppParser;

void app_parser_init(AppParser *p);
void app_parser_deinit(AppParser *p);

// 0, or -EINVAL with a reason for whoever wrote the line, or -ENOMEM. What the hub would refuse is
// refused here: a source that sends it would be ended. Valid until the next line.
int app_line_parse(AppParser *p, Slice text, AppLine *ret, Reason *reason) _must_use_;

// The event's id: the hub makes the same from instance and material.
enum { APP_MATERIAL_MAX = 16 + APP_KEY_MAX };
Slice app_material(char out[static APP_MATERIAL_MAX], unsigned uid, Slice key);
