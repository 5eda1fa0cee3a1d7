// SPDX-License-Identifier: MIT
// The pure parts of the lines source: framing, however the bytes come; names of rotated files; what
// parse makes of a line.
#include "test.h"

#include "follow.h"
#include "torture.h"

#include "base/json.h"

#include <stdlib.h>

// ---- framing

typedef struct Told {
        char text[4096];
        size_t len, offset;
        FrameSkip skip;
} Told;

// What is told of bytes[0..n), from where it stopped before.
static void tell(const Framer *f, const char *bytes, size_t n, FrameEnd end, Told *t)
{
        Span span;
        while (frame_next(f, slice_mem(bytes + t->offset, n - t->offset), end, &t->skip, &span)) {
                if (!span.none)
                        t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len,
                                "[%.*s]%s%u", (int)span.len, bytes + t->offset,
                                span.cut ? "cut" : "", span.lines);
                assert_true(span.next > 0 || span.none);
                assert_true(t->offset + span.next <= n);
                t->offset += span.next;
        }
}

static Framer framer(size_t max_line, const char *start)
{
        Framer f = {.max_line = max_line};
        Regex *r = NULL;
        size_t at;
        char message[REGEX_MESSAGE_MAX];
        if (start) {
                assert_int_equal(regex_new(&r, slice_of(start), SLICE_NULL, &at, message), 0);
                assert_int_equal(regex_matcher_new(&f.matcher), 0);
        }
        f.start = r;
        return f;
}

static void framer_deinit(Framer *f)
{
        (void)regex_free((Regex *)(uintptr_t)f->start);
        (void)regex_matcher_free(f->matcher);
}

typedef struct FrameCase {
        const char *start, *bytes;
        FrameEnd end;
        const char *told;
} FrameCase;

static const FrameCase frame_cases[] = {
        {NULL, "", FRAME_LAST, ""},
        {NULL, "a\nb\r\n\nc", FRAME_MORE, "[a]1[b]1[]1"},
        {NULL, "a\nb", FRAME_LAST, "[a]1[b]1"},
        {NULL, "a\nb", FRAME_WAITED, "[a]1"},
        {NULL, "12345678\n123456789\nx\n", FRAME_MORE, "[12345678]1[12345678]cut1[x]1"},
        {NULL, "12345678\r\n", FRAME_MORE, "[12345678]1"},
        {NULL, "12345678\r", FRAME_MORE, ""},
        {NULL, "123456789", FRAME_MORE, "[12345678]cut1"},
        {NULL, "1234567\xc3\xa4\nx\n", FRAME_MORE, "[1234567]cut1[x]1"},
        {"^S", "S1\n a\nS2\n", FRAME_MORE, "[S1\n a]2"},
        {"^S", "S1\n a\nS2\n", FRAME_WAITED, "[S1\n a]2[S2]1"},
        {"^S", "S1\n a\nS2", FRAME_WAITED, "[S1\n a]2"},
        {"^S", "S1\n a\nS2", FRAME_LAST, "[S1\n a]2[S2]1"},
        {"^S", "x\ny\nS1\n", FRAME_WAITED, "[x\ny]2[S1]1"},
        {"^S", "S1\n 345678\n no\nS2\nS", FRAME_WAITED, "[S1\n 3456]cut2[S2]1"},
        {"^S", "S1\nS3456789abc\nS2\n", FRAME_WAITED, "[S1]1[S3456789]cut1[S2]1"},
};

static void test_frames(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(frame_cases); i++) {
                const FrameCase *c = &frame_cases[i];
                Framer f = framer(8, c->start);
                Told t = {0};
                tell(&f, c->bytes, strlen(c->bytes), c->end, &t);
                if (strcmp(t.text, c->told) != 0)
                        fail_msg("%zu: %s, not %s", i, t.text, c->told);
                framer_deinit(&f);
        }
}

// The same bytes in any pieces: the same events.
static void test_pieces(void **state)
{
        static const char alphabet[] = "SSa \n\n\r\xc3\xa4";
        unsigned seed = 1;
        for (unsigned round = 0; round < 4000; round++) {
                char bytes[120];
                size_t n = (size_t)rand_r(&seed) % sizeof bytes;
                for (size_t i = 0; i < n; i++)
                        bytes[i] = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
                Framer f = framer(round % 7 + 4, round & 1 ? "^S" : NULL);
                Told whole = {0}, pieces = {0};
                tell(&f, bytes, n, FRAME_MORE, &whole);
                for (size_t at = 0; at < n;) {
                        at += 1 + (size_t)rand_r(&seed) % (n - at);
                        tell(&f, bytes, at, FRAME_MORE, &pieces);
                }
                tell(&f, bytes, n, FRAME_LAST, &whole);
                tell(&f, bytes, n, FRAME_LAST, &pieces);
                assert_string_equal(whole.text, pieces.text);
                assert_int_equal(whole.offset, n);
                framer_deinit(&f);
        }
}

