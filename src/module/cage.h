// SPDX-License-Identifier: MIT
// The cage of one process: what it gives up before it reads its first byte from anybody. Landlock
// from the list the hub handed over, seccomp by kind, no dumps, no orphans. Best effort where the
// kernel lacks a piece (cage_enter says which), fatal where it has it and refuses.
#pragma once

#include "base/reason.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum CageKind {
        CAGE_HUB,
        CAGE_LOCAL,   // source without network: no INET sockets
        CAGE_NETWORK, // source or sink that may connect out
        CAGE_PROGRAM, // source that runs a foreign program, which inherits this cage
        _CAGE_KIND_MAX,
} CageKind;

// Descriptors a child finds at birth; 0-2 are null, null and the hub's standard error. The doors of
// applications (a listening stream socket, one for datagrams) are there for modules that ask for them.
enum { CHILD_FD_LINK = 3, CHILD_FD_CAGE = 4, CHILD_FD_FAMILY = 5, CHILD_FD_FIRST_FREE = 6 };
enum { CHILD_FD_DOOR_STREAM = 6, CHILD_FD_DOOR_DATAGRAMS = 7, CHILD_DOORS = 2 };

// The list: a sealed memfd of entries, each ended by NUL since a path may hold any other byte:
// "r PATH" (read below), "d PATH" (list directories below, no file), "x PATH" (read and execute),
// "w PATH" (read, write, create and remove below; execute nothing).
// entries ends in NULL.
int cage_list_new(char *const *entries, int *ret_fd) _must_use_;

// In a child, first thing: rlimits, PR_SET_DUMPABLE 0, PDEATHSIG KILL with parent re-check, shared
// lock on family.lock, Landlock from fd list_fd, seccomp for kind. ret_missing: words for what the
// kernel does not offer ("" = all in place). Descriptors from first_free on are closed.
int cage_enter(CageKind kind, int list_fd, int family_fd, int first_free, pid_t parent,
        char *ret_missing, size_t missing_size, Reason *reason) _must_use_;
// In a process forked for a foreign program: it shall signal nobody but its own descendants, and
// create no INET socket unless network. To be called before it is executed.
int cage_enter_program(bool network, Reason *reason) _must_use_;
// The hub before anything else: the capability to read every directory is for the inotify source. It
// stays permitted, since the births process hands it on, and is in force nowhere else.
int cage_lower_hub(Reason *reason) _must_use_;
// The hub: seccomp only (it must open what the configuration names), after everything is set up.
int cage_enter_hub(Reason *reason) _must_use_;
// The births process: what no process of the family may ask of the kernel, whatever it executes.
int cage_enter_births(void) _must_use_;
