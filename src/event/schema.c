// SPDX-License-Identifier: MIT
// Names of field types, and the event type that every source has. The tables of the sources
// themselves stand with the sources.
#include "event/schema.h"

#include "base/cleanup.h"
#include <string.h>

static const char *const field_types[_FIELD_TYPE_MAX] = {
        [FIELD_STRING] = "string",
        [FIELD_NUMBER] = "number",
        [FIELD_BOOL] = "bool",
        [FIELD_TIME] = "time",
        [FIELD_LIST] = "list",
        [FIELD_OBJECT] = "object",
        [FIELD_ANY] = "any",
};

const char *field_type_to_string(FieldType t)
{
        return (int)t >= 0 && t < _FIELD_TYPE_MAX ? field_types[t] : NULL;
}

FieldType field_type_from_string(const char *s)
{
        for (int t = 0; s && t < _FIELD_TYPE_MAX; t++)
                if (strcmp(field_types[t], s) == 0)
                        return (FieldType)t;
        return _FIELD_TYPE_INVALID;
}

unsigned event_type_version(const EventType *t)
{
        return t->version ? t->version : 1;
}

const char *const event_families[] = {"belfry.", "file.", "journal.", "line.", "message.", "row.",
        "schema.", "sink.", "source.", "table.", "timer.", "transaction.", NULL};

bool event_type_is_own(Slice type)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";
        if (type.len == 0 || type.len > EVENT_TYPE_MAX || type.data[0] < 'a' || type.data[0] > 'z')
                return false;
        for (size_t i = 0; i < type.len; i++)
                if (!type.data[i] || !strchr(letters, type.data[i]))
                        return false;
        for (const char *const *f = event_families; *f; f++) {
                Slice family = slice_of(*f), word = {family.data, family.len - 1};
                if (slice_starts(type, family) || slice_eq(type, word))
                        return false;
        }
        return true;
}

const EventField event_common_fields[] = {
        {"oversized", FIELD_BOOL, "True when the data was too large and was replaced."},
        {"bytes", FIELD_NUMBER, "Size of the data that was replaced."},
        {"sha256", FIELD_STRING, "Digest of the data that was replaced, in hexadecimal."},
};
const size_t n_event_common_fields = N_ELEMENTS(event_common_fields);

static const EventField gap_fields[] = {
        {"reason", FIELD_STRING,
                "Why something may have gone unreported, a word such as vacuumed."},
        {"from", FIELD_ANY, "The last position or time known to be complete; null if unknown."},
        {"to", FIELD_ANY, "The position or time from which reports are complete again."},
        {"detail", FIELD_STRING, "The cause in a sentence, with what to do about it if anything."},
};

const EventType event_type_gap = {
        .name = "source.gap",
        .prose = "Something between two bounds may have gone unreported.",
        .fields = gap_fields,
        .n_fields = N_ELEMENTS(gap_fields),
        .sample = "{\"reason\":\"vacuumed\",\"from\":\"2026-11-23T09:00:00.000000Z\","
                  "\"to\":\"2026-11-23T09:33:00.000000Z\","
                  "\"detail\":\"the journal was vacuumed past the saved position\"}",
        .sample_subject = "errors",
};
