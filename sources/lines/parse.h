// SPDX-License-Identifier: MIT
// A line taken apart into one JSON object, in one of the ways of the option parse.
#pragma once

#include "base/buf.h"
#include "base/reason.h"
#include "rule/regex.h"

typedef struct Parser Parser;

// "none", "json", "logfmt" or "/regex/flags". -EINVAL with what was expected and the byte at fault
// in text; -ENOMEM.
int parser_new(Parser **ret, const char *text, size_t *ret_at, Reason *reason) _must_use_;
Parser *parser_free(Parser *p);
bool parser_is_none(const Parser *p);

// Appends the object. False, with nothing appended, when the line does not fit.
bool parser_parse(const Parser *p, Slice line, Buf *out) _must_use_;

// Compiles a pattern of an option; its message as a reason. -EINVAL, -ENOMEM.
int parse_regex(Regex **ret, Slice pattern, Slice flags, size_t *ret_at, Reason *reason) _must_use_;
