// SPDX-License-Identifier: MIT
// What a module process may read, worked out from its option table: the paths that its options name,
// the files behind its secrets, and what the C library needs for names and addresses. Invariants:
// entries are unique and absolute; a secret adds its own file and nothing beside it; the state
// directory is below no entry that lets files be read. Whether a path exists decides which entry it
// becomes, so the list is made anew at each birth.

#include "hub/spawn.h"

#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// Names of users and groups; libraries that the C library loads for them; time zones.
static const char *const common_paths[] = {"/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
        "/etc/ld.so.cache", "/etc/localtime", "/lib", "/lib64", "/usr/lib", "/usr/lib64",
        "/usr/share/zoneinfo", "/dev/null", "/dev/urandom",
        // sd-event spreads its timers by one of these, and asks anew each time it gets neither.
        "/etc/machine-id", "/proc/sys/kernel/random/boot_id",
        // The child resolves it to its own: mounts that come and go.
        "/proc/self/mountinfo"};
// Host names and certificates.
static const char *const network_paths[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf",
        "/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/hostname", "/etc/ssl", "/etc/pki",
        "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/run/systemd/resolve",
        "/run/resolvconf", "/run/NetworkManager/resolv.conf"};

// What any program needs: interpreters, libraries, its own process, the null device.
static const char *const program_paths[] = {"x /bin", "x /sbin", "x /usr", "x /lib", "x /lib64",
        "r /etc/alternatives", "r /etc/mime.types", "r /etc/timezone", "r /proc", "r /dev/zero",
        "r /dev/random", "w /dev/null"};

void cage_paths_clear(CagePaths *p)
{
        for (size_t i = 0; i < p->n; i++)
                free(p->list[i]);
        for (size_t i = 0; i < p->n_roots; i++)
                free(p->roots[i]);
        free(p->list);
        free(p->roots);
        *p = (CagePaths){0};
}

static int strings_add(char ***list, size_t *n, const char *text)
{
        for (size_t i = 0; i < *n; i++)
                if (strcmp((*list)[i], text) == 0)
                        return 0;
        char **grown = realloc(*list, (*n + 2) * sizeof *grown);
        if (!grown)
                return -ENOMEM;
        *list = grown;
        grown[*n] = strdup(text);
        if (!grown[*n])
                return -ENOMEM;
        grown[++*n] = NULL;
        return 0;
}

static int paths_add(CagePaths *p, char mode, const char *path, Reason *reason)
{
        char entry[PATH_MAX + 2];

        int n = snprintf(entry, sizeof entry, "%c %s", mode, path);
        if (path[0] != '/' || n < 0 || (size_t)n >= sizeof entry)
                return reason_set(reason, -EINVAL, "not an absolute path: %s", path);
        if (p->n >= LIMIT_CAGE_PATHS)
                return reason_set(
                        reason, -E2BIG, "more than %u paths for one process", LIMIT_CAGE_PATHS);
        int r = strings_add(&p->list, &p->n, entry);
        return r < 0 ? reason_errno(reason, r, "paths") : 0;
}

static void strip_last(char *path)
{
        char *slash = strrchr(path, '/');

        if (slash == path)
                path[1] = '\0';
        else if (slash)
                *slash = '\0';
}

static void trim_slashes(char *path)
{
        size_t n = strlen(path);

        while (n > 1 && path[n - 1] == '/')
                path[--n] = '\0';
}

// Cuts path down to the nearest directory that exists.
static void existing_parent(char *path)
{
        struct stat st;

        while (strcmp(path, "/") != 0 && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)))
                strip_last(path);
}

// A root: itself when it is a directory; of a file its directory too, since editors replace files by
// rename; of a pattern the part before the first wildcard; of what does not exist yet its nearest
// existing parent, so that its coming can be seen.
static int paths_add_root(CagePaths *p, const char *root, Reason *reason)
{
        char path[PATH_MAX];
        struct stat st;

        if (root[0] != '/' || strlen(root) >= sizeof path)
                return reason_set(reason, -EINVAL, "not an absolute path: %s", root);
        int r = strings_add(&p->roots, &p->n_roots, root);
        if (r < 0)
                return reason_errno(reason, r, "paths");
        (void)snprintf(path, sizeof path, "%s", root);
        trim_slashes(path);
        bool exists = stat(path, &st) >= 0;
        if (exists) {
                r = paths_add(p, 'r', path, reason);
                if (r < 0 || S_ISDIR(st.st_mode))
                        return r;
        } else {
                size_t fixed = strcspn(path, "*?[");
                if (path[fixed])
                        path[fixed] = '\0';
        }
        if (exists || path[strlen(path) - 1] != '/')
                strip_last(path);
        trim_slashes(path);
        existing_parent(path);
        return paths_add(p, 'r', path, reason);
}

