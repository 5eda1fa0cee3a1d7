// SPDX-License-Identifier: MIT
// Tokens to a tree. Depth and number of nodes are bounded (LIMIT_EXPR_DEPTH, LIMIT_EXPR_NODES).
#pragma once

#include "rule/node.h"

// Parses text from `start` on: to its end, or with in_hole to the '}' that closes a template's
// hole. ret_end: the offset behind what was read. Nodes live in the arena and borrow from text.
// 0, -EINVAL with the fault, -ENOMEM.
int parser_parse(Slice text, size_t start, bool in_hole, Arena *arena, Node **ret, size_t *ret_end,
        unsigned *ret_nodes, Fault *fault) _must_use_;
