// SPDX-License-Identifier: MIT
// Types by sets: a node has the set of types it may turn out to be, and an operator is refused when
// no member of the sets fits. A field without a declared type may be anything and is never refused.
// Invariants after a check: every call has its function, every match its regular expression, and
// the cost of the whole is known.
#include "rule/checker.h"

#include "base/limits.h"
#include "rule/compare.h"
#include "rule/functions.h"
#include <errno.h>

typedef struct Checker {
        const Scope *scope;
        RegexList *regexes;
        unsigned cost;
        Fault *fault;
} Checker;

static int check(Checker *c, Node *n);

void regex_list_deinit(RegexList *l)
{
        for (unsigned i = 0; i < l->n; i++)
                (void)regex_free(l->list[i]);
        free(l->list);
        *l = (RegexList){0};
}

// The regular expression is consumed, whatever the result.
static int regex_list_add(RegexList *l, Regex *r)
{
        Regex **grown = realloc(l->list, (l->n + 1u) * sizeof(*grown));
        if (!grown) {
                (void)regex_free(r);
                return -ENOMEM;
        }
        l->list = grown;
        l->list[l->n++] = r;
        return 0;
}

static int node_fault(Checker *c, const Node *n, const char *before, const char *after)
{
        char words[TYPE_WORDS_MAX];
        return fault_set(c->fault, n->start, n->end, "%s%s%s", before,
                type_mask_words(n->types, words), after);
}

static bool node_is_head(const Node *n, HeadField head)
{
        return n->type == NODE_PATH && n->head == head;
}

static bool node_is_string(const Node *n)
{
        return n->type == NODE_LITERAL && n->value.type == VALUE_STRING;
}

// A string beside a time must spell one, and is made one now.
static int literal_to_time(Checker *c, Node *n)
{
        int64_t usec;
        if (!value_to_time(&n->value, &usec))
                return fault_set(c->fault, n->start, n->end,
                        "this is compared with a time and is none; write it as "
                        "'2026-11-23T09:33:00Z'");
        n->value = (Value){.type = VALUE_TIME, .usec = usec, .text = n->value.text};
        n->types = MASK(VALUE_TIME);
        return 0;
}

static int check_head_literal(Checker *c, const Node *field, const Node *literal)
{
        Slice s = literal->value.text;
        int shown = (int)(s.len > 40 ? 40 : s.len);
        if (node_is_head(field, HEAD_TYPE) && !scope_has_type(c->scope, s))
                return scope_type_fault(c->scope, s, literal->start, literal->end, c->fault);
        if (node_is_head(field, HEAD_SOURCE) && !slice_starts(s, SLICE_LIT("/")))
                return fault_set(c->fault, literal->start, literal->end,
                        "source is '/belfry/HOST/NAME'; write source endswith '/%.*s', or from = "
                        "[ \"%.*s\" ] in the rule",
                        shown, s.data, shown, s.data);
        return 0;
}

static int compare_clash(Checker *c, const Node *n, const Node *a, const Node *b)
{
        char a_words[TYPE_WORDS_MAX], b_words[TYPE_WORDS_MAX];
        const char *hint = "";
        TypeMask both = a->types | b->types;
        if (both == (MASK(VALUE_NUMBER) | MASK(VALUE_DURATION)))
                hint = "; 10m are minutes, 10M are bytes, number(10m) are seconds";
        else if (both == (MASK(VALUE_NUMBER) | MASK(VALUE_STRING)))
                hint = node_is_string(a) || node_is_string(b)
                               ? "; numbers are written without quotes"
                               : "; number(...) reads a string as a number";
        else if (both == (MASK(VALUE_TIME) | MASK(VALUE_DURATION)))
                hint = "; age(...) is how long before the event an instant was";
        else if (both & (MASK(VALUE_LIST) | MASK(VALUE_OBJECT)))
                hint = "; use in, contains, or a field inside";
        return fault_set(c->fault, n->start, n->end, "%s and %s do not compare%s",
                type_mask_words(a->types, a_words), type_mask_words(b->types, b_words), hint);
}

static bool mask_is_any(TypeMask m)
{
        return (m & MASK_SCALAR) == MASK_SCALAR;
}

