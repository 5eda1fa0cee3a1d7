// SPDX-License-Identifier: MIT
// What keeps this source from seeing everything, in words, and what it counts: for `status`. Each
// sentence names the cause and the line that mends it.
#include "parts.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

int watcher_mounts_fd = -1;

static void add(Watcher *w, char *text, size_t size, const char *format, ...) _printf_(4, 5);

static void add(Watcher *w, char *text, size_t size, const char *format, ...)
{
        size_t n = strlen(text);
        va_list ap;
        if (n > 0)
                n += (size_t)snprintf(text + n, size - n, "; ");
        if (n >= size)
                return;
        va_start(ap, format);
        (void)vsnprintf(text + n, size - n, format, ap);
        va_end(ap);
}

static bool is_below(const char *path, const char *top)
{
        size_t n = strlen(top);
        return strncmp(path, top, n) == 0 && (path[n] == 0 || path[n] == '/');
}

// Is /tmp here a private one? Its mount then comes from a directory that systemd made.
static bool tmp_is_private(const char *top)
{
        static char text[65536];
        char want[64];
        if (watcher_mounts_fd < 0)
                return false;
        size_t len = 0;
        ssize_t n;
        do { // the kernel gives about a page at a time
                n = pread(watcher_mounts_fd, text + len, sizeof text - 1 - len, (off_t)len);
                len += n > 0 ? (size_t)n : 0;
        } while (n > 0 && len < sizeof text - 1);
        text[len] = 0;
        (void)snprintf(want, sizeof want, "/tmp %s ", top);
        for (const char *p = text; (p = strstr(p, "/systemd-private-")); p++) {
                const char *end = strchrnul(p, '\n'), *at = strstr(p, want);
                if (at && at < end)
                        return true;
        }
        return false;
}

// The service's sandbox may hide what an administrator sees.
static const char *hidden_by(const char *path)
{
        static const char *const homes[] = {"/home", "/root", "/run/user"};
        struct stat s;
        for (size_t i = 0; i < N_ELEMENTS(homes); i++)
                if (is_below(path, homes[i]) && stat(homes[i], &s) == 0 && (s.st_mode & 0777) == 0)
                        return "hidden by ProtectHome= of the service; set ProtectHome=read-only "
                               "in a drop-in";
        if ((is_below(path, "/tmp") && tmp_is_private("/tmp")) ||
                (is_below(path, "/var/tmp") && tmp_is_private("/var/tmp")))
                return "hidden by PrivateTmp= of the service; enable the drop-in tmp.conf";
        return NULL;
}

static void add_missing_files(Watcher *w, const Root *r, char *text, size_t size)
{
        for (size_t i = 0; i < r->n_names; i++) {
                char path[4400];
                struct stat s;
                (void)snprintf(path, sizeof path, "%s/%s", r->path, r->names[i]);
                if (!r->literal || (r->dir && dir_find(r->dir, r->names[i], strlen(r->names[i]))))
                        continue;
                const Root *dir = root_find(w, path, strlen(path), false);
                if ((dir && dir->found == w->refreshes) || stat(path, &s) == 0)
                        continue;
                const char *hidden = hidden_by(path);
                add(w, text, size, "%s %s", path,
                        hidden ? hidden : "does not exist yet, waiting for it");
        }
}

// A configured path whose parents are missing too has no root: only its guard knows.
static void add_missing_paths(Watcher *w, char *text, size_t size)
{
        for (char **p = w->options->paths; p && *p; p++) {
                struct stat s;
                size_t n = strlen(*p);
                while (n > 1 && (*p)[n - 1] == '/')
                        n--;
                const Root *r = root_find(w, *p, n, false);
                if (strpbrk(*p, "*?[") || stat(*p, &s) == 0 || (r && r->dir))
                        continue;
                const char *slash = memrchr(*p, '/', n);
                struct stat parent;
                char dir[4096];
                (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - *p), *p);
                if (stat(dir[0] ? dir : "/", &parent) == 0)
                        continue; // told with its parent
                const char *hidden = hidden_by(*p);
                add(w, text, size, "%s %s", *p,
                        hidden ? hidden : "does not exist yet, waiting for it");
        }
}

