// SPDX-License-Identifier: MIT
// uthash for tables whose insertion may fail: an element that could not be added has no hh.tbl.
#pragma once

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((void)(element))
#include <uthash.h>
