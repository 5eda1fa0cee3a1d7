// SPDX-License-Identifier: MIT
// inotify: a watch on each file for what is written, one on each directory for names that come and
// go. It only says where to look; what is lost with a queue that ran over is found by looking
// everywhere.
#include "follow.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>

enum {
        DIR_MASK = IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF |
                   IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR,
        READ_MAX = 64 * 1024,
        DIRS_MAX = 4096,
};

int watch_init(Follow *w)
{
        w->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        return w->inotify_fd < 0 ? -errno : 0;
}

void watch_deinit(Follow *w)
{
        DirWatch *d, *next;
        HASH_ITER (hh, w->dirs, d, next) {
                HASH_DEL(w->dirs, d);
                free(d);
        }
        if (w->inotify_fd >= 0)
                (void)close(w->inotify_fd);
        w->inotify_fd = -1;
}

static int watch_add(Follow *w, const char *path, uint32_t mask)
{
        int wd = inotify_add_watch(w->inotify_fd, path, mask);
        if (wd < 0 && errno == ENOSPC)
                follow_trouble(w,
                        "the limit of inotify watches is reached, files are looked at every %u s "
                        "instead: sysctl fs.inotify.max_user_watches=524288",
                        (unsigned)(w->options->poll_usec / 1000000));
        return wd;
}

void watch_forget(Follow *w, LogFile *f)
{
        if (f->watch < 0)
                return;
        HASH_DELETE(hh_watch, w->by_watch, f);
        (void)inotify_rm_watch(w->inotify_fd, f->watch);
        f->watch = -1;
}

void watch_file(Follow *w, LogFile *f)
{
        FileStat s;
        LogFile *other;
        int wd = watch_add(w, f->path, IN_MODIFY);
        if (wd < 0 || wd == f->watch)
                return;
        // A watch goes by the name; the name may have gone to another file.
        HASH_FIND(hh_watch, w->by_watch, &wd, sizeof wd, other);
        if (other)
                return; // theirs; the discovery that is due sets this right
        if (file_stat(AT_FDCWD, f->path, true, &s) < 0 || !file_id_equal(s.id, f->id)) {
                (void)inotify_rm_watch(w->inotify_fd, wd);
                discover_soon(w);
                return;
        }
        watch_forget(w, f);
        f->watch = wd;
        HASH_ADD(hh_watch, w->by_watch, watch, sizeof f->watch, f);
        f->changed = true; // what was written before the watch
}

void watch_dir(Follow *w, const char *path)
{
        DirWatch *d;
        if (HASH_COUNT(w->dirs) >= DIRS_MAX) {
                follow_trouble(w, "more than %d directories to watch", DIRS_MAX);
                return;
        }
        int wd = watch_add(w, path, DIR_MASK);
        if (wd < 0)
                return;
        HASH_FIND(hh, w->dirs, &wd, sizeof wd, d);
        if (!d) {
                size_t n = strlen(path) + 1;
                d = calloc(1, sizeof *d + n);
                if (!d) {
                        follow_fail(w, "cannot go on", -ENOMEM);
                        return;
                }
                d->watch = wd;
                memcpy(d->path, path, n);
                HASH_ADD(hh, w->dirs, watch, sizeof d->watch, d);
                discover_soon(w); // what came before the watch
        }
        d->seen = true;
}

void watch_sweep(Follow *w)
{
        DirWatch *d, *next;
        HASH_ITER (hh, w->dirs, d, next) {
                if (d->seen)
                        continue;
                (void)inotify_rm_watch(w->inotify_fd, d->watch);
                HASH_DEL(w->dirs, d);
                free(d);
        }
}

static void look_everywhere(Follow *w)
{
        for (LogFile *f = w->files; f; f = f->hh.next)
                f->changed = true;
        discover_soon(w);
}

static void watch_ended(Follow *w, int wd)
{
        LogFile *f;
        DirWatch *d;
        HASH_FIND(hh_watch, w->by_watch, &wd, sizeof wd, f);
        HASH_FIND(hh, w->dirs, &wd, sizeof wd, d);
        if (f) {
                HASH_DELETE(hh_watch, w->by_watch, f);
                f->watch = -1;
        }
        if (d) {
                HASH_DEL(w->dirs, d);
                free(d);
        }
        discover_soon(w);
}

void watch_read(Follow *w)
{
        _Alignas(struct inotify_event) static char space[READ_MAX];
        ssize_t n;
        while ((n = read(w->inotify_fd, space, sizeof space)) > 0) {
                const struct inotify_event *e;
                for (char *p = space; p < space + n; p += sizeof *e + e->len) {
                        LogFile *f;
                        e = (const struct inotify_event *)(void *)p;
                        if (e->mask & IN_Q_OVERFLOW) {
                                look_everywhere(w);
                        } else if (e->mask & IN_IGNORED) {
                                watch_ended(w, e->wd);
                        } else if (e->mask & IN_MODIFY) {
                                HASH_FIND(hh_watch, w->by_watch, &e->wd, sizeof e->wd, f);
                                if (f)
                                        f->changed = true;
                        } else {
                                discover_soon(w);
                        }
                }
                if ((size_t)n < sizeof space / 2)
                        break;
        }
}
