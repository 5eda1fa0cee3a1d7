// SPDX-License-Identifier: MIT
// A walk over the tree. Invariants: depth is bounded by the parser; a node is visited at most once
// for each evaluation; memory comes from the arena, which keeps its blocks from event to event; no
// result outlives the next evaluation_begin(). What is missing makes comparisons false and
// functions missing, and only not, exists and ?? see the difference.
#include "rule/evaluator.h"

#include "base/limits.h"
#include "rule/compare.h"
#include "rule/functions.h"
#include "rule/render.h"
#include <errno.h>

// Enough for several values of full size; an expression that needs more fails as too large.
enum { ARENA_MAX = 8 * 1024 * 1024, KEEP = 256 * 1024 };

int evaluation_init(Evaluation *e)
{
        *e = (Evaluation){.arena = ARENA_INIT(ARENA_MAX + LIMIT_EVENT_MAX)};
        e->scratch = BUF_INIT(LIMIT_EVENT_MAX);
        return regex_matcher_new(&e->matcher);
}

void evaluation_deinit(Evaluation *e)
{
        arena_deinit(&e->arena);
        buf_deinit(&e->scratch);
        json_tree_deinit(&e->tree);
        e->matcher = regex_matcher_free(e->matcher);
}

void evaluation_begin(Evaluation *e, const Record *record)
{
        if (e->arena.total > KEEP)
                arena_shrink(&e->arena, KEEP);
        else
                arena_reset(&e->arena);
        if (e->scratch.cap > KEEP)
                buf_shrink(&e->scratch, KEEP);
        if (e->tree.cap > KEEP / sizeof(JsonNode))
                json_tree_deinit(&e->tree);
        e->record = record;
        e->event++;
        e->captures = NULL;
        e->failed = NULL;
        e->no_memory = false;
        e->parsed = e->parse_failed = false;
}

int evaluation_outcome(const Evaluation *e, const char **ret_failed)
{
        if (e->no_memory || e->arena.no_memory)
                return -ENOMEM;
        if (e->failed)
                *ret_failed = e->failed;
        else if (e->arena.over)
                *ret_failed = "its expressions need too much memory";
        else
                return 0;
        return 1;
}

void evaluation_take_scratch(Evaluation *e, ValueType type, Value *ret)
{
        *ret = VALUE_INIT(VALUE_MISSING);
        if (e->scratch.error == -ENOMEM) {
                e->no_memory = true;
                return;
        }
        if (e->scratch.error || e->scratch.len > LIMIT_VALUE) {
                e->failed = "a computed value is over 64 KiB";
                return;
        }
        Slice s = arena_copy(&e->arena, buf_slice(&e->scratch));
        if (s.data)
                *ret = (Value){.type = type, .text = s};
}

// Only what a value of this type is read for: clearing the rest shows in every filter.
static void value_set(Value *ret, ValueType type, Slice text)
{
        ret->type = type;
        ret->text = text;
        ret->node = NULL;
}

// A string of the event: its bytes when nothing is escaped, else a copy without the escapes.
static void escaped_value(Evaluation *e, Slice raw, bool escaped, Value *ret)
{
        value_set(ret, VALUE_STRING, raw);
        if (!escaped)
                return;
        buf_reset(&e->scratch);
        json_unescape(&e->scratch, raw);
        Slice s = e->scratch.error ? SLICE_NULL : arena_copy(&e->arena, buf_slice(&e->scratch));
        if (e->scratch.error)
                e->no_memory = true;
        if (!s.data)
                *ret = VALUE_INIT(VALUE_MISSING);
        else
                ret->text = s;
}

void evaluation_node_value(Evaluation *e, const JsonNode *node, Value *ret)
{
        switch (node->type) {
        case JSON_NODE_NULL:
                *ret = VALUE_INIT(VALUE_NULL);
                break;
        case JSON_NODE_FALSE:
        case JSON_NODE_TRUE:
                *ret = value_bool(node->type == JSON_NODE_TRUE);
                break;
        case JSON_NODE_NUMBER:
                value_set(ret, VALUE_NUMBER, node->raw);
                break;
        case JSON_NODE_STRING:
                escaped_value(e, node->raw, node->escaped, ret);
                break;
        case JSON_NODE_ARRAY:
                *ret = (Value){.type = VALUE_LIST, .node = node};
                break;
        case JSON_NODE_OBJECT:
                *ret = (Value){.type = VALUE_OBJECT, .node = node};
                break;
        }
}

const JsonNode *evaluation_data(Evaluation *e)
{
        if (!e->parsed) {
                e->parsed = true;
                int r = json_parse(&e->tree, e->record->data, LIMIT_JSON_DEPTH);
                e->parse_failed = r < 0;
                if (r == -ENOMEM)
                        e->no_memory = true;
        }
        return e->parse_failed ? NULL : &e->tree.nodes[0];
}

