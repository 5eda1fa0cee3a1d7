// SPDX-License-Identifier: MIT
// The rules of a configuration, compiled: filters, templates and routing. An event goes in, the list
// of routes comes out. Total: cost is known at load and bounded, no I/O, no loops, no recursion over
// data. The same compiler and evaluator serve filters, templates, keys and tests.
#pragma once

#include "config/config.h"
#include "event/record.h"

typedef struct RuleSet RuleSet;

// Compiles all rules of c, types checked against the field tables of the sources they take from.
// Every fault goes to d with its place; -EINVAL if there was one. The set borrows c.
int ruleset_new(RuleSet **ret, const Config *c, Diagnostics *d) _must_use_;
RuleSet *ruleset_free(RuleSet *s);
DEFINE_CLEANUP(RuleSet, ruleset_free)

// A route of one event. Rules that send the unmodified event to one sink make ONE route (`rule` is
// the first of them); a rule with its own body or headers makes its own.
typedef struct RuleRoute {
        unsigned sink, rule;  // indexes into the Config
        bool own_body, own_headers;
        Slice headers;        // (bytes name, bytes value)*, wire.h
        Slice body;
        const char *failed;   // not NULL: rendering failed (too large, bad header value): dead-letter
} RuleRoute;

typedef struct RuleRoutes {
        RuleRoute *list;
        unsigned n;
} RuleRoutes;

// Routes of one event from source (index into c->sources). Valid until the next call on the set.
// -ENOMEM only. Counts matches.
int ruleset_route(RuleSet *s, unsigned source, const Record *r, size_t max_body, RuleRoutes *ret) _must_use_;

typedef struct RuleCounts {
        uint64_t seen, matched, failed;
} RuleCounts;
RuleCounts ruleset_counts(const RuleSet *s, unsigned rule);
void ruleset_counts_carry(RuleSet *to, const RuleSet *from); // on reload, by rule name
