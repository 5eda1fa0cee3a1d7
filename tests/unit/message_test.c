// SPDX-License-Identifier: MIT
// Every message: what is put is got, what is cut at any byte or has a byte more is refused without
// being read behind, flags and enums out of range are refused.
#include "test.h"

#include "link/message.h"
#include "torture.h"
#include <errno.h>

#define S(text) SLICE_LIT(text)

static void put_hello(Buf *b)
{
        message_put_hello(b, S("0.1.0-abc"), S("inotify"));
}

static int get_hello(Slice p)
{
        uint32_t protocol;
        Slice build, module;
        int r = message_get_hello(p, &protocol, &build, &module);
        if (r < 0)
                return r;
        assert_int_equal(protocol, LINK_PROTOCOL);
        assert_slice(build, "0.1.0-abc");
        assert_slice(module, "inotify");
        return 0;
}

static void put_start(Buf *b)
{
        message_put_start(b, &(MessageStart){.credit = 1,
                                     .max_event = UINT64_MAX,
                                     .options = S("{}"),
                                     .position = S("pos"),
                                     .has_position = true,
                                     .credentials_dir = S("/run/c"),
                                     .hostname = S("host"),
                                     .for_command = true});
}

static int get_start(Slice p)
{
        MessageStart m;
        int r = message_get_start(p, &m);
        if (r < 0)
                return r;
        assert_true(m.credit == 1 && m.max_event == UINT64_MAX && m.has_position && m.for_command);
        assert_slice(m.options, "{}");
        assert_slice(m.position, "pos");
        assert_slice(m.credentials_dir, "/run/c");
        assert_slice(m.hostname, "host");
        return 0;
}

static void put_command(Buf *b)
{
        message_put_command(
                b, &(MessageCommand){.ticket = 9, .verb = S("doctor"), .arguments = S("{}")});
}

static int get_command(Slice p)
{
        MessageCommand m;
        int r = message_get_command(p, &m);
        if (r < 0)
                return r;
        assert_true(m.ticket == 9);
        assert_slice(m.verb, "doctor");
        assert_slice(m.arguments, "{}");
        return 0;
}

static void put_answer(Buf *b)
{
        message_put_answer(b, &(MessageAnswer){.ticket = 9, .last = true, .piece = S("{}")});
}

static int get_answer(Slice p)
{
        MessageAnswer m;
        int r = message_get_answer(p, &m);
        if (r < 0)
                return r;
        assert_true(m.ticket == 9 && m.last);
        assert_slice(m.piece, "{}");
        return 0;
}

static void put_log(Buf *b)
{
        message_put_log(b, &(MessageLog){.level = 3, .message_id = S("id"), .text = S("text")});
}

static int get_log(Slice p)
{
        MessageLog m;
        int r = message_get_log(p, &m);
        if (r < 0)
                return r;
        assert_int_equal(m.level, 3);
        assert_slice(m.message_id, "id");
        assert_slice(m.event_id, "");
        assert_slice(m.text, "text");
        return 0;
}

static void put_failed(Buf *b)
{
        message_put_failed(b, &(MessageFailed){.kind = FAILURE_CONFIG, .reason = S("why")});
}

static int get_failed(Slice p)
{
        MessageFailed m;
        int r = message_get_failed(p, &m);
        if (r < 0)
                return r;
        assert_int_equal(m.kind, FAILURE_CONFIG);
        assert_slice(m.reason, "why");
        return 0;
}

static void put_events(Buf *b)
{
        wire_put_u64(b, 7);
        wire_put_u8(b, 1);
        wire_put_bytes(b, S("position"));
        wire_put_u32(b, 2);
        message_put_event(b, &(MessageEvent){.time_usec = 5,
                                     .type = S("t"),
                                     .subject = S("s"),
                                     .key = S("k"),
                                     .id_material = S("m"),
                                     .data = S("{}")});
        message_put_event(b, &(MessageEvent){.time_usec = 6, .type = S("u"), .data = S("1")});
        wire_put_u32(b, 2);
        message_put_change(b, &(MessageStateChange){.put = true, .key = S("a"), .value = S("b")});
        message_put_change(b, &(MessageStateChange){.put = false, .key = S("c")});
}

static int get_events(Slice p)
{
        MessageEvents m;
        int r = message_get_events(p, &m);
        if (r < 0)
                return r;
        MessageEvent e;
        MessageStateChange c;
        assert_true(m.batch == 7 && m.has_position && m.n_events == 2 && m.n_changes == 2);
        assert_slice(m.position, "position");
        assert_int_equal(message_next_event(&m, &e), 0);
        assert_true(e.time_usec == 5);
        assert_slice(e.type, "t");
        assert_slice(e.subject, "s");
        assert_slice(e.key, "k");
        assert_slice(e.id_material, "m");
        assert_slice(e.data, "{}");
        assert_int_equal(message_next_event(&m, &e), 0);
        assert_slice(e.type, "u");
        assert_int_equal(e.key.len, 0);
        assert_int_equal(message_next_event(&m, &e), -EBADMSG);
        assert_int_equal(message_next_change(&m, &c), 0);
        assert_true(c.put);
        assert_slice(c.key, "a");
        assert_slice(c.value, "b");
        assert_int_equal(message_next_change(&m, &c), 0);
        assert_false(c.put);
        assert_slice(c.key, "c");
        assert_int_equal(message_next_change(&m, &c), -EBADMSG);
        return 0;
}

