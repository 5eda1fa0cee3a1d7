// SPDX-License-Identifier: MIT
// One link over a real socketpair: frames whole, in pieces, broken, over-long; both ends of life;
// a full socket and a full queue; pausing; freeing from within. The loop runs until it is idle or a
// condition holds, bounded by a number of turns, never by time.
#include "test.h"

#include "base/wire.h"
#include "link/link.h"
#include "torture.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

enum { MAX_FRAME = 1 << 20, MAX_QUEUE = 4 << 20, TURNS_MAX = 100000 };

typedef struct Side {
        sd_event *event;
        Link *link;
        int peer; // the other end, used raw
        unsigned n_frames, n_closed;
        uint16_t last_type;
        size_t bytes;
        Buf last;
        int closed_error;
        char reason[256];
        unsigned pause_after, free_after, fail_after; // at this frame; 0 = never
        bool free_on_close, echo;
} Side;

static int on_frame(Link *l, uint16_t type, Slice payload, void *userdata)
{
        Side *s = userdata;
        assert_ptr_equal(l, s->link);
        s->n_frames++;
        s->last_type = type;
        s->bytes += payload.len;
        buf_reset(&s->last);
        buf_add_slice(&s->last, payload);
        if (s->echo)
                assert_int_equal(link_send(l, type, payload), 0);
        if (s->n_frames == s->pause_after)
                link_pause_read(l);
        if (s->n_frames == s->free_after) {
                s->link = link_free(l);
                assert_true(slice_eq(payload, buf_slice(&s->last))); // valid during the call
        }
        return s->n_frames == s->fail_after ? -EPROTO : 0;
}

static void on_closed(Link *l, int error, const char *reason, void *userdata)
{
        Side *s = userdata;
        s->n_closed++;
        s->closed_error = error;
        (void)snprintf(s->reason, sizeof(s->reason), "%s", reason);
        if (s->free_on_close)
                s->link = link_free(l);
}

static const LinkHandlers handlers = {.frame = on_frame, .closed = on_closed};

static int side_open(Side *s, const LinkOptions *options)
{
        int pair[2];
        *s = (Side){.peer = -1, .last = BUF_INIT(MAX_FRAME)};
        int r = sd_event_new(&s->event);
        if (r < 0)
                return r;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                return -errno;
        s->peer = pair[1];
        return link_new(&s->link, s->event, pair[0], options, &handlers, s);
}

static void side_close(Side *s)
{
        s->link = link_free(s->link);
        if (s->peer >= 0)
                (void)close(s->peer);
        buf_deinit(&s->last);
        s->event = sd_event_unref(s->event);
}

static void open_default(Side *s)
{
        LinkOptions o = {.max_frame = MAX_FRAME, .max_queue = MAX_QUEUE};
        assert_int_equal(side_open(s, &o), 0);
}

// Turns the loop until nothing is pending. Returns the number of turns.
static unsigned run_idle(Side *s)
{
        for (unsigned n = 0; n < TURNS_MAX; n++) {
                int r = sd_event_run(s->event, 0);
                assert_true(r >= 0);
                if (r == 0)
                        return n;
        }
        fail_msg("the loop spins");
        return 0;
}

static void put_frame(Buf *b, uint16_t type, Slice payload)
{
        wire_put_u32(b, (uint32_t)payload.len);
        wire_put_u16(b, type);
        wire_put_u16(b, 0);
        buf_add_slice(b, payload);
}

