// SPDX-License-Identifier: MIT
// Moves arrive in two halves with one cookie. The first is held until the second comes, or for a
// moment after the kernel's queue is empty: then it went where nobody watches. What is held stays in
// the tree, so that giving up (overflow) costs nothing but a comparison.
#include "parts.h"

#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>

enum { HOLD_USEC = 10000 };

struct Hold {
        uint32_t cookie;
        bool is_dir;
        uint8_t len;
        uint64_t dir, due;
        UT_hash_handle hh;
        char name[256];
};

static Slice hold_name(const Hold *h)
{
        return slice_mem(h->name, h->len);
}

static void hold_free(Watcher *w, Hold *h)
{
        HASH_DELETE(hh, w->holds, h);
        w->n_holds--;
        free(h);
}

// No second half: it is gone from here.
static void hold_give_up(Watcher *w, Hold *h)
{
        Dir *d = tree_dir(&w->tree, h->dir);
        char name[256];
        size_t len = h->len;
        bool is_dir = h->is_dir;
        memcpy(name, h->name, len);
        hold_free(w, h);
        if (!d)
                return;
        if (!is_dir)
                settle_event(w, d, slice_mem(name, len), IN_MOVED_FROM);
        else if (round_active(w) || !batch_ready(w))
                dir_mark_dirty(w, d);
        else
                dir_look(w, d, slice_mem(name, len));
}

void hold_from(Watcher *w, Dir *d, Slice name, uint32_t cookie, bool is_dir)
{
        const Entry *e = dir_find(d, name.data, name.len);
        if (is_dir ? !e || !entry_is_dir(e) : !e && !pending_find(&w->pendings, d->id, name))
                return; // of no interest: an ignored name
        if (w->n_holds >= HOLDS_MAX)
                (void)holds_expire(w, true);
        Hold *h = calloc(1, sizeof *h);
        if (!h) {
                memory_short = true;
                return;
        }
        *h = (Hold){.cookie = cookie,
                .is_dir = is_dir,
                .len = (uint8_t)name.len,
                .dir = d->id,
                .due = w->now + HOLD_USEC};
        memcpy(h->name, name.data, name.len);
        HASH_ADD(hh, w->holds, cookie, sizeof h->cookie, h);
        w->n_holds++;
}

static bool dir_pair(Watcher *w, Dir *from, Slice old, Dir *d, Slice name)
{
        FileStat s;
        int fd;
        Entry *e = from ? dir_find(from, old.data, old.len) : NULL;
        if (!e || !entry_is_dir(e))
                return false;
        Dir *moved = e->dir;
        if (moved->flags & DIR_REMOVING)
                return false; // given up already: what comes is new
        const Entry *there = dir_find(d, name.data, name.len);
        if (there && entry_is_dir(there)) { // exchanged, or over an empty one: compared by name
                dir_mark_dirty(w, from);
                dir_mark_dirty(w, d);
                return true;
        }
        int r = dir_fd(w, d, &fd);
        if (r == 0)
                r = file_stat(fd, name.data, w->options->follow_symlinks, &s);
        if (r < 0 || !file_id_equal(s.id, moved->identity)) {
                // It moved on already: the tree follows step by step, with what was known.
                s = (FileStat){.id = moved->identity,
                        .mtime_ns = e->mtime_ns,
                        .ctime_ns = e->ctime_ns,
                        .mode = e->mode,
                        .uid = e->uid,
                        .gid = e->gid,
                        .nlink = e->nlink};
                dir_mark_dirty(w, d);
        }
        if (!name_admitted(w, d, name, true) || dir_is_below(d, moved)) {
                dir_detach(w, moved);
                dir_remove_later(w, moved);
                return true;
        }
        dir_move(w, moved, d, name, &s);
        return true;
}

static void file_pair(Watcher *w, Dir *from, Slice old, Dir *d, Slice name)
{
        Entry *e = dir_find(from, old.data, old.len), *target = dir_find(d, name.data, name.len);
        bool admitted = name_admitted(w, d, name, false);
        if (e && entry_is_dir(e))
                return;
        if (!e || !admitted || target) {
                if (e)
                        report_deleted(w, from, e, true); // out of the filter, or over another file
                if (!admitted || target) {
                        Pending *p = pending_find(&w->pendings, from->id, old);
                        bool open = p && p->flags & PENDING_NEW && !(p->flags & PENDING_READY);
                        if (p)
                                pending_drop(&w->pendings, p);
                        if (admitted)
                                settle_event(w, d, name, open ? IN_MODIFY : IN_MOVED_TO);
                } else {
                        settle_move(w, from, old, d, name);
                }
                return;
        }
        int fd;
        FileStat s;
        bool here = dir_fd(w, d, &fd) == 0 &&
                    file_stat(fd, name.data, w->options->follow_symlinks, &s) == 0 &&
                    file_id_equal(s.id, e->id);
        if (!here)
                s = (FileStat){.id = e->id,
                        .size = e->size,
                        .mtime_ns = e->mtime_ns,
                        .ctime_ns = e->ctime_ns,
                        .mode = e->mode,
                        .uid = e->uid,
                        .gid = e->gid,
                        .nlink = e->nlink};
        bool changed = e->size != s.size || e->mtime_ns != s.mtime_ns;
        report_moved(w, from, e, d, name.data, name.len, &s, true);
        if (pending_find(&w->pendings, from->id, old))
                settle_move(w, from, old, d, name);
        else if (changed || !here)
                settle_event(w, d, name, IN_MOVED_TO);
        settle_event(w, from, old, IN_MOVED_FROM); // two names exchanged: the old one lives on
}

bool hold_to(Watcher *w, Dir *d, Slice name, uint32_t cookie, bool is_dir)
{
        Hold *h;
        char old[256];
        HASH_FIND(hh, w->holds, &cookie, sizeof cookie, h);
        if (!h || h->is_dir != is_dir)
                return false;
        Dir *from = tree_dir(&w->tree, h->dir);
        Slice old_name = {old, h->len};
        memcpy(old, h->name, h->len);
        old[h->len] = 0;
        hold_free(w, h);
        if (!from)
                return false;
        if (is_dir)
                return dir_pair(w, from, old_name, d, name);
        file_pair(w, from, old_name, d, name);
        return true;
}

void hold_conflict(Watcher *w, Dir *d, Slice name)
{
        Hold *h, *next;
        HASH_ITER (hh, w->holds, h, next)
                if (h->dir == d->id && slice_eq(hold_name(h), name))
                        hold_give_up(w, h);
}

uint64_t holds_due(const Watcher *w)
{
        return w->holds ? w->holds->due : UINT64_MAX; // uthash keeps the order of arrival
}

bool holds_expire(Watcher *w, bool all)
{
        Hold *h, *next;
        HASH_ITER (hh, w->holds, h, next) {
                if (!all && (h->due > w->now || !w->drained))
                        break;
                hold_give_up(w, h);
        }
        return w->n_holds > 0;
}

void holds_abandon(Watcher *w)
{
        Hold *h, *next;
        HASH_ITER (hh, w->holds, h, next) {
                Dir *d = tree_dir(&w->tree, h->dir);
                if (d)
                        dir_mark_dirty(w, d);
                hold_free(w, h);
        }
}
