// SPDX-License-Identifier: MIT
// Patterns in the syntax of gitignore(5): negation, anchoring by a slash, "**", directories only.
// Each pattern is compiled once; matching is linear in the path, whatever the pattern.
#pragma once

#include "base/reason.h"
#include "base/slice.h"
#include <stddef.h>

typedef struct IgnorePattern IgnorePattern;

typedef struct IgnoreList {
        IgnorePattern *patterns;
        size_t n;
        bool by_path; // some pattern looks at more than the last component
} IgnoreList;

typedef enum IgnoreVerdict { IGNORE_NONE, IGNORE_MATCHED, IGNORE_NEGATED } IgnoreVerdict;

enum { IGNORE_PATTERN_MAX = 4096 };

// lines: NULL-terminated, may be NULL. -EINVAL with a reason: too long. Comments and empty lines
// are left out, a pattern git cannot understand matches nothing.
int ignore_list_init(IgnoreList *l, char *const *lines, Reason *reason) _must_use_;
void ignore_list_deinit(IgnoreList *l);

// What the list says of this very path (dir: path of its directory below the root, "" at the top).
// The last pattern that matches decides. That a parent directory is matched is the caller's matter.
IgnoreVerdict ignore_match(const IgnoreList *l, Slice dir, Slice name, bool is_dir);
// As git sees it: the path is matched, or one of its parent directories is.
bool ignore_covers(const IgnoreList *l, Slice path, bool is_dir);
