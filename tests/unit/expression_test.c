// SPDX-License-Identifier: MIT
// The language by tables: what expressions give over one record, and what is refused, where and in
// which words. The manual's examples are compiled too.
#include "test.h"

#include "base/file.h"
#include "rule/expression.h"
#include "rule_fixture.h"
#include "torture.h"
#include <errno.h>
#include <fcntl.h>

typedef struct Fixture {
        Buf buf;
        Record record;
} Fixture;

static void fixture_make(Fixture *f)
{
        f->buf = BUF_INIT(1 << 20);
        assert_int_equal(fixture_record_of(&f->buf, &f->record, "file.created", FIXTURE_DATA), 0);
}

// The result as JSON, or "failed: ..." / "error: ...".
static void run(const Record *r, const char *text, Buf *out)
{
        Fault fault;
        _cleanup_(expression_freep) Expression *x = NULL;
        const char *failed = NULL;
        buf_reset(out);
        if (expression_new(&x, slice_of(text), fixture_type_list, N_FIXTURE_LIST, false, &fault) <
                0) {
                buf_addf(out, "error: %s", fault.message);
                return;
        }
        int e = expression_json(x, r, out, &failed);
        if (e > 0) {
                buf_reset(out);
                buf_addf(out, "failed: %s", failed);
        } else {
                assert_int_equal(e, 0);
        }
}

