// SPDX-License-Identifier: MIT
// Type OIDs to ValueTypes. The few kinds there are stand once as constants; a row of its own is kept
// for what users define. A chain (domain over domain over array of domain ...) is walked each time it
// is asked for, at most TYPES_CHAIN_MAX links, since it is asked once for each column of a table.
#include "types.h"

#include "table.h"
#include "types_builtin.h"

#include <errno.h>
#include <stdio.h>

typedef struct TypeRow {
        uint32_t oid, base, element;
        bool learnt;
        char *name;      // from message Y, or NULL
        ValueType value; // of an array
        UT_hash_handle hh;
} TypeRow;

struct Types {
        TypeRow *rows;
};

enum {
        OID_BOOL = 16,
        OID_BYTEA = 17,
        OID_INT8 = 20,
        OID_INT2 = 21,
        OID_INT4 = 23,
        OID_JSON = 114,
        OID_BOX = 603,
        OID_FLOAT4 = 700,
        OID_FLOAT8 = 701,
        OID_BPCHAR = 1042,
        OID_VARCHAR = 1043,
        OID_TIME = 1083,
        OID_TIMESTAMP = 1114,
        OID_TIMESTAMPTZ = 1184,
        OID_TIMETZ = 1266,
        OID_BIT = 1560,
        OID_VARBIT = 1562,
        OID_NUMERIC = 1700,
        OID_JSONB = 3802,
};

#define ALL_KINDS(ROW)     \
        ROW(VALUE_STRING)  \
        ROW(VALUE_BOOL)    \
        ROW(VALUE_INTEGER) \
        ROW(VALUE_LONG)    \
        ROW(VALUE_FLOAT)   \
        ROW(VALUE_JSON)    \
        ROW(VALUE_BYTES)   \
        ROW(VALUE_TIMESTAMPTZ)
#define SCALAR(k) [k] = {.kind = k},
#define ARRAY_OF(k) [k] = {.kind = VALUE_ARRAY, .delimiter = ',', .element = &scalars[k]},
static const ValueType scalars[_VALUE_KIND_MAX] = {ALL_KINDS(SCALAR)};
static const ValueType arrays[_VALUE_KIND_MAX] = {ALL_KINDS(ARRAY_OF)};
// The one type whose text holds commas.
static const ValueType array_of_boxes = {
        .kind = VALUE_ARRAY, .delimiter = ';', .element = &scalars[VALUE_STRING]};

static ValueKind scalar_kind(uint32_t oid)
{
        switch (oid) {
        case OID_BOOL:
                return VALUE_BOOL;
        case OID_INT2:
        case OID_INT4:
                return VALUE_INTEGER;
        case OID_INT8:
        case OID_NUMERIC:
                return VALUE_LONG;
        case OID_FLOAT4:
        case OID_FLOAT8:
                return VALUE_FLOAT;
        case OID_JSON:
        case OID_JSONB:
                return VALUE_JSON;
        case OID_BYTEA:
                return VALUE_BYTES;
        case OID_TIMESTAMPTZ:
                return VALUE_TIMESTAMPTZ;
        default:
                return VALUE_STRING;
        }
}

