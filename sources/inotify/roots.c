// SPDX-License-Identifier: MIT
// The life of a root: waited for, armed, away, back. A root is itself by its handle and its
// filesystem; st_dev only counts while it is armed, for it may change at a reboot. What goes away
// without being seen going is no deletion: its snapshot is kept, one gap is told, and when it is
// back the comparison tells what changed.
#include "parts.h"
#include "base/expand.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>

enum { SOON_USEC = 50000, CHECK_USEC = 5000000 };

Root *root_find(const Watcher *w, const char *path, size_t len, bool files)
{
        for (Root *r = w->roots; r; r = r->next)
                if (strlen(r->path) == len && memcmp(r->path, path, len) == 0 &&
                        !r->names == !files)
                        return r;
        return NULL;
}

Root *root_new(Watcher *w, const char *path, size_t len, bool files)
{
        if (w->n_roots >= ROOTS_MAX)
                return NULL;
        Root *r = calloc(1, sizeof *r);
        if (!r)
                return NULL;
        r->path = strndup(path, len);
        r->names = files ? calloc(1, sizeof *r->names) : NULL;
        if (!r->path || (files && !r->names)) {
                free(r->path);
                free(r);
                return NULL;
        }
        Root **last = &w->roots;
        while (*last)
                last = &(*last)->next;
        *last = r;
        w->n_roots++;
        return r;
}

bool root_admits(const Root *r, Slice name)
{
        for (size_t i = 0; i < r->n_names; i++)
                if (slice_eq_str(name, r->names[i]))
                        return true;
        return false;
}

void roots_deinit(Watcher *w)
{
        for (Root *r = w->roots, *next; r; r = next) {
                next = r->next;
                for (size_t i = 0; i < r->n_names; i++)
                        free(r->names[i]);
                free(r->names);
                free(r->path);
                free(r);
        }
        w->roots = NULL;
}

void roots_refresh_soon(Watcher *w)
{
        uint64_t due = clock_mono_usec() + SOON_USEC;
        if (due < w->refresh_due)
                w->refresh_due = due;
}

bool root_is_configured(const Root *r, const char *option)
{
        char path[PATH_MAX];
        size_t n = strlen(option);
        while (n > 0 && option[n - 1] == '/')
                n--;
        if (n >= sizeof path)
                return false;
        memcpy(path, option, n);
        path[n] = 0;
        if (r->names) { // files below it
                char *slash = strrchr(path, '/');
                if (!slash)
                        return false;
                *slash = 0;
        }
        return fnmatch(path, r->path, FNM_PATHNAME | FNM_PERIOD) == 0;
}

static void root_name_add(Watcher *w, Root *r, const char *name)
{
        if (root_admits(r, slice_of(name)))
                return;
        char **names = reallocarray(r->names, r->n_names + 2, sizeof *names);
        char *copy = strdup(name);
        if (names)
                r->names = names;
        if (!names || !copy) {
                free(copy);
                memory_short = true;
                return;
        }
        names[r->n_names++] = copy;
        names[r->n_names] = NULL;
        if (r->dir && r->state == ROOT_ARMED)
                dir_mark_dirty(w, r->dir);
}

// The single files that were watched in the last run and still are configured, there or not.
void root_names_from_snapshot(Watcher *w, Root *r)
{
        for (uint32_t i = 0; i < r->dir->entries.cap; i++) {
                const Entry *e = r->dir->entries.slots[i];
                if (!e)
                        continue;
                buf_reset(&w->path);
                dir_path(r->dir, &w->path);
                buf_add_char(&w->path, '/');
                buf_add(&w->path, e->name, e->name_len);
                for (char **p = w->options->paths; p && *p; p++)
                        if (fnmatch(*p, buf_text(&w->path), FNM_PATHNAME | FNM_PERIOD) == 0)
                                root_name_add(w, r, e->name);
        }
}

static void found_dir(Watcher *w, const char *path, bool literal)
{
        size_t len = strlen(path);
        Root *r = root_find(w, path, len, false);
        if (!r)
                r = root_new(w, path, len, false);
        if (!r)
                return;
        r->found = w->refreshes;
        r->wanted = true;
        r->literal = literal;
}

static void found_file(Watcher *w, const char *dir, const char *name, bool literal)
{
        size_t len = strlen(dir);
        Root *r = root_find(w, dir, len, true);
        if (!r)
                r = root_new(w, dir, len, true);
        if (!r)
                return;
        r->found = w->refreshes;
        r->wanted = true;
        r->literal = literal;
        root_name_add(w, r, name);
}

