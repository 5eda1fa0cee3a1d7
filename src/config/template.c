// SPDX-License-Identifier: MIT
// Bodies of rules: a setting of the configuration, or a JSON file, as one tree of values in which
// each string knows its place. Holes inside the strings are the rule compiler's business.
#include <errno.h>
#include <fcntl.h>
#include <math.h>

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "config/load.h"

void template_clear(ConfigTemplate *t)
{
        for (size_t i = 0; i < t->n_children; i++)
                template_clear(&t->children[i]);
        free(t->children);
        free(t->key);
        config_text_clear(&t->text);
        *t = (ConfigTemplate){0};
}

static int reserve(ConfigTemplate *t, TemplateKind kind, size_t n)
{
        t->kind = kind;
        t->children = calloc(n ? n : 1, sizeof(*t->children));
        if (!t->children)
                return -ENOMEM;
        t->n_children = n;
        return 0;
}

// ---- from a setting; depth is bounded by the scanner
static int from_children(Reader *r, const ScanNode *n, ConfigTemplate *t)
{
        int e = reserve(t, n->kind == SCAN_GROUP ? TEMPLATE_OBJECT : TEMPLATE_LIST, n->n);
        size_t i = 0;
        for (const ScanNode *c = scan_first(r->scan, n); e == 0 && c; c = scan_next(r->scan, c)) {
                ConfigTemplate *child = &t->children[i++];
                e = template_from_setting(r, c, child);
                if (e == 0 && c->name.data && !(child->key = strndup(c->name.data, c->name.len)))
                        e = -ENOMEM;
        }
        return e;
}

int template_from_setting(Reader *r, const ScanNode *n, ConfigTemplate *ret)
{
        switch (n->kind) {
        case SCAN_STRING:
                ret->kind = TEMPLATE_STRING;
                return scan_text(r->scan, n, &ret->text);
        case SCAN_INTEGER:
                ret->kind = TEMPLATE_INT;
                ret->integer = n->integer;
                return 0;
        case SCAN_FLOAT:
                ret->kind = TEMPLATE_FLOAT;
                ret->number = scan_float(n);
                if (!isfinite(ret->number))
                        reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, n), n, NULL, NULL,
                                "the number is too large");
                return 0;
        case SCAN_BOOL:
                ret->kind = TEMPLATE_BOOL;
                ret->boolean = scan_bool(n);
                return 0;
        default:
                return from_children(r, n, ret);
        }
}

// ---- from a JSON file
typedef struct JsonBody {
        Lines lines;
        JsonTree tree;
} JsonBody;

// A JSON string's text with its places: each escape is more bytes in the file than in the value.
static int json_text_of(const JsonBody *b, Slice raw, ConfigText *ret)
{
        TextMaker m = {.out = BUF_INIT(LIMIT_BODY_TEMPLATE)};
        for (size_t i = 0; i < raw.len;) {
                size_t n = 1;
                if (raw.data[i] != '\\') {
                        buf_add_char(&m.out, raw.data[i++]);
                        continue;
                }
                // A surrogate pair is one character: both escapes are undone together.
                n = i + 1 < raw.len && raw.data[i + 1] == 'u' ? 6 : 2;
                if (n == 6 && i + 12 <= raw.len && (raw.data[i + 2] | 0x20) == 'd' &&
                        strchr("89abAB", raw.data[i + 3]) && raw.data[i + 6] == '\\' &&
                        raw.data[i + 7] == 'u')
                        n = 12;
                if (i + n > raw.len)
                        n = raw.len - i;
                json_unescape(&m.out, slice_mem(raw.data + i, n));
                i += n;
                text_maker_jump(&m, lines_place(&b->lines, raw.data + i));
        }
        return text_maker_end(&m, lines_place(&b->lines, raw.data), ret);
}