// What a module reads whatever its options: it may come while the module runs, as the journal's
// directory does.
static int paths_add_read(CagePaths *p, const char *text, Reason *reason)
{
        char path[PATH_MAX];
        struct stat st;

        (void)snprintf(path, sizeof path, "%s", text);
        if (stat(path, &st) < 0)
                existing_parent(path);
        return paths_add(p, 'r', path, reason);
}

static int paths_add_reference(
        CagePaths *p, const char *text, const char *credentials_dir, Reason *reason)
{
        char path[PATH_MAX];

        if (!option_is_reference(slice_of(text)))
                return 0;
        if (strncmp(text, "file:", 5) == 0)
                return paths_add(p, 'r', text + 5, reason);
        if (!credentials_dir)
                return 0;
        int n = snprintf(path, sizeof path, "%s/%s", credentials_dir, text + strlen("credential:"));
        if (n < 0 || (size_t)n >= sizeof path)
                return reason_set(reason, -ENAMETOOLONG, "credential name too long");
        return paths_add(p, 'r', path, reason);
}

// A path that a foreign program may use. Nothing of it may lie in the state directory.
static int paths_add_program(CagePaths *p, char mode, const char *path, Reason *reason)
{
        int r = strings_add(&p->roots, &p->n_roots, path);

        return r < 0 ? reason_errno(reason, r, "paths") : paths_add(p, mode, path, reason);
}

typedef struct Walk {
        CagePaths *paths;
        ModuleKind kind;
        const char *credentials_dir;
        Reason *reason;
} Walk;

// Strings of a value, however its type nests them: scalar, list or map.
static int walk_value(const Walk *w, const Option *o, const json_t *v)
{
        const char *key;
        json_t *item;
        size_t i;
        int r = 0;

        if (json_is_array(v)) {
                json_array_foreach(v, i, item) if (r >= 0) r = walk_value(w, o, item);
                return r;
        }
        if (json_is_object(v)) {
                json_object_foreach((json_t *)(uintptr_t)v, key, item) if (r >= 0) r =
                        walk_value(w, o, item);
                return r;
        }
        if (!json_is_string(v))
                return 0;
        const char *text = json_string_value(v);
        if ((o->flags & OPTION_CAGE_READ) && !option_is_reference(slice_of(text))) {
                // A sink reads the files that it is told to (a CA), and nothing beside them.
                if (w->kind == MODULE_SINK)
                        return paths_add(w->paths, 'r', text, w->reason);
                return paths_add_root(w->paths, text, w->reason);
        }
        if (o->flags & (OPTION_CAGE_EXECUTE | OPTION_CAGE_WRITE))
                return paths_add_program(
                        w->paths, o->flags & OPTION_CAGE_WRITE ? 'w' : 'x', text, w->reason);
        return paths_add_reference(w->paths, text, w->credentials_dir, w->reason);
}

// The very files that an option names and nothing beside them: a path, or in the text of a connection
// string name=/path or name='/path'.
static int walk_files(const Walk *w, const json_t *v)
{
        char path[PATH_MAX];
        int r = 0;

        for (size_t i = 0; r >= 0 && i < json_array_size(v); i++)
                r = walk_files(w, json_array_get(v, i));
        if (!json_is_string(v))
                return r;
        const char *text = json_string_value(v);
        if (text[0] == '/')
                return paths_add(w->paths, 'r', text, w->reason);
        for (const char *at = strchr(text, '='); r >= 0 && at; at = strchr(at, '=')) {
                at++;
                at += strspn(at, " \t");
                bool quoted = *at == '\'';
                at += quoted;
                size_t n = strcspn(at, quoted ? "'" : " \t&,");
                if (*at != '/' || n >= sizeof path)
                        continue;
                (void)snprintf(path, sizeof path, "%.*s", (int)n, at);
                r = paths_add(w->paths, 'r', path, w->reason);
        }
        return r;
}