static const struct {
        const char *text, *result;
} table[] = {
        // the head
        {"type", "\"file.created\""},
        {"source", "\"/belfry/host1/uploads\""},
        {"subject", "\"/srv/up/INV-0042.pdf\""},
        {"key", "\"/srv/up/INV-0042.pdf\""},
        {"time", "\"2026-11-23T09:33:00.000000Z\""},
        {"len(id)", "32"},
        {"type == 'file.created'", "true"},
        {"type != 'file.created'", "false"},
        {"type in ['file.moved', 'file.created']", "true"},
        {"type not in ['file.moved', 'file.created']", "false"},
        {"type startswith 'file.'", "true"},
        {"source endswith '/uploads'", "true"},
        {"time > '2026-11-23T09:32:59Z'", "true"},
        {"time == '2026-11-23T10:33:00+01:00'", "true"},
        // literals
        {"'it''s'", "\"it's\""},
        {"''", "\"\""},
        {"5m", "300"},
        {"1500ms", "1.5"},
        {"10M", "10485760"},
        {"-1.5e3", "-1.5e3"},
        {"[1, 'a', null, true]", "[1,\"a\",null,true]"},
        {"null", "null"},
        // paths
        {"data.size", "20480"},
        {"data['size']", "20480"},
        {"data.new['Order ID']", "7"},
        {"data.new.items[1].sku", "\"y\""},
        {"data.new.items[2].sku", "null"},
        {"data.new.items['sku']", "null"},
        {"data.extra[0]", "null"},
        {"data.tags[1]", "\"b\xc3\xa4\""},
        {"data.tx.lsn", "\"0/16B3748\""},
        {"data.tx", "{\"lsn\":\"0/16B3748\"}"},
        {"data.extra['it''s']", "1"},
        {"data.new.note", "\"say \\\"hi\\\"\\n\""},
        // numbers compare as numbers, without loss
        {"data.size > 10K", "true"},
        {"data.size == 20480.0", "true"},
        {"data.size == 2048e1", "true"},
        {"data.size == 0.2048e5", "true"},
        {"data.size < 20480.0000000000000000000000000000001", "true"},
        {"data.new.big == 123456789012345678901234567890.1", "true"},
        {"data.new.big > 123456789012345678901234567890", "true"},
        {"data.new.big == 123456789012345678901234567890.2", "false"},
        {"data.total == 10.5", "true"},
        {"data.total < 9", "false"},
        {"data.new.total == 10.5", "true"},
        {"data.new.total > data.old.total", "true"},
        {"data.new.neg < -2.4", "true"},
        {"data.new.neg > -2.6", "true"},
        {"0 == -0.0", "true"},
        {"1e5 == 100000", "true"},
        {"1e-5 < 1e-4", "true"},
        {"1e999999999 > 1e999999998", "true"},
        {"data.old.total in [8, 9.0]", "true"},
        {"data.new.note == 5", "false"},
        {"data.new.note != 5", "true"},
        {"data.new.note < 5", "false"},
        // what is missing
        {"data.new.x == 'a'", "false"},
        {"data.new.x != 'a'", "false"},
        {"data.new.x < 5", "false"},
        {"data.new.x >= 5", "false"},
        {"data.new.x == null", "false"},
        {"data.new.x != null", "false"},
        {"data.new.x in [1]", "false"},
        {"data.new.x not in [1]", "false"},
        {"data.new.x =~ /a/", "false"},
        {"data.new.x contains 'a'", "false"},
        {"not (data.new.x == 'a')", "true"},
        {"not data.new.x", "true"},
        {"exists(data.new.x)", "false"},
        {"exists(data.owner)", "true"},
        {"exists(data.old_path)", "false"},
        {"data.owner == null", "true"},
        {"data.owner != null", "false"},
        {"data.owner != 'root'", "true"},
        {"data.owner == data.new.x", "false"},
        {"data.owner ?? 'nobody'", "\"nobody\""},
        {"data.new.x ?? data.owner ?? 3", "3"},
        {"data.size ?? 0 > 5", "true"},
        {"lower(data.old_path)", "null"},
        {"len(data.new.x) == 0", "false"},
        // booleans
        {"data.ready", "true"},
        {"data.ready == true", "true"},
        {"not data.ready or data.size > 5", "true"},
        {"true or false and false", "true"},
        {"(true or false) and false", "false"},
        {"not not true", "true"},
        {"not data.size > 5", "false"},
        // strings and lists
        {"data.name contains 'INV'", "true"},
        {"data.name contains ''", "true"},
        {"data.name endswith '.PDF'", "false"},
        {"lower(data.name) endswith '.pdf'", "true"},
        {"data.tags contains 'a'", "true"},
        {"data.tags contains 'b\xc3\xa4'", "true"},
        {"data.tags contains 3.0", "true"},
        {"'a' in data.tags", "true"},
        {"'z' not in data.tags", "true"},
        {"data.name < 'J'", "true"},
        // times and durations
        {"data.mtime == '2026-11-21T22:30:00.5Z'", "true"},
        {"data.mtime < time", "true"},
        {"data.mtime", "\"2026-11-21T23:30:00.5+01:00\""},
        {"data.extra.t < time", "true"},
        {"age(data.mtime) > 1d", "true"},
        {"age(data.extra.t) == 33m", "true"},
        {"age(data.extra.t)", "1980"},
        {"number(age(data.extra.t)) == 1980", "true"},
        {"data.new['Order ID'] < 5m", "true"},
        {"hour(data.mtime)", "22"},
        {"weekday(data.mtime)", "\"Sat\""},
        {"weekday(time) in ['Sat', 'Sun']", "false"},
        // regular expressions
        {"data.name =~ /^INV-(\\d+)/", "true"},
        {"data.name =~ /^inv/", "false"},
        {"data.name =~ /^inv/i", "true"},
        {"data.path =~ /\\/up\\//", "true"},
        {"data.path =~ /[/]up[/]/", "true"},
        {"data.name =~ /^INV-(\\d+)/ and $1 == '0042'", "true"},
        {"data.name =~ /^INV-(?<no>\\d+)/ and number($no) ?? 42 == 42", "true"},
        {"data.name =~ /(x)?INV/ and exists(data.size) and $1 == ''", "false"},
        {"data.new.note =~ /hi\"$/m", "true"},
        // functions
        {"len('h\xc3\xa4')", "2"},
        {"len(data.tags)", "3"},
        {"upper('a\xc3\xa4z')", "\"A\xc3\xa4Z\""},
        {"trim('  a b ')", "\"a b\""},
        {"basename(data.path)", "\"INV-0042.pdf\""},
        {"basename('/a/b//')", "\"b\""},
        {"basename('/')", "\"/\""},
        {"dirname(data.path)", "\"/srv/up\""},
        {"dirname('a')", "\".\""},
        {"dirname('/a')", "\"/\""},
        {"dirname('//')", "\"/\""},
        {"extension(data.path)", "\"pdf\""},
        {"extension('.bashrc')", "\"\""},
        {"extension('a.b/c')", "\"\""},
        {"replace('a-b-c', '-', '')", "\"abc\""},
        {"replace('abc', '', 'x')", "\"abc\""},
        {"split('a,b,,c', ',')", "[\"a\",\"b\",\"\",\"c\"]"},
        {"'b' in split('a,b', ',')", "true"},
        {"join(data.tags, ' ')", "\"a b\xc3\xa4 3\""},
        {"join(split('a b', ' '), '-')", "\"a-b\""},
        {"cut('h\xc3\xa4llo', 2)", "\"h\xc3\xa4\""},
        {"cut('ab', 9)", "\"ab\""},
        {"number(' 10.50 ')", "10.50"},
        {"number('x')", "null"},
        {"string(data.size)", "\"20480\""},
        {"string(time)", "\"2026-11-23T09:33:00.000000Z\""},
        {"abs(data.new.neg)", "2.5"},
        {"floor(data.new.neg)", "-3"},
        {"round(data.new.neg)", "-3"},
        {"round(2.4)", "2"},
        {"round(-0.4)", "0"},
        {"round(0.5)", "1"},
        {"floor(-0.1)", "-1"},
        {"floor(999.9)", "999"},
        {"round(999.9)", "1000"},
        {"round(0.05)", "0"},
        {"floor(1e20)", "1e20"},
        {"floor(data.total)", "10"},
        {"size_text(data.size)", "\"20 KiB\""},
        {"size_text(1536)", "\"1.5 KiB\""},
        {"size_text(12)", "\"12 B\""},
        {"sha256('abc')", "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\""},
        {"base64('abcd')", "\"YWJjZA==\""},
        {"json(data.old)", "\"{\\\"total\\\":9}\""},
        {"json('a\"b')", "\"\\\"a\\\\\\\"b\\\"\""},
        {"json([1, 'a'])", "\"[1,\\\"a\\\"]\""},
        {"urlencode('a b/\xc3\xa4')", "\"a%20b%2F%C3%A4\""},
};

