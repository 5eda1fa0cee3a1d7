// SPDX-License-Identifier: MIT
// Memory that lives as long as one compiled expression or the evaluation of one event. Blocks are
// kept by arena_reset(), so that the steady state allocates nothing. Never grows over its maximum.
#pragma once

#include "base/cleanup.h"
#include "base/slice.h"

typedef struct ArenaBlock ArenaBlock;

typedef struct Arena {
        ArenaBlock *first, *current;
        size_t used;  // bytes handed out since the last reset
        size_t total; // bytes held
        size_t max;
        bool over;      // an allocation was refused because of max
        bool no_memory; // ... because malloc had nothing
} Arena;

#define ARENA_INIT(maximum) ((Arena){.max = (maximum)})

void arena_deinit(Arena *a);
void arena_reset(Arena *a);                 // keeps the blocks; over and no_memory become false
void arena_shrink(Arena *a, size_t keep);   // as reset, and gives memory above `keep` bytes back
void *arena_alloc(Arena *a, size_t n) _must_use_; // 16-aligned, not zeroed; NULL sets over or no_memory
void *arena_zalloc(Arena *a, size_t n) _must_use_;
// A copy with a NUL behind it; data == NULL on failure.
Slice arena_copy(Arena *a, Slice s) _must_use_;
char *arena_printf(Arena *a, const char *format, ...) _printf_(2, 3);
