// SPDX-License-Identifier: MIT
// Running out of memory does not end the process in the middle of something: it is remembered here
// and ends it at the next turn of the loop, with a reason; the next start compares.
#pragma once

#include <stdbool.h>

extern bool memory_short;

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) (memory_short = true)
