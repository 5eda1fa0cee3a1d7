// SPDX-License-Identifier: MIT
// What ends up on a cage list, on a real tree in a directory of its own.

#include "test.h"

#include "hub/spawn.h"
#include "module/cage.h"
#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const Option tls_rows[] = {
        {.name = "path", .type = OPTION_PATH, .flags = OPTION_CAGE_READ},
};
static const Option rows[] = {
        {.name = "paths", .type = OPTION_PATH_LIST, .flags = OPTION_CAGE_READ},
        {.name = "secret", .type = OPTION_SECRET},
        {.name = "secrets", .type = OPTION_SECRET_LIST},
        {.name = "url", .type = OPTION_URL, .flags = OPTION_REFERENCE},
        {.name = "headers", .type = OPTION_STRING_MAP, .flags = OPTION_REFERENCE},
        {.name = "plain", .type = OPTION_STRING},
        {.name = "tls", .type = OPTION_GROUP, .rows = tls_rows, .n_rows = 1},
        {.name = "lists", .type = OPTION_GROUP_LIST, .rows = tls_rows, .n_rows = 1},
        {.name = "words", .type = OPTION_STRING, .flags = OPTION_CAGE_FILES},
        {.name = "files", .type = OPTION_PATH_LIST, .flags = OPTION_CAGE_FILES},
};
static const ModuleDescription source = {
        .kind = MODULE_SOURCE, .options = rows, .n_options = N_ELEMENTS(rows)};
static const ModuleDescription sink = {
        .kind = MODULE_SINK, .network = true, .options = rows, .n_options = N_ELEMENTS(rows)};

static char top[] = "/tmp/belfry-paths-XXXXXX";

static const char *in(const char *rest)
{
        static char buffers[8][PATH_MAX];
        static unsigned next;
        char *b = buffers[next++ % 8];

        (void)snprintf(b, PATH_MAX, "%s%s", top, rest);
        return b;
}

static bool has(const CagePaths *p, char mode, const char *path)
{
        char entry[PATH_MAX + 2];

        (void)snprintf(entry, sizeof entry, "%c %s", mode, path);
        for (size_t i = 0; i < p->n; i++)
                if (strcmp(p->list[i], entry) == 0)
                        return true;
        return false;
}

static CagePaths paths_of(const ModuleDescription *d, json_t *options)
{
        CagePaths p = {0};
        Reason reason = {""};

        assert_int_equal(cage_paths_from_options(&p, d, options, "/run/credentials/x", &reason), 0);
        json_decref(options);
        return p;
}

static void test_roots(void **state)
{
        static const struct {
                const char *root, *entry;
        } table[] = {
                {"/a", "/a"},      // a directory
                {"/a/file", "/a"}, // a file: its directory too
                {"/a/file", "/a/file"},
                {"/a/none", "/a"},       // not there: its parent
                {"/none/none/none", ""}, // ... the nearest
                {"/a/*/in", "/a"},       // a pattern: its fixed part
                {"/a/b*", "/a"},
                {"/a/b/[xy]/z", "/a/b"},
                {"/none*/x", ""},
        };

        for (size_t i = 0; i < N_ELEMENTS(table); i++) {
                CagePaths p = paths_of(&source, json_pack("{s:[s]}", "paths", in(table[i].root)));
                if (!has(&p, 'r', in(table[i].entry)))
                        fail_msg("%s: no entry %s", table[i].root, table[i].entry);
                assert_int_equal(p.n_roots, 1);
                assert_false(has(&p, 'r', "/"));
                cage_paths_clear(&p);
        }
        CagePaths p = paths_of(&source, json_pack("{s:{s:s}}", "tls", "path", in("/a/b")));
        assert_true(has(&p, 'r', in("/a/b")));
        cage_paths_clear(&p);
        p = paths_of(&source, json_pack("{s:[{s:s}]}", "lists", "path", in("/a/b")));
        assert_true(has(&p, 'r', in("/a/b")));
        cage_paths_clear(&p);
}

static void test_words(void **state)
{
        CagePaths p = paths_of(
                &source, json_pack("{s:s}", "words",
                                 "host=db sslrootcert=/x/ca.pem sslkey = '/x/a b.key' port=5"));
        assert_true(has(&p, 'r', "/x/ca.pem"));
        assert_true(has(&p, 'r', "/x/a b.key"));
        assert_false(has(&p, 'r', "/x"));
        assert_int_equal(p.n_roots, 0);
        assert_false(has(&p, 'r', "/etc/resolv.conf")); // this source does not connect out
        cage_paths_clear(&p);
        p = paths_of(
                &source, json_pack("{s:s}", "words", "postgresql://h/db?sslcert=/x/c&sslkey=/x/k"));
        assert_true(has(&p, 'r', "/x/c") && has(&p, 'r', "/x/k"));
        cage_paths_clear(&p);
        p = paths_of(&source, json_pack("{s:[s]}", "files", "/x/f"));
        assert_true(has(&p, 'r', "/x/f") && !has(&p, 'r', "/x"));
        cage_paths_clear(&p);
}

