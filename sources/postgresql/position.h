// SPDX-License-Identifier: MIT
// Where the source stands in the database's log, as it is committed with the events.
//
// Encoding, little-endian: u8 version (1), u64 system id, u32 timeline, u64 end LSN, u64 message LSN,
// u64 commit LSN, u64 ordinal, u32 part, u32 length + bytes of the slot's name. A longer one of the same
// version is refused: whoever adds a field gives it a new version.
#pragma once

#include "base/buf.h"
#include "base/reason.h"

enum { SLOT_NAME_MAX = 64 }; // NAMEDATALEN

typedef struct Position {
        uint64_t system_id; // pg_control's; 0 = none yet
        uint32_t timeline;
        char slot[SLOT_NAME_MAX];
        uint64_t end_lsn;     // end of the last transaction that is whole here: what is confirmed
        uint64_t message_lsn; // of the last non-transactional message taken
        uint64_t commit_lsn;  // of the transaction that is only taken in part; 0 = none
        uint64_t ordinal;     // changes taken of it
        uint32_t part;        // parts taken of it, with transaction = "group"
} Position;

void position_put(const Position *p, Buf *out);
int position_get(Slice bytes, Position *ret, Reason *reason) _must_use_; // -EBADMSG
