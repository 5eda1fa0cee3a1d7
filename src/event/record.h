// SPDX-License-Identifier: MIT
// The record: one event as it is stored and sent. A small fixed header (time, offsets) stands in
// front of one CloudEvents 1.0 JSON text, so the head is read as slices and the default webhook
// body is the text verbatim. Built once, by the hub alone; never changed afterwards.
// {"specversion":"1.0","id":..,"source":..,"type":..,"subject":..,"time":..,["partitionkey":..,]
//  ["dataschema":..,]"datacontenttype":"application/json","data":..}
#pragma once

#include "base/buf.h"
#include "base/digest.h"
#include "base/reason.h"

typedef struct EventDraft {
        uint64_t time_usec;
        Slice type, subject, key; // key empty: the subject is the key
        Slice id_material;
        Slice data; // JSON, checked by record_build
        unsigned schema_version; // of the type's field table; 0: it has none, and no dataschema
} EventDraft;

// Made once for each source instance.
typedef struct RecordOrigin {
        char instance[33];
        char source[300]; // "/belfry/<hostname>/<instance>", escaped for JSON already
} RecordOrigin;
int record_origin_init(RecordOrigin *o, const char *hostname, const char *instance) _must_use_;

typedef struct Record { // a view; borrows from the stored bytes
        uint64_t time_usec;
        Slice id, source, type, subject,
                key;    // subject and key as JSON-escaped text (see record_text)
        Slice data;     // JSON value
        Slice json;     // the whole CloudEvents text
        bool oversized; // data was replaced by {oversized, bytes, sha256}
} Record;

// Appends header and text to out. id = first 32 hex digits of SHA-256 over (instance, id material).
// Returns 0, -EBADMSG (data is no JSON, or too deep; reason says where), -EINVAL (a type that is not
// 1 to 128 plain ASCII characters, no id material, field too long), -ENOBUFS or -ENOMEM; out is then
// as before. A record longer than max_record is not refused: its data is replaced
// by {"oversized":true,"bytes":N,"sha256":"..."} and the flag set.
int record_build(Buf *out, const RecordOrigin *o, const EventDraft *d, size_t max_record,
        Reason *ret_reason) _must_use_;
// The id that record_build() gives; no NUL behind it.
int record_id(const RecordOrigin *o, Slice id_material, char ret[static ID_HEX]) _must_use_;
int record_parse(Slice bytes, Record *ret) _must_use_; // -EBADMSG
// The value of its dataschema, as JSON-escaped text; empty when it has none.
Slice record_schema(const Record *r);
// Adds a record's subject or key as plain text, its JSON escapes undone.
void record_text(Buf *out, Slice escaped);

// The id of a delivery: the event's, or event id + "_" + 8 hex digits of the rule's hash.
enum { DELIVERY_ID_MAX = ID_HEX + 1 + 8 + 1 };
uint32_t rule_hash(const char *rule_name); // never 0
void delivery_id(char out[static DELIVERY_ID_MAX], Slice event_id, uint32_t hash_or_0);