static void test_secrets(void **state)
{
        CagePaths p = paths_of(
                &sink, json_pack("{s:s, s:[s, s], s:s, s:{s:s, s:s}, s:s}", "secret",
                               "credential:one", "secrets", "file:/etc/two", "credential:three",
                               "url", "credential:url", "headers", "X-Key", "file:/etc/key",
                               "X-Plain", "/etc/shadow", "plain", "file:/etc/plain"));

        assert_true(has(&p, 'r', "/run/credentials/x/one"));
        assert_true(has(&p, 'r', "/etc/two"));
        assert_true(has(&p, 'r', "/run/credentials/x/three"));
        assert_true(has(&p, 'r', "/run/credentials/x/url"));
        assert_true(has(&p, 'r', "/etc/key"));
        assert_true(has(&p, 'r', "/etc/resolv.conf"));
        assert_true(has(&p, 'r', "/etc/ssl"));
        assert_false(has(&p, 'r', "/etc/shadow"));
        assert_false(has(&p, 'r', "/etc/plain"));
        assert_false(has(&p, 'r', "/run/credentials/x"));
        assert_int_equal(p.n_roots, 0);
        // A CA file, there or not, opens nothing beside it.
        static const char *const files[] = {"/a/file", "/a/none"};
        for (size_t i = 0; i < N_ELEMENTS(files); i++) {
                CagePaths q = paths_of(&sink, json_pack("{s:{s:s}}", "tls", "path", in(files[i])));
                assert_true(has(&q, 'r', in(files[i])));
                assert_false(has(&q, 'r', in("/a")));
                cage_paths_clear(&q);
        }
        // A second endpoint adds to the same list, nothing twice.
        size_t n = p.n;
        Reason reason = {""};
        json_t *again = json_pack("{s:s}", "secret", "credential:one");
        assert_int_equal(
                cage_paths_from_options(&p, &sink, again, "/run/credentials/x", &reason), 0);
        json_decref(again);
        assert_int_equal(p.n, n);
        cage_paths_clear(&p);

        p = paths_of(&source, json_object());
        assert_true(has(&p, 'r', "/etc/passwd"));
        assert_false(has(&p, 'r', "/etc/resolv.conf"));
        cage_paths_clear(&p);
}

static void test_state_directory(void **state)
{
        static const struct {
                const char *root;
                int result;
        } table[] = {
                {"/a/state", -EINVAL},
                {"/a/state/", -EINVAL},
                {"/a", -EINVAL},
                {"/a/", -EINVAL},
                {"/link", -EINVAL},             // to /a
                {"/link/state/store", -EINVAL}, // inside
                {"/a/state/store", -EINVAL},
                {"/a/*", -EINVAL},
                {"/*/state", -EINVAL},
                {"/?", -EINVAL},
                {"/a/b", 0},
                {"/a/b*", 0},
                {"/a/stat", 0},
                {"/a/state-of-things", 0},
                {"/*/b", 0},
                {"/c", 0},
        };
        Reason reason;

        for (size_t i = 0; i < N_ELEMENTS(table); i++) {
                CagePaths p = paths_of(&source, json_pack("{s:[s]}", "paths", in(table[i].root)));
                reason.text[0] = '\0';
                int r = spawn_roots_check(&p, in("/a/state"), &reason);
                if (r != table[i].result)
                        fail_msg("%s: %d (%s)", table[i].root, r, reason.text);
                assert_int_equal(reason.text[0] != '\0', r < 0);
                // Whatever the root, no file of the state directory can be read.
                for (size_t k = 0; r == 0 && k < p.n; k++)
                        if (p.list[k][0] == 'r' && strncmp(p.list[k] + 2, in("/a"), 99) == 0)
                                fail_msg("%s: state readable by %s", table[i].root, p.list[k]);
                cage_paths_clear(&p);
        }
        CagePaths whole = paths_of(&source, json_pack("{s:[s]}", "paths", "/"));
        assert_int_equal(spawn_roots_check(&whole, in("/a/state"), &reason), -EINVAL);
        cage_paths_clear(&whole);

        // A narrowed pattern still sees what it matches now.
        CagePaths p = paths_of(&source, json_pack("{s:[s]}", "paths", in("/a/b*")));
        assert_int_equal(spawn_roots_check(&p, in("/a/state"), &reason), 0);
        assert_true(has(&p, 'd', in("/a")) && has(&p, 'r', in("/a/b")));
        cage_paths_clear(&p);
}

