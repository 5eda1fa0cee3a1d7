// SPDX-License-Identifier: MIT
// The options of an inotify source, as the table in options.c fills them, and its event types.
#pragma once

#include "config/option.h"
#include "event/schema.h"

typedef enum InitialPolicy { INITIAL_IGNORE, INITIAL_REPORT } InitialPolicy;
typedef enum HashKind { HASH_NONE, HASH_SHA256 } HashKind;

typedef struct InotifyOptions {
        char **paths, **include, **exclude;
        bool recursive, one_filesystem, follow_symlinks;
        int64_t max_depth; // 0: no limit
        char *settle;      // "close" or a duration
        int initial;       // InitialPolicy
        int hash;          // HashKind
        uint64_t poll_usec;
} InotifyOptions;

extern const Option inotify_options[];
extern const size_t n_inotify_options;
extern const EventType inotify_types[];
extern const size_t n_inotify_types;

// The settle option in microseconds; 0 = until closed. -EINVAL.
int inotify_settle_parse(const char *text, uint64_t *ret_usec) _must_use_;
void inotify_check(const void *options, OptionFaults *f);