static void test_window_is_enough(void **state)
{
        for (unsigned i = 0; i < 2; i++) {
                char bytes[64];
                Framer f = framer(16, i ? "^S" : NULL);
                Span span;
                assert_true(frame_window(16) <= sizeof bytes);
                for (char c = 'a'; c <= 'b'; c++) {
                        FrameSkip skip = SKIP_NONE;
                        memset(bytes, c, sizeof bytes);
                        bytes[c == 'b' ? 14 : 16] = '\n';
                        assert_true(frame_next(
                                &f, slice_mem(bytes, frame_window(16)), FRAME_MORE, &skip, &span));
                }
                framer_deinit(&f);
        }
}

// ---- names

static void test_names(void **state)
{
        static const struct {
                const char *sibling, *name;
                bool rotated;
        } names[] = {
                {"app.log.1", "app.log", true},
                {"app.log-20261129", "app.log", true},
                {"app.log.2026-11-29T10:00:00Z", "app.log", true},
                {"app-20261129.log", "app.log", true},
                {"app.1.log", "app.log", true},
                {"app.log.old", "app.log", true},
                {"app.log.1.gz", "app.log", false},
                {"app.log", "app.log", false},
                {"app.log.swp", "app.log", false},
                {"app2.log", "app.log", false},
                {"app.log1", "app.log", false},
                {"apps.log.1", "app.log", false},
                {"app-debug.log", "app.log", false},
                {"syslog.1", "syslog", true},
                {"syslog", "syslog.1", false},
                {"a-1", "a", true},
                {"a.", "a", false},
        };
        for (size_t i = 0; i < N_ELEMENTS(names); i++)
                if (name_is_rotated(names[i].sibling, names[i].name) != names[i].rotated)
                        fail_msg("%s of %s", names[i].sibling, names[i].name);
        assert_true(name_is_compressed("a.log.2.zst"));
        assert_false(name_is_compressed(".gz"));
        assert_string_equal(path_name("/var/log/a.log"), "a.log");
}

// ---- parse

static void test_parse(void **state)
{
        static const struct {
                const char *parse, *line, *fields; // NULL: it does not fit
        } cases[] = {
                {"none", "a=1", NULL},
                {"json", " {\"a\":1} ", "{\"a\":1}"},
                {"json", "{\"a\":1}}", NULL},
                {"json", "{\"a\":\"\xff\"}", NULL},
                {"json", "7", NULL},
                {"json", "", NULL},
                {"logfmt", "a=1 b=\"x y\" c", "{\"a\":\"1\",\"b\":\"x y\",\"c\":true}"},
                {"logfmt", "a=\"\\x\"", "{\"a\":\"\\\\x\"}"},
                {"logfmt", "a=\"\\\"\"b=2", "{\"a\":\"\\\"\",\"b\":\"2\"}"},
                {"logfmt", "a=\"\\", NULL},
                {"logfmt", "", NULL},
                {"/(?<a>x)(?<b>y)?(z)?/", "xz", "{\"a\":\"x\"}"},
                {"/^(?<path>\\/[^ ]*)$/", "/a/b", "{\"path\":\"/a/b\"}"},
                {"/(?<a>x)/", "y", NULL},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Parser *p = NULL;
                Buf out = BUF_INIT(1024);
                Reason reason = {0};
                size_t at;
                assert_int_equal(parser_new(&p, cases[i].parse, &at, &reason), 0);
                bool fits = parser_parse(p, slice_of(cases[i].line), &out);
                if (fits != (cases[i].fields != NULL))
                        fail_msg("%zu: %s", i, cases[i].line);
                if (fits)
                        assert_slice(buf_slice(&out), cases[i].fields);
                else
                        assert_int_equal(out.len, 0);
                buf_deinit(&out);
                (void)parser_free(p);
        }
}

static void test_parse_refuses(void **state)
{
        static const struct {
                const char *parse;
                size_t at;
        } cases[] = {{"", 0}, {"jsn", 0}, {"/", 0}, {"/a", 0}, {"/a/g", 3}, {"/a/ix ", 5},
                {"/(?<a>/", 6}, {"/ab(/", 4}, {"/a/", 0}};
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Parser *p = NULL;
                Reason reason = {0};
                size_t at = 99;
                assert_true(parser_new(&p, cases[i].parse, &at, &reason) < 0);
                assert_true(reason.text[0]);
                if (at != cases[i].at)
                        fail_msg("%s: at %zu (%s)", cases[i].parse, at, reason.text);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_frames),
                cmocka_unit_test(test_pieces),
                cmocka_unit_test(test_window_is_enough),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_parse_refuses),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
