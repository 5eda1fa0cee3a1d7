// SPDX-License-Identifier: MIT
// The pure parts of the journal source: what its options' texts mean, the stored position, the header
// of a file, and an entry's fields as JSON.
#include "test.h"

#include "entry.h"
#include "files.h"
#include "filter.h"
#include "position.h"
#include "torture.h"

#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum { TERMS_MAX = 8 };

// ---- matches

typedef struct MatchCase {
        const char *terms[TERMS_MAX];
        int at; // the element at fault; -1: none
        const char *message;
} MatchCase;

static const MatchCase match_cases[] = {
        {{NULL}, -1, NULL},
        {{"A=b"}, -1, NULL},
        {{"A="}, -1, NULL},
        {{"_UID=0", "A_1=x=y", "+", "B=\xff"}, -1, NULL},
        {{"A=1", "+", "A=2", "+", "A=3"}, -1, NULL},
        {{"+"}, 0, "+ stands between two terms"},
        {{"A=1", "+"}, 1, "+ stands between two terms"},
        {{"A=1", "+", "+", "B=1"}, 2, "+ stands between two terms"},
        {{"+", "A=1"}, 0, "+ stands between two terms"},
        {{""}, 0, "expected FIELD=value"},
        {{"=x"}, 0, "expected FIELD=value"},
        {{"a=x"}, 0, "in capital letters"},
        {{"A=1", "PRIORITY"}, 1, "expected PRIORITY=value"},
        {{"A B=1"}, 0, "expected FIELD=value"},
        {{"/usr/bin/sshd"}, 0, "_EXE=/usr/bin/sshd"},
        {{"__CURSOR=x"}, 0, "it cannot be matched"},
        {{"A123456789012345678901234567890123456789012345678901234567890123456789=1"}, 0,
                "at most 64"},
};

static void test_matches(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(match_cases); i++) {
                const MatchCase *c = &match_cases[i];
                char *terms[TERMS_MAX + 1] = {0};
                Reason reason = {0};
                size_t at = 99;
                for (size_t k = 0; k < TERMS_MAX; k++)
                        terms[k] = (char *)(uintptr_t)c->terms[k];
                int r = match_check(terms, &at, &reason);
                if ((r < 0) != (c->at >= 0) || (r < 0 && at != (size_t)c->at))
                        fail_msg("%zu: %d at %zu (%s)", i, r, at, reason.text);
                if (r < 0 && !strstr(reason.text, c->message))
                        fail_msg("%zu: %s", i, reason.text);
        }
        size_t at;
        assert_int_equal(match_check(NULL, &at, NULL), 0);
}

// ---- priorities

static void test_priorities(void **state)
{
        static const struct {
                const char *text;
                int bits; // -1: refused
        } cases[] = {{"emerg", 0x01}, {"err", 0x0f}, {"3", 0x0f}, {"debug", 0xff}, {"7", 0xff},
                {"warning..emerg", 0x1f}, {"emerg..warning", 0x1f}, {"3..3", 0x08},
                {"4..err", 0x18}, {"", -1}, {"8", -1}, {"error", -1}, {"err..", -1}, {"..err", -1},
                {"err...3", -1}, {"ERR", -1}, {"3 ", -1}};
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                unsigned bits = 0;
                Reason reason = {0};
                int r = priority_parse(cases[i].text, &bits, &reason);
                if ((r < 0) != (cases[i].bits < 0) || (r >= 0 && bits != (unsigned)cases[i].bits))
                        fail_msg("%s: %d, %x (%s)", cases[i].text, r, bits, reason.text);
                assert_true(r >= 0 || reason.text[0]);
        }
        unsigned bits;
        Reason reason = {0};
        assert_true(priority_parse("error", &bits, &reason) < 0);
        assert_non_null(strstr(reason.text, "did you mean \"err\""));
}

// ---- units, as systemctl's own names of them

