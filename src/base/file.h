// SPDX-License-Identifier: MIT
// Whole small files and whole writes. Not for watched files (the inotify source has its own rules)
// and not for the store.
#pragma once

#include "base/buf.h"
#include <sys/types.h>

// Reads a regular file into out (appending), at most out->max bytes: -EFBIG over it, -EISDIR,
// -EINVAL when not a regular file.
int file_read(int dir_fd, const char *path, Buf *out) _must_use_;
// As file_read, for secrets: refuses (-EPERM) a file that group or others can read or write.
int file_read_private(const char *path, Buf *out) _must_use_;
int file_write_all(int fd, const void *data, size_t n) _must_use_; // retries EINTR and short writes
int file_mkdir_private(const char *path, mode_t mode) _must_use_;  // with parents; existing is fine
int file_sync_dir(const char *path) _must_use_;
