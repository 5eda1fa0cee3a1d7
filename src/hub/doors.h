// SPDX-License-Identifier: MIT
// The doors of applications: RUNTIME_DIR/events (stream) and RUNTIME_DIR/events.dgram. The hub binds
// them and hands them to the source that has them in its description, so that a client which connects
// while that process is being born again waits instead of being refused. It never reads from them.
#pragma once

#include "hub/hub.h"

// The two descriptors, bound at the first call. They stay the doors' own.
int doors_get(Hub *h, const int **ret_fds, Reason *reason) _must_use_;
// Tells the source who may hand in events.
int doors_tell(HubSource *s) _must_use_;
// After each (re)load: who may is decided anew; doors that no source has any more are closed.
void doors_apply(Hub *h);
void doors_close(Hub *h);
