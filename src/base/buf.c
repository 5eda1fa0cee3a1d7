// SPDX-License-Identifier: MIT
// Growable buffers. Invariants: len <= max always; cap may be max + 1, so that buf_text() has room
// for its NUL even in a full buffer; after an error nothing that was added before is lost.
// Not a queue: taking from the front moves what is left.
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>

enum { FIRST_CAP = 64 };

// Makes room for n more bytes and `extra` uncounted ones behind them.
static bool reserve(Buf *b, size_t n, size_t extra)
{
        if (b->error < 0)
                return false;
        if (n > b->max - b->len) {
                b->error = -ENOBUFS;
                return false;
        }
        size_t need = b->len + n + extra;
        if (need <= b->cap && b->data)
                return true;
        size_t limit = b->max == SIZE_MAX ? SIZE_MAX : b->max + 1;
        size_t cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
        if (cap < FIRST_CAP)
                cap = FIRST_CAP;
        if (cap > limit)
                cap = limit;
        if (cap < need)
                cap = need;
        if (cap == 0)
                cap = 1;
        uint8_t *data = realloc(b->data, cap);
        if (!data) {
                b->error = -ENOMEM;
                return false;
        }
        b->data = data;
        b->cap = cap;
        return true;
}

void buf_deinit(Buf *b)
{
        if (!b)
                return;
        free(b->data);
        *b = BUF_INIT(b->max);
}

void buf_reset(Buf *b)
{
        b->len = 0;
        b->error = 0;
}

void buf_shrink(Buf *b, size_t keep)
{
        buf_reset(b);
        if (b->cap <= keep)
                return;
        if (keep == 0) {
                buf_deinit(b);
                return;
        }
        // A failing shrink leaves the old block, which is still correct.
        uint8_t *data = realloc(b->data, keep);
        if (data) {
                b->data = data;
                b->cap = keep;
        }
}

uint8_t *buf_grow_slow(Buf *b, size_t n)
{
        if (!reserve(b, n, 0))
                return NULL;
        uint8_t *at = b->data + b->len;
        b->len += n;
        return at;
}

void buf_add_slice(Buf *b, Slice s)
{
        buf_add(b, s.data, s.len);
}

void buf_add_str(Buf *b, const char *text)
{
        buf_add(b, text, strlen(text));
}

void buf_add_u64(Buf *b, uint64_t n)
{
        char digits[20];
        size_t at = sizeof(digits);
        do {
                digits[--at] = (char)('0' + n % 10);
                n /= 10;
        } while (n);
        buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_addf(Buf *b, const char *format, ...)
{
        char small[256];
        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(small, sizeof(small), format, ap);
        va_end(ap);
        if (n < 0) {
                if (b->error == 0)
                        b->error = -ENOMEM;
                return;
        }
        if ((size_t)n < sizeof(small)) {
                buf_add(b, small, (size_t)n);
                return;
        }
        if (!reserve(b, (size_t)n, 1)) // vsnprintf writes a NUL behind the text
                return;
        va_start(ap, format);
        int again = vsnprintf((char *)b->data + b->len, (size_t)n + 1, format, ap);
        va_end(ap);
        assert(again == n);
        b->len += (size_t)n;
}

void buf_consume(Buf *b, size_t n)
{
        assert(n <= b->len);
        if (n == 0)
                return;
        b->len -= n;
        memmove(b->data, b->data + n, b->len);
}

const char *buf_text(Buf *b)
{
        if (!reserve(b, 0, 1))
                return "";
        b->data[b->len] = 0;
        return (const char *)b->data;
}
