// SPDX-License-Identifier: MIT
// Whole files and whole writes, on the real file system.
#include "test.h"

#include "base/file.h"
#include "torture.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[64];

static const char *at(const char *name)
{
        static char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
        return path;
}

static void make(const char *name, const char *text, mode_t mode)
{
        int fd = open(at(name), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
        assert_int_equal(fchmod(fd, mode), 0);
        assert_int_equal(close(fd), 0);
}

static int setup(void **state)
{
        (void)snprintf(dir, sizeof(dir), "/tmp/belfry-file-test.XXXXXX");
        return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
        return remove(path);
}

static int teardown(void **state)
{
        return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_read(void **state)
{
        make("hello", "hello", 0600);
        make("empty", "", 0600);
        assert_int_equal(mkfifo(at("fifo"), 0600), 0);
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(8);
        assert_int_equal(file_read(AT_FDCWD, at("hello"), &b), 0);
        assert_slice(buf_slice(&b), "hello");
        assert_int_equal(file_read(AT_FDCWD, at("empty"), &b), 0);
        assert_slice(buf_slice(&b), "hello");
        assert_int_equal(file_read(AT_FDCWD, at("hello"), &b), -EFBIG); // 10 of 8: nothing is added
        assert_slice(buf_slice(&b), "hello");
        assert_int_equal(b.error, 0);
        assert_int_equal(file_read(AT_FDCWD, at("none"), &b), -ENOENT);
        assert_int_equal(file_read(AT_FDCWD, dir, &b), -EISDIR);
        assert_int_equal(file_read(AT_FDCWD, at("fifo"), &b), -EINVAL); // and does not wait
        assert_int_equal(file_read(AT_FDCWD, "/dev/null", &b), -EINVAL);
        _cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        buf_reset(&b);
        assert_int_equal(file_read(fd, "hello", &b), 0);
        assert_slice(buf_slice(&b), "hello");
}

static void test_read_exactly_the_maximum(void **state)
{
        make("five", "12345", 0600);
        for (size_t max = 0; max < 8; max++) {
                _cleanup_(buf_deinitp) Buf b = BUF_INIT(max);
                assert_int_equal(file_read(AT_FDCWD, at("five"), &b), max < 5 ? -EFBIG : 0);
                assert_int_equal(b.len, max < 5 ? 0 : 5);
        }
}

static void test_files_without_a_size(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 20);
        assert_int_equal(file_read(AT_FDCWD, "/proc/self/status", &b), 0); // st_size is 0
        assert_true(b.len > 100);
}

static void test_private(void **state)
{
        static const struct {
                mode_t mode;
                int r;
        } cases[] = {{0600, 0}, {0400, 0}, {0700, 0}, {0640, -EPERM}, {0620, -EPERM},
                {0604, -EPERM}, {0602, -EPERM}, {0610, 0}};
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(buf_deinitp) Buf b = BUF_INIT(100);
                make("secret", "x", cases[i].mode);
                assert_int_equal(file_read_private(at("secret"), &b), cases[i].r);
                assert_int_equal(b.len, cases[i].r == 0 ? 1 : 0);
        }
}

static void test_write_all(void **state)
{
        int pair[2];
        assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
        _cleanup_(freep) char *data = malloc(1 << 20);
        memset(data, 'x', 1 << 20);
        pid_t pid = fork();
        if (pid == 0) { // writes more than the pipe holds, so short writes happen
                (void)close(pair[0]);
                _exit(file_write_all(pair[1], data, 1 << 20) == 0 ? 0 : 1);
        }
        assert_int_equal(close(pair[1]), 0);
        size_t total = 0;
        for (;;) {
                char some[7777];
                ssize_t n = read(pair[0], some, sizeof(some));
                assert_true(n >= 0);
                if (n == 0)
                        break;
                total += (size_t)n;
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(total, 1 << 20);
        assert_int_equal(close(pair[0]), 0);
        assert_int_equal(file_write_all(-1, "x", 1), -EBADF);
        assert_int_equal(file_write_all(-1, "", 0), 0);
}

static void test_mkdir(void **state)
{
        struct stat st;
        assert_int_equal(file_mkdir_private(at("a/b/c"), 0700), 0);
        assert_int_equal(stat(at("a/b/c"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_int_equal(file_mkdir_private(at("a/b/c"), 0700), 0);
        assert_int_equal(file_mkdir_private(at("a/b/d/"), 0750), 0);
        make("plain", "", 0600);
        assert_int_equal(file_mkdir_private(at("plain"), 0700), -ENOTDIR);
        assert_int_equal(file_mkdir_private(at("plain/x"), 0700), -ENOTDIR);
        assert_int_equal(file_sync_dir(at("a/b")), 0);
        assert_int_equal(file_sync_dir(at("none")), -ENOENT);
        assert_int_equal(file_sync_dir(at("plain")), -ENOTDIR);
}

static int read_and_make(void *arg)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 20);
        int r = file_read(AT_FDCWD, "/proc/self/status", &b);
        assert_int_equal(b.error, 0);
        if (r < 0)
                return r;
        return file_mkdir_private(arg, 0700);
}

static void test_torture(void **state)
{
        char path[160];
        for (int i = 0; i < 2; i++) { // new parents the first time
                (void)snprintf(path, sizeof(path), "%s/t/u/v", dir);
                assert_true(torture(read_and_make, path) >= 1);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_read),
                cmocka_unit_test(test_read_exactly_the_maximum),
                cmocka_unit_test(test_files_without_a_size),
                cmocka_unit_test(test_private),
                cmocka_unit_test(test_write_all),
                cmocka_unit_test(test_mkdir),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