static void json_number_of(Slice raw, ConfigTemplate *t)
{
        char text[64], *end;
        (void)snprintf(text, sizeof(text), "%.*s", SLICE_ARG(raw));
        errno = 0;
        long long v = strtoll(text, &end, 10);
        if (errno == 0 && *end == 0 && raw.len < sizeof(text)) {
                t->kind = TEMPLATE_INT;
                t->integer = v;
                return;
        }
        t->kind = TEMPLATE_FLOAT;
        t->number = strtod(text, NULL);
}

static int from_json(const JsonBody *b, const JsonNode *n, ConfigTemplate *t);

static int from_json_children(const JsonBody *b, const JsonNode *n, ConfigTemplate *t)
{
        bool object = n->type == JSON_NODE_OBJECT;
        int r = reserve(t, object ? TEMPLATE_OBJECT : TEMPLATE_LIST, n->n);
        const JsonNode *child = n + 1;
        for (size_t i = 0; r == 0 && i < n->n; i++) {
                r = from_json(b, child, &t->children[i]);
                if (r == 0 && object) {
                        ConfigText key = {0};
                        r = json_text_of(b, child->key, &key);
                        t->children[i].key = TAKE_PTR(key.text);
                        config_text_clear(&key);
                }
                child = &b->tree.nodes[child->next];
        }
        return r;
}

static int from_json(const JsonBody *b, const JsonNode *n, ConfigTemplate *t)
{
        switch (n->type) {
        case JSON_NODE_STRING:
                t->kind = TEMPLATE_STRING;
                return json_text_of(b, n->raw, &t->text);
        case JSON_NODE_NUMBER:
                json_number_of(n->raw, t);
                return 0;
        case JSON_NODE_TRUE:
        case JSON_NODE_FALSE:
                t->kind = TEMPLATE_BOOL;
                t->boolean = n->type == JSON_NODE_TRUE;
                return 0;
        case JSON_NODE_NULL:
                t->kind = TEMPLATE_NULL;
                return 0;
        default:
                return from_json_children(b, n, t);
        }
}

static char *body_path(const Reader *r, const char *name)
{
        const char *file = r->scan->lines.file, *slash = strrchr(file, '/');
        char *path = NULL;
        if (name[0] == '/' || !slash)
                return strdup(name);
        return asprintf(&path, "%.*s/%s", (int)(slash - file), file, name) < 0 ? NULL : path;
}

static int parse_body(Loader *l, JsonBody *b, Slice text, ConfigTemplate *ret)
{
        size_t offset = 0;
        int r = json_check(text, LIMIT_JSON_DEPTH, &offset);
        if (r < 0) {
                diagnose(l->d, SEVERITY_ERROR, lines_place(&b->lines, text.data + offset), "",
                        r == -E2BIG ? "nested too deeply" : "this is not JSON");
                return 0;
        }
        r = json_parse(&b->tree, text, LIMIT_JSON_DEPTH);
        return r < 0 ? r : from_json(b, b->tree.nodes, ret);
}

int template_from_file(
        Loader *l, Reader *r, const ScanNode *n, ConfigTemplate *ret, char **ret_path)
{
        Reason reason = {0};
        _cleanup_(freep) char *path = body_path(r, scan_string(n));
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(LIMIT_BODY_TEMPLATE);
        if (!path)
                return -ENOMEM;
        int e = file_read(AT_FDCWD, path, &text);
        if (e == -ENOMEM)
                return e;
        if (e < 0) {
                (void)reason_errno(&reason, e, "cannot read %s", path);
                reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, n), n, NULL, NULL, "%s",
                        reason.text);
                return 0;
        }
        const char *file = loader_add_file(l, path);
        JsonBody b = {0};
        e = file ? lines_init(&b.lines, file, buf_slice(&text)) : -ENOMEM;
        if (e == 0 && text.len == 0)
                diagnose(l->d, SEVERITY_ERROR, (Place){.file = file, .line = 1, .column = 1}, "",
                        "this is not JSON: the file is empty");
        else if (e == 0)
                e = parse_body(l, &b, buf_slice(&text), ret);
        json_tree_deinit(&b.tree);
        lines_deinit(&b.lines);
        *ret_path = TAKE_PTR(path);
        return e;
}
