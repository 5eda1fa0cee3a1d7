// SPDX-License-Identifier: MIT
// The table of files by identity, and the first bytes that tell one content from another under the
// same identity. Each file followed has its descriptor open, so that what is renamed or deleted is
// read to its end. Does not decide what is followed.
#include "follow.h"

#include "base/clock.h"
#include "base/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

LogFile *file_find(Follow *w, FileId id)
{
        LogFile *f;
        HASH_FIND(hh, w->files, &id, sizeof id, f);
        return f;
}

LogFile *file_add(Follow *w, FileId id, const char *path, int fd)
{
        _cleanup_(closep) int own = fd;
        if (HASH_COUNT(w->files) >= FILES_MAX || (fd >= 0 && w->n_open >= OPEN_MAX)) {
                follow_trouble(w, "more than %d files: %s and others are not followed",
                        fd >= 0 ? OPEN_MAX : FILES_MAX, path);
                return NULL;
        }
        LogFile *f = calloc(1, sizeof *f);
        char *copy = strdup(path);
        if (!f || !copy) {
                free(f);
                free(copy);
                follow_fail(w, "cannot go on", -ENOMEM);
                return NULL;
        }
        w->n_open += own >= 0;
        *f = (LogFile){.id = id,
                .path = copy,
                .fd = TAKE_FD(own),
                .watch = -1,
                .rescue = -1,
                .grown = w->now};
        HASH_ADD(hh, w->files, id, sizeof f->id, f);
        return f;
}

void file_close(Follow *w, LogFile *f)
{
        watch_forget(w, f);
        if (f->fd >= 0) {
                (void)close(TAKE_FD(f->fd));
                w->n_open--;
        }
        if (f->rescue >= 0)
                (void)close(TAKE_FD(f->rescue));
}

int file_reopen(Follow *w, LogFile *f, const char *path)
{
        FileId id;
        if (f->fd >= 0)
                return 0;
        _cleanup_(closep) int fd = file_open(path, &id);
        if (fd < 0 || !file_id_equal(id, f->id))
                return fd < 0 ? fd : -ESTALE;
        if (w->n_open >= OPEN_MAX)
                return -EMFILE;
        w->n_open++;
        f->fd = TAKE_FD(fd);
        f->changed = true;
        f->grown = w->now;
        return 0;
}

void file_free(Follow *w, LogFile *f)
{
        file_close(w, f);
        HASH_DEL(w->files, f);
        free(f->path);
        free(f);
}

void file_set_path(Follow *w, LogFile *f, const char *path)
{
        if (strcmp(f->path, path) == 0)
                return;
        char *copy = strdup(path);
        if (!copy) {
                follow_fail(w, "cannot go on", -ENOMEM);
                return;
        }
        free(f->path);
        f->path = copy;
        f->row_owed = true;
}

int file_open(const char *path, FileId *ret_id)
{
        struct stat s;
        // NONBLOCK: a FIFO without a writer must not hold us up.
        _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &s) < 0)
                return -errno;
        if (!S_ISREG(s.st_mode))
                return -EINVAL;
        int r = file_identity(fd, ret_id);
        return r < 0 ? r : TAKE_FD(fd);
}

uint64_t epoch_new(Follow *w)
{
        uint64_t now = clock_wall_usec();
        w->last_epoch = now > w->last_epoch ? now : w->last_epoch + 1;
        return w->last_epoch;
}

void file_begin_again(Follow *w, LogFile *f)
{
        f->epoch = epoch_new(w);
        f->offset = 0;
        f->head = (Head){0};
        f->skip = SKIP_NONE;
        f->size = 0;
        f->grown = w->now;
        f->row_owed = f->changed = true;
}

static int head_hash(const uint8_t *bytes, uint32_t len, Head *ret)
{
        uint8_t digest[SHA256_SIZE];
        int r = digest_sha256(slice_mem(bytes, len), digest);
        if (r < 0)
                return r;
        ret->len = len;
        memcpy(ret->hash, digest, HEAD_HASH);
        return 0;
}

int head_of(int fd, uint32_t len, Head *ret)
{
        uint8_t bytes[HEAD_MAX];
        ssize_t n = pread(fd, bytes, len, 0);
        if (n < 0)
                return -errno;
        return (size_t)n < len ? -ENODATA : head_hash(bytes, len, ret);
}

static bool head_equal(const Head *a, const Head *b)
{
        return a->len == b->len && memcmp(a->hash, b->hash, HEAD_HASH) == 0;
}

bool head_matches(const Head *h, int fd)
{
        Head now;
        return h->len == 0 || (head_of(fd, h->len, &now) == 0 && head_equal(h, &now));
}

int head_extend(Head *h, int fd, uint64_t offset, Slice bytes)
{
        uint8_t now[HEAD_MAX];
        uint64_t end = offset + bytes.len;
        uint32_t len = end < HEAD_MAX ? (uint32_t)end : HEAD_MAX;
        Head before = {0};
        if (len <= h->len)
                return 0;
        if (pread(fd, now, len, 0) != (ssize_t)len ||
                (offset < len && memcmp(now + offset, bytes.data, len - offset) != 0))
                return 0;
        int r = h->len > 0 ? head_hash(now, h->len, &before) : 0;
        if (r < 0 || (h->len > 0 && !head_equal(h, &before)))
                return r;
        return head_hash(now, len, h);
}
