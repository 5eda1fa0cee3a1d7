// SPDX-License-Identifier: MIT
// The scanner: places of settings and of the inside of strings, agreement with libconfig on what is
// good and what is not, the faults libconfig would swallow.
#include "test.h"

#include "config/scanner.h"
#include "torture.h"
#include <errno.h>

static int scan(Scan *s, const char *text, Diagnostics *d)
{
        return scan_init(s, "f", slice_of(text), d);
}

static const ScanNode *find(const Scan *s, const char *name)
{
        for (uint32_t i = 0; i < s->n_nodes; i++)
                if (slice_eq_str(s->nodes[i].name, name))
                        return &s->nodes[i];
        fail_msg("no setting %s", name);
        return NULL;
}

#define assert_place(place, l, c)               \
        do {                                    \
                Place _p = (place);             \
                assert_int_equal(_p.line, l);   \
                assert_int_equal(_p.column, c); \
        } while (0)

static void test_places(void **state)
{
        Scan s;
        Diagnostics d = {0};
        const char *text = "# a comment\n"
                           "sources = {\n"
                           "\tup = { n = 5L; \"\" };\n"; // the string is where a name should be
        assert_int_equal(scan(&s, text, &d), -EINVAL);
        assert_int_equal(d.n, 1);
        assert_place(d.list[0].place, 3, 17);
        assert_string_equal(d.list[0].path, "sources.up");
        scan_deinit(&s);
        diagnostics_deinit(&d);
        text = "a = 1; b : { cé = 2 }\n";
        assert_int_equal(scan(&s, text, &d), -EINVAL);
        assert_place(d.list[0].place, 1, 15);
        scan_deinit(&s);
        diagnostics_deinit(&d);
        text = "a = {\n  b = 1;\n\n\n";
        assert_int_equal(scan(&s, text, &d), -EINVAL);
        assert_place(d.list[0].place, 2, 9); // where the last word ends
        scan_deinit(&s);
        diagnostics_deinit(&d);
}

static void test_tree(void **state)
{
        Scan s;
        Diagnostics d = {0};
        const char *text = "/* é */ a = \"é\", b =\n  [ 1,\n    -2 ] c = ( \"x\", { d = 0.5; } )\n";
        assert_int_equal(scan(&s, text, &d), 0);
        assert_place(scan_name_place(&s, find(&s, "a")), 1, 9);
        assert_place(scan_place(&s, find(&s, "a")), 1, 13);
        assert_place(scan_name_place(&s, find(&s, "b")), 1, 18);
        const ScanNode *b = find(&s, "b");
        assert_true(b->kind == SCAN_ARRAY && b->n == 2);
        const ScanNode *second = scan_next(&s, scan_first(&s, b));
        assert_true(second->integer == -2 && !scan_next(&s, second));
        assert_place(scan_place(&s, second), 3, 5);
        char *path = scan_path(&s, find(&s, "d"), "more");
        assert_string_equal(path, "c[1].d.more");
        free(path);
        assert_string_equal(scan_string(find(&s, "a")), "é");
        assert_true(scan_float(find(&s, "d")) == 0.5);
        assert_int_equal(d.n_errors, 0);
        scan_deinit(&s);
        diagnostics_deinit(&d);
}

// Where each byte of a string stands, whatever stands between.
static void test_text_places(void **state)
{
        Scan s;
        Diagnostics d = {0};
        ConfigText t;
        const char *text = "  when = \"a \\\"b\\\" =~ /\\d/ é!\"\n"
                           "    /* \"not this\" */ \"x\ny\";\n";
        assert_int_equal(scan(&s, text, &d), 0);
        const ScanNode *n = find(&s, "when");
        assert_int_equal(scan_text(&s, n, &t), 0);
        assert_string_equal(t.text, "a \"b\" =~ /\\d/ é!x\ny");
        assert_string_equal(t.text, scan_string(n)); // as libconfig reads it
        struct {
                const char *at;
                unsigned line, column;
        } cases[] = {
                {"a \"", 1, 11}, // the first character inside the quotes
                {"\"b", 1, 13},  // an escape stands where its backslash is
                {"b\"", 1, 15}, {"\" =~", 1, 16}, {"=~", 1, 19},
                {"\\d", 1, 23}, // not an escape of libconfig: two characters
                {"d/", 1, 24}, {"é!", 1, 27}, {"!", 1, 28}, // columns count characters, not bytes
                {"x", 2, 23},                               // behind a joint
                {"y", 3, 1},                                // behind a newline
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                const char *at = strstr(t.text, cases[i].at);
                assert_place(config_text_place(&t, (size_t)(at - t.text)), cases[i].line,
                        cases[i].column);
        }
        assert_place(t.place, 1, 11);
        config_text_clear(&t);
        scan_deinit(&s);
        diagnostics_deinit(&d);
}

