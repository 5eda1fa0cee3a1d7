// SPDX-License-Identifier: MIT
// Births of module processes, the family's lock, and what a child's cage lets it read.
//
// seccomp filters pass through fork and exec, so a hub that may not create INET sockets can have no
// sink that may. Births are therefore made by a small process of our own, forked before the hub goes
// into its cage: it waits on a socket, clones with CLONE_PARENT (the child is the HUB's child: its
// pidfd, its waitid, its PDEATHSIG) and executes nothing but module programs of the two module
// directories. It reads from nobody else, and dies with the hub. The hub cannot make another one
// once it is caged: when spawn_watch() shows that it is gone, the hub ends and is started anew.
#pragma once

#include "base/reason.h"
#include "config/describe.h"
#include <sys/types.h>

// ---- births
// Once, early (before secrets, threads and cage_enter_hub). module_dir: where module programs may
// stand beside /usr/libexec/belfry. 0 when it runs already.
int spawn_start(const char *module_dir, Reason *reason) _must_use_;
int spawn_watch(void); // descriptor, readable when the births process is gone; -1 before spawn_start
void spawn_stop(void); // ends it and reaps it

// What a child may read; see cage_list_new() for the entries. {0} to begin with.
typedef struct CagePaths {
        char **list; // NULL-terminated entries
        size_t n;
        char **roots; // OPTION_CAGE_READ values as configured
        size_t n_roots;
} CagePaths;

typedef struct SpawnRequest {
        int program_fd;        // O_PATH
        const char *argv0;     // "belfry-source-inotify", also the file's own name
        const char *instance;  // "uploads" or "1"
        const CagePaths *cage; // NULL: nothing
        int family_fd;
        const int *doors;      // the sockets of applications; NULL: none
        bool keep_ambient;     // capabilities granted to the service: belfry-source-inotify only
} SpawnRequest;

typedef struct SpawnedChild {
        pid_t pid;
        int pidfd;   // CLOEXEC, the caller's
        int link_fd; // our end, non-blocking, CLOEXEC, the caller's
} SpawnedChild;

// Returns when the program has been executed, or says why not; a millisecond or two, at most 5 s.
// The caller reaps the child. ret is not touched on failure.
int spawn_child(const SpawnRequest *r, SpawnedChild *ret, Reason *reason) _must_use_;

// ---- family.lock
// Every child holds a shared record lock on it for its life. Never open the file another time in
// the hub: closing any descriptor of it drops the process's locks.
int family_lock_open(const char *runtime_dir, int *ret_fd, Reason *reason) _must_use_;
// Waits up to 2 s for children of an earlier hub to leave, then kills them one by one; returns when
// none is left, with no lock held. The store's own lock must be held before: it keeps a second hub
// away; this keeps orphans away.
int family_lock_reap_orphans(int fd, Reason *reason) _must_use_;

// ---- cage paths (cage_paths.c)
// Adds what one instance (source) or endpoint (sink: once for each) of the module needs: its
// OPTION_CAGE_READ paths, its secrets, and what every module of its kind needs. options: canonical.
int cage_paths_from_options(CagePaths *p, const ModuleDescription *module, const json_t *options,
        const char *credentials_dir, Reason *reason) _must_use_;
void cage_paths_clear(CagePaths *p);
// Refuses (-EINVAL) a root that contains the state directory or lies in it. An entry that contains
// it for another reason (the nearest existing parent of a root) is narrowed to listing directories.
int spawn_roots_check(CagePaths *p, const char *state_dir, Reason *reason) _must_use_;
// Would a process born with `old` see all that `now` asks for? Else it must be started anew.
bool cage_paths_cover(const CagePaths *old, const CagePaths *now);
// Changes when a listed path appears, or is replaced by another file of its name (rotated secrets,
// resolv.conf): Landlock follows files, not names, so the process must then be started anew. What
// lies in a listed directory does not count: the directory covers whatever comes there.
uint64_t cage_paths_stamp(const CagePaths *p);