static void add_limits(Watcher *w, char *text, size_t size)
{
        if (w->n_unreadable > 0) {
                struct passwd user = {0}, *found = NULL;
                char space[1024];
                char how[512];
                (void)getpwuid_r(geteuid(), &user, space, sizeof space, &found);
                if (w->unreadable_error == -EACCES || w->unreadable_error == -EPERM)
                        (void)snprintf(how, sizeof how, "setfacl -R -m u:%s:rX '%s'",
                                found ? found->pw_name : "belfry", w->unreadable_path);
                else
                        (void)snprintf(how, sizeof how, "%s", strerror(-w->unreadable_error));
                add(w, text, size, "%llu directories cannot be read, as %s: %s",
                        (unsigned long long)w->n_unreadable, w->unreadable_path, how);
        }
        if (w->n_unwatched > 0 && w->watch_limit) {
                uint64_t want = 8192;
                while (want < 2 * (uint64_t)w->tree.n_dirs)
                        want *= 2;
                add(w, text, size,
                        "the limit of inotify watches is reached, %llu directories are compared "
                        "every %llu s "
                        "instead: sysctl fs.inotify.max_user_watches=%llu",
                        (unsigned long long)w->n_unwatched,
                        (unsigned long long)(w->options->poll_usec / USEC_PER_SEC),
                        (unsigned long long)want);
        }
}

void roots_report_trouble(Watcher *w)
{
        char text[sizeof w->trouble] = "";
        w->trouble_news = false;
        for (const Root *r = w->roots; r; r = r->next) {
                const char *path = r->path[0] ? r->path : "/";
                if (!r->wanted)
                        continue;
                if (r->state == ROOT_AWAY) {
                        const char *hidden = hidden_by(path);
                        add(w, text, sizeof text, "%s is away: %s", path,
                                hidden ? hidden : r->reason);
                }
                if (r->names && r->state == ROOT_ARMED)
                        add_missing_files(w, r, text, sizeof text);
        }
        add_missing_paths(w, text, sizeof text);
        add_limits(w, text, sizeof text);
        if (strcmp(text, w->trouble) == 0)
                return;
        memcpy(w->trouble, text, sizeof text);
        source_degraded(w->source, text[0] ? "%s" : NULL, text);
}

void watcher_stats(Watcher *w)
{
        unsigned armed = 0, away = 0, waiting = 0;
        char last[CLOCK_RFC3339_MAX] = "";
        for (const Root *r = w->roots; r; r = r->next) {
                armed += r->state == ROOT_ARMED;
                away += r->state == ROOT_AWAY;
                waiting += r->state == ROOT_WAITING && r->wanted && !r->covered;
        }
        json_t *j = json_pack("{s:I s:I s:I s:I s:I s:I s:I s:I s:i s:i s:i s:b s:I s:b}",
                "directories", (json_int_t)w->tree.n_dirs, "files", (json_int_t)w->tree.n_files,
                "overflows", (json_int_t)w->stats.overflows, "comparisons",
                (json_int_t)w->stats.comparisons, "events", (json_int_t)w->stats.events,
                "kernel_events", (json_int_t)w->stats.kernel_events, "waiting_files",
                (json_int_t)w->pendings.n, "dirty",
                (json_int_t)(w->all_dirty ? w->tree.n_dirs : w->dirty.n), "roots", (int)armed,
                "away", (int)away, "waiting", (int)waiting, "polling",
                (int)(w->any_remote || w->n_unwatched > 0), "unwatched", (json_int_t)w->n_unwatched,
                "comparing", (int)round_active(w));
        if (!j)
                return;
        if (w->stats.last_event_usec)
                (void)json_object_set_new(j, "last_event",
                        json_string(clock_rfc3339(w->stats.last_event_usec, last)));
        json_t *paths = json_array();
        for (char **p = w->options->paths; p && *p && json_array_size(paths) < 100; p++)
                (void)json_array_append_new(paths, json_string(*p));
        (void)json_object_set_new(j, "watches", paths);
        source_stats(w->source, j);
        json_decref(j);
}
