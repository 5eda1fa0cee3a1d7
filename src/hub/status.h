// SPDX-License-Identifier: MIT
// What status says, on the control socket and to the service manager (status.c).
#pragma once

#include <jansson.h>

typedef struct Hub Hub;

json_t *hub_status(Hub *h);         // the object of status --json; new reference
const char *hub_state_word(Hub *h); // "running" "starting" "degraded" "stopping"
void hub_notify(Hub *h);            // READY=1, STATUS=...
