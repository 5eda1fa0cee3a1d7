// SPDX-License-Identifier: MIT
// What values name in the world outside the configuration, and whether it is there: paths, the files
// behind references. It looks and reads nothing; shared by the command, which says what it cannot
// see, and by the daemon, which has the service's own eyes.
#pragma once

#include "config/option.h"

typedef struct WorldEyes {
        bool service;                // of the service itself: its credentials and its rights count
        const char *credentials_dir; // may be NULL
        bool reads_all;              // a capability opens every directory
} WorldEyes;

// `row` is the one whose value is not all there, `what` a sentence; called for each such value.
typedef void (*WorldMissing)(const Option *row, const char *what, void *userdata);
void world_look(const Option *rows, size_t n, const json_t *values, const WorldEyes *eyes,
        WorldMissing missing, void *userdata);
