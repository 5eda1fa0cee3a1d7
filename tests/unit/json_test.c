// SPDX-License-Identifier: MIT
// JSON: what is accepted and refused and where, the writer, the tree. The validator and the tree
// must agree on every text, so each case goes through both.
#include "test.h"

#include "base/json.h"
#include "base/limits.h"
#include "torture.h"
#include <errno.h>

static const char *const good[] = {
        "0",
        "-0",
        "1.5e+10",
        "-1E-2",
        "123456789012345678901234567890",
        "\"\"",
        "\"a\"",
        "true",
        "false",
        "null",
        "[]",
        "{}",
        " [ ] ",
        "\t\r\n{ }\n",
        "[1,2,3]",
        "[[[]]]",
        "{\"a\":1}",
        "{\"a\":{\"b\":[1,{\"c\":null}]},\"d\":\"\"}",
        "{\"a\":1,\"a\":2}",
        "{\"\":0}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDD14\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x94\"",
        "\"\x7f\"",
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
        "[1 , 2 ,\n3]",
        "{ \"a\" : [ ] , \"b\" : { } }",
};

static const struct {
        const char *text;
        size_t offset;
} bad[] = {
        {"", 0},
        {" ", 1},
        {"01", 1},
        {"-", 1},
        {"+1", 0},
        {".5", 0},
        {"1.", 2},
        {"1e", 2},
        {"1e+", 3},
        {"0x1", 1},
        {"NaN", 0},
        {"nul", 0},
        {"True", 0},
        {"truex", 4},
        {"1 2", 2},
        {"[1,]", 3},
        {"[,1]", 1},
        {"[1 2]", 3},
        {"[", 1},
        {"]", 0},
        {"[1", 2},
        {"[1}", 2},
        {"{", 1},
        {"{\"a\"}", 4},
        {"{\"a\":}", 5},
        {"{\"a\":1,}", 7},
        {"{a:1}", 1},
        {"{1:1}", 1},
        {"{\"a\" 1}", 5},
        {"{\"a\":1", 6},
        {"{\"a\":1]", 6},
        {"\"", 1},
        {"\"abc", 4},
        {"\"\\", 1},
        {"\"\\x\"", 1},
        {"\"\\u12\"", 1},
        {"\"\\u12g4\"", 1},
        {"\"a\nb\"", 2},
        {"\"a\tb\"", 2},
        {"\"\xff\"", 1},
        {"\"ab\xc3\"", 3},
        {"\"\xc0\x80\"", 1},
        {"\"\xed\xa0\x80\"", 1},
        {"\"\xf4\x90\x80\x80\"", 1},
        {"'a'", 0},
        {"\"a\":1", 3},
        {"[1]]", 3},
        {"{}{}", 2},
        {"\xef\xbb\xbf{}", 0},
        {"/**/1", 0},
        {"[\"a\",", 5},
        {"{\"a\":\"b\",\"c", 11},
        {"\"12345678\x01\"", 9},
        {"\"1234567890123456\x1f"
         "aaaaaaaa\"",
                17},
};

// Text in memory of exactly its length, so that reading behind it is seen.
static int parse_both(const char *text, size_t n, unsigned depth, size_t *ret_offset)
{
        _cleanup_(freep) char *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        JsonTree t = {0};
        int tree = json_parse(&t, slice_mem(copy, n), depth);
        int check = json_check(slice_mem(copy, n), depth, ret_offset);
        if (tree != check)
                fail_msg("\"%.*s\": check says %d, tree says %d", (int)n, text, check, tree);
        assert_int_equal(t.n_nodes > 0, tree == 0);
        json_tree_deinit(&t);
        return check;
}

static void test_accepts(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(good); i++) {
                size_t offset = 99;
                if (parse_both(good[i], strlen(good[i]), 10, &offset) != 0)
                        fail_msg("%s: refused at %zu", good[i], offset);
                assert_int_equal(json_check(slice_of(good[i]), 10, NULL), 0);
        }
}

static void test_refuses(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                size_t offset = 99;
                int r = parse_both(bad[i].text, strlen(bad[i].text), 10, &offset);
                if (r != -EBADMSG || offset != bad[i].offset)
                        fail_msg("%s: %d at %zu, expected at %zu", bad[i].text, r, offset,
                                bad[i].offset);
        }
        size_t offset;
        assert_int_equal(parse_both("\"a\0b\"", 5, 10, &offset), -EBADMSG);
        assert_int_equal(parse_both("1\0", 2, 10, &offset), -EBADMSG);
}

