// SPDX-License-Identifier: MIT
// The store's promises one by one: who may open it, what it looks like on disk, names, limits,
// long values, dead letters that come back, forgetting in steps, a second reader.
#include "store_fixture.h"

#include "event/record.h"
#include "store_model.h"
#include "torture.h"

#define SIZE (UINT64_C(8) << 20)

static char dir[64];

static int setup(void **state)
{
        fixture_dir(dir);
        return 0;
}

static int teardown(void **state)
{
        fixture_remove(dir);
        return 0;
}

static void test_what_is_on_disk(void **state)
{
        char path[128];
        struct stat st;
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        (void)snprintf(path, sizeof(path), "%s/store", dir);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        (void)snprintf(path, sizeof(path), "%s/store/data.mdb", dir);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_true((uint64_t)st.st_blocks * 512 >= SIZE); // a full disk cannot fail a commit
        assert_true((uint64_t)st.st_size < SIZE);
        for (int fd = 3; fd < 64; fd++) {
                int flags = fcntl(fd, F_GETFD);
                char link[32], target[128] = "";
                (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
                if (flags >= 0 && readlink(link, target, sizeof(target) - 1) > 0 &&
                        strstr(target, dir))
                        assert_true(flags & FD_CLOEXEC);
        }
        store_close(s);
}

static void test_lock_names_its_holder(void **state)
{
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED), *second = NULL;
        Reason reason;
        char pid[32];
        StoreOptions o = {.state_dir = dir, .size = SIZE};
        assert_int_equal(store_open(&second, &o, &reason), -EAGAIN);
        (void)snprintf(pid, sizeof(pid), "process %d", getpid());
        assert_non_null(strstr(reason.text, pid));
        store_close(s);
        store_close(fixture_open_as(dir, SIZE, STORE_EXISTED));
}

static void test_size_grows_and_does_not_shrink_below_use(void **state)
{
        StoreUsage usage;
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        StoreTxn *t = store_begin(s);
        model_intern(t);
        static char big[3 << 20];
        StoreRoute route = {.sink = 1, .method = "POST"};
        uint64_t seq = store_put_event(t, 1, slice_mem(big, sizeof(big)), &route, 1);
        fixture_commit(t);
        store_close(s);
        s = fixture_open_as(dir, 2 * SIZE, STORE_EXISTED);
        store_usage(s, &usage);
        assert_int_equal(usage.size, 2 * SIZE);
        assert_true(usage.used > sizeof(big) && usage.used < 2 * sizeof(big));
        store_close(s);
        Reason reason;
        StoreOptions o = {.state_dir = dir, .size = 1 << 20};
        assert_int_equal(store_open(&s, &o, &reason), STORE_EXISTED);
        assert_non_null(strstr(reason.text, "store.size"));
        store_usage(s, &usage);
        assert_true(usage.size > sizeof(big) && usage.size < SIZE);
        StoreEvent e;
        assert_int_equal(store_read_begin(s), 0);
        assert_int_equal(store_get_event(s, seq, &e), 0);
        assert_memory_equal(e.record.data, big, sizeof(big));
        store_read_end(s);
        t = store_begin(s); // in a map without a free page at its end, ends still work
        store_end(t, (DeliveryKey){seq, 0}, END_DELIVERED, NULL);
        fixture_commit(t);
        store_close(s);
}

static int each_name(uint32_t number, const char *name, void *u)
{
        buf_addf(u, "%u=%s ", number, name);
        return 0;
}

static void test_names(void **state)
{
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        uint32_t number;
        static const char *const names[] = {"ops", "slack", "audit"};
        StoreTxn *t = store_begin(s);
        for (uint32_t i = 0; i < 3; i++) {
                assert_int_equal(store_intern(t, STORE_SINK, names[i], &number), 0);
                assert_int_equal(number, i + 1);
                assert_int_equal(store_intern(t, STORE_SINK, names[i], &number), 0);
                assert_int_equal(number, i + 1);
        }
        assert_int_equal(store_intern(t, STORE_RULE, "new-invoice", &number), 0);
        assert_int_equal(number, rule_hash("new-invoice"));
        fixture_commit(t);
        store_close(s);
        s = fixture_open_as(dir, SIZE, STORE_EXISTED);
        Buf b = BUF_INIT(1000);
        assert_int_equal(store_each_name(s, STORE_SINK, each_name, &b), 0);
        assert_slice(buf_slice(&b), "1=ops 2=slack 3=audit ");
        buf_deinit(&b);
        assert_string_equal(store_name(s, STORE_RULE, rule_hash("new-invoice")), "new-invoice");
        assert_string_equal(store_name(s, STORE_SINK, 9), "?");
        assert_int_equal(store_lookup(s, STORE_SINK, "slack", &number), 0);
        assert_int_equal(number, 2);
        assert_int_equal(store_lookup(s, STORE_SOURCE, "slack", &number), -ENOENT);
        store_close(s);
}

