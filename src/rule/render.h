// SPDX-License-Identifier: MIT
// Values as text and as JSON, and lists one element at a time.
#pragma once

#include "rule/evaluator.h"

// Plain text: strings as they are, numbers and times as spelled, durations in seconds, missing and
// null empty, lists and objects as JSON. Borrowed or in the evaluation's arena.
Slice value_text(Evaluation *e, const Value *v);
// One JSON value; missing is null.
void value_json(Evaluation *e, const Value *v, Buf *out);

typedef struct ListCursor {
        const Value *list;
        size_t at;       // of items
        uint32_t node;   // index of the next node
} ListCursor;

size_t value_list_len(const Value *list);
ListCursor list_cursor(const Value *list);
bool list_next(Evaluation *e, ListCursor *c, Value *ret);
