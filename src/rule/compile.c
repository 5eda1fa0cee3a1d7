// SPDX-License-Identifier: MIT
// One rule of the configuration to its compiled form. Invariants: every fault of a rule is told, one
// for each text; what a rule takes from and sends to is resolved to indexes; a compiled rule
// borrows names and texts from the configuration.
#include "rule/rules.h"

#include "base/limits.h"
#include "rule/explain.h"
#include <errno.h>
#include <strings.h>

enum { PATH_MAX_TEXT = 160 };

void rule_deinit(Rule *r)
{
        unit_deinit(&r->unit);
        free(r->sinks);
        free(r->sources);
}

// Every string in a NULL-terminated list to an index into a table of names.
static bool name_find(const void *table, size_t n, size_t size, const char *name, unsigned *ret)
{
        for (size_t i = 0; i < n; i++) {
                // The name is the first member of ConfigSource and ConfigSink alike.
                const char *const *at = (const void *)((const char *)table + i * size);
                if (strcmp(*at, name) == 0) {
                        *ret = (unsigned)i;
                        return true;
                }
        }
        return false;
}
_Static_assert(
        offsetof(ConfigSource, name) == 0 && offsetof(ConfigSink, name) == 0, "names stand first");

static int rule_resolve(Rule *r, const Config *c, const char *path, Diagnostics *d)
{
        const ConfigRule *rule = r->config;
        r->sources = calloc(c->n_sources + 1, sizeof(*r->sources));
        r->sinks = calloc(c->n_sinks + 1, sizeof(*r->sinks));
        if (!r->sources || !r->sinks)
                return -ENOMEM;
        bool all = !rule->from || !rule->from[0];
        for (size_t i = 0; all && i < c->n_sources; i++)
                r->sources[i] = true;
        unsigned at;
        for (char **name = rule->from; name && *name; name++) {
                if (name_find(c->sources, c->n_sources, sizeof(*c->sources), *name, &at))
                        r->sources[at] = true;
                else
                        diagnose(d, SEVERITY_ERROR, rule->place, path, "there is no source \"%s\"",
                                *name);
        }
        for (char **name = rule->to; name && *name; name++) {
                if (!name_find(c->sinks, c->n_sinks, sizeof(*c->sinks), *name, &at)) {
                        diagnose(d, SEVERITY_ERROR, rule->place, path, "there is no sink \"%s\"",
                                *name);
                        continue;
                }
                bool twice = false;
                for (unsigned i = 0; i < r->n_sinks; i++)
                        twice = twice || r->sinks[i] == at;
                if (!twice)
                        r->sinks[r->n_sinks++] = at;
        }
        return 0;
}

// The union of the types of all sources the rule takes from, and the one they all have.
static int rule_scope(Rule *r, const Config *c, PathTable *paths)
{
        size_t n = 1;
        for (size_t i = 0; i < c->n_sources; i++)
                if (r->sources[i])
                        n += c->sources[i].module->description->n_types;
        Arena arena = ARENA_INIT(n * sizeof(EventType *) + 8 * 1024 * 1024);
        const EventType **types = arena_alloc(&arena, n * sizeof(*types));
        if (!types)
                return -ENOMEM;
        Scope scope = {.types = types, .open = n == 1, .paths = paths};
        for (size_t i = 0; i < c->n_sources; i++) {
                if (!r->sources[i])
                        continue;
                const ModuleDescription *m = c->sources[i].module->description;
                scope.own_types = scope.own_types || m->own_types;
                for (size_t j = 0; j < m->n_types; j++) {
                        bool have = false;
                        for (size_t k = 0; k < scope.n_types; k++)
                                have = have || types[k] == &m->types[j];
                        if (!have)
                                types[scope.n_types++] = &m->types[j];
                }
        }
        scope.open = scope.open && !scope.own_types;
        types[scope.n_types++] = &event_type_gap;
        unit_init(&r->unit, &scope);
        r->unit.arena = arena;
        return 0;
}

static int fault_end(int error, const Fault *f, const ConfigText *text, Place place,
        const char *path, Diagnostics *d)
{
        if (error != -EINVAL)
                return error;
        if (text)
                fault_diagnose(f, text, path, d);
        else
                diagnose(d, SEVERITY_ERROR, place, path, "%s", f->message);
        return 0;
}