static int walk_rows(const Walk *w, const Option *rows, size_t n, const json_t *values)
{
        for (size_t i = 0; i < n; i++) {
                const Option *o = &rows[i];
                const json_t *v = json_object_get(values, o->name);
                int r = 0;
                if (!v)
                        continue;
                if (o->type == OPTION_GROUP)
                        r = walk_rows(w, o->rows, o->n_rows, v);
                else if (o->type == OPTION_GROUP_LIST)
                        for (size_t k = 0; r >= 0 && k < json_array_size(v); k++)
                                r = walk_rows(w, o->rows, o->n_rows, json_array_get(v, k));
                else if (o->flags & OPTION_CAGE_FILES)
                        r = walk_files(w, v);
                else if (o->type == OPTION_SECRET || o->type == OPTION_SECRET_LIST ||
                         (o->flags & (OPTION_CAGE_READ | OPTION_CAGE_EXECUTE | OPTION_CAGE_WRITE |
                                             OPTION_REFERENCE)))
                        r = walk_value(w, o, v);
                if (r < 0)
                        return r;
        }
        return 0;
}

int cage_paths_from_options(CagePaths *p, const ModuleDescription *module, const json_t *options,
        const char *credentials_dir, Reason *reason)
{
        const Walk w = {.paths = p,
                .kind = module->kind,
                .credentials_dir = credentials_dir,
                .reason = reason};
        int r = 0;

        for (size_t i = 0; r >= 0 && i < N_ELEMENTS(common_paths); i++)
                r = paths_add(p, 'r', common_paths[i], reason);
        for (size_t i = 0; module->network && r >= 0 && i < N_ELEMENTS(network_paths); i++)
                r = paths_add(p, 'r', network_paths[i], reason);
        for (size_t i = 0; module->programs && r >= 0 && i < N_ELEMENTS(program_paths); i++)
                r = paths_add(p, program_paths[i][0], program_paths[i] + 2, reason);
        for (const char *const *path = module->reads; r >= 0 && path && *path; path++)
                r = paths_add_read(p, *path, reason);
        return r < 0 ? r : walk_rows(&w, module->options, module->n_options, options);
}

// Is b the same as a or below it? By components: /srv/a does not contain /srv/ab.
static bool path_contains(const char *a, const char *b)
{
        size_t n = strlen(a);

        while (n > 0 && a[n - 1] == '/')
                n--;
        return strncmp(a, b, n) == 0 && (b[n] == '/' || b[n] == '\0');
}

// Would the pattern, component by component, match `path` or a directory above it?
static bool pattern_covers(const char *pattern, const char *path)
{
        char head[PATH_MAX];
        size_t n = 0, end = 0;

        for (const char *s = pattern; *s; s++)
                n += s[0] == '/' && s[1] != '\0' && s[1] != '/';
        for (; n > 0; n--) {
                end += strspn(path + end, "/");
                if (!path[end])
                        return false;
                end += strcspn(path + end, "/");
        }
        (void)snprintf(head, sizeof head, "%.*s", (int)end, path);
        return fnmatch(pattern, head, FNM_PATHNAME) == 0;
}

// realpath() of what exists of it, the rest as written.
static int path_canonical(const char *path, char out[static PATH_MAX])
{
        char head[PATH_MAX];

        if (strlen(path) >= sizeof head)
                return -ENAMETOOLONG;
        (void)snprintf(head, sizeof head, "%s", path);
        trim_slashes(head);
        while (!realpath(head, out)) {
                if (strcmp(head, "/") == 0)
                        return -errno;
                strip_last(head);
        }
        const char *rest = path + (strcmp(head, "/") == 0 ? 0 : strlen(head));
        size_t n = strcmp(out, "/") == 0 ? 0 : strlen(out);
        if (n + strlen(rest) >= PATH_MAX)
                return -ENAMETOOLONG;
        memcpy(out + n, rest, strlen(rest) + 1);
        trim_slashes(out);
        return 0;
}

