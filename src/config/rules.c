// SPDX-License-Identifier: MIT
// Rules: lists of groups, concatenated in order of the files. Expressions and templates are kept as
// text with places; rule/ruleset.h compiles them.
#include <errno.h>

#include "base/limits.h"
#include "base/text.h"
#include "config/load.h"

static const Option *row_of(const char *name)
{
        return option_find(rule_options, n_rule_options, name);
}

// A setting that was checked by its row; NULL when it is absent or bad.
static const ScanNode *checked(Reader *r, const ScanNode *rule, const char *name, json_t **ret)
{
        const ScanNode *n = scan_child(r->scan, rule, name);
        json_t *j = n ? value_read(r, row_of(name), n) : NULL;
        if (ret)
                *ret = j;
        else
                json_decref(j);
        return j ? n : NULL;
}

static void missing(Reader *r, const ScanNode *rule, const char *name, const char *example)
{
        if (!scan_child(r->scan, rule, name))
                reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, rule), rule, name, NULL,
                        "is missing: write %s", example);
}

// Where a rule's name was first given, in the rules before this one.
static bool name_before(Loader *l, const char *name, const ScanNode *rule, Place *ret)
{
        for (const ConfigFile *f = l->files; f < l->files + l->n_files; f++) {
                const ScanNode *list = loader_section(f, "rules");
                for (const ScanNode *n = list ? scan_first(&f->scan, list) : NULL; n;
                        n = scan_next(&f->scan, n)) {
                        if (n == rule)
                                return false;
                        const ScanNode *o =
                                n->kind == SCAN_GROUP ? scan_child(&f->scan, n, "name") : NULL;
                        if (o && o->kind == SCAN_STRING && strcmp(scan_string(o), name) == 0) {
                                *ret = scan_place(&f->scan, o);
                                return true;
                        }
                }
        }
        return false;
}

static void read_name(Loader *l, Reader *r, const ScanNode *rule, ConfigRule *ret)
{
        Place before;
        missing(r, rule, "name", "name = \"new-invoice\"");
        const ScanNode *n = checked(r, rule, "name", NULL);
        if (!n)
                return;
        const char *name = scan_string(n);
        ret->name = strdup(name);
        if (!ret->name)
                r->error = -ENOMEM;
        else if (!text_is_name(slice_of(name)))
                reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, n), n, NULL, NULL,
                        "not a good name: 1 to %u of a-z, 0-9 and -, a letter first", LIMIT_NAME);
        else if (name_before(l, name, rule, &before))
                reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, n), n, NULL, NULL,
                        "\"%s\" is defined twice (first at %s:%u:%u)", name, before.file,
                        before.line, before.column);
}

static void check_twice(Reader *r, const ScanNode *list, const ScanNode *n)
{
        for (const ScanNode *o = scan_first(r->scan, list); o && o != n; o = scan_next(r->scan, o))
                if (strcmp(scan_string(o), scan_string(n)) == 0) {
                        reader_fault(r, SEVERITY_WARNING, scan_place(r->scan, n), n, NULL, NULL,
                                "\"%.40s\" is named twice", scan_string(n));
                        return;
                }
}

// from and to: names that must be there.
static char **read_names(
        Loader *l, Reader *r, const ScanNode *rule, const char *option, const char *section)
{
        json_t *values = NULL;
        const ScanNode *n = checked(r, rule, option, &values);
        size_t i, n_names = json_array_size(values);
        json_t *j;
        char **names = calloc(n_names + 1, sizeof(*names));
        if (!names)
                r->error = -ENOMEM;
        if (n && n->kind == SCAN_STRING)
                loader_check_name(l, r, section, n);
        else if (n)
                for (const ScanNode *e = scan_first(r->scan, n); e; e = scan_next(r->scan, e)) {
                        loader_check_name(l, r, section, e);
                        check_twice(r, n, e);
                }
        json_array_foreach(values, i, j) if (names && !(names[i] = strdup(json_string_value(j))))
        {
                r->error = -ENOMEM;
                break;
        }
        json_decref(values);
        return names;
}

static void read_when(Reader *r, const ScanNode *rule, ConfigRule *ret)
{
        const ScanNode *n = checked(r, rule, "when", NULL);
        if (!n)
                return;
        if (scan_text(r->scan, n, &ret->when) < 0)
                r->error = -ENOMEM;
        else if (ret->when.text[strspn(ret->when.text, " \t\n")] == 0)
                reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, n), n, NULL, NULL,
                        "the condition is empty: leave \"when\" out to take every event");
}

