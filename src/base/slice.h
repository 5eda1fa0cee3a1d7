// SPDX-License-Identifier: MIT
// A borrowed run of bytes: pointer and length, never terminated, never owned. Whoever made the
// bytes says how long they live. An absent value has data == NULL; an empty one has len == 0 only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct Slice {
        const char *data;
        size_t len;
} Slice;

#define SLICE_NULL ((Slice){NULL, 0})
#define SLICE_LIT(s) ((Slice){"" s, sizeof(s) - 1})

static inline Slice slice_of(const char *text)
{
        return (Slice){text, text ? strlen(text) : 0};
}

static inline Slice slice_mem(const void *data, size_t len)
{
        return (Slice){data, len};
}

static inline bool slice_eq(Slice a, Slice b)
{
        return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_eq_str(Slice a, const char *text)
{
        return slice_eq(a, slice_of(text));
}

static inline bool slice_starts(Slice a, Slice prefix)
{
        return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.data, prefix.data, prefix.len) == 0);
}

// Order by bytes, shorter first among equal prefixes: what memcmp and LMDB do.
static inline int slice_cmp(Slice a, Slice b)
{
        size_t n = a.len < b.len ? a.len : b.len;
        int r = n ? memcmp(a.data, b.data, n) : 0;
        return r ? r : (a.len > b.len) - (a.len < b.len);
}

// printf("%.*s", SLICE_ARG(s))
#define SLICE_ARG(s) (int)(s).len, (s).data ? (s).data : ""
