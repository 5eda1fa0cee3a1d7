// SPDX-License-Identifier: MIT
// The fixed table of functions. There is no clock, no randomness and no I/O among them: the same
// event gives the same result whenever it is asked.
#pragma once

#include "rule/evaluator.h"

enum { FUNCTION_ARGS_MAX = 3 };

typedef struct Function {
        const char *name;
        unsigned n_args;
        TypeMask params[FUNCTION_ARGS_MAX]; // a value of another kind makes the result missing
        TypeMask result;
        unsigned cost;         // in units of one comparison
        const char *signature; // "replace(string, from, to)"
        const char *prose;
        // Arguments are of the kinds that params allows, never missing.
        void (*run)(Evaluation *e, const Value *args, Value *ret);
} Function;

extern const Function functions[];
extern const size_t n_functions;

const Function *function_find(Slice name);
const char *function_nearest(Slice name);

// In functions_text.c.
void function_lower(Evaluation *e, const Value *args, Value *ret);
void function_upper(Evaluation *e, const Value *args, Value *ret);
void function_trim(Evaluation *e, const Value *args, Value *ret);
void function_cut(Evaluation *e, const Value *args, Value *ret);
void function_basename(Evaluation *e, const Value *args, Value *ret);
void function_dirname(Evaluation *e, const Value *args, Value *ret);
void function_extension(Evaluation *e, const Value *args, Value *ret);
void function_replace(Evaluation *e, const Value *args, Value *ret);
void function_split(Evaluation *e, const Value *args, Value *ret);
void function_join(Evaluation *e, const Value *args, Value *ret);
