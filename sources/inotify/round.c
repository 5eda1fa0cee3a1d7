// SPDX-License-Identifier: MIT
// Comparison of the tree with the snapshot: at start, after an overflow, after back-pressure, for
// what is polled, when a root returns. It tells exactly the difference. While it runs kernel events
// only wait or mark directories for the next round, so the two never cross.
//
//   walk     each directory is read: changed files are told, new names only noted, what is missing
//            is taken out of the tree (its row stays). A directory known by identity that is gone
//            from its old place moves here at once, with all it holds.
//   orphans  files below directories that stayed missing are missing too
//   new      directories with new names are read again: a new name whose identity is missing
//            elsewhere, both with one link, is a move; the rest is created
//   gone     what is still missing is deleted
//
// A crash in between leaves the rows as they were for all that was not told.
#include "parts.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { UNREACHED_USEC = 10000 };

typedef enum Phase { PHASE_WALK, PHASE_ORPHANS, PHASE_NEW, PHASE_GONE } Phase;

struct Gone {
        Entry *entry; // ours
        FileId id;
        UT_hash_handle hh, hh_name;
        struct {
                uint64_t dir;
                char name[256];
        } key; // allocated as long as the name is
};

struct Round {
        Phase phase;
        bool full;
        DirList stack, with_new, orphans;
        Reader *reader;
        Gone *gone, *gone_by_name;
};

bool round_active(const Watcher *w)
{
        return w->round;
}

bool round_wanted(const Watcher *w)
{
        return (w->all_dirty || w->dirty.n > 0) && w->now >= w->round_not_before;
}

static void gone_drop(Round *r, Gone *g)
{
        HASH_DELETE(hh, r->gone, g);
        HASH_DELETE(hh_name, r->gone_by_name, g);
        free(g);
}

void round_free(Watcher *w)
{
        Round *r = w->round;
        if (!r)
                return;
        Gone *g, *next;
        HASH_ITER (hh, r->gone, g, next) {
                free(g->entry);
                gone_drop(r, g);
        }
        (void)reader_close(r->reader);
        free(r->stack.ids);
        free(r->with_new.ids);
        free(r->orphans.ids);
        free(r);
        w->round = NULL;
}

void round_visit(Watcher *w, Dir *d)
{
        if (w->round->phase != PHASE_WALK)
                dir_mark_dirty(w, d);
        else
                (void)dir_list_push(&w->round->stack, d->id);
}

void round_orphan(Watcher *w, Dir *d)
{
        (void)dir_list_push(&w->round->orphans, d->id);
}

static void gone_add(Watcher *w, Dir *d, Entry *e)
{
        Round *r = w->round;
        size_t key = sizeof(uint64_t) + e->name_len;
        Gone *g = calloc(1, offsetof(Gone, key) + key + 1);
        if (!g) {
                memory_short = true;
                return;
        }
        dir_remove(&w->tree, d, e);
        g->entry = e;
        g->id = e->id;
        g->key.dir = d->id;
        memcpy(g->key.name, e->name, e->name_len);
        HASH_ADD(hh, r->gone, id, sizeof g->id, g);
        HASH_ADD(hh_name, r->gone_by_name, key, key, g);
}

static int by_depth(const void *a, const void *b, void *tree)
{
        const Dir *x = tree_dir(tree, *(const uint64_t *)a),
                  *y = tree_dir(tree, *(const uint64_t *)b);
        uint32_t p = x ? x->depth : 0, q = y ? y->depth : 0;
        return (p < q) - (p > q); // deepest first: the stack hands out the highest
}

static bool round_start(Watcher *w)
{
        scan_stop(w);
        holds_abandon(w);
        Round *r = w->round = calloc(1, sizeof *r);
        if (!r) {
                memory_short = true;
                return false;
        }
        r->full = w->all_dirty;
        w->all_dirty = false;
        for (size_t i = 0; i < w->dirty.n; i++) {
                Dir *d = tree_dir(&w->tree, w->dirty.ids[i]);
                if (!d)
                        continue;
                d->flags &= ~(uint32_t)DIR_DIRTY;
                if (!r->full)
                        (void)dir_list_push(&r->stack, d->id);
        }
        w->dirty.n = 0;
        if (r->full)
                for (Root *x = w->roots; x; x = x->next)
                        if (x->dir && x->state == ROOT_ARMED)
                                (void)dir_list_push(&r->stack, x->dir->id);
        if (!r->full)
                qsort_r(r->stack.ids, r->stack.n, sizeof *r->stack.ids, by_depth, &w->tree);
        return true;
}

static bool can_visit(const Dir *d)
{
        return d && d->root->state == ROOT_ARMED &&
               !(d->flags & (DIR_REMOVING | DIR_DETACHED | DIR_LEAF));
}

