// SPDX-License-Identifier: MIT
// What a file is, apart from its name: the identity of the object (its file handle) and what stat
// says. The identity survives renames and reboots and tells a reused inode number apart.
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stdint.h>

// Sixteen bytes: a short file handle as it is, a longer one hashed, or inode number and birth time
// where the filesystem has no handles. Equal ids are the same object; opaque otherwise.
typedef struct FileId {
        uint64_t a, b;
} FileId;

static inline bool file_id_equal(FileId x, FileId y)
{
        return x.a == y.a && x.b == y.b;
}

typedef struct FileStat {
        FileId id;
        uint64_t size;
        int64_t mtime_ns, ctime_ns; // since the epoch
        uint32_t mode, uid, gid, nlink;
        uint64_t dev, ino;
} FileStat;

// Looks at `name` in dir_fd ("" = dir_fd itself). A symbolic link is looked at itself, or, with
// follow, its target where there is one. 0 or a negative errno (-ENOENT: there is none).
int file_stat(int dir_fd, const char *name, bool follow, FileStat *ret) _must_use_;
int file_identity(int fd, FileId *ret) _must_use_; // of an open descriptor, O_PATH will do

// Which filesystem this is: its id as statfs gives it (0: it has none) and its type.
typedef struct Filesystem {
        uint64_t id, type;
} Filesystem;
int filesystem_of(int fd, Filesystem *ret) _must_use_;
bool filesystem_is_remote(uint64_t type);   // never notifies of what others do: NFS, CIFS, FUSE ...
bool filesystem_is_volatile(uint64_t type); // a new one at each boot: tmpfs, ramfs
