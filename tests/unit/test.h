// SPDX-License-Identifier: MIT
// What every unit test includes before anything else: cmocka with what it needs in front, and a
// slice assertion that shows both sides.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slice.h"

#define assert_slice(slice, text)                                                           \
        do {                                                                                \
                Slice _a = (slice), _b = slice_of(text);                                    \
                if (!slice_eq(_a, _b))                                                      \
                        fail_msg("\"%.*s\" is not \"%.*s\"", SLICE_ARG(_a), SLICE_ARG(_b)); \
        } while (0)
