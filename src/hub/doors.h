// SPDX-License-Identifier: MIT
// The door of applications: RUNTIME_DIR/events, a stream socket. The hub binds
// it and hands it to the source that has it in its description, so that a client which connects
// while that process is being born again waits instead of being refused. It never reads from it.
#pragma once

#include "hub/hub.h"

// The descriptor, bound at the first call. It stays the doors' own.
int doors_get(Hub *h, const int **ret_fds, Reason *reason) _must_use_;
// Tells the source who may hand in events.
int doors_tell(HubSource *s) _must_use_;
// After each (re)load: who may is decided anew; doors that no source has any more are closed.
void doors_apply(Hub *h);
void doors_close(Hub *h);
