// SPDX-License-Identifier: MIT
// The kernel's side: one inotify descriptor, its watches, and reading it. A watch descriptor is
// dropped from the table only on IN_IGNORED; unknown ones are ignored. Events are sorted here into
// what happens at once (directories, moves) and what waits (settle.c); while nothing may be sent,
// or a comparison runs, files wait there and directories are marked for comparison.
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
        DIR_MASK = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE |
                   IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR |
                   IN_EXCL_UNLINK,
        GUARD_MASK = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |
                     IN_MOVE_SELF | IN_ONLYDIR | IN_MASK_ADD,
        SHARED_MAX = 16,    // nodes of one directory (links, paths that overlap)
        SHORT_READ = 65536, // bytes
        SHORT_TURNS = 8,    // in a row, each within NAP_WINDOW of the last: then nap before reading
        NAP_WINDOW_USEC = 2000,
};

int watch_init(Watcher *w, Reason *reason)
{
        w->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (w->inotify_fd < 0)
                return reason_errno(reason, -errno,
                        errno == EMFILE
                                ? "no inotify instance (raise fs.inotify.max_user_instances)"
                                : "cannot use inotify");
        w->read_buffer = malloc(READ_BYTES);
        return w->read_buffer ? 0 : -ENOMEM;
}

void watch_deinit(Watcher *w)
{
        Watch *x, *next;
        HASH_ITER (hh, w->watches, x, next) {
                HASH_DELETE(hh, w->watches, x);
                free(x);
        }
        if (w->inotify_fd >= 0)
                close(w->inotify_fd);
        free(w->read_buffer);
}

static Watch *watch_find(const Watcher *w, int wd)
{
        Watch *x;
        HASH_FIND_INT(w->watches, &wd, x);
        return x;
}

static Watch *watch_get(Watcher *w, int wd)
{
        Watch *x = watch_find(w, wd);
        if (x)
                return x;
        x = calloc(1, sizeof *x);
        if (!x) {
                memory_short = true;
                return NULL;
        }
        x->wd = wd;
        HASH_ADD_INT(w->watches, wd, x);
        return x;
}

static void watch_unlink(Watch *x, Dir *d)
{
        for (Dir **at = &x->dirs; *at; at = &(*at)->next_same_watch)
                if (*at == d) {
                        *at = d->next_same_watch;
                        break;
                }
        d->next_same_watch = NULL;
        d->wd = -1;
}

void watch_drop(Watcher *w, Dir *d)
{
        if (d->flags & DIR_UNWATCHED) {
                d->flags &= ~(uint32_t)DIR_UNWATCHED;
                w->n_unwatched--;
        }
        Watch *x = d->wd >= 0 ? watch_find(w, d->wd) : NULL;
        if (!x)
                return;
        watch_unlink(x, d);
        if (!x->dirs && !x->guard)
                (void)inotify_rm_watch(w->inotify_fd, x->wd); // EINVAL: it went by itself
}

int watch_dir(Watcher *w, Dir *d, int fd)
{
        char path[32];
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int wd = inotify_add_watch(w->inotify_fd, path, DIR_MASK);
        if (wd < 0 && errno == ENOENT) { // no /proc
                buf_reset(&w->path);
                dir_path(d, &w->path);
                wd = inotify_add_watch(
                        w->inotify_fd, buf_text(&w->path), DIR_MASK | IN_DONT_FOLLOW);
        }
        if (wd < 0) {
                int r = -errno;
                if (r == -ENOSPC)
                        w->watch_limit = true;
                if (!(d->flags & DIR_UNWATCHED)) {
                        d->flags |= DIR_UNWATCHED;
                        w->n_unwatched++;
                }
                return r;
        }
        if (d->flags & DIR_UNWATCHED) {
                d->flags &= ~(uint32_t)DIR_UNWATCHED;
                w->n_unwatched--;
        }
        if (d->wd == wd)
                return 0;
        watch_drop(w, d);
        Watch *x = watch_get(w, wd);
        if (!x)
                return -ENOMEM;
        d->wd = wd;
        d->next_same_watch = x->dirs;
        x->dirs = d;
        return 0;
}

int watch_guard(Watcher *w, const char *path)
{
        int wd = inotify_add_watch(w->inotify_fd, path, GUARD_MASK);
        if (wd < 0)
                return -errno;
        Watch *x = watch_get(w, wd);
        if (!x)
                return -ENOMEM;
        x->guard = w->refreshes;
        return 0;
}

void watch_drop_guards(Watcher *w, unsigned older_than)
{
        Watch *x, *next;
        HASH_ITER (hh, w->watches, x, next)
                if (x->guard && x->guard < older_than) {
                        x->guard = 0;
                        if (!x->dirs)
                                (void)inotify_rm_watch(w->inotify_fd, x->wd);
                }
}

