// SPDX-License-Identifier: MIT
// A store that is really full: filling it fails cleanly and leaves no trace, and everything that
// makes it emptier always works, down to nothing, again and again.
#include "store_fixture.h"

#include "store_model.h"

#define SIZE (UINT64_C(6) << 20)

enum { EVENTS_MAX = 20000 };

static uint64_t seqs[EVENTS_MAX];
static unsigned n_seqs;
static char noise[300 * 1000];

static int put_batch(Store *s, uint64_t *rng, size_t largest, unsigned batch)
{
        StoreRoute route = {.sink = 1, .method = "POST"};
        uint64_t fresh[64];
        StoreTxn *t = store_begin(s);
        for (unsigned i = 0; i < batch; i++)
                fresh[i] = store_put_event(
                        t, 1, slice_mem(noise, 1 + model_random(rng) % largest), &route, 1);
        Reason reason;
        int r = store_commit(t, &reason);
        if (r == 0) {
                memcpy(seqs + n_seqs, fresh, batch * sizeof(*fresh));
                n_seqs += batch;
        } else {
                assert_int_equal(r, -ENOSPC);
                assert_non_null(strstr(reason.text, "full"));
        }
        return r;
}

static void fill(Store *s, uint64_t *rng, size_t largest, unsigned batch)
{
        StoreUsage before, after;
        do
                store_usage(s, &before);
        while (put_batch(s, rng, largest, batch) == 0);
        store_usage(s, &after);
        assert_memory_equal(&before, &after, sizeof(before)); // the failed one left nothing
        while (put_batch(s, rng, largest < 500 ? largest : 500, 1) == 0)
                ; // to the last byte that intake may have
        assert_true(n_seqs > 0);
}

static void defer_all(Store *s)
{
        StoreTxn *t = store_begin(s);
        StoreOwed o = {
                .state = OWED_WAITS, .due_usec = 5, .detail = "the receiver says that it is down"};
        for (unsigned i = 0; i < n_seqs; i++) {
                store_defer(t, (DeliveryKey){seqs[i], 0}, &o, NULL);
                if (i % 100 == 99) {
                        fixture_commit(t);
                        t = store_begin(s);
                }
        }
        fixture_commit(t);
}

static void drain(Store *s, uint64_t *rng, bool in_order, unsigned batch)
{
        StoreVerdict v = {.status = 200, .detail = SLICE_LIT("ok")};
        while (n_seqs) {
                StoreTxn *t = store_begin(s);
                for (unsigned i = 0; i < batch && n_seqs; i++) {
                        unsigned k = in_order ? 0 : (unsigned)(model_random(rng) % n_seqs);
                        store_end(t, (DeliveryKey){seqs[k], 0}, END_DELIVERED, &v);
                        if (in_order)
                                memmove(seqs, seqs + 1, --n_seqs * sizeof(*seqs));
                        else
                                seqs[k] = seqs[--n_seqs];
                }
                fixture_commit(t); // never -ENOSPC
        }
        StoreUsage usage;
        store_usage(s, &usage);
        assert_int_equal(usage.events, 0);
        assert_int_equal(usage.event_bytes, 0);
        assert_true(usage.used < SIZE / 5); // the ledger and little else
}

static void test_fill_and_drain(void **state)
{
        char dir[64];
        fixture_dir(dir);
        uint64_t rng = fixture_seed();
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        StoreTxn *t = store_begin(s);
        model_intern(t);
        fixture_commit(t);
        static const struct {
                size_t largest;
                unsigned put, end;
                bool in_order, defer;
        } rounds[] = {
                {2000, 10, 40, true, false},
                {2000, 10, 1, true, false},
                {300 * 1000, 2, 5, false, false}, // fragments: long values among short ones
                {600, 40, 40, false, false},
                {300 * 1000, 1, 1, false, false},
                {700, 20, 30, false, true}, // owed and due rows come on top
                {100 * 1000, 3, 200, false, false},
        };
        for (size_t i = 0; i < N_ELEMENTS(rounds); i++) {
                fill(s, &rng, rounds[i].largest, rounds[i].put);
                StoreUsage usage;
                store_usage(s, &usage);
                print_message("round %zu: %u events, %" PRIu64 " %% used\n", i, n_seqs,
                        usage.used * 100 / usage.size);
                assert_true(usage.used > SIZE / 100 * 80);
                if (rounds[i].defer)
                        defer_all(s);
                drain(s, &rng, rounds[i].in_order, rounds[i].end);
        }
        assert_int_equal(store_scrub(s, fixture_fault, NULL), 0);
        store_close(s);
        fixture_remove(dir);
}

static void test_names_of_a_failed_commit_are_forgotten(void **state)
{
        char dir[64];
        fixture_dir(dir);
        uint64_t rng = 1;
        uint32_t number;
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        fill(s, &rng, 3000, 10);
        StoreTxn *t = store_begin(s);
        StoreRoute route = {.sink = 1, .method = "POST"};
        assert_int_equal(store_intern(t, STORE_SINK, "late", &number), 0);
        for (int i = 0; i < 40; i++)
                (void)store_put_event(t, 1, slice_mem(noise, 100 * 1000), &route, 1);
        Reason reason;
        assert_int_equal(store_commit(t, &reason), -ENOSPC);
        assert_int_equal(store_lookup(s, STORE_SINK, "late", &number), -ENOENT);
        t = store_begin(s); // small things still go, the store is not broken
        assert_int_equal(store_intern(t, STORE_SINK, "late", &number), 0);
        store_put_position(t, 1, SLICE_LIT("here"));
        fixture_commit(t);
        drain(s, &rng, true, 50);
        store_close(s);
        fixture_remove(dir);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fill_and_drain),
                cmocka_unit_test(test_names_of_a_failed_commit_are_forgotten),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