static void test_results(void **state)
{
        Fixture f;
        fixture_make(&f);
        _cleanup_(buf_deinitp) Buf out = BUF_INIT(1 << 20);
        for (size_t i = 0; i < N_ELEMENTS(table); i++) {
                run(&f.record, table[i].text, &out);
                if (strcmp(buf_text(&out), table[i].result) != 0)
                        fail_msg("%s gives %s, not %s", table[i].text, buf_text(&out),
                                table[i].result);
        }
        buf_deinit(&f.buf);
}

static const struct {
        const char *text;
        size_t start, end;
        const char *message; // how it begins
} bad[] = {
        {"data.szie > 5", 5, 9,
                "the events here have no field data.szie (did you mean data.size?)"},
        {"data.size.x", 10, 11, "data.size is a number and has no such field inside"},
        {"data.size[0]", 10, 11, "data.size is a number and has no elements inside"},
        {"data.size contains 'x'", 0, 22,
                "contains works on strings and lists, and this is a number"},
        {"data.size startswith 'x'", 0, 24, "startswith works on strings, and this is a number"},
        {"type == 'file.craeted'", 8, 22,
                "no source here has events of type 'file.craeted' (did you mean 'file.created'?)"},
        {"type in ['file.created', 'row.x']", 25, 32, "no source here has events of type 'row.x'"},
        {"type startswith 'fiel.'", 16, 23, "no source here has events of type 'fiel.'"},
        {"'zzz' == type", 0, 5, "no source here has events of type 'zzz'; they are file.created"},
        {"source == 'uploads'", 10, 19, "source is '/belfry/HOST/NAME'; write source endswith"},
        {"lowre(data.name)", 0, 5, "there is no function lowre() (did you mean lower?)"},
        {"lower(data.name, 1)", 0, 19, "lower(string) takes 1 value, not 2"},
        {"replace('a', 'b')", 0, 17, "replace(string, from, to) takes 3 values, not 2"},
        {"lower(data.size)", 6, 15, "lower(string) needs a string here, this is a number"},
        {"data.size == '5'", 0, 16, "a number and a string do not compare; numbers are written"},
        {"data.name == 5", 0, 14, "a string and a number do not compare"},
        {"data.size > 10m", 0, 15, "a number and a duration do not compare; 10m are minutes"},
        {"data.mtime > 5m", 0, 15, "a time and a duration do not compare; age(...)"},
        {"data.mtime > 'yesterday'", 13, 24, "this is compared with a time and is none"},
        {"data.ready > true", 0, 17, "true or false and true or false do not compare"},
        {"data.size < null", 0, 16, "null has no order"},
        {"data.new == 5", 0, 13, "an object and a number do not compare; use in, contains"},
        {"data.name in 'abc'", 13, 18, "a list is needed to the right of in, this is a string"},
        {"data.name in []", 13, 15, "nothing is in an empty list"},
        {"data.name =~ /a(/", 16, 17, "in this regular expression: missing closing parenthesis"},
        {"data.name =~ /a\\Cb/", 17, 18, "in this regular expression: "},
        {"data.name =~ /a/q", 16, 17, "a regular expression has no flag 'q'"},
        {"data.name =~ 'a'", 13, 16, "a regular expression between slashes"},
        {"data.name == /a/", 13, 16, "a regular expression stands only to the right of =~"},
        {"data.size =~ /a/", 0, 9, "=~ works on strings, and this is a number"},
        {"data.name =~ /abc", 13, 17, "this regular expression has no closing '/'"},
        {"$1 == 'a'", 0, 2, "there is no =~ before $1"},
        {"data.name =~ /(a)/ and $2 == 'a'", 23, 25, "the regular expression before has 1 group,"},
        {"data.name =~ /(?<n>a)/ and $m == 'a'", 27, 29,
                "no regular expression before has a group"},
        {"data.name == 'abc", 13, 17, "this string has no end"},
        {"data.name = 'a'", 10, 11, "write ==, not ="},
        {"a == b", 0, 1, "there is no field a (did you mean data.a, or 'a' as a string?)"},
        {"type == 'file.created' and type == 'file.moved'", 27, 47,
                "no event fits both this and the condition on the same field before it; for either "
                "write or, or in ['x', 'y']"},
        {"'a' == data.name and data.size > 1 and data.name in ['b', 'c']", 39, 62,
                "no event fits both this and the condition on the same field before it; for either "
                "write or, or in ['x', 'y']"},
        {"data.ready && true", 11, 13, "write and, not &&"},
        {"data.name == \"a\"", 13, 14, "write '...' around a string, not \""},
        {"!data.ready", 0, 1, "write not, not !"},
        {"tyep == 'x'", 0, 4, "there is no field tyep (did you mean type?)"},
        {"data.size - 5", 10, 11, "there is no arithmetic"},
        {"data.size > 5q", 13, 14, "'q' is no unit"},
        {"data.size > 1.5M", 12, 16, "durations and sizes are integers with a unit"},
        {"data.size > 007", 12, 15, "a number does not begin with 0"},
        {"data.size > 99999999999G", 12, 24, "this size is too large"},
        {"1 < 2 < 3", 6, 7, "comparisons do not chain"},
        {"data.ready and", 14, 14, "a value is expected, but the expression ends here"},
        {"(data.ready", 11, 11, "')' is expected, but the expression ends here"},
        {"data.ready)", 10, 11, "an operator is expected here, not )"},
        {"data.ready data.ready", 11, 15, "an operator is expected here, not data"},
        {"", 0, 0, "this expression is empty"},
        {"not data.size", 4, 13, "true or false is needed here, this is a number; compare it"},
        {"data.name and data.ready", 0, 9, "true or false is needed here, this is a string"},
        {"exists('a')", 0, 11, "exists() takes one field"},
        {"type.x == 'a'", 5, 6, "type has nothing inside"},
        {"data[data.x]", 5, 9, "an index (0, 1, ...) or a name in quotes is expected here"},
        {"data.new[-1]", 9, 11, "an index is an integer from 0"},
        {"data.new.items[1.5]", 15, 18, "an index is an integer from 0"},
        {"and", 0, 3, "a value is expected here, not the word and"},
        {"data.ready @", 11, 12, "'@' has no meaning here"},
        {"data.ready \x01", 11, 12, "a byte 0x01 has no place here"},
        {"data.ready \xff", 11, 12, "a byte 0xff has no place here"},
        {"hour('noon')", 5, 11, "this is compared with a time and is none"},
        {"data.name == $", 13, 14, "a number or a name follows '$'"},
};