// A configured path that is not there. True: waiting for it is somebody's business already.
static bool missing(
        Watcher *w, const char *path, const char *dir, const char *name, bool literal, bool last)
{
        const Root *r = root_find(w, path, strlen(path), false);
        if (r && r->dir)
                return false; // was a directory: it is away
        if (literal && last) {
                found_file(w, dir, name, literal); // a file or a directory: its parent will tell
                return true;
        }
        return false;
}

static void one_found(void *userdata, const ExpandFound *f)
{
        Watcher *w = userdata;
        switch (f->what) {
        case EXPAND_DIR:
                found_dir(w, f->path, f->literal);
                if (f->link)
                        (void)watch_guard(w, f->dir[0] ? f->dir : "/");
                return;
        case EXPAND_FILE:
                found_file(w, f->dir, f->name, f->literal);
                return;
        case EXPAND_MISSING:
                if (!missing(w, f->path, f->dir, f->name, f->literal, f->last))
                        (void)watch_guard(w, f->dir[0] ? f->dir : "/");
                return;
        case EXPAND_GUARD:
                (void)watch_guard(w, f->dir[0] ? f->dir : "/");
                return;
        }
}

// A path inside another watched one, whose filter shows it, has no life of its own.
static bool is_covered(Watcher *w, const Root *r)
{
        if (!w->options->recursive || w->options->max_depth > 0)
                return false;
        for (const Root *a = w->roots; a; a = a->next) {
                size_t n = strlen(a->path);
                if (a == r || a->names || a->found != w->refreshes ||
                        strncmp(r->path, a->path, n) != 0)
                        continue;
                if (r->path[n] == 0 ? !r->names : r->path[n] != '/')
                        continue;
                Slice below = slice_of(r->path[n] ? r->path + n + 1 : "");
                if (below.len > 0 && ignore_covers(&w->exclude, below, true))
                        continue;
                if (!r->names)
                        return true;
                if (w->include.n == 0 && w->exclude.n == 0)
                        return true;
        }
        return false;
}

static void root_away(Watcher *w, Root *r, const char *reason, const char *detail)
{
        (void)snprintf(r->reason, sizeof r->reason, "%s", detail);
        if (r->state == ROOT_AWAY)
                return;
        r->seen_usec = r->state == ROOT_ARMED ? clock_wall_usec() : w->last_run_usec;
        r->state = ROOT_AWAY;
        r->gap_owed = true;
        r->gap_reason = reason;
        r->deleted = false;
        for (Dir *d = w->tree.by_id; d; d = d->hh.next)
                if (d->root == r)
                        watch_drop(w, d);
        watcher_wake(w);
}

void roots_tell_gaps(Watcher *w)
{
        for (Root *r = w->roots; r; r = r->next)
                if (r->gap_owed && r->dir && batch_ready(w)) {
                        report_gap(w, r, r->gap_reason, r->reason);
                        r->gap_owed = false;
                        source_log(w->source, LOG_WARNING, NULL, "%s is away: %s",
                                r->path[0] ? r->path : "/", r->reason);
                }
}

static bool fsid_is_stable(uint64_t type)
{
        return type == EXT4_SUPER_MAGIC || type == BTRFS_SUPER_MAGIC || type == F2FS_SUPER_MAGIC;
}

// Could this directory be the root we knew? Its handle alone does not tell: the top directories of
// two ext4 filesystems have the same.
static bool same_filesystem(const Root *r, Filesystem fs, bool same_identity)
{
        if (fs.type != r->fs.type)
                return false;
        if (fs.id == r->fs.id || filesystem_is_volatile(fs.type))
                return true;
        return !fsid_is_stable(fs.type) && same_identity;
}

static bool is_mount_point(const Root *r, uint64_t dev)
{
        _cleanup_(freep) char *parent = NULL;
        struct stat s;
        if (!r->path[0] || asprintf(&parent, "%s/..", r->path) < 0 || stat(parent, &s) < 0)
                return false;
        return ((uint64_t)major(s.st_dev) << 32 | minor(s.st_dev)) != dev;
}

static void root_arm(Watcher *w, Root *r, const FileStat *s, Filesystem fs)
{
        bool fresh = !r->dir;
        if (fresh) {
                r->dir = tree_dir_new(&w->tree, 0, NULL, NULL, r, s->id);
                if (!r->dir) {
                        memory_short = true;
                        return;
                }
                // A filesystem that appears under a path nobody has seen yet is not newly written.
                r->taking_stock = w->taking_stock ? !coverage_was(w, r->dir, SLICE_LIT("."), true)
                                                  : is_mount_point(r, s->dev);
        } else if (!file_id_equal(r->dir->identity, s->id)) {
                dir_identify(w, r->dir, s->id);
        }
        bool was_away = r->state == ROOT_AWAY;
        r->state = ROOT_ARMED;
        r->deleted = false;
        r->dir->dev = r->dev = s->dev;
        r->fs = fs;
        r->reason[0] = 0;
        if (fresh)
                dirs_set_flags(w, r->dir);
        row_put_dir(w, r->dir);
        if (fresh)
                dir_mark_dirty(w, r->dir);
        else
                dir_mark_below_dirty(w, r->dir);
        if (was_away)
                source_log(w->source, LOG_NOTICE, NULL, "%s is back", r->path[0] ? r->path : "/");
}

