// SPDX-License-Identifier: MIT
// Who is at the other end of a unix stream socket, as the kernel recorded it when they connected.
#pragma once

#include "base/cleanup.h"
#include <sys/types.h>

typedef struct Peer {
        uid_t uid;
        gid_t *gids; // all groups, the primary one last; malloced
        size_t n_gids;
} Peer;

int peer_get(int fd, Peer *ret) _must_use_; // -errno; *ret is then untouched
void peer_deinit(Peer *p);
