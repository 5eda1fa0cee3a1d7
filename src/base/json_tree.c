// SPDX-License-Identifier: MIT
// A document as one flat array of nodes, parents before children. Nothing recurses over data: what
// is open stands on a stack of LIMIT_JSON_DEPTH indices. Slices borrow from the text, nodes belong
// to the tree and are reused by its next parse; after a failed parse the tree is empty.
#include "base/json.h"

#include "base/json_scan.h"
#include "base/limits.h"
#include <assert.h>
#include <errno.h>

enum { FIRST_NODES = 32 };

typedef struct Parse {
        JsonTree *tree;
        const char *at, *end, *fault;
        uint32_t open[LIMIT_JSON_DEPTH]; // indices of open containers
        unsigned depth, max_depth;
        Slice key; // of the value that comes next
        bool key_escaped;
} Parse;

static JsonNode *add_node(Parse *p, JsonType type)
{
        JsonTree *t = p->tree;
        if (t->n_nodes == t->cap) {
                uint32_t cap = t->cap ? t->cap * 2 : FIRST_NODES;
                JsonNode *nodes = realloc(t->nodes, cap * sizeof(*nodes));
                if (!nodes)
                        return NULL;
                t->nodes = nodes;
                t->cap = cap;
        }
        JsonNode *n = &t->nodes[t->n_nodes++];
        *n = (JsonNode){
                .type = type,
                .next = t->n_nodes,
                .key = p->key,
                .key_escaped = p->key_escaped,
                .raw = slice_mem(p->at, 0),
        };
        p->key = SLICE_NULL;
        p->key_escaped = false;
        if (p->depth > 0)
                t->nodes[p->open[p->depth - 1]].n++;
        return n;
}

static bool parse_key(Parse *p)
{
        if (p->at == p->end || *p->at != '"')
                return false;
        const char *start = p->at + 1;
        const char *behind = json_scan_string(start, p->end, &p->key_escaped, &p->fault);
        if (!behind)
                return false;
        p->key = slice_mem(start, (size_t)(behind - 1 - start));
        p->at = json_skip_space(behind, p->end);
        if (p->at == p->end || *p->at != ':')
                return false;
        p->at = json_skip_space(p->at + 1, p->end);
        return true;
}

static const char *scan_scalar(Parse *p, JsonType *ret_type, bool *ret_escaped)
{
        *ret_escaped = false;
        switch (*p->at) {
        case '"':
                *ret_type = JSON_NODE_STRING;
                return json_scan_string(p->at + 1, p->end, ret_escaped, &p->fault);
        case 't':
                *ret_type = JSON_NODE_TRUE;
                return json_scan_literal(p->at, p->end, SLICE_LIT("true"), &p->fault);
        case 'f':
                *ret_type = JSON_NODE_FALSE;
                return json_scan_literal(p->at, p->end, SLICE_LIT("false"), &p->fault);
        case 'n':
                *ret_type = JSON_NODE_NULL;
                return json_scan_literal(p->at, p->end, SLICE_LIT("null"), &p->fault);
        default:
                *ret_type = JSON_NODE_NUMBER;
                return json_scan_number(p->at, p->end, &p->fault);
        }
}

static int parse_scalar(Parse *p)
{
        JsonType type;
        bool escaped;
        const char *behind = scan_scalar(p, &type, &escaped);
        if (!behind)
                return -EBADMSG;
        JsonNode *n = add_node(p, type);
        if (!n)
                return -ENOMEM;
        unsigned quote = type == JSON_NODE_STRING;
        n->raw = slice_mem(p->at + quote, (size_t)(behind - p->at) - 2 * quote);
        n->escaped = escaped;
        p->at = behind;
        return 1;
}

static void close_container(Parse *p)
{
        JsonNode *n = &p->tree->nodes[p->open[--p->depth]];
        p->at++;
        n->next = p->tree->n_nodes;
        n->raw.len = (size_t)(p->at - n->raw.data);
}

// One value, or the opening of a container: 1 = complete, 0 = a further value follows, < 0 = fault.
static int parse_begin(Parse *p)
{
        if (p->at == p->end)
                return -EBADMSG;
        if (p->tree->n_nodes == JSON_NODES_MAX)
                return -E2BIG;
        if (*p->at != '{' && *p->at != '[')
                return parse_scalar(p);
        if (p->depth == p->max_depth)
                return -E2BIG;
        bool object = *p->at == '{';
        if (!add_node(p, object ? JSON_NODE_OBJECT : JSON_NODE_ARRAY))
                return -ENOMEM;
        p->open[p->depth++] = p->tree->n_nodes - 1;
        p->at = json_skip_space(p->at + 1, p->end);
        if (p->at < p->end && *p->at == (object ? '}' : ']')) {
                close_container(p);
                return 1;
        }
        return !object || parse_key(p) ? 0 : -EBADMSG;
}

