// SPDX-License-Identifier: MIT
// A prisoner that tries every wall: two tables of attempts, one of things that must fail and one of
// things that must work, run inside a caged module process and told as JSON.
#pragma once

#include "config/option.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct ProbeOptions {
        char *inside;   // a directory on the cage list, with a file "file" in it
        char *outside;  // a file that is on no list
        char *abstract; // name of an abstract socket that somebody listens on
        char *mode;     // "probe", "flood", "hang", "crash"
        int64_t port;   // a TCP listener on loopback that answers HTTP
} ProbeOptions;

extern const Option probe_options[];
extern const size_t n_probe_options;

// {"forbidden": {name: errno, 0 = it worked}, "allowed": {name: errno}, "facts": {...}}
json_t *probe_run(const ProbeOptions *o, bool network);
