// SPDX-License-Identifier: MIT
// When a file is ready to be told. With settle = "close" its writer's close decides; a file that
// nobody has open for writing (a read lease proves it) is ready at once, one that stays open after
// five seconds without writes. With a duration, quiet decides, at most ten times that long. What is
// told when its time has come is the difference between stat and snapshot: created then written is
// one event, and a file that came and went is none.
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
        PROBE_USEC = 3000,    // most writers have closed by then
        EMPTY_USEC = 100000,  // between O_CREAT and the writer's count there is a moment, and
                              // waking us may be what interrupts it
        IDLE_USEC = 5000000,  // open, but not written to
        FOUND_USEC = 1000000, // found by a scan: without change for that long
        RETRY_USEC = 10000,   // the directory's path is not what we think: a move is on its way
        RETRIES = 6,
        CAP = 10,
};

static uint64_t wall_age(int64_t ctime_ns)
{
        int64_t age = (int64_t)clock_wall_usec() - ctime_ns / 1000;
        return age < 0 ? 0 : (uint64_t)age;
}

// 1: nobody has it open for writing, 0: somebody has, -1: there is no telling.
static int nobody_writes(int dir, const char *name)
{
        struct stat s;
        int r = -1;
        int fd = open_beneath(dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY,
                RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
        if (fd < 0)
                return -1;
        if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode)) {
                if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
                        (void)fcntl(fd, F_SETLEASE, F_UNLCK);
                        r = 1;
                } else if (errno == EAGAIN) {
                        r = 0;
                }
        }
        close(fd);
        return r;
}

static void hash_abandon(Watcher *w, Pending *p)
{
        if (p->flags & PENDING_HASHING)
                hash_stop(w);
        p->flags &= ~(uint32_t)PENDING_HASHING;
}

static void drop(Watcher *w, Pending *p)
{
        hash_abandon(w, p);
        pending_drop(&w->pendings, p);
}

void settle_event(Watcher *w, Dir *d, Slice name, uint32_t mask)
{
        Pending *p = pending_get(&w->pendings, d->id, name);
        if (!p) {
                dir_mark_dirty(w, d);
                return;
        }
        bool fresh = p->due == UINT64_MAX;
        hash_abandon(w, p); // what was read may not be what is there
        if (fresh)
                p->first = w->now;
        p->last = w->now;
        p->flags &= ~(uint32_t)PENDING_SCANNED;
        if (mask & (IN_DELETE | IN_MOVED_FROM))
                p->flags = (p->flags & ~(uint32_t)(PENDING_READY | PENDING_NEW | PENDING_PROBED)) |
                           PENDING_GONE;
        else if (mask & IN_CREATE)
                p->flags = (p->flags & ~(uint32_t)(PENDING_READY | PENDING_PROBED)) | PENDING_NEW;
        else if (mask & (IN_CLOSE_WRITE | IN_MOVED_TO) || (mask & IN_ATTRIB && fresh))
                p->flags |= PENDING_READY;
        else if (mask & IN_MODIFY)
                p->flags &= ~(uint32_t)PENDING_READY;
        uint64_t due = w->now;
        if (!(p->flags & PENDING_GONE)) {
                if (w->settle_usec) {
                        due = p->last + w->settle_usec;
                        if (due > p->first + CAP * w->settle_usec)
                                due = p->first + CAP * w->settle_usec;
                } else if (!(p->flags & PENDING_READY)) {
                        due = w->now + (p->flags & PENDING_PROBED ? IDLE_USEC : PROBE_USEC);
                }
        }
        pending_schedule(&w->pendings, p, due);
}

void settle_move(Watcher *w, Dir *from, Slice old, Dir *to, Slice name)
{
        Pending *p = pending_find(&w->pendings, from->id, old);
        if (!p)
                return;
        uint32_t flags = p->flags & ~(uint32_t)(PENDING_PROBED | PENDING_GONE | PENDING_HASHING);
        uint64_t first = p->first;
        drop(w, p);
        settle_event(w, to, name, flags & PENDING_READY ? IN_MOVED_TO : IN_MODIFY);
        p = pending_find(&w->pendings, to->id, name);
        if (p) {
                p->flags |= flags & PENDING_NEW;
                p->first = first;
        }
}

