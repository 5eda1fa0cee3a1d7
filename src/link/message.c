// SPDX-License-Identifier: MIT
// Packing and unpacking of every message. A get_* accepts exactly what its put_* writes: all fields
// there, nothing behind them, lengths within the frame, enums and flags within their range;
// whatever else it gets is -EBADMSG and the output is not touched. Meaning (a known endpoint, a
// rising batch, the class of a verdict, limits.h) is the caller's to check.
#include "link/message.h"

#include <assert.h>
#include <errno.h>
#include <syslog.h>

static const char *const body_formats[_BODY_FORMAT_MAX] = {
        [BODY_CLOUDEVENTS] = "cloudevents",
        [BODY_CLOUDEVENTS_BINARY] = "cloudevents-binary",
        [BODY_DATA] = "data",
        [BODY_RENDERED] = "rendered",
};

const char *body_format_to_string(BodyFormat f)
{
        return (int)f >= 0 && f < _BODY_FORMAT_MAX ? body_formats[f] : NULL;
}

BodyFormat body_format_from_string(const char *s)
{
        for (int f = 0; s && f < _BODY_FORMAT_MAX; f++)
                if (strcmp(body_formats[f], s) == 0)
                        return (BodyFormat)f;
        return _BODY_FORMAT_INVALID;
}

// A flag is 0 or 1: one message has one spelling.
static bool get_bool(WireReader *r)
{
        uint8_t v = wire_u8(r);
        if (v > 1)
                r->bad = true;
        return v == 1;
}

static int finish(const WireReader *r)
{
        return wire_end(r) ? 0 : -EBADMSG;
}

void message_put_hello(Buf *b, Slice build, Slice module)
{
        wire_put_u32(b, LINK_PROTOCOL);
        wire_put_bytes(b, build);
        wire_put_bytes(b, module);
}

int message_get_hello(Slice p, uint32_t *ret_protocol, Slice *ret_build, Slice *ret_module)
{
        WireReader r = wire_reader(p);
        uint32_t protocol = wire_u32(&r);
        Slice build = wire_bytes(&r), module = wire_bytes(&r);
        if (!wire_end(&r))
                return -EBADMSG;
        *ret_protocol = protocol;
        *ret_build = build;
        *ret_module = module;
        return 0;
}

void message_put_start(Buf *b, const MessageStart *m)
{
        wire_put_u64(b, m->credit);
        wire_put_u64(b, m->max_event);
        wire_put_bytes(b, m->options);
        wire_put_u8(b, m->has_position);
        wire_put_bytes(b, m->has_position ? m->position : SLICE_NULL);
        wire_put_bytes(b, m->credentials_dir);
        wire_put_bytes(b, m->hostname);
        wire_put_u8(b, m->for_command);
}

int message_get_start(Slice p, MessageStart *ret)
{
        WireReader r = wire_reader(p);
        MessageStart m = {.credit = wire_u64(&r)};
        m.max_event = wire_u64(&r);
        m.options = wire_bytes(&r);
        m.has_position = get_bool(&r);
        m.position = wire_bytes(&r);
        m.credentials_dir = wire_bytes(&r);
        m.hostname = wire_bytes(&r);
        m.for_command = get_bool(&r);
        if (!m.has_position && m.position.len > 0)
                return -EBADMSG;
        int e = finish(&r);
        if (e == 0)
                *ret = m;
        return e;
}

void message_put_peers(Buf *b, const MessagePeers *m)
{
        wire_put_u32(b, m->n_uids);
        for (uint32_t i = 0; i < m->n_uids + m->n_gids; i++)
                wire_put_u32(b, m->ids[i]);
}