static void root_present(Watcher *w, Root *r)
{
        FileStat s;
        Filesystem fs;
        const char *path = r->path[0] ? r->path : "/";
        if (r->dir && r->dir->flags & DIR_REMOVING)
                return; // its end is still being told; then it starts anew
        _cleanup_(closep) int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || file_stat(fd, "", false, &s) < 0 || filesystem_of(fd, &fs) < 0) {
                roots_refresh_soon(w);
                return;
        }
        bool same = r->dir && file_id_equal(r->dir->identity, s.id);
        if (r->dir && !same_filesystem(r, fs, same)) {
                char detail[160];
                (void)snprintf(detail, sizeof detail,
                        "another filesystem is there; to take stock of it anew: belfry source "
                        "forget %s",
                        source_name(w->source));
                root_away(w, r, "other-filesystem", detail);
                return;
        }
        if (r->state == ROOT_ARMED && same && r->dev == s.dev)
                return;
        if (batch_ready(w))
                root_arm(w, r, &s, fs);
        else
                roots_refresh_soon(w);
}

static void root_absent(Watcher *w, Root *r)
{
        if (!r->dir || r->dir->flags & DIR_REMOVING)
                return;
        // Its paths are directories now, with roots of their own; or none of its files ever was.
        bool unneeded = r->names && (r->dir->entries.n == 0 || dir_in_place(w, r->dir));
        if (r->covered || unneeded) { // its files belong to another root now, or are directories
                for (size_t i = 0; i < r->n_names; i++)
                        free(r->names[i]);
                r->n_names = 0;
                r->wanted = false;
                r->dir->flags |= DIR_SILENT | DIR_DETACHED;
                dir_remove_later(w, r->dir);
        } else if (r->state == ROOT_ARMED && r->deleted) {
                if (round_active(w) || !batch_ready(w)) {
                        roots_refresh_soon(w);
                        return;
                }
                r->dir->flags |= DIR_DETACHED;
                dir_remove_later(w, r->dir);
        } else {
                struct stat s;
                const char *why = stat(r->path, &s) < 0 && errno == EACCES ? "it cannot be read"
                                                                           : "it is missing";
                root_away(w, r, "missing", why);
        }
}

void roots_refresh(Watcher *w)
{
        w->refreshes++;
        w->refresh_due = UINT64_MAX;
        for (char **p = w->options->paths; p && *p; p++)
                expand_path(*p, one_found, w);
        for (Root *r = w->roots; r; r = r->next) {
                r->covered = r->found == w->refreshes && is_covered(w, r);
                if (!r->wanted)
                        continue;
                if (r->found == w->refreshes && !r->covered)
                        root_present(w, r);
                else
                        root_absent(w, r);
        }
        watch_drop_guards(w, w->refreshes);
        roots_report_trouble(w);
        bool all_armed = w->mounts_fd >= 0;
        for (const Root *r = w->roots; r; r = r->next)
                all_armed &= r->state == ROOT_ARMED || r->covered;
        if (!all_armed && w->refresh_due == UINT64_MAX)
                w->refresh_due = clock_mono_usec() + CHECK_USEC;
}

void roots_forget_unwanted(Watcher *w)
{
        for (Root *r = w->roots; r; r = r->next) {
                if (r->wanted || !r->dir)
                        continue;
                r->dir->flags |= DIR_SILENT | DIR_DETACHED;
                dir_remove_later(w, r->dir);
        }
}

void roots_poll(Watcher *w)
{
        w->any_remote = false;
        for (Dir *d = w->tree.by_id; d; d = d->hh.next) {
                if (d->flags & DIR_REMOTE)
                        w->any_remote = true;
                if (d->flags & (DIR_REMOTE | DIR_UNWATCHED | DIR_UNREADABLE) &&
                        d->root->state == ROOT_ARMED)
                        dir_mark_dirty(w, d);
        }
}

void roots_stock_taken(Watcher *w)
{
        for (Root *r = w->roots; r; r = r->next) {
                if (!r->taking_stock || r->state != ROOT_ARMED || r->dir->flags & DIR_DIRTY)
                        continue;
                r->taking_stock = false;
                row_put_dir(w, r->dir);
        }
}
