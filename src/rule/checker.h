// SPDX-License-Identifier: MIT
// Gives every node of a parsed expression its types, finds functions, compiles regular expressions,
// and refuses what can never mean anything.
#pragma once

#include "rule/scope.h"

// Regular expressions whose groups $1 and $name may mean, in the order of the text.
typedef struct RegexList {
        Regex **list; // owned
        unsigned n;
} RegexList;

// What one evaluation may cost, in units of one comparison (about 10 ns).
enum { EXPRESSION_COST_MAX = 100000, REGEX_COST = 1000 };

// regexes grows by those of this expression; what it held before may be captured from as well.
// The tree may be changed (string literals beside a time become times). 0, -EINVAL, -ENOMEM.
int checker_check(Node *root, const Scope *scope, RegexList *regexes,
        unsigned *ret_cost, Fault *fault) _must_use_;
// As checker_check, and the result must be able to be true or false.
int checker_check_filter(Node *root, const Scope *scope, RegexList *regexes,
        unsigned *ret_cost, Fault *fault) _must_use_;
void regex_list_deinit(RegexList *l);
