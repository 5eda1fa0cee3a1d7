// SPDX-License-Identifier: MIT
// Rotation by rename and by copytruncate, told apart by content. A copy holds what was read, or will
// be, from the file it was made of: it is never read for itself, but when that file was truncated
// before it was read to its end, the rest is read from the copy. Nothing is decided by a name alone;
// names only say what is worth a look.
#include "follow.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

enum { COMPARE_BYTES = 256 * 1024, COMPARE_STEP = 16 * 1024 };

bool name_is_compressed(const char *name)
{
        static const char *const suffixes[] = {".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip"};
        size_t n = strlen(name);
        for (size_t i = 0; i < N_ELEMENTS(suffixes); i++) {
                size_t m = strlen(suffixes[i]);
                if (n > m && strcmp(name + n - m, suffixes[i]) == 0)
                        return true;
        }
        return false;
}

// What may stand between: digits with separators, and the words people use.
static bool is_rotation_mark(const char *s, size_t n)
{
        static const char *const words[] = {".old", ".bak", ".prev"};
        for (size_t i = 0; i < N_ELEMENTS(words); i++)
                if (n == strlen(words[i]) && memcmp(s, words[i], n) == 0)
                        return true;
        return n >= 2 && strchr(".-_", s[0]) && s[1] >= '0' && s[1] <= '9' &&
               strspn(s + 1, "0123456789-_.:TZ") >= n - 1;
}

bool name_is_rotated(const char *sibling, const char *name)
{
        size_t n = strlen(name), m = strlen(sibling);
        if (m <= n || name_is_compressed(sibling))
                return false;
        if (memcmp(sibling, name, n) == 0)
                return is_rotation_mark(sibling + n, m - n);
        // logrotate's `extension .log`: the mark stands before it.
        const char *dot = strrchr(name, '.');
        size_t stem = dot ? (size_t)(dot - name) : 0;
        return stem > 0 && memcmp(sibling, name, stem) == 0 &&
               strcmp(sibling + m - (n - stem), dot) == 0 &&
               is_rotation_mark(sibling + stem, m - n);
}

const char *path_name(const char *path)
{
        const char *slash = strrchr(path, '/');
        return slash ? slash + 1 : path;
}

// Beside each other, and the name of the one is what rotation makes of the other's.
static bool path_is_rotated(const char *sibling, const char *path)
{
        size_t n = (size_t)(path_name(path) - path);
        return (size_t)(path_name(sibling) - sibling) == n && memcmp(sibling, path, n) == 0 &&
               name_is_rotated(sibling + n, path + n);
}

static bool is_truncated(const LogFile *f)
{
        struct stat s;
        return fstat(f->fd, &s) < 0 || (uint64_t)s.st_size < f->offset ||
               !head_matches(&f->head, f->fd);
}

// The first `size` bytes of both, or of much of them.
static bool same_bytes(int a, int b, uint64_t size)
{
        static uint8_t x[COMPARE_STEP], y[COMPARE_STEP];
        uint64_t end = size < COMPARE_BYTES ? size : COMPARE_BYTES;
        for (uint64_t at = 0; at < end;) {
                size_t n = end - at < COMPARE_STEP ? (size_t)(end - at) : COMPARE_STEP;
                if (pread(a, x, n, (off_t)at) != (ssize_t)n ||
                        pread(b, y, n, (off_t)at) != (ssize_t)n || memcmp(x, y, n) != 0)
                        return false;
                at += n;
        }
        size_t n = size < COMPARE_STEP ? (size_t)size : COMPARE_STEP;
        return pread(a, x, n, (off_t)(size - n)) == (ssize_t)n &&
               pread(b, y, n, (off_t)(size - n)) == (ssize_t)n && memcmp(x, y, n) == 0;
}

static CopyIs judge_against(const LogFile *f, int fd, const struct stat *s, bool young)
{
        struct stat now;
        uint64_t size = (uint64_t)s->st_size;
        if (is_truncated(f)) {
                if (size < f->offset)
                        return young && size < f->head.len ? COPY_UNDECIDED : COPY_NOT;
                return head_matches(&f->head, fd) ? COPY_OF_ONE : COPY_NOT;
        }
        if (size == 0)
                return young ? COPY_UNDECIDED : COPY_NOT;
        if (fstat(f->fd, &now) < 0 || size > (uint64_t)now.st_size)
                return COPY_NOT; // a copy is never ahead
        return same_bytes(f->fd, fd, size) ? COPY_OF_ONE : COPY_NOT;
}

CopyIs rotation_judge(Follow *w, int fd, const char *path)
{
        struct stat s;
        CopyIs is = COPY_NOT;
        if (fstat(fd, &s) < 0)
                return is;
        uint64_t mtime = (uint64_t)s.st_mtim.tv_sec * USEC_PER_SEC;
        bool young = clock_wall_usec() < mtime + YOUNG_USEC;
        for (const LogFile *f = w->files; f && is != COPY_OF_ONE; f = f->hh.next) {
                if (f->fd < 0 || f->gone || !path_is_rotated(path, f->path))
                        continue;
                CopyIs now = judge_against(f, fd, &s, young);
                is = now > is ? now : is;
        }
        return is;
}

// ---- a file that was truncated

// Known from now on, so that it is not read for itself.
static void copy_remember(Follow *w, FileId id, const char *path)
{
        LogFile *c = file_find(w, id);
        if (!c)
                c = file_add(w, id, path, -1);
        if (!c)
                return;
        c->flags |= FILE_COPY;
        c->row_owed = true;
}

// The sibling that holds what f held: opens it as f->rescue.
static bool try_copy(Follow *w, LogFile *f, const char *path)
{
        FileId id;
        struct stat s;
        if (!path_is_rotated(path, f->path))
                return false;
        _cleanup_(closep) int fd = file_open(path, &id);
        if (fd < 0 || file_id_equal(id, f->id) || fstat(fd, &s) < 0 ||
                (uint64_t)s.st_size < f->offset || !head_matches(&f->head, fd))
                return false;
        const LogFile *known = file_find(w, id);
        if (known && !(known->flags & FILE_COPY))
                return false;
        copy_remember(w, id, path);
        f->rescue = TAKE_FD(fd);
        return true;
}

static bool find_copy(Follow *w, LogFile *f)
{
        char path[PATH_MAX];
        unsigned n = 0;
        int len = (int)(path_name(f->path) - f->path);
        (void)snprintf(path, sizeof path, "%.*s", len, f->path);
        DIR *d = opendir(path);
        if (!d)
                return false;
        bool found = false;
        for (const struct dirent *e; !found && n < SIBLINGS_MAX && (e = readdir(d)); n++) {
                int m = snprintf(path, sizeof path, "%.*s%s", len, f->path, e->d_name);
                found = m > 0 && (size_t)m < sizeof path && try_copy(w, f, path);
        }
        (void)closedir(d);
        return found;
}

void file_truncated(Follow *w, LogFile *f)
{
        w->count.truncated++;
        f->changed = true;
        if (f->head.len > 0 && find_copy(w, f)) {
                f->loaded = false;
                return;
        }
        // Without a copy: what is known to have been there, or, after a time in which nobody looked,
        // what may have been.
        if (f->loaded || f->size > f->offset)
                f->gap = (Gap){.reason = "truncated",
                        .epoch = f->epoch,
                        .from = f->offset,
                        .to = f->loaded ? 0 : f->size};
        f->loaded = false;
        file_begin_again(w, f);
}

void rescue_end(Follow *w, LogFile *f)
{
        (void)close(f->rescue);
        f->rescue = -1;
        file_begin_again(w, f);
}
