// SPDX-License-Identifier: MIT
// Precedence climbing over nine levels:
//   or < and < not < == != < <= > >= in =~ contains startswith endswith < ?? < . [] ()
// Invariants: comparisons do not chain (a < b < c is refused); a chain of and, or is one node with
// many children, so the tree is never deeper than what a person nests with parentheses.
#include "rule/parser.h"

#include "base/limits.h"
#include "base/text.h"
#include "rule/decimal.h"
#include <errno.h>

const char *const head_field_names[_HEAD_FIELD_MAX] = {
        [HEAD_TYPE] = "type",
        [HEAD_ID] = "id",
        [HEAD_SOURCE] = "source",
        [HEAD_SUBJECT] = "subject",
        [HEAD_TIME] = "time",
        [HEAD_KEY] = "key",
        [HEAD_DATA] = "data",
};

enum { PATH_STEPS_MAX = 32, PATH_INDEX_MAX = 1000000, CHILDREN_MAX = 1024 };

typedef struct Parser {
        Lexer lexer;
        Token token;     // the one to look at next
        size_t last_end; // of the token before it
        unsigned n_nodes, depth;
        bool in_hole;
        Arena *arena;
        Fault *fault;
} Parser;

static int parse_or(Parser *p, Node **ret);
static int parse_default(Parser *p, Node **ret);

static int parser_advance(Parser *p)
{
        p->last_end = p->token.end;
        return lexer_next(&p->lexer, &p->token, p->fault);
}

static bool token_is_word(const Token *t, const char *word)
{
        return t->type == TOKEN_NAME && slice_eq_str(t->text, word);
}

static bool token_is_op(const Token *t, TokenOperator op)
{
        return t->type == TOKEN_OPERATOR && t->op == op;
}

static int parser_node(Parser *p, NodeType type, size_t start, Node **ret)
{
        if (++p->n_nodes > LIMIT_EXPR_NODES)
                return fault_set(p->fault, start, p->token.end,
                        "this expression is too long: it has over %u parts", LIMIT_EXPR_NODES);
        Node *n = arena_zalloc(p->arena, sizeof(*n));
        if (!n)
                return -ENOMEM;
        n->type = type;
        n->start = start;
        n->end = p->last_end;
        *ret = n;
        return 0;
}

static int parser_enter(Parser *p)
{
        if (++p->depth > LIMIT_EXPR_DEPTH)
                return fault_set(p->fault, p->token.start, p->token.end,
                        "this expression nests too deep: over %u levels", LIMIT_EXPR_DEPTH);
        return 0;
}

// Adds a child; the array doubles in the arena at powers of two.
static int node_add_child(Parser *p, Node *n, Node *child)
{
        if (n->n_children >= CHILDREN_MAX)
                return fault_set(p->fault, child->start, child->end, "there are over %d of them",
                        CHILDREN_MAX);
        if ((n->n_children & (n->n_children - 1)) == 0) {
                size_t cap = n->n_children ? n->n_children * 2u : 1;
                Node **grown = arena_alloc(p->arena, cap * sizeof(*grown));
                if (!grown)
                        return -ENOMEM;
                if (n->n_children)
                        memcpy(grown, n->children, n->n_children * sizeof(*grown));
                n->children = grown;
        }
        n->children[n->n_children++] = child;
        return 0;
}

static int node_binary(Parser *p, NodeType type, Node *left, Node *right, Node **ret)
{
        Node *n;
        int r = parser_node(p, type, left->start, &n);
        if (r == 0)
                r = node_add_child(p, n, left);
        if (r == 0 && right)
                r = node_add_child(p, n, right);
        if (r == 0)
                *ret = n;
        return r;
}

// What was expected and what stands there instead.
static int parser_expected(Parser *p, const char *what)
{
        const Token *t = &p->token;
        if (t->type == TOKEN_END)
                return fault_set(p->fault, t->start, t->end,
                        p->in_hole ? "this hole has no closing '}': %s is expected"
                                   : "%s is expected, but the expression ends here",
                        what);
        return fault_set(p->fault, t->start, t->end, "%s is expected here, not %.*s", what,
                (int)(t->end - t->start > 60 ? 60 : t->end - t->start),
                p->lexer.text.data + t->start);
}

static int parser_expect(Parser *p, TokenOperator op, const char *what)
{
        if (!token_is_op(&p->token, op))
                return parser_expected(p, what);
        return parser_advance(p);
}

