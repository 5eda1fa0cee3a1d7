// SPDX-License-Identifier: MIT
// Walks a configured path component by component. Bounded: EXPAND_MAX names for one path.
#include "base/expand.h"

#include <dirent.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { EXPAND_MAX = 4096 };

typedef struct Expansion {
        void (*found)(void *userdata, const ExpandFound *f);
        void *userdata;
        unsigned n;
        char path[PATH_MAX];
} Expansion;

static void walk(Expansion *x, size_t len, const char *rest, bool literal);

static void tell(Expansion *x, ExpandWhat what, size_t dir_len, bool literal, bool link, bool last)
{
        char dir[PATH_MAX];
        memcpy(dir, x->path, dir_len);
        dir[dir_len] = 0;
        const char *name = x->path[dir_len] == '/' ? x->path + dir_len + 1 : "";
        x->n++;
        x->found(x->userdata, &(ExpandFound){.what = what,
                                      .path = x->path,
                                      .dir = dir,
                                      .name = name,
                                      .literal = literal,
                                      .link = link,
                                      .last = last});
}

static void step(
        Expansion *x, size_t len, const char *name, size_t n, const char *rest, bool literal)
{
        struct stat s;
        if (len + 1 + n + 1 > sizeof x->path || x->n >= EXPAND_MAX)
                return;
        x->path[len] = '/';
        memcpy(x->path + len + 1, name, n);
        x->path[len + 1 + n] = 0;
        if (stat(x->path, &s) < 0) {
                tell(x, EXPAND_MISSING, len, literal, false, !*rest);
        } else if (*rest) {
                if (S_ISDIR(s.st_mode))
                        walk(x, len + 1 + n, rest, literal);
        } else {
                bool dir = S_ISDIR(s.st_mode);
                bool link = lstat(x->path, &s) == 0 && S_ISLNK(s.st_mode);
                tell(x, dir ? EXPAND_DIR : EXPAND_FILE, len, literal, link, true);
        }
        x->path[len] = 0;
}

static void walk_pattern(Expansion *x, size_t len, const char *pattern, const char *rest)
{
        x->path[len] = 0;
        tell(x, EXPAND_GUARD, len, false, false, false);
        DIR *d = opendir(len ? x->path : "/");
        if (!d)
                return;
        for (const struct dirent *e; (e = readdir(d));) {
                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                        continue;
                if (fnmatch(pattern, e->d_name, FNM_PERIOD) == 0)
                        step(x, len, e->d_name, strlen(e->d_name), rest, false);
        }
        (void)closedir(d);
}

// path[0..len) is a directory that exists.
static void walk(Expansion *x, size_t len, const char *rest, bool literal)
{
        while (*rest == '/')
                rest++;
        size_t n = strcspn(rest, "/");
        const char *next = rest + n;
        while (*next == '/')
                next++;
        if (n == 0) {
                x->path[len] = 0;
                tell(x, EXPAND_DIR, len, literal, false, true);
                return;
        }
        char name[NAME_MAX + 1];
        if (n > NAME_MAX)
                return;
        memcpy(name, rest, n);
        name[n] = 0;
        if (strpbrk(name, "*?["))
                walk_pattern(x, len, name, next);
        else
                step(x, len, name, n, next, literal);
}

void expand_path(
        const char *path, void (*found)(void *userdata, const ExpandFound *f), void *userdata)
{
        Expansion x = {.found = found, .userdata = userdata};
        walk(&x, 0, path, true);
}
