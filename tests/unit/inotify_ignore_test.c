// SPDX-License-Identifier: MIT
// The gitignore matcher: cases by hand, then random patterns against `git check-ignore --no-index`.
#include "test.h"

#include "ignore.h"
#include "torture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef struct Case {
        const char *pattern, *path;
        bool is_dir, covered;
} Case;

static const Case cases[] = {
        {"*.pdf", "a.pdf", false, true},
        {"*.pdf", "x/y/a.pdf", false, true},
        {"*.pdf", "a.pdfx", false, false},
        {"/*.pdf", "x/a.pdf", false, false},
        {"/*.pdf", "a.pdf", false, true},
        {"docs/", "docs", false, false},
        {"docs/", "docs", true, true},
        {"docs/", "x/docs/a", false, true},
        {"a/b", "a/b", false, true},
        {"a/b", "x/a/b", false, false},
        {"**/a/b", "x/a/b", false, true},
        {"**/a/b", "a/b", false, true},
        {"a/**", "a", true, false},
        {"a/**", "a/b/c", false, true},
        {"a/**/b", "a/b", false, true},
        {"a/**/b", "a/x/y/b", false, true},
        {"a/*/b", "a/x/y/b", false, false},
        {"a**/b", "ab", false, true}, // git strips the literal start first
        {"[a-c]?", "b1", false, true},
        {"[!a-c]?", "b1", false, false},
        {"[]-]", "]", false, true},
        {"[[:digit:]]x", "7x", false, true},
        {"[", "[", false, false},
        {"a\\*", "a*", false, true},
        {"a\\*", "ab", false, false},
        {"trailing  ", "trailing", false, true},
        {"trailing\\ ", "trailing ", false, true},
        {"\\!x", "!x", false, true},
        {"\\#x", "#x", false, true},
        {"#x", "#x", false, false},
        {"", "a", false, false},
        {"*", "\xff\n", false, true},
};

static void test_cases(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char *lines[] = {(char *)(uintptr_t)cases[i].pattern, NULL};
                IgnoreList l;
                assert_int_equal(ignore_list_init(&l, lines, NULL), 0);
                if (ignore_covers(&l, slice_of(cases[i].path), cases[i].is_dir) != cases[i].covered)
                        fail_msg("\"%s\" and \"%s\"", cases[i].pattern, cases[i].path);
                ignore_list_deinit(&l);
        }
}

static void test_last_match_decides(void **state)
{
        char *lines[] = {
                (char[]){"*.log"}, (char[]){"!keep.log"}, (char[]){"d/"}, (char[]){"!d/x"}, NULL};
        IgnoreList l;
        assert_int_equal(ignore_list_init(&l, lines, NULL), 0);
        assert_true(ignore_covers(&l, SLICE_LIT("a.log"), false));
        assert_false(ignore_covers(&l, SLICE_LIT("keep.log"), false));
        assert_true(ignore_covers(&l, SLICE_LIT("d/x"), false)); // its parent is out
        assert_int_equal(
                ignore_match(&l, SLICE_LIT(""), SLICE_LIT("keep.log"), false), IGNORE_NEGATED);
        ignore_list_deinit(&l);
}

static void test_slow_patterns_are_not_slow(void **state)
{
        char pattern[2001], path[4001];
        for (size_t i = 0; i < 2000; i++)
                pattern[i] = i % 2 ? 'a' : '*';
        memset(path, 'a', 4000);
        pattern[2000] = path[4000] = 0;
        pattern[1999] = 'b';
        char *lines[] = {pattern, NULL};
        IgnoreList l;
        assert_int_equal(ignore_list_init(&l, lines, NULL), 0);
        assert_false(ignore_covers(&l, slice_of(path), false));
        ignore_list_deinit(&l);
        char *too_long = calloc(1, IGNORE_PATTERN_MAX + 2);
        memset(too_long, 'a', IGNORE_PATTERN_MAX + 1);
        lines[0] = too_long;
        Reason reason = {""};
        assert_int_equal(ignore_list_init(&l, lines, &reason), -EINVAL);
        assert_non_null(strstr(reason.text, "longer than"));
        ignore_list_deinit(&l);
        free(too_long);
}

static const char *const dirs[] = {"a", "a/b", "ab", "a/b/a", "c"};
static const char *const files[] = {"b", "aa", "a/a", "a/c", "a/b/c", "a/b/ab", "ab/a", "ab/[",
        "c/!a", "c/a b", "a/b/a/b", "c/]", "c/-", "ca", "c/bc", "a/b/ca"};

static unsigned seed = 20261123;

