// SPDX-License-Identifier: MIT
// The inotify source as a whole: its parts and how they call each other.
//
//   watch.c   kernel events ──▶ settle.c (files wait here) ──▶ report.c (event + row, one batch)
//                          └──▶ dirs.c (directories, at once) ──▶ scan.c (what a new one holds)
//   round.c   comparison of tree and snapshot: start, overflow, resume, polling, roots returning
//   roots.c   the watched paths; coverage.c what changed options newly cover; start.c from rows
//
// A kernel event is only a hint that a name needs a look: what is reported is always the difference
// between what stat says now and the snapshot, which then changes in the same transaction. So an
// event that is seen twice, by a scan and by the kernel, is reported once.
#pragma once

#include "base/clock.h"
#include "ignore.h"
#include "module/source.h"
#include "options.h"
#include "roots.h"

enum {
        PENDING_MAX = 65536, // files waiting; more: their directories are compared instead
        DIRTY_MAX = 65536,   // directories to compare; more: all
        HOLDS_MAX = 4096,    // moves waiting for their second half
        FD_CACHE = 16,
        BATCH_TARGET = 256 * 1024, // bytes
        BATCH_ROOM = 96 * 1024,    // what one file can need: paths of many bytes, JSON escapes
        READ_BYTES = 256 * 1024,
        TURN_USEC = 5000, // of work before the loop goes round
};

typedef struct Watch {
        int wd;
        Dir *dirs;      // linked by next_same_watch; NULL: events are dropped until IN_IGNORED
        unsigned guard; // refresh number that asked for it; 0: none
        UT_hash_handle hh;
} Watch;

typedef struct Pending Pending;
typedef struct Pendings {
        Pending *by_name, **heap;
        size_t n, cap;
        uint64_t sequence;
} Pendings;

typedef struct Hold Hold;
typedef struct Gone Gone;
typedef struct Round Round;
typedef struct Coverage Coverage;
typedef struct HashJob HashJob;
typedef struct Reader Reader;

typedef struct DirList { // ids, a stack
        uint64_t *ids;
        size_t n, cap;
} DirList;

typedef struct Stats {
        uint64_t overflows, comparisons, events, kernel_events, last_event_usec;
} Stats;

struct Watcher {
        Source *source;
        const InotifyOptions *options;
        uint64_t settle_usec; // 0: until closed
        IgnoreList include, exclude;
        Tree tree;
        Root *roots;
        size_t n_roots;
        unsigned refreshes;

        int inotify_fd, mounts_fd;
        Watch *watches;
        uint8_t *read_buffer;
        unsigned short_turns; // reads in quick succession that brought little
        uint64_t last_turn_usec;

        Pendings pendings;
        Hold *holds;
        size_t n_holds;
        DirList scans, removals, dirty;
        bool all_dirty;
        Reader *reader;
        Round *round;
        HashJob *hash_job;
        Coverage *old_coverage; // while taking stock after a change of options
        bool taking_stock;      // nothing is complete yet
        bool loaded, ready, stopping, failed, drained;
        uint64_t last_run_usec, round_not_before, removal_cursor;
        size_t removal_head;

        bool in_batch, position_due;
        uint64_t counter; // of changes, in every id
        Stats stats;
        uint64_t now; // CLOCK_MONOTONIC of this turn
        uint64_t refresh_due, poll_due, stats_due;
        uint64_t n_unwatched, n_unreadable;
        char unreadable_path[256], trouble[1024];
        int unreadable_error;
        bool watch_limit, any_remote, napping;
        bool trouble_news; // what keeps us from seeing all is other than told

        struct {
                uint64_t id;
                int fd;
        } fds[FD_CACHE];
        unsigned fd_next;
        Buf path, old_path, json, row, key, scratch;

        sd_event_source *io, *mounts, *timer, *again;
};

// report.c: a change becomes an event and a row. batch_ready() must have said yes just before.
bool batch_ready(Watcher *w); // false: not now (credit, pause); source calls resume()
void batch_open(Watcher *w);  // before any row or event; again is fine
void batch_close(Watcher *w);
void report_created(
        Watcher *w, Dir *d, const char *name, size_t len, const FileStat *s, const char *hash);
void report_known(Watcher *w, Dir *d, const char *name, size_t len, const FileStat *s); // silently
void report_changed(Watcher *w, Dir *d, Entry *e, const FileStat *s, const char *hash);
void report_moved(Watcher *w, Dir *from, Entry *e, Dir *to, const char *name, size_t len,
        const FileStat *s,
        bool attached); // attached: e still stands in from's table
void report_deleted(Watcher *w, Dir *d, Entry *e, bool attached); // frees e
void report_dir(Watcher *w, const char *type, Dir *d, const FileStat *s, const Buf *old_path);
void report_gap(Watcher *w, Root *r, const char *reason, const char *detail);
bool entry_differs(const Entry *e, const FileStat *s); // in anything that is told or stored
bool dir_reportable(Watcher *w, const Dir *d);

// rows.c
void row_put_file(Watcher *w, const Dir *d, const Entry *e);
void row_del_file(Watcher *w, const Dir *d, const char *name, size_t len);
void row_put_dir(Watcher *w, const Dir *d);
void row_del_dir(Watcher *w, const Dir *d);
int row_load(Watcher *w, Slice key, Slice value) _must_use_; // -EBADMSG
void position_put(Watcher *w);
int position_load(Watcher *w, Slice position) _must_use_;

// start.c
void watcher_loaded(Watcher *w);
void watcher_pump(Watcher *w);
void watcher_wake(Watcher *w); // another turn soon
void watcher_fail(Watcher *w, const char *what, int error);

extern int watcher_mounts_fd; // /proc/self/mountinfo; -1: the cage does not show it

// accounts.c
void accounts_preload(void);
const char *account_user(uint32_t uid);
const char *account_group(uint32_t gid);
