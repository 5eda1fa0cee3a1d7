// SPDX-License-Identifier: MIT
// Decimal text is normalised to a sign, the significant digits and the position of the point, and
// compared digit by digit. Invariant: a parsed number that is not zero has a digit other than '0'
// first and last. Nothing is converted to binary floating point.
#include "rule/decimal.h"

#include <errno.h>

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

// The exponent behind 'e'; at must end where the text ends.
static int exponent_parse(Slice s, size_t at, int64_t *ret)
{
        bool negative = false;
        if (at < s.len && (s.data[at] == '+' || s.data[at] == '-'))
                negative = s.data[at++] == '-';
        if (at == s.len)
                return -EINVAL;
        int64_t e = 0;
        for (; at < s.len; at++) {
                if (!is_digit(s.data[at]))
                        return -EINVAL;
                e = e * 10 + (s.data[at] - '0');
                if (e > DECIMAL_EXPONENT_MAX)
                        return -EINVAL;
        }
        *ret = negative ? -e : e;
        return 0;
}

int decimal_parse(Slice s, Decimal *ret)
{
        size_t at = 0;
        bool negative = s.len > 0 && s.data[0] == '-';
        at += negative;

        size_t start = at;
        while (at < s.len && is_digit(s.data[at]))
                at++;
        size_t n_int = at - start;
        if (n_int == 0 || (n_int > 1 && s.data[start] == '0'))
                return -EINVAL;
        size_t end = at;
        if (at < s.len && s.data[at] == '.') {
                size_t fraction = ++at;
                while (at < s.len && is_digit(s.data[at]))
                        at++;
                if (at == fraction)
                        return -EINVAL;
                end = at;
        }
        int64_t e = 0;
        if (at < s.len) {
                if (s.data[at] != 'e' && s.data[at] != 'E')
                        return -EINVAL;
                int r = exponent_parse(s, at + 1, &e);
                if (r < 0)
                        return r;
        }

        // From the first significant digit to the last.
        size_t first = start;
        while (first < end && (s.data[first] == '0' || s.data[first] == '.'))
                first++;
        if (first == end) {
                *ret = (Decimal){.digits = {s.data + end, 0}};
                return 0;
        }
        while (s.data[end - 1] == '0' || s.data[end - 1] == '.')
                end--;
        size_t point = start + n_int;
        // Digits before the point count up; zeros behind it count down.
        int64_t position = first < point ? (int64_t)(point - first) : -(int64_t)(first - point - 1);
        *ret = (Decimal){
                .digits = {s.data + first, end - first},
                .exponent = position + e,
                .sign = negative ? -1 : 1,
        };
        return 0;
}

// The i-th digit, skipping the point; *at runs along. 0 behind the end.
static int digit_next(Slice digits, size_t *at)
{
        if (*at < digits.len && digits.data[*at] == '.')
                ++*at;
        if (*at >= digits.len)
                return -1;
        return digits.data[(*at)++] - '0';
}

static int magnitude_compare(const Decimal *a, const Decimal *b)
{
        if (a->exponent != b->exponent)
                return a->exponent < b->exponent ? -1 : 1;
        size_t i = 0, j = 0;
        for (;;) {
                int x = digit_next(a->digits, &i), y = digit_next(b->digits, &j);
                if (x < 0 && y < 0)
                        return 0;
                // The last digit is never 0, so the one with digits left is larger.
                if (x != y)
                        return x < y ? -1 : 1;
        }
}

int decimal_compare(const Decimal *a, const Decimal *b)
{
        if (a->sign != b->sign)
                return a->sign < b->sign ? -1 : 1;
        if (a->sign == 0)
                return 0;
        int r = magnitude_compare(a, b);
        return a->sign < 0 ? -r : r;
}

static int64_t digits_count(Slice digits)
{
        int64_t n = (int64_t)digits.len;
        return memchr(digits.data, '.', digits.len) ? n - 1 : n;
}

// Adds one unit to the decimal integer that stands in out from `start` on.
static void integer_increment(Buf *out, size_t start)
{
        if (out->error)
                return;
        for (size_t i = out->len; i > start; i--) {
                if (out->data[i - 1] != '9') {
                        out->data[i - 1]++;
                        return;
                }
                out->data[i - 1] = '0';
        }
        // All nines: 999 became 000, so a 1 goes in front.
        buf_add_char(out, '0');
        if (!out->error)
                out->data[start] = '1';
}

void decimal_round(Buf *out, Slice text, DecimalRounding how)
{
        Decimal d;
        if (decimal_parse(text, &d) < 0) {
                buf_add_slice(out, text);
                return;
        }
        if (d.sign == 0) {
                buf_add_char(out, '0');
                return;
        }
        // With no digit behind the point it is an integer already; 1e9 stays 1e9.
        if (d.exponent >= digits_count(d.digits)) {
                buf_add_slice(out, text);
                return;
        }
        bool up = false; // away from zero
        if (how == DECIMAL_FLOOR)
                up = d.sign < 0;

        size_t before = out->len;
        if (d.sign < 0)
                buf_add_char(out, '-');
        size_t start = out->len, at = 0;
        for (int64_t i = 0; i < d.exponent; i++)
                buf_add_char(out, (char)('0' + digit_next(d.digits, &at)));
        if (d.exponent <= 0)
                buf_add_char(out, '0');
        if (how == DECIMAL_NEAREST && d.exponent >= 0)
                up = digit_next(d.digits, &at) >= 5;
        if (up)
                integer_increment(out, start);
        // "-0" is written 0.
        if (!out->error && out->len == start + 1 && out->data[start] == '0' && start > before) {
                out->data[before] = '0';
                out->len = before + 1;
        }
}

bool decimal_int64(const Decimal *d, int64_t *ret)
{
        if (d->sign == 0) {
                *ret = 0;
                return true;
        }
        if (d->exponent > 19 || digits_count(d->digits) > d->exponent)
                return false;
        size_t at = 0;
        uint64_t v = 0;
        for (int64_t i = 0; i < d->exponent; i++) {
                int digit = digit_next(d->digits, &at);
                if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
                        __builtin_add_overflow(v, (uint64_t)(digit < 0 ? 0 : digit), &v))
                        return false;
        }
        if (v > (uint64_t)INT64_MAX)
                return false;
        *ret = d->sign < 0 ? -(int64_t)v : (int64_t)v;
        return true;
}
