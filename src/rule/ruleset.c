// SPDX-License-Identifier: MIT
// Rules over events. Invariants: rules are tried in the order of the configuration; a rule is only
// tried when its source and, where the filter begins with one, its type fit; rules that send the
// event as it is to one sink share a route, whose rule is the first of them; what is rendered stays
// in one buffer until the next event. Does not store, schedule or log.
#include "rule/rules.h"

#include "base/limits.h"
#include "base/wire.h"
#include <errno.h>

enum { KEEP_OUT = 1024 * 1024, BODIES_MAX = 16 };

static void bucket_deinit(Bucket *b)
{
        free(b->rules);
}

RuleSet *ruleset_free(RuleSet *s)
{
        if (!s)
                return NULL;
        for (unsigned i = 0; s->rules && i < s->n_rules; i++)
                rule_deinit(&s->rules[i]);
        for (size_t i = 0; s->sources && i < s->config->n_sources; i++) {
                for (unsigned j = 0; j < s->sources[i].n; j++)
                        bucket_deinit(&s->sources[i].buckets[j]);
                free(s->sources[i].buckets);
                bucket_deinit(&s->sources[i].other);
        }
        evaluation_deinit(&s->evaluation);
        buf_deinit(&s->out);
        free(s->rules);
        free(s->sources);
        free(s->routes);
        free(s->merged);
        free(s);
        return NULL;
}

static bool rule_lets_type(const Rule *r, Slice type)
{
        for (unsigned i = 0; i < r->n_only; i++)
                if (slice_eq(r->only_types[i], type))
                        return true;
        return !r->only_types;
}

// type.data == NULL: the bucket of types that no filter names.
static int bucket_fill(RuleSet *s, unsigned source, Bucket *b)
{
        b->rules = calloc(s->n_rules + 1, sizeof(*b->rules));
        if (!b->rules)
                return -ENOMEM;
        for (unsigned i = 0; i < s->n_rules; i++) {
                const Rule *r = &s->rules[i];
                if (!r->config->enabled || !r->sources[source])
                        continue;
                if (b->type.data ? rule_lets_type(r, b->type) : !r->only_types)
                        b->rules[b->n++] = i;
        }
        return 0;
}

static int source_index_fill(RuleSet *s, unsigned source)
{
        SourceIndex *x = &s->sources[source];
        size_t most = 0;
        for (unsigned i = 0; i < s->n_rules; i++)
                if (s->rules[i].sources[source])
                        most += s->rules[i].n_only;
        x->buckets = calloc(most + 1, sizeof(*x->buckets));
        if (!x->buckets)
                return -ENOMEM;
        for (unsigned i = 0; i < s->n_rules; i++) {
                const Rule *r = &s->rules[i];
                for (unsigned j = 0; r->sources[source] && j < r->n_only; j++) {
                        bool have = false;
                        for (unsigned k = 0; k < x->n; k++)
                                have = have || slice_eq(x->buckets[k].type, r->only_types[j]);
                        if (have)
                                continue;
                        Bucket *b = &x->buckets[x->n++];
                        b->type = r->only_types[j];
                        int error = bucket_fill(s, source, b);
                        if (error < 0)
                                return error;
                }
        }
        return bucket_fill(s, source, &x->other);
}

// One event may not make more routes than a record has room for.
static void ruleset_check_routes(RuleSet *s, Diagnostics *d)
{
        for (size_t i = 0; i < s->config->n_sources; i++) {
                unsigned n = 0;
                memset(s->merged, 0, (s->config->n_sinks + 1) * sizeof(*s->merged));
                for (unsigned j = 0; j < s->n_rules && n <= LIMIT_ROUTES; j++) {
                        const Rule *r = &s->rules[j];
                        if (!r->config->enabled || !r->sources[i])
                                continue;
                        for (unsigned k = 0; k < r->n_sinks; k++) {
                                n += rule_is_own(r) || !s->merged[r->sinks[k]];
                                s->merged[r->sinks[k]] |= !rule_is_own(r);
                        }
                        if (n > LIMIT_ROUTES)
                                diagnose(d, SEVERITY_ERROR, r->config->place, "rules",
                                        "with this rule one event of \"%s\" may need over %u "
                                        "deliveries",
                                        s->config->sources[i].name, LIMIT_ROUTES);
                }
        }
        memset(s->merged, 0, (s->config->n_sinks + 1) * sizeof(*s->merged));
}