static int path_add_step(Parser *p, Node *path, PathStep step)
{
        if (path->head != HEAD_DATA)
                return fault_set(p->fault, step.start, step.end,
                        "%s has nothing inside; the event's own fields are below data",
                        head_field_names[path->head]);
        if (path->n_steps >= PATH_STEPS_MAX)
                return fault_set(p->fault, step.start, step.end, "this path is too long");
        if (!path->steps) {
                path->steps = arena_alloc(p->arena, PATH_STEPS_MAX * sizeof(*path->steps));
                if (!path->steps)
                        return -ENOMEM;
        }
        path->steps[path->n_steps++] = step;
        return 0;
}

static int parse_index(Parser *p, Node *path)
{
        const Token t = p->token;
        PathStep step = {.start = t.start, .end = t.end};
        if (t.type == TOKEN_STRING) {
                step.key = t.text;
        } else if (t.type == TOKEN_NUMBER) {
                Decimal d;
                int64_t index;
                if (decimal_parse(t.text, &d) < 0 || !decimal_int64(&d, &index) || index < 0 ||
                        index > PATH_INDEX_MAX)
                        return fault_set(p->fault, t.start, t.end,
                                "an index is an integer from 0 to %d", PATH_INDEX_MAX);
                step.index = (uint32_t)index;
        } else {
                return parser_expected(p, "an index (0, 1, ...) or a name in quotes");
        }
        int r = path_add_step(p, path, step);
        if (r == 0)
                r = parser_advance(p);
        return r < 0 ? r : parser_expect(p, OP_RBRACKET, "']'");
}

// .name, ['any name'] and [0] behind a head field.
static int parse_steps(Parser *p, Node *path)
{
        for (;;) {
                int r;
                if (token_is_op(&p->token, OP_DOT)) {
                        r = parser_advance(p);
                        if (r < 0)
                                return r;
                        const Token t = p->token;
                        if (t.type != TOKEN_NAME)
                                return parser_expected(
                                        p, "a name (one with other characters is written ['...'])");
                        r = path_add_step(
                                p, path, (PathStep){.key = t.text, .start = t.start, .end = t.end});
                        if (r == 0)
                                r = parser_advance(p);
                } else if (token_is_op(&p->token, OP_LBRACKET)) {
                        r = parser_advance(p);
                        if (r == 0)
                                r = parse_index(p, path);
                } else {
                        path->end = p->last_end;
                        return 0;
                }
                if (r < 0)
                        return r;
        }
}

static const char *const reserved[] = {
        "and",
        "or",
        "not",
        "in",
        "contains",
        "startswith",
        "endswith",
        "true",
        "false",
        "null",
        "exists",
        "AND",
        "OR",
        "NOT",
        "is",
        "like",
        "matches",
};

static bool is_reserved(Slice name)
{
        for (size_t i = 0; i < N_ELEMENTS(reserved); i++)
                if (slice_eq_str(name, reserved[i]))
                        return true;
        return false;
}

// Elements up to the closing bracket, which is read too.
static int parse_elements(Parser *p, Node *into, TokenOperator close, const char *what)
{
        int r;
        if (!token_is_op(&p->token, close)) {
                for (;;) {
                        Node *child;
                        r = parse_or(p, &child);
                        if (r == 0)
                                r = node_add_child(p, into, child);
                        if (r < 0)
                                return r;
                        if (!token_is_op(&p->token, OP_COMMA))
                                break;
                        r = parser_advance(p);
                        if (r < 0)
                                return r;
                }
        }
        r = parser_expect(p, close, what);
        into->end = p->last_end;
        return r;
}

static int parse_call(Parser *p, const Token *name, Node **ret)
{
        Node *n;
        bool exists = slice_eq_str(name->text, "exists");
        int r = parser_node(p, exists ? NODE_EXISTS : NODE_CALL, name->start, &n);
        if (r == 0)
                r = parser_advance(p); // the '('
        if (r < 0)
                return r;
        n->name = name->text;
        n->name_end = name->end;
        r = parse_elements(p, n, OP_RPAREN, "',' or ')'");
        if (r < 0)
                return r;
        if (exists && (n->n_children != 1 || n->children[0]->type != NODE_PATH))
                return fault_set(p->fault, n->start, n->end,
                        "exists() takes one field, as in exists(data.owner)");
        *ret = n;
        return 0;
}

static int parse_path(Parser *p, const Token *name, Node **ret)
{
        for (int i = 0; i < _HEAD_FIELD_MAX; i++) {
                if (!slice_eq_str(name->text, head_field_names[i]))
                        continue;
                Node *n;
                int r = parser_node(p, NODE_PATH, name->start, &n);
                if (r < 0)
                        return r;
                n->head = (HeadField)i;
                *ret = n;
                return parse_steps(p, n);
        }
        int shown = (int)(name->text.len > 60 ? 60 : name->text.len);
        if (is_reserved(name->text))
                return fault_set(p->fault, name->start, name->end,
                        "a value is expected here, not the word %.*s", shown, name->text.data);
        const char *near = text_nearest(name->text, head_field_names, _HEAD_FIELD_MAX);
        if (near)
                return fault_set(p->fault, name->start, name->end,
                        "there is no field %.*s (did you mean %s?)", shown, name->text.data, near);
        return fault_set(p->fault, name->start, name->end,
                "there is no field %.*s (did you mean data.%.*s, or '%.*s' as a string?)", shown,
                name->text.data, shown, name->text.data, shown, name->text.data);
}

