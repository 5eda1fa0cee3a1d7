// SPDX-License-Identifier: MIT
// JSON by hand, for the paths that run for each event: a validator, a writer, and a flat read-only
// tree. Control messages and option values use jansson instead; this file is for what must be fast.
// Names keep clear of jansson.h (json_string, json_null, JSON_*): a file may include both.
#pragma once

#include "base/buf.h"
#include <stdint.h>

// Strict RFC 8259 (one value, white space around it allowed), valid UTF-8, nesting <= max_depth,
// no duplicate-key check. Returns 0 or -EBADMSG (ret_offset: where) or -E2BIG (too deep).
int json_check(Slice text, unsigned max_depth, size_t *ret_offset) _must_use_;

// A writer over a Buf: commas are its business, balance is the caller's. Errors stick in the Buf.
typedef struct JsonWriter {
        Buf *buf;
        bool comma; // the next value or key needs one in front
} JsonWriter;

JsonWriter json_writer(Buf *b);
void json_begin(JsonWriter *w, char open); // '{' or '['
void json_end(JsonWriter *w, char close);  // '}' or ']'
void json_key(JsonWriter *w, const char *key);       // a plain key that needs no escaping
void json_key_slice(JsonWriter *w, Slice key);       // any key
void json_add_string(JsonWriter *w, Slice s);            // invalid UTF-8 bytes become U+FFFD
void json_text(JsonWriter *w, const char *text);     // NULL writes null
void json_u64(JsonWriter *w, uint64_t v);
void json_i64(JsonWriter *w, int64_t v);
void json_bool(JsonWriter *w, bool v);
void json_add_null(JsonWriter *w);
void json_raw(JsonWriter *w, Slice value);           // a value that is JSON already
// The escaped form without quotes, as json_add_string writes it between them.
void json_add_escaped(Buf *b, Slice s);

// A parsed document as one array of nodes in document order. A node's subtree is the run of nodes
// from it to its `next`. Memory is reused by the next parse; slices borrow from the input.
typedef enum JsonType {
        JSON_NODE_NULL, JSON_NODE_FALSE, JSON_NODE_TRUE, JSON_NODE_NUMBER, JSON_NODE_STRING, JSON_NODE_ARRAY, JSON_NODE_OBJECT,
} JsonType;

typedef struct JsonNode {
        JsonType type;
        uint32_t next;  // index behind this node's subtree
        uint32_t n;     // children of an array or object
        Slice key;      // raw text between the quotes (escapes undone only if has_escape_key)
        Slice raw;      // the value's text; of a string without its quotes
        bool key_escaped;
        bool escaped;   // a string whose raw text holds backslashes
} JsonNode;

typedef struct JsonTree {
        JsonNode *nodes;
        uint32_t n_nodes, cap;
} JsonTree;

enum { JSON_NODES_MAX = 1 << 18 };

int json_parse(JsonTree *t, Slice text, unsigned max_depth) _must_use_; // -EBADMSG -E2BIG -ENOMEM
void json_tree_deinit(JsonTree *t);
// Child by key (the last of duplicates, as most parsers do) or by index; NULL when absent.
const JsonNode *json_get(const JsonTree *t, const JsonNode *object, Slice key);
const JsonNode *json_at(const JsonTree *t, const JsonNode *array, uint32_t index);
// Undoes the escapes of a string's raw text.
void json_unescape(Buf *out, Slice raw);
