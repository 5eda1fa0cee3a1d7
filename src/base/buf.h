// SPDX-License-Identifier: MIT
// A growable byte buffer with a hard maximum and a sticky error: add freely, check `error` once.
// After an error further adds do nothing, and what was added before stays readable.
#pragma once

#include "base/cleanup.h"
#include "base/slice.h"
#include <stdint.h>

typedef struct Buf {
        uint8_t *data;
        size_t len; // bytes in use
        size_t cap; // bytes allocated
        size_t max; // bytes it may ever hold
        int error;  // 0, -ENOMEM or -ENOBUFS (over max)
} Buf;

#define BUF_INIT(maximum) ((Buf){.max = (maximum)})

void buf_deinit(Buf *b);            // frees and leaves an empty buffer with the same max
static inline void buf_deinitp(Buf *b)
{
        buf_deinit(b);
}
void buf_reset(Buf *b);             // len = 0, error = 0, memory kept
void buf_shrink(Buf *b, size_t keep); // as reset, and gives memory above `keep` bytes back
uint8_t *buf_grow_slow(Buf *b, size_t n); // buf_grow() when memory or an error is to be looked at
// n more bytes at the end, uninitialised; NULL on error. Here, with the adds below, because an event
// makes some two hundred of them and nearly all find room.
static inline uint8_t *buf_grow(Buf *b, size_t n)
{
        if (b->error < 0 || !b->data || n > b->cap - b->len || n > b->max - b->len)
                return buf_grow_slow(b, n);
        uint8_t *at = b->data + b->len;
        b->len += n;
        return at;
}
static inline void buf_add(Buf *b, const void *data, size_t n)
{
        uint8_t *at = n > 0 ? buf_grow(b, n) : NULL;
        if (at)
                memcpy(at, data, n);
}
static inline void buf_add_char(Buf *b, char c)
{
        uint8_t *at = buf_grow(b, 1);
        if (at)
                *at = (uint8_t)c;
}
void buf_add_slice(Buf *b, Slice s);
void buf_add_str(Buf *b, const char *text);
void buf_add_u64(Buf *b, uint64_t n); // decimal digits
void buf_addf(Buf *b, const char *format, ...) _printf_(2, 3);
void buf_consume(Buf *b, size_t n); // drops n bytes from the front (memmove)
const char *buf_text(Buf *b);       // NUL-terminated view (the NUL is not counted); "" on error

static inline Slice buf_slice(const Buf *b)
{
        return (Slice){(const char *)b->data, b->len};
}
