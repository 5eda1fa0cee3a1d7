// SPDX-License-Identifier: MIT
// What an operator may ask of a source: belfry source VERB NAME [ARGUMENT]. One row a verb, in the
// module's own table; usage, help and the hub's checks come from it.
#pragma once

#include <stdbool.h>

typedef struct SourceCommand {
        const char *verb;     // "doctor": a name as instances have; not "forget", which is the hub's
        const char *argument; // as usage shows it: "[TABLE]"; NULL = none. Without brackets: required
        const char *prose;    // one sentence for the help and the manual
        bool after_removal;   // also for a source that left the configuration, with its last options
        const char *leaves;   // what stays behind elsewhere until this is run; told when the source leaves
        bool looks_only;      // changes nothing: the role read suffices instead of admin
} SourceCommand;
