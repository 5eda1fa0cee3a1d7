// SPDX-License-Identifier: MIT
// What source_main() and sink_main() promise on the link: greeting, credit, pauses, state, stop,
// refused endpoints, and every way to end.

#include "fake_hub.h"

#include "module/cage_internal.h"
#include "module/verdict.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>

// ---- the link
static void durable(FakeHub *h, uint64_t batch)
{
        message_put_u64(link_begin(h->link, MESSAGE_DURABLE), batch);
        assert_int_equal(link_end(h->link, true), 0);
}

// Waits for so many, however long a busy machine takes, and then until no more come.
static uint64_t count_batches(FakeHub *h, uint64_t least, uint64_t *bytes)
{
        uint64_t n = 0;

        for (bool drained = false; !drained;) {
                drained = n >= least;
                if (drained)
                        hub_drain(h);
                else
                        assert_true(sd_event_run(h->event, PATIENCE_SEC * 1000000ull) > 0);
                for (; h->read < h->n; h->read++)
                        if (h->frames[h->read].type == MESSAGE_EVENTS) {
                                n++;
                                *bytes += h->frames[h->read].payload.len;
                        }
        }
        return n;
}

static void test_credit(void **state)
{
        enum { CREDIT = 1 << 20 };
        FakeHub h;
        _cleanup_(freep) char *options = options_text("flood");
        uint64_t bytes = 0, more = 0;

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, CREDIT, options);
        uint64_t n = count_batches(&h, 11, &bytes);
        assert_true(n > 10 && bytes <= CREDIT);
        durable(&h, n / 4); // less than half: it stays silent
        assert_int_equal(count_batches(&h, 0, &more), 0);
        durable(&h, n);
        assert_true(count_batches(&h, n - 1, &more) >= n - 1);
        // While paused credit alone wakes nobody; afterwards it does.
        assert_int_equal(link_send(h.link, MESSAGE_PAUSE, SLICE_NULL), 0);
        durable(&h, n + 5);
        more = 0;
        assert_int_equal(count_batches(&h, 0, &more), 0);
        durable(&h, n + n);
        assert_int_equal(count_batches(&h, 0, &more), 0);
        assert_int_equal(link_send(h.link, MESSAGE_RESUME, SLICE_NULL), 0);
        assert_true(count_batches(&h, 11, &more) > 10);
        hub_stop(&h);
}

// One batch over the credit, when nothing is outstanding; and an event that cannot cross.
static void test_oversized(void **state)
{
        FakeHub h;
        _cleanup_(freep) char *options = options_text("big");
        MessageEvents m;
        MessageEvent e;
        Slice from;
        uint32_t max;

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, 10, options);
        assert_int_equal(message_get_events(hub_wait(&h, MESSAGE_EVENTS), &m), 0);
        assert_true(message_next_event(&m, &e) >= 0);
        json_t *j = json_loadb(e.data.data, e.data.len, 0, NULL);
        assert_true(json_is_true(json_object_get(j, "oversized")));
        assert_int_equal(json_integer_value(json_object_get(j, "bytes")), 64 * 1024 + 10);
        assert_int_equal(strlen(json_string_value(json_object_get(j, "sha256"))), 64);
        json_decref(j);

        assert_int_equal(message_get_state_get(hub_wait(&h, MESSAGE_STATE_GET), &from, &max), 0);
        assert_true(from.len == 0 && max == 4096);
        Buf *b = link_begin(h.link, MESSAGE_STATE);
        wire_put_u8(b, false);
        for (int i = 0; i < 2; i++) {
                wire_put_bytes(b, SLICE_LIT("key"));
                wire_put_bytes(b, SLICE_LIT("value"));
        }
        assert_int_equal(link_end(h.link, true), 0);
        (void)hub_wait(&h, MESSAGE_READY);
        hub_stop(&h);
}

static void send_attempt(FakeHub *h, uint64_t ticket, uint32_t endpoint, const char *method)
{
        const MessageAttempt a = {.ticket = ticket,
                .endpoint = endpoint,
                .generation = 1,
                .method = slice_of(method),
                .id = SLICE_LIT("id"),
                .body = SLICE_LIT("{}")};
        message_put_attempt(link_begin(h->link, MESSAGE_ATTEMPT), &a);
        assert_int_equal(link_end(h->link, false), 0);
}