static const JsonNode *data_walk(Evaluation *e, const Node *n)
{
        const JsonNode *node = evaluation_data(e);
        for (unsigned i = 0; node && i < n->n_steps; i++) {
                const PathStep *s = &n->steps[i];
                if (s->key.data)
                        node = json_get(&e->tree, node, s->key);
                else // json_at would count an object's members too
                        node = node->type == JSON_NODE_ARRAY ? json_at(&e->tree, node, s->index)
                                                             : NULL;
        }
        return node;
}

static void data_value(Evaluation *e, const Node *n, Value *ret)
{
        const JsonNode *node;
        if (e->memos[n->memo].event == e->event) {
                node = e->memos[n->memo].node;
        } else {
                node = data_walk(e, n);
                if (n->memo) { // 0 stays at event 0, which never comes
                        e->memos[n->memo].event = e->event;
                        e->memos[n->memo].node = node;
                }
        }
        if (node)
                evaluation_node_value(e, node, ret);
        else
                value_set(ret, VALUE_MISSING, SLICE_NULL);
}

static void path_value(Evaluation *e, const Node *n, Value *ret)
{
        const Record *r = e->record;
        Slice s;
        switch (n->head) {
        case HEAD_DATA:
                data_value(e, n, ret);
                return;
        case HEAD_TIME:
                value_set(ret, VALUE_TIME, SLICE_NULL);
                ret->usec = (int64_t)r->time_usec;
                return;
        case HEAD_TYPE:
                s = r->type;
                break;
        case HEAD_ID:
                s = r->id;
                break;
        case HEAD_SOURCE:
                s = r->source;
                break;
        case HEAD_SUBJECT:
                s = r->subject;
                break;
        default:
                s = r->key.len ? r->key : r->subject;
        }
        if (s.len == 0)
                *ret = VALUE_INIT(VALUE_MISSING);
        else
                escaped_value(e, s, memchr(s.data, '\\', s.len) != NULL, ret);
}

static void capture_value(Evaluation *e, const Node *n, Value *ret)
{
        *ret = VALUE_INIT(VALUE_MISSING);
        const Captures *c = e->captures;
        if (!c)
                return;
        int group = n->name.data ? regex_group(c->regex, n->name) : (int)n->group;
        if (group >= 0 && (unsigned)group <= regex_n_groups(c->regex) && c->groups[group].data)
                *ret = value_string(c->groups[group]);
}

static bool match_test(Evaluation *e, const Node *n)
{
        Value v;
        evaluation_run(e, n->children[0], &v);
        if (v.type != VALUE_STRING)
                return false;
        Slice groups[REGEX_GROUPS_MAX];
        int r = regex_match(n->regex, e->matcher, v.text, groups);
        if (r == -ENOMEM)
                e->no_memory = true;
        else if (r < 0)
                e->failed = "a regular expression took too many steps";
        if (r <= 0)
                return false;
        size_t size = (regex_n_groups(n->regex) + 1) * sizeof(groups[0]);
        Captures *c = arena_alloc(&e->arena, sizeof(*c) + size);
        if (!c)
                return false;
        c->regex = n->regex;
        memcpy(c->groups, groups, size);
        e->captures = c;
        return true;
}

static bool compare_test(Evaluation *e, const Node *n)
{
        Value a, b;
        evaluation_run(e, n->children[0], &a);
        if (a.type == VALUE_MISSING)
                return false;
        evaluation_run(e, n->children[1], &b);
        Comparison c = value_compare(&a, &b, n->compare_as);
        if (c == COMPARISON_MISSING)
                return false;
        switch (n->op) {
        case OP_EQ:
                return c == COMPARISON_EQUAL;
        case OP_NE:
                return c != COMPARISON_EQUAL;
        case OP_LT:
                return c == COMPARISON_LESS;
        case OP_LE:
                return c == COMPARISON_LESS || c == COMPARISON_EQUAL;
        case OP_GT:
                return c == COMPARISON_GREATER;
        case OP_GE:
                return c == COMPARISON_GREATER || c == COMPARISON_EQUAL;
        default:
                return false;
        }
}

static bool list_has(Evaluation *e, const Value *list, const Value *v, TypeMask as)
{
        ListCursor cursor = list_cursor(list);
        Value item;
        while (list_next(e, &cursor, &item))
                if (value_compare(v, &item, as) == COMPARISON_EQUAL)
                        return true;
        return false;
}

static bool in_test(Evaluation *e, const Node *n)
{
        Value v, list;
        evaluation_run(e, n->children[0], &v);
        if (v.type == VALUE_MISSING)
                return false;
        const Node *right = n->children[1];
        if (right->type == NODE_LIST) { // element by element: no list is built
                bool found = false;
                for (unsigned i = 0; i < right->n_children && !found; i++) {
                        Value item;
                        evaluation_run(e, right->children[i], &item);
                        found = value_compare(&v, &item, n->compare_as) == COMPARISON_EQUAL;
                }
                return found != n->negate;
        }
        evaluation_run(e, right, &list);
        return list.type == VALUE_LIST && list_has(e, &list, &v, n->compare_as) != n->negate;
}

