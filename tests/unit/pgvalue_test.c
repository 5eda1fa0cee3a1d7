// SPDX-License-Identifier: MIT
// Text forms to JSON, type by type, and what becomes of a text that is not of its type's form: a
// string of the same characters. What a real server prints is in tests/e2e/test_pgoutput.py.
#include "test.h"

#include "base/json.h"
#include "torture.h"
#include "types.h"

#include <errno.h>
#include <stdio.h>

enum {
        BOOL = 16,
        BYTEA = 17,
        INT8 = 20,
        INT4 = 23,
        TEXT = 25,
        JSON = 114,
        FLOAT8 = 701,
        TIMESTAMP = 1114,
        TIMESTAMPTZ = 1184,
        INTERVAL = 1186,
        NUMERIC = 1700,
        JSONB = 3802,
        INT4_ARRAY = 1007,
        TEXT_ARRAY = 1009,
        BOX_ARRAY = 1020,
        TIMESTAMPTZ_ARRAY = 1185,
        JSONB_ARRAY = 3807,
        INT2VECTOR = 22,
};

typedef struct Case {
        uint32_t type;
        const char *text, *json, *numbers; // numbers: with numeric = "number", where that differs
} Case;

static const Case cases[] = {
        {BOOL, "t", "true"},
        {BOOL, "f", "false"},
        {BOOL, "true", "\"true\""},
        {INT4, "-5", "-5"},
        {INT4, "007", "\"007\""},
        {INT4, "", "\"\""},
        {INT4, "-", "\"-\""},
        {INT4, "1 ", "\"1 \""},
        {INT8, "9223372036854775807", "\"9223372036854775807\"", "9223372036854775807"},
        {NUMERIC, "0.10", "\"0.10\"", "0.10"},
        {NUMERIC, "-12345678901234567890.5", "\"-12345678901234567890.5\"",
                "-12345678901234567890.5"},
        {NUMERIC, "NaN", "\"NaN\""},
        {NUMERIC, "-Infinity", "\"-Infinity\""},
        {NUMERIC, "1.", "\"1.\""},
        {NUMERIC, ".5", "\".5\""},
        {FLOAT8, "1e+20", "1e+20"},
        {FLOAT8, "1.5e-07", "1.5e-07"},
        {FLOAT8, "-0", "-0"},
        {FLOAT8, "1e", "\"1e\""},
        {FLOAT8, "NaN", "\"NaN\""},
        {FLOAT8, "Infinity", "\"Infinity\""},
        {TEXT, "a\"\\\n\x01", "\"a\\\"\\\\\\n\\u0001\""},
        {TEXT, "\xff", "\"\xef\xbf\xbd\""},
        {JSON, " {\"a\": [1, 2]} ", " {\"a\": [1, 2]} "},
        {JSONB, "null", "null"},
        {JSONB, "{", "\"{\""},
        {JSONB, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
                "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
                "]"},
        {JSONB,
                "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
                "]",
                "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
                "]]]\""},
        {BYTEA, "\\x", "\"\""},
        {BYTEA, "\\x00ff10", "\"AP8Q\""},
        {BYTEA, "\\x00f", "\"\\\\x00f\""},
        {BYTEA, "\\x00fg", "\"\\\\x00fg\""},
        {BYTEA, "abc", "\"abc\""},
        {TIMESTAMPTZ, "2026-11-23 09:33:00+00", "\"2026-11-23T09:33:00Z\""},
        {TIMESTAMPTZ, "2026-11-23 09:33:00.123456+00", "\"2026-11-23T09:33:00.123456Z\""},
        {TIMESTAMPTZ, "2026-11-23 09:33:00.5-03", "\"2026-11-23T09:33:00.5-03:00\""},
        {TIMESTAMPTZ, "2026-11-23 09:33:00+05:45", "\"2026-11-23T09:33:00+05:45\""},
        {TIMESTAMPTZ, "infinity", "\"infinity\""},
        {TIMESTAMPTZ, "-infinity", "\"-infinity\""},
        {TIMESTAMPTZ, "0044-03-15 12:00:00+00 BC", "\"0044-03-15 12:00:00+00 BC\""},
        {TIMESTAMPTZ, "12026-11-23 09:33:00+00", "\"12026-11-23 09:33:00+00\""},
        {TIMESTAMPTZ, "1890-01-01 00:00:00+00:19:32", "\"1890-01-01 00:00:00+00:19:32\""},
        {TIMESTAMPTZ, "2026-11-23 09:33:00.+00", "\"2026-11-23 09:33:00.+00\""},
        {TIMESTAMPTZ, "2026-11-23 09:33:00", "\"2026-11-23 09:33:00\""},
        {TIMESTAMPTZ, "23/11/2026 09:33:00 UTC", "\"23/11/2026 09:33:00 UTC\""},
        {TIMESTAMP, "2026-11-23 09:33:00", "\"2026-11-23 09:33:00\""},
        {INTERVAL, "P1Y2DT3H4M5.5S", "\"P1Y2DT3H4M5.5S\""},
        {INT2VECTOR, "1 2", "\"1 2\""},
        {INT4_ARRAY, "{}", "[]"},
        {INT4_ARRAY, "{1,NULL,-3}", "[1,null,-3]"},
        {INT4_ARRAY, "[2:3]={1,2}", "[1,2]"},
        {INT4_ARRAY, "[0:0][-1:0]={{1,2}}", "[[1,2]]"},
        {INT4_ARRAY, "{{1,2},{3,4}}", "[[1,2],[3,4]]"},
        {INT4_ARRAY, "{{{{{{1}}}}}}", "[[[[[[1]]]]]]"},
        {INT4_ARRAY, "{{{{{{{1}}}}}}}", "\"{{{{{{{1}}}}}}}\""},
        {INT4_ARRAY, "", "\"\""},
        {INT4_ARRAY, "{", "\"{\""},
        {INT4_ARRAY, "{1", "\"{1\""},
        {INT4_ARRAY, "{1,", "\"{1,\""},
        {INT4_ARRAY, "{1,}", "\"{1,}\""},
        {INT4_ARRAY, "{,1}", "\"{,1}\""},
        {INT4_ARRAY, "{1}x", "\"{1}x\""},
        {INT4_ARRAY, "{1}{2}", "\"{1}{2}\""},
        {INT4_ARRAY, "{{1}2}", "\"{{1}2}\""},
        {INT4_ARRAY, "[2:3]", "\"[2:3]\""},
        {INT4_ARRAY, "1,2", "\"1,2\""},
        {TEXT_ARRAY, "{a,\"NULL\",NULL,\"\",\"x,y\",\"q\\\"\\\\\",\"{}\"}",
                "[\"a\",\"NULL\",null,\"\",\"x,y\",\"q\\\"\\\\\",\"{}\"]"},
        {TEXT_ARRAY, "{\"a}", "\"{\\\"a}\""},
        {TEXT_ARRAY, "{\"a\\", "\"{\\\"a\\\\\""},
        {TEXT_ARRAY, "{\"a\"b}", "\"{\\\"a\\\"b}\""},
        {TEXT_ARRAY, "{a\"b\"}", "\"{a\\\"b\\\"}\""},
        {BOX_ARRAY, "{(1,1),(0,0);(2,2),(1,1)}", "[\"(1,1),(0,0)\",\"(2,2),(1,1)\"]"},
        {TIMESTAMPTZ_ARRAY, "{\"2026-11-23 09:33:00+00\"}", "[\"2026-11-23T09:33:00Z\"]"},
        {JSONB_ARRAY, "{\"{\\\"a\\\": 1}\",\"[1]\"}", "[{\"a\": 1},[1]]"},
};

