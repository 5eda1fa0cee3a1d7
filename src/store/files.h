// SPDX-License-Identifier: MIT
// The store as files: its directory, its lock, its health; what opens, checks and mends it. For the
// store's own files.
#pragma once

#include "store/internal.h"

// ---- env.c: the database file and its directory
int env_open(Store *s, const char *dir, unsigned flags, uint64_t size, Reason *reason) _must_use_;
void env_close(Store *s);
// Makes dir/data.mdb complete and durable: rows of format, everything allocated, everything synced.
int env_create(const char *dir, uint64_t size, Reason *reason) _must_use_;
int env_allocate(int fd, uint64_t size, Reason *reason) _must_use_;
int env_check_filesystem(const char *dir, Reason *reason) _must_use_; // 1: warned in reason
int env_remove(const char *dir) _must_use_;
uint64_t env_file_size(const char *dir);
char *path_join(const char *dir, const char *name);              // NULL: no memory
uint64_t env_pages(Store *s, MDB_txn *txn, Table table);         // of one table
uint64_t env_used(Store *s, MDB_txn *txn);                       // bytes of the pages in use
uint64_t env_claimed(Store *s, MDB_txn *txn, const Counters *c); // and what deferring will need

// ---- head.c: 0 fine, 1 damaged (reason begins to say how), -EPROTO (of a newer LMDB)
int head_check(const char *dir, bool quiet_writer, Reason *reason) _must_use_;
void head_repair(const char *dir);

// ---- lockfile.c: who runs, and what it had last committed
typedef struct Witness {
        char boot_id[BOOT_ID_SIZE + 1];
        uint64_t commit;
        char chain[2 * CHAIN_SIZE + 1];
        unsigned starts;
        bool known; // false: the file is new or unreadable
} Witness;
int lockfile_open(const char *state_dir, Witness *ret, Reason *reason) _must_use_; // a descriptor
void lockfile_write(const Store *s);
void lockfile_peek(const char *state_dir, Witness *ret); // without the lock
int boot_id_read(char out[static BOOT_ID_SIZE + 1]) _must_use_;
void store_suspect(Store *s); // the next open checks everything

// ---- scrub.c, child.c, mend.c, salvage.c
typedef void (*ScrubFault)(const char *text, void *u);
int scrub_txn(Store *s, MDB_txn *txn, ScrubFault fault, void *u) _must_use_; // faults or an error
// What is wrong with a row whose envelope is good, or NULL. Looks at what it refers to.
const char *row_fault(Store *s, MDB_txn *txn, Table table, Slice key, Slice body);
int meta_format(Store *s, MDB_txn *txn) _must_use_; // 0, -EPROTO (newer), -EUCLEAN
// Scrubs dir in a child process; 0 clean, 1 damaged (reason says how), -EPROTO: of a newer version.
int check_in_child(const char *dir, Reason *reason) _must_use_;
typedef int (*ChildMain)(int out_fd, void *u);
pid_t child_start(ChildMain run, void *u, int *ret_fd) _must_use_;
int child_wait(pid_t pid); // its exit status; 256 + signal
int mend(Store *s, Buf *ret_lost) _must_use_;
// Makes a new store of what is valid in state_dir/store and puts it in its place; 0 or an error.
int salvage(const char *state_dir, uint64_t size, Reason *reason) _must_use_;
int salvage_finish(const char *state_dir, Reason *reason) _must_use_; // what a crash interrupted
