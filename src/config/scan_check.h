// SPDX-License-Identifier: MIT
// Parts of the scanner (internal to src/config): faults inside one word, and the meeting with
// libconfig.
#pragma once

#include "config/scanner.h"

// Sets the node's integer; says what libconfig would truncate, and what looks octal.
void scan_check_integer(Scan *s, uint32_t node, Slice text, Diagnostics *d);
void scan_check_string(const Scan *s, uint32_t node, Slice text, Diagnostics *d); // \x
bool scan_is_long(Slice integer);                                                 // ends in L

// Lets libconfig parse the same text and gives each node its setting. -EINVAL: libconfig refuses,
// or sees something else (said in d); -ENOMEM.
int scan_bind(Scan *s, Diagnostics *d) _must_use_;
