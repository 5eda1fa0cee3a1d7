// SPDX-License-Identifier: MIT
// One walk over an instance's values by its option table. Patterns are never missing: what they match
// may come. A reference is judged by its file alone, since whoever may not know the secret must not
// read it. Another user than the service cannot know its rights nor its credentials, and says so.
#include "config/world.h"

#include "base/limits.h"
#include "config/option_table.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Look {
        const WorldEyes *eyes;
        WorldMissing missing;
        void *userdata;
} Look;

static void look_reference(const Look *l, const Option *o, const char *text)
{
        bool credential = strncmp(text, "credential:", 11) == 0;
        Reason reason = {0};

        if (credential && !l->eyes->service)
                (void)reason_set(&reason, -EACCES,
                        "whether the service has the credential \"%.64s\" only the service sees: "
                        "belfry check --live",
                        text + 11);
        else if (option_secret_look(text, l->eyes->credentials_dir, l->eyes->service, &reason) >= 0)
                return;
        l->missing(o, reason.text, l->userdata);
}

static void look_path(const Look *l, const Option *o, const char *path)
{
        struct stat st;
        Reason reason = {0};
        int r = 0;

        if (strpbrk(path, "*?["))
                return;
        if (stat(path, &st) < 0)
                r = -errno;
        else if (l->eyes->service &&
                 faccessat(AT_FDCWD, path, S_ISDIR(st.st_mode) ? R_OK | X_OK : R_OK, AT_EACCESS) <
                         0)
                r = -errno;
        if (r >= 0 || (r == -EACCES && l->eyes->reads_all))
                return;
        (void)reason_errno(&reason, r, "%.256s", path);
        l->missing(o, reason.text, l->userdata);
}

static void look_value(const Look *l, const Option *o, const json_t *v)
{
        const char *key, *text = json_string_value(v);
        size_t i;
        json_t *one;

        if (json_is_array(v)) {
                json_array_foreach((json_t *)v, i, one) look_value(l, o, one);
        } else if (json_is_object(v)) {
                json_object_foreach((json_t *)v, key, one) look_value(l, o, one);
        } else if (text && (o->type == OPTION_PATH || o->type == OPTION_PATH_LIST)) {
                look_path(l, o, text);
        } else if (text && option_is_reference(slice_of(text)) &&
                   (o->type == OPTION_SECRET || o->type == OPTION_SECRET_LIST ||
                           (o->flags & OPTION_REFERENCE))) {
                look_reference(l, o, text);
        }
}

static void look_rows(const Look *l, const Option *rows, size_t n, const json_t *values)
{
        for (size_t i = 0; i < n; i++) {
                const json_t *v = json_object_get(values, rows[i].name);
                if (v && rows[i].type == OPTION_GROUP)
                        look_rows(l, rows[i].rows, rows[i].n_rows, v);
                else if (v && rows[i].type == OPTION_GROUP_LIST)
                        for (size_t k = 0; k < json_array_size(v); k++)
                                look_rows(l, rows[i].rows, rows[i].n_rows, json_array_get(v, k));
                else if (v)
                        look_value(l, &rows[i], v);
        }
}

void world_look(const Option *rows, size_t n, const json_t *values, const WorldEyes *eyes,
        WorldMissing missing, void *userdata)
{
        const Look l = {.eyes = eyes, .missing = missing, .userdata = userdata};

        look_rows(&l, rows, n, values);
}
