// SPDX-License-Identifier: MIT
// Rows read beside the stream: which of them the stream has made stale, and what they look like.
#include "test.h"

#include "base/json.h"
#include "base/limits.h"
#include "change.h"
#include "pg_messages.h"
#include "torture.h"
#include "watch.h"

#include <errno.h>
#include <stdio.h>

enum { ORDERS = 16400, ITEMS = 16401, MOODS = 20001 };

static Buf message = {.max = 1 << 22};
static Reason reason;

static void test_snapshots(void **state)
{
        static const struct {
                const char *text;
                uint32_t xid;
                int seen; // -1: no snapshot at all
        } cases[] = {
                {"10:20:12,15", 9, true},
                {"10:20:12,15", 10, true},
                {"10:20:12,15", 12, false},
                {"10:20:12,15", 13, true},
                {"10:20:12,15", 15, false},
                {"10:20:12,15", 19, true},
                {"10:20:12,15", 20, false},
                {"10:20:12,15", 21, false},
                {"10:10:", 9, true},
                {"10:10:", 10, false},
                // The stream's half wraps around.
                {"4294967290:4294967300:4294967295,4294967297", 4294967295u, false},
                {"4294967290:4294967300:4294967295,4294967297", 1, false},
                {"4294967290:4294967300:4294967295,4294967297", 3, true},
                {"4294967290:4294967300:4294967295,4294967297", 4, false},
                {"4294967290:4294967300:4294967295,4294967297", 4294967291u, true},
                {"8589934600:8589934600:", 5, true},
                {"", 0, -1},
                {"10", 0, -1},
                {"10:", 0, -1},
                {"10:20", 0, -1},
                {"20:10:", 0, -1},
                {"10:20:12,", 12, false},
                {"10:20:12;15", 0, -1},
                {"10:20:15,12", 0, -1},
                {"a:20:", 0, -1},
                {"10:99999999999999999999999:", 0, -1},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Snapshot s = {0};
                int r = snapshot_parse(slice_of(cases[i].text), &s);
                if (cases[i].seen < 0) {
                        assert_int_equal(r, -EBADMSG);
                        continue;
                }
                assert_int_equal(r, 0);
                if (snapshot_sees(&s, cases[i].xid) != cases[i].seen)
                        fail_msg("%s %u", cases[i].text, cases[i].xid);
                snapshot_deinit(&s);
        }
}

static void touch(Watch *w, uint32_t xid, const char *key, bool whole)
{
        watch_transaction(w, xid);
        assert_true(watch_wants(w, ORDERS));
        watch_row(w, xid, slice_of(key), whole);
}

static void verdict(const Watch *w, const char *key, WatchVerdict v)
{
        if (watch_verdict(w, slice_of(key)) != v)
                fail_msg("%s", key);
}

static void test_notes(void **state)
{
        Watch *w = watch_new();
        assert_non_null(w);
        assert_false(watch_wants(w, ORDERS));
        watch_transaction(w, 90);
        watch_begin(w, ORDERS);
        assert_true(watch_wants(w, ORDERS) && !watch_wants(w, ITEMS));
        touch(w, 100, "seen", true);
        touch(w, 150, "whole", true);
        touch(w, 151, "part", false);
        touch(w, 152, "part then whole", false);
        assert_int_equal(watch_snapshot(w, SLICE_LIT("100:200:150,151,152,153")), 0);
        touch(w, 153, "part then whole", true);
        touch(w, 160, "seen too", true);
        touch(w, 200, "later", false);
        verdict(w, "seen", WATCH_UNTOUCHED);
        verdict(w, "seen too", WATCH_UNTOUCHED);
        verdict(w, "whole", WATCH_TOUCHED);
        verdict(w, "part", WATCH_IN_PART);
        verdict(w, "part then whole", WATCH_TOUCHED);
        verdict(w, "later", WATCH_IN_PART);
        assert_false(watch_table_touched(w));
        watch_table(w, 160);
        assert_false(watch_table_touched(w));
        watch_table(w, 153);
        assert_true(watch_table_touched(w) && !watch_wants(w, ORDERS));
        watch_begin(w, ITEMS);
        assert_false(watch_table_touched(w));
        verdict(w, "whole", WATCH_UNTOUCHED);
        watch_free(w);
}

