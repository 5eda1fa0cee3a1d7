// SPDX-License-Identifier: MIT
// From `paths` to files, now and each time names changed. A file that was never seen is read from its
// beginning, but for those that are there when stock is taken. A file whose name leads elsewhere was
// rotated and is read to its end; one that cannot be found any more has a gap.
#include "follow.h"

#include "base/clock.h"
#include "base/expand.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pwd.h>
#include <sys/stat.h>

enum {
        SOON_USEC = 20000,
        COST_FACTOR = 10,        // a discovery takes at most a tenth of the time
        CLOCK_STEP_USEC = 10000, // the clock of filesystems is coarse
};

void discover_soon(Follow *w)
{
        uint64_t due = w->now + SOON_USEC;
        if (due < w->discover_not_before)
                due = w->discover_not_before;
        if (due < w->discover_due)
                w->discover_due = due;
}

static bool is_excluded(const Follow *w, const char *path)
{
        const char *name = path_name(path);
        for (char **p = w->options->exclude; p && *p; p++)
                if (fnmatch(*p, strchr(*p, '/') ? path : name, FNM_PERIOD) == 0)
                        return true;
        return name_is_compressed(name);
}

static void tell_unreadable(Follow *w, const char *path, int error)
{
        struct passwd user = {0}, *found = NULL;
        char space[1024];
        if (error != -EACCES) {
                follow_trouble(w, "%s cannot be read: %s", path, strerror(-error));
                return;
        }
        (void)getpwuid_r(geteuid(), &user, space, sizeof space, &found);
        const char *name = found ? found->pw_name : "belfry";
        int dir = (int)(strrchr(path, '/') - path);
        follow_trouble(w,
                "%s cannot be read: setfacl -m u:%s:r '%s' (and for files to come: setfacl -d -m "
                "u:%s:r '%.*s')",
                path, name, path, name, dir ? dir : 1, path);
}

// Where the last line begins that is not over yet, so that it is reported whole.
static uint64_t end_of_lines(const Follow *w, int fd, uint64_t size)
{
        size_t n = size < w->options->max_line ? (size_t)size : (size_t)w->options->max_line;
        ssize_t got = pread(fd, w->bytes, n, (off_t)(size - n));
        const uint8_t *end = got > 0 ? memrchr(w->bytes, '\n', (size_t)got) : NULL;
        if (end)
                return size - n + (uint64_t)(end - w->bytes) + 1;
        return n == size ? 0 : size;
}

static void begin_at(Follow *w, LogFile *f, bool at_end)
{
        struct stat s;
        f->epoch = epoch_new(w);
        f->row_owed = f->changed = true;
        if (!at_end || fstat(f->fd, &s) < 0)
                return;
        f->size = (uint64_t)s.st_size;
        f->offset = end_of_lines(w, f->fd, f->size);
        uint32_t n = f->offset < HEAD_MAX ? (uint32_t)f->offset : HEAD_MAX;
        if (n > 0 && head_of(f->fd, n, &f->head) < 0)
                f->offset = 0; // it shrank in this moment
}

// A file that was never seen before: `rotated` when only its name says that it was one of ours.
static void consider_new(Follow *w, const char *path, bool rotated)
{
        FileId id;
        int fd = file_open(path, &id);
        if (fd < 0) {
                if (fd != -ENOENT)
                        tell_unreadable(w, path, fd);
                return;
        }
        bool known = file_find(w, id); // another name of it was first
        CopyIs copy = known ? COPY_NOT : rotation_judge(w, fd, path);
        if (known || copy == COPY_UNDECIDED) {
                (void)close(fd);
                if (!known)
                        discover_soon(w);
                return;
        }
        LogFile *f = file_add(w, id, path, fd);
        if (!f)
                return;
        f->seen = true;
        if (copy == COPY_OF_ONE) {
                file_close(w, f);
                f->flags |= FILE_COPY;
                f->row_owed = true;
                return;
        }
        f->flags |= rotated ? FILE_ROTATED : 0;
        begin_at(w, f, w->taking_stock && w->options->start == START_END);
        watch_file(w, f);
}

static void open_and_watch(Follow *w, LogFile *f, const char *path, bool moved)
{
        int r = file_reopen(w, f, path);
        if (r < 0 && r != -ENOENT && r != -ESTALE)
                tell_unreadable(w, path, r);
        if (r >= 0 && (f->watch < 0 || moved))
                watch_file(w, f);
}

