// SPDX-License-Identifier: MIT
// The grammar: text to nodes with places. Stops at the first syntax error; goes on after faults that
// libconfig would read past. Depth and number of nodes are bounded.
#include "config/scanner.h"

#include <errno.h>

#include "base/limits.h"
#include "base/text.h"
#include "config/scan_check.h"
#include "config/token.h"

typedef struct Parser {
        Scan *scan;
        Diagnostics *d;
        const char *at, *end;
        Token token; // looked at, not yet taken
        unsigned depth;
        bool duplicate; // libconfig would stop there
} Parser;

// Outside of memory faults every refusal goes through here.
static int refuse(Parser *p, const char *at, uint32_t node, const char *format, ...) _printf_(4, 5);
static int refuse(Parser *p, const char *at, uint32_t node, const char *format, ...)
{
        char text[REASON_MAX];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        // The end of the file is shown where its last word ends, not behind the blank lines.
        if (p->token.kind == TOKEN_END && at == p->token.text.data)
                at = p->at;
        char *path = scan_path(p->scan, &p->scan->nodes[node], NULL);
        diagnose(p->d, SEVERITY_ERROR, lines_place(&p->scan->lines, at), path, "%s", text);
        free(path);
        return -EINVAL;
}

static void advance(Parser *p)
{
        p->at = p->token.text.data + p->token.text.len;
        p->token = token_next(p->at, p->end);
}

static int add_node(Parser *p, uint32_t parent, Slice name, uint32_t *ret)
{
        Scan *s = p->scan;
        if (s->n_nodes >= SCAN_NODES_MAX)
                return refuse(p, p->token.text.data, parent, "more than %d settings in one file",
                        SCAN_NODES_MAX);
        if (s->n_nodes == s->cap) {
                uint32_t cap = s->cap ? s->cap * 2 : 64;
                ScanNode *nodes = reallocarray(s->nodes, cap, sizeof(*nodes));
                if (!nodes)
                        return -ENOMEM;
                s->nodes = nodes;
                s->cap = cap;
        }
        uint32_t i = s->n_nodes++;
        s->nodes[i] = (ScanNode){.name = name, .parent = parent, .next = i + 1};
        if (i != parent)
                s->nodes[i].index = s->nodes[parent].n++;
        if (s->nodes[parent].n > LIMIT_LIST)
                return refuse(p, p->token.text.data, parent, "more than %u elements", LIMIT_LIST);
        *ret = i;
        return 0;
}

static void close_node(Parser *p, uint32_t node, const char *start)
{
        ScanNode *n = &p->scan->nodes[node];
        n->next = p->scan->n_nodes;
        n->raw = (Slice){start, (size_t)(p->at - start)};
}

static int refuse_value(Parser *p, uint32_t node)
{
        const Token *t = &p->token;
        switch (t->kind) {
        case TOKEN_BAD:
                return refuse(p, t->text.data, node, "%s", t->fault);
        case TOKEN_NAME:
                return refuse(p, t->text.data, node,
                        "expected a value, not the bare word %.*s: strings stand in double quotes",
                        (int)(t->text.len < 40 ? t->text.len : 40), t->text.data);
        default:
                return refuse(p, t->text.data, node, "expected a value, not %s", token_prose(t));
        }
}

static int parse_value(Parser *p, uint32_t node);
static int parse_settings(Parser *p, uint32_t group);

static int parse_string(Parser *p, uint32_t node)
{
        ScanNode *nodes = p->scan->nodes;
        const char *start = p->token.text.data;
        ScanKind around = nodes[nodes[node].parent].kind;
        nodes[node].kind = SCAN_STRING;
        for (bool first = true; p->token.kind == TOKEN_STRING; first = false) {
                scan_check_string(p->scan, node, p->token.text, p->d);
                if (!first && (around == SCAN_ARRAY || around == SCAN_LIST))
                        (void)refuse(p, p->token.text.data, node,
                                "a comma is missing in front of this string: libconfig would join "
                                "it to the one before");
                advance(p);
        }
        close_node(p, node, start);
        return 0;
}

static int parse_scalar(Parser *p, uint32_t node, ScanKind kind)
{
        const char *start = p->token.text.data;
        Slice text = p->token.text;
        p->scan->nodes[node].kind = kind;
        advance(p);
        close_node(p, node, start);
        if (kind == SCAN_INTEGER)
                scan_check_integer(p->scan, node, text, p->d);
        return 0;
}