static void put_u64(Buf *b)
{
        message_put_u64(b, 77);
}

static int get_u64(Slice p)
{
        uint64_t v;
        int r = message_get_u64(p, &v);
        if (r == 0)
                assert_true(v == 77);
        return r;
}

static void put_u32(Buf *b)
{
        message_put_u32(b, 78);
}

static int get_u32(Slice p)
{
        uint32_t v;
        int r = message_get_u32(p, &v);
        if (r == 0)
                assert_int_equal(v, 78);
        return r;
}

static void put_bytes(Buf *b)
{
        message_put_bytes(b, S("reason"));
}

static int get_bytes(Slice p)
{
        Slice s;
        int r = message_get_bytes(p, &s);
        if (r == 0)
                assert_slice(s, "reason");
        return r;
}

static void put_state_get(Buf *b)
{
        message_put_state_get(b, S("from"), 4096);
}

static int get_state_get(Slice p)
{
        Slice from;
        uint32_t max;
        int r = message_get_state_get(p, &from, &max);
        if (r < 0)
                return r;
        assert_slice(from, "from");
        assert_int_equal(max, 4096);
        return 0;
}

static void put_endpoint(Buf *b)
{
        message_put_endpoint(b, &(MessageEndpoint){.endpoint = 1,
                                        .generation = 2,
                                        .name = S("ops"),
                                        .options = S("{\"url\":\"x\"}")});
}

static int get_endpoint(Slice p)
{
        MessageEndpoint m;
        int r = message_get_endpoint(p, &m);
        if (r < 0)
                return r;
        assert_true(m.endpoint == 1 && m.generation == 2);
        assert_slice(m.name, "ops");
        assert_slice(m.options, "{\"url\":\"x\"}");
        return 0;
}

static void put_endpoint_state(Buf *b)
{
        message_put_endpoint_state(
                b, &(MessageEndpointState){
                           .endpoint = 1, .generation = 2, .reason = S("no credential")});
}

static int get_endpoint_state(Slice p)
{
        MessageEndpointState m;
        int r = message_get_endpoint_state(p, &m);
        if (r < 0)
                return r;
        assert_true(m.endpoint == 1 && m.generation == 2);
        assert_slice(m.reason, "no credential");
        return 0;
}

static void put_attempt(Buf *b)
{
        message_put_attempt(b, &(MessageAttempt){.ticket = 9,
                                       .endpoint = 1,
                                       .generation = 2,
                                       .format = BODY_RENDERED,
                                       .trace = true,
                                       .method = S("POST"),
                                       .id = S("id"),
                                       .headers = S("\1\0\0\0a\1\0\0\0b"),
                                       .body = S("body")});
}

static int get_attempt(Slice p)
{
        MessageAttempt m;
        int r = message_get_attempt(p, &m);
        if (r < 0)
                return r;
        assert_true(m.ticket == 9 && m.endpoint == 1 && m.generation == 2 && m.trace);
        assert_int_equal(m.format, BODY_RENDERED);
        assert_slice(m.method, "POST");
        assert_slice(m.id, "id");
        assert_int_equal(m.headers.len, 10);
        assert_slice(m.body, "body");
        return 0;
}

static void put_verdict(Buf *b)
{
        message_put_verdict(b, &(MessageVerdict){.ticket = 9,
                                       .class = 2,
                                       .status = 503,
                                       .retry_after_usec = 3,
                                       .total_usec = 4,
                                       .connect_usec = 5,
                                       .first_byte_usec = 6,
                                       .detail = S("busy"),
                                       .trace = S("> POST")});
}

static int get_verdict(Slice p)
{
        MessageVerdict m;
        int r = message_get_verdict(p, &m);
        if (r < 0)
                return r;
        assert_true(m.ticket == 9 && m.class == 2 && m.status == 503 && m.retry_after_usec == 3);
        assert_true(m.total_usec == 4 && m.connect_usec == 5 && m.first_byte_usec == 6);
        assert_slice(m.detail, "busy");
        assert_slice(m.trace, "> POST");
        return 0;
}

typedef struct Case {
        const char *name;
        void (*put)(Buf *b);
        int (*get)(Slice p);
} Case;

static const Case cases[] = {
        {"hello", put_hello, get_hello},
        {"start", put_start, get_start},
        {"log", put_log, get_log},
        {"failed", put_failed, get_failed},
        {"events", put_events, get_events},
        {"u64", put_u64, get_u64},
        {"u32", put_u32, get_u32},
        {"bytes", put_bytes, get_bytes},
        {"state_get", put_state_get, get_state_get},
        {"endpoint", put_endpoint, get_endpoint},
        {"endpoint_state", put_endpoint_state, get_endpoint_state},
        {"attempt", put_attempt, get_attempt},
        {"verdict", put_verdict, get_verdict},
        {"command", put_command, get_command},
        {"answer", put_answer, get_answer},
};