static int parse_behind(Parse *p)
{
        while (p->depth > 0) {
                bool object = p->tree->nodes[p->open[p->depth - 1]].type == JSON_NODE_OBJECT;
                p->at = json_skip_space(p->at, p->end);
                if (p->at == p->end)
                        return -EBADMSG;
                if (*p->at == ',') {
                        p->at = json_skip_space(p->at + 1, p->end);
                        return !object || parse_key(p) ? 0 : -EBADMSG;
                }
                if (*p->at != (object ? '}' : ']'))
                        return -EBADMSG;
                close_container(p);
        }
        return json_skip_space(p->at, p->end) == p->end ? 1 : -EBADMSG;
}

int json_parse(JsonTree *t, Slice text, unsigned max_depth)
{
        Parse p = {
                .tree = t,
                .max_depth = max_depth < LIMIT_JSON_DEPTH ? max_depth : LIMIT_JSON_DEPTH,
        };
        t->n_nodes = 0;
        if (text.len == 0)
                return -EBADMSG;
        p.end = text.data + text.len;
        p.at = json_skip_space(text.data, p.end);
        int r;
        do {
                r = parse_begin(&p);
                if (r == 1)
                        r = parse_behind(&p);
        } while (r == 0);
        if (r < 0)
                t->n_nodes = 0;
        return r < 0 ? r : 0;
}

void json_tree_deinit(JsonTree *t)
{
        if (!t)
                return;
        free(t->nodes);
        *t = (JsonTree){0};
}

static unsigned hex4(const char *p)
{
        unsigned v = 0;
        for (int i = 0; i < 4; i++)
                v = v << 4 | (unsigned)(json_hex_digit(p[i]) & 15);
        return v;
}

static size_t put_utf8(uint32_t c, char out[static 4])
{
        if (c < 0x80) {
                out[0] = (char)c;
                return 1;
        }
        size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = n - 1; i > 0; i--, c >>= 6)
                out[i] = (char)(0x80 | (c & 0x3f));
        out[0] = (char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
        return n;
}

// One escape at *at (on the backslash, checked by the scanner); moves behind it. A surrogate
// without its partner has no character and becomes U+FFFD.
static size_t unescape_one(const char **at, const char *end, char out[static 4])
{
        static const char plain[128] = {
                ['b'] = '\b',
                ['f'] = '\f',
                ['n'] = '\n',
                ['r'] = '\r',
                ['t'] = '\t',
        };
        const char *p = *at;
        if (end - p < 2 || (p[1] == 'u' && end - p < 6)) { // raw text that no scanner checked
                *at = end;
                return put_utf8(0xfffd, out);
        }
        if (p[1] != 'u') {
                *at = p + 2;
                char c = plain[p[1] & 0x7f];
                out[0] = c ? c : p[1];
                return 1;
        }
        uint32_t c = hex4(p + 2);
        *at = p + 6;
        if (c >= 0xd800 && c < 0xdc00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u') {
                uint32_t low = hex4(p + 8);
                if (low >= 0xdc00 && low < 0xe000) {
                        *at = p + 12;
                        return put_utf8(0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00), out);
                }
        }
        return put_utf8(c >= 0xd800 && c < 0xe000 ? 0xfffd : c, out);
}

void json_unescape(Buf *out, Slice raw)
{
        const char *at = raw.data, *end = raw.data + raw.len;
        while (at < end) {
                const char *slash = memchr(at, '\\', (size_t)(end - at));
                buf_add(out, at, (size_t)((slash ? slash : end) - at));
                if (!slash)
                        return;
                char bytes[4];
                at = slash;
                size_t n = unescape_one(&at, end, bytes);
                buf_add(out, bytes, n);
        }
}

// Compares without building the text: keys with escapes are rare and may be anything.
static bool key_matches(const JsonNode *n, Slice key)
{
        if (!n->key_escaped)
                return slice_eq(n->key, key);
        const char *at = n->key.data, *end = at + n->key.len;
        size_t used = 0;
        while (at < end) {
                char bytes[4] = {*at};
                size_t got = 1;
                if (*at == '\\')
                        got = unescape_one(&at, end, bytes);
                else
                        at++;
                if (key.len - used < got || memcmp(key.data + used, bytes, got) != 0)
                        return false;
                used += got;
        }
        return used == key.len;
}

const JsonNode *json_get(const JsonTree *t, const JsonNode *object, Slice key)
{
        if (!object || object->type != JSON_NODE_OBJECT)
                return NULL;
        const JsonNode *found = NULL;
        uint32_t i = (uint32_t)(object - t->nodes) + 1;
        for (; i < object->next; i = t->nodes[i].next)
                if (key_matches(&t->nodes[i], key))
                        found = &t->nodes[i];
        return found;
}

const JsonNode *json_at(const JsonTree *t, const JsonNode *array, uint32_t index)
{
        if (!array || (array->type != JSON_NODE_ARRAY && array->type != JSON_NODE_OBJECT) ||
                index >= array->n)
                return NULL;
        uint32_t i = (uint32_t)(array - t->nodes) + 1;
        while (index-- > 0)
                i = t->nodes[i].next;
        assert(i < array->next);
        return &t->nodes[i];
}
