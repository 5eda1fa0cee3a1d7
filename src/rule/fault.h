// SPDX-License-Identifier: MIT
// What is wrong with an expression or a template, and where in its text.
#pragma once

#include "base/cleanup.h"
#include "base/slice.h"

enum { FAULT_MAX = 400 };

typedef struct Fault {
        size_t start, end; // the run of bytes to underline
        char message[FAULT_MAX];
} Fault;

// Returns -EINVAL, so that: return fault_set(f, start, end, "...").
int fault_set(Fault *f, size_t start, size_t end, const char *format, ...) _printf_(4, 5);