static int parse_name(Parser *p, Node **ret)
{
        const Token name = p->token;
        int r = parser_advance(p);
        if (r < 0)
                return r;
        Value v = VALUE_INIT(VALUE_MISSING);
        if (slice_eq_str(name.text, "null"))
                v = VALUE_INIT(VALUE_NULL);
        else if (slice_eq_str(name.text, "true"))
                v = value_bool(true);
        else if (slice_eq_str(name.text, "false"))
                v = value_bool(false);
        if (v.type != VALUE_MISSING) {
                r = parser_node(p, NODE_LITERAL, name.start, ret);
                if (r == 0)
                        (*ret)->value = v;
                return r;
        }
        bool word = is_reserved(name.text) && !slice_eq_str(name.text, "exists");
        if (token_is_op(&p->token, OP_LPAREN) && !word)
                return parse_call(p, &name, ret);
        return parse_path(p, &name, ret);
}

static int parse_literal(Parser *p, Node **ret)
{
        const Token t = p->token;
        Node *n = NULL;
        int r = parser_advance(p);
        if (r == 0)
                r = parser_node(
                        p, t.type == TOKEN_CAPTURE ? NODE_CAPTURE : NODE_LITERAL, t.start, &n);
        if (r < 0)
                return r;
        switch (t.type) {
        case TOKEN_STRING:
                n->value = value_string(t.text);
                break;
        case TOKEN_DURATION:
                n->value = (Value){.type = VALUE_DURATION, .usec = t.usec};
                break;
        case TOKEN_CAPTURE:
                n->name = t.text;
                break;
        default:
                n->value = (Value){.type = VALUE_NUMBER, .text = t.text};
        }
        *ret = n;
        return 0;
}

static int parse_group(Parser *p, Node **ret)
{
        int r = parser_advance(p);
        if (r == 0)
                r = parse_or(p, ret);
        return r < 0 ? r : parser_expect(p, OP_RPAREN, "')'");
}

static int parse_list(Parser *p, Node **ret)
{
        Node *n;
        int r = parser_node(p, NODE_LIST, p->token.start, &n);
        if (r == 0)
                r = parser_advance(p);
        if (r == 0)
                r = parse_elements(p, n, OP_RBRACKET, "',' or ']'");
        if (r == 0)
                *ret = n;
        return r;
}

static int parse_primary(Parser *p, Node **ret)
{
        int r = parser_enter(p);
        if (r < 0)
                return r;
        switch (p->token.type) {
        case TOKEN_NAME:
                r = parse_name(p, ret);
                break;
        case TOKEN_STRING:
        case TOKEN_NUMBER:
        case TOKEN_SIZE:
        case TOKEN_DURATION:
        case TOKEN_CAPTURE:
                r = parse_literal(p, ret);
                break;
        case TOKEN_REGEX:
                r = fault_set(p->fault, p->token.start, p->token.end,
                        "a regular expression stands only to the right of =~");
                break;
        default:
                if (token_is_op(&p->token, OP_LPAREN))
                        r = parse_group(p, ret);
                else if (token_is_op(&p->token, OP_LBRACKET))
                        r = parse_list(p, ret);
                else
                        r = parser_expected(p, "a value");
        }
        p->depth--;
        return r;
}

// a ?? b ?? c
static int parse_default(Parser *p, Node **ret)
{
        Node *left;
        int r = parse_primary(p, &left);
        while (r == 0 && token_is_op(&p->token, OP_DEFAULT)) {
                Node *right;
                r = parser_advance(p);
                if (r == 0)
                        r = parse_primary(p, &right);
                if (r < 0)
                        break;
                if (left->type == NODE_DEFAULT) {
                        r = node_add_child(p, left, right);
                        left->end = p->last_end;
                } else {
                        r = node_binary(p, NODE_DEFAULT, left, right, &left);
                }
        }
        if (r == 0)
                *ret = left;
        return r;
}

