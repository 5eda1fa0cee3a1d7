// SPDX-License-Identifier: MIT
// Looks paths up in field tables. A path sees the union of all types in scope: declared as a number
// by one source and as a string by another it may be both. Fields the hub itself may put into any
// data (an oversized event's) count as declared everywhere.
#include "rule/scope.h"

#include "base/text.h"
#include <errno.h>

typedef struct PathLook {
        TypeMask types;
        TypeMask above; // of a declared field that ends before the path does
        unsigned above_steps;
} PathLook;

static TypeMask field_mask(FieldType t)
{
        switch (t) {
        case FIELD_STRING:
                return MASK(VALUE_STRING);
        case FIELD_NUMBER:
                return MASK(VALUE_NUMBER);
        case FIELD_BOOL:
                return MASK(VALUE_BOOL);
        case FIELD_TIME:
                return MASK(VALUE_TIME);
        case FIELD_LIST:
                return MASK(VALUE_LIST);
        case FIELD_OBJECT:
                return MASK(VALUE_OBJECT);
        default:
                return MASK_ANY;
        }
}

// What one declared field says about the path.
static void field_look(const EventField *f, const Node *path, PathLook *look)
{
        const char *at = f->name;
        unsigned i = 0;
        for (; i < path->n_steps && *at; i++) {
                size_t n = strcspn(at, ".");
                if (!slice_eq(path->steps[i].key, (Slice){at, n}) || !path->steps[i].key.data)
                        return;
                at += n;
                at += *at == '.';
        }
        if (*at) { // the path ends inside the declared name
                look->types |= MASK(VALUE_OBJECT);
                return;
        }
        TypeMask mask = field_mask(f->type);
        if (i == path->n_steps) {
                look->types |= mask;
                return;
        }
        bool index = !path->steps[i].key.data;
        if ((index && (mask & MASK(VALUE_LIST))) || (!index && (mask & MASK(VALUE_OBJECT)))) {
                look->types |= MASK_ANY;
                return;
        }
        look->above |= mask;
        look->above_steps = i;
}

static void type_look(const EventType *t, const Node *path, PathLook *look)
{
        for (size_t i = 0; i < t->n_fields; i++)
                field_look(&t->fields[i], path, look);
}

// "data.a.b" of the first n steps.
static void path_spell(const Node *path, unsigned n, Buf *out)
{
        buf_add_str(out, "data");
        for (unsigned i = 0; i < n; i++) {
                const PathStep *s = &path->steps[i];
                if (!s->key.data)
                        buf_addf(out, "[%u]", (unsigned)s->index);
                else
                        buf_addf(out, ".%.*s", SLICE_ARG(s->key));
        }
}

static int path_fault(const Scope *s, const Node *path, const PathLook *look, Fault *fault)
{
        _cleanup_(buf_deinitp) Buf spelled = BUF_INIT(512);
        size_t start = path->steps[0].start, end = path->end;
        if (look->above) {
                char words[TYPE_WORDS_MAX];
                path_spell(path, look->above_steps, &spelled);
                const PathStep *step = &path->steps[look->above_steps];
                return fault_set(fault, step->start, step->end, "%s is %s and has no %s inside",
                        buf_text(&spelled), type_mask_words(look->above, words),
                        step->key.data ? "such field" : "elements");
        }

        // The nearest declared name: compared without the leading "data.".
        size_t n = n_event_common_fields, at = 0;
        for (size_t i = 0; i < s->n_types; i++)
                n += s->types[i]->n_fields;
        _cleanup_(freep) const char **names = calloc(n, sizeof(*names));
        if (!names)
                return -ENOMEM;
        for (size_t i = 0; i < s->n_types; i++)
                for (size_t j = 0; j < s->types[i]->n_fields; j++)
                        names[at++] = s->types[i]->fields[j].name;
        for (size_t i = 0; i < n_event_common_fields; i++)
                names[at++] = event_common_fields[i].name;
        path_spell(path, path->n_steps, &spelled);
        Slice word = slice_of(buf_text(&spelled));
        if (word.len > 5)
                word = (Slice){word.data + 5, word.len - 5};
        const char *near = text_nearest(word, names, at);
        return fault_set(fault, start, end, "the events here have no field %s%s%s%s",
                buf_text(&spelled), near ? " (did you mean data." : "", near ? near : "",
                near ? "?)" : "");
}

