// SPDX-License-Identifier: MIT
// Text made safe for where it stands, and what a header may be called and hold.
#pragma once

#include "base/buf.h"

typedef enum Escape {
        ESCAPE_NONE,
        ESCAPE_JSON, // inside the quotes of a JSON string
        ESCAPE_URL,  // RFC 3986: all but unreserved characters as %XX
        ESCAPE_FORM, // application/x-www-form-urlencoded: as URL, a space is +
        ESCAPE_XML,  // text and attribute values; characters XML cannot hold become U+FFFD
        _ESCAPE_MAX,
} Escape;

void escape_add(Buf *out, Escape how, Slice text);

// NULL, or what is wrong with it in words.
const char *header_name_fault(Slice name);
const char *header_value_fault(Slice value); // length, CR, LF, NUL and other controls
