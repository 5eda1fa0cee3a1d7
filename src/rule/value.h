// SPDX-License-Identifier: MIT
// A value while an expression runs, and the set of types the checker knows a node may have. Values
// borrow: from the record, the parsed data, the expression or the arena of the evaluation.
#pragma once

#include "base/json.h"
#include "base/slice.h"

typedef enum ValueType {
        VALUE_MISSING, // a field that is not there, or a function that had nothing to work on
        VALUE_NULL,
        VALUE_BOOL,
        VALUE_NUMBER,   // text: its JSON spelling
        VALUE_STRING,   // text: without escapes
        VALUE_TIME,     // usec since the epoch
        VALUE_DURATION, // usec
        VALUE_LIST,     // node (in the event's data) or items
        VALUE_OBJECT,   // node
        _VALUE_TYPE_MAX,
} ValueType;

typedef unsigned TypeMask; // of 1 << ValueType
#define MASK(type) (1u << (type))
#define MASK_SCALAR                                                                                \
        (MASK(VALUE_BOOL) | MASK(VALUE_NUMBER) | MASK(VALUE_STRING) | MASK(VALUE_TIME) |           \
                MASK(VALUE_DURATION))
#define MASK_ANY (MASK_SCALAR | MASK(VALUE_NULL) | MASK(VALUE_LIST) | MASK(VALUE_OBJECT))

// Which members mean something depends on the type; the others may be anything.
typedef struct Value {
        ValueType type;
        bool boolean;
        Slice text; // number, string; of a time: its spelling in the event, when it came from there
        int64_t usec;
        const JsonNode *node;
        const struct Value *items;
        size_t n_items;
} Value;

#define VALUE_INIT(t) ((Value){.type = (t)})

static inline Value value_bool(bool b)
{
        return (Value){.type = VALUE_BOOL, .boolean = b};
}

static inline Value value_string(Slice s)
{
        return (Value){.type = VALUE_STRING, .text = s};
}

// "a number", "a string or null": words for a person.
enum { TYPE_WORDS_MAX = 128 };
const char *type_mask_words(TypeMask mask, char out[static TYPE_WORDS_MAX]);