// Both must say the same of these.
static void test_agreement(void **state)
{
        static const char *const good[] = {"", "\n", "a=1\n", "a:1;b:2,c=3\n", "a={}\n", "a=()\n",
                "a=[]\n", "a=((),(),[],{})\n", "a=TRUE;b=False\n", "a=0x1F;b=0x1fLL;c=5L;d=-5LL\n",
                "a=.5;b=5.;c=1e5;d=-1.5e-3;e=+1E+2\n", "a=\"x\" \"y\"\n", "*a-b_c*=1\n",
                "truex=1;falsey=2\n", "a=\"\\q\\d\\\\\"\n", "a=\"//\";b=\"/*\"\n",
                "a=1 // c\n# d\n/* e\n*/b=2\n", "a=1\r\nb=2\f\n", "a=(\"x\",1,2.5,true)\n"};
        static const char *const bad[] = {"a\n", "a=\n", "=1\n", "a=1;;\n", "a={\n", "a=}\n", "}\n",
                "a=[1,]\n", "a=(1,)\n", "a=[1 2]\n", "a=[[1]]\n", "a=[{}]\n", "a=[1,2L]\n",
                "a=[1,\"x\"]\n", "a=x\n", "a='x'\n", "a=1;a=2\n", "1=2\n", "_a=1\n", "$a=1\n",
                "\"a\"=1\n", "a=\"x\n", "a=1x\n", "a=5LLL\n", "a=0x\n", "a=-\n", "true=1\n", "@b\n",
                "a=\v1\n", "a=(1;2)\n", "a={1}\n", "a==1\n", "a=1 =2\n", "/\n", "a=.\n",
                "a=1 /* x\n", "@include \"x\"\n", "a=\"x\" \"y\n", "\xef\xbb\xbf=1\n"};
        for (size_t i = 0; i < N_ELEMENTS(good) + N_ELEMENTS(bad); i++) {
                bool is_good = i < N_ELEMENTS(good);
                const char *text = is_good ? good[i] : bad[i - N_ELEMENTS(good)];
                Scan s;
                Diagnostics d = {0};
                int r = scan(&s, text, &d);
                if (r != (is_good ? 0 : -EINVAL))
                        fail_msg("%s: %d %s", text, r, d.n ? d.list[0].message : "");
                if (!is_good) { // ours speaks first: libconfig has no columns
                        assert_int_equal(d.n, 1);
                        assert_null(strstr(d.list[0].message, "libconfig:"));
                }
                scan_deinit(&s);
                diagnostics_deinit(&d);
        }
}

// Said, and read on: the file is still good enough to look for more.
static void test_swallowed(void **state)
{
        static const struct {
                const char *text;
                unsigned line, column;
                const char *path;
        } cases[] = {
                {"a = 9000000000;\n", 1, 5, "a"},
                {"a = -2147483649;\n", 1, 5, "a"},
                {"a = 0x80000000;\n", 1, 5, "a"},
                {"a = 9223372036854775808L;\n", 1, 5, "a"},
                {"a = 0755;\n", 1, 5, "a"},
                {"a = -01;\n", 1, 5, "a"},
                {"a = [ \"/a\"\n  \"/b\" ];\n", 2, 3, "a[0]"},
                {"a = ( { b = ( \"x\" \"y\" ); } );\n", 1, 19, "a[0].b[0]"},
                {"a = \"x\\x41\";\n", 1, 7, "a"},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Scan s;
                Diagnostics d = {0};
                int r = scan(&s, cases[i].text, &d);
                if (r != 0 && i != 3) // beyond 64 bits libconfig may do as it likes
                        fail_msg("%s: %d %s", cases[i].text, r, d.n ? d.list[0].message : "");
                assert_int_equal(d.n_errors, 1);
                assert_place(d.list[0].place, cases[i].line, cases[i].column);
                assert_string_equal(d.list[0].path, cases[i].path);
                scan_deinit(&s);
                diagnostics_deinit(&d);
        }
        Scan s;
        Diagnostics d = {0};
        assert_int_equal(
                scan(&s, "a=2147483647;b=-2147483648;c=9000000000L;d=0;e=0x7fffffff\n", &d), 0);
        assert_int_equal(d.n_errors, 0);
        assert_true(find(&s, "c")->integer == INT64_C(9000000000));
        scan_deinit(&s);
        diagnostics_deinit(&d);
}

