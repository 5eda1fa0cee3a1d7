// SPDX-License-Identifier: MIT
// Numbers as JSON spells them, compared without loss: 1e2 == 100 == 100.0, and a numeric of
// PostgreSQL keeps all its digits. No arithmetic beyond what abs, floor and round need.
#pragma once

#include "base/buf.h"
#include <stdint.h>

typedef struct Decimal {
        Slice digits;     // from the first digit that is not 0 to the last one; may hold one '.'
        int64_t exponent; // value = 0.DIGITS * 10^exponent; of zero 0
        int sign;         // -1, 0, 1
} Decimal;

enum { DECIMAL_EXPONENT_MAX = 999999999 };

// -EINVAL: not a number of JSON's grammar, or its written exponent has over nine digits.
// `ret` borrows from the text.
int decimal_parse(Slice text, Decimal *ret) _must_use_;
int decimal_compare(const Decimal *a, const Decimal *b); // -1, 0, 1

typedef enum DecimalRounding {
        DECIMAL_FLOOR,
        DECIMAL_NEAREST, // half away from zero
} DecimalRounding;
// Writes the integer; numbers that are integers are written as they stand. `text` must parse.
void decimal_round(Buf *out, Slice text, DecimalRounding how);
// The value as an integer when it is one and lies in the range of int64_t.
bool decimal_int64(const Decimal *d, int64_t *ret);