// Which comparison the token begins; -1 if none.
static int token_comparison(const Token *t)
{
        static const struct {
                const char *word;
                NodeType type;
        } words[] = {
                {"in", NODE_IN},
                {"not", NODE_IN}, // only "not in" can follow a value
                {"contains", NODE_CONTAINS},
                {"startswith", NODE_STARTS},
                {"endswith", NODE_ENDS},
        };
        if (t->type == TOKEN_OPERATOR) {
                if (t->op == OP_MATCH)
                        return NODE_MATCH;
                return t->op >= OP_EQ && t->op <= OP_GE ? (int)NODE_COMPARE : -1;
        }
        for (size_t i = 0; i < N_ELEMENTS(words); i++)
                if (token_is_word(t, words[i].word))
                        return (int)words[i].type;
        return -1;
}

static int parse_match(Parser *p, Node *left, Node **ret)
{
        const Token t = p->token;
        if (t.type != TOKEN_REGEX)
                return parser_expected(p, "a regular expression between slashes, /.../,");
        int r = parser_advance(p);
        if (r == 0)
                r = node_binary(p, NODE_MATCH, left, NULL, ret);
        if (r < 0)
                return r;
        (*ret)->name = t.text;
        (*ret)->name_end = t.start + 1; // where the pattern begins
        (*ret)->flags = t.flags;
        return 0;
}

static int parse_comparison(Parser *p, Node **ret)
{
        Node *left, *right = NULL;
        int r = parse_default(p, &left);
        if (r < 0)
                return r;
        int type = token_comparison(&p->token);
        if (type < 0) {
                *ret = left;
                return 0;
        }
        const Token op = p->token;
        bool negate = token_is_word(&op, "not");
        r = parser_advance(p);
        if (r == 0 && negate) {
                if (!token_is_word(&p->token, "in"))
                        return parser_expected(p, "'in' (as in: x not in [1, 2])");
                r = parser_advance(p);
        }
        if (r == 0 && type == (int)NODE_MATCH) {
                r = parse_match(p, left, ret);
        } else if (r == 0) {
                r = parse_default(p, &right);
                if (r == 0)
                        r = node_binary(p, (NodeType)type, left, right, ret);
        }
        if (r < 0)
                return r;
        (*ret)->op = op.op;
        (*ret)->negate = negate;
        if (token_comparison(&p->token) >= 0)
                return fault_set(p->fault, p->token.start, p->token.end,
                        "comparisons do not chain; join them with and");
        return 0;
}

static int parse_not(Parser *p, Node **ret)
{
        if (!token_is_word(&p->token, "not"))
                return parse_comparison(p, ret);
        size_t start = p->token.start;
        Node *child, *n = NULL;
        int r = parser_enter(p);
        if (r == 0)
                r = parser_advance(p);
        if (r == 0)
                r = parse_not(p, &child);
        if (r == 0)
                r = parser_node(p, NODE_NOT, start, &n);
        if (r == 0)
                r = node_add_child(p, n, child);
        if (r < 0)
                return r;
        p->depth--;
        *ret = n;
        return 0;
}

// One level of and (or): operands from `operand`, one node for the whole chain.
static int parse_chain(
        Parser *p, const char *word, NodeType type, int (*operand)(Parser *, Node **), Node **ret)
{
        Node *first, *chain = NULL;
        int r = operand(p, &first);
        while (r == 0 && token_is_word(&p->token, word)) {
                Node *next;
                r = parser_advance(p);
                if (r == 0)
                        r = operand(p, &next);
                if (r < 0)
                        break;
                if (!chain)
                        r = node_binary(p, type, first, next, &chain);
                else
                        r = node_add_child(p, chain, next);
                if (r == 0)
                        chain->end = p->last_end;
        }
        if (r == 0)
                *ret = chain ? chain : first;
        return r;
}

static int parse_and(Parser *p, Node **ret)
{
        return parse_chain(p, "and", NODE_AND, parse_not, ret);
}

static int parse_or(Parser *p, Node **ret)
{
        return parse_chain(p, "or", NODE_OR, parse_and, ret);
}

int parser_parse(Slice text, size_t start, bool in_hole, Arena *arena, Node **ret, size_t *ret_end,
        unsigned *ret_nodes, Fault *fault)
{
        Parser p = {
                .lexer = {.text = text, .at = start, .arena = arena},
                .in_hole = in_hole,
                .arena = arena,
                .fault = fault,
        };
        Node *root;
        int r = parser_advance(&p);
        if (r < 0)
                return r;
        if (!in_hole && p.token.type == TOKEN_END)
                return fault_set(fault, start, text.len, "this expression is empty");
        r = parse_or(&p, &root);
        if (r < 0)
                return r;
        if (in_hole ? !token_is_op(&p.token, OP_RBRACE) : p.token.type != TOKEN_END)
                return parser_expected(&p, in_hole ? "'}' or an operator" : "an operator");
        *ret = root;
        *ret_end = p.token.end;
        *ret_nodes = p.n_nodes;
        return 0;
}
