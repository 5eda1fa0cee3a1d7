// SPDX-License-Identifier: MIT
// Directories: found, moved, gone. A directory seen under a new name is the one we know if its
// identity is known and its old place is empty; then its node changes parent and everything below
// comes along. Removal of a tree tells each file and goes in pieces, oldest first, because a node's
// parents must outlive it.
#include "parts.h"

#include <stdlib.h>
#include <sys/stat.h>

bool dir_list_push(DirList *l, uint64_t id)
{
        if (l->n == l->cap) {
                size_t cap = l->cap ? l->cap * 2 : 64;
                uint64_t *ids = reallocarray(l->ids, cap, sizeof *ids);
                if (!ids) {
                        memory_short = true;
                        return false;
                }
                l->ids = ids;
                l->cap = cap;
        }
        l->ids[l->n++] = id;
        return true;
}

void dir_mark_all_dirty(Watcher *w)
{
        w->all_dirty = true;
}

void dir_mark_dirty(Watcher *w, Dir *d)
{
        if (w->all_dirty || d->flags & DIR_DIRTY)
                return;
        if (w->dirty.n >= DIRTY_MAX || !dir_list_push(&w->dirty, d->id))
                w->all_dirty = true;
        else
                d->flags |= DIR_DIRTY;
}

// Calls nothing: collects d and all below, parents before children.
static bool dirs_below(Dir *d, DirList *ret, const Tree *t)
{
        if (!dir_list_push(ret, d->id))
                return false;
        for (size_t at = 0; at < ret->n; at++) {
                const Dir *x = tree_dir(t, ret->ids[at]);
                for (uint32_t i = 0; i < x->entries.cap; i++) {
                        const Entry *e = x->entries.slots[i];
                        if (e && entry_is_dir(e) && e->dir && !dir_list_push(ret, e->dir->id))
                                return false;
                }
        }
        return true;
}

void dir_mark_below_dirty(Watcher *w, Dir *d)
{
        DirList all = {0};
        if (!dirs_below(d, &all, &w->tree) || all.n > DIRTY_MAX / 4)
                w->all_dirty = true;
        for (size_t i = 0; i < all.n && !w->all_dirty; i++)
                dir_mark_dirty(w, tree_dir(&w->tree, all.ids[i]));
        free(all.ids);
}

static void set_flags(Watcher *w, Dir *d)
{
        uint32_t flags = d->flags & ~(uint32_t)(DIR_INCLUDED | DIR_LEAF);
        const InotifyOptions *o = w->options;
        int64_t depth = o->recursive ? o->max_depth : 1;
        if (depth > 0 && d->depth >= (uint64_t)depth)
                flags |= DIR_LEAF;
        if (o->one_filesystem && d->dev && d->root->dev && d->dev != d->root->dev)
                flags |= DIR_LEAF;
        if (o->follow_symlinks)
                for (const Dir *a = d->parent; a; a = a->parent)
                        if (file_id_equal(a->identity, d->identity))
                                flags |= DIR_LEAF; // a link back to where we are
        Slice parent = SLICE_LIT(""), name = {d->self->name, d->self->name_len};
        if (w->include.by_path && d->parent->parent) {
                buf_reset(&w->scratch);
                dir_relative_path(d->parent, &w->scratch);
                parent = buf_slice(&w->scratch);
        }
        if (d->parent->flags & DIR_INCLUDED ||
                (w->include.n > 0 &&
                        ignore_match(&w->include, parent, name, true) == IGNORE_MATCHED))
                flags |= DIR_INCLUDED;
        d->flags = flags;
}

void dirs_set_flags(Watcher *w, Dir *top)
{
        DirList all = {0};
        if (!dirs_below(top, &all, &w->tree))
                memory_short = true;
        for (size_t i = 0; i < all.n; i++) {
                Dir *d = tree_dir(&w->tree, all.ids[i]);
                if (d->parent)
                        set_flags(w, d);
        }
        free(all.ids);
}

static void visit_new(Watcher *w, Dir *d)
{
        if (d->flags & DIR_LEAF)
                return;
        if (round_active(w))
                round_visit(w, d);
        else
                scan_queue(w, d);
}

Dir *dir_add(Watcher *w, Dir *parent, Slice name, const FileStat *s, bool quiet)
{
        Entry *e = entry_new(name.data, name.len, s);
        if (!e || dir_insert(&w->tree, parent, e) < 0) {
                free(e);
                memory_short = true;
                return NULL;
        }
        Dir *d = tree_dir_new(&w->tree, 0, parent, e, parent->root, s->id);
        if (!d) {
                dir_remove(&w->tree, parent, e);
                free(e);
                memory_short = true;
                return NULL;
        }
        e->seen = true;
        d->dev = s->dev;
        set_flags(w, d);
        if (!quiet && dir_reportable(w, d))
                report_dir(w, "dir.created", d, s, NULL);
        row_put_dir(w, d);
        visit_new(w, d);
        return d;
}