static void test_units(void **state)
{
        static const struct {
                const char *text, *name; // NULL: refused
        } cases[] = {{"ssh", "ssh.service"}, {"ssh.service", "ssh.service"},
                {"a.socket", "a.socket"}, {"getty@tty1", "getty@tty1.service"},
                {"/srv/data", "srv-data.mount"}, {"/", "-.mount"}, {"/dev/sda1", "dev-sda1.device"},
                {"/a b", "a\\x20b.mount"}, {"/.x//y/", "\\x2ex-y.mount"},
                {"a b", "a\\x20b.service"}, {"a/b", "a-b.service"}, {"app@*", "app@*"},
                {"?.s*", "?.s*"}, {"[ab].service", "[ab].service"}, {"", NULL}, {"@", NULL},
                {".service", NULL}};
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char name[UNIT_NAME_SIZE] = "";
                Reason reason = {0};
                int r = unit_mangle(cases[i].text, name, &reason);
                if ((r < 0) != !cases[i].name || (r >= 0 && strcmp(name, cases[i].name) != 0))
                        fail_msg("\"%s\": %d, %s (%s)", cases[i].text, r, name, reason.text);
        }
        char long_name[300];
        memset(long_name, 'x', sizeof long_name - 1);
        long_name[sizeof long_name - 1] = '\0';
        Reason reason = {0};
        assert_int_equal(unit_check(long_name, &reason), -EINVAL);
}

// ---- the rest of the options

static void test_words(void **state)
{
        Reason reason;
        assert_int_equal(field_pattern_check("A_B1", &reason), 0);
        assert_int_equal(field_pattern_check("COREDUMP_*", &reason), 0);
        assert_int_equal(field_pattern_check("*", &reason), 0);
        assert_true(field_pattern_check("", &reason) < 0 && field_pattern_check("a", &reason) < 0);
        assert_true(field_pattern_check("A*B", &reason) < 0);
        assert_true(field_pattern_matches("A*", SLICE_LIT("AB")));
        assert_true(field_pattern_matches("*", SLICE_LIT("X")));
        assert_false(field_pattern_matches("A", SLICE_LIT("AB")));
        assert_int_equal(boot_check("all", &reason), 0);
        assert_int_equal(boot_check("7c1d1c2f7c0b4b0c9a7a4d0f3d0a3b9e", &reason), 0);
        assert_int_equal(boot_check("7c1d1c2f-7c0b-4b0c-9a7a-4d0f3d0a3b9e", &reason), 0);
        assert_true(boot_check("7c1d1c2f-7c0b4-b0c-9a7a-4d0f3d0a3b9e", &reason) < 0);
        assert_true(boot_check("-1", &reason) < 0 && boot_check("", &reason) < 0);
        assert_int_equal(namespace_check("x.y-1", &reason), 0);
        assert_int_equal(namespace_check("+x", &reason), 0);
        assert_int_equal(namespace_check("*", &reason), 0);
        assert_true(namespace_check("", &reason) < 0 && namespace_check("a/b", &reason) < 0);
        assert_true(namespace_check("..", &reason) < 0 && namespace_check("+", &reason) < 0);
}

static void test_since(void **state)
{
        enum { SECOND = 1000000 };
        const uint64_t now = 1700000000ull * SECOND; // 2023-11-14T22:13:20Z
        static const struct {
                const char *text;
                uint64_t seconds; // 0: refused
        } cases[] = {{"-2h", 1700000000 - 7200}, {"-1d", 1700000000 - 86400},
                {"2023-11-14T22:13:20Z", 1700000000}, {"2023-11-14T23:13:20+01:00", 1700000000},
                {"2023-11-14 22:13", 1699999980}, {"2023-11-14", 1699920000}, {"today", 1699920000},
                {"yesterday", 1699833600}, {"", 0}, {"tomorrow", 0}, {"2023-02-31", 0}, {"-", 0},
                {"2h", 0}, {"-2 h", 0}, {"2023-11-14 22:13 CET", 0}, {"1969-12-31", 0}};
        setenv("TZ", "UTC", 1);
        tzset();
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                uint64_t usec = 0;
                Reason reason = {0};
                int r = since_parse(cases[i].text, now, &usec, &reason);
                if ((r < 0) != !cases[i].seconds || (r >= 0 && usec != cases[i].seconds * SECOND))
                        fail_msg("\"%s\": %d, %llu (%s)", cases[i].text, r,
                                (unsigned long long)usec, reason.text);
        }
        uint64_t usec;
        assert_true(since_parse("now", now, &usec, NULL) == 0 && usec == SINCE_NOW);
        assert_true(since_parse("beginning", now, &usec, NULL) == 0 && usec == 0);
}

// ---- positions

