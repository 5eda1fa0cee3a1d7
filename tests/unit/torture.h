// SPDX-License-Identifier: MIT
// Failing allocations, one after the other. Every unit test is linked with malloc, calloc, realloc,
// strdup, strndup, asprintf and vasprintf wrapped; only calls from our own objects are counted, not
// those inside libraries. Leaks show under AddressSanitizer.
#pragma once

#include "base/cleanup.h"

// Runs fn with the first allocation failing, then the second, ... until a run in which none failed.
// A run with a failure may return a negative error or succeed; the last one must succeed (>= 0).
// fn must leave nothing behind and must not use cmocka's assertions where a failure may show: it
// returns the error instead. Returns how many allocations were made to fail.
unsigned torture(int (*fn)(void *arg), void *arg);
