// SPDX-License-Identifier: MIT
// The lexical half of JSON, shared by the validator and the tree: each function looks at [at, end)
// and returns the place behind what it read, or NULL at a fault. Private to base/json_*.c.
#pragma once

#include "base/text.h"
#include <endian.h>

#define JSON_ONES UINT64_C(0x0101010101010101)
#define JSON_HIGHS UINT64_C(0x8080808080808080)

// Eight bytes at once: a set high bit in each byte that is a control, '"', '\\' or not ASCII. Bytes
// above the first such one may be marked wrongly (borrows), so only the lowest mark is used.
static inline uint64_t json_special(uint64_t x)
{
        uint64_t quote = x ^ (JSON_ONES * '"'), slash = x ^ (JSON_ONES * '\\');
        return (((x - JSON_ONES * 0x20) & ~x) | ((quote - JSON_ONES) & ~quote) |
                       ((slash - JSON_ONES) & ~slash) | x) &
               JSON_HIGHS;
}

// The first byte in [at, end) that is not plain ASCII text, or end.
static inline const char *json_plain_run(const char *at, const char *end)
{
        while (end - at >= 8) {
                uint64_t eight;
                memcpy(&eight, at, sizeof(eight));
                uint64_t special = json_special(le64toh(eight));
                if (special)
                        return at + (__builtin_ctzll(special) >> 3);
                at += 8;
        }
        for (; at < end; at++) {
                unsigned char c = (unsigned char)*at;
                if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
                        return at;
        }
        return end;
}

static inline int json_hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline bool json_is_space(char c)
{
        return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline const char *json_skip_space(const char *at, const char *end)
{
        while (at < end && json_is_space(*at))
                at++;
        return at;
}

// `at` stands behind the opening quote; the result behind the closing one. *ret_fault is set to the
// offending byte when the result is NULL.
const char *json_scan_string(
        const char *at, const char *end, bool *ret_escaped, const char **ret_fault);
const char *json_scan_number(const char *at, const char *end, const char **ret_fault);
const char *json_scan_literal(
        const char *at, const char *end, Slice literal, const char **ret_fault);
