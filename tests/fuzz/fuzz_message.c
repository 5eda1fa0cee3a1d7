// SPDX-License-Identifier: MIT
// The first byte chooses the message, the rest is its payload. What a get_* accepts is put again
// and must give the same bytes: one message has one spelling.
#include "link/message.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool hello(Slice p, Buf *b)
{
        uint32_t protocol;
        Slice build, module;
        if (message_get_hello(p, &protocol, &build, &module) < 0)
                return false;
        message_put_hello(b, build, module);
        return protocol == LINK_PROTOCOL; // put writes our own, whatever came
}

#define ROUND_TRIP(name, Type)                     \
        static bool name(Slice p, Buf *b)          \
        {                                          \
                Type m;                            \
                if (message_get_##name(p, &m) < 0) \
                        return false;              \
                message_put_##name(b, &m);         \
                return true;                       \
        }
ROUND_TRIP(start, MessageStart)
ROUND_TRIP(command, MessageCommand)
ROUND_TRIP(answer, MessageAnswer)
ROUND_TRIP(log, MessageLog)
ROUND_TRIP(failed, MessageFailed)
ROUND_TRIP(endpoint, MessageEndpoint)
ROUND_TRIP(endpoint_state, MessageEndpointState)
ROUND_TRIP(attempt, MessageAttempt)
ROUND_TRIP(verdict, MessageVerdict)

static bool events(Slice p, Buf *b)
{
        MessageEvents m;
        MessageEvent e;
        MessageStateChange c;
        if (message_get_events(p, &m) < 0)
                return false;
        wire_put_u64(b, m.batch);
        wire_put_u8(b, m.has_position);
        wire_put_bytes(b, m.position);
        wire_put_u32(b, m.n_events);
        for (uint32_t i = 0; i < m.n_events; i++) {
                int r = message_next_event(&m, &e); // announced and walked: cannot fail
                assert(r == 0);
                message_put_event(b, &e);
        }
        assert(message_next_event(&m, &e) < 0);
        wire_put_u32(b, m.n_changes);
        for (uint32_t i = 0; i < m.n_changes; i++) {
                int r = message_next_change(&m, &c);
                assert(r == 0);
                message_put_change(b, &c);
        }
        assert(message_next_change(&m, &c) < 0);
        return true;
}

static bool state(Slice p, Buf *b)
{
        MessageState m;
        Slice key, value;
        if (message_get_state(p, &m) < 0)
                return false;
        wire_put_u8(b, m.more);
        int r;
        while ((r = message_next_state(&m, &key, &value)) == 1) {
                wire_put_bytes(b, key);
                wire_put_bytes(b, value);
        }
        assert(r == 0);
        return true;
}

static bool state_get(Slice p, Buf *b)
{
        Slice from;
        uint32_t max;
        if (message_get_state_get(p, &from, &max) < 0)
                return false;
        message_put_state_get(b, from, max);
        return true;
}

static bool u64(Slice p, Buf *b)
{
        uint64_t v;
        if (message_get_u64(p, &v) < 0)
                return false;
        message_put_u64(b, v);
        return true;
}

static bool u32(Slice p, Buf *b)
{
        uint32_t v;
        if (message_get_u32(p, &v) < 0)
                return false;
        message_put_u32(b, v);
        return true;
}

static bool bytes(Slice p, Buf *b)
{
        Slice s;
        if (message_get_bytes(p, &s) < 0)
                return false;
        message_put_bytes(b, s);
        return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        // The order is the corpus's; new ones go to the end.
        static bool (*const round_trips[])(Slice p, Buf * b) = {
                hello,
                start,
                log,
                failed,
                events,
                state,
                state_get,
                endpoint,
                endpoint_state,
                attempt,
                verdict,
                u64,
                u32,
                bytes,
                command,
                answer,
        };
        if (size == 0)
                return 0;
        Slice p = slice_mem(data + 1, size - 1);
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 22);
        if (round_trips[data[0] % N_ELEMENTS(round_trips)](p, &b))
                assert(b.error == 0 && slice_eq(buf_slice(&b), p));
        return 0;
}