static void ruleset_check_hashes(const RuleSet *s, Diagnostics *d)
{
        const Config *c = s->config;
        for (size_t i = 0; i < c->n_rules; i++)
                for (size_t j = 0; j < i; j++) {
                        if (s->rules[i].hash != s->rules[j].hash ||
                                strcmp(c->rules[i].name, c->rules[j].name) == 0)
                                continue;
                        diagnose(d, SEVERITY_ERROR, c->rules[i].place, "rules",
                                "the names \"%s\" and \"%s\" have the same hash, so their "
                                "deliveries could not be told apart: rename one",
                                c->rules[i].name, c->rules[j].name);
                }
}

static int ruleset_compile(RuleSet *s, const Config *c, Diagnostics *d)
{
        s->rules = calloc(c->n_rules + 1, sizeof(*s->rules));
        s->sources = calloc(c->n_sources + 1, sizeof(*s->sources));
        s->merged = calloc(c->n_sinks + 1, sizeof(*s->merged));
        if (!s->rules || !s->sources || !s->merged)
                return -ENOMEM;
        unsigned errors = d->n_errors;
        for (unsigned i = 0; i < c->n_rules; i++) {
                s->n_rules++; // counted first: a half-made rule is freed as well
                int r = rule_compile(&s->rules[i], c, i, &s->paths, d);
                if (r < 0)
                        return r;
        }
        ruleset_check_hashes(s, d);
        ruleset_check_routes(s, d);
        if (d->n_errors > errors)
                return -EINVAL;
        for (unsigned i = 0; i < c->n_sources; i++) {
                int r = source_index_fill(s, i);
                if (r < 0)
                        return r;
        }
        return evaluation_init(&s->evaluation);
}

