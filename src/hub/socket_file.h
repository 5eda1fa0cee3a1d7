// SPDX-License-Identifier: MIT
// A socket with a name in the file system: bound so that nobody gets in before its mode, group or
// access list says who may. Shared by the control socket and the doors of applications.
#pragma once

#include "base/cleanup.h"

// A bound socket (SOCK_STREAM or SOCK_DGRAM, non-blocking, close-on-exec) under `path`, its file open
// to its owner alone. A file that nobody answers on is replaced; -EADDRINUSE when somebody does.
int socket_file_new(const char *path, int type, int *ret_fd) _must_use_;
// 0660, group belfry where there is one and we may give it.
int socket_file_open_to_group(const char *path) _must_use_;
