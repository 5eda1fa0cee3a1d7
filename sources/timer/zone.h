// SPDX-License-Identifier: MIT
// The time zone of this process: the C library's, since it reads the zone database well and a source
// has one zone. Seconds since the epoch in, offsets out.
#pragma once

#include "base/reason.h"
#include <stdint.h>

// An IANA name ("Europe/Berlin"), "UTC", or "" for the host's own. -ENOENT: there is no such zone.
// The zone stays as it was read: a new tzdata is seen after a restart of the source.
int zone_set(const char *name, Reason *reason) _must_use_;
// Seconds east of UTC at that instant.
int64_t zone_offset(int64_t utc);
// The first instant in (utc, until] from which another offset holds than just before; INT64_MAX:
// none. Offsets that hold for less than ZONE_STEP may be passed over (the database has none).
enum { ZONE_STEP = 6 * 3600 };
int64_t zone_transition(int64_t utc, int64_t until);
