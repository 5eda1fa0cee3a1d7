// SPDX-License-Identifier: MIT
// The meaning of an option row: names of types, quantities in the user's units, bounds, defaults.
// Rows are never changed here. What strings must look like stands in option_check.c.
#include "config/option_table.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

static const char *const type_names[_OPTION_TYPE_MAX] = {
        [OPTION_BOOL] = "bool",
        [OPTION_INT] = "integer",
        [OPTION_DURATION] = "duration",
        [OPTION_SIZE] = "size",
        [OPTION_STRING] = "string",
        [OPTION_ENUM] = "word",
        [OPTION_PATH] = "path",
        [OPTION_STRING_LIST] = "string-list",
        [OPTION_PATH_LIST] = "path-list",
        [OPTION_DURATION_LIST] = "duration-list",
        [OPTION_URL] = "url",
        [OPTION_SECRET] = "secret",
        [OPTION_SECRET_LIST] = "secret-list",
        [OPTION_STRING_MAP] = "string-map",
        [OPTION_GROUP] = "group",
        [OPTION_GROUP_LIST] = "group-list",
        [OPTION_TEMPLATE] = "template",
};

// Also the words for "expected ..." when a value is of another type.
static const char *const type_expected[_OPTION_TYPE_MAX] = {
        [OPTION_BOOL] = "true or false",
        [OPTION_INT] = "an integer such as 8",
        [OPTION_DURATION] = "a duration such as \"15s\" or \"500ms\"",
        [OPTION_SIZE] = "a size such as \"10M\"",
        [OPTION_STRING] = "a string in double quotes",
        [OPTION_ENUM] = "a word in double quotes",
        [OPTION_PATH] = "an absolute path such as \"/srv/uploads\"",
        [OPTION_STRING_LIST] = "a list of strings such as [ \"a\", \"b\" ]",
        [OPTION_PATH_LIST] = "a list of absolute paths such as [ \"/srv/uploads\" ]",
        [OPTION_DURATION_LIST] = "a list of durations such as [ \"5s\", \"5m\", \"1h\" ]",
        [OPTION_URL] = "a URL such as \"https://hooks.example.com/in\"",
        [OPTION_SECRET] = "a reference such as \"credential:NAME\" or \"file:/PATH\"",
        [OPTION_SECRET_LIST] = "a reference such as \"credential:NAME\", or a list of them",
        [OPTION_STRING_MAP] = "a group of strings such as { name = \"value\"; }",
        [OPTION_GROUP] = "a group such as { name = value; }",
        [OPTION_GROUP_LIST] = "a list of strings or groups such as ( \"a\", { name = value; } )",
        [OPTION_TEMPLATE] = "a group, a list or a string",
};

static const char *const flag_names[OPTION_FLAG_BITS] = {
        "required",
        "reloadable",
        "reference",
        "cage-read",
        "rebaseline",
        "stored",
        "headers",
        "cage-files",
        "cage-execute",
        "cage-write",
};

const char *option_type_to_string(OptionType t)
{
        return (int)t >= 0 && t < _OPTION_TYPE_MAX ? type_names[t] : NULL;
}

OptionType option_type_from_string(const char *s)
{
        for (int t = 0; s && t < _OPTION_TYPE_MAX; t++)
                if (strcmp(type_names[t], s) == 0)
                        return (OptionType)t;
        return _OPTION_TYPE_INVALID;
}

const char *option_flag_name(unsigned bit)
{
        return bit < OPTION_FLAG_BITS ? flag_names[bit] : NULL;
}

const char *option_type_expected(const Option *row)
{
        return type_expected[row->type];
}

bool option_is_list(OptionType t)
{
        return t == OPTION_STRING_LIST || t == OPTION_PATH_LIST || t == OPTION_DURATION_LIST ||
               t == OPTION_SECRET_LIST;
}

bool option_has_rows(OptionType t)
{
        return t == OPTION_GROUP || t == OPTION_GROUP_LIST;
}

bool option_is_text(OptionType t)
{
        switch (t) {
        case OPTION_STRING:
        case OPTION_ENUM:
        case OPTION_PATH:
        case OPTION_URL:
        case OPTION_SECRET:
        case OPTION_STRING_LIST:
        case OPTION_PATH_LIST:
        case OPTION_SECRET_LIST:
        case OPTION_STRING_MAP:
                return true;
        default:
                return false;
        }
}

Option option_element(const Option *row)
{
        Option element = *row;
        switch (row->type) {
        case OPTION_STRING_LIST:
        case OPTION_STRING_MAP:
                element.type = OPTION_STRING;
                break;
        case OPTION_PATH_LIST:
                element.type = OPTION_PATH;
                break;
        case OPTION_DURATION_LIST:
                element.type = OPTION_DURATION;
                break;
        case OPTION_SECRET_LIST:
                element.type = OPTION_SECRET;
                break;
        default:
                break;
        }
        return element;
}

uint64_t option_unit_usec(const Option *row)
{
        uint64_t usec = 0;
        char one[8];
        if (!row->unit || !row->unit[0] || strlen(row->unit) > 2)
                return 0;
        (void)snprintf(one, sizeof(one), "1%s", row->unit);
        return text_parse_duration(slice_of(one), 0, &usec) < 0 ? 0 : usec;
}

