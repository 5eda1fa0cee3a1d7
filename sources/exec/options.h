// SPDX-License-Identifier: MIT
// What a user may say about an exec source.
#pragma once

#include "config/option.h"

typedef enum Replay { REPLAY_POSITION, REPLAY_NONE } Replay;
typedef enum Restart { RESTART_ALWAYS, RESTART_FAILURE, RESTART_NEVER } Restart;

typedef struct ExecOptions {
        char *program;
        char **arguments; // may be NULL
        StringMap environment;
        char **reads, **writes; // for the cage list
        bool network;
        int replay; // Replay
        bool acknowledge;
        uint64_t ready_usec; // 0: ready as soon as it runs
        int restart;         // Restart
        uint64_t wait_usec;
        int64_t restarts; // a minute
        uint64_t stop_usec;
        int64_t rate; // lines a second
        uint64_t max_line;
        int64_t log_rate; // lines a minute
        uint64_t memory;
        int64_t ids; // 0: none are remembered
} ExecOptions;

extern const Option exec_options[];
extern const size_t n_exec_options;
