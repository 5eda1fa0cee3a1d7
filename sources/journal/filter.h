// SPDX-License-Identifier: MIT
// Which entries are wanted: the options' texts understood as journalctl understands its arguments.
// Nothing here knows the journal; reader.c turns the result into matches. All of it may be given
// any text. Each function returns -EINVAL with what was expected.
#pragma once

#include "base/reason.h"
#include "base/slice.h"
#include <stdint.h>

enum { UNIT_NAME_SIZE = 256, FIELD_NAME_MAX = 64 };

// Terms "FIELD=value" and "+" between them; *ret_at is the element at fault. NULL is fine.
int match_check(char *const *terms, size_t *ret_at, Reason *reason) _must_use_;
// "err", "3", "warning..emerg": bit n is set for priority n.
int priority_parse(const char *text, unsigned *ret, Reason *reason) _must_use_;
// The unit's full name as journalctl -u makes it: "ssh" is ssh.service, "/srv" is srv.mount, odd
// bytes are escaped; a pattern stays as it is.
int unit_mangle(const char *text, char ret[static UNIT_NAME_SIZE], Reason *reason) _must_use_;
int unit_check(const char *text, Reason *reason) _must_use_;
bool unit_is_pattern(const char *name);
// A field's name, or a beginning of one and '*'.
int field_pattern_check(const char *text, Reason *reason) _must_use_;
bool field_pattern_matches(const char *pattern, Slice name);
// "all", "current" or 128 bits in hexadecimal.
int boot_check(const char *text, Reason *reason) _must_use_;
int namespace_check(const char *text, Reason *reason) _must_use_;

// "now" gives SINCE_NOW, "beginning" 0, everything else microseconds since the epoch. now_usec is
// what relative times count from; times without an offset are in the zone of the process.
#define SINCE_NOW UINT64_MAX
int since_parse(const char *text, uint64_t now_usec, uint64_t *ret, Reason *reason) _must_use_;