static bool text_test(Evaluation *e, const Node *n)
{
        Value a, b;
        evaluation_run(e, n->children[0], &a);
        evaluation_run(e, n->children[1], &b);
        if (n->type == NODE_CONTAINS && a.type == VALUE_LIST)
                return list_has(e, &a, &b, n->compare_as);
        if (a.type != VALUE_STRING || b.type != VALUE_STRING || b.text.len > a.text.len)
                return false;
        if (b.text.len == 0)
                return true;
        switch (n->type) {
        case NODE_STARTS:
                return slice_starts(a.text, b.text);
        case NODE_ENDS:
                return memcmp(a.text.data + a.text.len - b.text.len, b.text.data, b.text.len) == 0;
        default:
                return memmem(a.text.data, a.text.len, b.text.data, b.text.len) != NULL;
        }
}

// Brings an argument to a kind the function takes: "10.5" for a number, RFC 3339 for a time.
static bool argument_fits(Value *v, TypeMask param)
{
        if (v->type == VALUE_MISSING)
                return false;
        if (param & MASK(v->type))
                return true;
        Decimal d;
        char room[DURATION_TEXT_MAX];
        if ((param & MASK(VALUE_NUMBER)) && v->type == VALUE_STRING &&
                value_to_number(v, &d, room)) {
                v->type = VALUE_NUMBER;
                return true;
        }
        int64_t usec;
        if ((param & MASK(VALUE_TIME)) && value_to_time(v, &usec)) {
                v->type = VALUE_TIME;
                v->usec = usec;
                return true;
        }
        return false;
}

static void call_value(Evaluation *e, const Node *n, Value *ret)
{
        Value args[FUNCTION_ARGS_MAX];
        const Function *f = n->function;
        *ret = VALUE_INIT(VALUE_MISSING);
        for (unsigned i = 0; i < n->n_children; i++) {
                evaluation_run(e, n->children[i], &args[i]);
                if (!argument_fits(&args[i], f->params[i]))
                        return;
        }
        f->run(e, args, ret);
}

static void list_value(Evaluation *e, const Node *n, Value *ret)
{
        *ret = VALUE_INIT(VALUE_MISSING);
        Value *items = arena_alloc(&e->arena, (n->n_children + 1) * sizeof(*items));
        if (!items)
                return;
        for (unsigned i = 0; i < n->n_children; i++)
                evaluation_run(e, n->children[i], &items[i]);
        *ret = (Value){.type = VALUE_LIST, .items = items, .n_items = n->n_children};
}

static void default_value(Evaluation *e, const Node *n, Value *ret)
{
        for (unsigned i = 0; i < n->n_children; i++) {
                evaluation_run(e, n->children[i], ret);
                if (ret->type != VALUE_MISSING && ret->type != VALUE_NULL)
                        return;
        }
}

static bool chain_test(Evaluation *e, const Node *n, bool stop_at)
{
        for (unsigned i = 0; i < n->n_children; i++)
                if (evaluation_test(e, n->children[i]) == stop_at)
                        return stop_at;
        return !stop_at;
}

void evaluation_run(Evaluation *e, const Node *n, Value *ret)
{
        switch (n->type) {
        case NODE_LITERAL:
                *ret = n->value;
                return;
        case NODE_PATH:
                path_value(e, n, ret);
                return;
        case NODE_CAPTURE:
                capture_value(e, n, ret);
                return;
        case NODE_CALL:
                call_value(e, n, ret);
                return;
        case NODE_LIST:
                list_value(e, n, ret);
                return;
        case NODE_DEFAULT:
                default_value(e, n, ret);
                return;
        default:
                ret->boolean = evaluation_test(e, n);
                value_set(ret, VALUE_BOOL, SLICE_NULL);
        }
}

bool evaluation_test(Evaluation *e, const Node *n)
{
        Value v;
        switch (n->type) {
        case NODE_AND:
                return chain_test(e, n, false);
        case NODE_OR:
                return chain_test(e, n, true);
        case NODE_NOT:
                return !evaluation_test(e, n->children[0]);
        case NODE_COMPARE:
                return compare_test(e, n);
        case NODE_IN:
                return in_test(e, n);
        case NODE_MATCH:
                return match_test(e, n);
        case NODE_CONTAINS:
        case NODE_STARTS:
        case NODE_ENDS:
                return text_test(e, n);
        case NODE_EXISTS:
                evaluation_run(e, n->children[0], &v);
                return v.type != VALUE_MISSING;
        default:
                evaluation_run(e, n, &v);
                return v.type == VALUE_BOOL && v.boolean;
        }
}
