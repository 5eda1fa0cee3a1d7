// SPDX-License-Identifier: MIT
// The receiver: listen.c has the command, the server and its loop; listen_report.c judges and shows
// a request; listen_tls.c makes a certificate.
#pragma once

#include "cli/output.h"
#include "cli/secrets.h"
#include <sys/socket.h>

enum { LISTEN_HEADERS_MAX = 128, LISTEN_CONNECTIONS_MAX = 4096 };

// One whole request. Slices are valid during the call.
typedef struct Received {
        Slice method, path, body;
        Slice id, timestamp, signature, ce_type, ce_subject, content_type;
        bool has_id, has_signature;
        unsigned status; // that it will be answered with
        bool too_large;
} Received;

typedef struct Reporter Reporter;
ExitStatus reporter_new(Reporter **ret, const Context *c);
Reporter *reporter_free(Reporter *r);
void reporter_show(Reporter *r, const Received *request);
bool reporter_all_verified(const Reporter *r); // true without a secret

// PEM texts of a self-made certificate for this address and localhost, valid for 30 days.
int tls_make_certificate(const char *address, Buf *ret_cert, Buf *ret_key) _must_use_;
