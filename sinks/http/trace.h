// SPDX-License-Identifier: MIT
// The exchange of a traced attempt (belfry ping) as text, and the masking that keeps secrets out of
// everything shown.
#pragma once

#include "transfer.h"

void trace_start(Transfer *t); // libcurl reports what goes over the wire, decrypted
// Appends `text`, with every secret of the target, and the values of Authorization and Cookie
// headers, as ****.
void trace_mask(const Target *target, Slice text, Buf *out);