static int rule_headers(Rule *r, unsigned index, Diagnostics *d)
{
        const ConfigRule *rule = r->config;
        char path[PATH_MAX_TEXT];
        (void)snprintf(path, sizeof(path), "rules[%u].headers", index);
        if (rule->n_headers > LIMIT_HEADERS) {
                diagnose(d, SEVERITY_ERROR, rule->place, path, "at most %u headers are allowed",
                        LIMIT_HEADERS);
                return 0;
        }
        r->headers = arena_zalloc(&r->unit.arena, (rule->n_headers + 1) * sizeof(*r->headers));
        if (!r->headers)
                return -ENOMEM;
        for (size_t i = 0; i < rule->n_headers; i++) {
                const ConfigText *value = &rule->header_values[i];
                Slice name = slice_of(rule->header_names[i]);
                (void)snprintf(path, sizeof(path), "rules[%u].headers.%.*s", index,
                        (int)(name.len > 64 ? 64 : name.len), name.data);
                const char *wrong = header_name_fault(name);
                for (size_t j = 0; j < i && !wrong; j++)
                        if (strcasecmp(rule->header_names[j], name.data) == 0)
                                wrong = "this header is there twice";
                if (!wrong)
                        wrong = strpbrk(value->text, "\r\n")
                                        ? header_value_fault(slice_of(value->text))
                                        : NULL;
                if (wrong) {
                        diagnose(d, SEVERITY_ERROR, value->place, path, "%s", wrong);
                        continue;
                }
                RuleHeader *h = &r->headers[r->n_headers++];
                h->name = name;
                Fault f = {0};
                int error =
                        template_text(&r->unit, &h->value, slice_of(value->text), ESCAPE_NONE, &f);
                error = fault_end(error, &f, value, rule->place, path, d);
                if (error < 0)
                        return error;
        }
        return 0;
}

static bool is_type_path(const Node *n)
{
        return n->type == NODE_PATH && n->head == HEAD_TYPE;
}

static bool is_string(const Node *n)
{
        return n->type == NODE_LITERAL && n->value.type == VALUE_STRING;
}

// `type == 'x'`, 'x' == type, `type in ['x', 'y']`: the types this condition lets through.
static int condition_types(Rule *r, const Node *n)
{
        if (n->type != NODE_COMPARE && n->type != NODE_IN)
                return 0;
        const Node *left = n->children[0], *right = n->children[1];
        if (n->type == NODE_COMPARE) {
                if (n->op != OP_EQ)
                        return 0;
                if (is_type_path(right)) {
                        const Node *swap = left;
                        left = right;
                        right = swap;
                }
                if (!is_type_path(left) || !is_string(right))
                        return 0;
                r->only_types = arena_alloc(&r->unit.arena, sizeof(*r->only_types));
                if (!r->only_types)
                        return -ENOMEM;
                r->only_types[0] = right->value.text;
                r->n_only = 1;
                return 0;
        }
        if (!is_type_path(left) || right->type != NODE_LIST || n->negate)
                return 0;
        for (unsigned i = 0; i < right->n_children; i++)
                if (!is_string(right->children[i]))
                        return 0;
        r->only_types = arena_alloc(&r->unit.arena, right->n_children * sizeof(*r->only_types));
        if (!r->only_types)
                return -ENOMEM;
        for (unsigned i = 0; i < right->n_children; i++)
                r->only_types[r->n_only++] = right->children[i]->value.text;
        return 0;
}

static int rule_only_types(Rule *r)
{
        if (!r->when)
                return 0;
        if (r->when->type != NODE_AND)
                return condition_types(r, r->when);
        for (unsigned i = 0; i < r->when->n_children && !r->only_types; i++) {
                int error = condition_types(r, r->when->children[i]);
                if (error < 0)
                        return error;
        }
        return 0;
}

static int rule_when(Rule *r, unsigned index, Diagnostics *d)
{
        const ConfigText *when = &r->config->when;
        if (!when->text)
                return 0;
        char path[PATH_MAX_TEXT];
        (void)snprintf(path, sizeof(path), "rules[%u].when", index);
        Fault f = {0};
        int error = unit_compile(&r->unit, slice_of(when->text), true, &r->when, &f);
        if (error == 0)
                return rule_only_types(r);
        r->unit.scope.any_capture = true;
        return fault_end(error, &f, when, r->config->place, path, d);
}

static int rule_body(Rule *r, unsigned index, Diagnostics *d)
{
        if (!r->config->has_body)
                return 0;
        char path[PATH_MAX_TEXT];
        (void)snprintf(path, sizeof(path), "rules[%u].body", index);
        r->own_body = true;
        Fault f = {0};
        const ConfigText *text = NULL;
        int error = template_json(&r->unit, &r->body, &r->config->body, &f, &text);
        return fault_end(error, &f, text, r->config->place, path, d);
}

int rule_compile(Rule *r, const Config *c, unsigned i, PathTable *paths, Diagnostics *d)
{
        char path[PATH_MAX_TEXT];
        (void)snprintf(path, sizeof(path), "rules[%u]", i);
        r->config = &c->rules[i];
        r->hash = rule_hash(r->config->name);
        int error = rule_resolve(r, c, path, d);
        if (error == 0)
                error = rule_scope(r, c, paths);
        if (error == 0)
                error = rule_when(r, i, d);
        if (error == 0)
                error = rule_body(r, i, d);
        if (error == 0)
                error = rule_headers(r, i, d);
        return error;
}