static void random_pattern(char *out, size_t size)
{
        static const char *const pieces[] = {"a", "b", "c", "*", "**", "/", "?", "[ab]", "[!a]",
                "[a-c]", "\\", "!", "**/", "/**", "[[:alpha:]]", "[", "]", " ", "-", "ab", "[^c]",
                "\\*", "[]a]", "[a-"};
        size_t n = 1 + (unsigned)rand_r(&seed) % 5, len = 0;
        for (size_t i = 0; i < n; i++) {
                const char *p = pieces[(unsigned)rand_r(&seed) % N_ELEMENTS(pieces)];
                len += (size_t)snprintf(out + len, size - len, "%s", p);
        }
}

static bool in_list(char *list, const char *path)
{
        size_t n = strlen(path);
        for (const char *p = list; (p = strstr(p, path)); p++)
                if ((p == list || p[-1] == '\n') && p[n] == '\n')
                        return true;
        return false;
}

static void compare_with_git(const char *dir, char *const *lines)
{
        char command[512], answer[4096] = "\n";
        _cleanup_(fclosep) FILE *ignore = NULL;
        (void)snprintf(command, sizeof command, "%s/.gitignore", dir);
        ignore = fopen(command, "w");
        assert_non_null(ignore);
        for (char *const *l = lines; *l; l++)
                (void)fprintf(ignore, "%s\n", *l);
        (void)fflush(ignore);
        (void)snprintf(command, sizeof command,
                "cd '%s' && git -c core.quotePath=false check-ignore --no-index --stdin <paths",
                dir);
        FILE *git = popen(command, "r");
        assert_non_null(git);
        size_t n = fread(answer, 1, sizeof answer - 1, git);
        answer[n] = 0;
        (void)pclose(git);
        IgnoreList l;
        assert_int_equal(ignore_list_init(&l, lines, NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(files) + N_ELEMENTS(dirs); i++) {
                bool is_dir = i >= N_ELEMENTS(files);
                const char *path = is_dir ? dirs[i - N_ELEMENTS(files)] : files[i];
                bool mine = ignore_covers(&l, slice_of(path), is_dir);
                if (mine != in_list(answer, path))
                        fail_msg("patterns \"%s\" \"%s\", path \"%s\": %s, git says otherwise",
                                lines[0], lines[1] ? lines[1] : "", path,
                                mine ? "covered" : "not covered");
        }
        ignore_list_deinit(&l);
}

static void test_against_git(void **state)
{
        char dir[] = "/tmp/belfry-ignore-XXXXXX", path[256], patterns[2][64];
        assert_non_null(mkdtemp(dir));
        (void)snprintf(path, sizeof path, "git init -q %s", dir);
        if (system(path) != 0)
                skip();
        for (size_t i = 0; i < N_ELEMENTS(dirs); i++) {
                (void)snprintf(path, sizeof path, "%s/%s", dir, dirs[i]);
                assert_int_equal(mkdir(path, 0700), 0);
        }
        (void)snprintf(path, sizeof path, "%s/paths", dir);
        FILE *paths = fopen(path, "w");
        for (size_t i = 0; i < N_ELEMENTS(files); i++) {
                (void)fprintf(paths, "%s\n", files[i]);
                (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
                (void)fclose(fopen(path, "w"));
        }
        for (size_t i = 0; i < N_ELEMENTS(dirs); i++)
                (void)fprintf(paths, "%s\n", dirs[i]);
        (void)fclose(paths);
        const char *rounds = getenv("BELFRY_IGNORE_ROUNDS");
        for (long i = rounds ? strtol(rounds, NULL, 10) : 300; i > 0; i--) {
                random_pattern(patterns[0], sizeof patterns[0]);
                random_pattern(patterns[1], sizeof patterns[1]);
                char *lines[] = {patterns[0], i % 3 ? patterns[1] : NULL, NULL};
                compare_with_git(dir, lines);
        }
        (void)snprintf(path, sizeof path, "rm -rf %s", dir);
        assert_int_equal(system(path), 0);
}

static int init_work(void *arg)
{
        char *lines[] = {(char[]){"a/**/[a-c]*"}, (char[]){"!b"}, NULL};
        IgnoreList l;
        int r = ignore_list_init(&l, lines, NULL);
        ignore_list_deinit(&l);
        return r;
}

static void test_memory(void **state)
{
        assert_true(torture(init_work, NULL) > 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),
                cmocka_unit_test(test_last_match_decides),
                cmocka_unit_test(test_slow_patterns_are_not_slow),
                cmocka_unit_test(test_against_git),
                cmocka_unit_test(test_memory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
