// SPDX-License-Identifier: MIT
// The decoder of one message: what the layouts say, each of them cut at every byte and with one byte
// too many, and what is not in the protocol.
#include "test.h"

#include "pg_messages.h"
#include "pgoutput.h"
#include "position.h"
#include "torture.h"

#include <errno.h>

static Buf message = {.max = 1 << 20};

static int parse(Slice s, PgMessage *m, Reason *r)
{
        // A block of just that size, so that a look beyond it is seen.
        char *copy = malloc(s.len ? s.len : 1);
        assert_non_null(copy);
        if (s.len)
                memcpy(copy, s.data, s.len);
        int k = pgoutput_parse((Slice){copy, s.len}, m, r);
        free(copy);
        return k;
}

// The message in `message` is whole; each shorter one and a longer one are not.
static void assert_exact(void)
{
        PgMessage m;
        Reason r;
        Slice whole = buf_slice(&message);

        assert_int_equal(parse(whole, &m, NULL), 0);
        for (size_t n = 0; n < whole.len; n++) {
                r.text[0] = 0;
                assert_int_equal(parse((Slice){whole.data, n}, &m, &r), -EBADMSG);
                assert_non_null(strstr(r.text, n ? "malformed at byte" : "empty"));
        }
        pg8(&message, 0);
        assert_int_equal(parse(buf_slice(&message), &m, &r), -EBADMSG);
        assert_non_null(strstr(r.text, "its end"));
        message.len--;
}

static const PgMessage *parsed(void)
{
        static PgMessage m;
        assert_int_equal(pgoutput_parse(buf_slice(&message), &m, NULL), 0);
        return &m;
}

static void test_transaction(void **state)
{
        pg_begin(&message, 0x116B3748, 742);
        assert_exact();
        assert_int_equal(parsed()->begin.final_lsn, 0x116B3748);
        assert_int_equal(parsed()->begin.xid, 742);
        assert_int_equal(pg_time_usec(parsed()->begin.time), INT64_C(946684800000000));
        assert_int_equal(pg_time_usec(INT64_MIN), 0);
        assert_int_equal(pg_time_usec(INT64_MAX), 0);

        pg_commit(&message, 0x116B3748, 0x116B3780);
        assert_exact();
        assert_int_equal(parsed()->commit.commit_lsn, 0x116B3748);
        assert_int_equal(parsed()->commit.end_lsn, 0x116B3780);

        buf_reset(&message);
        pg8(&message, 'O');
        pg64(&message, 5);
        pgstr(&message, "other");
        assert_exact();
        assert_slice(parsed()->origin.name, "other");
}

static void test_relation(void **state)
{
        pg_relation(&message, 16384, "public", "t", 'd', "*id:23,name:25");
        assert_exact();
        const PgMessage *m = parsed();
        assert_slice(m->relation.schema, "public");
        assert_slice(m->relation.name, "t");
        assert_int_equal(m->relation.n_columns, 2);
        Slice rest = m->relation.columns;
        PgColumn c = pg_next_column(&rest);
        assert_slice(c.name, "id");
        assert_true(c.key);
        assert_int_equal(c.type, 23);
        c = pg_next_column(&rest);
        assert_slice(c.name, "name");
        assert_false(c.key);
        assert_int_equal(c.typmod, -1);
        assert_int_equal(rest.len, 0);

        pg_relation(&message, 1, "", "pg_class", 'n', "");
        assert_slice(parsed()->relation.schema, "pg_catalog");

        buf_reset(&message);
        pg8(&message, 'Y');
        pg32(&message, 16390);
        pgstr(&message, "");
        pgstr(&message, "numeric");
        assert_exact();
        assert_slice(parsed()->named.schema, "pg_catalog");
        assert_slice(parsed()->named.name, "numeric");
}

static void test_rows(void **state)
{
        const PgText row[] = {T("1"), N, U, T("")}, key[] = {T("1"), N, N, N};

        pg_insert(&message, 7, 4, row);
        assert_exact();
        Slice rest = parsed()->row.new_row.packed;
        PgValue v = pg_next_value(&rest);
        assert_int_equal(v.kind, 't');
        assert_slice(v.text, "1");
        assert_int_equal(pg_next_value(&rest).kind, 'n');
        assert_int_equal(pg_next_value(&rest).kind, 'u');
        v = pg_next_value(&rest);
        assert_int_equal(v.kind, 't');
        assert_int_equal(v.text.len, 0);
        assert_int_equal(rest.len, 0);

        pg_row(&message, 'U', 7);
        pg_tuple(&message, 'N', 4, row);
        assert_exact();
        assert_int_equal(parsed()->row.old_kind, 0);
        assert_null(parsed()->row.old_row.packed.data);

        for (const char *kind = "KO"; *kind; kind++) {
                pg_row(&message, 'U', 7);
                pg_tuple(&message, *kind, 4, key);
                pg_tuple(&message, 'N', 4, row);
                assert_exact();
                assert_int_equal(parsed()->row.old_kind, *kind);
                assert_int_equal(parsed()->row.old_row.n, 4);
                pg_row(&message, 'D', 7);
                pg_tuple(&message, *kind, 4, key);
                assert_exact();
                assert_null(parsed()->row.new_row.packed.data);
        }
}

