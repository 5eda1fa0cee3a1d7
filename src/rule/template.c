// SPDX-License-Identifier: MIT
// A template is a list of parts: bytes that are always the same, and holes with the way they are
// written. Invariants: literal text is escaped once, while compiling; each hole is evaluated with
// the captures of the filter, whatever other holes match; nesting of a JSON template is bounded.
#include "rule/template.h"

#include "base/limits.h"
#include "rule/render.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>

struct TemplatePart {
        Slice literal; // of a part without a hole
        const Node *hole;
        bool typed; // the hole is a whole JSON value
        Escape escape;
};

// Collects literal bytes until a hole comes.
typedef struct Builder {
        Unit *unit;
        Template *template;
        Buf pending;
        Fault *fault;
        const ConfigText **ret_text;
} Builder;

static int builder_part(Builder *b, TemplatePart part)
{
        Template *t = b->template;
        if (t->n == t->cap) {
                unsigned cap = t->cap ? t->cap * 2 : 8;
                TemplatePart *grown = arena_alloc(&b->unit->arena, cap * sizeof(*grown));
                if (!grown)
                        return -ENOMEM;
                if (t->n)
                        memcpy(grown, t->parts, t->n * sizeof(*grown));
                t->parts = grown;
                t->cap = cap;
        }
        t->parts[t->n++] = part;
        return 0;
}

static int builder_flush(Builder *b)
{
        if (b->pending.error)
                return -ENOMEM;
        if (b->pending.len == 0)
                return 0;
        Slice literal = arena_copy(&b->unit->arena, buf_slice(&b->pending));
        if (!literal.data)
                return -ENOMEM;
        buf_reset(&b->pending);
        return builder_part(b, (TemplatePart){.literal = literal});
}

static int builder_hole(
        Builder *b, Slice text, size_t at, bool typed, Escape escape, size_t *ret_end)
{
        Node *hole;
        int r = builder_flush(b);
        if (r == 0)
                r = unit_compile_hole(b->unit, text, at, &hole, ret_end, b->fault);
        return r < 0 ? r
                     : builder_part(
                               b, (TemplatePart){.hole = hole, .typed = typed, .escape = escape});
}

// Text with holes; `$${` stands for `${`.
static int builder_text(Builder *b, Slice text, Escape escape)
{
        size_t at = 0;
        while (at < text.len) {
                const char *dollar = memchr(text.data + at, '$', text.len - at);
                size_t end = dollar ? (size_t)(dollar - text.data) : text.len;
                escape_add(&b->pending, escape, (Slice){text.data + at, end - at});
                if (!dollar)
                        break;
                Slice rest = {dollar, text.len - end};
                at = end + 1;
                if (slice_starts(rest, SLICE_LIT("$${"))) {
                        escape_add(&b->pending, escape, SLICE_LIT("${"));
                        at = end + 3;
                } else if (slice_starts(rest, SLICE_LIT("${"))) {
                        int r = builder_hole(b, text, end + 2, false, escape, &at);
                        if (r < 0)
                                return r;
                } else {
                        escape_add(&b->pending, escape, SLICE_LIT("$"));
                }
        }
        return 0;
}

static int json_string_part(Builder *b, const ConfigText *source)
{
        Slice text = slice_of(source->text);
        *b->ret_text = source;
        if (slice_starts(text, SLICE_LIT("${"))) {
                // Whether the hole is the whole string shows where it ends.
                size_t end;
                int r = builder_hole(b, text, 2, true, ESCAPE_JSON, &end);
                if (r < 0 || end == text.len)
                        return r;
                b->template->parts[b->template->n - 1].typed = false;
                TemplatePart hole = b->template->parts[--b->template->n];
                buf_add_char(&b->pending, '"');
                r = builder_flush(b);
                if (r == 0)
                        r = builder_part(b, hole);
                // The rest has offsets of its own, so a fault in it is moved to its place.
                if (r == 0)
                        r = builder_text(b, (Slice){text.data + end, text.len - end}, ESCAPE_JSON);
                if (r == -EINVAL) {
                        b->fault->start += end;
                        b->fault->end += end;
                }
                buf_add_char(&b->pending, '"');
                return r;
        }
        buf_add_char(&b->pending, '"');
        int r = builder_text(b, text, ESCAPE_JSON);
        buf_add_char(&b->pending, '"');
        return r;
}

