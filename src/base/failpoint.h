// SPDX-License-Identifier: MIT
// Named places where a test can end the process as a power switch would: with SIGKILL, at the N-th
// time the place is passed. Inactive (always, but in tests) a fail point is one branch that is
// never taken. Standard error gets a line first. The names stand in one table in failpoint.c;
// `belfryd --list-failpoints` prints it.
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>

extern bool failpoint_armed;
void failpoint_hit(const char *name);

#define FAILPOINT(name)                                   \
        do {                                              \
                if (__builtin_expect(failpoint_armed, 0)) \
                        failpoint_hit(name);              \
        } while (0)

// "NAME:N" (N from 1), or "NAME@PROGRAM:N" for that program of the family alone (modules inherit
// the environment variable; several pass the same place); the same form as the environment variable
// BELFRY_FAILPOINT, which is read before main(). NULL or "" disarms. -EINVAL: malformed; -ENOENT:
// no such name. On an error the environment variable ends the process with a line on standard
// error: a test that misspells a name must not pass.
int failpoint_set(const char *spec) _must_use_;
void failpoint_each(void (*each)(const char *name, const char *where, void *u), void *u);