// Told before the reading began, and yet its snapshot does not see it.
static void test_told_and_not_seen(void **state)
{
        Watch *w = watch_new();
        assert_non_null(w);
        for (uint32_t xid = 1000; xid < 1000 + 2 * WATCH_TOLD; xid++)
                watch_transaction(w, xid);
        const uint32_t last = 999 + 2 * WATCH_TOLD;
        char text[64];
        watch_begin(w, ORDERS);
        (void)snprintf(text, sizeof text, "%u:%u:%u", last - 5, last + 1, last - 5);
        assert_int_equal(watch_snapshot(w, slice_of(text)), 1);
        watch_begin(w, ORDERS);
        (void)snprintf(text, sizeof text, "%u:%u:%u", last + 1, last + 3, last + 1);
        watch_transaction(w, last + 1); // told while it was read: noted, no reason to read again
        assert_int_equal(watch_snapshot(w, slice_of(text)), 0);
        watch_begin(w, ORDERS);
        assert_int_equal(watch_snapshot(w, SLICE_LIT("what")), -EBADMSG);
        watch_free(w);
}

static void test_bounded(void **state)
{
        Watch *w = watch_new();
        char key[64];
        assert_non_null(w);
        for (unsigned known = 0; known < 2; known++) {
                unsigned n = 0;
                watch_begin(w, ORDERS);
                if (known)
                        assert_int_equal(watch_snapshot(w, SLICE_LIT("10:10:")), 0);
                for (; watch_wants(w, ORDERS) && n < 2 * WATCH_ROWS; n++) {
                        (void)snprintf(key, sizeof key, "public.orders:%u", n);
                        watch_row(w, 20, slice_of(key), true);
                }
                assert_int_equal(n, WATCH_ROWS + 1);
                assert_true(watch_table_touched(w));
        }
        watch_free(w);
}

// ---- through the decoder
static Change *c;
static Watch *w;

static void feeds(void)
{
        const ChangeItem *item;
        assert_int_equal(change_feed(c, buf_slice(&message), &reason), 0);
        while ((item = change_item(c)))
                assert_int_equal(change_taken(c, &reason), 0);
}

static void old_and_new(char type, char kind, const PgText *old, const PgText *new)
{
        pg_row(&message, type, ORDERS);
        if (old)
                pg_tuple(&message, kind, 2, old);
        if (new)
                pg_tuple(&message, 'N', 2, new);
        feeds();
}

static void test_what_the_stream_tells(void **state)
{
        const PgText one[] = {T("1"), T("x")}, two[] = {T("2"), U}, three[] = {T("3"), T("z")},
                     old[] = {T("33"), N}, four[] = {T("4"), U}, whole[] = {T("4"), T("big")};
        const ChangeOptions all[] = {{.operations = CHANGE_ALL, .event_max = 65536},
                {.operations = CHANGE_ALL, .event_max = 65536, .group = true}};
        const uint32_t table = ORDERS;

        for (size_t i = 0; i < N_ELEMENTS(all); i++) {
                c = change_new(&all[i]);
                w = watch_new();
                assert_true(c && w);
                change_watch(c, w);
                change_connected(c, 7, 1, "slot");
                watch_begin(w, ORDERS);
                assert_int_equal(watch_snapshot(w, SLICE_LIT("100:100:")), 0);
                pg_begin(&message, 0x100, 700);
                feeds();
                pg_relation(&message, ORDERS, "public", "orders", 'd', "*id:23,note:25");
                feeds();
                pg_insert(&message, ORDERS, 2, one);
                feeds();
                old_and_new('U', 0, NULL, two);
                old_and_new('U', 'K', old, three);
                old_and_new('U', 'O', whole, four);
                old_and_new('D', 'K', (PgText[]){T("5"), N}, NULL);
                verdict(w, "public.orders:1", WATCH_TOUCHED);
                verdict(w, "public.orders:2", WATCH_IN_PART);
                verdict(w, "public.orders:3", WATCH_TOUCHED);
                verdict(w, "public.orders:33", WATCH_TOUCHED);
                verdict(w, "public.orders:4", WATCH_TOUCHED);
                verdict(w, "public.orders:5", WATCH_TOUCHED);
                verdict(w, "public.orders:6", WATCH_UNTOUCHED);
                assert_false(watch_table_touched(w));
                pg_truncate(&message, 0, 1, &table);
                feeds();
                assert_true(watch_table_touched(w));
                c = change_free(c);
                w = watch_free(w);
        }
}

// Without a key new rows are no matter, since no snapshot that would miss them has them.
static void test_table_without_key(void **state)
{
        const ChangeOptions o = {.operations = CHANGE_ALL, .event_max = 65536};
        const PgText row[] = {T("1"), T("x")};
        c = change_new(&o);
        w = watch_new();
        assert_true(c && w);
        change_watch(c, w);
        watch_begin(w, ORDERS);
        pg_begin(&message, 0x100, 700);
        feeds();
        pg_relation(&message, ORDERS, "public", "orders", 'd', "id:23,note:25");
        feeds();
        pg_insert(&message, ORDERS, 2, row);
        feeds();
        assert_false(watch_table_touched(w));
        old_and_new('D', 'O', row, NULL);
        assert_true(watch_table_touched(w));
        c = change_free(c);
        w = watch_free(w);
}