static void test_forget_goes_in_steps(void **state)
{
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        StoreTxn *t = store_begin(s);
        model_intern(t);
        char key[16];
        for (unsigned i = 0; i < 5000; i++) {
                (void)snprintf(key, sizeof(key), "%u", i);
                store_put_state(t, 1, slice_of(key), SLICE_LIT("value"));
        }
        store_put_state(t, 2, SLICE_LIT("kept"), SLICE_LIT("value"));
        store_put_position(t, 1, SLICE_LIT("here"));
        fixture_commit(t);
        assert_true(store_state_bytes(s, 1) > 5000 * 5);
        int r = 1, steps = 0;
        for (; r == 1; steps++) {
                t = store_begin(s);
                r = store_forget_source(t, 1);
                fixture_commit(t);
        }
        assert_int_equal(r, 0);
        assert_int_equal(steps, 3);
        assert_int_equal(store_state_bytes(s, 1), 0);
        assert_int_equal(store_state_bytes(s, 2), 9);
        Slice position;
        assert_int_equal(store_read_begin(s), 0);
        assert_int_equal(store_get_position(s, 1, &position), -ENOENT);
        store_read_end(s);
        assert_int_equal(store_scrub(s, fixture_fault, NULL), 0);
        store_close(s);
}

static void test_meta_and_empty_commit(void **state)
{
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        StoreTxn *t = store_begin(s);
        store_put_meta(t, "paused/ops", SLICE_LIT("yes"));
        fixture_commit(t);
        StoreUsage before, after;
        store_usage(s, &before);
        fixture_commit(store_begin(s)); // nothing in it: no barrier, no commit
        store_usage(s, &after);
        assert_int_equal(before.commits, after.commits);
        Slice value;
        assert_int_equal(store_read_begin(s), 0);
        assert_int_equal(store_get_meta(s, "paused/ops", &value), 0);
        assert_slice(value, "yes");
        store_read_end(s);
        t = store_begin(s);
        store_put_meta(t, "paused/ops", SLICE_NULL);
        fixture_commit(t);
        assert_int_equal(store_read_begin(s), 0);
        assert_int_equal(store_get_meta(s, "paused/ops", &value), -ENOENT);
        assert_int_equal(store_get_meta(s, "commit", &value), -ENOENT); // the store's own are apart
        store_read_end(s);
        store_close(s);
}

static void test_errors_stick_and_are_final(void **state)
{
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        StoreTxn *t = store_begin(s);
        static char key[600];
        store_put_meta(t, "before", SLICE_LIT("x"));
        store_put_state(t, 1, slice_mem(key, sizeof(key)), SLICE_LIT("v"));
        store_put_meta(t, "behind", SLICE_LIT("x"));
        Reason reason;
        assert_int_equal(store_commit(t, &reason), -EINVAL);
        Slice value;
        assert_int_equal(store_read_begin(s), 0);
        assert_int_equal(store_get_meta(s, "before", &value), -ENOENT);
        store_read_end(s);
        t = store_begin(s);
        store_put_meta(t, "later", SLICE_LIT("x"));
        assert_int_equal(store_commit(t, &reason), -EIO);
        store_close(s);
        store_close(fixture_open_as(dir, SIZE, STORE_EXISTED)); // checked because of the mark
}

static int take_dead(const StoreDead *d, void *u)
{
        *(StoreDead *)u = *d;
        return 0;
}

static void test_dead_letter_comes_back_the_same(void **state)
{
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        static char body[100 * 1000]; // in chunks
        memset(body, 'b', sizeof(body));
        StoreRoute routes[2] = {{.sink = 1,
                                        .method = "PUT",
                                        .rule = 77,
                                        .format = 2,
                                        .flags = ROUTE_OWN_BODY,
                                        .own_headers = SLICE_LIT("headers"),
                                        .own_body = slice_mem(body, sizeof(body))},
                {.sink = 2, .method = "POST"}};
        StoreTxn *t = store_begin(s);
        model_intern(t);
        uint64_t seq = store_put_event(t, 1, SLICE_LIT("record"), routes, 2);
        fixture_commit(t);
        t = store_begin(s);
        store_bury(t, (DeliveryKey){seq, 0}, "rejected",
                &(StoreVerdict){.status = 400, .detail = SLICE_LIT("no")});
        fixture_commit(t);
        StoreDead dead = {0};
        assert_int_equal(store_read_begin(s), 0);
        assert_int_equal(store_each_dead(s, 0, take_dead, &dead), 0);
        store_read_end(s);
        SinkUsage usage;
        store_sink_usage(s, 1, &usage);
        assert_int_equal(usage.deliveries, 0);
        t = store_begin(s);
        assert_int_equal(store_dead_retry(t, dead.dead + 1, &seq), -ENOENT);
        assert_int_equal(store_dead_retry(t, dead.dead, &seq), 0);
        fixture_commit(t);
        StoreEvent e;
        StoreRoute r;
        Slice headers, own;
        assert_int_equal(store_read_begin(s), 0);
        assert_int_equal(store_get_event(s, seq, &e), 0);
        assert_int_equal(e.n_routes, 1);
        assert_int_equal(e.source, 1);
        assert_slice(e.record, "record");
        assert_int_equal(store_event_route(&e, 0, &r), 0);
        assert_true(r.sink == 1 && r.rule == 77 && r.format == 2 && r.flags == ROUTE_OWN_BODY);
        assert_string_equal(r.method, "PUT");
        assert_int_equal(store_get_own(s, (DeliveryKey){seq, 0}, &headers, &own), 0);
        assert_slice(headers, "headers");
        assert_int_equal(own.len, sizeof(body));
        assert_memory_equal(own.data, body, sizeof(body));
        store_read_end(s);
        assert_int_equal(store_scrub(s, fixture_fault, NULL), 0);
        store_close(s);
}