static void peer_write(Side *s, const void *data, size_t n)
{
        assert_int_equal(send(s->peer, data, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void peer_close(Side *s)
{
        assert_int_equal(close(s->peer), 0);
        s->peer = -1;
}

static void test_frames_in_pieces(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        put_frame(&b, 1, SLICE_LIT("one"));
        put_frame(&b, 2, SLICE_LIT(""));
        put_frame(&b, 3, SLICE_LIT("three"));
        for (size_t step = 1; step <= b.len; step++) {
                Side s;
                open_default(&s);
                for (size_t at = 0; at < b.len; at += step) {
                        peer_write(&s, b.data + at, step < b.len - at ? step : b.len - at);
                        (void)run_idle(&s);
                }
                assert_int_equal(s.n_frames, 3);
                assert_int_equal(s.last_type, 3);
                assert_slice(buf_slice(&s.last), "three");
                assert_int_equal(s.n_closed, 0);
                side_close(&s);
        }
}

static void test_every_cut_ends_with_a_reason(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        put_frame(&b, 1, SLICE_LIT("one"));
        for (size_t n = 0; n <= b.len; n++) {
                Side s;
                open_default(&s);
                if (n > 0)
                        peer_write(&s, b.data, n);
                peer_close(&s);
                (void)run_idle(&s);
                assert_int_equal(s.n_frames, n == b.len ? 1 : 0);
                assert_int_equal(s.n_closed, 1);
                assert_int_equal(s.closed_error, -ECONNRESET);
                assert_int_equal(strstr(s.reason, "middle") != NULL, n > 0 && n < b.len);
                assert_int_equal(link_send(s.link, 1, SLICE_LIT("x")), -ECONNRESET);
                assert_int_equal(link_flush(s.link), -ECONNRESET);
                link_pause_read(s.link);
                link_resume_read(s.link);
                (void)run_idle(&s);
                assert_int_equal(s.n_closed, 1); // once
                side_close(&s);
        }
}

static void test_broken_frames(void **state)
{
        static const struct {
                uint8_t header[8];
                int error;
        } cases[] = {
                {{1, 0, 0, 0, 1, 0, 1, 0}, -EBADMSG},
                {{1, 0, 0, 0, 1, 0, 0, 1}, -EBADMSG},
                {{'G', 'E', 'T', ' ', '/', ' ', 'H', 'T'}, -EBADMSG},
                {{1, 0, 16, 0, 1, 0, 0, 0}, -EMSGSIZE},
                {{255, 255, 255, 255, 1, 0, 0, 0}, -EMSGSIZE},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
                Side s;
                open_default(&s);
                put_frame(&b, 1, SLICE_LIT("good"));
                buf_add(&b, cases[i].header, 8);
                put_frame(&b, 2, SLICE_LIT("never seen"));
                peer_write(&s, b.data, b.len);
                (void)run_idle(&s);
                assert_int_equal(s.n_frames, 1);
                assert_int_equal(s.n_closed, 1);
                assert_int_equal(s.closed_error, cases[i].error);
                assert_true(s.reason[0] != 0);
                char c;
                assert_true(recv(s.peer, &c, 1, 0) <= 0); // the peer sees the end too
                assert_int_not_equal(errno, EAGAIN);
                side_close(&s);
        }
}

static void test_refusing_handler(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        Side s;
        open_default(&s);
        s.fail_after = 2;
        for (int i = 0; i < 5; i++)
                put_frame(&b, 9, SLICE_LIT("x"));
        peer_write(&s, b.data, b.len);
        (void)run_idle(&s);
        assert_int_equal(s.n_frames, 2);
        assert_int_equal(s.n_closed, 1);
        assert_int_equal(s.closed_error, -EPROTO);
        side_close(&s);
}

static void test_burst_is_one_write_and_bounded_turns(void **state)
{
        Side s;
        open_default(&s);
        for (int i = 0; i < 1000; i++) {
                wire_put_u32(link_begin(s.link, 5), (uint32_t)i);
                assert_int_equal(link_end(s.link, false), 0);
        }
        char c;
        assert_int_equal(recv(s.peer, &c, 1, MSG_PEEK), -1); // nothing left before the turn
        assert_int_equal(errno, EAGAIN);
        assert_int_equal(link_queued(s.link), 12000);
        (void)run_idle(&s);
        assert_int_equal(link_queued(s.link), 0);
        uint8_t all[12001];
        assert_int_equal(recv(s.peer, all, sizeof(all), 0), 12000);

        peer_write(&s, all, 12000); // the same 1,000 frames back: no turn hands on all of them
        unsigned turns = 0;
        while (s.n_frames < 1000 && turns < TURNS_MAX) {
                unsigned before = s.n_frames;
                assert_true(sd_event_run(s.event, 0) > 0);
                assert_true(s.n_frames - before <= 64);
                turns++;
        }
        assert_int_equal(s.n_frames, 1000);
        assert_true(turns >= 1000 / 64);
        side_close(&s);
}

static void test_full_socket_and_full_queue(void **state)
{
        LinkOptions o = {.max_frame = MAX_FRAME, .max_queue = 1 << 20};
        Side s;
        assert_int_equal(side_open(&s, &o), 0);
        _cleanup_(freep) char *data = malloc(100000);
        memset(data, 'x', 100000);
        unsigned sent = 0;
        int r;
        while ((r = link_send(s.link, 6, slice_mem(data, 100000))) == 0)
                sent++;
        assert_int_equal(r, -ENOBUFS);
        assert_true(link_queued(s.link) <= 1 << 20);
        assert_true(sent >= 10);
        size_t queued = link_queued(s.link);
        assert_int_equal(link_send(s.link, 6, slice_mem(data, 100000)), -ENOBUFS);
        assert_int_equal(link_queued(s.link), queued); // not a byte of it was queued
        (void)link_begin(s.link, 7);
        link_cancel(s.link);
        assert_int_equal(link_queued(s.link), queued);
        // A peer that reads gets all of them, whole and in order.
        size_t total = 0;
        _cleanup_(freep) uint8_t *got = malloc(1 << 20);
        for (unsigned n = 0; n < TURNS_MAX && total < (size_t)sent * 100008; n++) {
                ssize_t k = recv(s.peer, got, 1 << 20, 0);
                for (ssize_t i = 0; i < k; i++) {
                        size_t in_frame = (total + (size_t)i) % 100008;
                        assert_int_equal(got[i],
                                in_frame >= 8 ? 'x' : "\xa0\x86\1\0\6\0\0\0"[in_frame] & 0xff);
                }
                total += k > 0 ? (size_t)k : 0;
                assert_true(sd_event_run(s.event, 0) >= 0);
        }
        assert_int_equal(total, (size_t)sent * 100008);
        assert_int_equal(link_queued(s.link), 0);
        assert_int_equal(run_idle(&s), 0); // EPOLLOUT is no longer asked for
        assert_int_equal(link_send(s.link, 6, SLICE_LIT("again")), 0);
        side_close(&s);
}

static void test_largest_frame_both_ways(void **state)
{
        Side s;
        open_default(&s);
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(MAX_FRAME + 100);
        _cleanup_(freep) char *data = malloc(MAX_FRAME);
        for (size_t i = 0; i < MAX_FRAME; i++)
                data[i] = (char)(i * 7);
        put_frame(&b, 3, slice_mem(data, MAX_FRAME));
        size_t put = 0;
        for (unsigned n = 0; n < TURNS_MAX && s.n_frames == 0; n++) {
                ssize_t k = put < b.len ? send(s.peer, b.data + put, b.len - put, MSG_NOSIGNAL) : 0;
                put += k > 0 ? (size_t)k : 0;
                assert_true(sd_event_run(s.event, 0) >= 0);
        }
        assert_int_equal(s.n_frames, 1);
        assert_true(slice_eq(buf_slice(&s.last), slice_mem(data, MAX_FRAME)));
        side_close(&s);
}

static void test_pause(void **state)
{
        LinkOptions o = {.max_frame = MAX_FRAME, .max_queue = MAX_QUEUE};
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        Side s;
        assert_int_equal(side_open(&s, &o), 0);
        link_pause_read(s.link);
        for (int i = 0; i < 10; i++)
                put_frame(&b, 1, SLICE_LIT("x"));
        peer_write(&s, b.data, b.len);
        peer_close(&s);
        assert_int_equal(run_idle(&s), 0); // neither frames nor the hang-up wake a paused link
        s.pause_after = 4;
        link_resume_read(s.link);
        (void)run_idle(&s);
        assert_int_equal(s.n_frames, 4);
        assert_int_equal(link_send(s.link, 1, SLICE_LIT("x")), -ECONNRESET);
        (void)run_idle(&s);
        assert_int_equal(s.n_closed, 0);
        link_resume_read(s.link);
        (void)run_idle(&s);
        assert_int_equal(s.n_frames, 10); // the end comes behind what was sent before it
        assert_int_equal(s.n_closed, 1);
        side_close(&s);
}

static void test_free_within_callbacks(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        for (int i = 0; i < 5; i++)
                put_frame(&b, 1, SLICE_LIT("payload"));
        for (unsigned at = 1; at <= 5; at++) {
                Side s;
                open_default(&s);
                s.free_after = at;
                peer_write(&s, b.data, b.len);
                (void)run_idle(&s);
                assert_int_equal(s.n_frames, at);
                assert_int_equal(s.n_closed, 0); // link_free is silent
                assert_null(s.link);
                side_close(&s);
        }
        Side s;
        open_default(&s);
        s.free_on_close = true;
        peer_close(&s);
        (void)run_idle(&s);
        assert_int_equal(s.n_closed, 1);
        side_close(&s);
}

static void test_last_words_before_a_failed_write(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        Side s;
        open_default(&s);
        put_frame(&b, 9, SLICE_LIT("verdict"));
        peer_write(&s, b.data, b.len);
        peer_close(&s);
        assert_int_equal(link_send(s.link, 1, SLICE_LIT("x")), -ECONNRESET);
        assert_int_equal(s.n_closed, 0); // reported from the loop only
        (void)run_idle(&s);
        assert_int_equal(s.n_frames, 1);
        assert_slice(buf_slice(&s.last), "verdict");
        assert_int_equal(s.n_closed, 1);
        side_close(&s);
}

static void test_peer_that_stops_reading_only(void **state)
{
        Side s;
        open_default(&s);
        assert_int_equal(shutdown(s.peer, SHUT_RD), 0);
        assert_int_equal(link_send(s.link, 1, SLICE_LIT("x")), -ECONNRESET);
        (void)run_idle(&s);
        assert_int_equal(s.n_closed, 1);
        side_close(&s);
}

static void test_echo_from_within(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(100000);
        Side s;
        open_default(&s);
        s.echo = true;
        for (int i = 0; i < 500; i++)
                put_frame(&b, 4, SLICE_LIT("ping"));
        peer_write(&s, b.data, b.len);
        // Each small write costs a socket buffer of its own, so the socket is full half-way.
        _cleanup_(freep) uint8_t *got = malloc(b.len + 1);
        size_t total = 0;
        for (unsigned n = 0; n < TURNS_MAX && total < b.len; n++) {
                (void)run_idle(&s);
                ssize_t k = recv(s.peer, got + total, b.len + 1 - total, 0);
                total += k > 0 ? (size_t)k : 0;
        }
        assert_int_equal(total, b.len);
        assert_memory_equal(got, b.data, b.len);
        side_close(&s);
}

static int exchange(void *arg)
{
        LinkOptions o = {.max_frame = MAX_FRAME, .max_queue = MAX_QUEUE};
        Side s;
        int r = side_open(&s, &o);
        if (r == 0)
                r = link_send(s.link, 1, SLICE_LIT("x"));
        if (r == 0) {
                uint8_t frame[8 + 200] = {200, 0, 0, 0, 7};
                peer_write(&s, frame, sizeof(frame));
                (void)run_idle(&s);
                r = s.n_closed ? s.closed_error : s.last.error < 0 ? s.last.error : 0;
                assert_int_equal(r == 0 && s.n_frames != 1, 0); // no frame is lost without a reason
        }
        side_close(&s);
        return r;
}

static void test_torture(void **state)
{
        assert_true(torture(exchange, NULL) >= 3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_frames_in_pieces),
                cmocka_unit_test(test_every_cut_ends_with_a_reason),
                cmocka_unit_test(test_broken_frames),
                cmocka_unit_test(test_refusing_handler),
                cmocka_unit_test(test_burst_is_one_write_and_bounded_turns),
                cmocka_unit_test(test_full_socket_and_full_queue),
                cmocka_unit_test(test_largest_frame_both_ways),
                cmocka_unit_test(test_pause),
                cmocka_unit_test(test_free_within_callbacks),
                cmocka_unit_test(test_last_words_before_a_failed_write),
                cmocka_unit_test(test_peer_that_stops_reading_only),
                cmocka_unit_test(test_echo_from_within),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