// May values of these two sets ever compare, and as what?
static int check_pair(Checker *c, const Node *n, Node *a, Node *b, bool order, TypeMask *ret_as)
{
        if (a->types == MASK(VALUE_TIME) && node_is_string(b)) {
                int r = literal_to_time(c, b);
                if (r < 0)
                        return r;
        } else if (b->types == MASK(VALUE_TIME) && node_is_string(a)) {
                int r = literal_to_time(c, a);
                if (r < 0)
                        return r;
        }
        TypeMask null = MASK(VALUE_NULL);
        if (a->types == null || b->types == null) {
                if (order)
                        return fault_set(c->fault, n->start, n->end,
                                "null has no order; compare with == or !=");
                return 0;
        }
        TypeMask allowed = order ? MASK_SCALAR & ~MASK(VALUE_BOOL) : MASK_SCALAR;
        TypeMask x = a->types & allowed, y = b->types & allowed;
        // Next to something undeclared a number may be spelled as a string, a duration be a number.
        bool fits = (x & y) || (x && y && (mask_is_any(a->types) || mask_is_any(b->types)));
        if (!fits)
                return compare_clash(c, n, a, b);
        if (a->types == MASK(VALUE_NUMBER) || b->types == MASK(VALUE_NUMBER))
                *ret_as = MASK(VALUE_NUMBER);
        else if (a->types == MASK(VALUE_TIME) || b->types == MASK(VALUE_TIME))
                *ret_as = MASK(VALUE_TIME);
        return 0;
}

static int check_compare(Checker *c, Node *n)
{
        Node *a = n->children[0], *b = n->children[1];
        bool order = n->op != OP_EQ && n->op != OP_NE;
        int r = 0;
        if (!order && node_is_string(b))
                r = check_head_literal(c, a, b);
        if (r == 0 && !order && node_is_string(a))
                r = check_head_literal(c, b, a);
        return r < 0 ? r : check_pair(c, n, a, b, order, &n->compare_as);
}