static void test_second_process_reads(void **state)
{
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        StoreTxn *t = store_begin(s);
        model_intern(t);
        StoreRoute route = {.sink = 3, .method = "POST"};
        uint64_t seq = store_put_event(t, 2, SLICE_LIT("record"), &route, 1);
        fixture_commit(t);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) { // LMDB is not used after a fork: the child opens its own
                Store *reader;
                StoreEvent e;
                SinkUsage usage;
                StoreOptions o = {.state_dir = dir, .size = SIZE, .read_only = true};
                bool fine = store_open(&reader, &o, NULL) == STORE_EXISTED &&
                            store_read_begin(reader) == 0 &&
                            store_get_event(reader, seq, &e) == 0 &&
                            slice_eq_str(e.record, "record");
                store_sink_usage(reader, 3, &usage);
                store_read_end(reader);
                fine = fine && usage.deliveries == 1 && store_scrub(reader, NULL, NULL) == 0;
                Reason reason;
                StoreTxn *no = store_begin(reader);
                store_put_meta(no, "x", SLICE_LIT("y"));
                fine = fine && store_commit(no, &reason) == -EROFS;
                _exit(fine ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        store_close(s);
}

static void test_ledger_keeps_to_its_share(void **state)
{
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        StoreTxn *t = store_begin(s);
        model_intern(t);
        fixture_commit(t);
        StoreRoute route = {.sink = 1, .method = "POST"};
        StoreVerdict v = {
                .detail = SLICE_LIT("a detail of some length, as receivers like to send them")};
        StoreUsage usage;
        for (unsigned i = 0; i < 300; i++) {
                t = store_begin(s);
                for (unsigned j = 0; j < 40; j++)
                        store_end(t,
                                (DeliveryKey){store_put_event(t, 1, SLICE_LIT("r"), &route, 1), 0},
                                END_DELIVERED, &v);
                fixture_commit(t);
                store_usage(s, &usage);
                assert_true(usage.ledger_bytes <= SIZE / 100 * 5);
        }
        assert_true(usage.ledger_bytes > SIZE / 100 * 4); // full, so the oldest went
        assert_true(usage.used < SIZE / 10);
        assert_int_equal(usage.events, 0);
        assert_int_equal(store_scrub(s, fixture_fault, NULL), 0);
        store_close(s);
}

static int torture_work(void *arg)
{
        char own[64] = "/tmp/belfry-torture-XXXXXX";
        if (!mkdtemp(own))
                return 0;
        StoreOptions o = {.state_dir = own, .size = 1 << 20, .ledger_percent = 5};
        Store *s = NULL;
        int r = store_open(&s, &o, NULL);
        if (r >= 0) {
                static char body[40000];
                StoreRoute route = {.sink = 1,
                        .method = "POST",
                        .flags = ROUTE_OWN_BODY,
                        .own_body = slice_mem(body, sizeof(body))};
                uint32_t number;
                StoreTxn *t = store_begin(s);
                (void)!store_intern(t, STORE_SINK, "one", &number);
                uint64_t seq = store_put_event(t, 1, SLICE_LIT("record"), &route, 1);
                store_put_state(t, 1, SLICE_LIT("k"), SLICE_LIT("v"));
                r = store_commit(t, NULL);
                t = store_begin(s);
                store_bury(t, (DeliveryKey){seq, 0}, "rejected", NULL);
                int second = store_commit(t, NULL);
                r = r < 0 ? r : second;
                second = store_scrub(s, NULL, NULL);
                r = r < 0 ? r : second < 0 ? second : second > 0 ? -EUCLEAN : 0;
        }
        store_close(s);
        fixture_remove(own);
        return r;
}

static void test_allocations_fail(void **state)
{
        assert_true(torture(torture_work, NULL) > 10);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_what_is_on_disk, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lock_names_its_holder, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        test_size_grows_and_does_not_shrink_below_use, setup, teardown),
                cmocka_unit_test_setup_teardown(test_names, setup, teardown),
                cmocka_unit_test_setup_teardown(test_forget_goes_in_steps, setup, teardown),
                cmocka_unit_test_setup_teardown(test_meta_and_empty_commit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_errors_stick_and_are_final, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        test_dead_letter_comes_back_the_same, setup, teardown),
                cmocka_unit_test_setup_teardown(test_second_process_reads, setup, teardown),
                cmocka_unit_test_setup_teardown(test_ledger_keeps_to_its_share, setup, teardown),
                cmocka_unit_test(test_allocations_fail),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
