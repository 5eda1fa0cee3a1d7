// SPDX-License-Identifier: MIT
// An expression with an evaluation of its own. Invariant: nothing it returns borrows from it.
#include "rule/expression.h"

#include "rule/functions.h"
#include "rule/render.h"
#include "rule/unit.h"
#include <errno.h>

struct Expression {
        Unit unit;
        Node *root;
        Evaluation evaluation;
};

Expression *expression_free(Expression *x)
{
        if (x) {
                evaluation_deinit(&x->evaluation);
                unit_deinit(&x->unit);
                free(x);
        }
        return NULL;
}

int expression_new(Expression **ret, Slice text, const EventType *const *types, size_t n_types,
        bool filter, Fault *ret_fault)
{
        *ret_fault = (Fault){0};
        _cleanup_(expression_freep) Expression *x = calloc(1, sizeof(*x));
        if (!x)
                return -ENOMEM;
        Scope scope = {.types = types, .n_types = n_types, .open = !types};
        unit_init(&x->unit, &scope);
        Slice copy = arena_copy(&x->unit.arena, text);
        if (!copy.data)
                return x->unit.arena.over
                               ? fault_set(ret_fault, 0, text.len, "this expression is too long")
                               : -ENOMEM;
        int r = unit_compile(&x->unit, copy, filter, &x->root, ret_fault);
        if (r == 0)
                r = evaluation_init(&x->evaluation);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(x);
        return 0;
}

unsigned expression_cost(const Expression *x)
{
        return x->unit.cost;
}

int expression_test(Expression *x, const Record *r, bool *ret, const char **ret_failed)
{
        evaluation_begin(&x->evaluation, r);
        bool result = evaluation_test(&x->evaluation, x->root);
        int error = evaluation_outcome(&x->evaluation, ret_failed);
        if (error >= 0)
                *ret = result && error == 0;
        return error;
}

int expression_json(Expression *x, const Record *r, Buf *out, const char **ret_failed)
{
        evaluation_begin(&x->evaluation, r);
        Value v;
        evaluation_run(&x->evaluation, x->root, &v);
        int error = evaluation_outcome(&x->evaluation, ret_failed);
        if (error < 0)
                return error;
        if (error > 0)
                v = VALUE_INIT(VALUE_MISSING);
        value_json(&x->evaluation, &v, out);
        return out->error < 0 ? out->error : error;
}

const char *expression_function(unsigned i, const char **ret_signature, const char **ret_prose)
{
        if (i >= n_functions)
                return NULL;
        *ret_signature = functions[i].signature;
        *ret_prose = functions[i].prose;
        return functions[i].name;
}
