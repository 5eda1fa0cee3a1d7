// SPDX-License-Identifier: MIT
// Canonical JSON into a module's struct, by the rows of its table. Every value is checked again
// here: the JSON may come over a link. A failed fill leaves the struct as it was given, zeroed.
#include "config/option_table.h"

#include <errno.h>

#include "base/limits.h"

static void *member(const Option *row, void *dst)
{
        return (char *)dst + row->offset;
}

static int misfit(const Option *row, Reason *reason)
{
        return reason_set(
                reason, -EINVAL, "option %s: expected %s", row->name, option_type_expected(row));
}

static int take_integer(const Option *row, const json_t *j, int64_t *ret, Reason *reason)
{
        const char *bound;
        if (!json_is_integer(j))
                return misfit(row, reason);
        int64_t v = json_integer_value(j);
        if (row->type != OPTION_INT && v < 0)
                return misfit(row, reason);
        int side = option_compare_bounds(row, v, &bound);
        if (side != 0)
                return reason_set(reason, -EINVAL, "option %s: the %s is %s", row->name,
                        side < 0 ? "minimum" : "maximum", bound);
        *ret = v;
        return 0;
}

static int take_text(const Option *row, const json_t *j, char **ret, Reason *reason)
{
        if (!json_is_string(j) || strlen(json_string_value(j)) != json_string_length(j))
                return misfit(row, reason);
        int r = option_check_text(row, json_string_value(j), reason);
        if (r < 0)
                return reason_prefix(reason, r, "option %s", row->name);
        *ret = strdup(json_string_value(j));
        return *ret ? 0 : -ENOMEM;
}

