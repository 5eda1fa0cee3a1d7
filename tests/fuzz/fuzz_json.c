// SPDX-License-Identifier: MIT
// Validator and tree must agree on any text; what the tree holds lies within the text; a string
// that is unescaped and written again is valid and comes back the same.
#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_string(Slice raw)
{
        _cleanup_(buf_deinitp) Buf plain = BUF_INIT(1 << 20), again = BUF_INIT(1 << 23);
        _cleanup_(buf_deinitp) Buf back = BUF_INIT(1 << 20);
        json_unescape(&plain, raw);
        assert(text_utf8_valid(buf_slice(&plain)));
        JsonWriter w = json_writer(&again);
        json_add_string(&w, buf_slice(&plain));
        assert(again.error == 0 && json_check(buf_slice(&again), 0, NULL) == 0);
        json_unescape(&back, slice_mem(again.data + 1, again.len - 2));
        assert(slice_eq(buf_slice(&plain), buf_slice(&back)));
}

static void check_tree(const JsonTree *t, Slice text)
{
        assert(t->n_nodes > 0 && t->nodes[0].next == t->n_nodes);
        for (uint32_t i = 0; i < t->n_nodes; i++) {
                const JsonNode *n = &t->nodes[i];
                assert(n->next > i && n->next <= t->n_nodes);
                assert(n->raw.data >= text.data &&
                        n->raw.data + n->raw.len <= text.data + text.len);
                if (n->type == JSON_NODE_STRING)
                        check_string(n->raw);
                else
                        assert(json_check(n->raw, LIMIT_JSON_DEPTH, NULL) == 0);
                if (n->n > 0)
                        assert(json_at(t, n, n->n - 1) != NULL);
                assert(json_at(t, n, n->n) == NULL);
                if (n->n > 0 && n->type == JSON_NODE_OBJECT)
                        (void)json_get(t, n, json_at(t, n, 0)->key);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Slice text = slice_mem(data, size);
        size_t offset = 0;
        JsonTree t = {0};
        int check = json_check(text, LIMIT_JSON_DEPTH, &offset);
        int tree = json_parse(&t, text, LIMIT_JSON_DEPTH);
        assert(check == tree || (check == 0 && tree == -E2BIG));
        assert(check == 0 || offset <= size);
        if (tree == 0)
                check_tree(&t, text);
        json_tree_deinit(&t);

        // Any bytes, written as a string, are valid JSON.
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 23);
        JsonWriter w = json_writer(&b);
        json_add_string(&w, text);
        assert(b.error < 0 || json_check(buf_slice(&b), 0, NULL) == 0);
        return 0;
}