// libconfig wants the elements of [ ] to be of one type.
static int check_alike(Parser *p, uint32_t array, uint32_t element)
{
        const ScanNode *first = &p->scan->nodes[array + 1], *n = &p->scan->nodes[element];
        bool alike = first->kind == n->kind;
        if (alike && n->kind == SCAN_INTEGER)
                alike = scan_is_long(first->raw) == scan_is_long(n->raw);
        if (alike)
                return 0;
        return refuse(p, n->raw.data, element,
                "the values inside [ ] must be of one type; use ( ) for mixed ones");
}

static int parse_list(Parser *p, uint32_t node, bool array)
{
        const char *start = p->token.text.data;
        Place open = lines_place(&p->scan->lines, start);
        TokenKind close = array ? TOKEN_ARRAY_CLOSE : TOKEN_LIST_CLOSE;
        p->scan->nodes[node].kind = array ? SCAN_ARRAY : SCAN_LIST;
        advance(p);
        while (p->token.kind != close) {
                uint32_t element;
                TokenKind kind = p->token.kind;
                if (array && (kind == TOKEN_GROUP_OPEN || kind == TOKEN_LIST_OPEN ||
                                     kind == TOKEN_ARRAY_OPEN))
                        return refuse(p, p->token.text.data, node,
                                "[ ] holds simple values only; use ( ) for groups and lists");
                int r = add_node(p, node, SLICE_NULL, &element);
                if (r == 0)
                        r = parse_value(p, element);
                if (r == 0 && array)
                        r = check_alike(p, node, element);
                if (r < 0)
                        return r;
                if (p->token.kind == TOKEN_COMMA) {
                        advance(p);
                        if (p->token.kind == close)
                                return refuse(p, p->token.text.data, node,
                                        "expected a value behind the last \",\": remove that "
                                        "comma");
                } else if (p->token.kind == TOKEN_BAD) {
                        return refuse_value(p, node);
                } else if (p->token.kind == TOKEN_END) {
                        return refuse(p, p->token.text.data, node,
                                "the file ends inside this list: the \"%c\" for the \"%c\" at "
                                "%u:%u is missing",
                                array ? ']' : ')', array ? '[' : '(', open.line, open.column);
                } else if (p->token.kind != close) {
                        return refuse(p, p->token.text.data, node,
                                "expected \",\" or \"%c\", not %s", array ? ']' : ')',
                                token_prose(&p->token));
                }
        }
        advance(p);
        close_node(p, node, start);
        return 0;
}

static int parse_group(Parser *p, uint32_t node)
{
        const char *start = p->token.text.data;
        Place open = lines_place(&p->scan->lines, start);
        p->scan->nodes[node].kind = SCAN_GROUP;
        advance(p);
        int r = parse_settings(p, node);
        if (r < 0)
                return r;
        if (p->token.kind == TOKEN_END)
                return refuse(p, p->token.text.data, node,
                        "the file ends inside this group: the \"}\" for the \"{\" at %u:%u is "
                        "missing",
                        open.line, open.column);
        advance(p);
        close_node(p, node, start);
        return 0;
}

static int parse_value(Parser *p, uint32_t node)
{
        int r;
        if (p->depth >= SCAN_DEPTH_MAX)
                return refuse(p, p->token.text.data, node, "nested deeper than %d levels",
                        SCAN_DEPTH_MAX);
        p->depth++;
        switch (p->token.kind) {
        case TOKEN_GROUP_OPEN:
                r = parse_group(p, node);
                break;
        case TOKEN_ARRAY_OPEN:
        case TOKEN_LIST_OPEN:
                r = parse_list(p, node, p->token.kind == TOKEN_ARRAY_OPEN);
                break;
        case TOKEN_STRING:
                r = parse_string(p, node);
                break;
        case TOKEN_BOOL:
                r = parse_scalar(p, node, SCAN_BOOL);
                break;
        case TOKEN_INTEGER:
                r = parse_scalar(p, node, SCAN_INTEGER);
                break;
        case TOKEN_FLOAT:
                r = parse_scalar(p, node, SCAN_FLOAT);
                break;
        default:
                r = refuse_value(p, node);
        }
        p->depth--;
        return r;
}

