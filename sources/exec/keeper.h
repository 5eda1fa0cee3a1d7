// SPDX-License-Identifier: MIT
// The keeper: a process between the source and its program, forked anew for each run. The source can be
// killed at any moment, and so can the hub; the keeper is who then ends the program with all that it
// started, also what left its process group. It holds family.lock while anything of it lives, so that a
// new hub never has two of them at work. It reads nothing that the program says.
#pragma once

#include "base/reason.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct KeeperRequest {
        const char *program;
        char *const *argv, *const *envp;
        int in, out, err; // what the program gets as 0, 1, 2; the caller's to close
        bool network;
        uint64_t memory;
} KeeperRequest;

// What it tells, one message each: the start, and the end of the program if it saw it.
typedef enum KeeperWord { KEEPER_STARTED, KEEPER_ENDED } KeeperWord;
typedef struct KeeperNews {
        int32_t word;  // KeeperWord
        int32_t pid;   // STARTED: also the process group
        int32_t error; // STARTED: 0, or the errno with which it could not be executed
        int32_t code;  // ENDED: si_code and si_status
        int32_t status;
        char what[96]; // of an error: what failed
} KeeperNews;

// Orders, one byte each; end of file is KEEPER_KILL.
enum { KEEPER_TERMINATE = 't', KEEPER_KILL = 'k' };

// *ret_fd: a seqpacket socket for news and orders; end of file when everything is dead.
int keeper_start(const KeeperRequest *r, int *ret_fd, pid_t *ret_pid, Reason *reason) _must_use_;
// Kills the group and every descendant of this process and reaps them. The keeper does it at its end;
// the source does it when the keeper itself was killed.
void keeper_end_all(pid_t group);