// The path does not lead to it: its parent knows why, then it may be looked at once more.
static void visit_parent_first(Watcher *w, Dir *d, int error)
{
        Round *r = w->round;
        if (error != -ESTALE) {
                dir_trouble(w, d, error);
                return;
        }
        if (!d->parent) {
                roots_refresh_soon(w);
                return;
        }
        if (d->flags & DIR_RETRIED) {
                // What moved above it is told by an event that we have not read: never forget it.
                d->flags &= ~(uint32_t)DIR_RETRIED;
                dir_mark_dirty(w, d);
                w->round_not_before = w->now + UNREACHED_USEC;
                return;
        }
        d->flags |= DIR_RETRIED;
        (void)dir_list_push(&r->stack, d->id);
        (void)dir_list_push(&r->stack, d->parent->id);
}

static bool open_next(Watcher *w, DirList *list)
{
        Round *r = w->round;
        while (list->n > 0) {
                Dir *d = tree_dir(&w->tree, list->ids[--list->n]);
                if (!can_visit(d))
                        continue;
                int error;
                r->reader = reader_open(w, d, &error);
                if (!r->reader) {
                        if (r->phase == PHASE_WALK)
                                visit_parent_first(w, d, error);
                        else
                                dir_mark_dirty(w, d);
                        continue;
                }
                d->flags &= ~(uint32_t)(DIR_HAS_NEW | DIR_RETRIED);
                for (uint32_t i = 0; i < d->entries.cap; i++)
                        if (d->entries.slots[i])
                                d->entries.slots[i]->seen = false;
                return true;
        }
        return false;
}

static void walk_name(Watcher *w, Dir *d, int fd, const char *text, int is_dir)
{
        FileStat s;
        Slice name = slice_of(text);
        if (is_dir == 0 && !name_admitted(w, d, name, false))
                return;
        if (file_stat(fd, text, w->options->follow_symlinks, &s) < 0)
                return;
        Entry *e = dir_find(d, name.data, name.len);
        if (S_ISDIR(s.mode)) {
                if (d->root->names) {
                        roots_refresh_soon(w);
                        return;
                }
                if (e && !entry_is_dir(e))
                        gone_add(w, d, e);
                bool known = e && entry_is_dir(e) && file_id_equal(e->id, s.id);
                dir_discover(w, d, name, &s);
                if (known && w->round->full)
                        round_visit(w, e->dir);
                return;
        }
        if (!name_admitted(w, d, name, false))
                return;
        if (e && entry_is_dir(e)) {
                Dir *gone = e->dir;
                dir_detach(w, gone);
                round_orphan(w, gone);
                e = NULL;
        }
        if (e) {
                e->seen = true;
                if (entry_differs(e, &s))
                        settle_found(w, d, fd, name, &s);
        } else if (w->options->initial == INITIAL_IGNORE && follows_initial(w, d, name, false)) {
                report_known(w, d, text, name.len, &s);
        } else if (!(d->flags & DIR_HAS_NEW)) {
                d->flags |= DIR_HAS_NEW;
                (void)dir_list_push(&w->round->with_new, d->id);
        }
}

// Names that the directory did not show: a last look, since reading it takes time.
static void walk_missing(Watcher *w, Dir *d, int fd)
{
        FileStat s;
        for (uint32_t i = 0; i < d->entries.cap;) {
                Entry *e = d->entries.slots[i];
                if (!e || e->seen) {
                        i++;
                        continue;
                }
                Slice name = {e->name, e->name_len};
                int r = file_stat(fd, e->name, w->options->follow_symlinks, &s);
                bool dir = entry_is_dir(e);
                e->seen = true;
                if (r == 0 && S_ISDIR(s.mode) == dir && name_admitted(w, d, name, dir)) {
                        if (!file_id_equal(e->id, s.id) || (!dir && entry_differs(e, &s)))
                                dir_mark_dirty(w, d); // the next round sees it
                        else if (dir && w->round->full)
                                round_visit(w, e->dir);
                        i++;
                } else if (dir) {
                        Dir *gone = e->dir;
                        dir_detach(w, gone);
                        round_orphan(w, gone);
                } else {
                        gone_add(w, d, e);
                }
        }
}