static int refuse_setting(Parser *p, uint32_t group)
{
        const Token *t = &p->token;
        const char *at = t->text.data;
        switch (t->kind) {
        case TOKEN_BAD:
                return refuse(p, at, group, "%s", t->fault);
        case TOKEN_STRING:
                return refuse(p, at, group,
                        "expected the name of a setting, not a string: names stand without quotes");
        case TOKEN_SEMICOLON:
        case TOKEN_COMMA:
                return refuse(p, at, group, "expected the name of a setting, not %s: one is enough",
                        token_prose(t));
        case TOKEN_GROUP_CLOSE:
                return refuse(p, at, group, "this \"}\" closes nothing");
        case TOKEN_GROUP_OPEN:
        case TOKEN_ARRAY_OPEN:
                return refuse(p, at, group, "expected the name of a setting, not %s%s",
                        token_prose(t),
                        p->scan->n_nodes > 1 ? ""
                                             : ": this is neither JSON nor INI, but sources = { "
                                               "... }; and so on");
        default:
                return refuse(
                        p, at, group, "expected the name of a setting, not %s", token_prose(t));
        }
}

// A quote that ends a string too early: what follows it stands at it, "type == "file.created"".
static int check_string_end(Parser *p, uint32_t node)
{
        const ScanNode *n = &p->scan->nodes[node];
        const Token *t = &p->token;
        bool follows = t->kind == TOKEN_NAME || t->kind == TOKEN_BOOL || t->kind == TOKEN_INTEGER ||
                       t->kind == TOKEN_FLOAT || t->kind == TOKEN_BAD;
        if (n->kind != SCAN_STRING || !follows || t->text.data != n->raw.data + n->raw.len)
                return 0;
        return refuse(p, t->text.data, node,
                "expected \";\" behind the string, which ends here: a \" inside it is written "
                "\\\"; expressions take 'this' instead");
}

static void check_duplicate(Parser *p, uint32_t group, uint32_t node)
{
        Scan *s = p->scan;
        for (uint32_t i = group + 1; i < node; i = s->nodes[i].next) {
                if (!slice_eq(s->nodes[i].name, s->nodes[node].name))
                        continue;
                Place first = scan_name_place(s, &s->nodes[i]);
                p->duplicate = true;
                (void)refuse(p, s->nodes[node].name.data, node, "given twice (first at %u:%u)",
                        first.line, first.column);
                return;
        }
}

static int parse_setting(Parser *p, uint32_t group)
{
        uint32_t node;
        int r = add_node(p, group, p->token.text, &node);
        if (r < 0)
                return r;
        check_duplicate(p, group, node);
        advance(p);
        if (p->token.kind == TOKEN_BAD)
                return refuse_value(p, node);
        if (p->token.kind != TOKEN_EQUALS)
                return refuse(p, p->token.text.data, node, "expected \"=\" behind the name, not %s",
                        token_prose(&p->token));
        advance(p);
        r = parse_value(p, node);
        if (r == 0)
                r = check_string_end(p, node);
        if (r == 0 && (p->token.kind == TOKEN_SEMICOLON || p->token.kind == TOKEN_COMMA))
                advance(p);
        return r;
}

// Until the end of the group or file, which stays to be taken.
static int parse_settings(Parser *p, uint32_t group)
{
        int r = 0;
        while (r == 0 && p->token.kind == TOKEN_NAME)
                r = parse_setting(p, group);
        if (r < 0 || p->token.kind == TOKEN_END)
                return r;
        return p->token.kind == TOKEN_GROUP_CLOSE && group != 0 ? 0 : refuse_setting(p, group);
}

// Bytes that libconfig would stop at or pass on unseen.
static int check_bytes(Parser *p, Slice text)
{
        if (slice_starts(text, SLICE_LIT("\xef\xbb\xbf")))
                return refuse(p, text.data, 0,
                        "the file begins with a byte order mark: save it as UTF-8 without one");
        for (size_t i = 0; i < text.len;) {
                size_t n = text_utf8_len(slice_mem(text.data + i, text.len - i));
                if (n == 0)
                        return refuse(p, text.data + i, 0, "not valid UTF-8");
                if (text.data[i] == 0)
                        return refuse(p, text.data + i, 0, "a NUL byte in a text file");
                i += n;
        }
        return 0;
}

int scan_init(Scan *s, const char *file, Slice text, Diagnostics *d)
{
        *s = (Scan){0};
        int r = lines_init(&s->lines, file, text);
        if (r < 0)
                return r;
        Parser p = {.scan = s, .d = d, .at = text.data, .end = text.data + text.len};
        uint32_t root;
        r = add_node(&p, 0, SLICE_NULL, &root);
        if (r == 0)
                r = check_bytes(&p, text);
        if (r < 0)
                return r;
        p.token = token_next(p.at, p.end);
        r = parse_settings(&p, root);
        close_node(&p, root, text.data);
        if (r == 0 && p.duplicate)
                r = -EINVAL;
        return r < 0 ? r : scan_bind(s, d);
}