static void test_bounds(void **state)
{
        _cleanup_(buf_deinitp) Buf deep = BUF_INIT(1 << 20), wide = BUF_INIT(1 << 20);
        Scan s;
        Diagnostics d = {0};
        buf_add_str(&deep, "a = ");
        for (int i = 0; i < 50000; i++)
                buf_add_char(&deep, '(');
        assert_int_equal(scan(&s, buf_text(&deep), &d), -EINVAL);
        assert_int_equal(d.n_errors, 1);
        assert_non_null(strstr(d.list[0].message, "nested deeper than 32 levels"));
        scan_deinit(&s);
        diagnostics_deinit(&d);
        buf_add_str(&wide, "a = [ 1");
        for (int i = 0; i < 4096; i++)
                buf_add_str(&wide, ",1");
        assert_int_equal(scan(&s, buf_text(&wide), &d), -EINVAL);
        assert_string_equal(d.list[0].message, "more than 4096 elements");
        scan_deinit(&s);
        diagnostics_deinit(&d);
}

static int scan_once(void *arg)
{
        Scan s;
        Diagnostics d = {0};
        ConfigText t = {0};
        int r = scan(&s, "a = { b = ( \"x\", 1 ); c = \"y\\\"\" \"z\"; };\n", &d);
        if (r == 0)
                r = scan_text(&s, find(&s, "c"), &t);
        config_text_clear(&t);
        scan_deinit(&s);
        diagnostics_deinit(&d);
        return r;
}

static void test_memory(void **state)
{
        assert_true(torture(scan_once, NULL) >= 4);
}

static void test_diagnostics(void **state)
{
        Diagnostics d = {0};
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 20);
        assert_non_null(diagnostics_file(&d, "z.conf")); // read first
        diagnose(&d, SEVERITY_ERROR, (Place){"a.conf", 1, 2}, "x", "second file");
        diagnose(&d, SEVERITY_ERROR, (Place){"z.conf", 9, 1}, "y", "later");
        diagnose(&d, SEVERITY_WARNING, (Place){"z.conf", 2, 7}, "", "esc\033[31m");
        diagnose(&d, SEVERITY_ERROR, (Place){"z.conf", 2, 3}, "w", "%s", "earlier");
        diagnose(&d, SEVERITY_ERROR, (Place){"z.conf", 0, 0}, NULL, "whole file");
        diagnostics_sort(&d);
        diagnostics_print(&d, &b);
        assert_string_equal(buf_text(&b), "z.conf: whole file\n"
                                          "z.conf:2:3: w: earlier\n"
                                          "z.conf:2:7: warning: esc\\x1b[31m\n"
                                          "z.conf:9:1: y: later\n"
                                          "a.conf:1:2: x: second file\n");
        assert_true(d.n_errors == 4 && d.n_warnings == 1);
        for (int i = 0; i < 300; i++)
                diagnose(&d, SEVERITY_ERROR, (Place){0}, "", "more");
        assert_true(d.n == 200 && d.n_errors == 304 && d.dropped == 105);
        diagnostics_deinit(&d);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_places),
                cmocka_unit_test(test_tree),
                cmocka_unit_test(test_text_places),
                cmocka_unit_test(test_agreement),
                cmocka_unit_test(test_swallowed),
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_memory),
                cmocka_unit_test(test_diagnostics),
        };
        return cmocka_run_group_tests_name("scanner", tests, NULL, NULL);
}
