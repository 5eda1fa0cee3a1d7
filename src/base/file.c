// SPDX-License-Identifier: MIT
// Whole small files. A path is opened without waiting (a FIFO in a file's place must not hang us)
// and looked at through the descriptor, so that what was checked is what is read.
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { READ_STEP = 4096 };

static int open_regular(int dir_fd, const char *path, struct stat *ret_stat)
{
        int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        int r = fstat(fd, ret_stat) < 0 ? -errno : 0;
        if (r == 0 && S_ISDIR(ret_stat->st_mode))
                r = -EISDIR;
        else if (r == 0 && !S_ISREG(ret_stat->st_mode))
                r = -EINVAL;
        if (r < 0) {
                (void)close(fd);
                return r;
        }
        return fd;
}

static ssize_t read_some(int fd, void *data, size_t n)
{
        for (;;) {
                ssize_t got = read(fd, data, n);
                if (got >= 0)
                        return got;
                if (errno != EINTR)
                        return -errno;
        }
}

// Reads to the end of file; a file that is as long as the buffer may be is told from one that is
// longer by reading one byte more.
static int read_to_end(int fd, const struct stat *st, Buf *out)
{
        if (out->error < 0)
                return out->error;
        size_t step = (size_t)st->st_size + 1; // the size is a hint: /proc says 0, others grow
        for (;;) {
                size_t room = out->max - out->len;
                if (room == 0) {
                        char one;
                        ssize_t more = read_some(fd, &one, 1);
                        return more < 0 ? (int)more : more > 0 ? -EFBIG : 0;
                }
                size_t want = step < room ? step : room;
                uint8_t *at = buf_grow(out, want);
                if (!at)
                        return out->error;
                ssize_t got = read_some(fd, at, want);
                out->len -= want - (got > 0 ? (size_t)got : 0);
                if (got <= 0)
                        return (int)got;
                step = READ_STEP;
        }
}

static int read_fd(int fd, const struct stat *st, Buf *out)
{
        size_t start = out->len;
        int before = out->error;
        int r = read_to_end(fd, st, out);
        (void)close(fd);
        if (r < 0) { // outputs are not touched on failure
                out->len = start;
                out->error = before;
        }
        return r;
}

int file_read(int dir_fd, const char *path, Buf *out)
{
        struct stat st;
        int fd = open_regular(dir_fd, path, &st);
        return fd < 0 ? fd : read_fd(fd, &st, out);
}

int file_read_private(const char *path, Buf *out)
{
        struct stat st;
        int fd = open_regular(AT_FDCWD, path, &st);
        if (fd < 0)
                return fd;
        if (st.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) {
                (void)close(fd);
                return -EPERM;
        }
        return read_fd(fd, &st, out);
}

int file_write_all(int fd, const void *data, size_t n)
{
        const uint8_t *at = data;
        while (n > 0) {
                ssize_t put = write(fd, at, n);
                if (put < 0 && errno == EINTR)
                        continue;
                if (put < 0)
                        return -errno;
                if (put == 0)
                        return -EIO;
                at += put;
                n -= (size_t)put;
        }
        return 0;
}

static int make_dir(const char *path, mode_t mode)
{
        if (mkdir(path, mode) == 0)
                return 0;
        if (errno != EEXIST)
                return -errno;
        struct stat st;
        if (stat(path, &st) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int file_mkdir_private(const char *path, mode_t mode)
{
        int r = make_dir(path, mode);
        if (r != -ENOENT)
                return r;
        _cleanup_(freep) char *copy = strdup(path);
        if (!copy)
                return -ENOMEM;
        // Parents are made as mkdir -p does; only the directory itself is private.
        for (char *at = copy + 1; *at; at++) {
                if (*at != '/')
                        continue;
                *at = 0;
                r = make_dir(copy, 0755);
                *at = '/';
                if (r < 0)
                        return r;
        }
        return make_dir(path, mode);
}

int file_sync_dir(const char *path)
{
        _cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return fsync(fd) < 0 ? -errno : 0;
}
