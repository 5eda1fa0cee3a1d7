// SPDX-License-Identifier: MIT
// One setting against one row: the type, the form, the bounds, each fault with what was expected.
// Nothing is guessed: a wrong value is said and left out. Values of secrets are never repeated.
#include "config/value.h"

#include <errno.h>
#include <inttypes.h>

#include "base/limits.h"
#include "base/text.h"

enum { SHOWN_MAX = 40, NAMES_SHOWN = 12 };

void reader_fault(Reader *r, Severity s, Place place, const ScanNode *n, const char *more,
        const char *near, const char *format, ...)
{
        char text[REASON_MAX];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        char *path = scan_path(r->scan, n, more);
        if (near)
                diagnose(r->d, s, place, path, "%s (did you mean \"%s\"?)", text, near);
        else
                diagnose(r->d, s, place, path, "%s", text);
        free(path);
}

#define FAULT(r, n, ...) \
        reader_fault(r, SEVERITY_ERROR, scan_place((r)->scan, n), n, NULL, NULL, __VA_ARGS__)

static json_t *keep(Reader *r, json_t *j)
{
        if (!j)
                r->error = -ENOMEM;
        return j;
}

static json_t *wrong_type(Reader *r, const Option *row, const ScanNode *n)
{
        FAULT(r, n, "expected %s, not %s", option_type_expected(row), scan_kind_prose(n->kind));
        return NULL;
}

// ---- numbers and quantities
static json_t *bounded(
        Reader *r, const Option *row, const ScanNode *n, int64_t v, const char *shown)
{
        const char *bound;
        int side = option_compare_bounds(row, v, &bound);
        if (side == 0)
                return keep(r, json_integer(v));
        FAULT(r, n, "%.*s is %s the %s of %s", SHOWN_MAX, shown, side < 0 ? "below" : "over",
                side < 0 ? "minimum" : "maximum", bound);
        return NULL;
}

static json_t *read_integer(Reader *r, const Option *row, const ScanNode *n)
{
        char shown[24];
        if (n->kind != SCAN_INTEGER)
                return wrong_type(r, row, n);
        if (n->wrong)
                return NULL; // the scanner has said so
        (void)snprintf(shown, sizeof(shown), "%" PRId64, n->integer);
        return bounded(r, row, n, n->integer, shown);
}

static json_t *quantity_fault(
        Reader *r, const Option *row, const ScanNode *n, const char *shown, int error)
{
        bool duration = row->type == OPTION_DURATION;
        if (error == -ERANGE)
                FAULT(r, n, "%.*s is too large", SHOWN_MAX, shown);
        else if (shown[0] == '-')
                FAULT(r, n, "a %s cannot be negative", duration ? "duration" : "size");
        else if (duration && shown[0] && strspn(shown, "0123456789") == strlen(shown))
                FAULT(r, n, "%.*s needs a unit (ms, s, m, h or d), such as \"%.*ss\"", SHOWN_MAX,
                        shown, SHOWN_MAX, shown);
        else if (duration)
                FAULT(r, n,
                        "\"%.*s\" is not a duration: write an integer and one of ms, s, m, h, d, "
                        "such as \"15s\"",
                        SHOWN_MAX, shown);
        else
                FAULT(r, n,
                        "\"%.*s\" is not a size: write an integer and none or one of K, M, G, such "
                        "as \"10M\"",
                        SHOWN_MAX, shown);
        return NULL;
}

static json_t *read_quantity(Reader *r, const Option *row, const ScanNode *n)
{
        char number[24];
        const char *text = number;
        int64_t v;
        if (n->kind == SCAN_STRING)
                text = scan_string(n);
        else if (n->kind == SCAN_INTEGER)
                (void)snprintf(number, sizeof(number), "%" PRId64, n->integer);
        else
                return wrong_type(r, row, n);
        if (n->wrong)
                return NULL;
        int error = option_parse_quantity(row, slice_of(text), &v);
        return error < 0 ? quantity_fault(r, row, n, text, error) : bounded(r, row, n, v, text);
}

// ---- texts
static json_t *read_enum(Reader *r, const Option *row, const ScanNode *n)
{
        if (n->kind == SCAN_STRING && option_enum_index(row, scan_string(n)) >= 0)
                return keep(r, json_string(scan_string(n)));
        _cleanup_(buf_deinitp) Buf words = BUF_INIT(REASON_MAX);
        size_t n_values = option_n_values(row);
        for (size_t i = 0; i < n_values; i++)
                buf_addf(&words, "%s\"%s\"",
                        i == 0             ? ""
                        : i + 1 < n_values ? ", "
                                           : " or ",
                        row->values[i]);
        if (n->kind != SCAN_STRING) {
                FAULT(r, n, "expected %s, not %s", buf_text(&words), scan_kind_prose(n->kind));
                return NULL;
        }
        reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, n), n, NULL,
                text_nearest(slice_of(scan_string(n)), row->values, n_values),
                "expected %s, not \"%.*s\"", buf_text(&words), SHOWN_MAX, scan_string(n));
        return NULL;
}

