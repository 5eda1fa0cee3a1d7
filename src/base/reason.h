// SPDX-License-Identifier: MIT
// Why something failed, in words for a person. Functions that can fail for reasons a user must
// hear return a negative errno and write one sentence here; the caller adds context with
// reason_prefix() and somebody above logs or prints it once. Never holds a secret.
#pragma once

#include "base/cleanup.h"

enum { REASON_MAX = 512 };

typedef struct Reason {
        char text[REASON_MAX]; // "" while nothing failed; cut, never overflowed
} Reason;

// Both return `error` unchanged (a negative errno), so that: return reason_set(r, -EINVAL, ...).
// `r` may be NULL. reason_errno appends ": " and the errno's own words.
int reason_set(Reason *r, int error, const char *format, ...) _printf_(3, 4);
int reason_errno(Reason *r, int error, const char *format, ...) _printf_(3, 4);
// Puts "prefix: " in front of what stands there.
int reason_prefix(Reason *r, int error, const char *format, ...) _printf_(3, 4);
