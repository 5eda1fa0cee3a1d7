// SPDX-License-Identifier: MIT
// A running journal source: reads, tells, follows. One to a process.
#pragma once

#include "module/source.h"
#include "options.h"

typedef struct Follow Follow;

int follow_start(Source *s, const JournalOptions *o, Slice position, Follow **ret,
        Reason *reason) _must_use_;
void follow_resume(Follow *f); // events may be sent again
void follow_stop(Follow *f);
void follow_free(Follow *f);