static void test_cover(void **state)
{
        CagePaths small = paths_of(&source, json_pack("{s:[s]}", "paths", in("/a/b")));
        CagePaths large = paths_of(&source, json_pack("{s:[s]}", "paths", in("/a")));
        CagePaths listed = paths_of(&source, json_pack("{s:[s]}", "paths", in("/a/stat")));
        Reason reason = {""};

        assert_true(cage_paths_cover(&large, &small));
        assert_false(cage_paths_cover(&small, &large));
        assert_int_equal(spawn_roots_check(&listed, in("/a/state"), &reason), 0);
        assert_true(cage_paths_cover(&large, &listed));
        assert_false(cage_paths_cover(&listed, &large)); // listing is not reading
        cage_paths_clear(&small);
        cage_paths_clear(&large);
        cage_paths_clear(&listed);
}

// A new file under the name, as editors and rotators make it.
static void replace(const char *path)
{
        int fd = open(in("/a/new"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        (void)close(fd);
        assert_int_equal(rename(in("/a/new"), path), 0);
}

static void test_stamp(void **state)
{
        CagePaths file = paths_of(&source, json_pack("{s:[s]}", "paths", in("/a/file")));
        CagePaths ca = paths_of(&sink, json_pack("{s:{s:s}}", "tls", "path", in("/a/file")));
        CagePaths none = paths_of(&sink, json_pack("{s:{s:s}}", "tls", "path", in("/c/none")));
        CagePaths out = paths_of(&source, json_pack("{s:[s]}", "paths", in("/c/out")));

        uint64_t before_file = cage_paths_stamp(&file), before_ca = cage_paths_stamp(&ca),
                 before_none = cage_paths_stamp(&none), before_out = cage_paths_stamp(&out);
        assert_true(before_ca == cage_paths_stamp(&ca));
        replace(in("/a/file"));
        assert_true(before_file == cage_paths_stamp(&file)); // its directory is listed too
        assert_true(before_ca != cage_paths_stamp(&ca));
        assert_true(before_out != cage_paths_stamp(&out)); // a symlink out of its directory
        replace(in("/c/none"));
        assert_true(before_none != cage_paths_stamp(&none));
        assert_int_equal(unlink(in("/c/none")), 0);
        cage_paths_clear(&file);
        cage_paths_clear(&ca);
        cage_paths_clear(&none);
        cage_paths_clear(&out);
}

static void test_refused(void **state)
{
        CagePaths p = {0};
        Reason reason = {""};
        json_t *options = json_pack("{s:[s]}", "paths", "relative/path");

        assert_int_equal(cage_paths_from_options(&p, &source, options, NULL, &reason), -EINVAL);
        assert_non_null(strstr(reason.text, "relative/path"));
        json_decref(options);
        cage_paths_clear(&p);

        options = json_pack("{s:o}", "paths", json_array());
        for (int i = 0; i < 1100; i++) {
                char path[64];
                (void)snprintf(path, sizeof path, "file:/none/%d", i);
                (void)json_array_append_new(json_object_get(options, "paths"), json_string(path));
        }
        assert_int_equal(cage_paths_from_options(&p, &source, options, NULL, &reason), -E2BIG);
        json_decref(options);
        cage_paths_clear(&p);
}

static int work(void *arg)
{
        CagePaths p = {0};
        Reason reason = {""};
        int fd = -1;

        int r = cage_paths_from_options(&p, &source, arg, NULL, &reason);
        if (r >= 0)
                r = spawn_roots_check(&p, in("/a/state"), &reason);
        if (r >= 0)
                r = cage_list_new(p.list, &fd);
        if (fd >= 0)
                (void)close(fd);
        cage_paths_clear(&p);
        return r;
}

static void test_no_memory(void **state)
{
        json_t *options = json_pack("{s:[s, s]}", "paths", in("/a/b"), in("/a/b*"));

        assert_true(torture(work, options) > 10);
        json_decref(options);
}

static int setup(void **state)
{
        int fd;

        return !mkdtemp(top) || mkdir(in("/a"), 0700) < 0 || mkdir(in("/a/b"), 0700) < 0 ||
               mkdir(in("/a/state"), 0700) < 0 || mkdir(in("/c"), 0700) < 0 ||
               symlink("a", in("/link")) < 0 || symlink("../a/file", in("/c/out")) < 0 ||
               (fd = open(in("/a/file"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) < 0 ||
               close(fd) < 0;
}

static int teardown(void **state)
{
        (void)unlink(in("/a/file"));
        (void)unlink(in("/link"));
        (void)unlink(in("/c/out"));
        (void)rmdir(in("/a/b"));
        (void)rmdir(in("/a/state"));
        (void)rmdir(in("/a"));
        (void)rmdir(in("/c"));
        return rmdir(top);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_roots),
                cmocka_unit_test(test_secrets),
                cmocka_unit_test(test_words),
                cmocka_unit_test(test_state_directory),
                cmocka_unit_test(test_cover),
                cmocka_unit_test(test_stamp),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_no_memory),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