static void consider_known(Follow *w, LogFile *f, const char *path)
{
        if (f->seen) // under two names: the first one counts
                return;
        f->seen = true;
        f->gone = false;
        bool moved = strcmp(f->path, path) != 0;
        file_set_path(w, f, path);
        if (f->flags & FILE_COPY)
                return;
        if (f->flags) {
                f->flags = 0;
                f->row_owed = true;
        }
        open_and_watch(w, f, path, moved);
}

// ---- unknown files wait until all known ones are open, and come in an order in which a file is before
// what rotation made of it: that is how copies are told.

static void later_add(Follow *w, const char *path)
{
        char *copy = strdup(path);
        if (copy && w->n_later == w->cap_later) {
                size_t cap = w->cap_later ? 2 * w->cap_later : 64;
                char **grown = realloc(w->later, cap * sizeof *grown);
                if (grown) {
                        w->later = grown;
                        w->cap_later = cap;
                }
        }
        if (copy && w->n_later < w->cap_later) {
                w->later[w->n_later++] = copy;
                return;
        }
        free(copy);
        follow_fail(w, "cannot go on", -ENOMEM);
}

static int by_length(const void *a, const void *b)
{
        const char *x = *(char *const *)a, *y = *(char *const *)b;
        size_t n = strlen(x), m = strlen(y);
        return n != m ? (n > m) - (n < m) : strcmp(x, y);
}

static void later_work(Follow *w)
{
        if (w->n_later > 0)
                qsort(w->later, w->n_later, sizeof *w->later, by_length);
        for (size_t i = 0; i < w->n_later; i++) {
                consider_new(w, w->later[i], false);
                free(w->later[i]);
        }
        w->n_later = 0;
}

static void consider(Follow *w, const char *path)
{
        FileStat s;
        if (is_excluded(w, path))
                return;
        int r = file_stat(AT_FDCWD, path, true, &s);
        if (r < 0) {
                if (r != -ENOENT)
                        tell_unreadable(w, path, r);
                return;
        }
        if (!S_ISREG(s.mode))
                return;
        LogFile *f = file_find(w, s.id);
        if (f)
                consider_known(w, f, path);
        else
                later_add(w, path);
}

static void on_found(void *userdata, const ExpandFound *found)
{
        Follow *w = userdata;
        const char *dir = found->dir[0] ? found->dir : "/";
        switch (found->what) {
        case EXPAND_FILE:
                watch_dir(w, dir);
                consider(w, found->path);
                break;
        case EXPAND_DIR:
                if (found->literal)
                        follow_trouble(w, "%s is a directory: name the files in it, as %s/*.log",
                                found->path[0] ? found->path : "/", found->path);
                break;
        case EXPAND_GUARD:
                if (access(found->path[0] ? found->path : "/", R_OK | X_OK) < 0)
                        tell_unreadable(w, found->path, -errno);
                watch_dir(w, found->path[0] ? found->path : "/");
                break;
        case EXPAND_MISSING:
                watch_dir(w, dir);
                break;
        }
}

// ---- beside the names: what was renamed, and what came and was renamed between two looks

static LogFile *by_path(Follow *w, const char *path, size_t n)
{
        LogFile *f;
        HASH_FIND(hh_path, w->by_path, path, n, f);
        return f;
}

// Is this what rotation makes of the name of a file that is followed? Each place where a mark could
// begin is tried.
static bool is_rotated_one(Follow *w, const char *path)
{
        char original[PATH_MAX];
        const char *name = path_name(path), *dot = strrchr(name, '.');
        for (const char *p = name + 1; *p; p++) {
                size_t n = (size_t)(p - path);
                if (!strchr(".-_", *p))
                        continue;
                const LogFile *f = by_path(w, path, n);
                if (!f && dot && dot > p) {
                        int m = snprintf(original, sizeof original, "%.*s%s", (int)n, path, dot);
                        f = by_path(w, original, (size_t)m);
                }
                if (f && name_is_rotated(name, path_name(f->path)))
                        return true;
        }
        return false;
}