void dir_detach(Watcher *w, Dir *d)
{
        if (d->flags & DIR_DETACHED)
                return;
        dir_remove(&w->tree, d->parent, d->self);
        d->flags |= DIR_DETACHED;
}

void dir_remove_later(Watcher *w, Dir *d)
{
        if (d->flags & DIR_REMOVING)
                return;
        DirList all = {0};
        (void)dirs_below(d, &all, &w->tree);
        for (size_t i = 0; i < all.n; i++)
                tree_dir(&w->tree, all.ids[i])->flags |= DIR_REMOVING;
        free(all.ids);
        (void)dir_list_push(&w->removals, d->id);
        watcher_wake(w);
}

static void dir_gone(Watcher *w, Dir *d)
{
        dir_detach(w, d);
        if (round_active(w))
                round_orphan(w, d);
        else
                dir_remove_later(w, d);
}

// The tree has `high` above `low`, and on disk it now stands at or below `low`: what moved in between
// is not known yet. All of them are compared, the highest first.
static void dir_untangle(Watcher *w, Dir *low, Dir *high)
{
        for (Dir *d = low; d; d = d->parent) {
                dir_mark_dirty(w, d);
                if (d == high->parent)
                        return;
        }
}

// The object of d stands elsewhere. Where yet another took d's place the node stays for that one, which
// the comparison of its parent finds; else its path is gone.
static void dir_give_up(Watcher *w, Dir *d)
{
        int fd;
        FileStat s;
        if (dir_fd(w, d->parent, &fd) < 0 ||
                file_stat(fd, d->self->name, w->options->follow_symlinks, &s) < 0 ||
                !S_ISDIR(s.mode)) {
                dir_gone(w, d);
                return;
        }
        watch_drop(w, d);
        dir_identify(w, d, (FileId){0});
        dir_mark_dirty(w, d->parent);
}

// Another directory stands under a name we know. No path went and none came, so this is no move,
// wherever either was before: the node stays, and what it holds is compared name by name.
static void dir_replaced(Watcher *w, Dir *d, const FileStat *s)
{
        // One object, one node: two would share its children, and the one that stays may lack some.
        Dir *other = tree_dir_by_identity(&w->tree, s->id);
        if (other && other != d && other->parent && !(other->flags & DIR_REMOVING) &&
                !dir_in_place(w, other)) {
                if (dir_is_below(d, other)) {
                        dir_untangle(w, d, other);
                        return;
                }
                dir_give_up(w, other);
        }
        watch_drop(w, d);
        dir_identify(w, d, s->id);
        entry_set(d->self, s);
        d->dev = s->dev;
        set_flags(w, d);
        row_put_dir(w, d);
        if (round_active(w))
                round_visit(w, d);
        else
                dir_mark_below_dirty(w, d);
}

void dir_move(Watcher *w, Dir *d, Dir *to, Slice name, const FileStat *s)
{
        Entry *there = dir_find(to, name.data, name.len);
        if (there)
                report_deleted(w, to, there, true); // a file; callers see to directories
        buf_reset(&w->old_path);
        dir_path(d, &w->old_path);
        dir_detach(w, d);
        Entry *e = entry_new(name.data, name.len, s);
        if (!e || dir_insert(&w->tree, to, e) < 0) {
                free(e);
                memory_short = true;
                return;
        }
        free(d->self);
        e->dir = d;
        e->seen = true;
        d->self = e;
        d->parent = to;
        d->flags &= ~(uint32_t)DIR_DETACHED;
        d->root = to->root;
        d->depth = to->depth + 1;
        tree_dir_settle(d);
        bool was_leaf = d->flags & DIR_LEAF;
        dirs_set_flags(w, d);
        if (dir_reportable(w, d))
                report_dir(w, "dir.moved", d, s->dev ? s : NULL, &w->old_path);
        row_put_dir(w, d);
        if (w->include.by_path || w->exclude.by_path || w->options->max_depth > 0)
                dir_mark_below_dirty(w, d); // other names may be covered now
        else if (was_leaf)
                visit_new(w, d);
}

static void dir_attributes(Watcher *w, Dir *d, const FileStat *s)
{
        Entry *e = d->self;
        bool differ = e->mode != s->mode || e->uid != s->uid || e->gid != s->gid;
        entry_set(e, s);
        d->dev = s->dev;
        if (!differ)
                return;
        if (dir_reportable(w, d))
                report_dir(w, "dir.attributes", d, s, NULL);
        row_put_dir(w, d);
        if (d->flags & DIR_UNREADABLE)
                dir_mark_dirty(w, d);
}