static const BuiltinType *builtin_find(uint32_t oid)
{
        unsigned low = 0, high = n_builtin_types;

        while (low < high) {
                unsigned middle = (low + high) / 2;
                if (builtin_types[middle].oid < oid)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < n_builtin_types && builtin_types[low].oid == oid ? &builtin_types[low] : NULL;
}

Types *types_new(void)
{
        return calloc(1, sizeof(Types));
}

void types_reset(Types *t)
{
        TypeRow *row, *next;

        HASH_ITER (hh, t->rows, row, next) {
                HASH_DEL(t->rows, row);
                free(row->name);
                free(row);
        }
}

Types *types_free(Types *t)
{
        if (t)
                types_reset(t);
        free(t);
        return NULL;
}

static TypeRow *row_find(const Types *t, uint32_t oid)
{
        TypeRow *row;
        HASH_FIND(hh, t->rows, &oid, sizeof oid, row);
        return row;
}

static int row_make(Types *t, uint32_t oid, TypeRow **ret)
{
        TypeRow *row = row_find(t, oid);

        if (!row) {
                if (HASH_COUNT(t->rows) >= TYPES_MAX)
                        return -ENOSPC;
                row = calloc(1, sizeof *row);
                if (!row)
                        return -ENOMEM;
                row->oid = oid;
                HASH_ADD(hh, t->rows, oid, sizeof row->oid, row);
                if (!row->hh.tbl) {
                        free(row);
                        return -ENOMEM;
                }
        }
        *ret = row;
        return 0;
}

static const ValueType *find(Types *t, uint32_t oid, unsigned links)
{
        const BuiltinType *b = builtin_find(oid);
        if (b && b->element)
                return b->element == OID_BOX ? &array_of_boxes : &arrays[scalar_kind(b->element)];
        if (b || oid == 0 || links == TYPES_CHAIN_MAX) // 0: no type, nothing to ask for
                return &scalars[scalar_kind(oid)];
        TypeRow *row = row_find(t, oid);
        if (!row || !row->learnt)
                return NULL;
        if (row->base)
                return find(t, row->base, links + 1);
        if (!row->element)
                return &scalars[VALUE_STRING];
        const ValueType *element = find(t, row->element, links + 1);
        // More than two arrays in each other would nest deeper than an event's data may.
        if (element && element->kind == VALUE_ARRAY && element->element->kind == VALUE_ARRAY)
                return &scalars[VALUE_STRING];
        row->value.element = element;
        return element ? &row->value : NULL;
}

const ValueType *types_find(Types *t, uint32_t oid)
{
        return find(t, oid, 0);
}

uint32_t types_ask(Types *t, uint32_t oid)
{
        for (unsigned links = 0; links < TYPES_CHAIN_MAX; links++) {
                if (builtin_find(oid))
                        return 0;
                const TypeRow *row = row_find(t, oid);
                if (!row || !row->learnt)
                        return oid;
                if (!row->base && !row->element)
                        return 0;
                oid = row->base ? row->base : row->element;
        }
        return 0;
}

int types_learn(Types *t, uint32_t oid, uint32_t base, uint32_t element, char delimiter)
{
        TypeRow *row;

        int r = row_make(t, oid, &row);
        if (r < 0)
                return r;
        row->learnt = true;
        row->base = base;
        row->element = element;
        row->value = (ValueType){.kind = VALUE_ARRAY, .delimiter = delimiter ? delimiter : ','};
        return 0;
}

int types_unknown(Types *t, uint32_t oid)
{
        return types_learn(t, oid, 0, 0, ',');
}

int types_named(Types *t, uint32_t oid, Slice schema, Slice name)
{
        char text[TYPES_NAME_MAX];
        TypeRow *row;

        int r = row_make(t, oid, &row);
        if (r == -ENOSPC)
                return 0;
        if (r < 0)
                return r;
        int n = slice_eq(schema, SLICE_LIT("pg_catalog"))
                        ? snprintf(text, sizeof text, "%.*s", SLICE_ARG(name))
                        : snprintf(text, sizeof text, "%.*s.%.*s", SLICE_ARG(schema),
                                  SLICE_ARG(name));
        if (n < 0 || (row->name && strcmp(row->name, text) == 0))
                return 0;
        char *copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        free(row->name);
        row->name = copy;
        return 0;
}

static void add_modifier(uint32_t oid, int32_t typmod, Buf *out)
{
        if (typmod < 0)
                return;
        switch (oid) {
        case OID_BPCHAR:
        case OID_VARCHAR:
                buf_addf(out, "(%d)", typmod - 4);
                break;
        case OID_NUMERIC: // precision in the upper half, scale in eleven bits with a sign
                typmod -= 4;
                buf_addf(out, "(%d,%d)", typmod >> 16 & 0xffff, ((typmod & 0x7ff) ^ 1024) - 1024);
                break;
        case OID_BIT:
        case OID_VARBIT:
        case OID_TIME:
        case OID_TIMETZ:
        case OID_TIMESTAMP:
        case OID_TIMESTAMPTZ:
                buf_addf(out, "(%d)", typmod);
                break;
        }
}

void types_add_name(const Types *t, uint32_t oid, int32_t typmod, Buf *out)
{
        const BuiltinType *b = builtin_find(oid);
        const BuiltinType *element = b && b->element ? builtin_find(b->element) : NULL;

        if (element) {
                buf_add_str(out, element->name);
                add_modifier(element->oid, typmod, out);
                buf_add_str(out, "[]");
        } else if (b) {
                buf_add_str(out, b->name);
                add_modifier(oid, typmod, out);
        } else {
                const TypeRow *row = row_find(t, oid);
                if (row && row->name)
                        buf_add_str(out, row->name);
                else
                        buf_addf(out, "type %u", oid);
        }
}