static void test_truncate_and_message(void **state)
{
        const uint32_t tables[] = {5, 6};

        pg_truncate(&message, 3, 2, tables);
        assert_exact();
        assert_true(parsed()->truncate.cascade && parsed()->truncate.restart);
        assert_int_equal(pg_truncate_relation(parsed(), 1), 6);

        pg_message(&message, true, 99, "prefix", SLICE_LIT("a\0b"));
        assert_exact();
        assert_int_equal(parsed()->message.content.len, 3);
        assert_slice(parsed()->message.prefix, "prefix");
}

static void fails(const char *why)
{
        PgMessage m;
        Reason r = {""};

        assert_int_equal(parse(buf_slice(&message), &m, &r), -EBADMSG);
        if (!strstr(r.text, why))
                fail_msg("\"%s\" does not say \"%s\"", r.text, why);
}

static void test_not_of_the_protocol(void **state)
{
        const PgText row[] = {T("1")};
        char long_name[300];

        for (const char *type = "SEcAbPK\x01\xff"; *type; type++) {
                buf_reset(&message);
                pg8(&message, (unsigned char)*type);
                pg32(&message, 0);
                fails("not asked for");
        }
        pg_insert(&message, 7, 1, row);
        message.data[8] = 'b';
        fails("binary");
        message.data[8] = 'x';
        fails("kind of a value");
        pg_insert(&message, 7, 1, row);
        memset(message.data + 9, 0xff, 4); // a length of 4 GB
        fails("a value");
        pg_insert(&message, 7, 1, row);
        message.data[6] = 0xff; // 65281 columns
        fails("more columns");
        pg_insert(&message, 7, 1, row);
        message.data[5] = 'K';
        fails("not the new one");
        pg_row(&message, 'D', 7);
        pg_tuple(&message, 'N', 1, row);
        fails("neither key nor row");
        pg_relation(&message, 1, "s", "t", 'x', "");
        fails("identity that is none");
        pg_relation(&message, 1, "s", "t", 0, "");
        fails("identity that is none");
        pg_truncate(&message, 0, 0, NULL);
        memset(message.data + 1, 0xff, 4);
        fails("the tables of TRUNCATE");
        pg_commit(&message, 1, 2);
        message.data[1] = 1;
        fails("flags of a commit");
        pg_message(&message, true, 1, "p", SLICE_NULL);
        message.data[1] = 2;
        fails("flags of a message");
        memset(long_name, 'n', sizeof long_name - 1);
        long_name[sizeof long_name - 1] = 0;
        pg_relation(&message, 1, "s", long_name, 'd', "");
        fails("longer than names");
}

static void test_lsn(void **state)
{
        static const char *const bad[] = {
                "", "/", "1", "1/", "/1", "1/2/3", "g/1", "1/123456789", " 1/2"};
        char text[PG_LSN_TEXT];
        uint64_t lsn;

        assert_int_equal(pg_lsn_parse(SLICE_LIT("16/B374d848"), &lsn), 0);
        assert_int_equal(lsn, 0x16B374D848);
        assert_string_equal(pg_lsn_text(lsn, text), "16/B374D848");
        assert_string_equal(pg_lsn_text(UINT64_MAX, text), "FFFFFFFF/FFFFFFFF");
        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_int_equal(pg_lsn_parse(slice_of(bad[i]), &lsn), -EINVAL);
        uint32_t oid;
        assert_int_equal(pg_oid_parse(SLICE_LIT("4294967295"), &oid), 0);
        assert_int_equal(oid, UINT32_MAX);
        assert_int_equal(pg_oid_parse(SLICE_LIT("4294967296"), &oid), -EINVAL);
        assert_int_equal(pg_oid_parse(SLICE_LIT("-1"), &oid), -EINVAL);
        assert_int_equal(pg_oid_parse(SLICE_NULL, &oid), -EINVAL);
}

static void test_position(void **state)
{
        Position p = {.system_id = UINT64_MAX,
                .timeline = 3,
                .slot = "belfry_host_shop",
                .end_lsn = 1,
                .message_lsn = 2,
                .commit_lsn = 3,
                .ordinal = 4,
                .part = 5};
        Position back = {0};
        Buf b = BUF_INIT(4096), again = BUF_INIT(4096);
        Reason r;

        position_put(&p, &b);
        assert_int_equal(position_get(buf_slice(&b), &back, NULL), 0);
        position_put(&back, &again); // a structure has padding, its bytes have none
        assert_true(slice_eq(buf_slice(&b), buf_slice(&again)));
        for (size_t n = 0; n < b.len; n++)
                assert_int_equal(position_get((Slice){(char *)b.data, n}, &back, NULL), -EBADMSG);
        buf_add_char(&b, 0);
        assert_int_equal(position_get(buf_slice(&b), &back, NULL), -EBADMSG);
        b.len--;
        b.data[0] = 9;
        assert_int_equal(position_get(buf_slice(&b), &back, &r), -EBADMSG);
        assert_non_null(strstr(r.text, "version 9"));
        b.data[0] = 1;
        b.data[b.len - 1] = 0; // a slot's name with a NUL inside
        assert_int_equal(position_get(buf_slice(&b), &back, NULL), -EBADMSG);
        buf_deinit(&b);
        buf_deinit(&again);
}

static int free_message(void **state)
{
        buf_deinit(&message);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_transaction),
                cmocka_unit_test(test_relation),
                cmocka_unit_test(test_rows),
                cmocka_unit_test(test_truncate_and_message),
                cmocka_unit_test(test_not_of_the_protocol),
                cmocka_unit_test(test_lsn),
                cmocka_unit_test(test_position),
        };
        return cmocka_run_group_tests(tests, NULL, free_message);
}
