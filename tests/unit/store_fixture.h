// SPDX-License-Identifier: MIT
// A store in a directory of its own, on memory where there is such a file system, for tests whose
// subject is not the disk.
#pragma once

#include "test.h"

#include "store/read.h"
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline int fixture_remove_one(
        const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

static inline void fixture_remove(const char *dir)
{
        (void)nftw(dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fixture_dir(char dir[static 64])
{
        (void)snprintf(dir, 64, "%s/belfry-store-XXXXXX",
                access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        assert_non_null(mkdtemp(dir));
}

static inline Store *fixture_open_as(const char *dir, uint64_t size, int expected)
{
        Store *s = NULL;
        Reason reason;
        StoreOptions o = {.state_dir = dir, .size = size, .ledger_percent = 5};
        int r = store_open(&s, &o, &reason);
        if (r != expected)
                fail_msg("store_open: %d for %d: %s", r, expected, reason.text);
        return s;
}

static inline void fixture_commit(StoreTxn *t)
{
        Reason reason;
        int r = store_commit(t, &reason);
        if (r != 0)
                fail_msg("store_commit: %d: %s", r, reason.text);
}

static inline void fixture_fault(const char *text, void *u)
{
        print_error("scrub: %s\n", text);
}

static inline uint64_t fixture_seed(void)
{
        const char *given = getenv("BELFRY_SEED");
        uint64_t seed =
                given ? strtoull(given, NULL, 0) : (uint64_t)getpid() * 7919 + (uint64_t)time(NULL);
        print_message("BELFRY_SEED=%" PRIu64 "\n", seed);
        return seed;
}