#define CURSOR_A "s=5b4f2f3d0c7e4a52a9f1b0d1c2e3f405;i=1f2e;b=7c1d;m=5d21;t=641a;x=a1b2"

static int position_round(void *arg)
{
        Progress p = {.at = {.realtime_usec = 5, .cursor = CURSOR_A, .before = true},
                .caught_up = true,
                .missing = {3, 4, 5},
                .told = {{1, 2}, {3, 4}},
                .n_told = 2};
        Progress back;
        Buf b = BUF_INIT(4096);
        progress_encode(&p, SLICE_LIT("/x"), &b);
        int r = b.error < 0 ? b.error : progress_decode(buf_slice(&b), SLICE_LIT("/x"), &back);
        if (r == 1 && (back.at.realtime_usec != 5 || strcmp(back.at.cursor, CURSOR_A) != 0 ||
                              !back.at.before || !back.caught_up || back.missing.n != 3 ||
                              back.n_told != 2 || file_id_compare(&back.told[1], &p.told[1]) != 0))
                r = -EBADMSG;
        if (r == 1 && progress_decode(buf_slice(&b), SLICE_LIT("/y"), &back) != 0)
                r = -EBADMSG;
        for (size_t n = 0; r == 1 && n < b.len; n++)
                if (progress_decode(slice_mem(b.data, n), SLICE_LIT("/x"), &back) != -EBADMSG)
                        r = -EBADMSG;
        buf_deinit(&b);
        return r;
}

static void test_position(void **state)
{
        assert_int_equal(position_round(NULL), 1);
        (void)torture(position_round, NULL);
}

static void test_cursors(void **state)
{
        const char *b = "s=5b4f2f3d0c7e4a52a9f1b0d1c2e3f405;i=1f31;b=7c1d;m=6000;t=641b;x=0";
        assert_int_equal(cursor_number(CURSOR_A, 'i'), 0x1f2e);
        assert_int_equal(cursor_number(CURSOR_A, 'q'), 0);
        assert_int_equal(cursor_between(CURSOR_A, b), 2);
        assert_int_equal(cursor_between(b, CURSOR_A), 0);
        assert_int_equal(cursor_between(CURSOR_A, "s=1;i=ffff"), 0);
        assert_int_equal(cursor_between("", b), 0);
        assert_true(cursor_same(CURSOR_A, b, "sb"));
        assert_false(cursor_same(CURSOR_A, b, "sbm"));
        assert_false(cursor_same("", "", "s"));
}

// ---- files

static void test_headers(void **state)
{
        uint8_t head[FILES_HEADER_SIZE] = "LPKSHHRH";
        head[88] = 208; // header size
        head[97] = 16;  // arena size 4096
        assert_null(files_header_fault(head, sizeof head, 208 + 4096));
        assert_non_null(files_header_fault(head, sizeof head, 208 + 4095));
        assert_non_null(files_header_fault(head, 100, 8192));
        assert_non_null(files_header_fault(head, 0, 0));
        head[12] = 0x80;
        assert_non_null(strstr(files_header_fault(head, sizeof head, 8192), "format"));
        head[12] = 0;
        head[95] = 0xff;
        assert_non_null(files_header_fault(head, sizeof head, 8192));
        head[0] = 'X';
        assert_non_null(files_header_fault(head, sizeof head, 8192));
}

static void test_sequences(void **state)
{
        Sequences s = {0};
        char cursor[64];
        sequences_saw(&s, "");
        sequences_saw(&s, "s=1;i=2");
        assert_int_equal(s.n, 0);
        for (unsigned round = 2; round > 0; round--)
                for (unsigned i = 0; i < SEQUENCES_MAX; i++) {
                        (void)snprintf(cursor, sizeof cursor, "s=%032x;i=%x", i, 16 * round + i);
                        sequences_saw(&s, cursor);
                }
        assert_int_equal(s.n, SEQUENCES_MAX);
        for (unsigned i = 0; i < SEQUENCES_MAX; i++)
                assert_int_equal(s.list[i].last, 32 + i);
        sequences_saw(&s, "s=ffffffffffffffffffffffffffffffff;i=9");
        assert_int_equal(s.n, SEQUENCES_MAX + 1);
        assert_int_equal(s.list[0].last, 9);
}

// ---- entries

typedef struct EntryCase {
        const char *fields[TERMS_MAX];
        const char *json;
} EntryCase;