int message_get_peers(Slice p, MessagePeers *ret)
{
        WireReader r = wire_reader(p);
        uint32_t n_uids = wire_u32(&r);
        size_t n = r.left / sizeof(uint32_t);
        if (r.bad || n > MESSAGE_PEERS_MAX || n_uids > n)
                return -EBADMSG;
        MessagePeers m = {.n_uids = n_uids, .n_gids = (uint32_t)n - n_uids};
        for (size_t i = 0; i < n; i++)
                m.ids[i] = wire_u32(&r);
        int e = finish(&r);
        if (e == 0)
                *ret = m;
        return e;
}

void message_put_command(Buf *b, const MessageCommand *m)
{
        wire_put_u64(b, m->ticket);
        wire_put_bytes(b, m->verb);
        wire_put_bytes(b, m->arguments);
}

int message_get_command(Slice p, MessageCommand *ret)
{
        WireReader r = wire_reader(p);
        MessageCommand m = {.ticket = wire_u64(&r)};
        m.verb = wire_bytes(&r);
        m.arguments = wire_bytes(&r);
        int e = finish(&r);
        if (e == 0)
                *ret = m;
        return e;
}

void message_put_answer(Buf *b, const MessageAnswer *m)
{
        wire_put_u64(b, m->ticket);
        wire_put_u8(b, m->last);
        wire_put_bytes(b, m->piece);
}

int message_get_answer(Slice p, MessageAnswer *ret)
{
        WireReader r = wire_reader(p);
        MessageAnswer m = {.ticket = wire_u64(&r)};
        m.last = get_bool(&r);
        m.piece = wire_bytes(&r);
        int e = finish(&r);
        if (e == 0)
                *ret = m;
        return e;
}

void message_put_log(Buf *b, const MessageLog *m)
{
        wire_put_u8(b, m->level);
        wire_put_bytes(b, m->message_id);
        wire_put_bytes(b, m->event_id);
        wire_put_bytes(b, m->text);
}

int message_get_log(Slice p, MessageLog *ret)
{
        WireReader r = wire_reader(p);
        MessageLog m = {.level = wire_u8(&r)};
        m.message_id = wire_bytes(&r);
        m.event_id = wire_bytes(&r);
        m.text = wire_bytes(&r);
        if (m.level > LOG_DEBUG)
                return -EBADMSG;
        int e = finish(&r);
        if (e == 0)
                *ret = m;
        return e;
}

void message_put_failed(Buf *b, const MessageFailed *m)
{
        wire_put_u8(b, m->kind);
        wire_put_bytes(b, m->reason);
}

int message_get_failed(Slice p, MessageFailed *ret)
{
        WireReader r = wire_reader(p);
        MessageFailed m = {.kind = wire_u8(&r)};
        m.reason = wire_bytes(&r);
        if (m.kind >= _FAILURE_KIND_MAX)
                return -EBADMSG;
        int e = finish(&r);
        if (e == 0)
                *ret = m;
        return e;
}

void message_put_event(Buf *b, const MessageEvent *e)
{
        wire_put_u64(b, e->time_usec);
        wire_put_bytes(b, e->type);
        wire_put_bytes(b, e->subject);
        wire_put_bytes(b, e->key);
        wire_put_bytes(b, e->id_material);
        wire_put_bytes(b, e->data);
}

static MessageEvent read_event(WireReader *r)
{
        MessageEvent e = {.time_usec = wire_u64(r)};
        e.type = wire_bytes(r);
        e.subject = wire_bytes(r);
        e.key = wire_bytes(r);
        e.id_material = wire_bytes(r);
        e.data = wire_bytes(r);
        return e;
}

static MessageStateChange read_change(WireReader *r)
{
        MessageStateChange c = {.put = get_bool(r)};
        c.key = wire_bytes(r);
        c.value = wire_bytes(r);
        if (!c.put && c.value.len > 0)
                r->bad = true;
        return c;
}

