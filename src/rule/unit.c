// SPDX-License-Identifier: MIT
// Parser and checker in a row. Not for evaluation.
#include "rule/unit.h"

#include "rule/parser.h"
#include <errno.h>

enum { UNIT_MEMORY = 8 * 1024 * 1024 };

void unit_init(Unit *u, const Scope *scope)
{
        *u = (Unit){.arena = ARENA_INIT(UNIT_MEMORY), .scope = *scope};
}

void unit_deinit(Unit *u)
{
        regex_list_deinit(&u->regexes);
        arena_deinit(&u->arena);
}

static int unit_add(Unit *u, Slice text, size_t start, bool in_hole, bool filter, Node **ret,
        size_t *ret_end, Fault *fault)
{
        Node *root;
        unsigned n_nodes, cost;
        int r = parser_parse(text, start, in_hole, &u->arena, &root, ret_end, &n_nodes, fault);
        if (r == 0)
                r = filter ? checker_check_filter(root, &u->scope, &u->regexes, &cost, fault)
                           : checker_check(root, &u->scope, &u->regexes, &cost, fault);
        if (r == -ENOMEM && u->arena.over)
                return fault_set(fault, start, text.len, "this is too long");
        if (r < 0)
                return r;
        u->cost += cost;
        if (u->cost > EXPRESSION_COST_MAX)
                return fault_set(fault, root->start, root->end,
                        "the expressions of this rule cost too much for each event");
        *ret = root;
        return 0;
}

int unit_compile(Unit *u, Slice text, bool filter, Node **ret, Fault *fault)
{
        size_t end;
        return unit_add(u, text, 0, false, filter, ret, &end, fault);
}

int unit_compile_hole(Unit *u, Slice text, size_t start, Node **ret, size_t *ret_end, Fault *fault)
{
        return unit_add(u, text, start, true, false, ret, ret_end, fault);
}
