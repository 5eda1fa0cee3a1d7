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
json_t *event_type_schema(const EventType *t); // of its data; new reference
void event_document_sample(const EventType *types, size_t n, Buf *out); // one JSON object a line
