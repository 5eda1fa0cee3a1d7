// SPDX-License-Identifier: MIT
// The command's table of commands: one row each, from which come parsing, --help, completion and the
// check of the manual. A command gets a Context and returns an ExitStatus; it prints its results to
// standard output and what went wrong, once, to standard error.
#pragma once

#include "base/buf.h"
#include <jansson.h>
#include <stdint.h>

typedef enum ExitStatus {
        STATUS_OK = 0,
        STATUS_FAILED = 1,        // refused, a fault, not found; `status`: up, but not "running"
        STATUS_USAGE = 2,         // the command line is wrong
        STATUS_NOT_RUNNING = 3,   // belfryd is not there (systemctl's code for it)
        STATUS_NOT_PERMITTED = 4, // the user has not the role
} ExitStatus;

enum { VALUES_MAX = 32, ARGUMENTS_MAX = 256 };

typedef struct CommandOption {
        const char *name;     // "port"; NULL ends a table
        const char *argument; // "N"; NULL = a switch
        const char *prose;
} CommandOption;

typedef struct Context Context;

typedef struct Command {
        const char *words;     // "dead retry"
        const char *arguments; // "ID | --all"
        unsigned min, max;     // how many arguments
        const char *summary;
        const CommandOption *options; // NULL = none
        ExitStatus (*run)(Context *c);
        bool lists; // a plural noun: `ls` may follow
        void (*help)(Context *c); // what its --help says beyond the table; NULL = nothing
} Command;

extern const Command commands[];
extern const size_t n_commands;
extern const CommandOption global_options[];

struct Context {
        const Command *command;
        const char *runtime_dir;
        bool json, color;
        bool quiet; // what goes wrong with the daemon is not said
        const char *arguments[ARGUMENTS_MAX];
        unsigned n_arguments;
        struct {
                const CommandOption *option;
                const char *value;
        } values[VALUES_MAX];
        unsigned n_values;
};

// arguments.c. Fills c; STATUS_OK, or prints what is wrong (or the help asked for: *ret_done).
ExitStatus arguments_parse(Context *c, int argc, char **argv, bool *ret_done);
void print_help(const Command *command); // NULL: of all commands
// The option's value, the last given; NULL when absent. A switch: "".
const char *option_value(const Context *c, const char *name);
bool option_given(const Context *c, const char *name);
const char *option_nth(const Context *c, const char *name, unsigned n); // repeated ones, in order
// Numbers and durations; print and return STATUS_USAGE when they do not fit. Absent: *ret stays.
ExitStatus option_number(const Context *c, const char *name, uint64_t max, uint64_t *ret);
ExitStatus option_duration(const Context *c, const char *name, uint64_t *ret_usec);

// The commands, by file.
ExitStatus command_status(Context *c);
ExitStatus command_sources(Context *c), command_sinks(Context *c), command_rules(Context *c),
        command_modules(Context *c);
ExitStatus command_dead(Context *c), command_dead_show(Context *c), command_dead_retry(Context *c),
        command_dead_drop(Context *c);
ExitStatus command_gaps(Context *c), command_gaps_ack(Context *c);
ExitStatus command_timers(Context *c);
ExitStatus command_emit(Context *c);
void help_emit(Context *c);
ExitStatus command_source_forget(Context *c), command_source(Context *c);
void help_source(Context *c);
ExitStatus command_sink_pause(Context *c), command_sink_resume(Context *c),
        command_sink_ping(Context *c);
ExitStatus command_tail(Context *c), command_why(Context *c), command_reload(Context *c);
ExitStatus command_check(Context *c), command_listen(Context *c), command_sign(Context *c),
        command_verify(Context *c);