static void new_name(Watcher *w, Dir *d, int fd, const char *text, int is_dir)
{
        Round *r = w->round;
        FileStat s;
        Slice name = slice_of(text);
        struct {
                uint64_t dir;
                char name[256];
        } key = {.dir = d->id};
        Gone *g;
        if (is_dir == 1 || dir_find(d, text, name.len) || !name_admitted(w, d, name, false))
                return;
        if (file_stat(fd, text, w->options->follow_symlinks, &s) < 0)
                return;
        if (S_ISDIR(s.mode)) {
                dir_mark_dirty(w, d);
                return;
        }
        memcpy(key.name, text, name.len);
        HASH_FIND(hh_name, r->gone_by_name, &key, sizeof key.dir + name.len, g);
        if (g) { // it is back under its own name
                Entry *e = g->entry;
                if (dir_insert(&w->tree, d, e) < 0) {
                        memory_short = true;
                        return;
                }
                gone_drop(r, g);
                e->seen = true;
                if (entry_differs(e, &s))
                        settle_found(w, d, fd, name, &s);
                return;
        }
        HASH_FIND(hh, r->gone, &s.id, sizeof s.id, g);
        Dir *from = g ? tree_dir(&w->tree, g->key.dir) : NULL;
        if (!from || g->entry->nlink != 1 || s.nlink != 1 || (g->entry->mode ^ s.mode) & 0170000) {
                file_new(w, d, fd, name, &s);
                return;
        }
        Entry *e = g->entry;
        gone_drop(r, g);
        report_moved(w, from, e, d, text, name.len, &s, false);
        e = dir_find(d, text, name.len);
        if (e && entry_differs(e, &s))
                settle_found(w, d, fd, name, &s);
}

// True: this phase has nothing left.
static bool read_some(Watcher *w, DirList *list, unsigned *budget)
{
        Round *r = w->round;
        while (r->reader || open_next(w, list)) {
                const char *name;
                int is_dir;
                if (*budget == 0 || !batch_ready(w))
                        return false;
                --*budget;
                Dir *d = reader_dir(w, r->reader);
                if (!d) {
                        r->reader = reader_close(r->reader);
                } else if (reader_next(r->reader, &name, &is_dir) == 0) {
                        if (r->phase == PHASE_WALK)
                                walk_missing(w, d, reader_fd(r->reader));
                        r->reader = reader_close(r->reader);
                } else if (r->phase == PHASE_WALK) {
                        walk_name(w, d, reader_fd(r->reader), name, is_dir);
                } else {
                        new_name(w, d, reader_fd(r->reader), name, is_dir);
                }
        }
        return true;
}

static void collect_orphans(Watcher *w)
{
        Round *r = w->round;
        DirList todo = {0};
        for (size_t i = 0; i < r->orphans.n; i++) {
                Dir *d = tree_dir(&w->tree, r->orphans.ids[i]);
                if (d && d->flags & DIR_DETACHED)
                        (void)dir_list_push(&todo, d->id);
        }
        while (todo.n > 0) {
                Dir *d = tree_dir(&w->tree, todo.ids[--todo.n]);
                for (uint32_t i = 0; i < d->entries.cap;) {
                        Entry *e = d->entries.slots[i];
                        if (e && entry_is_dir(e))
                                (void)dir_list_push(&todo, e->dir->id);
                        if (e && !entry_is_dir(e) && !memory_short)
                                gone_add(w, d,
                                        e); // the hole may be filled from behind: same slot again
                        else
                                i++;
                }
        }
        free(todo.ids);
}

// Changed options may no longer cover it: then it leaves without an event.
static void tell_one_gone(Watcher *w, Dir *d, Entry *e)
{
        bool silent =
                w->taking_stock && !name_admitted(w, d, slice_mem(e->name, e->name_len), false);
        d->flags |= silent ? DIR_SILENT : 0;
        report_deleted(w, d, e, false);
        if (silent)
                d->flags &= ~(uint32_t)DIR_SILENT;
}

static bool tell_gone(Watcher *w, unsigned *budget)
{
        Round *r = w->round;
        Gone *g, *next;
        HASH_ITER (hh, r->gone, g, next) {
                if (*budget == 0 || !batch_ready(w))
                        return false;
                --*budget;
                Dir *d = tree_dir(&w->tree, g->key.dir);
                Entry *e = g->entry;
                gone_drop(r, g);
                if (d)
                        tell_one_gone(w, d, e);
                else
                        free(e);
        }
        for (size_t i = 0; i < r->orphans.n; i++) {
                Dir *d = tree_dir(&w->tree, r->orphans.ids[i]);
                if (d && d->flags & DIR_DETACHED)
                        dir_remove_later(w, d);
        }
        return true;
}

static bool round_phase(Watcher *w, unsigned *budget)
{
        Round *r = w->round;
        switch (r->phase) {
        case PHASE_WALK:
                return read_some(w, &r->stack, budget);
        case PHASE_ORPHANS:
                collect_orphans(w);
                return true;
        case PHASE_NEW:
                return read_some(w, &r->with_new, budget);
        case PHASE_GONE:
                return tell_gone(w, budget);
        }
        return true;
}

bool round_work(Watcher *w)
{
        uint64_t start = clock_mono_usec();
        if (!w->round && !round_start(w))
                return false;
        do {
                unsigned budget = 256;
                while (round_phase(w, &budget)) {
                        if (w->round->phase == PHASE_GONE) {
                                round_free(w);
                                w->stats.comparisons++;
                                return true;
                        }
                        w->round->phase++;
                }
                if (!batch_ready(w))
                        return false;
        } while (clock_mono_usec() - start < TURN_USEC);
        return true;
}
