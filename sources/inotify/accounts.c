// SPDX-License-Identifier: MIT
// Names of users and groups from /etc/passwd and /etc/group, read before the cage closes and again
// when they changed, where the cage allows it. No NSS: a lookup over the network would block.
#include "watcher.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { ACCOUNTS_MAX = 65536, CHECK_USEC = 10 * 1000000 };

typedef struct Account {
        uint32_t id;
        UT_hash_handle hh;
        char name[];
} Account;

typedef struct Accounts {
        const char *path;
        Account *by_id;
        uint64_t checked;
        struct timespec mtime;
        bool groups;
} Accounts;

static Accounts users = {.path = "/etc/passwd"}, groups = {.path = "/etc/group", .groups = true};

static void account_add(Accounts *a, uint32_t id, const char *name)
{
        Account *x;
        HASH_FIND(hh, a->by_id, &id, sizeof id, x);
        if (x || HASH_COUNT(a->by_id) >= ACCOUNTS_MAX)
                return;
        size_t len = strlen(name);
        x = calloc(1, sizeof *x + len + 1);
        if (!x)
                return;
        x->id = id;
        memcpy(x->name, name, len);
        HASH_ADD(hh, a->by_id, id, sizeof x->id, x);
}

static void accounts_read(Accounts *a)
{
        struct stat s;
        a->checked = clock_mono_usec();
        if (stat(a->path, &s) < 0 ||
                (s.st_mtim.tv_sec == a->mtime.tv_sec && s.st_mtim.tv_nsec == a->mtime.tv_nsec))
                return;
        _cleanup_(fclosep) FILE *f = fopen(a->path, "re");
        if (!f)
                return;
        Account *x, *next;
        HASH_ITER (hh, a->by_id, x, next) {
                HASH_DELETE(hh, a->by_id, x);
                free(x);
        }
        a->mtime = s.st_mtim;
        if (a->groups)
                for (struct group *g; (g = fgetgrent(f));)
                        account_add(a, g->gr_gid, g->gr_name);
        else
                for (struct passwd *p; (p = fgetpwent(f));)
                        account_add(a, p->pw_uid, p->pw_name);
}

static const char *account_name(Accounts *a, uint32_t id)
{
        Account *x;
        if (clock_mono_usec() - a->checked > CHECK_USEC)
                accounts_read(a);
        HASH_FIND(hh, a->by_id, &id, sizeof id, x);
        return x ? x->name : NULL;
}

void accounts_preload(void)
{
        accounts_read(&users);
        accounts_read(&groups);
}

const char *account_user(uint32_t uid)
{
        return account_name(&users, uid);
}

const char *account_group(uint32_t gid)
{
        return account_name(&groups, gid);
}