static bool is_new(const Follow *w, const char *path)
{
        struct statx x;
        if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BTIME | STATX_MTIME, &x) < 0)
                return false;
        const struct statx_timestamp *t = x.stx_mask & STATX_BTIME ? &x.stx_btime : &x.stx_mtime;
        uint64_t usec = (uint64_t)t->tv_sec * USEC_PER_SEC + t->tv_nsec / 1000;
        return usec + CLOCK_STEP_USEC > w->stock_usec;
}

static void rotated_found(Follow *w, LogFile *f, const char *path, uint64_t size)
{
        bool moved = strcmp(f->path, path) != 0;
        f->seen = true;
        if (!moved && !f->flags) { // the options no longer cover it
                f->gone = true;
                return;
        }
        file_set_path(w, f, path);
        if (f->flags & FILE_COPY || (f->flags & FILE_DONE && size == f->offset))
                return;
        if (f->flags != FILE_ROTATED) {
                f->flags = FILE_ROTATED;
                f->row_owed = true;
                f->grown = w->now;
        }
        f->changed = true;
        open_and_watch(w, f, path, moved);
}

static void sibling_look(Follow *w, const char *path)
{
        FileStat s;
        if (file_stat(AT_FDCWD, path, false, &s) < 0 || !S_ISREG(s.mode))
                return;
        LogFile *f = file_find(w, s.id);
        if (f && !f->seen)
                rotated_found(w, f, path, s.size);
        else if (!f && is_rotated_one(w, path) && is_new(w, path))
                consider_new(w, path, true);
}

static void siblings_look(Follow *w, const char *dir)
{
        char path[PATH_MAX];
        unsigned n = 0;
        DIR *d = opendir(dir);
        if (!d)
                return;
        for (const struct dirent *e; n < SIBLINGS_MAX && (e = readdir(d));) {
                if (e->d_type != DT_REG && e->d_type != DT_UNKNOWN)
                        continue;
                n++;
                int m = snprintf(
                        path, sizeof path, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, e->d_name);
                if (m > 0 && (size_t)m < sizeof path && !by_path(w, path, (size_t)m))
                        sibling_look(w, path);
        }
        (void)closedir(d);
}

static void rotations_look(Follow *w)
{
        for (LogFile *f = w->files; f; f = f->hh.next)
                if (f->seen && !(f->flags & FILE_COPY))
                        HASH_ADD_KEYPTR(hh_path, w->by_path, f->path, strlen(f->path), f);
        for (const DirWatch *d = w->dirs; d; d = d->hh.next)
                if (d->seen)
                        siblings_look(w, d->path);
        HASH_CLEAR(hh_path, w->by_path);
}

// It is not where it could be found. While it is open it is read to its end.
static void look_after(Follow *w, LogFile *f)
{
        FileStat s;
        int r = file_stat(AT_FDCWD, f->path, true, &s);
        if (r < 0 && r != -ENOENT && r != -ENOTDIR) { // it is out of sight, not gone
                tell_unreadable(w, f->path, r);
                return;
        }
        if (r == 0 && file_id_equal(s.id, f->id)) {
                if (!f->flags) // the options no longer cover it
                        f->gone = true;
                return;
        }
        if (f->fd < 0) {
                if (!(f->flags & (FILE_COPY | FILE_DONE)))
                        f->gap = (Gap){.reason = "file-gone", .epoch = f->epoch, .from = f->offset};
                f->gone = true;
                return;
        }
        if (f->flags != FILE_ROTATED) {
                f->flags = FILE_ROTATED;
                f->row_owed = true;
                f->grown = w->now;
        }
        f->changed = true;
}

void discover(Follow *w)
{
        uint64_t began = clock_mono_usec();
        w->discover_due = UINT64_MAX;
        w->trouble[0] = 0;
        if (w->taking_stock)
                w->stock_usec = clock_wall_usec();
        for (LogFile *f = w->files; f; f = f->hh.next)
                f->seen = false;
        for (DirWatch *d = w->dirs; d; d = d->hh.next)
                d->seen = false;
        for (char **p = w->options->paths; p && *p; p++)
                expand_path(*p, on_found, w);
        later_work(w);
        rotations_look(w);
        for (LogFile *f = w->files; f; f = f->hh.next)
                if (!f->seen && !f->gone)
                        look_after(w, f);
        watch_sweep(w);
        w->position_owed |= w->taking_stock;
        w->taking_stock = false;
        uint64_t ended = clock_mono_usec();
        w->discover_not_before = ended + COST_FACTOR * (ended - began);
}