static int fill_text_list(const Option *row, char ***dst, const json_t *j, Reason *reason)
{
        Option element = option_element(row);
        size_t n = json_array_size(j);
        if (!json_is_array(j) || n > LIMIT_LIST)
                return misfit(row, reason);
        *dst = calloc(n + 1, sizeof(**dst));
        if (!*dst)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                int r = take_text(&element, json_array_get(j, i), &(*dst)[i], reason);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int fill_usec_list(const Option *row, UsecList *dst, const json_t *j, Reason *reason)
{
        Option element = option_element(row);
        size_t n = json_array_size(j);
        if (!json_is_array(j) || n > LIMIT_LIST)
                return misfit(row, reason);
        dst->usec = calloc(n ? n : 1, sizeof(*dst->usec));
        if (!dst->usec)
                return -ENOMEM;
        for (; dst->n < n; dst->n++) {
                int64_t v;
                int r = take_integer(&element, json_array_get(j, dst->n), &v, reason);
                if (r < 0)
                        return r;
                dst->usec[dst->n] = (uint64_t)v;
        }
        return 0;
}

static int fill_map(const Option *row, StringMap *dst, json_t *j, Reason *reason)
{
        const char *name;
        json_t *value;
        size_t n = json_object_size(j);
        if (!json_is_object(j) || n > LIMIT_LIST)
                return misfit(row, reason);
        dst->names = calloc(n + 1, sizeof(*dst->names));
        dst->values = calloc(n + 1, sizeof(*dst->values));
        if (!dst->names || !dst->values)
                return -ENOMEM;
        json_object_foreach(j, name, value)
        {
                int r = row->flags & OPTION_HEADERS ? option_check_header_name(name, reason) : 0;
                size_t i = dst->n++;
                if (r == 0)
                        r = take_text(row, value, &dst->values[i], reason);
                if (r == 0 && !(dst->names[i] = strdup(name)))
                        r = -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int fill_scalar(const Option *row, void *dst, const json_t *j, Reason *reason)
{
        int64_t v = 0;
        int r;
        switch (row->type) {
        case OPTION_BOOL:
                if (!json_is_boolean(j))
                        return misfit(row, reason);
                *(bool *)member(row, dst) = json_is_true(j);
                return 0;
        case OPTION_ENUM:
                r = json_is_string(j) ? option_enum_index(row, json_string_value(j)) : -EINVAL;
                if (r < 0)
                        return misfit(row, reason);
                *(int *)member(row, dst) = r;
                return 0;
        case OPTION_INT:
                r = take_integer(row, j, &v, reason);
                if (r == 0)
                        *(int64_t *)member(row, dst) = v;
                return r;
        default: // OPTION_DURATION, OPTION_SIZE
                r = take_integer(row, j, &v, reason);
                if (r == 0)
                        *(uint64_t *)member(row, dst) = (uint64_t)v;
                return r;
        }
}

static int fill_rows(const Option *rows, size_t n, void *dst, const json_t *values, Reason *reason);

static int fill_group_list(const Option *row, GroupList *dst, const json_t *j, Reason *reason)
{
        size_t n = json_array_size(j);
        if (!json_is_array(j) || n > LIMIT_LIST)
                return misfit(row, reason);
        dst->items = calloc(n ? n : 1, row->item_size);
        if (!dst->items)
                return -ENOMEM;
        for (; dst->n < n; dst->n++) {
                int r = fill_rows(row->rows, row->n_rows,
                        (char *)dst->items + dst->n * row->item_size, json_array_get(j, dst->n),
                        reason);
                if (r < 0) {
                        dst->n++; // what is half filled is cleared too
                        return reason_prefix(reason, r, "%s", row->name);
                }
        }
        return 0;
}

static int fill_value(const Option *row, void *dst, json_t *j, Reason *reason)
{
        int r;
        switch (row->type) {
        case OPTION_STRING:
        case OPTION_PATH:
        case OPTION_URL:
        case OPTION_SECRET:
                return take_text(row, j, member(row, dst), reason);
        case OPTION_STRING_LIST:
        case OPTION_PATH_LIST:
        case OPTION_SECRET_LIST:
                return fill_text_list(row, member(row, dst), j, reason);
        case OPTION_DURATION_LIST:
                return fill_usec_list(row, member(row, dst), j, reason);
        case OPTION_STRING_MAP:
                return fill_map(row, member(row, dst), j, reason);
        case OPTION_GROUP:
                r = fill_rows(row->rows, row->n_rows, member(row, dst), j, reason);
                return r < 0 ? reason_prefix(reason, r, "%s", row->name) : 0;
        case OPTION_GROUP_LIST:
                return fill_group_list(row, member(row, dst), j, reason);
        case OPTION_TEMPLATE:
                return misfit(row, reason);
        default:
                return fill_scalar(row, dst, j, reason);
        }
}

static int fill_rows(const Option *rows, size_t n, void *dst, const json_t *values, Reason *reason)
{
        const char *name;
        json_t *value;
        if (!json_is_object(values))
                return reason_set(reason, -EINVAL, "the options are not a JSON object");
        json_object_foreach((json_t *)values, name,
                value) if (!option_find(rows, n, name)) return reason_set(reason, -EINVAL,
                "unknown option %.64s", name);
        for (size_t i = 0; i < n; i++) {
                json_t *given = json_object_get(values, rows[i].name), *def = NULL;
                if (!given && (rows[i].flags & OPTION_REQUIRED))
                        return reason_set(reason, -EINVAL, "option %s is missing", rows[i].name);
                int r = given ? 0 : option_default(&rows[i], &def);
                if (r == -EINVAL)
                        (void)reason_set(reason, r, "option %s: bad default", rows[i].name);
                if (r == 0 && (given || def))
                        r = fill_value(&rows[i], dst, given ? given : def, reason);
                json_decref(def);
                if (r < 0)
                        return r;
        }
        return 0;
}

int option_fill(const Option *rows, size_t n, void *dst, const json_t *values, Reason *reason)
{
        int r = fill_rows(rows, n, dst, values, reason);
        if (r == -ENOMEM)
                (void)reason_set(reason, r, "out of memory");
        if (r < 0)
                option_clear(rows, n, dst);
        return r;
}

static void clear_list(char ***list)
{
        for (char **p = *list; p && *p; p++)
                free(*p);
        free(*list);
        *list = NULL;
}

static void clear_map(StringMap *m)
{
        for (size_t i = 0; i < m->n; i++) {
                free(m->names[i]);
                free(m->values[i]);
        }
        free(m->names);
        free(m->values);
        *m = (StringMap){0};
}

static void clear_group_list(const Option *row, GroupList *list)
{
        for (size_t i = 0; i < list->n; i++)
                option_clear(row->rows, row->n_rows, (char *)list->items + i * row->item_size);
        free(list->items);
        *list = (GroupList){0};
}

static void clear_value(const Option *row, void *dst)
{
        void *at = member(row, dst);
        switch (row->type) {
        case OPTION_STRING:
        case OPTION_PATH:
        case OPTION_URL:
        case OPTION_SECRET:
                free(*(char **)at);
                *(char **)at = NULL;
                break;
        case OPTION_STRING_LIST:
        case OPTION_PATH_LIST:
        case OPTION_SECRET_LIST:
                clear_list(at);
                break;
        case OPTION_DURATION_LIST:
                free(((UsecList *)at)->usec);
                *(UsecList *)at = (UsecList){0};
                break;
        case OPTION_STRING_MAP:
                clear_map(at);
                break;
        case OPTION_GROUP:
                option_clear(row->rows, row->n_rows, at);
                break;
        case OPTION_GROUP_LIST:
                clear_group_list(row, at);
                break;
        case OPTION_BOOL:
                *(bool *)at = false;
                break;
        case OPTION_ENUM:
                *(int *)at = 0;
                break;
        case OPTION_INT:
        case OPTION_DURATION:
        case OPTION_SIZE:
                *(uint64_t *)at = 0;
                break;
        default:
                break;
        }
}

void option_clear(const Option *rows, size_t n, void *dst)
{
        for (size_t i = 0; i < n; i++)
                if (rows[i].offset != SIZE_MAX)
                        clear_value(&rows[i], dst);
}

static bool differs(const Option *rows, size_t n, const json_t *a, const json_t *b, unsigned flags,
        bool invert, unsigned inherited)
{
        for (size_t i = 0; i < n; i++) {
                json_t *x = json_object_get(a, rows[i].name), *y = json_object_get(b, rows[i].name);
                unsigned own = rows[i].flags | inherited;
                if (rows[i].type == OPTION_GROUP) {
                        if (differs(rows[i].rows, rows[i].n_rows, x, y, flags, invert, own))
                                return true;
                } else if (((own & flags) != 0) != invert && x != y && !json_equal(x, y)) {
                        return true;
                }
        }
        return false;
}

// A flag on a group counts for all that is in it.
bool option_differs(
        const Option *rows, size_t n, const json_t *a, const json_t *b, unsigned flags, bool invert)
{
        return differs(rows, n, a, b, flags, invert, 0);
}
