// SPDX-License-Identifier: MIT
// SO_PEERCRED and SO_PEERGROUPS.
#include "base/peer.h"

#include <errno.h>
#include <sys/socket.h>

int peer_get(int fd, Peer *ret)
{
        struct ucred cred;
        socklen_t len = sizeof(cred);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
                return -errno;

        // SO_PEERGROUPS does not count the primary group; it goes last.
        _cleanup_(freep) gid_t *gids = NULL;
        len = 64 * sizeof(gid_t);
        for (;;) {
                gid_t *grown = realloc(gids, len + sizeof(gid_t));
                if (!grown)
                        return -ENOMEM;
                gids = grown;
                if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &len) == 0)
                        break;
                if (errno != ERANGE) // then len is what is needed
                        return -errno;
        }
        size_t n = len / sizeof(gid_t);
        gids[n++] = cred.gid;
        *ret = (Peer){.uid = cred.uid, .gids = TAKE_PTR(gids), .n_gids = n};
        return 0;
}

void peer_deinit(Peer *p)
{
        free(p->gids);
        *p = (Peer){0};
}
