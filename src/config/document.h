// SPDX-License-Identifier: MIT
// Documents from tables: the manual's option list (mdoc), a commented sample, JSON Schema, and the
// manual's list of event types. What a row does not say no document says.
#pragma once

#include "base/buf.h"
#include "config/describe.h"

void option_document_man(const Option *rows, size_t n, Buf *out);    // one .Bl -tag
void option_document_sample(const Option *rows, size_t n, Buf *out); // all commented out
int option_document_schema(const Option *rows, size_t n, const char *title, Buf *out) _must_use_;
void event_document_man(const EventType *types, size_t n, Buf *out);
// One subsection a type: version, schema, every field, and a sample event.
void event_document_catalogue(const ModuleDescription *d, Buf *out);
json_t *event_type_schema(const EventType *t); // of its data; new reference
// A whole event as an instance called like its module would send it; new reference.
json_t *event_type_sample(const EventType *t, const char *module);
enum { EVENT_URN_MAX = sizeof(EVENT_SCHEMA_URN) + 128 + 12 };
char *event_type_urn(const EventType *t, char out[static EVENT_URN_MAX]); // the schema's name
