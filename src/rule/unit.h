// SPDX-License-Identifier: MIT
// What is compiled together: the filter of a rule and the holes of its body and headers, or one
// expression of the command. They share memory, names in scope and captures.
#pragma once

#include "rule/checker.h"

typedef struct Unit {
        Arena arena;
        RegexList regexes; // in order: a hole may capture from the filter
        Scope scope;
        unsigned cost; // of all that was compiled
} Unit;

void unit_init(Unit *u, const Scope *scope);
void unit_deinit(Unit *u);

// text must outlive the unit. 0, -EINVAL with the fault, -ENOMEM.
int unit_compile(Unit *u, Slice text, bool filter, Node **ret, Fault *fault) _must_use_;
// The hole whose expression begins at `start`; ret_end is behind its '}'.
int unit_compile_hole(Unit *u, Slice text, size_t start, Node **ret, size_t *ret_end, Fault *fault)
        _must_use_;
