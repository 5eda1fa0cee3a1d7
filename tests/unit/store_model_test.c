// SPDX-License-Identifier: MIT
// Random operations against the model: whatever the sequence, everything readable is equal, before
// and after closing, and scrub finds nothing. Transactions given up leave no trace.
#include "store_fixture.h"

#include "store_model.h"

#define SIZE (UINT64_C(64) << 20)

static void assert_equal(const Model *m, Store *s)
{
        const char *fault = model_compare(m, s);
        if (fault)
                fail_msg("after step %" PRIu64 ": %s", m->step, fault);
        assert_int_equal(store_scrub(s, fixture_fault, NULL), 0);
}

static void run(uint64_t seed, unsigned steps, size_t largest)
{
        char dir[64];
        fixture_dir(dir);
        Model m;
        model_init(&m, seed, largest);
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        StoreTxn *t = store_begin(s);
        model_intern(t);
        fixture_commit(t);
        uint64_t rng = seed;
        for (unsigned i = 0; i < steps; i++) {
                t = store_begin(s);
                model_step(&m, t);
                fixture_commit(t);
                if (model_random(&rng) % 40 == 0)
                        assert_equal(&m, s);
                if (model_random(&rng) % 60 == 0) {
                        s = store_close(s);
                        s = fixture_open_as(dir, SIZE, STORE_EXISTED);
                        assert_equal(&m, s);
                }
        }
        assert_equal(&m, s);
        store_close(s);
        model_deinit(&m);
        fixture_remove(dir);
}

static void test_small_values(void **state)
{
        run(fixture_seed(), 600, 500);
}

static void test_values_in_chunks(void **state)
{
        run(fixture_seed() + 1, 300, 200 * 1000);
}

static void test_abort_leaves_nothing(void **state)
{
        char dir[64];
        fixture_dir(dir);
        Model m;
        model_init(&m, 4711, 5000);
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        StoreTxn *t = store_begin(s);
        model_intern(t);
        fixture_commit(t);
        SinkUsage before, after;
        for (unsigned i = 0; i < 50; i++) {
                t = store_begin(s);
                model_step(&m, t);
                fixture_commit(t);
                store_sink_usage(s, 1, &before);
                t = store_begin(s);
                StoreRoute route = {.sink = 1, .method = "POST"};
                uint32_t number;
                (void)store_put_event(t, 1, SLICE_LIT("not a record"), &route, 1);
                store_put_state(t, 1, SLICE_LIT("key-1"), SLICE_LIT("other"));
                store_put_position(t, 1, SLICE_LIT("elsewhere"));
                assert_int_equal(store_intern(t, STORE_SINK, "never", &number), 0);
                t = store_abort(t);
                assert_int_equal(store_lookup(s, STORE_SINK, "never", &number), -ENOENT);
                store_sink_usage(s, 1, &after);
                assert_memory_equal(&before, &after, sizeof(before));
        }
        assert_equal(&m, s);
        store_close(s);
        model_deinit(&m);
        fixture_remove(dir);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_small_values),
                cmocka_unit_test(test_values_in_chunks),
                cmocka_unit_test(test_abort_leaves_nothing),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
