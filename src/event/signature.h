// SPDX-License-Identifier: MIT
// Standard Webhooks signatures: v1 (HMAC-SHA256, keys "whsec_...") and v1a (ed25519, "whsk_..." to
// sign, "whpk_..." to verify). Signed bytes are id "." timestamp "." body, the body exactly as sent.
// One context a key is set up once and reused. https://www.standardwebhooks.com (specification 1.0)
#pragma once

#include "base/buf.h"
#include "base/reason.h"
#include <stdint.h>

enum {
        SIGNATURE_TOLERANCE_SEC = 300, // both ways
        SIGNATURE_KEYS_MAX = 8,        // of one endpoint
        SIGNATURE_HEADER_MAX = 8192,   // longer headers are refused unread
        SIGNATURE_TEXT_MAX = 96,       // one signature: "v1a," + 88 base64 digits, rounded up
};

typedef struct SignatureKey SignatureKey;

// text: prefix and standard base64. whsec_: 24 to 64 bytes; whsk_: seed and public key, which must
// belong together; whpk_: 32 bytes. -EINVAL with a reason that never holds the key; -ENOMEM.
int signature_key_new(SignatureKey **ret, Slice text, Reason *reason) _must_use_;
SignatureKey *signature_key_free(SignatureKey *k); // wipes; NULL is fine
DEFINE_CLEANUP(SignatureKey, signature_key_free)
bool signature_key_can_sign(const SignatureKey *k); // all but whpk_

// Appends the value of webhook-signature: one signature a key, in their order, a space between.
// -EINVAL: an id that is empty or holds '.' or a blank, or a key that cannot sign; -ENOMEM, -ENOBUFS.
int signature_sign(SignatureKey *const *keys, size_t n_keys, Slice id, uint64_t timestamp_sec,
        Slice body, Buf *out) _must_use_;

typedef enum SignatureResult {
        SIGNATURE_VALID,
        SIGNATURE_MALFORMED, // no id, timestamp that is no number, nothing of a version we know
        SIGNATURE_STALE,     // the timestamp is more than the tolerance away from now
        SIGNATURE_WRONG,     // no signature of a known version fits any key
        _SIGNATURE_RESULT_MAX,
        _SIGNATURE_RESULT_INVALID = -22,
} SignatureResult;
const char *signature_result_to_string(SignatureResult r);

// The values of the three headers as they came; unknown versions are skipped, an empty signature
// never fits. Comparison takes the same time wherever two signatures differ. tolerance_sec 0: any
// time is fine. Returns a SignatureResult or -ENOMEM.
int signature_verify(SignatureKey *const *keys, size_t n_keys, Slice id, Slice timestamp,
        Slice header, Slice body, uint64_t now_sec, uint64_t tolerance_sec) _must_use_;