static void test_round_trip_and_every_cut(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
                cases[i].put(&b);
                assert_int_equal(b.error, 0);
                for (size_t n = 0; n <= b.len + 1; n++) {
                        _cleanup_(freep) uint8_t *copy = calloc(1, n ? n : 1);
                        memcpy(copy, b.data, n < b.len ? n : b.len);
                        int r = cases[i].get(slice_mem(copy, n));
                        if (r != (n == b.len ? 0 : -EBADMSG))
                                fail_msg("%s cut to %zu of %zu: %d", cases[i].name, n, b.len, r);
                }
        }
}

static void test_state_rows(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        wire_put_u8(&b, 1);
        wire_put_bytes(&b, S("k1"));
        wire_put_bytes(&b, S("v1"));
        size_t row = b.len;
        wire_put_bytes(&b, S(""));
        wire_put_bytes(&b, S("v2"));
        for (size_t n = 0; n <= b.len; n++) {
                MessageState m;
                int r = message_get_state(slice_mem(b.data, n), &m);
                // The end of the frame is the end of the rows: cuts between rows are whole messages.
                assert_int_equal(r, n == 1 || n == row || n == b.len ? 0 : -EBADMSG);
        }
        MessageState m;
        Slice key, value;
        assert_int_equal(message_get_state(buf_slice(&b), &m), 0);
        assert_true(m.more);
        assert_int_equal(message_next_state(&m, &key, &value), 1);
        assert_slice(key, "k1");
        assert_slice(value, "v1");
        assert_int_equal(message_next_state(&m, &key, &value), 1);
        assert_slice(key, "");
        assert_slice(value, "v2");
        assert_int_equal(message_next_state(&m, &key, &value), 0);
        assert_int_equal(message_next_state(&m, &key, &value), 0);
}

static void test_absent_position(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        MessageStart m;
        message_put_start(&b, &(MessageStart){.position = S("not meant")});
        assert_int_equal(message_get_start(buf_slice(&b), &m), 0);
        assert_false(m.has_position);
        assert_int_equal(m.position.len, 0);
}

// A copy of a whole message with one byte changed.
static int with_byte(const Case *c, size_t at, uint8_t v)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        c->put(&b);
        assert_true(at < b.len);
        b.data[at] = v;
        return c->get(buf_slice(&b));
}

static void test_out_of_range(void **state)
{
        const Case *start = &cases[1], *log = &cases[2], *failed = &cases[3], *events = &cases[4];
        const Case *attempt = &cases[11];
        assert_int_equal(with_byte(log, 0, 8), -EBADMSG);
        assert_int_equal(with_byte(failed, 0, _FAILURE_KIND_MAX), -EBADMSG);
        assert_int_equal(with_byte(start, 22, 2), -EBADMSG);
        assert_int_equal(
                with_byte(start, 22, 0), -EBADMSG); // no position, and yet some bytes of it
        assert_int_equal(with_byte(events, 8, 0), -EBADMSG);
        assert_int_equal(with_byte(events, 24, 0xff), -EBADMSG); // 255 << 24 events
        assert_int_equal(with_byte(attempt, 16, _BODY_FORMAT_MAX), -EBADMSG);
        assert_int_equal(with_byte(attempt, 17, 2), -EBADMSG);
        assert_int_equal(with_byte(attempt, 36, 2), -EBADMSG); // a header name that eats its value
}

static void test_body_formats(void **state)
{
        static const char *const names[] = {
                "cloudevents", "cloudevents-binary", "data", "rendered"};
        assert_int_equal(N_ELEMENTS(names), _BODY_FORMAT_MAX);
        for (int f = 0; f < _BODY_FORMAT_MAX; f++) {
                assert_string_equal(body_format_to_string((BodyFormat)f), names[f]);
                assert_int_equal(body_format_from_string(names[f]), f);
        }
        assert_null(body_format_to_string(_BODY_FORMAT_MAX));
        assert_null(body_format_to_string(_BODY_FORMAT_INVALID));
        assert_int_equal(body_format_from_string("Data"), _BODY_FORMAT_INVALID);
        assert_int_equal(body_format_from_string(NULL), _BODY_FORMAT_INVALID);
}

static int put_everything(void *arg)
{
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
                cases[i].put(&b);
                if (b.error < 0)
                        return b.error;
        }
        return 0;
}

static void test_torture(void **state)
{
        assert_true(torture(put_everything, NULL) >= N_ELEMENTS(cases));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip_and_every_cut),
                cmocka_unit_test(test_state_rows),
                cmocka_unit_test(test_absent_position),
                cmocka_unit_test(test_out_of_range),
                cmocka_unit_test(test_body_formats),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
