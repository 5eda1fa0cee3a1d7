// SPDX-License-Identifier: MIT
// Which type is what: type OIDs to ValueTypes. The types every server has are a table here; of the
// others the stream tells only a name (message Y), so whether one is an array, and of what, is asked
// of the catalogue once and kept. A type that the catalogue no longer knows (dropped since) is a
// string. A domain is its base type.
#pragma once

#include "base/reason.h"
#include "value.h"

enum {
        TYPES_MAX = 8192,      // user-defined types known at a time; more: -ENOSPC, types_reset()
        TYPES_NAME_MAX = 256,  // bytes of schema.name that are kept
        TYPES_CHAIN_MAX = 16,  // domains over domains; what is deeper is a string
};

typedef struct Types Types;
Types *types_new(void);
Types *types_free(Types *t);
void types_reset(Types *t); // forgets all; what types_find() gave is no longer valid

// The type, or NULL: unknown, types_ask() for it. Valid until types_reset(). An array whose element
// is unknown is unknown.
const ValueType *types_find(Types *t, uint32_t oid);
// Its name as schema.changed shows it: "int4", "numeric(10,2)", "public.mood".
void types_add_name(const Types *t, uint32_t oid, int32_t typmod, Buf *out);
int types_named(Types *t, uint32_t oid, Slice schema, Slice name) _must_use_; // message Y; -ENOMEM; over TYPES_MAX the name is not kept

// What the catalogue said: base: of a domain, else 0; element: of a true array, else 0.
// -ENOMEM; -ENOSPC: too many.
int types_learn(Types *t, uint32_t oid, uint32_t base, uint32_t element, char delimiter) _must_use_;
int types_unknown(Types *t, uint32_t oid) _must_use_; // the catalogue knows nothing: a string
// The OID to ask for so that `oid` becomes known: itself, its base or its element. 0: known.
uint32_t types_ask(Types *t, uint32_t oid);
