// SPDX-License-Identifier: MIT
// Where a program's output is: the last position it told and how many lines without an id came since.
// Such lines are named by it, so the same line printed again gets the same name. Pure.
#pragma once

#include "base/reason.h"
#include "base/slice.h"
#include "event/line.h"
#include <stdint.h>

enum { PLACE_TEXT_MAX = 32 + EVENT_LINE_POSITION_MAX, PLACE_ID_MAX = 32 + EVENT_LINE_POSITION_MAX };

typedef struct Place {
        char position[EVENT_LINE_POSITION_MAX + 1]; // "": it has told none
        uint64_t index;                             // lines without an id since then
} Place;

// As it stands in the store. -EINVAL: not of that form.
size_t place_text(const Place *p, char out[static PLACE_TEXT_MAX]);
int place_parse(Place *p, Slice text) _must_use_;

Slice place_name(const Place *p, char out[static PLACE_ID_MAX]); // of the line that is next
void place_move(Place *p, Slice position); // absent, or the one it has: nothing changes
