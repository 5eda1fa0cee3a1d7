// SPDX-License-Identifier: MIT
// The lines that `belfry emit` hands in. What people give stays as it is, byte for byte: parts are put
// around it, a number is not written anew. Each line gets a key when it has none, so that sending it
// again is safe.
#pragma once

#include "base/json.h"
#include "base/reason.h"

typedef struct EmitParts {
        const char *type, *subject, *key, *time; // NULL: not given
} EmitParts;

typedef struct EmitLine {
        JsonTree tree;
        Buf out; // the line made last, with its line feed
} EmitLine;

void emit_line_init(EmitLine *l, size_t max);
void emit_line_deinit(EmitLine *l);

// -EINVAL with a reason: the text is not what it should be. -ENOMEM, -EIO the same way.
int emit_line_data(EmitLine *l, const EmitParts *p, Slice data, Reason *reason) _must_use_;
int emit_line_whole(EmitLine *l, Slice event, Reason *reason) _must_use_; // with its type in it
