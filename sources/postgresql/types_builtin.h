// SPDX-License-Identifier: MIT
// The table of types_builtin.c, in the order of OIDs.
#pragma once

#include <stdint.h>

typedef struct BuiltinType {
        uint32_t oid, element;
        const char *name;
} BuiltinType;

extern const BuiltinType builtin_types[];
extern const unsigned n_builtin_types;