static void test_refusals(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                Expression *x = NULL;
                Fault f;
                int r = expression_new(
                        &x, slice_of(bad[i].text), fixture_type_list, N_FIXTURE_LIST, false, &f);
                if (r != -EINVAL)
                        fail_msg("%s is not refused", bad[i].text);
                if (f.start != bad[i].start || f.end != bad[i].end ||
                        strncmp(f.message, bad[i].message, strlen(bad[i].message)) != 0)
                        fail_msg("%s: %zu..%zu: %s", bad[i].text, f.start, f.end, f.message);
        }
}

static void test_filters_are_boolean(void **state)
{
        Expression *x = NULL;
        Fault f;
        assert_int_equal(expression_new(&x, SLICE_LIT("data.size"), fixture_type_list,
                                 N_FIXTURE_LIST, true, &f),
                -EINVAL);
        assert_string_equal(f.message, "a filter is true or false, and this is a number");
        // Nothing declared: anything may be true.
        assert_int_equal(expression_new(&x, SLICE_LIT("data.any"), NULL, 0, true, &f), 0);
        x = expression_free(x);
}

static void explain(const char *text, const char *expected)
{
        _cleanup_(buf_deinitp) Buf out = BUF_INIT(4096);
        Expression *x = NULL;
        Fault f;
        assert_int_equal(
                expression_new(&x, slice_of(text), fixture_type_list, N_FIXTURE_LIST, true, &f),
                -EINVAL);
        fault_explain(&f, slice_of(text), &out);
        assert_string_equal(buf_text(&out), expected);
}