static void test_every_cut_is_refused(void **state)
{
        static const char text[] = "{\"a\":[1,{\"b\":\"\\u00e9\xc3\xa4\"},true],\"c\":-1.5e3}";
        size_t offset;
        for (size_t n = 0; n < sizeof(text) - 1; n++)
                assert_int_equal(parse_both(text, n, 10, &offset), -EBADMSG);
        assert_int_equal(parse_both(text, sizeof(text) - 1, 10, &offset), 0);
}

static void test_depth(void **state)
{
        char text[400];
        for (unsigned depth = 0; depth <= 100; depth++) {
                memset(text, '[', depth);
                memset(text + depth, ']', depth);
                size_t offset = 0, n = 2 * (size_t)depth;
                if (depth == 0)
                        text[n++] = '1';
                assert_int_equal(parse_both(text, n, 3, &offset), depth <= 3 ? 0 : -E2BIG);
                assert_int_equal(offset, depth <= 3 ? 0 : 3);
                int r = parse_both(text, n, UINT32_MAX, &offset);
                assert_int_equal(r, depth <= LIMIT_JSON_DEPTH ? 0 : -E2BIG);
        }
        assert_int_equal(parse_both("{\"a\":[{}]}", 10, 3, NULL), 0);
        assert_int_equal(parse_both("{\"a\":[{}]}", 10, 2, NULL), -E2BIG);
        assert_int_equal(parse_both("[[],[],{\"a\":[]}]", 16, 3, NULL), 0);
}

static void test_node_limit(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 20);
        buf_add_char(&b, '[');
        for (unsigned i = 0; i < JSON_NODES_MAX - 1; i++)
                buf_add_str(&b, i ? ",1" : "1");
        size_t len = b.len;
        JsonTree t = {0};
        buf_add_char(&b, ']');
        assert_int_equal(json_parse(&t, buf_slice(&b), 3), 0);
        assert_int_equal(t.n_nodes, JSON_NODES_MAX);
        b.len = len;
        buf_add_str(&b, ",1]");
        assert_int_equal(json_check(buf_slice(&b), 3, NULL), 0);
        assert_int_equal(json_parse(&t, buf_slice(&b), 3), -E2BIG);
        json_tree_deinit(&t);
}

static void test_strings_at_every_alignment(void **state)
{
        static const char *const specials[] = {
                "\"", "\\", "\n", "\x1f", "\x80", "\xc3\xa4", "\x7f", " ", "!", "[", "#"};
        for (size_t k = 0; k < N_ELEMENTS(specials); k++)
                for (size_t before = 0; before < 20; before++) {
                        _cleanup_(buf_deinitp) Buf in = BUF_INIT(100), out = BUF_INIT(200);
                        _cleanup_(buf_deinitp) Buf back = BUF_INIT(200);
                        for (size_t i = 0; i < before; i++)
                                buf_add_char(&in, (char)('a' + i));
                        buf_add_str(&in, specials[k]);
                        buf_add_str(&in, "0123456789");
                        JsonWriter w = json_writer(&out);
                        json_add_string(&w, buf_slice(&in));
                        assert_int_equal(json_check(buf_slice(&out), 1, NULL), 0);
                        json_unescape(&back, slice_mem(out.data + 1, out.len - 2));
                        if (specials[k][0] == '\x80')
                                assert_int_equal(back.len, in.len + 2); // became U+FFFD
                        else
                                assert_true(slice_eq(buf_slice(&back), buf_slice(&in)));
                }
}

static void test_writer(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1000);
        JsonWriter w = json_writer(&b);
        json_begin(&w, '{');
        json_key(&w, "a");
        json_begin(&w, '[');
        json_end(&w, ']');
        json_key(&w, "b");
        json_begin(&w, '[');
        json_u64(&w, UINT64_MAX);
        json_i64(&w, INT64_MIN);
        json_i64(&w, 5);
        json_bool(&w, true);
        json_bool(&w, false);
        json_add_null(&w);
        json_text(&w, NULL);
        json_text(&w, "t");
        json_raw(&w, SLICE_LIT("{\"r\":1}"));
        json_end(&w, ']');
        json_key_slice(&w, SLICE_LIT("\"\n"));
        json_add_string(&w, SLICE_LIT("\x01\b\f\r\t\\\xff\xfe"));
        json_key_slice(&w, SLICE_LIT(""));
        json_add_string(&w, SLICE_NULL);
        json_end(&w, '}');
        assert_string_equal(buf_text(&b),
                "{\"a\":[],\"b\":[18446744073709551615,-9223372036854775808,5,true,false,null,null,"
                "\"t\",{\"r\":1}],\"\\\"\\n\":\"\\u0001\\b\\f\\r\\t\\\\\xef\xbf\xbd\xef\xbf\xbd\","
                "\"\":"
                "\"\"}");
        assert_int_equal(json_check(buf_slice(&b), 3, NULL), 0);
}