void dir_discover(Watcher *w, Dir *parent, Slice name, const FileStat *s)
{
        Entry *e = dir_find(parent, name.data, name.len);
        if (!name_admitted(w, parent, name, true)) {
                if (e && entry_is_dir(e))
                        dir_gone(w, e->dir);
                return;
        }
        if (e && entry_is_dir(e)) {
                e->seen = true;
                if (file_id_equal(e->id, s->id)) {
                        dir_attributes(w, e->dir, s);
                        return;
                }
                dir_replaced(w, e->dir, s);
                return;
        }
        if (e) {
                report_deleted(w, parent, e, true);
        }
        Dir *known = tree_dir_by_identity(&w->tree, s->id);
        if (known && known->parent && !(known->flags & DIR_REMOVING) && known != parent &&
                !dir_in_place(w, known)) {
                if (dir_is_below(parent, known)) {
                        dir_untangle(w, parent, known);
                        return;
                }
                dir_move(w, known, parent, name, s);
                if (round_active(w))
                        round_visit(w, known);
                return;
        }
        bool quiet =
                w->options->initial == INITIAL_IGNORE && follows_initial(w, parent, name, true);
        (void)dir_add(w, parent, name, s, quiet);
}

void dir_look(Watcher *w, Dir *parent, Slice name)
{
        int fd;
        FileStat s;
        char text[256];
        if (dir_fd(w, parent, &fd) < 0) {
                dir_mark_dirty(w, parent);
                return;
        }
        memcpy(text, name.data, name.len);
        text[name.len] = 0;
        int r = file_stat(fd, text, w->options->follow_symlinks, &s);
        if (r == 0 && S_ISDIR(s.mode)) {
                dir_discover(w, parent, name, &s);
                return;
        }
        Entry *e = dir_find(parent, name.data, name.len);
        if (e && entry_is_dir(e))
                dir_gone(w, e->dir);
        if (r == 0 && name_admitted(w, parent, name, false))
                settle_found(w, parent, fd, name, &s);
}

void dir_forget(Watcher *w, Dir *d)
{
        if (d->flags & DIR_UNREADABLE) {
                w->n_unreadable--;
                w->trouble_news = true;
        }
        watch_drop(w, d);
        row_del_dir(w, d);
        if (d->parent) {
                Entry *self = d->self;
                if (!(d->flags & DIR_DETACHED))
                        dir_remove(&w->tree, d->parent, self);
                free(self);
        } else {
                Root *r = d->root;
                r->dir = NULL;
                r->state = ROOT_WAITING;
                r->deleted = false;
                roots_refresh_soon(w);
        }
        tree_dir_free(&w->tree, d);
}

// Removes what the table holds; the first child directory found comes first. NULL: d is empty.
static Dir *removal_empty(Watcher *w, Dir *d, bool silent, unsigned *budget)
{
        while (d->entries.n > 0) {
                uint32_t at = (uint32_t)w->removal_cursor;
                if (at >= d->entries.cap)
                        at = 0;
                Entry *e = d->entries.slots[at];
                if (!e) {
                        w->removal_cursor = at + 1;
                } else if (entry_is_dir(e)) {
                        w->removal_cursor = 0;
                        return e->dir;
                } else {
                        if (*budget == 0 || !batch_ready(w))
                                return d;
                        --*budget;
                        if (silent)
                                d->flags |= DIR_SILENT;
                        report_deleted(w, d, e, true);
                }
        }
        return NULL;
}

bool removals_work(Watcher *w)
{
        unsigned budget = 4096;
        while (w->removal_head < w->removals.n) {
                Dir *top = tree_dir(&w->tree, w->removals.ids[w->removal_head]);
                if (!top) {
                        w->removal_head++;
                        continue;
                }
                bool silent = top->flags & DIR_SILENT || !top->root->wanted, last = false;
                for (Dir *d = top; !last;) {
                        Dir *next = removal_empty(w, d, silent, &budget);
                        if (next == d)
                                return source_may_send(w->source);
                        if (next) {
                                d = next;
                                continue;
                        }
                        if (!batch_ready(w))
                                return false;
                        Dir *parent = d->parent;
                        last = d == top;
                        if (!silent && dir_reportable(w, d))
                                report_dir(w, "dir.deleted", d, NULL, NULL);
                        dir_forget(w, d);
                        w->removal_cursor = 0;
                        d = parent;
                }
                w->removal_head++;
        }
        w->removals.n = w->removal_head = 0;
        return false;
}
