// SPDX-License-Identifier: MIT
// Comparison of values of any two kinds. Numbers compare as exact decimals; a string beside a number
// counts as one when it spells one (PostgreSQL's numeric), beside a time when it is RFC 3339; a
// duration beside a number is its seconds. Everything else of two kinds is DIFFERENT.
#include "rule/compare.h"

#include "base/clock.h"

const char *duration_seconds(int64_t usec, char out[static DURATION_TEXT_MAX])
{
        uint64_t u = usec < 0 ? -(uint64_t)usec : (uint64_t)usec;
        int n = snprintf(out, DURATION_TEXT_MAX, "%s%llu", usec < 0 ? "-" : "",
                (unsigned long long)(u / USEC_PER_SEC));
        unsigned fraction = (unsigned)(u % USEC_PER_SEC);
        if (fraction == 0)
                return out;
        n += snprintf(out + n, DURATION_TEXT_MAX - (size_t)n, ".%06u", fraction);
        while (out[n - 1] == '0')
                out[--n] = '\0';
        return out;
}

bool value_to_number(const Value *v, Decimal *ret, char room[static DURATION_TEXT_MAX])
{
        switch (v->type) {
        case VALUE_NUMBER:
        case VALUE_STRING:
                return decimal_parse(v->text, ret) == 0;
        case VALUE_DURATION:
                return decimal_parse(slice_of(duration_seconds(v->usec, room)), ret) == 0;
        default:
                return false;
        }
}

bool value_to_time(const Value *v, int64_t *ret_usec)
{
        if (v->type == VALUE_TIME) {
                *ret_usec = v->usec;
                return true;
        }
        uint64_t usec;
        if (v->type != VALUE_STRING || clock_parse_rfc3339(v->text.data, v->text.len, &usec) < 0 ||
                usec > INT64_MAX)
                return false;
        *ret_usec = (int64_t)usec;
        return true;
}

static Comparison order(int r)
{
        return r < 0 ? COMPARISON_LESS : r > 0 ? COMPARISON_GREATER : COMPARISON_EQUAL;
}

static Comparison compare_int(int64_t a, int64_t b)
{
        return order((a > b) - (a < b));
}

static Comparison compare_numbers(const Value *a, const Value *b)
{
        char a_room[DURATION_TEXT_MAX], b_room[DURATION_TEXT_MAX];
        Decimal x, y;
        if (!value_to_number(a, &x, a_room) || !value_to_number(b, &y, b_room))
                return COMPARISON_DIFFERENT;
        return order(decimal_compare(&x, &y));
}

static Comparison compare_times(const Value *a, const Value *b)
{
        int64_t x, y;
        if (!value_to_time(a, &x) || !value_to_time(b, &y))
                return COMPARISON_DIFFERENT;
        return compare_int(x, y);
}

Comparison value_compare(const Value *a, const Value *b, TypeMask as)
{
        if (a->type == VALUE_MISSING || b->type == VALUE_MISSING)
                return COMPARISON_MISSING;
        if (a->type == VALUE_NULL || b->type == VALUE_NULL)
                return a->type == b->type ? COMPARISON_EQUAL : COMPARISON_DIFFERENT;
        TypeMask types = MASK(a->type) | MASK(b->type);
        if (types == MASK(VALUE_STRING)) {
                Comparison c = COMPARISON_DIFFERENT;
                if (as == MASK(VALUE_NUMBER))
                        c = compare_numbers(a, b);
                else if (as == MASK(VALUE_TIME))
                        c = compare_times(a, b);
                if (c != COMPARISON_DIFFERENT)
                        return c;
                // Not both are spelled so (NaN, infinity): equal as text or not at all.
                if (as)
                        return slice_eq(a->text, b->text) ? COMPARISON_EQUAL : COMPARISON_DIFFERENT;
                return order(slice_cmp(a->text, b->text));
        }
        if (types == MASK(VALUE_BOOL))
                return a->boolean == b->boolean ? COMPARISON_EQUAL : COMPARISON_DIFFERENT;
        if (types == MASK(VALUE_DURATION))
                return compare_int(a->usec, b->usec);
        if (types & MASK(VALUE_TIME))
                return compare_times(a, b);
        if (types & (MASK(VALUE_NUMBER) | MASK(VALUE_DURATION)))
                return compare_numbers(a, b);
        return COMPARISON_DIFFERENT;
}
