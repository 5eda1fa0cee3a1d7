// SPDX-License-Identifier: MIT
// The state of the stream: what is counted, told, skipped, kept and refused. Streams are put together
// by hand; the same with a real server is in tests/e2e/test_pgoutput.py.
#include "test.h"

#include "base/json.h"
#include "base/limits.h"
#include "change.h"
#include "pg_messages.h"
#include "relation.h"
#include "torture.h"

#include <errno.h>
#include <stdio.h>

enum { ORDERS = 16400, ITEMS = 16401, MOOD = 20000 };

// What was told, one line each, and what must be kept.
static Buf told = {.max = 64 << 20}, states = {.max = 64 << 20}, message = {.max = 1 << 22};
static Buf last_data = {.max = 1 << 22};
static char last_id[256], last_key[2048];
static Change *c;
static Reason reason;

static int drain(void)
{
        const ChangeItem *item;

        while ((item = change_item(c))) {
                if (item->state_key.data)
                        buf_addf(&states, "%.*s%s\n", SLICE_ARG(item->state_key),
                                item->state_value.data ? "" : " gone");
                if (item->event) {
                        const SourceEvent *e = item->event;
                        buf_addf(&told, "%s %.*s\n", e->type, SLICE_ARG(e->subject));
                        if (json_check(e->data, 63, NULL) < 0)
                                return -EINVAL;
                        buf_reset(&last_data);
                        buf_add_slice(&last_data, e->data);
                        (void)snprintf(last_id, sizeof last_id, "%.*s", SLICE_ARG(e->id_material));
                        (void)snprintf(last_key, sizeof last_key, "%.*s", SLICE_ARG(e->key));
                        if (e->key.len > LIMIT_KEY || e->subject.len > LIMIT_SUBJECT)
                                return -EINVAL;
                }
                int r = change_taken(c, &reason);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int feed(void)
{
        reason.text[0] = 0;
        int r = change_feed(c, buf_slice(&message), &reason);
        return r < 0 ? r : drain();
}

static void feeds(void)
{
        int r = feed();
        if (r < 0)
                fail_msg("%s (%d)", reason.text, r);
}

static void fails(int error, const char *why)
{
        assert_int_equal(feed(), error);
        if (!strstr(reason.text, why))
                fail_msg("\"%s\" does not say \"%s\"", reason.text, why);
}

static void begin(uint64_t lsn)
{
        pg_begin(&message, lsn, 700);
        feeds();
}

static void commit(uint64_t lsn)
{
        pg_commit(&message, lsn, lsn + 8);
        feeds();
}

static void describe(uint32_t oid, const char *name, char identity, const char *columns)
{
        pg_relation(&message, oid, "public", name, identity, columns);
        feeds();
}

static void insert(uint32_t oid, const char *id, const char *text)
{
        PgText row[] = {T(id), T(text)};
        if (!text)
                row[1] = N;
        pg_insert(&message, oid, 2, row);
        feeds();
}

static void fresh(ChangeOptions o)
{
        change_free(c);
        if (!o.operations)
                o.operations = CHANGE_ALL;
        if (!o.event_max)
                o.event_max = LIMIT_EVENT_DEFAULT;
        c = change_new(&o);
        assert_non_null(c);
        change_connected(c, 7, 1, "slot");
        buf_reset(&told);
        buf_reset(&states);
}

// A new process with what was stored.
static void restart(ChangeOptions o, const Position *p)
{
        fresh(o);
        change_set_position(c, p);
        change_connected(c, 7, 1, "slot");
}

static void assert_told(const char *lines)
{
        assert_slice(buf_slice(&told), lines);
        buf_reset(&told);
}

static void assert_position(uint64_t end, uint64_t commit_lsn, uint64_t ordinal)
{
        const Position *p = change_position(c);
        assert_int_equal(p->end_lsn, end);
        assert_int_equal(p->commit_lsn, commit_lsn);
        assert_int_equal(p->ordinal, ordinal);
}

static void test_one_transaction(void **state)
{
        fresh((ChangeOptions){0});
        begin(0x100);
        describe(ORDERS, "orders", 'd', "*id:23,note:25");
        assert_slice(buf_slice(&states), "relation/16400\n");
        insert(ORDERS, "1", "x");
        assert_slice(buf_slice(&last_data),
                "{\"op\":\"insert\",\"schema\":\"public\",\"table\":\"orders\",\"key\":{\"id\":1},"
                "\"new\":{\"id\":1,\"note\":\"x\"},\"tx\":{\"xid\":700,\"lsn\":\"0/100\","
                "\"time\":\"2000-01-01T00:00:00.000000Z\",\"ordinal\":1}}");
        assert_string_equal(last_id, "7:100:1");
        assert_string_equal(last_key, "public.orders:1");
        assert_position(0, 0x100, 1);
        assert_true(change_in_transaction(c));
        insert(ORDERS, "2", NULL);
        commit(0x100);
        assert_false(change_in_transaction(c));
        assert_position(0x108, 0, 0);
        assert_told("row.inserted public.orders\nrow.inserted public.orders\n");
        assert_int_equal(change_stats(c)->rows, 2);
        // Empty transactions move the position too.
        begin(0x200);
        commit(0x200);
        assert_position(0x208, 0, 0);
        assert_told("");
}

static void test_position_while_it_waits(void **state)
{
        PgText row[] = {T("1"), T("x")};

        fresh((ChangeOptions){0});
        begin(0x100);
        describe(ORDERS, "orders", 'd', "*id:23,note:25");
        pg_insert(&message, ORDERS, 2, row);
        assert_int_equal(change_feed(c, buf_slice(&message), &reason), 0);
        assert_true(change_waits(c));
        assert_position(0, 0, 0);
        assert_int_equal(change_taken(c, &reason), 0);
        assert_position(0, 0x100, 1);
        assert_false(change_waits(c));
}

static void orders_and(uint64_t lsn, unsigned n)
{
        char id[16];

        begin(lsn);
        describe(ORDERS, "orders", 'd', "*id:23,note:25");
        for (unsigned i = 1; i <= n; i++) {
                (void)snprintf(id, sizeof id, "%u", i);
                insert(ORDERS, id, "x");
        }
        commit(lsn);
}

static void test_resume(void **state)
{
        Position p = {.end_lsn = 0x108, .commit_lsn = 0x200, .ordinal = 2};

        restart((ChangeOptions){0}, &p);
        orders_and(0x100, 2); // was whole
        assert_told("");
        orders_and(0x200, 3); // two of it were taken
        assert_told("row.inserted public.orders\n");
        assert_string_equal(last_id, "7:200:3");
        assert_position(0x208, 0, 0);
        assert_int_equal(change_stats(c)->skipped, 4);
        // The same process, another connection: nothing comes twice.
        change_disconnected(c);
        change_connected(c, 7, 1, "slot");
        orders_and(0x200, 3);
        assert_told("");
        orders_and(0x300, 1);
        assert_told("row.inserted public.orders\n");
}

static void test_operations(void **state)
{
        PgText row[] = {T("1"), T("x")};

        fresh((ChangeOptions){.operations = CHANGE_UPDATE});
        begin(0x100);
        describe(ORDERS, "orders", 'd', "*id:23,note:25");
        insert(ORDERS, "1", "x");
        assert_told("");
        assert_position(0, 0x100, 1);
        pg_row(&message, 'U', ORDERS);
        pg_tuple(&message, 'N', 2, row);
        feeds();
        assert_string_equal(last_id, "7:100:2"); // what is left out counts too
        pg_message(&message, true, 0x90, "p", SLICE_LIT("x"));
        feeds();
        commit(0x100);
        assert_told("row.updated public.orders\n");
        pg_message(&message, false, 0x150, "p", SLICE_LIT("x"));
        feeds();
        assert_told("");
        assert_int_equal(change_position(c)->message_lsn, 0x150);
}

static void test_rows(void **state)
{
        const PgText key[] = {T("1"), T("2"), N, N}, now[] = {T("3"), T("a,b"), U, N};
        const PgText whole[] = {T("1"), T("2"), T("big"), T("n")};

        fresh((ChangeOptions){0});
        begin(0x100);
        describe(ORDERS, "orders", 'd', "*a:23,*b:25,c:25,d:25");
        pg_row(&message, 'U', ORDERS);
        pg_tuple(&message, 'K', 4, key);
        pg_tuple(&message, 'N', 4, now);
        feeds();
        assert_non_null(strstr(buf_text(&last_data),
                "\"key\":{\"a\":3,\"b\":\"a,b\"},\"new\":{\"a\":3,\"b\":\"a,b\",\"d\":null},"
                "\"old\":{\"a\":1,\"b\":\"2\"},\"unchanged\":[\"c\"],"));
        assert_string_equal(last_key, "public.orders:3,a\\,b");
        // The key itself may be a value that was not sent: then the old key has it.
        const PgText toasted[] = {T("1"), U, N, N};
        pg_row(&message, 'U', ORDERS);
        pg_tuple(&message, 'K', 4, key);
        pg_tuple(&message, 'N', 4, toasted);
        feeds();
        assert_string_equal(last_key, "public.orders:1,2");
        pg_row(&message, 'D', ORDERS);
        pg_tuple(&message, 'O', 4, whole);
        feeds();
        assert_non_null(
                strstr(buf_text(&last_data), "\"key\":{\"a\":1,\"b\":\"2\"},\"old\":{\"a\":1,\"b\":"
                                             "\"2\",\"c\":\"big\",\"d\":\"n\"},\"tx\""));
        // REPLICA IDENTITY FULL: what did not change is taken from the old row.
        describe(ITEMS, "items", 'i', "*a:23,*b:25,*c:25,*d:25");
        pg_row(&message, 'U', ITEMS);
        pg_tuple(&message, 'O', 4, whole);
        pg_tuple(&message, 'N', 4, now);
        feeds();
        assert_non_null(strstr(
                buf_text(&last_data), "\"new\":{\"a\":3,\"b\":\"a,b\",\"c\":\"big\",\"d\":null}"));
        assert_non_null(strstr(buf_text(&last_data), "\"changed\":[\"a\",\"b\",\"d\"],\"tx\""));
        // A table without columns, and one without a key.
        describe(ITEMS, "items", 'd', "");
        pg_insert(&message, ITEMS, 0, NULL);
        feeds();
        assert_non_null(strstr(buf_text(&last_data), "\"items\",\"new\":{},\"tx\""));
        assert_string_equal(last_key, "public.items");
}

static void test_truncate_in_turns(void **state)
{
        uint32_t tables[] = {ORDERS, ITEMS, ORDERS};
        PgText row[] = {T("1")};

        fresh((ChangeOptions){0});
        begin(0x100);
        describe(ORDERS, "orders", 'd', "*id:23");
        describe(ITEMS, "items", 'd', "*id:23");
        pg_truncate(&message, 1, 3, tables);
        assert_int_equal(change_feed(c, buf_slice(&message), &reason), 0);
        assert_true(change_waits(c));
        assert_int_equal(change_taken(c, &reason), 0);
        assert_position(0, 0x100, 1);
        Position p = *change_position(c); // stopped between the tables
        assert_int_equal(drain(), 0);
        assert_position(0, 0x100, 3);
        pg_insert(&message, ORDERS, 1, row);
        feeds();
        assert_string_equal(last_id, "7:100:4");

        restart((ChangeOptions){0}, &p);
        begin(0x100);
        describe(ORDERS, "orders", 'd', "*id:23");
        describe(ITEMS, "items", 'd', "*id:23");
        pg_truncate(&message, 1, 3, tables);
        feeds();
        assert_told("table.truncated public.items\ntable.truncated public.orders\n");
}

static void test_messages(void **state)
{
        Position p = {.end_lsn = 0x108};
        Buf prefix = BUF_INIT(1 << 20);

        restart((ChangeOptions){0}, &p);
        pg_message(&message, false, 0x100, "old", SLICE_LIT("x")); // before what is whole
        feeds();
        assert_told("");
        pg_message(&message, false, 0x120, "note", SLICE_LIT(" [1] "));
        feeds();
        assert_told("message note\n");
        assert_string_equal(last_id, "7:120:message");
        assert_slice(buf_slice(&last_data), "{\"op\":\"message\",\"prefix\":\"note\","
                                            "\"transactional\":false,\"encoding\":\"json\","
                                            "\"payload\": [1] ,\"tx\":{\"lsn\":\"0/120\"}}");
        feeds(); // again
        assert_told("");
        assert_int_equal(change_position(c)->message_lsn, 0x120);
        pg_message(&message, false, 0x130, "bytes", SLICE_LIT("\xff\0"));
        feeds();
        assert_non_null(strstr(buf_text(&last_data), "\"base64\",\"payload\":\"/wA=\""));
        // A prefix of any length: the subject is cut where a character begins.
        for (unsigned i = 0; i < 2000; i++)
                buf_add_str(&prefix, "\u20ac");
        pg_message(&message, false, 0x140, buf_text(&prefix), SLICE_NULL);
        buf_reset(&told);
        feeds();
        assert_int_equal(told.len, strlen("message ") + 1023 + 1);
        buf_reset(&told);
        pg_message(&message, false, 0x150, "", SLICE_NULL);
        feeds();
        assert_told("message message\n");
        buf_deinit(&prefix);
}

static void test_oversized(void **state)
{
        Buf big = BUF_INIT(1 << 20);

        memset(buf_grow(&big, 60000), 'x', 60000);
        fresh((ChangeOptions){.event_max = 32768});
        begin(0x100);
        describe(ORDERS, "orders", 'd', "*id:25,note:25");
        insert(ORDERS, "1", buf_text(&big));
        const char *data = buf_text(&last_data);
        assert_non_null(strstr(
                data, "\"key\":{\"id\":\"1\"},\"oversized\":true,\"bytes\":60019,\"sha256\":\""));
        assert_non_null(strstr(data, "\"ordinal\":1}}"));
        insert(ORDERS, buf_text(&big), "x"); // the key itself
        data = buf_text(&last_data);
        assert_null(strstr(data, "\"key\""));
        assert_non_null(strstr(data, "\"oversized\":true"));
        assert_int_equal(strlen(last_key), 64);
        pg_message(&message, true, 0x90, "p", buf_slice(&big));
        feeds();
        assert_non_null(strstr(buf_text(&last_data), "{\"op\":\"message\",\"oversized\":true"));
        commit(0x100);
        pg_message(&message, false, 0x190, "p", buf_slice(&big));
        feeds();
        assert_non_null(strstr(buf_text(&last_data), "\"transactional\":false,\"oversized\":true"));
        buf_deinit(&big);
}

static void test_group(void **state)
{
        const ChangeOptions o = {.group = true, .event_max = 1 << 20};

        fresh(o);
        orders_and(0x100, CHANGE_PART_ROWS); // exactly one part: it is the last
        assert_told("transaction transaction\n");
        assert_string_equal(last_id, "7:100:1:part");
        assert_non_null(strstr(buf_text(&last_data), "\"rows\":1000,\"tx\":{"));
        assert_non_null(strstr(buf_text(&last_data), "\"ordinal\":1,\"part\":1,\"last\":true}}"));
        assert_position(0x108, 0, 0);

        begin(0x200);
        for (unsigned i = 0; i <= CHANGE_PART_ROWS; i++)
                insert(ORDERS, "1", "x");
        assert_told("transaction transaction\n");
        assert_non_null(strstr(buf_text(&last_data), "\"ordinal\":1,\"part\":1,\"last\":false}}"));
        assert_position(0x108, 0x200, CHANGE_PART_ROWS);
        Position p = *change_position(c);
        commit(0x200);
        assert_told("transaction transaction\n");
        assert_string_equal(last_id, "7:200:1001:part");
        Buf second = BUF_INIT(1 << 20);
        buf_add_slice(&second, buf_slice(&last_data));

        restart(o, &p);
        orders_and(0x100, 3);
        assert_told("");
        begin(0x200);
        describe(ORDERS, "orders", 'd', "*id:23,note:25");
        for (unsigned i = 0; i <= CHANGE_PART_ROWS; i++)
                insert(ORDERS, "1", "x");
        commit(0x200);
        assert_told("transaction transaction\n");
        assert_slice(buf_slice(&last_data), buf_text(&second));
        begin(0x300);
        commit(0x300); // nothing in it: no event
        assert_told("");
        assert_position(0x308, 0, 0);
        buf_deinit(&second);
}

static void test_schema_changes(void **state)
{
        fresh((ChangeOptions){0});
        orders_and(0x100, 1);
        assert_told("row.inserted public.orders\n");
        buf_reset(&states);
        begin(0x200);
        describe(ORDERS, "orders", 'd', "*id:23,note:25"); // the same: nothing
        assert_slice(buf_slice(&states), "");
        describe(ORDERS, "orders", 'd', "*id:20,more:25");
        assert_told("schema.changed public.orders\n");
        assert_slice(buf_slice(&states), "relation/16400\n");
        assert_string_equal(last_id, "7:200:0:schema:16400");
        assert_non_null(strstr(buf_text(&last_data),
                "\"added\":[\"more\"],\"removed\":[\"note\"],\"retyped\":[{\"name\":\"id\","
                "\"before\":\"int4\",\"after\":\"int8\"}],\"before\":{"));
        insert(ORDERS, "1", "x");
        commit(0x200);
}

// The server sends old descriptions again; what the state row says is not told twice, nor untold.
static void test_schema_replayed(void **state)
{
        Position p = {.end_lsn = 0x108, .commit_lsn = 0x200, .ordinal = 1};
        Buf value = BUF_INIT(LIMIT_STATE_VALUE);
        Relations kept;

        // What is kept is the second form.
        assert_int_equal(relations_init(&kept), 0);
        pg_relation(&message, ORDERS, "public", "orders", 'd', "*id:20,more:25");
        PgMessage m;
        Relation *r, *before = NULL;
        assert_int_equal(pgoutput_parse(buf_slice(&message), &m, NULL), 0);
        assert_int_equal(relations_describe(&kept, &m, false, &r, &before, NULL), RELATION_NEW);
        relation_state_value(r, &value);
        relations_deinit(&kept);

        restart((ChangeOptions){0}, &p);
        assert_int_equal(change_load(c, SLICE_LIT("relation/16400"), buf_slice(&value)), 0);
        orders_and(0x100, 1); // the first form, skipped
        begin(0x200);
        insert(ORDERS, "9", "x"); // skipped
        assert_told("");
        describe(ORDERS, "orders", 'd', "*id:20,more:25");
        insert(ORDERS, "10", "x");
        assert_told("row.inserted public.orders\n");
        assert_non_null(strstr(buf_text(&last_data), "\"new\":{\"id\":\"10\",\"more\":\"x\"}"));
        commit(0x200);
        buf_reset(&states);
        begin(0x300);
        describe(ORDERS, "orders", 'd', "*id:20");
        assert_told("schema.changed public.orders\n");
        assert_slice(buf_slice(&states), "relation/16400\n");
        buf_deinit(&value);
}

static void test_state_rows(void **state)
{
        static const char *const bad_keys[] = {
                "relation/", "relation/x", "relation/4294967296", "relation/1x"};
        Buf value = BUF_INIT(LIMIT_STATE_VALUE);
        Relations a, b;
        PgMessage m;
        Relation *r, *before = NULL;

        assert_int_equal(relations_init(&a), 0);
        assert_int_equal(relations_init(&b), 0);
        pg_relation(&message, ORDERS, "public", "or\"ders", 'f', "*id:20,mo\xc3\xb6re:25");
        assert_int_equal(pgoutput_parse(buf_slice(&message), &m, NULL), 0);
        assert_int_equal(relations_describe(&a, &m, false, &r, &before, NULL), RELATION_NEW);
        relation_state_value(r, &value);
        Slice whole = buf_slice(&value), key = SLICE_LIT("relation/16400");
        assert_int_equal(relations_load(&b, SLICE_LIT("other"), whole), 1);
        for (size_t i = 0; i < N_ELEMENTS(bad_keys); i++)
                assert_int_equal(relations_load(&b, slice_of(bad_keys[i]), whole), -EBADMSG);
        for (size_t n = 0; n < whole.len; n++)
                assert_int_equal(relations_load(&b, key, (Slice){whole.data, n}), -EBADMSG);
        assert_int_equal(relations_load(&b, key, whole), 0);
        assert_int_equal(relations_load(&b, key, whole), -EBADMSG); // twice
        assert_null(relations_find(&b, ORDERS)); // not described on this connection
        assert_int_equal(relations_describe(&b, &m, false, &r, &before, NULL), RELATION_SAME);
        assert_ptr_equal(relations_find(&b, ORDERS), r);
        assert_slice(r->head, "\"schema\":\"public\",\"table\":\"or\\\"ders\"");
        relations_deinit(&a);
        relations_deinit(&b);
        buf_deinit(&value);
}

static void test_bounded(void **state)
{
        char name[32];

        fresh((ChangeOptions){0});
        begin(0x100);
        for (uint32_t i = 0; i < RELATIONS_MAX; i++) {
                (void)snprintf(name, sizeof name, "t%u", i);
                describe(20000 + i, name, 'd', "*id:23");
        }
        pg_relation(&message, 19999, "public", "more", 'd', "*id:23");
        fails(-ENOSPC, "one connection");
        change_disconnected(c);
        change_connected(c, 7, 1, "slot");
        buf_reset(&states);
        begin(0x100);
        describe(20000, "t0", 'd', "*id:23");
        describe(19999, "more", 'd', "*id:23");
        assert_slice(buf_slice(&states), "relation/20001 gone\nrelation/19999\n");
}

static void answer(const char *kind, const char *a, const char *b, const char *d, const char *e)
{
        Slice fields[CHANGE_ANSWER_FIELDS] = {
                slice_of(kind), slice_of(a), slice_of(b), slice_of(d), slice_of(e)};
        assert_int_equal(change_answer(c, fields), 0);
}

static void test_questions(void **state)
{
        PgText row[] = {T("1"), T("{a}"), T("x")};
        Slice bad[CHANGE_ANSWER_FIELDS] = {0};

        fresh((ChangeOptions){0});
        begin(0x100);
        describe(ORDERS, "orders", 'f', "*id:23,*moods:20001,*other:20005");
        assert_null(change_question(c)); // only a row needs it
        pg_insert(&message, ORDERS, 3, row);
        assert_int_equal(change_feed(c, buf_slice(&message), &reason), 0);
        assert_null(change_item(c));
        assert_true(change_waits(c));
        assert_non_null(strstr(change_question(c), "IN (20001, 20005)"));
        assert_non_null(strstr(change_question(c), "i.indrelid = 16400"));
        assert_int_equal(change_answer(c, bad), -EBADMSG);
        answer("t", "20001", "0", "20000", ",");
        answer("k", "16400", "id", "", "");
        assert_int_equal(change_answered(c, &reason), 0);
        assert_non_null(strstr(change_question(c), "IN (20000)"));
        assert_null(strstr(change_question(c), "indrelid ="));
        assert_int_equal(change_answered(c, &reason), 0); // dropped meanwhile
        assert_null(change_question(c));
        assert_int_equal(drain(), 0);
        assert_non_null(strstr(buf_text(&last_data),
                "\"key\":{\"id\":1},\"new\":{\"id\":1,\"moods\":[\"a\"],\"other\":\"x\"}"));
        assert_int_equal(change_stats(c)->rows, 1);
        assert_position(0, 0x100, 1);
        // Broken off while it was asked.
        change_disconnected(c);
        assert_false(change_waits(c));
        assert_int_equal(change_answered(c, &reason), 0);
}

static void test_refused(void **state)
{
        PgText row[] = {T("1"), T("x"), T("y")};
        uint32_t table = ORDERS;

        fresh((ChangeOptions){0});
        pg_insert(&message, ORDERS, 2, row);
        fails(-EBADMSG, "outside a transaction");
        change_disconnected(c);
        pg_relation(&message, ORDERS, "s", "t", 'd', "");
        fails(-EBADMSG, "outside a transaction");
        change_disconnected(c);
        pg_message(&message, true, 1, "p", SLICE_NULL);
        fails(-EBADMSG, "outside a transaction");
        change_disconnected(c);
        pg_commit(&message, 1, 2);
        fails(-EBADMSG, "had not begun");
        change_disconnected(c);
        begin(0x100);
        pg_begin(&message, 0x200, 1);
        fails(-EBADMSG, "inside another");
        change_disconnected(c);
        begin(0x100);
        pg_commit(&message, 0x101, 0x200);
        fails(-EBADMSG, "had not begun");
        change_disconnected(c);
        begin(0x100);
        pg_insert(&message, ORDERS, 2, row);
        fails(-EBADMSG, "without describing");
        change_disconnected(c);
        begin(0x100);
        pg_truncate(&message, 0, 1, &table);
        fails(-EBADMSG, "without describing");
        change_disconnected(c);
        begin(0x100);
        describe(ORDERS, "orders", 'd', "*id:23,note:25");
        pg_insert(&message, ORDERS, 3, row);
        fails(-EBADMSG, "has not the 2 columns");
        change_disconnected(c);
        begin(0x100);
        pg_insert(&message, ORDERS, 2, row); // known, but not described on this connection
        fails(-EBADMSG, "without describing");
        change_disconnected(c);
        begin(0x100);
        pg_message(&message, false, 0x300, "p", SLICE_NULL);
        fails(-EBADMSG, "inside one");
        change_disconnected(c);
        buf_reset(&message);
        fails(-EBADMSG, "empty");
        assert_position(0, 0, 0);
}

static int all(void *arg)
{
        const bool *group = arg;
        const ChangeOptions o = {.operations = CHANGE_ALL, .event_max = 65536, .group = *group};
        PgText row[] = {T("1"), T("{a}")};
        int r = -ENOMEM;

        buf_reset(&told);
        buf_reset(&states);
        buf_reset(&last_data);
        Change *mine = c = change_new(&o);
        if (!mine)
                return r;
        change_connected(c, 7, 1, "slot");
        pg_begin(&message, 0x100, 1);
        r = feed();
        for (unsigned i = 0; i < 2 && r >= 0; i++) {
                pg_relation(&message, ORDERS, "public", i ? "renamed" : "orders", 'f',
                        "*id:23,*moods:20001");
                r = feed();
        }
        pg_insert(&message, ORDERS, 2, row);
        if (r >= 0)
                r = feed();
        while (r >= 0 && change_question(c)) {
                r = change_answered(c, &reason);
                if (r >= 0)
                        r = drain();
        }
        pg_commit(&message, 0x100, 0x108);
        if (r >= 0)
                r = feed();
        change_disconnected(c);
        c = change_free(c);
        return r < 0 ? r : told.error < 0 ? told.error : 0;
}

static void test_failing_allocations(void **state)
{
        bool group = false;
        c = change_free(c);
        assert_true(torture(all, &group) > 10);
        group = true;
        assert_true(torture(all, &group) > 10);
}

static void assert_fields(const EventType *t)
{
        JsonTree tree = {0};

        assert_int_equal(json_parse(&tree, slice_of(t->sample), 63), 0);
        const JsonNode *root = &tree.nodes[0];
        for (uint32_t i = 0, at = 1; i < root->n; i++, at = tree.nodes[at].next) {
                const JsonNode *member = &tree.nodes[at];
                bool declared = false;
                for (size_t k = 0; k < t->n_fields && !declared; k++) {
                        Slice name = slice_of(t->fields[k].name);
                        declared =
                                slice_starts(name, member->key) &&
                                (name.len == member->key.len || name.data[member->key.len] == '.');
                }
                if (!declared)
                        fail_msg("%s has no field %.*s", t->name, SLICE_ARG(member->key));
        }
        json_tree_deinit(&tree);
}

static void test_field_tables(void **state)
{
        for (size_t i = 0; i < n_postgresql_types; i++)
                assert_fields(&postgresql_types[i]);
}

static int end(void **state)
{
        c = change_free(c);
        buf_deinit(&told);
        buf_deinit(&states);
        buf_deinit(&message);
        buf_deinit(&last_data);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_one_transaction),
                cmocka_unit_test(test_position_while_it_waits),
                cmocka_unit_test(test_resume),
                cmocka_unit_test(test_operations),
                cmocka_unit_test(test_rows),
                cmocka_unit_test(test_truncate_in_turns),
                cmocka_unit_test(test_messages),
                cmocka_unit_test(test_oversized),
                cmocka_unit_test(test_group),
                cmocka_unit_test(test_schema_changes),
                cmocka_unit_test(test_schema_replayed),
                cmocka_unit_test(test_state_rows),
                cmocka_unit_test(test_bounded),
                cmocka_unit_test(test_questions),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_failing_allocations),
                cmocka_unit_test(test_field_tables),
        };
        return cmocka_run_group_tests(tests, NULL, end);
}
