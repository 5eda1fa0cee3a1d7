// SPDX-License-Identifier: MIT
// Shares of the store: which sources are paused, which letters are dropped (pressure.c).
#pragma once

#include <stdbool.h>

typedef struct Hub Hub;

void pressure_update(Hub *h);      // after each commit: pauses and resumes sources
void pressure_apply(Hub *h);       // the same after a reload: rules may feed other sinks
void pressure_refused(Hub *h);     // a batch did not fit: all sources wait, then try again
bool pressure_tight(const Hub *h); // so little room that each batch gets its own transaction
bool pressure_dead_full(Hub *h);   // the dead letters' share is full and its policy is to wait