static int parse_integer(Slice text, int64_t *ret)
{
        bool negative = text.len > 0 && text.data[0] == '-';
        int64_t v = 0;
        size_t i = negative;
        for (; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
                int digit = text.data[i] - '0';
                if (__builtin_mul_overflow(v, 10, &v) ||
                        __builtin_add_overflow(v, negative ? -digit : digit, &v))
                        return -ERANGE;
        }
        if (i != text.len || text.len == negative)
                return -EINVAL;
        *ret = v;
        return 0;
}

int option_parse_quantity(const Option *row, Slice text, int64_t *ret)
{
        uint64_t v = 0;
        int r = -EINVAL;
        if (row->type == OPTION_INT)
                return parse_integer(text, ret);
        if (row->type == OPTION_DURATION || row->type == OPTION_DURATION_LIST) {
                // "0" needs no unit: nothing is nothing in any of them.
                uint64_t unit = option_unit_usec(row);
                r = text_parse_duration(text, unit || !slice_eq_str(text, "0") ? unit : 1, &v);
        } else if (row->type == OPTION_SIZE) {
                r = text_parse_size(text, &v);
        }
        if (r < 0)
                return r;
        if (v > INT64_MAX)
                return -ERANGE;
        *ret = (int64_t)v;
        return 0;
}

int option_compare_bounds(const Option *row, int64_t value, const char **ret_bound)
{
        int64_t bound;
        if (row->min && option_parse_quantity(row, slice_of(row->min), &bound) == 0 &&
                value < bound) {
                *ret_bound = row->min;
                return -1;
        }
        if (row->max && option_parse_quantity(row, slice_of(row->max), &bound) == 0 &&
                value > bound) {
                *ret_bound = row->max;
                return 1;
        }
        return 0;
}

size_t option_n_values(const Option *row)
{
        size_t n = 0;
        while (row->values && row->values[n])
                n++;
        return n;
}

int option_enum_index(const Option *row, const char *word)
{
        for (int i = 0; row->values && row->values[i]; i++)
                if (strcmp(row->values[i], word) == 0)
                        return i;
        return -EINVAL;
}

const Option *option_find(const Option *rows, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(rows[i].name, name) == 0)
                        return &rows[i];
        return NULL;
}

// ---- defaults: text of the table to canonical JSON
static json_t *default_scalar(const Option *row, Slice text, int *ret_error)
{
        int64_t v;
        json_t *j = NULL;
        *ret_error = 0;
        switch (row->type) {
        case OPTION_BOOL:
                if (slice_eq_str(text, "true") || slice_eq_str(text, "false"))
                        return json_boolean(slice_eq_str(text, "true"));
                *ret_error = -EINVAL;
                return NULL;
        case OPTION_INT:
        case OPTION_DURATION:
        case OPTION_SIZE:
                *ret_error = option_parse_quantity(row, text, &v);
                if (*ret_error < 0)
                        return NULL;
                j = json_integer(v);
                break;
        default:
                j = json_stringn(text.data, text.len);
                break;
        }
        if (!j)
                *ret_error = -ENOMEM;
        return j;
}

// "a, b" as a list; "" is the empty list.
static json_t *default_list(const Option *row, int *ret_error)
{
        Option element = option_element(row);
        json_t *list = json_array();
        *ret_error = list ? 0 : -ENOMEM;
        for (const char *at = row->def; *ret_error == 0 && *at;) {
                size_t len = strcspn(at, ",");
                json_t *j = default_scalar(&element, slice_mem(at, len), ret_error);
                if (j && json_array_append_new(list, j) < 0)
                        *ret_error = -ENOMEM;
                at += len;
                at += strspn(at, ", ");
        }
        if (*ret_error < 0) {
                json_decref(list);
                return NULL;
        }
        return list;
}

static int default_group(const Option *row, json_t **ret)
{
        json_t *group = json_object();
        int r = group ? 0 : -ENOMEM;
        for (size_t i = 0; r == 0 && i < row->n_rows; i++) {
                json_t *j = NULL;
                r = option_default(&row->rows[i], &j);
                if (r == 0 && j && json_object_set_new(group, row->rows[i].name, j) < 0)
                        r = -ENOMEM;
        }
        if (r < 0)
                json_decref(group);
        else
                *ret = group;
        return r;
}

int option_default(const Option *row, json_t **ret)
{
        int r = 0;
        json_t *j = NULL;
        if (row->type == OPTION_GROUP)
                return default_group(row, ret);
        const char *def = row->def;
        if (!def && row->type == OPTION_ENUM && !(row->flags & OPTION_REQUIRED) && row->values)
                def = row->values[0];
        if (!def) {
                *ret = NULL;
                return 0;
        }
        if (row->type == OPTION_STRING_MAP || row->type == OPTION_TEMPLATE ||
                row->type == OPTION_GROUP_LIST)
                return -EINVAL; // these have no default spelling
        if (row->type == OPTION_ENUM && option_enum_index(row, def) < 0)
                return -EINVAL;
        j = option_is_list(row->type) ? default_list(row, &r)
                                      : default_scalar(row, slice_of(def), &r);
        if (r == 0)
                *ret = j;
        return r;
}