TypeMask scope_path(const Scope *s, const Node *path, Fault *fault)
{
        switch (path->head) {
        case HEAD_DATA:
                break;
        case HEAD_TIME:
                return MASK(VALUE_TIME);
        default:
                return MASK(VALUE_STRING);
        }
        if (path->n_steps == 0)
                return MASK(VALUE_OBJECT);
        if (s->open || s->own_types)
                return MASK_ANY;
        PathLook look = {0};
        for (size_t i = 0; i < s->n_types; i++)
                type_look(s->types[i], path, &look);
        for (size_t i = 0; i < n_event_common_fields; i++)
                field_look(&event_common_fields[i], path, &look);
        if (!look.types)
                (void)path_fault(s, path, &look, fault);
        return look.types;
}

static bool paths_equal(const Node *a, const Node *b)
{
        if (a->n_steps != b->n_steps)
                return false;
        for (unsigned i = 0; i < a->n_steps; i++) {
                const PathStep *x = &a->steps[i], *y = &b->steps[i];
                if (!x->key.data != !y->key.data || !slice_eq(x->key, y->key) ||
                        x->index != y->index)
                        return false;
        }
        return true;
}

void scope_number_path(const Scope *s, Node *path)
{
        PathTable *t = s->paths;
        if (!t || path->head != HEAD_DATA)
                return;
        for (unsigned i = 1; i <= t->n; i++)
                if (paths_equal(t->list[i], path)) {
                        path->memo = i;
                        return;
                }
        if (t->n + 1 < PATH_MEMOS) {
                t->list[++t->n] = path;
                path->memo = t->n;
        }
}

bool scope_has_type(const Scope *s, Slice name)
{
        for (size_t i = 0; i < s->n_types; i++)
                if (slice_eq_str(name, s->types[i]->name))
                        return true;
        return s->open || (s->own_types && event_type_is_own(name));
}

bool scope_has_type_with(const Scope *s, Slice part, NodeType how)
{
        for (size_t i = 0; i < s->n_types; i++) {
                Slice name = slice_of(s->types[i]->name);
                if (how == NODE_CONTAINS && memmem(name.data, name.len, part.data, part.len))
                        return true;
                if (how == NODE_STARTS && slice_starts(name, part))
                        return true;
                if (how == NODE_ENDS && name.len >= part.len &&
                        slice_eq((Slice){name.data + name.len - part.len, part.len}, part))
                        return true;
        }
        return s->open || s->own_types;
}

int scope_type_fault(const Scope *s, Slice name, size_t start, size_t end, Fault *fault)
{
        _cleanup_(freep) const char **names = calloc(s->n_types + 1, sizeof(*names));
        if (!names)
                return -ENOMEM;
        for (size_t i = 0; i < s->n_types; i++)
                names[i] = s->types[i]->name;
        const char *near = text_nearest(name, names, s->n_types);
        _cleanup_(buf_deinitp) Buf list = BUF_INIT(300);
        if (!near)
                for (size_t i = 0; i < s->n_types && list.len < 160; i++)
                        buf_addf(&list, "%s%s", i ? " " : "; they are ", names[i]);
        return fault_set(fault, start, end, "no source here has events of type '%.*s'%s%s%s%s",
                (int)(name.len > 80 ? 80 : name.len), name.data, near ? " (did you mean '" : "",
                near ? near : "", near ? "'?)" : "", buf_text(&list));
}
