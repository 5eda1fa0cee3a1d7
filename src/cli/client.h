// SPDX-License-Identifier: MIT
// Calls to the daemon over its control socket, Varlink's wire form. Blocking: the command has
// nothing else to do. Errors are printed here, with what to do about them.
#pragma once

#include "cli/command.h"

// One of the daemon's sockets: "control", "events". -errno; wait_usec 0: as long as it takes.
int client_connect(const Context *c, const char *name, uint64_t wait_usec, int *ret_fd) _must_use_;
// Why that failed, for people, and the status for it.
ExitStatus client_explain_connect(const Context *c, const char *name, int error);

// One answer. *ret is new. `parameters` is stolen (NULL = none). wait_sec 0: as long as it takes.
ExitStatus client_call(
        Context *c, const char *method, json_t *parameters, unsigned wait_sec, json_t **ret);

// Without parameters and without a word when nobody answers within 2 s; NULL then.
json_t *client_try(Context *c, const char *method);

// Several answers, each given to `each` with the last one marked. Its return other than STATUS_OK
// ends the call with it.
typedef ExitStatus (*ClientEach)(Context *c, json_t *answer, bool last, void *userdata);
ExitStatus client_stream(
        Context *c, const char *method, json_t *parameters, ClientEach each, void *userdata);