// New, empty and without a writer: its maker may be about to become one.
static bool may_be_opening(const FileStat *s, bool known)
{
        return !known && s->size == 0 && wall_age(s->ctime_ns) < EMPTY_USEC;
}

// Microseconds this one must still wait; 0: tell it now.
static uint64_t still_waits(Watcher *w, Pending *p, int fd, const FileStat *s, bool known)
{
        if (w->settle_usec) {
                if (w->now - p->first >= CAP * w->settle_usec)
                        return 0;
                uint64_t quiet = w->now - p->last;
                return quiet >= w->settle_usec ? 0 : w->settle_usec - quiet;
        }
        if (p->flags & PENDING_READY || !S_ISREG(s->mode) || (!known && s->nlink > 1))
                return 0;
        uint64_t limit = p->flags & PENDING_SCANNED ? FOUND_USEC : IDLE_USEC;
        if (!(p->flags & PENDING_PROBED)) {
                int r = nobody_writes(fd, p->key.name);
                if (r > 0 && may_be_opening(s, known))
                        return EMPTY_USEC;
                if (r > 0)
                        return 0;
                p->flags |= PENDING_PROBED;
                if (r == 0)
                        p->flags &= ~(uint32_t)PENDING_SCANNED, limit = IDLE_USEC;
        }
        uint64_t quiet = w->now - p->last, age = wall_age(s->ctime_ns);
        if (p->flags & PENDING_SCANNED || age < quiet)
                quiet = age;
        return quiet >= limit ? 0 : limit - quiet + 1000;
}

static void tell_file(Watcher *w, Dir *d, Slice name, const FileStat *s, const char *hash)
{
        Entry *e = dir_find(d, name.data, name.len);
        if (e)
                report_changed(w, d, e, s, hash);
        else
                report_created(w, d, name.data, name.len, s, hash);
}

static bool wants_hash(Watcher *w, Dir *d, Slice name, const FileStat *s)
{
        const Entry *e = dir_find(d, name.data, name.len);
        return w->options->hash == HASH_SHA256 && S_ISREG(s->mode) &&
               (!e || !file_id_equal(e->id, s->id) || e->size != s->size ||
                       e->mtime_ns != s->mtime_ns);
}

static bool is_open_pending(const Pending *p)
{
        return p && !(p->flags & PENDING_READY) && p->due != UINT64_MAX;
}

void settle_found(Watcher *w, Dir *d, int fd, Slice name, const FileStat *s)
{
        Pending *p = pending_find(&w->pendings, d->id, name);
        if (is_open_pending(p))
                return; // the kernel told of it too, and is followed
        uint64_t age = wall_age(s->ctime_ns), limit = w->settle_usec ? w->settle_usec : FOUND_USEC;
        char text[256];
        memcpy(text, name.data, name.len);
        text[name.len] = 0;
        if (!wants_hash(w, d, name, s) &&
                (age >= limit || (!w->settle_usec && !S_ISREG(s->mode)) ||
                        (!w->settle_usec && age >= PROBE_USEC && !may_be_opening(s, false) &&
                                nobody_writes(fd, text) > 0))) {
                tell_file(w, d, name, s, NULL);
                return;
        }
        p = pending_get(&w->pendings, d->id, name);
        if (!p) {
                dir_mark_dirty(w, d);
                w->round_not_before = w->now + FOUND_USEC / 4;
                return;
        }
        if (p->due != UINT64_MAX)
                return;
        p->first = w->now;
        p->last = age < w->now ? w->now - age : 0;
        p->flags |= PENDING_SCANNED;
        if (!dir_find(d, name.data, name.len))
                p->flags |= PENDING_NEW;
        uint64_t due = w->now + (age < PROBE_USEC ? PROBE_USEC - age : 0);
        if (w->settle_usec)
                due = age < limit ? w->now + limit - age : w->now;
        pending_schedule(&w->pendings, p, due);
}

