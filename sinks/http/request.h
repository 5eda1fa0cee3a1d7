// SPDX-License-Identifier: MIT
// The outgoing half of a Transfer: method, body and header list as belfry-http(5) shows them.
#pragma once

#include "transfer.h"

// Fills t->body, t->text, t->nodes and sets the handle's request options. Errors as transfer_begin.
int request_build(
        Transfer *t, const MessageAttempt *a, uint64_t now_sec, Reason *reason) _must_use_;
