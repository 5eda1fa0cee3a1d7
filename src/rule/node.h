// SPDX-License-Identifier: MIT
// The tree of an expression: made by the parser, completed by the checker (types, resolved paths
// and functions, compiled regular expressions), walked by the evaluator.
#pragma once

#include "rule/lexer.h"
#include "rule/regex.h"
#include "rule/value.h"

typedef enum NodeType {
        NODE_LITERAL, // value
        NODE_LIST,    // children
        NODE_PATH,
        NODE_CAPTURE,
        NODE_CALL,
        NODE_EXISTS,  // one child, a path
        NODE_NOT,
        NODE_AND, // two children and more: chains do not nest
        NODE_OR,
        NODE_COMPARE,
        NODE_IN,
        NODE_MATCH, // left child, regex
        NODE_CONTAINS,
        NODE_STARTS,
        NODE_ENDS,
        NODE_DEFAULT,
} NodeType;

typedef enum HeadField {
        HEAD_TYPE, HEAD_ID, HEAD_SOURCE, HEAD_SUBJECT, HEAD_TIME, HEAD_KEY, HEAD_DATA,
        _HEAD_FIELD_MAX,
        _HEAD_FIELD_INVALID = -22,
} HeadField;
extern const char *const head_field_names[_HEAD_FIELD_MAX];

typedef struct PathStep {
        Slice key;      // data == NULL: an index
        uint32_t index;
        size_t start, end; // offsets in the text
} PathStep;

struct Function;

typedef struct Node {
        NodeType type;
        size_t start, end; // offsets in the text
        TypeMask types;    // what it may be, VALUE_MISSING apart
        TypeMask compare_as; // comparisons: MASK(x) when an operand decides it, else 0
        bool negate;       // not in
        TokenOperator op;  // NODE_COMPARE

        struct Node **children;
        unsigned n_children;

        Value value; // NODE_LITERAL

        HeadField head; // NODE_PATH
        PathStep *steps; // below data
        unsigned n_steps;
        unsigned memo; // the same number for equal paths of a rule set; 0: none

        Slice name; // NODE_CALL, NODE_CAPTURE by name; NODE_MATCH: the pattern
        Slice flags;
        size_t name_end;
        unsigned group; // NODE_CAPTURE by number
        const struct Function *function;
        Regex *regex;
} Node;
