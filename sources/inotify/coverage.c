// SPDX-License-Identifier: MIT
// What the options of the last run covered. They are stored (state row 'o') when taking stock is
// complete. When they differ from today's, a file that is new to the snapshot is told as created if
// the old options would have shown it, and follows `initial` if they would not.
#include "parts.h"

#include "base/digest.h"
#include "base/limits.h"

#include <fnmatch.h>
#include <stdlib.h>

struct Coverage {
        json_t *json;
        char **paths;
        IgnoreList include, exclude;
        json_int_t max_depth;
};

static json_t *list_json(char *const *list)
{
        json_t *a = json_array();
        for (; list && *list; list++)
                (void)json_array_append_new(a, json_stringn_nocheck(*list, strlen(*list)));
        return a;
}

static char *options_text(const InotifyOptions *o)
{
        json_t *j = json_pack("{s:o s:o s:o s:I s:b s:b}", "paths", list_json(o->paths), "include",
                list_json(o->include), "exclude", list_json(o->exclude), "max_depth",
                (json_int_t)(o->recursive ? o->max_depth : 1), "one_filesystem", o->one_filesystem,
                "follow_symlinks", o->follow_symlinks);
        char *text = j ? json_dumps(j, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
        json_decref(j);
        if (!text || strlen(text) <= LIMIT_STATE_VALUE)
                return text;
        // Too long to be kept: its hash tells that it changed, and everything counts as covered.
        uint8_t hash[SHA256_SIZE];
        char hex[2 * SHA256_SIZE];
        if (digest_sha256(slice_of(text), hash) < 0)
                return text;
        digest_hex(hash, sizeof hash, hex);
        free(text);
        return asprintf(&text, "{\"sha256\":\"%.*s\"}", (int)sizeof hex, hex) < 0 ? NULL : text;
}

static char **list_strings(const json_t *a)
{
        size_t n = json_array_size(a);
        char **list = calloc(n + 1, sizeof *list);
        for (size_t i = 0; list && i < n; i++)
                list[i] = (char *)(uintptr_t)json_string_value(json_array_get(a, i));
        return list;
}

void coverage_free(Watcher *w)
{
        Coverage *c = w->old_coverage;
        if (!c)
                return;
        ignore_list_deinit(&c->include);
        ignore_list_deinit(&c->exclude);
        free(c->paths);
        json_decref(c->json);
        free(c);
        w->old_coverage = NULL;
}

void coverage_load(Watcher *w, Slice json)
{
        coverage_free(w);
        Coverage *c = calloc(1, sizeof *c);
        if (!c)
                return;
        w->old_coverage = c;
        c->json = json_loadb(json.data, json.len, 0, NULL);
        c->paths = list_strings(json_object_get(c->json, "paths"));
        char **include = list_strings(json_object_get(c->json, "include"));
        char **exclude = list_strings(json_object_get(c->json, "exclude"));
        c->max_depth = json_integer_value(json_object_get(c->json, "max_depth"));
        if (ignore_list_init(&c->include, include, NULL) < 0 ||
                ignore_list_init(&c->exclude, exclude, NULL) < 0)
                memory_short = true;
        free(include);
        free(exclude);
}

bool coverage_changed(Watcher *w)
{
        if (!w->old_coverage)
                return true;
        _cleanup_(freep) char *now = options_text(w->options);
        _cleanup_(freep) char *old =
                json_dumps(w->old_coverage->json, JSON_SORT_KEYS | JSON_COMPACT);
        return !now || !old || strcmp(now, old) != 0;
}

void coverage_put(Watcher *w)
{
        _cleanup_(freep) char *now = options_text(w->options);
        if (!now)
                return;
        batch_open(w);
        source_state_put(w->source, SLICE_LIT("o"), slice_of(now));
}

// rest: the path below one of the old roots.
static bool covers_below(const Coverage *c, const char *rest, bool is_dir)
{
        Slice path = slice_of(rest);
        json_int_t depth = 1;
        for (size_t i = 0; i < path.len; i++)
                depth += path.data[i] == '/';
        if (c->max_depth > 0 && depth > c->max_depth)
                return false;
        return !ignore_covers(&c->exclude, path, is_dir) &&
               (is_dir || c->include.n == 0 || ignore_covers(&c->include, path, false));
}

static bool covers(const Coverage *c, char *path, bool is_dir)
{
        if (json_object_get(c->json, "sha256"))
                return true;
        for (char **p = c->paths; p && *p; p++) {
                size_t n = strlen(*p);
                while (n > 1 && (*p)[n - 1] == '/')
                        n--;
                _cleanup_(freep) char *pattern = strndup(*p, n);
                if (!pattern)
                        return true;
                for (char *at = path;; at++) {
                        if (*at && *at != '/')
                                continue;
                        char end = *at;
                        *at = 0;
                        bool match = fnmatch(pattern, *path ? path : "/",
                                             FNM_PATHNAME | FNM_PERIOD) == 0;
                        *at = end;
                        if (match && (!end || covers_below(c, at + 1, is_dir)))
                                return true;
                        if (!end)
                                break;
                }
        }
        return false;
}

bool coverage_was(Watcher *w, const Dir *d, Slice name, bool is_dir)
{
        if (!w->old_coverage)
                return false;
        buf_reset(&w->scratch);
        dir_path(d, &w->scratch);
        buf_add_char(&w->scratch, '/');
        buf_add_slice(&w->scratch, name);
        (void)buf_text(&w->scratch);
        return covers(w->old_coverage, (char *)w->scratch.data, is_dir);
}

bool follows_initial(Watcher *w, const Dir *d, Slice name, bool is_dir)
{
        return d->root->taking_stock || (w->taking_stock && !coverage_was(w, d, name, is_dir));
}
