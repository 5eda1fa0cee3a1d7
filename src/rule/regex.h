// SPDX-License-Identifier: MIT
// Regular expressions by PCRE2: compiled once (JIT where the kernel allows it, else interpreted),
// matched under a limit of steps, so that no pattern can hold up the hub.
#pragma once

#include "base/cleanup.h"
#include "base/slice.h"

typedef struct Regex Regex;
typedef struct RegexMatcher RegexMatcher;

enum { REGEX_GROUPS_MAX = 32, REGEX_MESSAGE_MAX = 200 };

// flags: letters of "imsx". -EINVAL: the message is PCRE2's own (or ours for a pattern with too many
// groups), ret_offset where in the pattern. -ENOMEM.
int regex_new(Regex **ret, Slice pattern, Slice flags, size_t *ret_offset,
        char ret_message[static REGEX_MESSAGE_MAX]) _must_use_;
Regex *regex_free(Regex *r);
unsigned regex_n_groups(const Regex *r);
int regex_group(const Regex *r, Slice name); // its number, -1 if none is called so
Slice regex_group_name(const Regex *r, unsigned group); // empty: it has none; lives as long as r
bool regex_uses_jit(const Regex *r);

// What a match needs; shared by all regular expressions of a rule set.
int regex_matcher_new(RegexMatcher **ret) _must_use_;
RegexMatcher *regex_matcher_free(RegexMatcher *m);

// 1 match, 0 none, -E2BIG over the limit of steps, -ENOMEM. groups[0] is the whole match; a group
// that took no part has data == NULL. Slices borrow from subject.
int regex_match(const Regex *r, RegexMatcher *m, Slice subject, Slice groups[static REGEX_GROUPS_MAX])
        _must_use_;
