// SPDX-License-Identifier: MIT
// The watched paths themselves. A root is waited for, armed, or away; each configured path gives
// one root, a pattern as many as it matches. Single files are watched through their directory.
#pragma once

#include "tree.h"

typedef struct Watcher Watcher;

typedef enum RootState {
        ROOT_WAITING, // was never there
        ROOT_ARMED,
        ROOT_AWAY, // was there; is missing, unmounted or another filesystem. Its snapshot is kept
} RootState;

struct Root {
        Root *next;
        char *path;   // as configured, without a slash at the end ("" is "/")
        char **names; // a root of single files: which. NULL: all
        size_t n_names;
        Dir *dir; // NULL while nothing is known of it
        RootState state;
        bool wanted;       // stands in the configuration (a loaded one may not any more)
        bool taking_stock; // follows `initial`; unfinished
        bool deleted;      // its directory was seen going
        bool literal;      // not found by a pattern
        bool gap_owed;     // went away, not told yet
        const char *gap_reason;
        unsigned found; // number of the refresh that found it
        uint64_t dev;   // while armed
        bool covered;   // by another root
        Filesystem fs;
        uint64_t seen_usec; // wall: last known to be there
        char reason[200];   // why it is waiting or away
};

enum { ROOTS_MAX = 4096 };

Root *root_new(Watcher *w, const char *path, size_t len, bool files);
Root *root_find(const Watcher *w, const char *path, size_t len, bool files);
bool root_is_configured(const Root *r, const char *option); // does this path option lead to it?
void root_names_from_snapshot(Watcher *w, Root *r);
bool root_admits(const Root *r, Slice name); // a root of files: one of its names?
void roots_deinit(Watcher *w);

// Looks at all configured paths anew: arms what is there, notes what went.
void roots_refresh(Watcher *w);
void roots_refresh_soon(Watcher *w);
void roots_tell_gaps(Watcher *w);
void roots_stock_taken(Watcher *w); // a comparison is complete
// Drops the state of a root that is no longer configured, without events.
void roots_forget_unwanted(Watcher *w);
void roots_poll(Watcher *w);           // marks directories that must be polled for comparison
void roots_report_trouble(Watcher *w); // source_degraded with all there is