static void assert_value(
        Types *types, uint32_t oid, const char *text, bool numbers, const char *json)
{
        Buf out = BUF_INIT(1 << 20);
        const ValueType *type = types_find(types, oid);

        assert_non_null(type);
        value_write(&out, type, slice_of(text), numbers);
        if (!slice_eq_str(buf_slice(&out), json))
                fail_msg("%u \"%s\" is %.*s, not %s", oid, text, SLICE_ARG(buf_slice(&out)), json);
        assert_int_equal(json_check(buf_slice(&out), 63, NULL), 0);
        buf_deinit(&out);
}

static void test_cases(void **state)
{
        Types *types = types_new();
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                const Case *c = &cases[i];
                assert_value(types, c->type, c->text, false, c->json);
                assert_value(types, c->type, c->text, true, c->numbers ? c->numbers : c->json);
        }
        types_free(types);
}

// More than one piece of the base64 writer.
static void test_long_bytes(void **state)
{
        Types *types = types_new();
        Buf text = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);

        buf_add_str(&text, "\\x");
        for (unsigned i = 0; i < 2000; i++)
                buf_add_str(&text, "00");
        value_write(&out, types_find(types, BYTEA), buf_slice(&text), false);
        assert_int_equal(out.len, 2 + (2000 + 2) / 3 * 4);
        buf_deinit(&text);
        buf_deinit(&out);
        types_free(types);
}

enum { MOOD = 20000, MOODS, PRICE, PRICES, IDS, IDSES, DEEP, POLYGONS };

static void learn_all(Types *t)
{
        assert_int_equal(types_learn(t, MOOD, 0, 0, ','), 0);
        assert_int_equal(types_learn(t, MOODS, 0, MOOD, ','), 0);
        assert_int_equal(types_learn(t, PRICE, NUMERIC, 0, ','), 0);
        assert_int_equal(types_learn(t, PRICES, 0, PRICE, ','), 0);
        assert_int_equal(types_learn(t, IDS, INT4_ARRAY, 0, ','), 0);
        assert_int_equal(types_learn(t, IDSES, 0, IDS, ','), 0);
        assert_int_equal(types_learn(t, DEEP, 0, IDSES, ','), 0);
        assert_int_equal(types_learn(t, POLYGONS, 0, MOOD, ';'), 0);
}

