// SPDX-License-Identifier: MIT
// One expression by itself: compiled against field tables, run over records. For the command
// (testing a filter offline, tail --filter) and for tests. Rules go through rule/ruleset.h.
#pragma once

#include "event/record.h"
#include "event/schema.h"
#include "rule/fault.h"

typedef struct Expression Expression;

// types NULL: nothing is declared, every field may be there. filter: the result must be able to be
// true or false. Copies the text. 0, -EINVAL with the fault, -ENOMEM.
int expression_new(Expression **ret, Slice text, const EventType *const *types, size_t n_types,
        bool filter, Fault *ret_fault) _must_use_;
Expression *expression_free(Expression *x);
DEFINE_CLEANUP(Expression, expression_free)

unsigned expression_cost(const Expression *x); // of one evaluation, in comparisons (about 10 ns)

// 0; 1 when a limit was hit, with words for it (the result counts as false); -ENOMEM.
int expression_test(Expression *x, const Record *r, bool *ret, const char **ret_failed) _must_use_;
// Adds the result as one JSON value. A missing result is null.
int expression_json(Expression *x, const Record *r, Buf *out, const char **ret_failed) _must_use_;

// Adds the message, the line of the text and a caret line under the place:
//     the events here have no field data.szie (did you mean data.size?)
//       data.szie > 10
//            ^~~~
void fault_explain(const Fault *f, Slice text, Buf *out);

// The functions of the language, for the manual's check and for help: NULL behind the last.
const char *expression_function(unsigned i, const char **ret_signature, const char **ret_prose);
