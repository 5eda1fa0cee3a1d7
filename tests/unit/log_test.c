// SPDX-License-Identifier: MIT
// Log lines on standard error and reasons. The journal side needs a journal and is shown end to
// end; here only that a JOURNAL_STREAM of somebody else does not silence standard error.
#include "test.h"

#include "base/log.h"
#include "base/reason.h"
#include "base/text.h"
#include "torture.h"
#include <errno.h>
#include <fcntl.h>

static int errno_after; // the last captured call

// What one call writes to standard error.
static const char *captured(int level, const LogFields *fields, const char *text)
{
        static char out[16384];
        int pair[2];
        int saved = dup(STDERR_FILENO);
        assert_true(saved >= 0);
        assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
        assert_true(dup2(pair[1], STDERR_FILENO) >= 0);
        errno = EXDEV;
        log_write(level, fields, "%s", text);
        errno_after = errno;
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        ssize_t n = read(pair[0], out, sizeof(out) - 1);
        (void)close(saved);
        (void)close(pair[0]);
        (void)close(pair[1]);
        out[n > 0 ? n : 0] = 0;
        return out;
}

static void test_lines(void **state)
{
        assert_int_equal(setenv("JOURNAL_STREAM", "1:2", 1), 0);
        log_init("belfry-test", LOG_INFO);
        LogFields f = {.message_id = "0123456789abcdef0123456789abcdef", .instance = "uploads"};
        assert_string_equal(captured(LOG_ERR, NULL, "gone"), "<3>belfry-test: gone\n");
        assert_string_equal(captured(LOG_INFO, &f, "x"), "<6>belfry-test: x\n");
        assert_string_equal(captured(LOG_DEBUG, NULL, "x"), "");
        log_set_max_level(LOG_DEBUG);
        assert_string_equal(captured(LOG_DEBUG, NULL, "x"), "<7>belfry-test: x\n");
        assert_string_equal(
                captured(LOG_ERR, NULL, "a\nb\x1b[1m"), "<3>belfry-test: a\\x0ab\\x1b[1m\n");
}

static void test_long_lines_are_cut(void **state)
{
        char text[8000];
        memset(text, 1, sizeof(text)); // each byte becomes four
        text[sizeof(text) - 1] = 0;
        const char *line = captured(LOG_ERR, NULL, text);
        assert_true(strlen(line) > 8000 && strlen(line) < 9000);
        assert_int_equal(line[strlen(line) - 1], '\n');
}

static void test_errno_survives(void **state)
{
        (void)captured(LOG_ERR, NULL, "x");
        assert_int_equal(errno_after, EXDEV);
}

static void test_reason(void **state)
{
        Reason r = {0};
        assert_int_equal(reason_set(&r, -EINVAL, "bad %s", "thing"), -EINVAL);
        assert_string_equal(r.text, "bad thing");
        assert_int_equal(reason_prefix(&r, -EINVAL, "line %d", 3), -EINVAL);
        assert_string_equal(r.text, "line 3: bad thing");
        assert_int_equal(reason_errno(&r, -ENOENT, "%s", "/x"), -ENOENT);
        assert_string_equal(r.text, "/x: No such file or directory");
        assert_int_equal(reason_set(&r, -1, "again: %s", r.text), -1); // from itself
        assert_string_equal(r.text, "again: /x: No such file or directory");
        assert_int_equal(reason_set(NULL, -EINVAL, "x"), -EINVAL);
        assert_int_equal(reason_errno(NULL, -EINVAL, "x"), -EINVAL);
        assert_int_equal(reason_prefix(NULL, -EINVAL, "x"), -EINVAL);
}

static void test_reason_is_cut_between_characters(void **state)
{
        for (size_t before = 0; before < 8; before++) {
                char text[2 * REASON_MAX];
                memset(text, 'x', before);
                for (size_t i = before; i + 4 < sizeof(text); i += 4)
                        memcpy(text + i, "\xf0\x9f\x94\x94", 5);
                Reason r = {0};
                (void)reason_set(&r, -1, "%s", text);
                assert_true(text_utf8_valid(slice_of(r.text)));
                assert_true(strlen(r.text) >= REASON_MAX - 4);
                for (int i = 0; i < 3; i++)
                        (void)reason_prefix(&r, -1, "p");
                assert_true(text_utf8_valid(slice_of(r.text)));
        }
}

static int log_once(void *arg)
{
        assert_string_equal(captured(LOG_ERR, NULL, "no memory"), "<3>belfry-test: no memory\n");
        return 0;
}

static void test_logs_without_memory(void **state)
{
        assert_int_equal(torture(log_once, NULL), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lines),
                cmocka_unit_test(test_long_lines_are_cut),
                cmocka_unit_test(test_errno_survives),
                cmocka_unit_test(test_reason),
                cmocka_unit_test(test_reason_is_cut_between_characters),
                cmocka_unit_test(test_logs_without_memory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
