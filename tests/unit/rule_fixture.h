// SPDX-License-Identifier: MIT
// A source's field table, one record and what tests of the rule language share.
#pragma once

#include "event/record.h"
#include "event/schema.h"
#include <string.h>

static const EventField fixture_fields[] = {
        {"path", FIELD_STRING, ""},
        {"name", FIELD_STRING, ""},
        {"dir", FIELD_STRING, ""},
        {"owner", FIELD_STRING, ""},
        {"size", FIELD_NUMBER, ""},
        {"total", FIELD_NUMBER, ""},
        {"mtime", FIELD_TIME, ""},
        {"ready", FIELD_BOOL, ""},
        {"tags", FIELD_LIST, ""},
        {"tx.lsn", FIELD_STRING, ""},
        {"new", FIELD_OBJECT, ""},
        {"old", FIELD_OBJECT, ""},
        {"extra", FIELD_ANY, ""},
        {"priority", FIELD_NUMBER, ""},
        {"unit", FIELD_STRING, ""},
        {"message", FIELD_STRING, ""},
        {"old_path", FIELD_STRING, ""},
};
static const EventType fixture_types[] = {
        {"file.created", "", fixture_fields, sizeof(fixture_fields) / sizeof(*fixture_fields),
                "{}"},
        {"file.modified", "", fixture_fields, sizeof(fixture_fields) / sizeof(*fixture_fields),
                "{}"},
        {"file.moved", "", fixture_fields, sizeof(fixture_fields) / sizeof(*fixture_fields), "{}"},
        {"row.inserted", "", fixture_fields, sizeof(fixture_fields) / sizeof(*fixture_fields),
                "{}"},
};
static const EventType *const fixture_type_list[] = {&fixture_types[0], &fixture_types[1],
        &fixture_types[2], &fixture_types[3], &event_type_gap};
#define N_FIXTURE_TYPES (sizeof(fixture_types) / sizeof(*fixture_types))
#define N_FIXTURE_LIST (N_FIXTURE_TYPES + 1)

#define FIXTURE_DATA                                                                               \
        "{\"path\":\"/srv/up/INV-0042.pdf\",\"name\":\"INV-0042.pdf\",\"dir\":\"/srv/up\","        \
        "\"owner\":null,\"size\":20480,\"total\":\"10.50\",\"ready\":true,"                        \
        "\"mtime\":\"2026-11-21T23:30:00.5+01:00\",\"tags\":[\"a\",\"b\\u00e4\",3],"               \
        "\"tx\":{\"lsn\":\"0/16B3748\"},"                                                          \
        "\"new\":{\"Order ID\":7,\"total\":\"10.50\",\"items\":[{\"sku\":\"x\"},{\"sku\":\"y\"}]," \
        "\"big\":123456789012345678901234567890.10,\"neg\":-2.5,\"note\":\"say \\\"hi\\\"\\n\"},"  \
        "\"old\":{\"total\":9},\"extra\":{\"it's\":1,\"t\":\"2026-11-23T09:00:00Z\"}}"

// time: 2026-11-23T09:33:00Z, a Monday.
#define FIXTURE_TIME UINT64_C(1795426380000000)

// Builds into `buf`; the record borrows from it. 0 or a negative error.
static inline int fixture_record_of(Buf *buf, Record *ret, const char *type, const char *data)
{
        RecordOrigin origin;
        Reason reason = {0};
        int r = record_origin_init(&origin, "host1", "uploads");
        EventDraft draft = {
                .time_usec = FIXTURE_TIME,
                .type = slice_of(type),
                .subject = SLICE_LIT("/srv/up/INV-0042.pdf"),
                .id_material = SLICE_LIT("1"),
                .data = slice_of(data),
        };
        if (r == 0)
                r = record_build(buf, &origin, &draft, 1024 * 1024, &reason);
        return r < 0 ? r : record_parse(buf_slice(buf), ret);
}
