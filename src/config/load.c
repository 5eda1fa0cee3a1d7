// SPDX-License-Identifier: MIT
// Files to one configuration: the main file, then conf.d/*.conf beside it in order of name. All
// faults of all files are collected; a configuration with one is not returned. Nothing of the world
// outside the files is judged but the modules' descriptions: what is missing at run time degrades.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/limits.h"
#include "config/load.h"

Reader loader_reader(Loader *l, const ConfigFile *f)
{
        return (Reader){.scan = &f->scan, .d = l->d, .error = l->error};
}

void loader_merge(Loader *l, const Reader *r)
{
        if (r->error < 0)
                l->error = r->error;
}

const ScanNode *loader_section(const ConfigFile *f, const char *name)
{
        return f->good ? scan_child(&f->scan, f->scan.nodes, name) : NULL;
}

const char *loader_add_file(Loader *l, const char *name)
{
        Config *c = l->config;
        size_t n = 0;
        while (c->files && c->files[n]) {
                if (strcmp(c->files[n], name) == 0)
                        return c->files[n];
                n++;
        }
        char **files = reallocarray(c->files, n + 2, sizeof(*files));
        if (!files)
                return NULL;
        c->files = files;
        files[n + 1] = NULL;
        files[n] = strdup(name);
        return files[n] ? diagnostics_file(l->d, files[n]) ? files[n] : NULL : NULL;
}

// As sshd does with what it trusts: nobody else may write it, nor have put a link in its place.
static void check_trust(Loader *l, const char *file, const char *path)
{
        struct stat st, link;
        Place place = {.file = file};
        if (stat(path, &st) < 0 || lstat(path, &link) < 0)
                return; // reading it says why
        if (st.st_mode & S_IWOTH)
                diagnose(l->d, SEVERITY_ERROR, place, "",
                        "everybody may write it: refused (chmod o-w it)");
        if (S_ISLNK(link.st_mode) && link.st_uid != 0 && link.st_uid != geteuid() &&
                link.st_uid != st.st_uid)
                diagnose(l->d, SEVERITY_ERROR, place, "",
                        "is a symbolic link that belongs to user %u: refused", link.st_uid);
        if (st.st_uid != 0 && st.st_uid != geteuid())
                diagnose(l->d, SEVERITY_WARNING, place, "", "belongs to user %u, who may change it",
                        st.st_uid);
}

static void read_one(Loader *l, ConfigFile *f, const char *path)
{
        Reason reason = {0};
        const char *file = loader_add_file(l, path);
        f->text = BUF_INIT(LIMIT_CONFIG_FILE);
        int r = file ? file_read(AT_FDCWD, path, &f->text) : -ENOMEM;
        if (r == -ENOMEM) {
                l->error = r;
                return;
        }
        if (r < 0) {
                l->incomplete = true;
                (void)reason_errno(&reason, r, "cannot be read");
                if (r == -EFBIG)
                        (void)reason_set(&reason, r, "is over %u bytes", LIMIT_CONFIG_FILE);
                diagnose(l->d, SEVERITY_ERROR, (Place){.file = file}, "", "%s", reason.text);
                return;
        }
        check_trust(l, file, path);
        // libconfig takes a comment on the last line for garbage when no newline follows.
        size_t len = f->text.len;
        f->text.max = LIMIT_CONFIG_FILE + 2;
        buf_add(&f->text, "\n", 2);
        r = f->text.error;
        if (r == 0)
                r = scan_init(&f->scan, file, slice_mem(f->text.data, len + 1), l->d);
        f->good = r == 0;
        if (r == -ENOMEM)
                l->error = r;
        else if (r < 0)
                l->incomplete = true;
}

static int is_fragment(const struct dirent *e)
{
        size_t n = strlen(e->d_name);
        return e->d_name[0] != '.' && n > 5 && strcmp(e->d_name + n - 5, ".conf") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name);
}

// The paths of conf.d/*.conf; *ret_n of them, each to be freed.
static char **fragments(Loader *l, const char *main_file, size_t *ret_n)
{
        const char *slash = strrchr(main_file, '/');
        struct dirent **entries = NULL;
        struct stat st;
        char **paths = NULL;
        _cleanup_(freep) char *dir = NULL;
        if (asprintf(&dir, "%.*sconf.d", slash ? (int)(slash - main_file) + 1 : 0, main_file) < 0) {
                dir = NULL;
                l->error = -ENOMEM;
                return NULL;
        }
        int n = scandir(dir, &entries, is_fragment, by_bytes);
        if (n < 0) {
                if (errno == ENOMEM)
                        l->error = -ENOMEM;
                else if (errno != ENOENT) {
                        Reason reason = {0};
                        (void)reason_errno(&reason, -errno, "cannot be read");
                        l->incomplete = true;
                        diagnose(l->d, SEVERITY_ERROR, (Place){.file = dir}, "", "%s", reason.text);
                }
                return NULL;
        }
        if (n > 0 && stat(dir, &st) == 0 && (st.st_mode & S_IWOTH))
                diagnose(l->d, SEVERITY_ERROR, (Place){.file = dir}, "",
                        "everybody may put files here: refused (chmod o-w it)");
        if (n > (int)LIMIT_CONF_FILES)
                diagnose(l->d, SEVERITY_ERROR, (Place){.file = dir}, "", "more than %u files",
                        LIMIT_CONF_FILES);
        else
                paths = calloc((size_t)n + 1, sizeof(*paths));
        for (int i = 0; i < n; i++) {
                if (paths && asprintf(&paths[*ret_n], "%s/%s", dir, entries[i]->d_name) >= 0)
                        (*ret_n)++;
                else if (n <= (int)LIMIT_CONF_FILES)
                        l->error = -ENOMEM;
                free(entries[i]);
        }
        free(entries);
        return paths;
}

static void read_files(Loader *l, const char *path)
{
        size_t n = 0;
        char **paths = fragments(l, path, &n);
        l->files = calloc(n + 1, sizeof(*l->files));
        if (!l->files)
                l->error = -ENOMEM;
        for (size_t i = 0; i < n + 1 && l->error == 0; i++)
                read_one(l, &l->files[l->n_files++], i == 0 ? path : paths[i - 1]);
        for (size_t i = 0; i < n; i++)
                free(paths[i]);
        free(paths);
}

static void close_files(Loader *l)
{
        for (size_t i = 0; i < l->n_files; i++) {
                scan_deinit(&l->files[i].scan);
                buf_deinit(&l->files[i].text);
        }
        free(l->files);
}

int config_load(Config **ret, const char *path, const char *module_dir, Diagnostics *d)
{
        Loader l = {.config = calloc(1, sizeof(Config)), .d = d, .module_dir = module_dir};
        unsigned errors = d->n_errors;
        static void (*const parts[])(Loader *) = {
                load_sections, load_sources, load_sinks, load_rules, load_cross_checks};
        if (!l.config)
                return -ENOMEM;
        read_files(&l, path);
        for (size_t i = 0; i < N_ELEMENTS(parts) && l.error == 0; i++)
                parts[i](&l);
        close_files(&l);
        diagnostics_sort(d);
        if (l.error < 0 || d->n_errors > errors) {
                (void)config_free(l.config);
                return l.error < 0 ? l.error : -EINVAL;
        }
        *ret = l.config;
        return 0;
}
