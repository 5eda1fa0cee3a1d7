// SPDX-License-Identifier: MIT
// SHA-256 of one file at a time, a few megabytes a turn of the loop. The file is opened below its
// directory, must be a regular one, and must not change while it is read.
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { PIECE = 256 * 1024, PIECES_A_TURN = 16 };

struct HashJob {
        int fd;
        struct stat before;
        EVP_MD_CTX *md;
        uint8_t piece[PIECE];
};

void hash_stop(Watcher *w)
{
        if (!w->hash_job)
                return;
        close(w->hash_job->fd);
        EVP_MD_CTX_free(w->hash_job->md);
        free(w->hash_job);
        w->hash_job = NULL;
}

int hash_start(Watcher *w, int dir, const char *name)
{
        if (w->hash_job)
                return -EBUSY;
        int fd = open_beneath(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY,
                RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
        if (fd < 0)
                return fd;
        HashJob *j = calloc(1, sizeof *j);
        if (!j) {
                close(fd);
                return -ENOMEM;
        }
        j->fd = fd;
        w->hash_job = j;
        j->md = EVP_MD_CTX_new();
        if (fstat(fd, &j->before) == 0 && S_ISREG(j->before.st_mode) && j->md &&
                EVP_DigestInit_ex(j->md, EVP_sha256(), NULL) == 1)
                return 0;
        hash_stop(w);
        return -EINVAL;
}

static bool unchanged(const struct stat *a, const struct stat *b)
{
        return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
               a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int hash_step(Watcher *w, char ret[static 72])
{
        HashJob *j = w->hash_job;
        if (!j)
                return -ENOENT;
        for (unsigned i = 0; i < PIECES_A_TURN; i++) {
                ssize_t n = read(j->fd, j->piece, sizeof j->piece);
                if (n < 0)
                        return errno == EINTR ? 0 : -EIO;
                if (n == 0) {
                        struct stat after;
                        uint8_t digest[EVP_MAX_MD_SIZE];
                        unsigned len = 0;
                        if (fstat(j->fd, &after) < 0 || !unchanged(&j->before, &after))
                                return -EAGAIN;
                        if (EVP_DigestFinal_ex(j->md, digest, &len) != 1 || len != 32)
                                return -EIO;
                        memcpy(ret, "sha256:", 7);
                        for (unsigned k = 0; k < len; k++)
                                (void)snprintf(ret + 7 + 2 * k, 3, "%02x", digest[k]);
                        return 1;
                }
                if (EVP_DigestUpdate(j->md, j->piece, (size_t)n) != 1)
                        return -EIO;
        }
        return 0;
}
