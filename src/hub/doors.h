// SPDX-License-Identifier: MIT
// The doors of applications: RUNTIME_DIR/events, a stream socket, and events.dgram, one for datagrams. The
// hub binds them and hands them to the source that has them in its description, so that a client which
// comes while that process is being born again waits instead of being refused. It never reads them.
#pragma once

#include "hub/hub.h"

// The descriptors, stream first, bound at the first call. They stay the doors' own.
int doors_get(Hub *h, const int **ret_fds, Reason *reason) _must_use_;
// Tells the source who may hand in events.
int doors_tell(HubSource *s) _must_use_;
// After each (re)load: who may is decided anew; doors that no source has any more are closed.
void doors_apply(Hub *h);
void doors_close(Hub *h);
