// SPDX-License-Identifier: MIT
// Reading directories. The watch is added BEFORE the directory is read, through the same
// descriptor, so nothing falls between the two; what is seen twice is one difference only. New
// directories are read here a piece at a time while events go on.
#include "parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

struct Reader {
        uint64_t dir;
        FileId identity;
        int fd;
        DIR *stream;      // NULL for a root of single files:
        const Root *root; // its names are looked at one by one
        size_t at;
        char name[256];
};

void dir_trouble(Watcher *w, Dir *d, int error)
{
        if (error == -ESTALE) {
                if (d->parent)
                        dir_mark_dirty(w, d->parent);
                else
                        roots_refresh_soon(w);
                dir_mark_dirty(w, d);
                return;
        }
        if (!(d->flags & DIR_UNREADABLE)) {
                d->flags |= DIR_UNREADABLE;
                w->n_unreadable++;
                w->trouble_news = true;
        }
        buf_reset(&w->path);
        dir_path(d, &w->path);
        w->unreadable_error = error;
        (void)snprintf(w->unreadable_path, sizeof w->unreadable_path, "%s", buf_text(&w->path));
}

static int open_stream(Watcher *w, Dir *d, Reader *r)
{
        int fd;
        int e = dir_fd(w, d, &fd);
        if (e < 0)
                return e;
        r->fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | (d->root->names ? O_PATH : 0));
        if (r->fd < 0)
                return -errno;
        e = watch_dir(w, d, r->fd);
        if (e < 0 && e != -ENOSPC)
                return e;
        Filesystem fs;
        if (filesystem_of(r->fd, &fs) == 0 && filesystem_is_remote(fs.type))
                d->flags |= DIR_REMOTE;
        if (d->root->names) {
                r->root = d->root;
                return 0;
        }
        r->stream = fdopendir(r->fd);
        return r->stream ? 0 : -errno;
}

Reader *reader_open(Watcher *w, Dir *d, int *ret_error)
{
        Reader *r = calloc(1, sizeof *r);
        *ret_error = -ENOMEM;
        if (!r)
                return NULL;
        r->dir = d->id;
        r->identity = d->identity;
        r->fd = -1;
        *ret_error = open_stream(w, d, r);
        if (*ret_error < 0)
                return reader_close(r);
        if (d->flags & DIR_UNREADABLE) {
                d->flags &= ~(uint32_t)DIR_UNREADABLE;
                w->n_unreadable--;
                w->trouble_news = true;
        }
        return r;
}

int reader_next(Reader *r, const char **ret_name, int *ret_is_dir)
{
        if (!r->stream) {
                if (r->at >= r->root->n_names)
                        return 0;
                *ret_is_dir = -1;
                *ret_name = r->root->names[r->at++];
                return 1;
        }
        for (const struct dirent *e; (e = readdir(r->stream));) {
                if (e->d_name[0] == '.' &&
                        (!e->d_name[1] || (e->d_name[1] == '.' && !e->d_name[2])))
                        continue;
                *ret_is_dir =
                        e->d_type == DT_UNKNOWN || e->d_type == DT_LNK ? -1 : e->d_type == DT_DIR;
                *ret_name = e->d_name;
                return 1;
        }
        return 0;
}

int reader_fd(const Reader *r)
{
        return r->fd;
}

Dir *reader_dir(Watcher *w, const Reader *r)
{
        Dir *d = tree_dir(&w->tree, r->dir);
        return d && !(d->flags & (DIR_REMOVING | DIR_DETACHED)) && d->root->state == ROOT_ARMED &&
                               file_id_equal(d->identity, r->identity)
                       ? d
                       : NULL;
}

Reader *reader_close(Reader *r)
{
        if (!r)
                return NULL;
        if (r->stream)
                (void)closedir(r->stream);
        else if (r->fd >= 0)
                close(r->fd);
        free(r);
        return NULL;
}

void scan_queue(Watcher *w, Dir *d)
{
        if (d->flags & (DIR_QUEUED | DIR_LEAF))
                return;
        if (!dir_list_push(&w->scans, d->id))
                return;
        d->flags |= DIR_QUEUED;
        watcher_wake(w);
}

void file_new(Watcher *w, Dir *d, int fd, Slice name, const FileStat *s)
{
        if (w->options->initial == INITIAL_IGNORE && follows_initial(w, d, name, false))
                report_known(w, d, name.data, name.len, s);
        else
                settle_found(w, d, fd, name, s);
}

static void scan_name(Watcher *w, Dir *d, int fd, const char *text, int is_dir)
{
        FileStat s;
        Slice name = slice_of(text);
        if (is_dir == 0 && !name_admitted(w, d, name, false))
                return;
        if (file_stat(fd, text, w->options->follow_symlinks, &s) < 0)
                return; // gone again
        if (S_ISDIR(s.mode)) {
                dir_discover(w, d, name, &s);
                return;
        }
        if (!name_admitted(w, d, name, false))
                return;
        Entry *e = dir_find(d, name.data, name.len);
        if (e && entry_is_dir(e))
                dir_look(w, d, name);
        else if (!e)
                file_new(w, d, fd, name, &s);
        else if (entry_differs(e, &s))
                settle_found(w, d, fd, name, &s);
}

static bool scan_next_dir(Watcher *w)
{
        while (w->scans.n > 0) {
                Dir *d = tree_dir(&w->tree, w->scans.ids[--w->scans.n]);
                if (!d)
                        continue;
                d->flags &= ~(uint32_t)DIR_QUEUED;
                if (d->flags & (DIR_REMOVING | DIR_DETACHED) || d->root->state != ROOT_ARMED)
                        continue;
                int error;
                w->reader = reader_open(w, d, &error);
                if (w->reader)
                        return true;
                dir_trouble(w, d, error);
        }
        return false;
}

bool scan_work(Watcher *w)
{
        uint64_t start = clock_mono_usec();
        for (unsigned n = 1; w->reader || scan_next_dir(w); n++) {
                const char *name;
                int is_dir;
                if (!batch_ready(w))
                        return false;
                Dir *d = reader_dir(w, w->reader);
                if (!d || reader_next(w->reader, &name, &is_dir) == 0)
                        w->reader = reader_close(w->reader);
                else
                        scan_name(w, d, reader_fd(w->reader), name, is_dir);
                if (n % 64 == 0 && clock_mono_usec() - start > TURN_USEC)
                        return true;
        }
        return false;
}

void scan_stop(Watcher *w)
{
        if (w->reader) {
                Dir *d = reader_dir(w, w->reader);
                if (d)
                        dir_mark_dirty(w, d);
                w->reader = reader_close(w->reader);
        }
        while (w->scans.n > 0) {
                Dir *d = tree_dir(&w->tree, w->scans.ids[--w->scans.n]);
                if (!d)
                        continue;
                d->flags &= ~(uint32_t)DIR_QUEUED;
                dir_mark_dirty(w, d);
        }
}
