// SPDX-License-Identifier: MIT
// What a source says about its events: types and the fields of their data. The rule checker, the
// manual, the samples and JSON Schema all come from these tables.
#pragma once

#include "base/slice.h"
#include <stddef.h>

typedef enum FieldType {
        FIELD_STRING,
        FIELD_NUMBER,
        FIELD_BOOL,
        FIELD_TIME,   // RFC 3339 text in JSON; compares as an instant
        FIELD_LIST,   // of anything
        FIELD_OBJECT, // fields inside are not declared: every path below it is allowed
        FIELD_ANY,
        _FIELD_TYPE_MAX,
        _FIELD_TYPE_INVALID = -22,
} FieldType;
const char *field_type_to_string(FieldType t);
FieldType field_type_from_string(const char *s);

typedef struct EventField {
        const char *name;  // below data: "size", "tx.lsn"
        FieldType type;
        const char *prose; // one sentence for the manual
} EventField;

typedef struct EventType {
        const char *name;  // "file.created"
        const char *prose;
        const EventField *fields; // of data; may be shared by several types
        size_t n_fields;
        const char *sample;       // one JSON object, the data of a sample event
        const char *sample_subject; // NULL: it has none
        unsigned version; // of the fields; 0 is the first, 1. A new one where receivers must know
} EventType;
unsigned event_type_version(const EventType *t);

// The name of the JSON Schema of a type's data, which events carry as their "dataschema":
// "urn:belfry:event:file.created:1". A type of an application's own has none.
#define EVENT_SCHEMA_URN "urn:belfry:event:"

// May an application use this name for its own events? [a-z][a-z0-9.-]*, 128 at most, and outside of
// the families that Belfry's own sources have ("file.", "row.", "belfry." ...).
enum { EVENT_TYPE_MAX = 128 };
bool event_type_is_own(Slice type);
// The reserved families, NULL-terminated, each with its dot.
extern const char *const event_families[];

// Fields that any event's data may have beside its type's own.
extern const EventField event_common_fields[];
extern const size_t n_event_common_fields;

// Types every source has beside its own: "source.gap" {reason, from, to, detail}.
extern const EventType event_type_gap;