static int check_in(Checker *c, Node *n)
{
        Node *a = n->children[0], *list = n->children[1];
        if (list->type != NODE_LIST) {
                if (!(list->types & MASK(VALUE_LIST)))
                        return node_fault(c, list, "a list is needed to the right of in, this is ",
                                node_is_string(list) ? "; text in text is: contains" : "");
                if (a->types == MASK(VALUE_NUMBER) || a->types == MASK(VALUE_TIME))
                        n->compare_as = a->types;
                return 0;
        }
        if (list->n_children == 0)
                return fault_set(c->fault, list->start, list->end, "nothing is in an empty list");
        for (unsigned i = 0; i < list->n_children; i++) {
                Node *item = list->children[i];
                int r = node_is_string(item) ? check_head_literal(c, a, item) : 0;
                if (r == 0)
                        r = check_pair(c, item, a, item, false, &n->compare_as);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int check_text(Checker *c, Node *n)
{
        Node *a = n->children[0], *b = n->children[1];
        const char *word = n->type == NODE_CONTAINS ? "contains"
                           : n->type == NODE_STARTS ? "startswith"
                                                    : "endswith";
        TypeMask left = MASK(VALUE_STRING) | (n->type == NODE_CONTAINS ? MASK(VALUE_LIST) : 0);
        char words[TYPE_WORDS_MAX];
        if (!(a->types & left))
                return fault_set(c->fault, n->start, n->end, "%s works on %s, and this is %s", word,
                        n->type == NODE_CONTAINS ? "strings and lists" : "strings",
                        type_mask_words(a->types, words));
        bool list = a->types & MASK(VALUE_LIST);
        if (!list && !(b->types & MASK(VALUE_STRING)))
                return node_fault(c, b, "a string is needed here, this is ", "");
        if (b->types == MASK(VALUE_NUMBER) || b->types == MASK(VALUE_TIME))
                n->compare_as = b->types;
        if (node_is_head(a, HEAD_TYPE) && node_is_string(b) &&
                !scope_has_type_with(c->scope, b->value.text, n->type))
                return scope_type_fault(c->scope, b->value.text, b->start, b->end, c->fault);
        return 0;
}

static int check_match(Checker *c, Node *n)
{
        Node *a = n->children[0];
        if (!(a->types & MASK(VALUE_STRING)))
                return node_fault(
                        c, a, "=~ works on strings, and this is ", "; string(...) makes one");
        char message[REGEX_MESSAGE_MAX];
        size_t offset;
        int r = regex_new(&n->regex, n->name, n->flags, &offset, message);
        if (r == -EINVAL) {
                size_t at = n->name_end + offset;
                return fault_set(c->fault, at, at + 1, "in this regular expression: %s", message);
        }
        if (r == 0)
                r = regex_list_add(c->regexes, n->regex);
        if (r < 0)
                n->regex = NULL;
        c->cost += REGEX_COST;
        return r;
}

static int check_capture(Checker *c, Node *n)
{
        n->types = MASK(VALUE_STRING);
        if (c->scope->any_capture)
                return 0;
        if (c->regexes->n == 0)
                return fault_set(c->fault, n->start, n->end,
                        "there is no =~ before $%.*s to take it from", SLICE_ARG(n->name));
        bool found = false, by_name = n->name.data[0] < '0' || n->name.data[0] > '9';
        unsigned most = 0;
        for (size_t i = 0; !by_name && i < n->name.len; i++)
                n->group = n->group * 10 + (unsigned)(n->name.data[i] - '0');
        for (unsigned i = 0; i < c->regexes->n; i++) {
                const Regex *r = c->regexes->list[i];
                unsigned groups = regex_n_groups(r);
                most = groups > most ? groups : most;
                found = found || (by_name ? regex_group(r, n->name) >= 0 : n->group <= groups);
        }
        if (!found && by_name)
                return fault_set(c->fault, n->start, n->end,
                        "no regular expression before has a group named %.*s; (?<%.*s>...) makes "
                        "one",
                        SLICE_ARG(n->name), SLICE_ARG(n->name));
        if (!found)
                return fault_set(c->fault, n->start, n->end,
                        "the regular expression before has %u group%s, so there is no $%u", most,
                        most == 1 ? "" : "s", n->group);
        if (!by_name)
                n->name = SLICE_NULL;
        return 0;
}

static int check_call(Checker *c, Node *n)
{
        n->function = function_find(n->name);
        if (!n->function) {
                const char *near = function_nearest(n->name);
                return fault_set(c->fault, n->start, n->name_end,
                        "there is no function %.*s()%s%s%s",
                        (int)(n->name.len > 60 ? 60 : n->name.len), n->name.data,
                        near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
        }
        const Function *f = n->function;
        if (n->n_children != f->n_args)
                return fault_set(c->fault, n->start, n->end, "%s takes %u value%s, not %u",
                        f->signature, f->n_args, f->n_args == 1 ? "" : "s", n->n_children);
        for (unsigned i = 0; i < n->n_children; i++) {
                Node *a = n->children[i];
                if (f->params[i] == MASK(VALUE_TIME) && node_is_string(a)) {
                        int r = literal_to_time(c, a);
                        if (r < 0)
                                return r;
                }
                if (a->types & f->params[i])
                        continue;
                char need[TYPE_WORDS_MAX], have[TYPE_WORDS_MAX];
                return fault_set(c->fault, a->start, a->end, "%s needs %s here, this is %s",
                        f->signature, type_mask_words(f->params[i], need),
                        type_mask_words(a->types, have));
        }
        n->types = f->result;
        c->cost += f->cost;
        return 0;
}

static int check_bool(Checker *c, const Node *n)
{
        if (n->types & MASK(VALUE_BOOL))
                return 0;
        return node_fault(c, n, "true or false is needed here, this is ",
                n->type == NODE_PATH ? "; compare it with something, or ask exists(...)" : "");
}

// The lists that stand in an expression hold scalars: their order and equality stay plain.
static int check_list(Checker *c, Node *n)
{
        n->types = MASK(VALUE_LIST);
        for (unsigned i = 0; i < n->n_children; i++)
                if (!(n->children[i]->types & (MASK_SCALAR | MASK(VALUE_NULL))))
                        return node_fault(c, n->children[i],
                                "a list holds strings, numbers and the like, not ", "");
        return 0;
}

// `path == 'x'` or `path in ['x', 'y']` of a path that is always a string: the path, else NULL. What
// it offers: the string literals among the children behind or before it.
static const Node *node_pinned(const Node *n, const Node *const **ret_strings, unsigned *ret_n)
{
        if (n->type != NODE_COMPARE && n->type != NODE_IN)
                return NULL;
        const Node *path = n->children[0], *other = n->children[1];
        if (n->type == NODE_COMPARE && node_is_string(path)) {
                path = n->children[1];
                other = n->children[0];
        }
        if (path->type != NODE_PATH || path->types != MASK(VALUE_STRING))
                return NULL;
        if (n->type == NODE_COMPARE) {
                *ret_strings = (const Node *const *)&n->children[other == n->children[1]];
                *ret_n = 1;
                return n->op == OP_EQ && node_is_string(other) ? path : NULL;
        }
        *ret_strings = (const Node *const *)other->children;
        *ret_n = other->type == NODE_LIST && !n->negate ? other->n_children : 0;
        for (unsigned i = 0; i < *ret_n; i++)
                if (!node_is_string(other->children[i]))
                        return NULL;
        return *ret_n ? path : NULL;
}

static bool node_same_path(const Node *a, const Node *b)
{
        if (a->head != b->head || a->n_steps != b->n_steps)
                return false;
        for (unsigned i = 0; i < a->n_steps; i++)
                if (!slice_eq(a->steps[i].key, b->steps[i].key) ||
                        a->steps[i].index != b->steps[i].index)
                        return false;
        return true;
}

// Two conditions of one `and` that want different strings of one field: no event can ever fit.
static int check_and(Checker *c, const Node *n)
{
        const Node *const *wants, *const *before;
        unsigned n_wants, n_before;
        for (unsigned i = 1; i < n->n_children; i++) {
                const Node *path = node_pinned(n->children[i], &wants, &n_wants);
                for (unsigned k = 0; path && k < i; k++) {
                        const Node *other = node_pinned(n->children[k], &before, &n_before);
                        if (!other || !node_same_path(path, other))
                                continue;
                        bool meets = false;
                        for (unsigned x = 0; x < n_wants; x++)
                                for (unsigned y = 0; y < n_before && !meets; y++)
                                        meets = slice_eq(
                                                wants[x]->value.text, before[y]->value.text);
                        if (!meets)
                                return fault_set(c->fault, n->children[i]->start,
                                        n->children[i]->end,
                                        "no event fits both this and the condition on the same "
                                        "field "
                                        "before it; for either write or, or in ['x', 'y']");
                }
        }
        return 0;
}

static int check_node(Checker *c, Node *n)
{
        n->types = MASK(VALUE_BOOL);
        int r = 0;
        switch (n->type) {
        case NODE_LITERAL:
                n->types = MASK(n->value.type);
                return 0;
        case NODE_PATH:
                n->types = scope_path(c->scope, n, c->fault);
                c->cost += n->n_steps;
                scope_number_path(c->scope, n);
                if (n->types)
                        return 0;
                return c->fault->message[0] ? -EINVAL : -ENOMEM;
        case NODE_LIST:
                return check_list(c, n);
        case NODE_CAPTURE:
                return check_capture(c, n);
        case NODE_CALL:
                return check_call(c, n);
        case NODE_EXISTS:
                return 0;
        case NODE_NOT:
        case NODE_AND:
        case NODE_OR:
                for (unsigned i = 0; i < n->n_children && r == 0; i++)
                        r = check_bool(c, n->children[i]);
                return r == 0 && n->type == NODE_AND ? check_and(c, n) : r;
        case NODE_COMPARE:
                return check_compare(c, n);
        case NODE_IN:
                return check_in(c, n);
        case NODE_MATCH:
                return check_match(c, n);
        case NODE_CONTAINS:
        case NODE_STARTS:
        case NODE_ENDS:
                return check_text(c, n);
        case NODE_DEFAULT:
                n->types = 0;
                for (unsigned i = 0; i < n->n_children; i++)
                        n->types |= n->children[i]->types;
                return 0;
        }
        return -EINVAL;
}

// Children first, in the order of the text, so that $1 sees the =~ before it.
static int check(Checker *c, Node *n)
{
        for (unsigned i = 0; i < n->n_children; i++) {
                int r = check(c, n->children[i]);
                if (r < 0)
                        return r;
        }
        c->cost++;
        return check_node(c, n);
}

int checker_check(
        Node *root, const Scope *scope, RegexList *regexes, unsigned *ret_cost, Fault *fault)
{
        Checker c = {.scope = scope, .regexes = regexes, .fault = fault};
        int r = check(&c, root);
        if (r < 0)
                return r;
        if (c.cost > EXPRESSION_COST_MAX)
                return fault_set(fault, root->start, root->end,
                        "this expression costs too much for each event; it has too many regular "
                        "expressions");
        *ret_cost = c.cost;
        return 0;
}

int checker_check_filter(
        Node *root, const Scope *scope, RegexList *regexes, unsigned *ret_cost, Fault *fault)
{
        int r = checker_check(root, scope, regexes, ret_cost, fault);
        if (r < 0 || (root->types & MASK(VALUE_BOOL)))
                return r;
        char words[TYPE_WORDS_MAX];
        return fault_set(fault, root->start, root->end, "a filter is true or false, and this is %s",
                type_mask_words(root->types, words));
}
