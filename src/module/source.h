// SPDX-License-Identifier: MIT
// All a source module's author needs: fill one SourceModule, call source_main() from main().
// The program is one process, one thread, one sd-event loop; the framework speaks the link, puts
// the cage around it, keeps credit, and ends the process when the hub goes away.
//
// Contract: everything added between source_begin() and source_commit() (events, state changes,
// position) becomes durable in ONE transaction or not at all; durable() says so. After a crash
// start() gets the last durable position and state is read back with source_state_get(). Event
// content and id material must derive from what is watched, so that a replay makes the same ids.
#pragma once

#include "config/option.h"
#include "config/source_command.h"
#include "event/schema.h"
#include <systemd/sd-event.h>

typedef struct Source Source;

typedef struct SourceEvent {
        uint64_t time_usec; // wall; 0 = now
        const char *type;   // a name from the module's table, or "source.gap"
        Slice subject;
        Slice key;         // empty: the subject
        Slice id_material; // what makes the event this event
        Slice data;        // one JSON object
} SourceEvent;

typedef struct SourcePeers {
        const uint32_t *uids, *gids;
        size_t n_uids, n_gids;
} SourcePeers;

typedef struct SourceModule {
        const char *name, *summary;
        const Option *options;
        size_t n_options, options_size;
        const EventType *types;
        size_t n_types;
        bool own_types; // beside them any type that event_type_is_own() (an application names it)
        bool needs_network; // its cage lets it create INET sockets
        bool runs_programs; // its cage lets it execute what options of OPTION_CAGE_EXECUTE name
        const char *const *
                reads; // NULL, or paths beside those of its options, up to a NULL: shown by its cage
        // It is handed the sockets at which applications hand in events (source_door()); the hub binds
        // them, so that they outlive it, and tells it by peers() who may. One instance at most.
        bool doors;
        const SourceCommand *commands; // may be NULL
        size_t n_commands;

        // Judges values that the option table cannot (an expression of the module's own, options that
        // exclude each other) with option_fault(); looks at nothing of the world. Run by belfry check
        // and whenever a configuration is loaded, so that a fault has its file, line and column, and
        // once more before start(). May be NULL.
        void (*check)(const void *options, OptionFaults *f);

        // With doors: who may hand in events, some time after start() and again after each change. To
        // be copied.
        void (*peers)(void *instance, const SourcePeers *peers);

        // Begin. position is absent (data NULL) the first time. *ret_instance is handed to the rest.
        // A negative return ends the process as source_fail() does, with the reason.
        int (*start)(Source *s, const void *options, Slice position, void **ret_instance,
                Reason *reason);
        // Rows that source_state_get() asked for; more: ask again from the last key. NULL if unused.
        int (*state)(void *instance, Slice key, Slice value);
        int (*state_end)(void *instance, bool more);
        void (*durable)(void *instance, uint64_t batch); // this batch and all before; may be NULL
        void (*pause)(void *instance);  // back-pressure: stop producing (go on draining the kernel)
        void (*resume)(void *instance); // also called when credit is there again
        // A verb of `commands`; arguments is an object ({"argument": "..."} when one was given). It is
        // answered by source_answer(), now or later, in one piece or several. Commands may overlap.
        void (*command)(void *instance, uint64_t ticket, const char *verb, const json_t *arguments);
        void (*stop)(void *instance); // last chance to commit what is ready; then source_stopped()
        void (*free)(void *instance);
} SourceModule;

int source_main(const SourceModule *m, int argc, char **argv);

sd_event *source_loop(Source *s);
const char *source_name(const Source *s); // the instance
const char *source_hostname(const Source *s);
const char *source_credentials_dir(const Source *s); // NULL when there is none
// With doors: a listening SOCK_STREAM, and a SOCK_DGRAM whose datagrams come with SCM_CREDENTIALS; not to
// be closed.
int source_door(const Source *s);
int source_door_datagrams(const Source *s);

// Born to run one command (its usual process is down, or it left the configuration): start() must
// succeed without touching the world, no event is made, the hub stops the process after the answer.
bool source_for_command(const Source *s);
// A piece of the answer to a command. People see "text" (lines), --json sees the whole object; the
// last one has "ok": a false one makes the command fail with its text.
void source_answer(Source *s, uint64_t ticket, bool last, const json_t *piece);

// May events be produced now? False while paused or without credit; resume() says when again.
bool source_may_send(const Source *s);
// One batch. Nothing else may be sent in between; over limits.event + slack it is split by the
// caller's own measure: keep a batch under source_batch_max() bytes.
void source_begin(Source *s);
// An event over limits.event cannot cross the link: its data is replaced here by
// {oversized, bytes, sha256}. The first event of a batch is shrunk too if it does not fit beside the
// position and the changes put before it, so put those first.
void source_add(Source *s, const SourceEvent *e);
void source_state_put(Source *s, Slice key, Slice value);
void source_state_del(Source *s, Slice key);
void source_position(Source *s, Slice position);
size_t source_batch_bytes(const Source *s); // so far
size_t source_batch_max(const Source *s);
size_t source_batch_target(const Source *s); // end a batch of several events about here
// Sticky errors end here; fatal. -EMSGSIZE: over source_batch_max() and the slack. -ENOBUFS: there
// was no credit (source_may_send() was not asked); while paused a batch is taken if credit is there.
int source_commit(Source *s, uint64_t *ret_batch) _must_use_;

int source_state_get(Source *s, Slice from, size_t max) _must_use_;
void source_ready(Source *s); // armed and scanned
// Running, but something is missing; NULL = well again. Shows in status and makes it degraded.
void source_degraded(Source *s, const char *format, ...) _printf_(2, 3);
// Gives up: the hub shows the reason and restarts the process with back-off (world) or waits for a
// reload (config). Does not return to the loop.
void source_fail(Source *s, bool config, const char *format, ...) _printf_(3, 4);
void source_stopped(Source *s); // nothing more will come
void source_log(Source *s, int level, const char *message_id, const char *format, ...)
        _printf_(4, 5);
void source_stats(Source *s, const json_t *object); // for status; replaces the last