static const EntryCase entry_cases[] = {
        {{NULL}, "{\"cursor\":\"c\",\"fields\":{}}"},
        {{"MESSAGE=a\"\n", "PRIORITY=3", "X=1"}, "{\"message\":\"a\\\"\\n\",\"priority\":3,"
                                                 "\"cursor\":\"c\",\"fields\":{\"X\":\"1\"}}"},
        {{"X=1", "Y=", "X=2", "X=3"},
                "{\"cursor\":\"c\",\"fields\":{\"X\":[\"1\",\"2\",\"3\"],\"Y\":\"\"}}"},
        {{"PRIORITY=x", "_PID=007", "_UID=99999999999999999999"},
                "{\"pid\":7,\"cursor\":\"c\",\"fields\":{}}"},
        {{"X=\xff\x01"}, "{\"cursor\":\"c\",\"fields\":{\"X\":\"/wE=\"},\"binary\":[\"X\"]}"},
        {{"X=12345678901", "MESSAGE=1234567890\xc3\xa4"},
                "{\"message\":\"1234567890…\",\"cursor\":\"c\",\"fields\":{\"X\":\"1234567890…\"},"
                "\"cut\":[\"X\",\"MESSAGE\"]}"},
        {{"=x", "noequals", "_PID=1", "UNIT=a.service", "_SYSTEMD_UNIT=init.scope"},
                "{\"unit\":\"a.service\",\"pid\":1,\"cursor\":\"c\",\"fields\":{\"UNIT\":\"a."
                "service\",\"_SYSTEMD_UNIT\":\"init.scope\"}}"},
        {{"_PID=2", "UNIT=a.service", "_SYSTEMD_UNIT=b.service"},
                "{\"unit\":\"b.service\",\"pid\":2,\"cursor\":\"c\",\"fields\":{\"UNIT\":\"a."
                "service\",\"_SYSTEMD_UNIT\":\"b.service\"}}"},
};

static int entry_round(void *arg)
{
        const EntryCase *c = arg;
        EntryRules rules = {.max_field = 10, .max_data = 4096};
        Entry *e = entry_new(&rules);
        Buf out = BUF_INIT(8192);
        if (!e)
                return -ENOMEM;
        entry_begin(e);
        for (size_t i = 0; i < TERMS_MAX && c->fields[i]; i++)
                entry_add(e, slice_of(c->fields[i]));
        int r = entry_data(e, SLICE_LIT("c"), &out);
        if (r >= 0 && !slice_eq_str(buf_slice(&out), c->json)) {
                print_error("%.*s\n", SLICE_ARG(buf_slice(&out)));
                r = -EBADMSG;
        }
        buf_deinit(&out);
        (void)entry_free(e);
        return r;
}

static void test_entries(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(entry_cases); i++) {
                EntryCase c = entry_cases[i];
                assert_int_equal(entry_round(&c), 0);
                (void)torture(entry_round, &c);
        }
}

// More fields and bytes than an event has room for: valid JSON, and the names of what is left out.
static void test_too_much(void **state)
{
        EntryRules rules = {.max_field = 65536, .max_data = 16384};
        Entry *e = entry_new(&rules);
        char field[4096 + 16];
        Buf out = BUF_INIT(1 << 20);
        size_t at;
        entry_begin(e);
        for (unsigned i = 0; i < 3000; i++) {
                int n = snprintf(field, sizeof field, "F%u=", i);
                memset(field + n, i % 2 ? 'x' : '\1', 4096);
                entry_add(e, slice_mem(field, (size_t)n + (i % 7 ? 3 : 4096)));
        }
        assert_int_equal(entry_data(e, SLICE_LIT("c"), &out), 0);
        assert_int_equal(json_check(buf_slice(&out), 64, &at), 0);
        assert_true(entry_was_cut(e) && out.len < 200000);
        buf_deinit(&out);
        (void)entry_free(e);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_matches),
                cmocka_unit_test(test_priorities),
                cmocka_unit_test(test_units),
                cmocka_unit_test(test_words),
                cmocka_unit_test(test_since),
                cmocka_unit_test(test_position),
                cmocka_unit_test(test_cursors),
                cmocka_unit_test(test_headers),
                cmocka_unit_test(test_sequences),
                cmocka_unit_test(test_entries),
                cmocka_unit_test(test_too_much),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
