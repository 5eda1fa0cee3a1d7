// SPDX-License-Identifier: MIT
// The catalogue of MESSAGE_IDs: what a log line is about, for journalctl MESSAGE_ID=... Each stands
// in belfry.journal-fields(7) with what to do about it (checked), so it is never given another
// meaning.
#pragma once

#define MESSAGE_ID_STARTED "6d0c5c4f1e7a4f0db6f0c1a2f58e9a01"       // the daemon is up
#define MESSAGE_ID_STOPPED "6d0c5c4f1e7a4f0db6f0c1a2f58e9a02"       // the daemon ended cleanly
#define MESSAGE_ID_RELOADED "6d0c5c4f1e7a4f0db6f0c1a2f58e9a03"      // a new configuration is in force
#define MESSAGE_ID_CONFIG_REFUSED "6d0c5c4f1e7a4f0db6f0c1a2f58e9a04" // a configuration was refused
#define MESSAGE_ID_MODULE_DIED "6d0c5c4f1e7a4f0db6f0c1a2f58e9a05"   // a module process ended unasked
#define MESSAGE_ID_MODULE_FAILED "6d0c5c4f1e7a4f0db6f0c1a2f58e9a06" // a module gave up, with its reason
#define MESSAGE_ID_GAP "6d0c5c4f1e7a4f0db6f0c1a2f58e9a07"           // a source.gap event was stored
#define MESSAGE_ID_DEAD "6d0c5c4f1e7a4f0db6f0c1a2f58e9a08"          // a delivery became a dead letter
#define MESSAGE_ID_HELD "6d0c5c4f1e7a4f0db6f0c1a2f58e9a09"          // an endpoint is held
#define MESSAGE_ID_RELEASED "6d0c5c4f1e7a4f0db6f0c1a2f58e9a0a"      // an endpoint answers again
#define MESSAGE_ID_DISABLED "6d0c5c4f1e7a4f0db6f0c1a2f58e9a0b"      // an endpoint said 410
#define MESSAGE_ID_FULL "6d0c5c4f1e7a4f0db6f0c1a2f58e9a0c"          // a share is full, sources paused
#define MESSAGE_ID_STORE "6d0c5c4f1e7a4f0db6f0c1a2f58e9a0d"         // the store: salvage, quarantine, failure
