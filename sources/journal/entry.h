// SPDX-License-Identifier: MIT
// One entry of the journal as the data of an event: fed with its fields one by one, in whatever
// order, as "NAME=value". Knows nothing of sd_journal and may be given any bytes. Memory is kept for
// the next entry.
#pragma once

#include "base/buf.h"

// Beyond these a field is named in data.cut and left out.
enum { ENTRY_FIELDS_MAX = 1024, ENTRY_DATA_MAX = 512 * 1024 };

// What the event's head and the source's own judgement need, cut to what such values have at most.
typedef enum EntryText {
        ENTRY_PRIORITY,
        ENTRY_IDENTIFIER,
        ENTRY_PID,
        ENTRY_UID,
        ENTRY_HOSTNAME,
        ENTRY_BOOT_ID,
        ENTRY_TRANSPORT,
        // these stand in data.fields too
        ENTRY_SYSTEMD_UNIT,
        ENTRY_SYSTEMD_USER_UNIT,
        ENTRY_UNIT,
        ENTRY_COREDUMP_UNIT,
        ENTRY_OBJECT_UNIT,
        ENTRY_SLICE,
        ENTRY_MESSAGE_ID,
        ENTRY_COMM,
        ENTRY_SOURCE_TIME,
        _ENTRY_TEXT_MAX,
} EntryText;

typedef struct EntryRules {
        char *const *fields; // patterns; NULL: all that have no place of their own
        size_t max_field;    // bytes of one value
        size_t max_data;     // bytes of one event's data, about
} EntryRules;

typedef struct Entry Entry;

Entry *entry_new(const EntryRules *rules); // borrowed; NULL: no memory
Entry *entry_free(Entry *e);
DEFINE_CLEANUP(Entry, entry_free)

void entry_begin(Entry *e);
void entry_add(Entry *e, Slice field);
// The event's data into `out` (appended). -EINVAL never; -ENOMEM or -ENOBUFS.
int entry_data(Entry *e, Slice cursor, Buf *out) _must_use_;

// The first value of a field; empty when the entry has none. Good until the next entry_begin().
Slice entry_text(const Entry *e, EntryText which);
// The unit the entry is about, else empty.
Slice entry_unit(const Entry *e);
// As journalctl -u does: by this unit, a core dump of it, or said about it by who may.
bool entry_is_of_unit(const Entry *e, const char *pattern);
bool entry_was_cut(const Entry *e);
