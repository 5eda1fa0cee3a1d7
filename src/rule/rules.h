// SPDX-License-Identifier: MIT
// The inside of a rule set: what compile.c makes and ruleset.c runs.
#pragma once

#include "rule/ruleset.h"
#include "rule/template.h"

typedef struct RuleHeader {
        Slice name;
        Template value;
} RuleHeader;

typedef struct Rule {
        const ConfigRule *config;
        uint32_t hash;
        Unit unit;
        Node *when;         // NULL: everything
        Slice *only_types;  // `type == 'x'` in the filter: only these types can match; NULL: any
        unsigned n_only;
        bool own_body;
        Template body;
        RuleHeader *headers;
        unsigned n_headers;
        unsigned *sinks; // in the order of `to`, each once
        unsigned n_sinks;
        bool *sources;   // by index into c->sources
        RuleCounts counts; // seen: carried from before a reload; the rest is the sources'
} Rule;

static inline bool rule_is_own(const Rule *r)
{
        return r->own_body || r->n_headers > 0;
}

// Rules of a source that a type can concern, in the order of the configuration.
typedef struct Bucket {
        Slice type;
        unsigned *rules;
        unsigned n;
} Bucket;

typedef struct SourceIndex {
        Bucket *buckets; // one for each type that a filter of its rules names
        unsigned n;
        Bucket other; // for every other type
        uint64_t events;
} SourceIndex;

struct RuleSet {
        const Config *config;
        Rule *rules;
        unsigned n_rules;
        SourceIndex *sources;

        Evaluation evaluation;
        PathTable paths; // used while compiling
        Buf out; // headers and bodies of the current event
        RuleRoute *routes;
        unsigned n_routes, cap_routes;
        bool *merged; // by sink: has a route for the unmodified event
};

// Compiles c->rules[i] into r (zeroed); equal paths get one number in `paths`. Faults go to d; negative only for -ENOMEM. With faults the
// rule is not fit to run, but rule_deinit() may be called.
int rule_compile(Rule *r, const Config *c, unsigned i, PathTable *paths, Diagnostics *d) _must_use_;
void rule_deinit(Rule *r);