static void test_tree(void **state)
{
        static const char text[] =
                " {\"n\":-1.50e3,\"s\":\"x\\ny\",\"a\":[1,[2,3],{}],\"\\u0061b\":true,"
                "\"n\":2,\"o\":{\"n\":3}} ";
        JsonTree t = {0};
        assert_int_equal(json_parse(&t, slice_of(text), 5), 0);
        const JsonNode *root = &t.nodes[0];
        assert_int_equal(root->type, JSON_NODE_OBJECT);
        assert_int_equal(root->n, 6);
        assert_int_equal(root->next, t.n_nodes);
        assert_int_equal(root->raw.len, sizeof(text) - 3);

        const JsonNode *n = json_get(&t, root, SLICE_LIT("n"));
        assert_int_equal(n->type, JSON_NODE_NUMBER);
        assert_slice(n->raw, "2"); // the last of duplicates
        assert_slice(json_at(&t, root, 0)->raw, "-1.50e3");
        const JsonNode *s = json_get(&t, root, SLICE_LIT("s"));
        assert_slice(s->raw, "x\\ny");
        assert_true(s->escaped);
        const JsonNode *a = json_get(&t, root, SLICE_LIT("a"));
        assert_slice(a->raw, "[1,[2,3],{}]");
        assert_int_equal(a->n, 3);
        assert_slice(json_at(&t, a, 1)->raw, "[2,3]");
        assert_slice(json_at(&t, json_at(&t, a, 1), 1)->raw, "3");
        assert_int_equal(json_at(&t, a, 2)->type, JSON_NODE_OBJECT);
        assert_null(json_at(&t, a, 3));
        assert_null(json_at(&t, n, 0));
        const JsonNode *ab = json_get(&t, root, SLICE_LIT("ab"));
        assert_non_null(ab);
        assert_true(ab->key_escaped);
        assert_null(json_get(&t, root, SLICE_LIT("a\\u0062")));
        assert_null(json_get(&t, root, SLICE_LIT("abc")));
        assert_null(json_get(&t, a, SLICE_LIT("n")));
        assert_null(json_get(&t, NULL, SLICE_LIT("n")));
        assert_slice(json_get(&t, json_get(&t, root, SLICE_LIT("o")), SLICE_LIT("n"))->raw, "3");
        assert_int_equal(json_parse(&t, SLICE_LIT("[]"), 5), 0); // memory is reused
        assert_int_equal(t.n_nodes, 1);
        json_tree_deinit(&t);
}

static void test_unescape(void **state)
{
        static const struct {
                const char *raw, *plain;
        } cases[] = {
                {"", ""},
                {"plain", "plain"},
                {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
                {"\\u0041\\u00e9\\u20ac\\uD83D\\udd14z", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x94z"},
                {"\\ud83dx", "\xef\xbf\xbdx"},
                {"\\ud83d\\u0041", "\xef\xbf\xbd"
                                   "A"},
                {"\\udd14", "\xef\xbf\xbd"},
                {"\\ud83d\\ud83d\\udd14", "\xef\xbf\xbd\xf0\x9f\x94\x94"},
                {"\\udbff\\udfff", "\xf4\x8f\xbf\xbf"},
                {"\\ud800\\udc00", "\xf0\x90\x80\x80"},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(buf_deinitp) Buf b = BUF_INIT(100);
                json_unescape(&b, slice_of(cases[i].raw));
                assert_string_equal(buf_text(&b), cases[i].plain);
        }
}

static int work(void *arg)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 16);
        JsonWriter w = json_writer(&b);
        json_begin(&w, '[');
        for (int i = 0; i < 200; i++)
                json_add_string(&w, SLICE_LIT("a\nb"));
        json_end(&w, ']');
        if (b.error < 0)
                return b.error;
        JsonTree t = {0};
        int r = json_parse(&t, buf_slice(&b), 2);
        if (r < 0)
                assert_int_equal(t.n_nodes, 0);
        json_tree_deinit(&t);
        return r;
}

static void test_torture(void **state)
{
        assert_true(torture(work, NULL) >= 8);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_accepts),
                cmocka_unit_test(test_refuses),
                cmocka_unit_test(test_every_cut_is_refused),
                cmocka_unit_test(test_depth),
                cmocka_unit_test(test_node_limit),
                cmocka_unit_test(test_strings_at_every_alignment),
                cmocka_unit_test(test_writer),
                cmocka_unit_test(test_tree),
                cmocka_unit_test(test_unescape),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
