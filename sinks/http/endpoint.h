// SPDX-License-Identifier: MIT
// One endpoint: its options as configured, and the Target they resolve to once every secret behind
// a reference has been read. A Target never changes; attempts hold a reference, so a reload or a
// rotated secret swaps in a new one while running attempts end on theirs.
#pragma once

#include "base/reason.h"
#include "base/slice.h"
#include "egress.h"
#include "event/signature.h"
#include "options.h"
#include <curl/curl.h>

// Text that must not be shown: each occurrence is masked wherever an exchange is reported.
typedef struct TargetMask {
        char *text;
        size_t len;
} TargetMask;

typedef struct Target {
        unsigned refs;
        uint64_t serial; // no two in the life of the process share one
        CURLU *url;
        struct curl_slist
                *headers; // static part: the endpoint's own headers, and what libcurl must omit
        bool sets_content_type; // one of them is Content-Type
        SignatureKey *keys[SIGNATURE_KEYS_MAX];
        size_t n_keys;
        Egress egress;
        TargetMask *masks;
        size_t n_masks;
        bool private_url; // the URL came from a reference: not even its host is shown
        uint64_t timeout_usec, connect_timeout_usec, response_limit;
        char *ca;
        bool verify;
        long http_version; // CURL_HTTP_VERSION_*
} Target;

Target *target_ref(Target *t);
Target *target_unref(Target *t); // wipes and frees with the last reference; NULL is fine
DEFINE_CLEANUP(Target, target_unref)

// Reads every reference. -EINVAL: an option that can never work; other errors: the world's (a
// missing credential), worth trying again. The reason never holds a secret.
int target_new(
        Target **ret, const HttpOptions *o, const char *credentials_dir, Reason *reason) _must_use_;

// A number that changes when a file behind a reference was replaced or rewritten.
uint64_t target_files_stamp(const HttpOptions *o);

// Parses the text into `url` and looks whether it can be an endpoint. -EINVAL: the reason says why not.
int url_check(CURLU *url, const char *text, bool private_url, Reason *reason) _must_use_;

// The header names an endpoint or a rule may not set.
bool header_is_reserved(Slice name);
bool header_name_is_token(Slice name);
bool header_value_is_clean(Slice value); // no control characters but TAB
