// SPDX-License-Identifier: MIT
// A running timer: waits, elapses, and knows what it missed. One to a process.
#pragma once

#include "module/source.h"
#include "options.h"

typedef struct Timer Timer;

int timer_start(Source *s, const TimerOptions *o, Slice position, Timer **ret, Reason *reason) _must_use_;
void timer_resume(Timer *t); // events may be sent again
void timer_stop(Timer *t);
void timer_free(Timer *t);
// The next n firings (argument: a number, 1 to 1000, 10 by default), with what happens to local
// times that do not exist or exist twice.
void timer_command_next(Timer *t, uint64_t ticket, const json_t *arguments);
