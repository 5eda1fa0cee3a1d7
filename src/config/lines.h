// SPDX-License-Identifier: MIT
// From a byte of a text to its line and column. Columns count characters, from 1.
#pragma once

#include "config/diagnostic.h"

typedef struct Lines {
        const char *file;
        Slice text;       // borrowed
        uint32_t *starts; // offset of each line's first byte
        uint32_t n;
} Lines;

int lines_init(Lines *l, const char *file, Slice text) _must_use_; // -ENOMEM
void lines_deinit(Lines *l);
Place lines_place(const Lines *l, const char *at); // `at` points into text, or just behind it
