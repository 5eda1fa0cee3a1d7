// SPDX-License-Identifier: MIT
// The one place where values become text. Invariant: a value that came from the event's data is
// written as the event spells it, so a number keeps its digits and a list its bytes.
#include "rule/render.h"

#include "base/clock.h"
#include "rule/compare.h"

size_t value_list_len(const Value *list)
{
        return list->node ? list->node->n : list->n_items;
}

ListCursor list_cursor(const Value *list)
{
        return (ListCursor){.list = list};
}

bool list_next(Evaluation *e, ListCursor *c, Value *ret)
{
        if (c->at >= value_list_len(c->list))
                return false;
        if (!c->list->node) {
                *ret = c->list->items[c->at++];
                return true;
        }
        if (c->at++ == 0)
                c->node = (uint32_t)(c->list->node - e->tree.nodes) + 1;
        const JsonNode *node = &e->tree.nodes[c->node];
        c->node = node->next;
        evaluation_node_value(e, node, ret);
        return true;
}

static Slice time_text(const Value *v, char room[static CLOCK_RFC3339_MAX])
{
        if (v->text.data)
                return v->text;
        return slice_of(clock_rfc3339((uint64_t)v->usec, room));
}

static void string_json(Buf *out, Slice s)
{
        buf_add_char(out, '"');
        json_add_escaped(out, s);
        buf_add_char(out, '"');
}

// Lists of lists do not arise: split() makes strings, and lists of the expression hold scalars.
static void items_json(Evaluation *e, const Value *v, Buf *out)
{
        buf_add_char(out, '[');
        for (size_t i = 0; i < v->n_items; i++) {
                if (i > 0)
                        buf_add_char(out, ',');
                value_json(e, &v->items[i], out);
        }
        buf_add_char(out, ']');
}

void value_json(Evaluation *e, const Value *v, Buf *out)
{
        char room[CLOCK_RFC3339_MAX + DURATION_TEXT_MAX];
        switch (v->type) {
        case VALUE_BOOL:
                buf_add_str(out, v->boolean ? "true" : "false");
                break;
        case VALUE_NUMBER:
                buf_add_slice(out, v->text);
                break;
        case VALUE_STRING:
                string_json(out, v->text);
                break;
        case VALUE_TIME:
                string_json(out, time_text(v, room));
                break;
        case VALUE_DURATION:
                buf_add_str(out, duration_seconds(v->usec, room));
                break;
        case VALUE_LIST:
        case VALUE_OBJECT:
                if (v->node)
                        buf_add_slice(out, v->node->raw);
                else
                        items_json(e, v, out);
                break;
        default:
                buf_add_str(out, "null");
        }
}

Slice value_text(Evaluation *e, const Value *v)
{
        char room[CLOCK_RFC3339_MAX + DURATION_TEXT_MAX];
        switch (v->type) {
        case VALUE_BOOL:
                return v->boolean ? SLICE_LIT("true") : SLICE_LIT("false");
        case VALUE_NUMBER:
        case VALUE_STRING:
                return v->text;
        case VALUE_TIME:
                return v->text.data ? v->text : arena_copy(&e->arena, time_text(v, room));
        case VALUE_DURATION:
                return arena_copy(&e->arena, slice_of(duration_seconds(v->usec, room)));
        case VALUE_LIST:
        case VALUE_OBJECT:
                break;
        default:
                return SLICE_LIT("");
        }
        if (v->node)
                return v->node->raw;
        buf_reset(&e->scratch);
        items_json(e, v, &e->scratch);
        Value text;
        evaluation_take_scratch(e, VALUE_STRING, &text);
        return text.type == VALUE_STRING ? text.text : SLICE_LIT("");
}
