// SPDX-License-Identifier: MIT
// What the hub and its births process say to each other. Private to spawn.c and spawn_births.c.
#pragma once

#include <stdint.h>
#include <sys/types.h>

// Descriptors that travel with a BirthRequest, in this order; the doors only with some.
enum {
        BIRTH_PROGRAM,
        BIRTH_LINK,
        BIRTH_CAGE,
        BIRTH_FAMILY,
        BIRTH_DOOR_STREAM,
        BIRTH_DOOR_DATAGRAMS,
        _BIRTH_FD_MAX,
        BIRTH_FDS_WITHOUT_DOORS = BIRTH_DOOR_STREAM,
};

typedef struct BirthRequest {
        char argv0[96];
        char instance[64];
        uint8_t keep_ambient;
} BirthRequest;

// With the pidfd when pid > 0, even if the program could not be executed: the child must be reaped.
typedef struct BirthAnswer {
        pid_t pid;
        int32_t error; // negative errno, 0 = executed
        char what[64]; // of the error
} BirthAnswer;

// The births process; never returns.
_Noreturn void births_main(int fd, pid_t hub, const char *module_dir);