// ---- rows that were read
static int read_one(const char *columns, char identity, const PgText *row, SourceEvent *e)
{
        pg_relation(&message, ORDERS, "public", "orders", identity, columns);
        int r = change_read_table(c, buf_slice(&message), 0x16B3748, &reason);
        while (r == 0 && (r = change_read_ask(c)) > 0)
                r = change_answered(c, &reason);
        pg_insert(&message, ORDERS, 2, row);
        return r < 0 ? r : change_read_row(c, buf_slice(&message), 17, e, &reason);
}

static void test_rows_that_were_read(void **state)
{
        const ChangeOptions o = {.operations = CHANGE_ALL, .event_max = 20000};
        PgText row[] = {T("42"), T("a\"b")};
        SourceEvent e;
        c = change_new(&o);
        assert_non_null(c);
        assert_int_equal(read_one("*id:23,note:25", 'd', row, &e), 0);
        assert_string_equal(e.type, "row.read");
        assert_true(slice_eq_str(e.key, "public.orders:42"));
        assert_true(slice_eq_str(e.subject, "public.orders"));
        assert_true(slice_eq_str(e.data,
                "{\"op\":\"read\",\"schema\":\"public\",\"table\":\"orders\",\"key\":{\"id\":42},"
                "\"new\":{\"id\":42,\"note\":\"a\\\"b\"},\"tx\":{\"lsn\":\"0/16B3748\",\"ordinal\":"
                "17}}"));
        // Another form, with a type that must be asked for.
        row[1] = T("{a}");
        assert_int_equal(read_one("id:23,moods:20001", 'f', row, &e), 0);
        assert_true(slice_eq_str(e.key, "public.orders"));
        char *big = calloc(1, 30001);
        assert_non_null(big);
        memset(big, 'x', 30000);
        row[1] = T(big);
        assert_int_equal(read_one("*id:23,note:25", 'd', row, &e), 0);
        assert_non_null(memmem(e.data.data, e.data.len, "\"oversized\":true", 16));
        assert_non_null(memmem(e.data.data, e.data.len, "\"key\":{\"id\":42}", 15));
        pg_insert(&message, ORDERS, 1, row);
        assert_int_equal(change_read_row(c, buf_slice(&message), 1, &e, &reason), -EBADMSG);
        pg_insert(&message, ITEMS, 2, row);
        assert_int_equal(change_read_row(c, buf_slice(&message), 1, &e, &reason), -EBADMSG);
        assert_int_equal(change_read_table(c, buf_slice(&message), 1, &reason), -EBADMSG);
        free(big);
        c = change_free(c);
}

static int all(void *arg)
{
        const ChangeOptions o = {.operations = CHANGE_ALL, .event_max = 20000};
        const PgText row[] = {T("42"), T("{a}")};
        SourceEvent e;
        int r = -ENOMEM;
        c = change_new(&o);
        w = watch_new();
        if (c && w) {
                watch_begin(w, ORDERS);
                watch_row(w, 20, SLICE_LIT("public.orders:1"), true);
                r = watch_snapshot(w, SLICE_LIT("10:30:10,20"));
                watch_row(w, 40, SLICE_LIT("public.orders:2"), true);
                // A note that could not be kept counts for the table.
                if (r == 0 && !watch_table_touched(w) &&
                        (watch_verdict(w, SLICE_LIT("public.orders:1")) != WATCH_TOUCHED ||
                                watch_verdict(w, SLICE_LIT("public.orders:2")) != WATCH_TOUCHED))
                        r = -EINVAL;
                if (r == 0)
                        r = read_one("*id:23,moods:20001", 'f', row, &e);
        }
        c = change_free(c);
        w = watch_free(w);
        return r;
}

static void test_failing_allocations(void **state)
{
        assert_true(torture(all, NULL) > 10);
}

static int end(void **state)
{
        buf_deinit(&message);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_snapshots),
                cmocka_unit_test(test_notes),
                cmocka_unit_test(test_told_and_not_seen),
                cmocka_unit_test(test_bounded),
                cmocka_unit_test(test_what_the_stream_tells),
                cmocka_unit_test(test_table_without_key),
                cmocka_unit_test(test_rows_that_were_read),
                cmocka_unit_test(test_failing_allocations),
        };
        return cmocka_run_group_tests(tests, NULL, end);
}
