// SPDX-License-Identifier: MIT
// One value in PostgreSQL's text form becomes JSON. The session's formats are those that the
// connection asks for (DateStyle ISO, IntervalStyle iso_8601, extra_float_digits 3, bytea_output hex,
// TimeZone UTC, UTF8); a text that is not of the form its type promises becomes a JSON string of the
// same characters, so no value is ever lost or refused.
#pragma once

#include "base/buf.h"

typedef enum ValueKind {
        VALUE_STRING, // all that has no row below: as it is
        VALUE_BOOL,
        VALUE_INTEGER,     // int2, int4: a number
        VALUE_LONG,        // int8, numeric: a string of the digits, or a number of the same digits
        VALUE_FLOAT,       // a number; NaN and Infinity strings
        VALUE_JSON,        // json, jsonb: embedded when it is JSON within VALUE_JSON_DEPTH
        VALUE_BYTES,       // base64
        VALUE_TIMESTAMPTZ, // RFC 3339; infinity, BC and years of five digits as they are
        VALUE_ARRAY,       // a list, of lists where it has dimensions; bounds are dropped
        _VALUE_KIND_MAX,
} ValueKind;

enum {
        VALUE_JSON_DEPTH = 40, // of LIMIT_JSON_DEPTH: an event's own nesting and two arrays' fit around
        VALUE_ARRAY_DEPTH = 6, // MAXDIM
};

typedef struct ValueType ValueType;
struct ValueType {
        ValueKind kind;
        char delimiter;           // between the elements of an array
        const ValueType *element; // of an array; not owned
};

// Appends exactly one JSON value. numbers: option numeric = "number".
void value_write(Buf *out, const ValueType *type, Slice text, bool numbers);
