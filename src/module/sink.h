// SPDX-License-Identifier: MIT
// All a sink module's author needs: fill one SinkModule, call sink_main() from main(). One process
// serves all endpoints of its module; the hub decides what is attempted when, the sink only tries
// and tells what came of it. Bodies and ids are fixed by the hub: a sink sends them as they are.
#pragma once

#include "config/option.h"
#include "link/message.h"
#include "module/verdict.h"
#include <systemd/sd-event.h>

typedef struct Sink Sink;

typedef struct SinkModule {
        const char *name, *summary;
        const Option *options;
        size_t n_options, options_size;

        // Judges values that the option table cannot (an expression of the module's own, options that
        // exclude each other) with option_fault(); looks at nothing of the world. Run by belfry check
        // and whenever a configuration is loaded, so that a fault has its file, line and column, and
        // once more before endpoint(). May be NULL.
        void (*check)(const void *options, OptionFaults *f);

        int (*start)(Sink *s, void **ret_instance, Reason *reason);
        // A new or changed endpoint. options (filled by the table) belong to the module from here
        // on; free with option_clear + free. A negative return or a later sink_endpoint_state()
        // makes it unusable, with its reason, until the next generation or until it says otherwise.
        // After a negative return the framework answers the attempts of that generation itself. A
        // return of 0 tells the hub "usable", unless sink_endpoint_state() was called meanwhile.
        int (*endpoint)(void *instance, uint32_t endpoint, uint32_t generation, const char *name,
                        void *options, Reason *reason);
        void (*forget)(void *instance, uint32_t endpoint);
        // Begin an attempt. Slices are valid during the call only. Every attempt ends in exactly
        // one sink_verdict() or sink_unsent(), from here or later.
        void (*attempt)(void *instance, const MessageAttempt *a);
        void (*cancel)(void *instance, uint64_t ticket);
        void (*stop)(void *instance); // no more attempts come; call sink_stopped() when idle
        void (*free)(void *instance);
} SinkModule;

int sink_main(const SinkModule *m, int argc, char **argv);

sd_event *sink_loop(Sink *s);
const char *sink_credentials_dir(const Sink *s); // NULL when there is none
uint64_t sink_slots(const Sink *s); // attempts the hub may have out here at a time
void sink_verdict(Sink *s, const MessageVerdict *v);
void sink_unsent(Sink *s, uint64_t ticket);
void sink_endpoint_state(Sink *s, uint32_t endpoint, uint32_t generation, const char *reason); // NULL = usable
void sink_stopped(Sink *s);
void sink_log(Sink *s, int level, const char *message_id, const char *format, ...) _printf_(4, 5);
void sink_stats(Sink *s, const json_t *object);
