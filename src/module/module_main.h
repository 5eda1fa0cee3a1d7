// SPDX-License-Identifier: MIT
// What source.c and sink.c share and no module author sees: command line, cage, loop, link, the
// greeting, and the ways a module process ends. Private to src/module.
#pragma once

#include "config/describe.h"
#include "link/message.h"
#include "module/cage.h"
#include <stdarg.h>
#include <systemd/sd-event.h>

typedef struct Module Module;

typedef struct ModuleProgram {
        ModuleDescription description;
        size_t options_size; // with description.checks, of what check() gets
        void (*check)(const void *options, OptionFaults *f);
        CageKind cage;
        uint64_t n_files; // RLIMIT_NOFILE, if the hard limit has room for it
        // START, once; it sets module.started. Then one frame at a time, and stop() once. A negative
        // return ends the process with that errno's words, unless module_fail() told better ones.
        int (*start)(void *owner, Slice payload);
        int (*frame)(void *owner, uint16_t type, Slice payload);
        void (*stop)(void *owner);
        void (*free)(void *owner); // after the loop has ended in good order
} ModuleProgram;

struct Module {
        const ModuleProgram *program;
        void *owner;
        char name[64];        // "belfry-source-inotify"
        const char *instance; // "uploads" or "1", from argv
        sd_event *loop;
        Link *link;
        char *credentials_dir; // NULL: none
        bool greeted, started, stopping, stopped;
        bool hub_gone;
};

// The whole life of the process; returns main()'s exit status: 0 stopped when asked to, 1 failed,
// 2 wrong use. program and owner outlive it.
int module_main(Module *m, const ModuleProgram *program, void *owner, int argc, char **argv);

// Closes what link_begin() opened; it leaves with the next turn of the loop. A link that cannot take
// it is the end: what a module sends is bounded, so this is a fault or a hub that is gone.
void module_end_frame(Module *m);
// As module_end_frame, for what may be dropped when the queue is full (log lines, statistics).
void module_end_frame_lossy(Module *m);
void module_log(Module *m, int level, const char *message_id, const char *format, va_list ap)
        __attribute__((format(printf, 4, 0)));
void module_logf(Module *m, int level, const char *format, ...) _printf_(3, 4);
void module_stats(Module *m, const json_t *object);
// Tells the hub why and ends the process.
_Noreturn void module_fail(Module *m, FailureKind kind, const char *format, ...) _printf_(3, 4);
// The same when r is negative, with the reason or else r's words.
void module_must(Module *m, int r, FailureKind kind, const Reason *reason);
// Everything is said: writes out what is queued and leaves the loop with 0. The first call counts.
void module_stopped(Module *m);
// What check() finds in options that fit the table: -EINVAL with the first fault. Without a check 0.
int module_check(const ModuleProgram *p, const void *options, Reason *reason) _must_use_;
// The options of an instance, filled in and checked. -EBADMSG: values are no object.
int module_options(
        const ModuleProgram *p, const json_t *values, void **ret, Reason *reason) _must_use_;
void *module_options_free(const ModuleProgram *p, void *options);
// PROGRAM --check, as config/judgements.c asks it; returns the exit status.
int module_check_main(const ModuleProgram *p, const char *name);
// START, checked: options are parsed as JSON into *ret_options (new reference).
int module_get_start(Module *m, Slice payload, MessageStart *ret, json_t **ret_options) _must_use_;