static void self_event(Watcher *w, Dir *d, uint32_t mask)
{
        if (d->parent)
                return;
        if (mask & IN_DELETE_SELF)
                d->root->deleted = true;
        if (mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
                roots_refresh_soon(w);
}

static void dir_event(Watcher *w, Dir *d, Slice name, const struct inotify_event *e)
{
        if (round_active(w) || !batch_ready(w)) {
                dir_mark_dirty(w, d);
                return;
        }
        if (e->mask & IN_MOVED_FROM)
                hold_from(w, d, name, e->cookie, true);
        else if (!(e->mask & IN_MOVED_TO) || !hold_to(w, d, name, e->cookie, true))
                dir_look(w, d, name);
}

static void file_event(Watcher *w, Dir *d, Slice name, const struct inotify_event *e)
{
        bool moved = e->mask & (IN_MOVED_FROM | IN_MOVED_TO);
        if (moved && (round_active(w) || !batch_ready(w))) {
                dir_mark_dirty(w, d);
                return;
        }
        if (e->mask & IN_MOVED_FROM)
                hold_from(w, d, name, e->cookie, false);
        else if (e->mask & IN_MOVED_TO && hold_to(w, d, name, e->cookie, false))
                return;
        else if (name_admitted(w, d, name, false))
                settle_event(w, d, name, e->mask);
}

static void one_event(Watcher *w, Dir *d, const struct inotify_event *e)
{
        Slice name = {e->name, e->len ? strnlen(e->name, e->len) : 0};
        if (name.len == 0) {
                self_event(w, d, e->mask);
                return;
        }
        if (d->root->state != ROOT_ARMED || d->flags & (DIR_REMOVING | DIR_LEAF))
                return;
        if (d->root->names) {
                if (!root_admits(d->root, name))
                        return;
                if (e->mask & IN_ISDIR) { // a directory where a file was expected
                        roots_refresh_soon(w);
                        return;
                }
        }
        if (w->n_holds > 0 && !(e->mask & IN_MOVED_FROM))
                hold_conflict(w, d, name);
        if (e->mask & IN_ISDIR)
                dir_event(w, d, name, e);
        else
                file_event(w, d, name, e);
}

static void watch_ignored(Watcher *w, Watch *x)
{
        if (x->guard)
                roots_refresh_soon(w);
        while (x->dirs) {
                Dir *d = x->dirs;
                watch_unlink(x, d);
                if (!d->parent)
                        roots_refresh_soon(w);
                else if (!(d->flags & DIR_REMOVING))
                        dir_mark_dirty(w, d->parent); // gone by itself, or unmounted
        }
        HASH_DELETE(hh, w->watches, x);
        free(x);
}

static void dispatch(Watcher *w, const struct inotify_event *e)
{
        uint64_t ids[SHARED_MAX];
        unsigned n = 0;
        w->stats.kernel_events++;
        if (e->mask & IN_Q_OVERFLOW) {
                w->stats.overflows++;
                holds_abandon(w);
                dir_mark_all_dirty(w);
                return;
        }
        Watch *x = watch_find(w, e->wd);
        if (!x)
                return;
        if (e->mask & IN_IGNORED) {
                watch_ignored(w, x);
                return;
        }
        if (x->guard && e->mask & (IN_CREATE | IN_DELETE | IN_MOVE | IN_DELETE_SELF | IN_MOVE_SELF |
                                          IN_UNMOUNT))
                roots_refresh_soon(w);
        for (Dir *d = x->dirs; d && n < SHARED_MAX; d = d->next_same_watch)
                ids[n++] = d->id;
        for (unsigned i = 0; i < n; i++) { // handling one may remove another
                Dir *d = tree_dir(&w->tree, ids[i]);
                if (d && d->wd == e->wd)
                        one_event(w, d, e);
        }
}

void watch_read(Watcher *w)
{
        uint64_t start = clock_mono_usec();
        size_t total = 0;
        w->now = start;
        w->drained = false;
        for (;;) {
                ssize_t n = read(w->inotify_fd, w->read_buffer, READ_BYTES);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        w->drained = true;
                        break;
                }
                total += (size_t)n;
                for (uint8_t *p = w->read_buffer, *end = p + n; p < end;) {
                        const struct inotify_event *e = (const void *)p;
                        dispatch(w, e);
                        p += sizeof *e + e->len;
                }
                w->now = clock_mono_usec();
                if (w->now - start > TURN_USEC)
                        break;
        }
        if (total == 0)
                return;
        bool hurried = total < SHORT_READ && start - w->last_turn_usec < NAP_WINDOW_USEC;
        w->short_turns = hurried ? w->short_turns + 1 : 0;
        w->last_turn_usec = w->now;
        // Many small reads in a row: let events gather for a millisecond, each costs a third then.
        w->napping = w->short_turns >= SHORT_TURNS;
}