int ruleset_new(RuleSet **ret, const Config *c, Diagnostics *d)
{
        _cleanup_(ruleset_freep) RuleSet *s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->config = c;
        int r = ruleset_compile(s, c, d);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

static RuleRoute *ruleset_add_route(RuleSet *s, unsigned sink, unsigned rule)
{
        if (s->n_routes == s->cap_routes) {
                unsigned cap = s->cap_routes ? s->cap_routes * 2 : 8;
                RuleRoute *grown = realloc(s->routes, cap * sizeof(*grown));
                if (!grown)
                        return NULL;
                s->routes = grown;
                s->cap_routes = cap;
        }
        RuleRoute *route = &s->routes[s->n_routes++];
        *route = (RuleRoute){.sink = sink, .rule = rule};
        return route;
}

static int ruleset_route_plain(RuleSet *s, unsigned rule)
{
        const Rule *r = &s->rules[rule];
        for (unsigned i = 0; i < r->n_sinks; i++) {
                if (s->merged[r->sinks[i]])
                        continue;
                if (!ruleset_add_route(s, r->sinks[i], rule))
                        return -ENOMEM;
                s->merged[r->sinks[i]] = true;
        }
        return 0;
}

// Renders headers behind what stands in out; NULL or what is wrong.
static const char *rule_render_headers(RuleSet *s, const Rule *r)
{
        Buf *out = &s->out;
        for (unsigned i = 0; i < r->n_headers; i++) {
                wire_put_bytes(out, r->headers[i].name);
                size_t at = out->len;
                wire_put_u32(out, 0);
                size_t start = out->len;
                template_render(&r->headers[i].value, &s->evaluation, out);
                if (out->error)
                        return "the rendered headers are too large";
                Slice value = {(const char *)out->data + start, out->len - start};
                const char *wrong = header_value_fault(value);
                if (wrong)
                        return wrong;
                wire_set_u32(out, at, (uint32_t)value.len);
        }
        return NULL;
}

typedef struct Rendered {
        size_t headers, body, end; // offsets in out
        const char *failed;
} Rendered;

static int rule_render(RuleSet *s, const Rule *r, size_t max_body, Rendered *ret)
{
        Buf *out = &s->out;
        Rendered x = {.headers = out->len};
        out->max = x.headers + LIMIT_HEADERS * (LIMIT_HEADER_VALUE + LIMIT_HEADER_NAME + 8) +
                   LIMIT_EVENT_MAX;
        x.failed = rule_render_headers(s, r);
        x.body = out->len;
        if (!x.failed && r->own_body) {
                out->max = x.body + max_body;
                template_render(&r->body, &s->evaluation, out);
                if (out->error == -ENOBUFS)
                        x.failed = "the rendered body is over limits.body";
        }
        const char *limit = NULL;
        int outcome = evaluation_outcome(&s->evaluation, &limit);
        if (outcome < 0 || out->error == -ENOMEM)
                return -ENOMEM;
        if (outcome > 0)
                x.failed = limit;
        if (x.failed) { // nothing of it remains
                out->error = 0;
                out->len = x.body = x.headers;
        }
        x.end = out->len;
        *ret = x;
        return 0;
}

// One route for each sink, all with the same bytes. Slices hold offsets until the last rule is done,
// because out may still move.
static int ruleset_route_own(RuleSet *s, unsigned rule, size_t max_body)
{
        Rule *r = &s->rules[rule];
        Rendered x = {.headers = s->out.len, .body = s->out.len, .end = s->out.len};
        if (s->out.len > BODIES_MAX * max_body + KEEP_OUT) {
                x.failed = "the rendered bodies of this event are too large together";
        } else {
                int error = rule_render(s, r, max_body, &x);
                if (error < 0)
                        return error;
        }
        if (x.failed)
                r->counts.failed++;
        for (unsigned i = 0; i < r->n_sinks; i++) {
                RuleRoute *route = ruleset_add_route(s, r->sinks[i], rule);
                if (!route)
                        return -ENOMEM;
                route->own_body = r->own_body;
                route->own_headers = r->n_headers > 0;
                route->headers = (Slice){(const char *)(uintptr_t)x.headers, x.body - x.headers};
                route->body = (Slice){(const char *)(uintptr_t)x.body, x.end - x.body};
                route->failed = x.failed;
        }
        return 0;
}

static int ruleset_try(RuleSet *s, unsigned rule, size_t max_body)
{
        Rule *r = &s->rules[rule];
        Evaluation *e = &s->evaluation;
        // What a rule computes it renders at once, so each begins with all the memory there is.
        arena_reset(&e->arena);
        e->captures = NULL;
        e->failed = NULL;
        if (r->when) {
                bool match = evaluation_test(e, r->when);
                const char *failed;
                int outcome = evaluation_outcome(e, &failed);
                if (outcome < 0)
                        return outcome;
                // A filter that could not be decided lets nothing through; the count shows it.
                r->counts.failed += outcome > 0;
                if (outcome > 0 || !match)
                        return 0;
        }
        r->counts.matched++;
        return rule_is_own(r) ? ruleset_route_own(s, rule, max_body) : ruleset_route_plain(s, rule);
}

static const Bucket *source_bucket(const SourceIndex *x, Slice type)
{
        for (unsigned i = 0; i < x->n; i++)
                if (slice_eq(x->buckets[i].type, type))
                        return &x->buckets[i];
        return &x->other;
}

int ruleset_route(RuleSet *s, unsigned source, const Record *r, size_t max_body, RuleRoutes *ret)
{
        SourceIndex *x = &s->sources[source];
        for (unsigned i = 0; i < s->n_routes; i++)
                s->merged[s->routes[i].sink] = false;
        s->n_routes = 0;
        s->out.max = SIZE_MAX;
        if (s->out.cap > KEEP_OUT)
                buf_shrink(&s->out, KEEP_OUT);
        else
                buf_reset(&s->out);
        evaluation_begin(&s->evaluation, r);
        x->events++;

        const Bucket *b = source_bucket(x, r->type);
        for (unsigned i = 0; i < b->n; i++) {
                int error = ruleset_try(s, b->rules[i], max_body);
                if (error < 0)
                        return error;
        }
        for (unsigned i = 0; i < s->n_routes; i++) {
                RuleRoute *route = &s->routes[i];
                if (route->own_body || route->own_headers) {
                        const char *base = (const char *)s->out.data;
                        size_t headers = (size_t)(uintptr_t)route->headers.data;
                        size_t body = (size_t)(uintptr_t)route->body.data;
                        route->headers.data = base ? base + headers : "";
                        route->body.data = base ? base + body : "";
                }
        }
        *ret = (RuleRoutes){.list = s->routes, .n = s->n_routes};
        return 0;
}

RuleCounts ruleset_counts(const RuleSet *s, unsigned rule)
{
        RuleCounts n = s->rules[rule].counts;
        for (size_t i = 0; i < s->config->n_sources; i++)
                if (s->rules[rule].sources[i] && s->rules[rule].config->enabled)
                        n.seen += s->sources[i].events;
        return n;
}

void ruleset_counts_carry(RuleSet *to, const RuleSet *from)
{
        for (unsigned i = 0; i < to->n_rules; i++)
                for (unsigned j = 0; j < from->n_rules; j++)
                        if (strcmp(to->rules[i].config->name, from->rules[j].config->name) == 0)
                                to->rules[i].counts = ruleset_counts(from, j);
}
