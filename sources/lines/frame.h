// SPDX-License-Identifier: MIT
// Bytes of a file to events: where the next one begins and ends. Knows nothing of files.
#pragma once

#include "base/slice.h"
#include "rule/regex.h"
#include <stdint.h>

// What is left out after an event that was cut: the rest of its line, then, with a start pattern, the
// lines that would have belonged to it. Stored with a file's offset.
typedef enum FrameSkip { SKIP_NONE, SKIP_LINE, SKIP_GROUP, _SKIP_MAX } FrameSkip;

typedef enum FrameEnd {
        FRAME_MORE,   // more may follow: a line without its end, lines that may go on, are not told
        FRAME_WAITED, // lines that could have gone on have waited long enough
        FRAME_LAST,   // nothing follows ever: what is there is told, with an end or without
} FrameEnd;

typedef struct Framer {
        size_t max_line;
        const Regex *start; // NULL: each line is an event
        RegexMatcher *matcher;
} Framer;

typedef struct Span {
        size_t len;  // the event's bytes, from the beginning of those given
        size_t next; // where to go on
        unsigned lines;
        bool cut;
        bool none; // nothing is to be told, bytes were only left out
} Span;

// With so many bytes there is always an answer: an event as long as may be, and the first line of the
// next, which shows that it is over.
static inline size_t frame_window(size_t max_line)
{
        return 2 * max_line + 4;
}

// The event at the beginning of bytes. False: more bytes are needed.
bool frame_next(const Framer *f, Slice bytes, FrameEnd end, FrameSkip *skip, Span *ret);
