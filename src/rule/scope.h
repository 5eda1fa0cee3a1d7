// SPDX-License-Identifier: MIT
// What names mean where an expression stands: the event types it may see and the fields of their
// data, as the sources' tables declare them.
#pragma once

#include "event/schema.h"
#include "rule/fault.h"
#include "rule/node.h"

// Paths below data that several expressions ask for: each is walked once for each event.
enum { PATH_MEMOS = 128 };
typedef struct PathTable {
        const Node *list[PATH_MEMOS]; // at its memo's number; 0 is never used
        unsigned n;
} PathTable;

typedef struct Scope {
        const EventType *const *types;
        size_t n_types;
        bool open; // nothing is declared: every field may be there and be anything
        bool own_types; // beside the declared ones also types that event_type_is_own()
        bool any_capture; // the filter is wrong already: what it captures is not known
        PathTable *paths; // NULL: an expression by itself
} Scope;

// The types a path may have. A path nobody declares: 0 and the fault, with the nearest name.
TypeMask scope_path(const Scope *s, const Node *path, Fault *fault);
void scope_number_path(const Scope *s, Node *path); // fills path->memo
bool scope_has_type(const Scope *s, Slice name);
bool scope_has_type_with(const Scope *s, Slice part, NodeType how); // NODE_STARTS, _ENDS, _CONTAINS
// Says that no event is of this type.
int scope_type_fault(const Scope *s, Slice name, size_t start, size_t end, Fault *fault);