static void read_body(Loader *l, Reader *r, const ScanNode *rule, ConfigRule *ret)
{
        const ScanNode *body = scan_child(r->scan, rule, "body");
        const ScanNode *given = scan_child(r->scan, rule, "body_file");
        int e = 0;
        if (body && given) {
                Place place = scan_name_place(r->scan, body);
                reader_fault(r, SEVERITY_ERROR, scan_name_place(r->scan, given), given, NULL, NULL,
                        "a rule has one body: body is given too, at %u:%u", place.line,
                        place.column);
                return;
        }
        const ScanNode *file = checked(r, rule, "body_file", NULL);
        if (body && body->kind != SCAN_GROUP && body->kind != SCAN_LIST &&
                body->kind != SCAN_ARRAY && body->kind != SCAN_STRING)
                reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, body), body, NULL, NULL,
                        "expected %s, not %s", option_type_expected(row_of("body")),
                        scan_kind_prose(body->kind));
        else if (body)
                e = template_from_setting(r, body, &ret->body);
        else if (file && !scan_string(file)[0])
                reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, file), file, NULL, NULL,
                        "is empty: expected the name of a JSON file");
        else if (file)
                e = template_from_file(l, r, file, &ret->body, &ret->body_file);
        ret->has_body = body || file;
        if (e < 0)
                r->error = e;
}

static void read_headers(Reader *r, const ScanNode *rule, ConfigRule *ret)
{
        const ScanNode *map = checked(r, rule, "headers", NULL);
        if (!map)
                return;
        ret->header_names = calloc(map->n + 1, sizeof(*ret->header_names));
        ret->header_values = calloc(map->n + 1, sizeof(*ret->header_values));
        if (!ret->header_names || !ret->header_values) {
                r->error = -ENOMEM;
                return;
        }
        for (const ScanNode *n = scan_first(r->scan, map); n && r->error == 0;
                n = scan_next(r->scan, n)) {
                size_t i = ret->n_headers++;
                ret->header_names[i] = strndup(n->name.data, n->name.len);
                if (!ret->header_names[i] || scan_text(r->scan, n, &ret->header_values[i]) < 0)
                        r->error = -ENOMEM;
                for (size_t k = 0; k < i && r->error == 0; k++)
                        if (strcasecmp(ret->header_names[k], ret->header_names[i]) == 0)
                                reader_fault(r, SEVERITY_ERROR, scan_name_place(r->scan, n), n,
                                        NULL, NULL,
                                        "given twice: the case of a header name does not count");
        }
}

static void add_rule(Loader *l, Reader *r, const ScanNode *n)
{
        Config *c = l->config;
        RowSet set = {rule_options, n_rule_options};
        ConfigRule *rule = &c->rules[c->n_rules++];
        rule->place = scan_place(r->scan, n);
        rule->enabled = true;
        if (!group_expect(r, n, "{ name = \"x\"; to = [ \"sink\" ]; }"))
                return;
        group_check_names(r, n, &set, 1, NULL);
        read_name(l, r, n, rule);
        rule->from = read_names(l, r, n, "from", "sources");
        read_when(r, n, rule);
        missing(r, n, "to", "to = [ \"sink\" ], or the rule goes nowhere");
        rule->to = read_names(l, r, n, "to", "sinks");
        read_body(l, r, n, rule);
        read_headers(r, n, rule);
        const ScanNode *enabled = checked(r, n, "enabled", NULL);
        if (enabled)
                rule->enabled = scan_bool(enabled);
}

static const ScanNode *rules_of(Loader *l, const ConfigFile *f, bool say)
{
        const ScanNode *list = loader_section(f, "rules");
        Reader r = loader_reader(l, f);
        if (!list || list->kind == SCAN_LIST || (list->kind == SCAN_ARRAY && list->n == 0))
                return list;
        if (say)
                reader_fault(&r, SEVERITY_ERROR, scan_place(&f->scan, list), list, NULL, NULL,
                        "expected a list of groups such as ( { name = \"x\"; to = [ \"sink\" ]; } "
                        "), "
                        "not %s",
                        scan_kind_prose(list->kind));
        return NULL;
}

void load_rules(Loader *l)
{
        Config *c = l->config;
        size_t n_rules = 0;
        for (size_t i = 0; i < l->n_files; i++) {
                const ScanNode *list = rules_of(l, &l->files[i], true);
                n_rules += list ? list->n : 0;
        }
        c->rules = calloc(n_rules ? n_rules : 1, sizeof(*c->rules));
        if (!c->rules)
                l->error = -ENOMEM;
        for (size_t i = 0; i < l->n_files && l->error == 0; i++) {
                const ConfigFile *f = &l->files[i];
                const ScanNode *list = rules_of(l, f, false);
                Reader r = loader_reader(l, f);
                for (const ScanNode *n = list ? scan_first(&f->scan, list) : NULL;
                        n && r.error == 0 && l->error == 0; n = scan_next(&f->scan, n)) {
                        if (c->n_rules >= LIMIT_RULES) {
                                reader_fault(&r, SEVERITY_ERROR, scan_place(&f->scan, n), n, NULL,
                                        NULL, "more than %u rules", LIMIT_RULES);
                                break;
                        }
                        add_rule(l, &r, n);
                }
                loader_merge(l, &r);
        }
}
