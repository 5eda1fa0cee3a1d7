// SPDX-License-Identifier: MIT
// The parts of the lines source and what they share. A file is known by its identity (file handle),
// never by its name; a name only says where to look.
//
// Invariants:
// - `offset` is where the next event begins; it moves only in the batch that holds the events before
//   it. What is behind it was reported or left out by a named rule.
// - `epoch` is a number of a file's life from one truncation to the next, fixed when it is first
//   stored, so that (identity, epoch, offset) never names two lines.
// - `head` is of the first bytes, all of them before `offset`: a log only grows, so when they differ
//   the content is another one.
#pragma once

#include "base/buf.h"
#include "base/identity.h"
#include "frame.h"
#include "module/source.h"
#include "options.h"
#include "parse.h"

#include <uthash.h>

enum {
        OPEN_MAX = 3072,   // followed at once, each with an open descriptor; under SOURCE_FILES
        FILES_MAX = 32768, // known, those that were rotated included
        HEAD_MAX = 1024,   // bytes of a file that tell its content from another's
        HEAD_HASH = 16,
        READ_BYTES = 256 * 1024, // at least, of one file in one turn
        BATCH_EVENTS_MAX = 2048,
        ROWS_MAX = 1024,     // of one batch without lines
        SIBLINGS_MAX = 4096, // names of one directory looked at for a rotated file
        TROUBLE_MAX = 1024,
        YOUNG_USEC = 5 * 1000000, // a file written to so lately may be a copy under way
        REST_USEC = 60 * 1000000, // a rotated file that is quiet for so long is done with
};

typedef struct Head {
        uint32_t len; // 0: nothing is known
        uint8_t hash[HEAD_HASH];
} Head;

typedef enum FileFlags {
        FILE_ROTATED = 1, // its path does not belong to `paths`, or it has none any more
        FILE_COPY = 2,    // copytruncate made it: what it holds is read elsewhere
        FILE_DONE = 4,    // rotated and quiet: closed, and known as long as it exists
} FileFlags;

// Lines that may have gone unreported: told as source.gap in the batch that goes on after them.
typedef struct Gap {
        const char *reason;       // NULL: none
        uint64_t epoch, from, to; // to = 0: not known
} Gap;

typedef struct LogFile {
        FileId id;
        UT_hash_handle hh, hh_watch, hh_path;
        char *path;
        uint64_t epoch, offset;
        Head head;
        FrameSkip skip;
        uint32_t flags; // FileFlags
        // From here on nothing is stored.
        int fd, watch; // -1: none
        int rescue;    // a copy, whose rest is read before the truncated file's beginning; -1: none
        uint64_t size; // when last looked at
        uint64_t grown;  // clock_mono_usec() when it last was longer than before
        uint64_t waited; // the size at which lines that might go on have waited long enough
        Gap gap;
        bool changed;  // it is to be looked at
        bool row_owed; // something stored changed without an event
        bool gone;     // its row is to be deleted, and it
        bool seen;     // by the discovery that is under way
        bool rescuing; // fd is a copy, whose rest is read before the truncated file's beginning
        bool loaded;   // not looked at yet by this process
} LogFile;

typedef struct DirWatch {
        int watch;
        bool seen;
        UT_hash_handle hh;
        char path[];
} DirWatch;

typedef struct Follow {
        Source *source;
        const LinesOptions *options;
        Parser *parser;
        Regex *start;
        Framer framer;
        LogFile *files, *by_watch, *by_path; // by_path: of those in `paths`, while discovering
        unsigned n_open;
        DirWatch *dirs; // by watch
        char **later;   // unknown paths that a discovery found
        size_t n_later, cap_later;
        int inotify_fd;
        sd_event_source *io, *timer, *again;
        uint8_t *bytes; // frame_window() or READ_BYTES of them
        size_t n_bytes;
        Buf data, row, scratch;
        uint64_t now; // clock_mono_usec() of this turn
        uint64_t discover_due, discover_not_before, poll_due, stats_due;
        uint64_t last_epoch;
        bool loaded, ready, stopping, failed;
        bool taking_stock; // what the next discovery finds is there from before
        bool position_owed;
        bool stats_owed;
        uint64_t stock_usec; // wall: files born since then are new
        char trouble[TROUBLE_MAX], told[TROUBLE_MAX];
        struct {
                uint64_t events, bytes, cut, unparsed, truncated, gaps, last_event_usec;
        } count;
} Follow;