static void test_caret_lines(void **state)
{
        explain("data.szie > 10",
                "the events here have no field data.szie (did you mean data.size?)\n"
                "  data.szie > 10\n"
                "       ^~~~");
        explain("data.name == '\xc3\xa4\xc3\xb6\t\x1b' and\n data.szie > 1 and\n data.ready",
                "the events here have no field data.szie (did you mean data.size?)\n"
                "   data.szie > 1 and\n"
                "        ^~~~");
        explain("data.name == '\xc3\xa4\x1b' and data.szie > 1",
                "the events here have no field data.szie (did you mean data.size?)\n"
                "  data.name == '\xc3\xa4?' and data.szie > 1\n"
                "                             ^~~~");
}

// Long and deep expressions are refused or run, never a crash.
static void test_limits(void **state)
{
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
        Fixture fixture;
        fixture_make(&fixture);
        for (int i = 0; i < 100; i++)
                buf_add_char(&text, '(');
        run(&fixture.record, buf_text(&text), &out);
        assert_non_null(strstr(buf_text(&out), "nests too deep"));
        buf_reset(&text);
        for (int i = 0; i < 100; i++)
                buf_add_str(&text, "not ");
        run(&fixture.record, buf_text(&text), &out);
        assert_non_null(strstr(buf_text(&out), "nests too deep"));
        buf_reset(&text);
        for (int i = 0; i < 600; i++)
                buf_add_str(&text, "data.size == 5 or ");
        buf_add_str(&text, "true");
        run(&fixture.record, buf_text(&text), &out);
        assert_string_equal(buf_text(&out), "true");
        for (int i = 0; i < 600; i++)
                buf_add_str(&text, " or data.size == 5");
        run(&fixture.record, buf_text(&text), &out);
        assert_non_null(strstr(buf_text(&out), "too long"));
        buf_reset(&text);
        buf_add_str(&text, "true");
        for (int i = 0; i < 101; i++)
                buf_add_str(&text, " or data.name =~ /a/");
        run(&fixture.record, buf_text(&text), &out);
        assert_non_null(strstr(buf_text(&out), "costs too much"));
        // A value that grows, and a pattern that explodes.
        run(&fixture.record,
                "len(replace(replace(replace(replace(replace('aaaaaaaaaa', 'a', 'aaaaaaaaaa'), "
                "'a', "
                "'aaaaaaaaaa'), 'a', 'aaaaaaaaaa'), 'a', 'aaaaaaaaaa'), 'a', 'aaaaaaaaaa'))",
                &out);
        assert_string_equal(buf_text(&out), "failed: a computed value is over 64 KiB");
        run(&fixture.record, "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab' =~ /^(a|a|aa)+$/", &out);
        assert_string_equal(buf_text(&out), "failed: a regular expression took too many steps");
        buf_deinit(&fixture.buf);
}

// Random sequences of the language's own words: refused or evaluated within their cost.
static uint32_t random_next(uint32_t *x)
{
        *x ^= *x << 13;
        *x ^= *x >> 17;
        *x ^= *x << 5;
        return *x;
}

