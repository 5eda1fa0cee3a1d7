// SPDX-License-Identifier: MIT
// A chain of blocks, each twice the last until 64 KiB; what does not fit gets a block of its own.
// Invariant: everything handed out since the last reset lies in the blocks from first to current.
// Not for objects that hold resources: nothing is ever finalised.
#include "rule/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>

enum { ARENA_ALIGN = 16, ARENA_FIRST = 1024, ARENA_BLOCK = 64 * 1024 };

struct ArenaBlock {
        ArenaBlock *next;
        size_t size, used; // of bytes
        _Alignas(ARENA_ALIGN) uint8_t bytes[];
};

static void blocks_free(ArenaBlock *b)
{
        while (b) {
                ArenaBlock *next = b->next;
                free(b);
                b = next;
        }
}

void arena_deinit(Arena *a)
{
        blocks_free(a->first);
        *a = ARENA_INIT(a->max);
}

void arena_reset(Arena *a)
{
        // Only blocks up to the current one were touched.
        for (ArenaBlock *b = a->first; b; b = b->next) {
                b->used = 0;
                if (b == a->current)
                        break;
        }
        a->current = a->first;
        a->used = 0;
        a->over = a->no_memory = false;
}

void arena_shrink(Arena *a, size_t keep)
{
        arena_reset(a);
        if (a->total <= keep)
                return;
        size_t total = 0;
        ArenaBlock **at = &a->first;
        while (*at && total + (*at)->size <= keep) {
                total += (*at)->size;
                at = &(*at)->next;
        }
        blocks_free(*at);
        *at = NULL;
        a->total = total;
        a->current = a->first;
}

static ArenaBlock *arena_add_block(Arena *a, size_t n)
{
        size_t size = a->current ? a->current->size * 2 : ARENA_FIRST;
        if (size > ARENA_BLOCK)
                size = ARENA_BLOCK;
        if (size < n)
                size = n;
        if (a->total > a->max || size > a->max - a->total)
                size = n;
        if (a->total > a->max || size > a->max - a->total) {
                a->over = true;
                return NULL;
        }
        ArenaBlock *b = malloc(sizeof(*b) + size);
        if (!b) {
                a->no_memory = true;
                return NULL;
        }
        b->size = size;
        b->used = 0;
        // Inserted behind the current block: blocks kept from earlier stay reachable behind it.
        ArenaBlock **at = a->current ? &a->current->next : &a->first;
        b->next = *at;
        *at = b;
        a->total += size;
        return b;
}

void *arena_alloc(Arena *a, size_t n)
{
        if (n > SIZE_MAX / 2) {
                a->over = true;
                return NULL;
        }
        n = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
        ArenaBlock *b = a->current;
        if (!b || b->size - b->used < n) {
                ArenaBlock *next = b ? b->next : a->first;
                if (next && next->size >= n) {
                        next->used = 0;
                        b = next;
                } else {
                        b = arena_add_block(a, n);
                }
                if (!b)
                        return NULL;
                a->current = b;
        }
        void *p = b->bytes + b->used;
        b->used += n;
        a->used += n;
        return p;
}

void *arena_zalloc(Arena *a, size_t n)
{
        void *p = arena_alloc(a, n);
        if (p)
                memset(p, 0, n);
        return p;
}

Slice arena_copy(Arena *a, Slice s)
{
        char *p = arena_alloc(a, s.len + 1);
        if (!p)
                return SLICE_NULL;
        if (s.len > 0)
                memcpy(p, s.data, s.len);
        p[s.len] = '\0';
        return (Slice){p, s.len};
}

char *arena_printf(Arena *a, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        char text[512];
        int n = vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (n < 0)
                return NULL;
        if ((size_t)n >= sizeof(text))
                n = (int)sizeof(text) - 1;
        Slice s = arena_copy(a, (Slice){text, (size_t)n});
        return (char *)(uintptr_t)s.data;
}