int message_get_events(Slice p, MessageEvents *ret)
{
        WireReader r = wire_reader(p);
        MessageEvents m = {.batch = wire_u64(&r)};
        m.has_position = get_bool(&r);
        m.position = wire_bytes(&r);
        if (!m.has_position && m.position.len > 0)
                return -EBADMSG;
        m.n_events = wire_u32(&r);
        m.rest = r;
        // A count is believed only as far as the frame reaches: the walk ends at the first fault.
        for (uint32_t i = 0; i < m.n_events && !r.bad; i++)
                (void)read_event(&r);
        m.n_changes = wire_u32(&r);
        if (m.n_events == 0)
                m.rest = r;
        for (uint32_t i = 0; i < m.n_changes && !r.bad; i++)
                (void)read_change(&r);
        if (!wire_end(&r))
                return -EBADMSG;
        m.events_left = m.n_events;
        m.changes_left = m.n_changes;
        *ret = m;
        return 0;
}

int message_next_event(MessageEvents *m, MessageEvent *ret)
{
        if (m->events_left == 0)
                return -EBADMSG;
        MessageEvent e = read_event(&m->rest);
        if (--m->events_left == 0)
                (void)wire_u32(&m->rest); // n_changes, known already
        if (m->rest.bad)
                return -EBADMSG;
        *ret = e;
        return 0;
}

void message_put_change(Buf *b, const MessageStateChange *c)
{
        wire_put_u8(b, c->put);
        wire_put_bytes(b, c->key);
        wire_put_bytes(b, c->put ? c->value : SLICE_NULL);
}

int message_next_change(MessageEvents *m, MessageStateChange *ret)
{
        assert(m->events_left == 0);
        if (m->changes_left == 0)
                return -EBADMSG;
        m->changes_left--;
        MessageStateChange c = read_change(&m->rest);
        if (m->rest.bad)
                return -EBADMSG;
        *ret = c;
        return 0;
}

void message_put_u64(Buf *b, uint64_t v)
{
        wire_put_u64(b, v);
}

int message_get_u64(Slice p, uint64_t *ret)
{
        WireReader r = wire_reader(p);
        uint64_t v = wire_u64(&r);
        int e = finish(&r);
        if (e == 0)
                *ret = v;
        return e;
}

void message_put_u32(Buf *b, uint32_t v)
{
        wire_put_u32(b, v);
}

int message_get_u32(Slice p, uint32_t *ret)
{
        WireReader r = wire_reader(p);
        uint32_t v = wire_u32(&r);
        int e = finish(&r);
        if (e == 0)
                *ret = v;
        return e;
}

void message_put_bytes(Buf *b, Slice s)
{
        wire_put_bytes(b, s);
}

int message_get_bytes(Slice p, Slice *ret)
{
        WireReader r = wire_reader(p);
        Slice s = wire_bytes(&r);
        int e = finish(&r);
        if (e == 0)
                *ret = s;
        return e;
}

void message_put_state_get(Buf *b, Slice from, uint32_t max)
{
        wire_put_bytes(b, from);
        wire_put_u32(b, max);
}

int message_get_state_get(Slice p, Slice *ret_from, uint32_t *ret_max)
{
        WireReader r = wire_reader(p);
        Slice from = wire_bytes(&r);
        uint32_t max = wire_u32(&r);
        if (!wire_end(&r))
                return -EBADMSG;
        *ret_from = from;
        *ret_max = max;
        return 0;
}

// Pairs of counted strings to the end of what there is.
static bool pairs_are_whole(WireReader r)
{
        while (r.left > 0 && !r.bad) {
                (void)wire_bytes(&r);
                (void)wire_bytes(&r);
        }
        return !r.bad;
}

int message_get_state(Slice p, MessageState *ret)
{
        WireReader r = wire_reader(p);
        bool more = get_bool(&r);
        if (r.bad || !pairs_are_whole(r))
                return -EBADMSG;
        *ret = (MessageState){.more = more, .rest = r};
        return 0;
}