static void test_random(void **state)
{
        static const char *const words[] = {"data.size", "data.name", "data.new.x", "data.tags",
                "type", "time", "'a'", "'file.created'", "5", "5m", "10K", "1.5", "null", "true",
                "==", "!=", "<", ">=", "and", "or", "not", "in", "=~ /(a|b)*c/", "contains", "??",
                "(", ")", "[", "]", ",", "lower(", "len(", "exists(", "split(", "join(", "number(",
                "json(", "$1", "startswith", "round(", "data.new", "data.new.items[0]"};
        Fixture f;
        fixture_make(&f);
        uint32_t seed = 2463534242u;
        unsigned compiled = 0;
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(4096), out = BUF_INIT(1 << 20);
        for (unsigned i = 0; i < 60000; i++) {
                buf_reset(&text);
                unsigned n = 1 + random_next(&seed) % 8;
                for (unsigned j = 0; j < n; j++)
                        buf_addf(&text, "%s ", words[random_next(&seed) % N_ELEMENTS(words)]);
                Fault fault;
                _cleanup_(expression_freep) Expression *x = NULL;
                int r = expression_new(&x, slice_of(buf_text(&text)), fixture_type_list,
                        N_FIXTURE_LIST, false, &fault);
                if (r < 0) {
                        assert_int_equal(r, -EINVAL);
                        assert_true(fault.message[0] && fault.start <= text.len &&
                                    fault.end <= text.len);
                        continue;
                }
                compiled++;
                const char *failed;
                buf_reset(&out);
                assert_true(expression_json(x, &f.record, &out, &failed) >= 0);
                assert_true(expression_cost(x) > 0 && expression_cost(x) <= 100000);
        }
        assert_true(compiled > 1000);
        buf_deinit(&f.buf);
}

static int torture_work(void *arg)
{
        static const char *const texts[] = {
                "data.name =~ /^INV-(?<no>\\d+)/ and $no == replace(lower('AA'), 'a', 'b')",
                "join(split(data.new.note, ' '), '-')",
                "data.szie",
                "type == 'file.craeted'",
                "data.new.note ?? json(data.old) ?? [1, 'it''s'] ?? string(time)",
        };
        Record record;
        _cleanup_(buf_deinitp) Buf buf = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
        int r = fixture_record_of(&buf, &record, "file.created", FIXTURE_DATA);
        for (size_t i = 0; i < N_ELEMENTS(texts) && r >= 0; i++) {
                _cleanup_(expression_freep) Expression *x = NULL;
                Fault f;
                const char *failed;
                r = expression_new(
                        &x, slice_of(texts[i]), fixture_type_list, N_FIXTURE_LIST, false, &f);
                if (r == -EINVAL)
                        r = 0;
                else if (r == 0)
                        r = expression_json(x, &record, &out, &failed);
        }
        return r;
}

static void test_torture(void **state)
{
        assert_true(torture(torture_work, NULL) > 10);
}

// The manual: every line between "begin filters" and "end filters" is a filter that compiles, and
// every function of the table stands there with its signature.
static void test_manual(void **state)
{
        _cleanup_(buf_deinitp) Buf man = BUF_INIT(1 << 20);
        assert_int_equal(file_read(AT_FDCWD, RULES_MANUAL, &man), 0);
        const char *text = buf_text(&man), *name, *signature, *prose;
        for (unsigned i = 0; (name = expression_function(i, &signature, &prose)); i++) {
                char row[128];
                (void)snprintf(row, sizeof(row), ".It Fn %s", name);
                if (!strstr(text, row) || !strstr(text, signature))
                        fail_msg("the manual lacks %s", signature);
        }
        unsigned n = 0;
        for (const char *at = text; (at = strstr(at, "begin filters\n"));) {
                at = strchr(at, '\n') + 1;
                const char *end = strstr(at, ".\\\" end filters");
                assert_non_null(end);
                while (at < end) {
                        const char *line_end = strchr(at, '\n');
                        _cleanup_(buf_deinitp) Buf line = BUF_INIT(4096);
                        for (; at < line_end; at++) {
                                buf_add_char(&line, *at);
                                if (*at == '\\' && at[1] == 'e')
                                        at++;
                        }
                        at = line_end + 1;
                        if (line.len == 0 || line.data[0] == '.')
                                continue;
                        Fault f;
                        _cleanup_(expression_freep) Expression *x = NULL;
                        if (expression_new(&x, buf_slice(&line), fixture_type_list, N_FIXTURE_LIST,
                                    true, &f) < 0)
                                fail_msg("%s: %s", buf_text(&line), f.message);
                        n++;
                }
        }
        assert_true(n >= 15);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_results),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_filters_are_boolean),
                cmocka_unit_test(test_caret_lines),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_random),
                cmocka_unit_test(test_torture),
                cmocka_unit_test(test_manual),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
