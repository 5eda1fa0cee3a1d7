// SPDX-License-Identifier: MIT
// What a module says of itself: kind, version, option table, event types with their fields. Printed
// by PROGRAM --describe as JSON and read back by the hub and by belfry check, for built-in and
// foreign modules alike.
#pragma once

#include "base/buf.h"
#include "config/option.h"
#include "config/source_command.h"
#include "event/schema.h"

typedef enum ModuleKind { MODULE_SOURCE, MODULE_SINK } ModuleKind;

typedef struct ModuleDescription {
        const char *name;    // "inotify", "http"
        ModuleKind kind;
        const char *version; // BELFRY_VERSION
        const char *build;   // BELFRY_BUILD: must equal the hub's, or the module is not started
        const char *summary; // one sentence
        const Option *options;
        size_t n_options;
        const EventType *types; // sources
        size_t n_types;
        bool own_types; // sources: beside them any type that event_type_is_own()
        const SourceCommand *commands; // sources
        size_t n_commands;
        bool checks; // PROGRAM --check judges values that the table cannot
        bool network; // it may connect out: its cage holds what names and certificates need
        bool programs; // it runs programs of the user's: its cage holds what those need
        const char *const *reads; // NULL, or paths that it reads whatever its options, up to a NULL
        bool doors; // sources: it is handed the sockets of applications, so one instance at most
} ModuleDescription;

json_t *module_describe(const ModuleDescription *d); // new reference
// A heap copy made from JSON; free with module_description_free.
int module_description_parse(const json_t *j, ModuleDescription **ret, Reason *reason) _must_use_;
ModuleDescription *module_description_free(ModuleDescription *d);

const SourceCommand *module_command_find(const ModuleDescription *d, const char *verb); // NULL

// The program of a module: beside belfryd's own executable first, then /usr/libexec/belfry. Opened
// O_PATH|O_CLOEXEC once, executed through the descriptor.
int module_program_open(const char *self_dir, ModuleKind kind, const char *name, char **ret_path) _must_use_;
// Names of the modules of this kind whose programs stand there, sorted, each once; at most max. The
// names are the caller's to free. Returns how many.
size_t module_program_names(const char *self_dir, ModuleKind kind, char **ret, size_t max);
enum { MODULE_PROGRAMS_MAX = 256 };
// Runs it with one argument: in_fd (-1: nothing) is its input, what it prints is put into `answer`;
// 2 s, the limit of `answer`, an empty environment, and it must end well.
int module_program_run(int program_fd, const char *path, const char *argument, int in_fd, Buf *answer,
                       Reason *reason) _must_use_;
// --describe, at most LIMIT_DESCRIBE bytes, parsed.
int module_program_describe(int program_fd, const char *path, ModuleDescription **ret, Reason *reason) _must_use_;