static void test_attempts(void **state)
{
        enum { N = 4000 };
        FakeHub h;
        _cleanup_(freep) char *quick = options_text("quick");
        _cleanup_(freep) char *refuse = options_text("refuse");
        MessageEndpointState s;
        MessageVerdict v;
        uint64_t ticket;
        uint32_t wrong_type = 0;

        hub_open(&h, "belfry-sink-probe", MODULE_SINK);
        hub_start(&h, N, "{}");
        send_endpoint(&h, 1, quick);
        assert_int_equal(message_get_endpoint_state(hub_wait(&h, MESSAGE_ENDPOINT_STATE), &s), 0);
        assert_int_equal(s.reason.len, 0);
        send_endpoint(&h, 2, refuse);
        assert_int_equal(message_get_endpoint_state(hub_wait(&h, MESSAGE_ENDPOINT_STATE), &s), 0);
        assert_true(s.endpoint == 2 && slice_eq_str(s.reason, "no credential"));
        send_endpoint(&h, 3, "{\"port\": \"no number\"}");
        assert_int_equal(message_get_endpoint_state(hub_wait(&h, MESSAGE_ENDPOINT_STATE), &s), 0);
        assert_true(s.endpoint == 3 && s.reason.len > 0);

        uint64_t begin = clock_mono_usec();
        for (uint64_t i = 1; i <= N; i++)
                send_attempt(&h, i, 1, "POST");
        for (uint64_t i = 1; i <= N; i++) {
                assert_int_equal(message_get_verdict(hub_wait(&h, MESSAGE_VERDICT), &v), 0);
                wrong_type += v.ticket != i || v.class != VERDICT_DELIVERED;
        }
        print_message("%d attempts answered in %llu us\n", N,
                (unsigned long long)(clock_mono_usec() - begin));
        assert_int_equal(wrong_type, 0);

        send_attempt(&h, N + 1, 2, "POST");
        assert_int_equal(message_get_verdict(hub_wait(&h, MESSAGE_VERDICT), &v), 0);
        assert_true(v.ticket == N + 1 && v.class == VERDICT_ENDPOINT);
        assert_true(slice_eq_str(v.detail, "no credential"));
        send_attempt(&h, N + 2, 1, "UNSENT");
        assert_int_equal(message_get_u64(hub_wait(&h, MESSAGE_UNSENT), &ticket), 0);
        assert_int_equal(ticket, N + 2);
        message_put_u64(link_begin(h.link, MESSAGE_CANCEL), N + 3);
        assert_int_equal(link_end(h.link, true), 0);
        assert_int_equal(message_get_u64(hub_wait(&h, MESSAGE_UNSENT), &ticket), 0);
        assert_int_equal(ticket, N + 3);
        message_put_u32(link_begin(h.link, MESSAGE_FORGET), 2);
        assert_int_equal(link_end(h.link, true), 0);
        hub_stop(&h);
}

// ---- ends
static Slice expect_failure(FakeHub *h, uint8_t kind)
{
        MessageFailed m;

        while (!h->closed)
                assert_true(sd_event_run(h->event, 100000) >= 0);
        for (unsigned i = 0; i < h->n; i++)
                if (h->frames[i].type == MESSAGE_FAILED) {
                        assert_int_equal(message_get_failed(h->frames[i].payload, &m), 0);
                        assert_int_equal(m.kind, kind);
                        assert_int_equal(hub_reap(h), 1);
                        return m.reason;
                }
        fail_msg("no reason was given");
        return SLICE_NULL;
}

static void test_other_build(void **state)
{
        FakeHub h;
        Reason reason = {""};

        assert_int_equal(hub_birth(&h, "belfry-source-probe", MODULE_SOURCE, &reason), 0);
        hub_say_hello(&h, "another-build");
        Slice why = expect_failure(&h, FAILURE_CONFIG);
        assert_non_null(memmem(why.data, why.len, "another-build", 13));
        hub_close(&h);
}

static void test_start_fails(void **state)
{
        FakeHub h;
        _cleanup_(freep) char *options = options_text("fail");

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, 1000, options);
        assert_true(slice_eq_str(expect_failure(&h, FAILURE_WORLD), "the world is not ready"));
        hub_close(&h);

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, 1000, "{\"port\": \"no number\"}");
        assert_true(expect_failure(&h, FAILURE_CONFIG).len > 0);
        hub_close(&h);
}

static void test_hub_gone(void **state)
{
        FakeHub h;
        _cleanup_(freep) char *options = options_text("hang");

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, 1000000, options);
        (void)hub_wait(&h, MESSAGE_READY);
        assert_int_equal(pidfd_send_signal(h.child.pidfd, SIGTERM, NULL, 0), 0);
        assert_int_equal(pidfd_send_signal(h.child.pidfd, SIGINT, NULL, 0), 0);
        // Stopped while it hangs, it lives on: the signals above did nothing either.
        assert_int_equal(link_send(h.link, MESSAGE_STOP, SLICE_NULL), 0);
        hub_drain(&h);
        assert_false(h.closed);
        h.link = link_free(h.link);
        assert_int_equal(hub_reap(&h), 1);
        hub_close(&h);
}

static void test_abort(void **state)
{
        FakeHub h;
        _cleanup_(freep) char *options = options_text("crash");

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, 1000, options);
        int status = hub_reap(&h); // a sanitizer turns the signal into an exit status
        assert_true(status == -SIGABRT || (CAGE_SANITIZER && status != 0));
        hub_close(&h);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_credit),
                cmocka_unit_test(test_oversized),
                cmocka_unit_test(test_attempts),
                cmocka_unit_test(test_other_build),
                cmocka_unit_test(test_start_fails),
                cmocka_unit_test(test_hub_gone),
                cmocka_unit_test(test_abort),
        };
        return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