int message_next_state(MessageState *m, Slice *ret_key, Slice *ret_value)
{
        if (m->rest.bad)
                return -EBADMSG;
        if (m->rest.left == 0)
                return 0;
        Slice key = wire_bytes(&m->rest), value = wire_bytes(&m->rest);
        if (m->rest.bad)
                return -EBADMSG;
        *ret_key = key;
        *ret_value = value;
        return 1;
}

void message_put_endpoint(Buf *b, const MessageEndpoint *m)
{
        wire_put_u32(b, m->endpoint);
        wire_put_u32(b, m->generation);
        wire_put_bytes(b, m->name);
        wire_put_bytes(b, m->options);
}

int message_get_endpoint(Slice p, MessageEndpoint *ret)
{
        WireReader r = wire_reader(p);
        MessageEndpoint m = {.endpoint = wire_u32(&r)};
        m.generation = wire_u32(&r);
        m.name = wire_bytes(&r);
        m.options = wire_bytes(&r);
        int e = finish(&r);
        if (e == 0)
                *ret = m;
        return e;
}

void message_put_endpoint_state(Buf *b, const MessageEndpointState *m)
{
        wire_put_u32(b, m->endpoint);
        wire_put_u32(b, m->generation);
        wire_put_bytes(b, m->reason);
}

int message_get_endpoint_state(Slice p, MessageEndpointState *ret)
{
        WireReader r = wire_reader(p);
        MessageEndpointState m = {.endpoint = wire_u32(&r)};
        m.generation = wire_u32(&r);
        m.reason = wire_bytes(&r);
        int e = finish(&r);
        if (e == 0)
                *ret = m;
        return e;
}

void message_put_attempt(Buf *b, const MessageAttempt *m)
{
        wire_put_u64(b, m->ticket);
        wire_put_u32(b, m->endpoint);
        wire_put_u32(b, m->generation);
        wire_put_u8(b, m->format);
        wire_put_u8(b, m->trace);
        wire_put_bytes(b, m->method);
        wire_put_bytes(b, m->id);
        wire_put_bytes(b, m->headers);
        wire_put_bytes(b, m->body);
}

int message_get_attempt(Slice p, MessageAttempt *ret)
{
        WireReader r = wire_reader(p);
        MessageAttempt m = {.ticket = wire_u64(&r)};
        m.endpoint = wire_u32(&r);
        m.generation = wire_u32(&r);
        m.format = wire_u8(&r);
        m.trace = get_bool(&r);
        m.method = wire_bytes(&r);
        m.id = wire_bytes(&r);
        m.headers = wire_bytes(&r);
        m.body = wire_bytes(&r);
        if (m.format >= _BODY_FORMAT_MAX || !pairs_are_whole(wire_reader(m.headers)))
                return -EBADMSG;
        int e = finish(&r);
        if (e == 0)
                *ret = m;
        return e;
}

void message_put_verdict(Buf *b, const MessageVerdict *m)
{
        wire_put_u64(b, m->ticket);
        wire_put_u8(b, m->class);
        wire_put_u16(b, m->status);
        wire_put_u64(b, m->retry_after_usec);
        wire_put_u64(b, m->total_usec);
        wire_put_u64(b, m->connect_usec);
        wire_put_u64(b, m->first_byte_usec);
        wire_put_bytes(b, m->detail);
        wire_put_bytes(b, m->trace);
}

int message_get_verdict(Slice p, MessageVerdict *ret)
{
        WireReader r = wire_reader(p);
        MessageVerdict m = {.ticket = wire_u64(&r)};
        m.class = wire_u8(&r);
        m.status = wire_u16(&r);
        m.retry_after_usec = wire_u64(&r);
        m.total_usec = wire_u64(&r);
        m.connect_usec = wire_u64(&r);
        m.first_byte_usec = wire_u64(&r);
        m.detail = wire_bytes(&r);
        m.trace = wire_bytes(&r);
        int e = finish(&r);
        if (e == 0)
                *ret = m;
        return e;
}