// The shortest decimal that reads back as the same double; 1.0 keeps its point.
static int json_float_part(Builder *b, double v)
{
        if (!isfinite(v))
                return fault_set(b->fault, 0, 0, "the body has a number that JSON cannot hold");
        char text[40];
        for (int digits = 15; digits <= 17; digits++) {
                (void)snprintf(text, sizeof(text), "%.*g", digits, v);
                if (strtod(text, NULL) == v)
                        break;
        }
        buf_add_str(&b->pending, text);
        if (!strpbrk(text, ".e"))
                buf_add_str(&b->pending, ".0");
        return 0;
}

static int json_part(Builder *b, const ConfigTemplate *t, unsigned depth);

static int json_children(Builder *b, const ConfigTemplate *t, unsigned depth)
{
        bool object = t->kind == TEMPLATE_OBJECT;
        buf_add_char(&b->pending, object ? '{' : '[');
        for (size_t i = 0; i < t->n_children; i++) {
                const ConfigTemplate *child = &t->children[i];
                if (i > 0)
                        buf_add_char(&b->pending, ',');
                if (object) {
                        Slice key = slice_of(child->key);
                        buf_add_char(&b->pending, '"');
                        json_add_escaped(&b->pending, key);
                        buf_add_str(&b->pending, "\":");
                }
                int r = json_part(b, child, depth + 1);
                if (r < 0)
                        return r;
        }
        buf_add_char(&b->pending, object ? '}' : ']');
        return 0;
}

static int json_part(Builder *b, const ConfigTemplate *t, unsigned depth)
{
        *b->ret_text = NULL;
        if (depth > LIMIT_JSON_DEPTH)
                return fault_set(b->fault, 0, 0, "the body nests too deep: over %u levels",
                        LIMIT_JSON_DEPTH);
        switch (t->kind) {
        case TEMPLATE_STRING:
                return json_string_part(b, &t->text);
        case TEMPLATE_INT:
                buf_addf(&b->pending, "%" PRId64, t->integer);
                return 0;
        case TEMPLATE_FLOAT:
                return json_float_part(b, t->number);
        case TEMPLATE_BOOL:
                buf_add_str(&b->pending, t->boolean ? "true" : "false");
                return 0;
        case TEMPLATE_NULL:
                buf_add_str(&b->pending, "null");
                return 0;
        case TEMPLATE_LIST:
        case TEMPLATE_OBJECT:
                return json_children(b, t, depth);
        }
        return -EINVAL;
}

static int builder_end(Builder *b, int r)
{
        if (r == 0)
                r = builder_flush(b);
        if (r == -ENOMEM && (b->unit->arena.over || b->pending.error == -ENOBUFS))
                r = fault_set(b->fault, 0, 0, "this template is too large");
        buf_deinit(&b->pending);
        return r;
}

int template_text(Unit *u, Template *t, Slice text, Escape escape, Fault *fault)
{
        Builder b = {
                .unit = u, .template = t, .pending = BUF_INIT(LIMIT_BODY_TEMPLATE), .fault = fault};
        return builder_end(&b, builder_text(&b, text, escape));
}

int template_json(Unit *u, Template *t, const ConfigTemplate *source, Fault *fault,
        const ConfigText **ret_text)
{
        *ret_text = NULL;
        // Escaping and commas add to the limit of the template's own text.
        Builder b = {.unit = u,
                .template = t,
                .pending = BUF_INIT(6 * LIMIT_BODY_TEMPLATE),
                .fault = fault,
                .ret_text = ret_text};
        return builder_end(&b, json_part(&b, source, 0));
}

void template_render(const Template *t, Evaluation *e, Buf *out)
{
        const Captures *filter = e->captures;
        for (unsigned i = 0; i < t->n && !out->error; i++) {
                const TemplatePart *part = &t->parts[i];
                if (!part->hole) {
                        buf_add_slice(out, part->literal);
                        continue;
                }
                Value v;
                evaluation_run(e, part->hole, &v);
                e->captures = filter;
                if (part->typed)
                        value_json(e, &v, out);
                else
                        escape_add(out, part->escape, value_text(e, &v));
        }
}
