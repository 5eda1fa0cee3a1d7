// SPDX-License-Identifier: MIT
// How two values compare, and how values of one kind are read as another for that.
#pragma once

#include "rule/decimal.h"
#include "rule/value.h"

typedef enum Comparison {
        COMPARISON_LESS = -1,
        COMPARISON_EQUAL = 0,
        COMPARISON_GREATER = 1,
        COMPARISON_DIFFERENT, // not equal, and neither is less
        COMPARISON_MISSING,   // every comparison with it is false
} Comparison;

// as: MASK(VALUE_NUMBER) or MASK(VALUE_TIME) when an operand is declared so; strings that spell one
// are then taken as one.
Comparison value_compare(const Value *a, const Value *b, TypeMask as);

enum { DURATION_TEXT_MAX = 32 };
// Seconds in decimal, no zeros at the end: "300", "0.25".
const char *duration_seconds(int64_t usec, char out[static DURATION_TEXT_MAX]);
bool value_to_number(const Value *v, Decimal *ret, char room[static DURATION_TEXT_MAX]);
bool value_to_time(const Value *v, int64_t *ret_usec);