static void test_users_types(void **state)
{
        Types *t = types_new();

        assert_null(types_find(t, MOODS));
        assert_int_equal(types_ask(t, MOODS), MOODS);
        assert_int_equal(types_learn(t, MOODS, 0, MOOD, ','), 0);
        assert_null(types_find(t, MOODS));
        assert_int_equal(types_ask(t, MOODS), MOOD);
        learn_all(t);
        assert_int_equal(types_ask(t, MOODS), 0);
        assert_value(t, MOODS, "{a,NULL}", false, "[\"a\",null]");
        assert_value(t, PRICE, "1.50", true, "1.50");
        assert_value(t, PRICES, "{1.50}", false, "[\"1.50\"]");
        assert_value(t, IDS, "{1,2}", false, "[1,2]");
        assert_value(
                t, IDSES, "{\"{1,2}\",NULL,{}}", false, "[[1,2],null,[]]"); // {}: one of its own
        assert_value(t, IDSES, "{\"{1,2}\",\"{}\"}", false, "[[1,2],[]]");
        assert_value(t, DEEP, "{\"{\\\"{1}\\\"}\"}", false, "\"{\\\"{\\\\\\\"{1}\\\\\\\"}\\\"}\"");
        assert_value(t, POLYGONS, "{a,b;c}", false, "[\"a,b\",\"c\"]");
        assert_int_equal(types_unknown(t, 20100), 0);
        assert_value(t, 20100, "x", false, "\"x\"");
        assert_int_equal(types_ask(t, 0), 0); // what is not asked for is known
        assert_value(t, 0, "x", false, "\"x\"");
        // Base types in a circle end as strings.
        assert_int_equal(types_learn(t, 20200, 20201, 0, ','), 0);
        assert_int_equal(types_learn(t, 20201, 20200, 0, ','), 0);
        assert_int_equal(types_ask(t, 20200), 0);
        assert_value(t, 20200, "x", false, "\"x\"");
        types_free(t);
}

static void test_bounded(void **state)
{
        Types *t = types_new();
        for (uint32_t i = 0; i < TYPES_MAX; i++)
                assert_int_equal(types_unknown(t, 30000 + i), 0);
        assert_int_equal(types_unknown(t, 29999), -ENOSPC);
        assert_int_equal(types_named(t, 29999, SLICE_LIT("s"), SLICE_LIT("n")), 0);
        assert_int_equal(types_unknown(t, 30000), 0);
        types_reset(t);
        assert_int_equal(types_unknown(t, 29999), 0);
        types_free(t);
}

static void assert_name(const Types *t, uint32_t oid, int32_t typmod, const char *name)
{
        Buf out = BUF_INIT(1024);
        types_add_name(t, oid, typmod, &out);
        assert_slice(buf_slice(&out), name);
        buf_deinit(&out);
}

static void test_names(void **state)
{
        Types *t = types_new();
        assert_name(t, INT4, -1, "int4");
        assert_name(t, 1043, 24, "varchar(20)");
        assert_name(t, 1015, 24, "varchar(20)[]");
        assert_name(t, NUMERIC, ((10 << 16) | 2) + 4, "numeric(10,2)");
        assert_name(t, NUMERIC, ((3 << 16) | (-2 & 0x7ff)) + 4, "numeric(3,-2)");
        assert_name(t, TIMESTAMPTZ, 3, "timestamptz(3)");
        assert_name(t, INT4_ARRAY, -1, "int4[]");
        assert_name(t, MOOD, -1, "type 20000");
        assert_int_equal(types_named(t, MOOD, SLICE_LIT("public"), SLICE_LIT("mood")), 0);
        assert_name(t, MOOD, -1, "public.mood");
        assert_int_equal(types_named(t, MOOD, SLICE_LIT("pg_catalog"), SLICE_LIT("numeric")), 0);
        assert_name(t, MOOD, -1, "numeric");
        assert_null(types_find(t, MOOD)); // a name says nothing
        types_free(t);
}

static int work(void *arg)
{
        Types *t = types_new();
        if (!t)
                return -ENOMEM;
        Buf out = BUF_INIT(1 << 16);
        int r = types_named(t, MOOD, SLICE_LIT("public"), SLICE_LIT("mood"));
        for (uint32_t i = 0; i < 40 && r >= 0; i++)
                r = types_learn(t, MOODS + i, 0, TEXT, ',');
        if (r >= 0) {
                value_write(&out, types_find(t, MOODS), SLICE_LIT("{\"a\\\"b\"}"), false);
                r = out.error;
        }
        if (r >= 0 && !slice_eq_str(buf_slice(&out), "[\"a\\\"b\"]"))
                r = -EINVAL;
        buf_deinit(&out);
        types_free(t);
        return r;
}

static void test_failing_allocations(void **state)
{
        assert_true(torture(work, NULL) > 3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),
                cmocka_unit_test(test_long_bytes),
                cmocka_unit_test(test_users_types),
                cmocka_unit_test(test_bounded),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_failing_allocations),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