static int root_check(const char *root, const char *state, const char *spelled, Reason *reason)
{
        char canonical[PATH_MAX];

        int r = path_canonical(root, canonical);
        if (r < 0)
                return reason_errno(reason, r, "%s", root);
        if (path_contains(canonical, state) || path_contains(root, spelled) ||
                pattern_covers(root, state) || pattern_covers(root, spelled))
                return reason_set(reason, -EINVAL,
                        "%s contains the state directory %s, whose own changes would be events: "
                        "watch a directory beside it",
                        root, spelled);
        if (path_contains(state, canonical) || path_contains(spelled, root))
                return reason_set(reason, -EINVAL,
                        "%s lies in the state directory %s, whose changes are Belfry's own", root,
                        spelled);
        return 0;
}

// What a pattern matches now, beside its narrowed fixed part.
static int paths_add_matches(CagePaths *p, const char *root, const char *state, Reason *reason)
{
        glob_t g = {0};
        int r = 0;

        if (!strpbrk(root, "*?[") || glob(root, GLOB_NOSORT, NULL, &g) != 0) {
                globfree(&g);
                return 0;
        }
        for (size_t i = 0; r >= 0 && i < g.gl_pathc; i++) {
                _cleanup_(freep) char *real = realpath(g.gl_pathv[i], NULL);
                if (real && !path_contains(real, state))
                        r = paths_add(p, 'r', g.gl_pathv[i], reason);
        }
        globfree(&g);
        return r;
}

int spawn_roots_check(CagePaths *p, const char *state_dir, Reason *reason)
{
        _cleanup_(freep) char *real = realpath(state_dir, NULL);
        const char *state = real ? real : state_dir;
        bool narrowed = false;

        for (size_t i = 0; i < p->n_roots; i++) {
                int r = root_check(p->roots[i], state, state_dir, reason);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < p->n; i++) {
                _cleanup_(freep) char *path = realpath(p->list[i] + 2, NULL);
                if (path && path_contains(path, state)) {
                        p->list[i][0] = 'd';
                        narrowed = true;
                }
        }
        for (size_t i = 0; narrowed && i < p->n_roots; i++) {
                int r = paths_add_matches(p, p->roots[i], state, reason);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool entry_covers(const char *have, const char *need)
{
        if (strcmp(have, need) == 0)
                return true;
        return (have[0] == need[0] || need[0] == 'd') && path_contains(have + 2, need + 2);
}

bool cage_paths_cover(const CagePaths *old, const CagePaths *now)
{
        for (size_t i = 0; i < now->n; i++) {
                bool found = false;
                for (size_t j = 0; !found && j < old->n; j++)
                        found = entry_covers(old->list[j], now->list[i]);
                if (!found)
                        return false;
        }
        return true;
}

// Does a directory on the list let entry i be read whatever file bears its name? By name and in
// truth: a symlink may lead out of the directory it stands in.
static bool entry_is_inside(const CagePaths *p, size_t i)
{
        const char *path = p->list[i] + 2;

        for (size_t j = 0; j < p->n; j++) {
                const char *dir = p->list[j] + 2;
                if (j == i || p->list[j][0] == 'd' || strcmp(dir, path) == 0 ||
                        !path_contains(dir, path))
                        continue;
                _cleanup_(freep) char *real = realpath(path, NULL), *real_dir = realpath(dir, NULL);
                if (real && real_dir && path_contains(real_dir, real))
                        return true;
        }
        return false;
}

uint64_t cage_paths_stamp(const CagePaths *p)
{
        uint64_t h = UINT64_C(14695981039346656037); // FNV-1a over (device, inode) in order

        for (size_t i = 0; i < p->n; i++) {
                struct stat st = {0};
                // What /proc makes up anew at each look has no identity to keep.
                if (strncmp(p->list[i] + 2, "/proc/", 6) == 0 || entry_is_inside(p, i))
                        continue;
                if (stat(p->list[i] + 2, &st) < 0)
                        st = (struct stat){0};
                const uint64_t id[] = {i, st.st_dev, st.st_ino};
                for (size_t k = 0; k < N_ELEMENTS(id); k++)
                        h = (h ^ id[k]) * UINT64_C(1099511628211);
        }
        return h;
}