static json_t *read_text(Reader *r, const Option *row, const ScanNode *n)
{
        Reason reason = {0};
        if (n->kind != SCAN_STRING) {
                Option element = option_element(row); // of a map this is one of its values
                return wrong_type(r, &element, n);
        }
        const char *text = scan_string(n);
        if (!text_utf8_valid(slice_of(text))) // only \x makes such, and that has been said
                return NULL;
        if (!text[0] && row->type != OPTION_STRING && row->type != OPTION_STRING_MAP) {
                FAULT(r, n, "is empty: expected %s", option_type_expected(row));
                return NULL;
        }
        if (option_check_text(row, text, &reason) < 0) {
                FAULT(r, n, "%s", reason.text);
                return NULL;
        }
        return keep(r, json_string(text));
}

static json_t *read_group_item(Reader *r, const Option *row, const ScanNode *n);

static json_t *read_element(Reader *r, const Option *element, const ScanNode *n)
{
        return element->type == OPTION_GROUP_LIST ? read_group_item(r, element, n)
                                                  : value_read(r, element, n);
}

static json_t *read_list(Reader *r, const Option *row, const ScanNode *n)
{
        bool groups = row->type == OPTION_GROUP_LIST;
        Option element = option_element(row);
        if ((n->kind == SCAN_GROUP && !groups) || n->kind == SCAN_BOOL || n->kind == SCAN_FLOAT)
                return wrong_type(r, row, n);
        if (n->kind != SCAN_LIST && n->kind != SCAN_ARRAY) {
                // One value stands for a list of one.
                if (n->kind == SCAN_INTEGER && row->type != OPTION_DURATION_LIST)
                        return wrong_type(r, row, n);
                json_t *one = read_element(r, &element, n);
                json_t *list = one ? keep(r, json_pack("[o]", one)) : NULL;
                return list;
        }
        if (n->n == 0 && (row->flags & OPTION_REQUIRED)) {
                FAULT(r, n, "the list is empty: expected %s", option_type_expected(row));
                return NULL;
        }
        json_t *list = keep(r, json_array());
        bool whole = list;
        for (const ScanNode *e = scan_first(r->scan, n); list && e; e = scan_next(r->scan, e)) {
                json_t *j = read_element(r, &element, e);
                if (!j)
                        whole = false;
                else if (json_array_append_new(list, j) < 0)
                        r->error = -ENOMEM;
        }
        if (!whole) {
                json_decref(list);
                return NULL;
        }
        return list;
}

static json_t *read_map(Reader *r, const Option *row, const ScanNode *n)
{
        Reason reason;
        if (n->kind != SCAN_GROUP)
                return wrong_type(r, row, n);
        if ((row->flags & OPTION_HEADERS) && n->n > LIMIT_HEADERS) {
                FAULT(r, n, "more than %u headers", LIMIT_HEADERS);
                return NULL;
        }
        json_t *map = keep(r, json_object());
        bool whole = map;
        for (const ScanNode *e = scan_first(r->scan, n); map && e; e = scan_next(r->scan, e)) {
                char name[LIMIT_HEADER_VALUE];
                json_t *j = read_text(r, row, e);
                (void)snprintf(name, sizeof(name), "%.*s", SLICE_ARG(e->name));
                if ((row->flags & OPTION_HEADERS) && option_check_header_name(name, &reason) < 0) {
                        reader_fault(r, SEVERITY_ERROR, scan_name_place(r->scan, e), e, NULL, NULL,
                                "%s", reason.text);
                        json_decref(j);
                        j = NULL;
                }
                if (!j)
                        whole = false;
                else if (json_object_set_new(map, name, j) < 0)
                        r->error = -ENOMEM;
        }
        if (!whole) {
                json_decref(map);
                return NULL;
        }
        return map;
}

static json_t *read_group(Reader *r, const Option *row, const ScanNode *n)
{
        unsigned errors = r->d->n_errors;
        RowSet set = {row->rows, row->n_rows};
        if (n->kind != SCAN_GROUP)
                return wrong_type(r, row, n);
        json_t *group = keep(r, json_object());
        if (!group)
                return NULL;
        group_check_names(r, n, &set, 1, NULL);
        group_read(r, row->rows, row->n_rows, n, group);
        if (r->d->n_errors == errors)
                return group;
        json_decref(group);
        return NULL;
}

