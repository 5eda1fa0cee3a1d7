// SPDX-License-Identifier: MIT
// The keys of listen, sign and verify: from --secret (a reference, or a literal with a warning,
// since other users see it in ps) or from BELFRY_SECRET.
#pragma once

#include "cli/command.h"
#include "event/signature.h"

typedef struct Secrets {
        SignatureKey *keys[SIGNATURE_KEYS_MAX];
        size_t n;
} Secrets;

// Prints what is wrong. required: none at all is a usage error.
ExitStatus secrets_load(Secrets *s, const Context *c, bool required);
void secrets_deinit(Secrets *s);

// Standard input to its end, at most 16 MiB.
ExitStatus read_body(Buf *out);
enum { BODY_MAX = 16 * 1024 * 1024 };
