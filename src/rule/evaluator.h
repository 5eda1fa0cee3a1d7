// SPDX-License-Identifier: MIT
// Runs checked expressions over one event at a time. Total: a value that cannot be had is missing,
// a limit that is hit is remembered in `failed`, nothing else can go wrong but memory. The event's
// data is parsed at most once, and only when something asks for data.*.
#pragma once

#include "event/record.h"
#include "rule/scope.h"

// A value that a function computes may be this long; fields of the event are not limited by it.
enum { LIMIT_VALUE = 64 * 1024 };

typedef struct Captures {
        const Regex *regex;
        Slice groups[];
} Captures;

typedef struct Evaluation {
        const Record *record;
        const Captures *captures; // of the last =~ that matched
        const char *failed;       // a limit was hit: static text
        bool no_memory;

        Arena arena; // of the current event
        Buf scratch;
        bool parsed, parse_failed;
        JsonTree tree;
        uint64_t event; // counts, so that memos of earlier events are told from this one's
        struct {
                uint64_t event;
                const JsonNode *node;
        } memos[PATH_MEMOS];
        RegexMatcher *matcher;
} Evaluation;

int evaluation_init(Evaluation *e) _must_use_;
void evaluation_deinit(Evaluation *e);
// Begins an event; what was computed for the last one is gone. The record must stay until then.
void evaluation_begin(Evaluation *e, const Record *record);

void evaluation_run(Evaluation *e, const Node *n, Value *ret);
bool evaluation_test(Evaluation *e, const Node *n); // true only for the boolean true
// How it went since evaluation_begin(): 0, 1 with words when a limit was hit, -ENOMEM.
int evaluation_outcome(const Evaluation *e, const char **ret_failed) _must_use_;

// For functions and templates.
const JsonNode *evaluation_data(Evaluation *e); // NULL if there is none
void evaluation_node_value(Evaluation *e, const JsonNode *node, Value *ret);
// Copies what stands in the scratch buffer into the arena as a string, within LIMIT_VALUE.
void evaluation_take_scratch(Evaluation *e, ValueType type, Value *ret);
