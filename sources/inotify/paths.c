// SPDX-License-Identifier: MIT
// From nodes to descriptors and to what the filter says. A directory is opened from its root by a
// path that may not leave it or cross a symbolic link, and is used only when it is still the object
// that the tree means. Descriptors live for one turn of the loop: a longer life would pin mounts.
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH_PIECE = 4000 };

// One name after the other, none of them a link: as strict as what openat2 was asked for.
static int open_stepwise(int fd, const char *path, int flags)
{
        int at = -1, next = -EINVAL;
        while (*path) {
                size_t n = strcspn(path, "/");
                char name[NAME_MAX + 1];
                if (n == 0 || n > NAME_MAX || (n == 2 && path[0] == '.' && path[1] == '.')) {
                        next = -EINVAL;
                        break;
                }
                memcpy(name, path, n);
                name[n] = 0;
                path += n + (path[n] == '/');
                next = openat(at >= 0 ? at : fd, name,
                        O_NOFOLLOW | O_CLOEXEC | (*path ? O_PATH | O_DIRECTORY : flags));
                next = next < 0 ? -errno : next;
                if (at >= 0)
                        close(at);
                if (next < 0)
                        return next;
                at = next;
        }
        if (next < 0 && at >= 0)
                close(at);
        return next;
}

// The unit's RestrictSUIDSGID= takes openat2 away (ENOSYS): its flags cannot be filtered.
int open_beneath(int fd, const char *path, int flags, uint64_t resolve)
{
        static bool missing;
        struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = resolve};
        if (!missing) {
                long r = syscall(SYS_openat2, fd, path, &how, sizeof how);
                if (r >= 0 || errno != ENOSYS)
                        return r < 0 ? -errno : (int)r;
                missing = true;
        }
        if (resolve & RESOLVE_BENEATH)
                return open_stepwise(fd, path, flags);
        int r = openat(fd, path, flags | O_CLOEXEC);
        return r < 0 ? -errno : r;
}

static int open_below(int fd, const char *path, bool follow)
{
        return open_beneath(fd, path, O_PATH | O_DIRECTORY,
                RESOLVE_NO_MAGICLINKS | (follow ? 0 : RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS));
}

// A path longer than the kernel takes is walked in pieces.
static int open_relative(Watcher *w, int root_fd, Buf *path)
{
        char *at = (char *)path->data;
        size_t left = path->len;
        int fd = -1;
        if (!buf_text(path)[0])
                return -ENOMEM;
        at = (char *)path->data;
        while (left > 0) {
                size_t n = left;
                if (n > PATH_PIECE) {
                        n = PATH_PIECE;
                        while (at[n] != '/')
                                n--;
                }
                char end = at[n];
                at[n] = 0;
                int next = open_below(fd >= 0 ? fd : root_fd, at, w->options->follow_symlinks);
                at[n] = end;
                if (fd >= 0)
                        close(fd);
                if (next < 0)
                        return next;
                fd = next;
                n += n < left;
                at += n;
                left -= n;
        }
        return fd;
}

static int root_open(const Root *r)
{
        int fd = open(r->path[0] ? r->path : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int open_dir(Watcher *w, Dir *d)
{
        FileId id;
        int fd = root_open(d->root);
        if (fd >= 0 && d->parent) {
                int root = fd;
                buf_reset(&w->scratch);
                dir_relative_path(d, &w->scratch);
                fd = open_relative(w, root, &w->scratch);
                close(root);
        }
        if (fd < 0)
                return fd == -ELOOP || fd == -ENOTDIR || fd == -ENOENT ? -ESTALE : fd;
        int r = file_identity(fd, &id);
        if (r == 0 && !file_id_equal(id, d->identity))
                r = -ESTALE;
        if (r < 0) {
                close(fd);
                return r;
        }
        return fd;
}

int dir_fd(Watcher *w, Dir *d, int *ret_fd)
{
        for (unsigned i = 0; i < FD_CACHE; i++)
                if (w->fds[i].id == d->id) {
                        *ret_fd = w->fds[i].fd;
                        return 0;
                }
        int fd = open_dir(w, d);
        if (fd < 0)
                return fd;
        unsigned slot = w->fd_next++ % FD_CACHE;
        if (w->fds[slot].id)
                close(w->fds[slot].fd);
        w->fds[slot].id = d->id;
        w->fds[slot].fd = fd;
        *ret_fd = fd;
        return 0;
}

void dir_identify(Watcher *w, Dir *d, FileId id)
{
        tree_dir_set_identity(&w->tree, d, id);
        for (unsigned i = 0; i < FD_CACHE; i++)
                if (w->fds[i].id == d->id) { // the object it was
                        close(w->fds[i].fd);
                        w->fds[i].id = 0;
                }
}

void dir_fd_forget(Watcher *w)
{
        for (unsigned i = 0; i < FD_CACHE; i++)
                if (w->fds[i].id) {
                        close(w->fds[i].fd);
                        w->fds[i].id = 0;
                }
}

bool dir_in_place(Watcher *w, Dir *d)
{
        int fd;
        FileStat s;
        if (!d->parent) {
                FileId id;
                _cleanup_(closep) int root = root_open(d->root);
                return root >= 0 && file_identity(root, &id) == 0 && file_id_equal(id, d->identity);
        }
        return !(d->flags & DIR_DETACHED) && dir_fd(w, d->parent, &fd) == 0 &&
               file_stat(fd, d->self->name, w->options->follow_symlinks, &s) == 0 &&
               file_id_equal(s.id, d->identity) && dir_in_place(w, d->parent);
}

bool name_admitted(Watcher *w, Dir *d, Slice name, bool is_dir)
{
        if (d->root->names)
                return !is_dir && root_admits(d->root, name);
        Slice dir = SLICE_LIT("");
        if ((w->exclude.by_path || w->include.by_path) && d->parent) {
                buf_reset(&w->scratch);
                dir_relative_path(d, &w->scratch);
                dir = buf_slice(&w->scratch);
        }
        if (w->exclude.n > 0 && ignore_match(&w->exclude, dir, name, is_dir) == IGNORE_MATCHED)
                return false;
        return is_dir || w->include.n == 0 || d->flags & DIR_INCLUDED ||
               ignore_match(&w->include, dir, name, is_dir) == IGNORE_MATCHED;
}

bool dir_reportable(Watcher *w, const Dir *d)
{
        return d->parent && (w->include.n == 0 || d->flags & DIR_INCLUDED);
}
