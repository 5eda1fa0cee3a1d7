// SPDX-License-Identifier: MIT
// The stored form of a position. It comes back from the store as it went there, or not at all: a
// fault means another version or a damaged store, and is never guessed around.
#include "position.h"

#include "base/wire.h"

#include <errno.h>

enum { POSITION_VERSION = 1 };

void position_put(const Position *p, Buf *out)
{
        wire_put_u8(out, POSITION_VERSION);
        wire_put_u64(out, p->system_id);
        wire_put_u32(out, p->timeline);
        wire_put_u64(out, p->end_lsn);
        wire_put_u64(out, p->message_lsn);
        wire_put_u64(out, p->commit_lsn);
        wire_put_u64(out, p->ordinal);
        wire_put_u32(out, p->part);
        wire_put_bytes(out, slice_of(p->slot));
}

int position_get(Slice bytes, Position *ret, Reason *reason)
{
        WireReader r = wire_reader(bytes);
        Position p = {0};

        unsigned version = wire_u8(&r);
        if (!r.bad && version != POSITION_VERSION)
                return reason_set(reason, -EBADMSG,
                        "the stored position is of version %u, this program knows version %d",
                        version, POSITION_VERSION);
        p.system_id = wire_u64(&r);
        p.timeline = wire_u32(&r);
        p.end_lsn = wire_u64(&r);
        p.message_lsn = wire_u64(&r);
        p.commit_lsn = wire_u64(&r);
        p.ordinal = wire_u64(&r);
        p.part = wire_u32(&r);
        Slice slot = wire_bytes(&r);
        if (!wire_end(&r) || slot.len >= sizeof p.slot ||
                (slot.len && memchr(slot.data, 0, slot.len)))
                return reason_set(reason, -EBADMSG,
                        "the stored position cannot be read (%zu bytes)", bytes.len);
        if (slot.len)
                memcpy(p.slot, slot.data, slot.len);
        *ret = p;
        return 0;
}
