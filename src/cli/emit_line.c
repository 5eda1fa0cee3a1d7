// SPDX-License-Identifier: MIT
// See emit_line.h. What is no JSON object never gets into a line: it could end the line's own object and
// begin another member.
#include "cli/emit_line.h"

#include "base/digest.h"
#include "base/limits.h"
#include <errno.h>
#include <sys/random.h>

void emit_line_init(EmitLine *l, size_t max)
{
        *l = (EmitLine){.out = BUF_INIT(max)};
}

void emit_line_deinit(EmitLine *l)
{
        json_tree_deinit(&l->tree);
        buf_deinit(&l->out);
}

static int key_make(char ret[static ID_HEX])
{
        uint8_t random[ID_HEX / 2];
        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
                return -EIO;
        digest_hex(random, sizeof(random), ret);
        return 0;
}

static int object_check(
        EmitLine *l, Slice text, unsigned depth, const char *example, Reason *reason)
{
        int r = json_parse(&l->tree, text, depth);
        if (r == -ENOMEM)
                return reason_set(reason, r, "out of memory");
        if (r == -E2BIG)
                return reason_set(reason, -EINVAL,
                        "the JSON nests deeper than %u levels or has too many values", depth);
        size_t at = 0;
        if (r < 0 && json_check(text, depth, &at) < 0)
                return reason_set(reason, -EINVAL,
                        "expected one JSON object such as %s; it is not JSON from byte %zu on",
                        example, at + 1);
        if (r < 0 || l->tree.nodes[0].type != JSON_NODE_OBJECT)
                return reason_set(reason, -EINVAL, "expected one JSON object such as %s", example);
        return 0;
}

static int line_end(EmitLine *l, Reason *reason)
{
        buf_add_char(&l->out, '\n');
        return l->out.error ? reason_errno(reason, l->out.error, "cannot make the line") : 0;
}

int emit_line_data(EmitLine *l, const EmitParts *p, Slice data, Reason *reason)
{
        char made[ID_HEX];
        int r = object_check(l, data, LIMIT_JSON_DEPTH - 1, "{\"size\":1}", reason);
        if (r >= 0 && !p->key)
                r = key_make(made);
        if (r == -EIO)
                return reason_set(reason, r, "cannot make a key");
        if (r < 0)
                return r;
        buf_reset(&l->out);
        JsonWriter w = json_writer(&l->out);
        json_begin(&w, '{');
        json_key(&w, "type");
        json_text(&w, p->type);
        json_key(&w, "id");
        json_add_string(&w, p->key ? slice_of(p->key) : slice_mem(made, sizeof(made)));
        if (p->subject) {
                json_key(&w, "subject");
                json_text(&w, p->subject);
        }
        if (p->time) {
                json_key(&w, "time");
                json_text(&w, p->time);
        }
        json_key(&w, "data");
        size_t at = l->out.len;
        json_raw(&w, data);
        for (; at < l->out.len; at++) // between values; within strings it is escaped
                if (l->out.data[at] == '\n' || l->out.data[at] == '\r')
                        l->out.data[at] = ' ';
        json_end(&w, '}');
        return line_end(l, reason);
}

int emit_line_whole(EmitLine *l, Slice event, Reason *reason)
{
        char made[ID_HEX];
        int r = object_check(l, event, LIMIT_JSON_DEPTH,
                "{\"type\":\"backup.done\"}, whole in its line", reason);
        if (r < 0)
                return r;
        buf_reset(&l->out);
        const JsonNode *root = l->tree.nodes;
        if (json_get(&l->tree, root, SLICE_LIT("id"))) {
                buf_add_slice(&l->out, event);
                return line_end(l, reason);
        }
        r = key_make(made);
        if (r < 0)
                return reason_set(reason, r, "cannot make a key");
        const char *open = memchr(event.data, '{', event.len);
        size_t rest = event.len - (size_t)(open + 1 - event.data);
        JsonWriter w = json_writer(&l->out);
        json_begin(&w, '{');
        json_key(&w, "id");
        json_add_string(&w, slice_mem(made, sizeof(made)));
        if (root->n > 0)
                buf_add_char(&l->out, ',');
        buf_add_slice(&l->out, slice_mem(open + 1, rest));
        return line_end(l, reason);
}