// ---- files.c: the files, and what tells one from another

LogFile *file_find(Follow *w, FileId id);
// A new one, with fd or -1 (consumed). NULL: no memory, FILES_MAX or OPEN_MAX (told as trouble).
LogFile *file_add(Follow *w, FileId id, const char *path, int fd);
void file_free(Follow *w, LogFile *f);
void file_close(Follow *w, LogFile *f);
int file_reopen(Follow *w, LogFile *f, const char *path) _must_use_; // -ESTALE: another is there
void file_set_path(Follow *w, LogFile *f, const char *path);
int file_open(
        const char *path, FileId *ret_id) _must_use_;    // a descriptor; -EINVAL: no regular file
void file_begin_again(Follow *w, LogFile *f);            // its content is another one from here on
int head_of(int fd, uint32_t len, Head *ret) _must_use_; // -ENODATA: shorter than len
bool head_matches(const Head *h, int fd);
// Makes the head longer, up to HEAD_MAX, when `bytes` were read at `offset`. Leaves it when the file
// does not begin any more with what was read: the next look will find that.
int head_extend(Head *h, int fd, uint64_t offset, Slice bytes) _must_use_;
uint64_t epoch_new(Follow *w);

// ---- rows.c: what is stored

void row_put(Follow *w, const LogFile *f);
void row_del(Follow *w, const LogFile *f);
int row_get(Follow *w, Slice key, Slice value) _must_use_; // adds the file; -EBADMSG
void position_put(Follow *w);
bool position_is_current(Follow *w, Slice position); // the same files are to be followed
void rows_flush(Follow *w); // what is owed without a line: rows, deletions, gaps, the position

// ---- discover.c: names to files

void discover(Follow *w);
void discover_soon(Follow *w);

// ---- rotation.c: where a file went that is no longer under its name, and what was cut off

bool name_is_compressed(const char *name);
// Would logrotate and its like give this name to what was called `name`? app.log.1, app.log-20261129,
// app-20261129.log.
bool name_is_rotated(const char *sibling, const char *name);
const char *path_name(const char *path); // the last component
typedef enum CopyIs { COPY_NOT, COPY_UNDECIDED, COPY_OF_ONE } CopyIs;
CopyIs rotation_judge(Follow *w, int fd, const char *path); // did copytruncate make it?
void file_truncated(Follow *w, LogFile *f);
void rescue_end(Follow *w, LogFile *f);

// ---- watch.c: notice from the kernel

int watch_init(Follow *w) _must_use_;
void watch_deinit(Follow *w);
void watch_file(Follow *w, LogFile *f); // at its path, when that still is it
void watch_forget(Follow *w, LogFile *f);
void watch_dir(Follow *w, const char *path);
void watch_sweep(Follow *w); // directories that the last discovery did not name
void watch_read(Follow *w);

// ---- read.c: one file, one batch

bool file_read(Follow *w, LogFile *f); // true: there may be more to read at once

// ---- follow.c: the loop

int follow_start(
        Source *s, const LinesOptions *o, Slice position, Follow **ret, Reason *reason) _must_use_;
int follow_state(Follow *w, Slice key, Slice value) _must_use_;
int follow_state_end(Follow *w, bool more) _must_use_;
void follow_wake(Follow *w);
void follow_stop(Follow *w);
void follow_free(Follow *w);
void follow_fail(Follow *w, const char *what, int error);
void follow_trouble(Follow *w, const char *format, ...) _printf_(2, 3);
void follow_begin(Follow *w); // a batch; the position is in it when it is owed
void follow_commit(Follow *w);