static void unreachable(Watcher *w, Pending *p, Dir *d, int error)
{
        if (error == -ESTALE && ++p->retries < RETRIES) {
                pending_schedule(&w->pendings, p, w->now + ((uint64_t)RETRY_USEC << p->retries));
                return;
        }
        if (d->parent)
                dir_mark_dirty(w, d->parent);
        else
                roots_refresh_soon(w);
        dir_mark_dirty(w, d);
        drop(w, p);
}

// The hash of what is being read came out: tell, unless the file changed meanwhile.
static bool hash_continue(Watcher *w, Pending *p, Dir *d, Slice name, const FileStat *s)
{
        char hash[72];
        int r = hash_step(w, hash);
        if (r == 0)
                return false;
        hash_stop(w);
        if (r == -EAGAIN) { // it changed under the reader: wait as for any change
                p->flags &= ~(uint32_t)(PENDING_HASHING | PENDING_READY | PENDING_PROBED);
                pending_schedule(&w->pendings, p, w->now + PROBE_USEC);
                return true;
        }
        tell_file(w, d, name, s, r > 0 ? hash : NULL);
        drop(w, p);
        return true;
}

// False: it goes on with the next turn.
static bool settle_one(Watcher *w, Pending *p)
{
        int fd;
        FileStat s;
        Slice name = {p->key.name, p->name_len};
        Dir *d = tree_dir(&w->tree, p->key.dir);
        if (!d || d->root->state != ROOT_ARMED || d->flags & DIR_REMOVING) {
                drop(w, p);
                return true;
        }
        int r = dir_fd(w, d, &fd);
        if (r < 0) {
                unreachable(w, p, d, r);
                return true;
        }
        r = file_stat(fd, p->key.name, w->options->follow_symlinks, &s);
        Entry *e = dir_find(d, name.data, name.len);
        if ((r == 0 && S_ISDIR(s.mode)) || (e && entry_is_dir(e))) {
                char copy[256];
                memcpy(copy, p->key.name, name.len);
                drop(w, p);
                dir_look(w, d, slice_mem(copy, name.len));
                return true;
        }
        if (r < 0 || !name_admitted(w, d, name, false)) {
                if (e)
                        report_deleted(w, d, e, true);
                drop(w, p);
                return true;
        }
        if (e && p->flags & PENDING_GONE && !file_id_equal(e->id, s.id)) {
                report_deleted(w, d, e, true);
                e = NULL;
                if (!(p->flags & PENDING_NEW) && !(p->flags & PENDING_READY))
                        p->flags |= PENDING_NEW;
                if (!batch_ready(w))
                        return false;
        }
        p->flags &= ~(uint32_t)PENDING_GONE;
        if (e && !entry_differs(e, &s) && !(p->flags & PENDING_HASHING)) {
                if (p->flags & PENDING_READY ||
                        (e->ctime_ns == s.ctime_ns && !is_open_pending(p))) {
                        drop(w, p);
                        return true;
                }
        }
        if (p->flags & PENDING_HASHING)
                return hash_continue(w, p, d, name, &s);
        uint64_t wait = still_waits(w, p, fd, &s, e);
        if (wait > 0) {
                pending_schedule(&w->pendings, p, w->now + wait);
                return true;
        }
        if (wants_hash(w, d, name, &s)) {
                r = hash_start(w, fd, p->key.name);
                if (r == -EBUSY) { // another file is being read
                        pending_schedule(&w->pendings, p, w->now + RETRY_USEC);
                        return true;
                }
                if (r == 0) {
                        p->flags |= PENDING_HASHING;
                        return hash_continue(w, p, d, name, &s);
                }
        }
        tell_file(w, d, name, &s, NULL);
        drop(w, p);
        return true;
}

bool settle_work(Watcher *w)
{
        uint64_t start = clock_mono_usec();
        Pending *p;
        for (unsigned n = 1; (p = pending_first(&w->pendings)) && p->due <= w->now; n++) {
                if (!batch_ready(w))
                        return false; // resume() wakes us
                if (!settle_one(w, p))
                        return true;
                if (n % 64 == 0 && clock_mono_usec() - start > TURN_USEC)
                        return true;
        }
        return false;
}
