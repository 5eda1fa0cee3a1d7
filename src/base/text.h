// SPDX-License-Identifier: MIT
// Text as people write and read it: UTF-8, durations and sizes in the configuration's spelling,
// the nearest name for "did you mean", and escaping for terminals and logs.
#pragma once

#include "base/buf.h"
#include <stdint.h>

// Length in bytes of the valid UTF-8 sequence at the start of s (1..4); 0 if invalid or empty.
// Overlong forms, surrogates and values above U+10FFFF are invalid.
size_t text_utf8_len(Slice s);
bool text_utf8_valid(Slice s);

// "15s", "500ms", "4d"; a bare integer counts `unit_usec`. Units ms s m h d, no space.
// -EINVAL: not of that form; -ERANGE: does not fit.
int text_parse_duration(Slice s, uint64_t unit_usec, uint64_t *ret_usec) _must_use_;
// "10M", "64K", "1G" (1024); a bare integer is bytes. Same errors.
int text_parse_size(Slice s, uint64_t *ret_bytes) _must_use_;
enum { TEXT_QUANTITY_MAX = 32 };
const char *text_duration(uint64_t usec, char out[static TEXT_QUANTITY_MAX]); // largest exact unit
const char *text_size(uint64_t bytes, char out[static TEXT_QUANTITY_MAX]);    // largest exact unit
const char *text_duration_short(uint64_t usec, char out[static TEXT_QUANTITY_MAX]); // "3min 5s"

// The candidate nearest to `word` (at most 2 edits, or a third of its length); NULL if none.
const char *text_nearest(Slice word, const char *const *candidates, size_t n);
bool text_is_name(Slice s); // [a-z][a-z0-9-]{0,31}

// Adds s with C0, C1, DEL, ESC, bidi controls and invalid bytes as \xNN: safe for a terminal.
void text_add_escaped(Buf *b, Slice s);