// A string among the groups stands for one that sets only the first row.
static json_t *read_group_item(Reader *r, const Option *row, const ScanNode *n)
{
        if (n->kind != SCAN_STRING)
                return read_group(r, row, n);
        json_t *one = value_read(r, &row->rows[0], n), *group = NULL;
        if (one)
                group = keep(r, json_pack("{so}", row->rows[0].name, one));
        for (size_t i = 1; group && i < row->n_rows; i++) {
                json_t *def = NULL;
                if (option_default(&row->rows[i], &def) < 0 ||
                        (def && json_object_set_new(group, row->rows[i].name, def) < 0))
                        r->error = -ENOMEM;
        }
        return group;
}

json_t *value_read(Reader *r, const Option *row, const ScanNode *n)
{
        switch (row->type) {
        case OPTION_BOOL:
                return n->kind == SCAN_BOOL ? keep(r, json_boolean(scan_bool(n)))
                                            : wrong_type(r, row, n);
        case OPTION_INT:
                return read_integer(r, row, n);
        case OPTION_DURATION:
        case OPTION_SIZE:
                return read_quantity(r, row, n);
        case OPTION_ENUM:
                return read_enum(r, row, n);
        case OPTION_STRING_LIST:
        case OPTION_PATH_LIST:
        case OPTION_DURATION_LIST:
        case OPTION_SECRET_LIST:
        case OPTION_GROUP_LIST:
                return read_list(r, row, n);
        case OPTION_STRING_MAP:
                return read_map(r, row, n);
        case OPTION_GROUP:
                return read_group(r, row, n);
        default:
                return read_text(r, row, n);
        }
}

// ---- groups
static void read_row(Reader *r, const Option *row, const ScanNode *group, json_t *out)
{
        json_t *j = NULL;
        const ScanNode *n = scan_child(r->scan, group, row->name);
        if (n) {
                j = value_read(r, row, n);
        } else if (row->flags & OPTION_REQUIRED) {
                reader_fault(r, SEVERITY_ERROR, scan_name_place(r->scan, group), group, row->name,
                        NULL, "is missing: expected %s", option_type_expected(row));
        } else if (option_default(row, &j) < 0) {
                r->error = -ENOMEM; // the table itself was checked when it was read
        }
        if (j && json_object_set_new(out, row->name, j) < 0)
                r->error = -ENOMEM;
}

void group_read(Reader *r, const Option *rows, size_t n_rows, const ScanNode *group, json_t *out)
{
        for (size_t i = 0; i < n_rows && r->error == 0; i++)
                read_row(r, &rows[i], group, out);
}

static void unknown_name(
        Reader *r, const ScanNode *n, const RowSet *sets, size_t n_sets, const char *also)
{
        const char *names[2 * OPTION_ROWS_MAX + 1];
        char word[64];
        size_t n_names = 0;
        if (also)
                names[n_names++] = also;
        for (size_t i = 0; i < n_sets; i++)
                for (size_t k = 0; k < sets[i].n && n_names < N_ELEMENTS(names); k++)
                        names[n_names++] = sets[i].rows[k].name;
        (void)snprintf(word, sizeof(word), "%.*s", SLICE_ARG(n->name));
        const char *near = text_nearest(slice_of(word), names, n_names);
        _cleanup_(buf_deinitp) Buf all = BUF_INIT(REASON_MAX);
        for (size_t i = 0; !near && n_names <= NAMES_SHOWN && i < n_names; i++)
                buf_addf(&all, "%s%s", i ? ", " : "; known are: ", names[i]);
        reader_fault(r, SEVERITY_ERROR, scan_name_place(r->scan, n), n, NULL, near,
                "unknown option%s", buf_text(&all));
}

void group_check_names(
        Reader *r, const ScanNode *group, const RowSet *sets, size_t n_sets, const char *also)
{
        for (const ScanNode *n = scan_first(r->scan, group); n; n = scan_next(r->scan, n)) {
                bool known = also && slice_eq_str(n->name, also);
                for (size_t i = 0; i < n_sets && !known; i++)
                        for (size_t k = 0; k < sets[i].n && !known; k++)
                                known = slice_eq_str(n->name, sets[i].rows[k].name);
                if (!known)
                        unknown_name(r, n, sets, n_sets, also);
        }
}

bool group_expect(Reader *r, const ScanNode *n, const char *example)
{
        if (n->kind == SCAN_GROUP)
                return true;
        FAULT(r, n, "expected a group such as %s, not %s", example, scan_kind_prose(n->kind));
        return false;
}
