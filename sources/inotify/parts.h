// SPDX-License-Identifier: MIT
// What the parts of the inotify source offer each other, beside watcher.h.
#pragma once

#include "watcher.h"

// paths.c: descriptors of directories, kept for one turn of the loop only (they would pin mounts).
int dir_fd(
        Watcher *w, Dir *d, int *ret_fd) _must_use_; // borrowed; -ESTALE: the path leads elsewhere
void dir_fd_forget(Watcher *w);
void dir_identify(Watcher *w, Dir *d, FileId id); // another object stands where d is
// openat2 with `resolve`, or the same step by step where it is forbidden. A descriptor, or an error.
int open_beneath(int fd, const char *path, int flags, uint64_t resolve) _must_use_;
// Is `d` still where the tree says it is?
bool dir_in_place(Watcher *w, Dir *d);
// Does the filter let this name through?
bool name_admitted(Watcher *w, Dir *d, Slice name, bool is_dir);

// watch.c
int watch_init(Watcher *w, Reason *reason) _must_use_;
void watch_deinit(Watcher *w);
int watch_dir(Watcher *w, Dir *d, int fd); // 0, or what the kernel says; d is flagged accordingly
void watcher_stats(Watcher *w);            // trouble.c
int watch_guard(Watcher *w, const char *path);
void watch_drop(Watcher *w, Dir *d);
void watch_drop_guards(Watcher *w, unsigned older_than);
void watch_read(Watcher *w);

// pending.c: names that wait, by directory id and name, first due first.
struct Pending {
        uint64_t due, sequence, first, last; // CLOCK_MONOTONIC
        size_t slot;
        uint32_t flags;
        uint8_t retries, name_len;
        UT_hash_handle hh;
        struct {
                uint64_t dir;
                char name[256];
        } key; // allocated only as long as the name is
};
enum {
        PENDING_NEW = 1,      // was created
        PENDING_GONE = 2,     // a deletion was seen
        PENDING_READY = 4,    // nothing to wait for
        PENDING_PROBED = 8,   // whether anybody writes was asked
        PENDING_SCANNED = 16, // found by a scan: may have had its events before
        PENDING_HASHING = 32,
};
Pending *pending_find(Pendings *ps, uint64_t dir, Slice name);
Pending *pending_get(
        Pendings *ps, uint64_t dir, Slice name); // made when new; NULL: full or no memory
void pending_schedule(Pendings *ps, Pending *p, uint64_t due);
Pending *pending_first(Pendings *ps);
void pending_drop(Pendings *ps, Pending *p);
void pendings_deinit(Pendings *ps);

// settle.c
void settle_event(Watcher *w, Dir *d, Slice name, uint32_t mask);
// A scan found a file that differs from the snapshot: reports it, or lets it wait.
void settle_found(Watcher *w, Dir *d, int fd, Slice name, const FileStat *s);
bool settle_work(Watcher *w); // what is due; true: more is, but may not be sent or takes longer
void settle_move(Watcher *w, Dir *from, Slice old, Dir *to, Slice name);

// pairing.c
void hold_from(Watcher *w, Dir *d, Slice name, uint32_t cookie, bool is_dir);
bool hold_to(Watcher *w, Dir *d, Slice name, uint32_t cookie, bool is_dir); // true: it was a pair
void hold_conflict(Watcher *w, Dir *d, Slice name); // something else happens to a held name
uint64_t holds_due(const Watcher *w);
bool holds_expire(Watcher *w, bool all);
void holds_abandon(Watcher *w); // their directories are compared instead

// dirs.c
// A directory seen under this name. New: watched, told, read. Known elsewhere and gone there: moved.
void dir_discover(Watcher *w, Dir *parent, Slice name, const FileStat *s);
void dir_look(Watcher *w, Dir *parent, Slice name); // stat, then discover or remove
Dir *dir_add(Watcher *w, Dir *parent, Slice name, const FileStat *s, bool quiet);
void dir_move(Watcher *w, Dir *d, Dir *to, Slice name, const FileStat *s);
void dirs_set_flags(Watcher *w, Dir *top); // depth, filter: after a move or a start
void dir_detach(Watcher *w, Dir *d);       // out of its parent's table
void dir_remove_later(Watcher *w, Dir *d); // detached, with all below: deleted events, by and by
bool removals_work(Watcher *w);
void dir_mark_dirty(Watcher *w, Dir *d);
void dir_mark_all_dirty(Watcher *w);
void dir_mark_below_dirty(Watcher *w, Dir *d);
bool dir_list_push(DirList *l, uint64_t id);
void dir_forget(Watcher *w, Dir *d); // node, watch, row; its table holds no directory any more

// scan.c: reads new directories, a piece at a time. The reader of one directory serves round.c too.
Reader *reader_open(Watcher *w, Dir *d, int *ret_error); // arms the watch first, then opens
// One name: 1 and its name, 0 at the end. is_dir: 1, 0, or -1 when only stat knows.
int reader_next(Reader *r, const char **ret_name, int *ret_is_dir);
int reader_fd(const Reader *r);
Dir *reader_dir(Watcher *w, const Reader *r); // NULL: it went, or another one is there
Reader *reader_close(Reader *r);
void dir_trouble(Watcher *w, Dir *d, int error); // it could not be read: later then
void file_new(
        Watcher *w, Dir *d, int fd, Slice name, const FileStat *s); // by `initial`, or as found
void scan_queue(Watcher *w, Dir *d);
bool scan_work(Watcher *w);
void scan_stop(Watcher *w); // what is left becomes dirty

// round.c: comparison.
bool round_active(const Watcher *w);
void round_visit(Watcher *w, Dir *d);  // a directory that the round must read too
void round_orphan(Watcher *w, Dir *d); // detached: gone, or moved to where we have not been yet
bool round_wanted(const Watcher *w);
bool round_work(Watcher *w); // true: go on
void round_free(Watcher *w);

// coverage.c: which objects did the options of the last run cover?
void coverage_load(Watcher *w, Slice json);
void coverage_put(Watcher *w);
bool coverage_changed(Watcher *w);
bool coverage_was(Watcher *w, const Dir *d, Slice name, bool is_dir);
void coverage_free(Watcher *w);
bool follows_initial(Watcher *w, const Dir *d, Slice name, bool is_dir);

// hash.c: SHA-256 of a file, a piece at a time.
int hash_start(Watcher *w, int fd, const char *name); // 0: running; <0: cannot be read
int hash_step(Watcher *w, char ret[static 72]); // 1: done, 0: go on, <0: changed or unreadable
void hash_stop(Watcher *w);
