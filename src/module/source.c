// SPDX-License-Identifier: MIT
// The source's side of the link: START to start(), batches out, DURABLE back in, credit kept.
// Invariants: a batch is one EVENTS frame, so it is committed whole or not at all; batch numbers
// rise by one; outstanding bytes are those of batches sent and not yet durable, and never exceed the
// credit but for one batch when nothing is outstanding; resume() is never called while paused.
// A batch is put together in buffers of its own, so that log lines in between cannot break it.
// It does not look into events: the hub checks types and JSON.

#include "module/source.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "build_id.h"
#include "module/module_main.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

// What a frame of EVENTS needs beside the events, the changes and the position themselves.
enum { FRAME_HEAD = 8 + 1 + 4 + 4 + 4, EVENT_HEAD = 8 + 5 * 4, CHANGE_HEAD = 1 + 4 + 4 };
enum { BATCH_KEEP = 64 * 1024, SOURCE_FILES = 4096, BATCHES_MAX = 4096 };

typedef struct BatchSent {
        uint64_t batch;
        size_t bytes;
} BatchSent;

struct Source {
        Module module;
        const SourceModule *table;
        void *instance, *options;
        char *hostname;
        bool for_command;

        uint64_t credit, max_event;
        uint64_t outstanding;        // bytes of what sent[] holds
        BatchSent sent[BATCHES_MAX]; // a ring
        unsigned first_sent, n_sent;
        uint64_t last_batch;
        bool paused;
        bool starved; // credit ran out; resume() is owed when half of it is back

        bool begun, has_position;
        int error; // sticky until source_commit()
        Buf events, changes, position;
        uint32_t n_events, n_changes;
        char degraded[REASON_MAX];
};

static size_t source_frame_max(const Source *s)
{
        return (size_t)s->max_event + LIMIT_FRAME_SLACK;
}

static bool source_has_credit(const Source *s)
{
        if (s->n_sent == BATCHES_MAX)
                return false;
        return s->outstanding == 0 || s->outstanding + source_frame_max(s) <= s->credit;
}

bool source_may_send(const Source *s)
{
        return s->module.started && !s->module.stopped && !s->paused && !s->for_command &&
               source_has_credit(s);
}

size_t source_batch_bytes(const Source *s)
{
        return s->events.len + s->changes.len + s->position.len;
}

size_t source_batch_max(const Source *s)
{
        return (size_t)s->max_event;
}

// Less credit, smaller batches: the hub gives less when one did not fit into the store.
size_t source_batch_target(const Source *s)
{
        return s->credit / 4 < s->max_event ? s->credit / 4 : (size_t)s->max_event;
}

void source_begin(Source *s)
{
        assert(!s->begun);
        buf_shrink(&s->events, BATCH_KEEP);
        buf_shrink(&s->changes, BATCH_KEEP);
        buf_shrink(&s->position, BATCH_KEEP);
        s->n_events = s->n_changes = 0;
        s->has_position = false;
        s->error = 0;
        s->begun = true;
}

// What stands for data that cannot cross the link; record_build() writes the same for its own limit.
static int source_shrink(Slice data, char *text, size_t size, Slice *ret)
{
        uint8_t digest[SHA256_SIZE];
        char hex[2 * SHA256_SIZE];

        int r = digest_sha256(data, digest);
        if (r < 0)
                return r;
        digest_hex(digest, sizeof digest, hex);
        int n = snprintf(text, size, "{\"oversized\":true,\"bytes\":%zu,\"sha256\":\"%.*s\"}",
                data.len, (int)sizeof hex, hex);
        *ret = (Slice){text, (size_t)n};
        return 0;
}

void source_add(Source *s, const SourceEvent *e)
{
        char text[160];
        MessageEvent m = {
                .time_usec = e->time_usec ? e->time_usec : clock_wall_usec(),
                .type = slice_of(e->type),
                .subject = e->subject,
                .key = e->key,
                .id_material = e->id_material,
                .data = e->data,
        };
        size_t head = EVENT_HEAD + m.type.len + m.subject.len + m.key.len + m.id_material.len;
        size_t room = source_frame_max(s) - FRAME_HEAD;

        assert(s->begun);
        // Alone in its batch an event must fit beside the position and state that go with it.
        if (head + m.data.len > s->max_event ||
                (s->n_events == 0 && source_batch_bytes(s) + head + m.data.len > room)) {
                int r = source_shrink(e->data, text, sizeof text, &m.data);
                if (r < 0 && s->error == 0)
                        s->error = r;
        }
        message_put_event(&s->events, &m);
        s->n_events++;
}

static void source_change(Source *s, bool put, Slice key, Slice value)
{
        MessageStateChange c = {.put = put, .key = key, .value = value};

        assert(s->begun);
        if (s->error == 0 &&
                (key.len == 0 || key.len > LIMIT_STATE_KEY || value.len > LIMIT_STATE_VALUE))
                s->error = -EMSGSIZE;
        message_put_change(&s->changes, &c);
        s->n_changes++;
}

void source_state_put(Source *s, Slice key, Slice value)
{
        source_change(s, true, key, value);
}

void source_state_del(Source *s, Slice key)
{
        source_change(s, false, key, SLICE_NULL);
}

void source_position(Source *s, Slice position)
{
        assert(s->begun);
        if (position.len > LIMIT_POSITION && s->error == 0)
                s->error = -EMSGSIZE;
        buf_reset(&s->position);
        buf_add_slice(&s->position, position);
        s->has_position = true;
}

static int source_batch_error(const Source *s)
{
        if (s->error < 0)
                return s->error;
        if (s->events.error < 0)
                return s->events.error;
        if (s->changes.error < 0)
                return s->changes.error;
        if (s->position.error < 0)
                return s->position.error;
        if (source_batch_bytes(s) + FRAME_HEAD > source_frame_max(s))
                return -EMSGSIZE;
        return source_has_credit(s) ? 0 : -ENOBUFS;
}

int source_commit(Source *s, uint64_t *ret_batch)
{
        assert(s->begun);
        s->begun = false;
        int r = source_batch_error(s);
        if (r < 0)
                return r;

        FAILPOINT("source.batch-built");
        Buf *b = link_begin(s->module.link, MESSAGE_EVENTS);
        wire_put_u64(b, s->last_batch + 1);
        wire_put_u8(b, s->has_position);
        wire_put_bytes(b, buf_slice(&s->position));
        wire_put_u32(b, s->n_events);
        buf_add_slice(b, buf_slice(&s->events));
        wire_put_u32(b, s->n_changes);
        buf_add_slice(b, buf_slice(&s->changes));
        r = link_end(s->module.link, false);
        if (r < 0)
                return r;

        size_t bytes = source_batch_bytes(s) + FRAME_HEAD;
        s->last_batch++;
        s->sent[(s->first_sent + s->n_sent++) % BATCHES_MAX] =
                (BatchSent){.batch = s->last_batch, .bytes = bytes};
        s->outstanding += bytes;
        if (!source_has_credit(s))
                s->starved = true;
        if (ret_batch)
                *ret_batch = s->last_batch;
        return 0;
}

// resume() when it is owed: credit for half of what there is, and nobody asked for a pause.
static void source_wake(Source *s)
{
        if (s->paused || s->module.stopping || !source_has_credit(s))
                return;
        if (s->starved && s->outstanding > s->credit / 2)
                return;
        s->starved = false;
        if (s->table->resume)
                s->table->resume(s->instance);
}

static int source_durable(Source *s, Slice payload)
{
        uint64_t batch;

        int r = message_get_u64(payload, &batch);
        if (r < 0)
                return r;
        if (batch > s->last_batch)
                return -EBADMSG;
        FAILPOINT("source.durable-heard");
        while (s->n_sent > 0 && s->sent[s->first_sent].batch <= batch) {
                s->outstanding -= s->sent[s->first_sent].bytes;
                s->first_sent = (s->first_sent + 1) % BATCHES_MAX;
                s->n_sent--;
        }
        if (s->table->durable)
                s->table->durable(s->instance, batch);
        if (s->starved)
                source_wake(s);
        return 0;
}

static int source_state_rows(Source *s, Slice payload)
{
        MessageState m;
        Slice key, value;

        int r = message_get_state(payload, &m);
        if (r < 0)
                return r;
        if (!s->table->state || !s->table->state_end)
                return -EBADMSG;
        while ((r = message_next_state(&m, &key, &value)) > 0) {
                r = s->table->state(s->instance, key, value);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : s->table->state_end(s->instance, m.more);
}

static int source_keep_start(Source *s, const MessageStart *m)
{
        s->credit = m->credit;
        s->max_event = m->max_event;
        s->for_command = m->for_command;
        s->hostname = strndup(m->hostname.data ? m->hostname.data : "", m->hostname.len);
        if (!s->hostname)
                return -ENOMEM;
        if (m->max_event == 0 || m->max_event > LIMIT_EVENT_MAX)
                return -EBADMSG;
        s->events.max = s->changes.max = source_frame_max(s);
        s->position.max = LIMIT_POSITION;
        return 0;
}

static int source_start(void *owner, Slice payload)
{
        Source *s = owner;
        MessageStart m;
        json_t *values;
        Reason reason = {""};

        int r = module_get_start(&s->module, payload, &m, &values);
        if (r < 0)
                return r;
        r = source_keep_start(s, &m);
        if (r >= 0)
                r = module_options(s->module.program, values, &s->options, &reason);
        json_decref(values);
        module_must(&s->module, r, FAILURE_CONFIG, &reason);

        s->module.started = true;
        r = s->table->start(
                s, s->options, m.has_position ? m.position : SLICE_NULL, &s->instance, &reason);
        module_must(&s->module, r, FAILURE_WORLD, &reason);
        return 0;
}

static const SourceCommand *source_verb(const Source *s, Slice verb)
{
        for (size_t i = 0; i < s->table->n_commands; i++)
                if (slice_eq_str(verb, s->table->commands[i].verb))
                        return &s->table->commands[i];
        return NULL;
}

// The hub asks only for verbs of the table.
static int source_command(Source *s, Slice payload)
{
        MessageCommand m;

        int r = message_get_command(payload, &m);
        if (r < 0)
                return r;
        const SourceCommand *command = source_verb(s, m.verb);
        json_t *arguments =
                json_loadb(m.arguments.data, m.arguments.len, JSON_REJECT_DUPLICATES, NULL);
        if (command && json_is_object(arguments))
                s->table->command(s->instance, m.ticket, command->verb, arguments);
        else
                r = -EBADMSG;
        json_decref(arguments);
        return r;
}

static int source_peers(Source *s, Slice payload)
{
        static MessagePeers m; // large
        int r = message_get_peers(payload, &m);
        if (r < 0 || !s->table->peers)
                return -EBADMSG;
        s->table->peers(s->instance, &(SourcePeers){.uids = m.ids,
                                             .n_uids = m.n_uids,
                                             .gids = m.ids + m.n_uids,
                                             .n_gids = m.n_gids});
        return 0;
}

static int source_frame(void *owner, uint16_t type, Slice payload)
{
        Source *s = owner;

        switch (type) {
        case MESSAGE_DURABLE:
                return source_durable(s, payload);
        case MESSAGE_STATE:
                return source_state_rows(s, payload);
        case MESSAGE_COMMAND:
                return source_command(s, payload);
        case MESSAGE_PEERS:
                return source_peers(s, payload);
        case MESSAGE_PAUSE:
                if (!s->paused && s->table->pause)
                        s->table->pause(s->instance);
                s->paused = true;
                return 0;
        case MESSAGE_RESUME:
                if (s->paused) {
                        s->paused = false;
                        source_wake(s);
                }
                return 0;
        default:
                return -EBADMSG;
        }
}

static void source_stop(void *owner)
{
        Source *s = owner;

        s->table->stop(s->instance);
}

static void source_deinit(void *owner)
{
        Source *s = owner;

        if (s->instance && s->table->free)
                s->table->free(s->instance);
        s->options = module_options_free(s->module.program, s->options);
        free(s->hostname);
        buf_deinit(&s->events);
        buf_deinit(&s->changes);
        buf_deinit(&s->position);
}

int source_main(const SourceModule *m, int argc, char **argv)
{
        static Source source; // one to a process; too large for a stack frame
        const ModuleProgram program = {
                .description = {.name = m->name,
                        .kind = MODULE_SOURCE,
                        .version = BELFRY_VERSION,
                        .build = BELFRY_BUILD,
                        .summary = m->summary,
                        .network = m->needs_network,
                        .programs = m->runs_programs,
                        .reads = m->reads,
                        .options = m->options,
                        .n_options = m->n_options,
                        .types = m->types,
                        .n_types = m->n_types,
                        .own_types = m->own_types,
                        .doors = m->doors,
                        .commands = m->commands,
                        .n_commands = m->n_commands,
                        .checks = m->check},
                .options_size = m->options_size,
                .check = m->check,
                .cage = m->runs_programs   ? CAGE_PROGRAM
                        : m->needs_network ? CAGE_NETWORK
                                           : CAGE_LOCAL,
                .n_files = SOURCE_FILES,
                .start = source_start,
                .frame = source_frame,
                .stop = source_stop,
                .free = source_deinit,
        };

        source.table = m;
        return module_main(&source.module, &program, &source, argc, argv);
}

sd_event *source_loop(Source *s)
{
        return s->module.loop;
}

const char *source_name(const Source *s)
{
        return s->module.instance;
}

const char *source_hostname(const Source *s)
{
        return s->hostname;
}

const char *source_credentials_dir(const Source *s)
{
        return s->module.credentials_dir;
}

int source_door(const Source *s)
{
        assert(s->table->doors);
        return CHILD_FD_DOOR_STREAM;
}

int source_door_datagrams(const Source *s)
{
        assert(s->table->doors);
        return CHILD_FD_DOOR_DATAGRAMS;
}

int source_state_get(Source *s, Slice from, size_t max)
{
        if (from.len > LIMIT_STATE_KEY)
                return -EMSGSIZE;
        if (max > LIMIT_STATE_BATCH)
                max = LIMIT_STATE_BATCH;
        message_put_state_get(link_begin(s->module.link, MESSAGE_STATE_GET), from, (uint32_t)max);
        return link_end(s->module.link, false);
}

void source_ready(Source *s)
{
        (void)link_begin(s->module.link, MESSAGE_READY);
        module_end_frame(&s->module);
}

void source_degraded(Source *s, const char *format, ...)
{
        char text[REASON_MAX] = "";

        if (format) {
                va_list ap;
                va_start(ap, format);
                (void)vsnprintf(text, sizeof text, format, ap);
                va_end(ap);
        }
        if (strcmp(text, s->degraded) == 0)
                return;
        memcpy(s->degraded, text, sizeof text);
        message_put_bytes(link_begin(s->module.link, MESSAGE_DEGRADED), slice_of(text));
        module_end_frame(&s->module);
}

void source_fail(Source *s, bool config, const char *format, ...)
{
        char text[REASON_MAX];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        module_fail(&s->module, config ? FAILURE_CONFIG : FAILURE_WORLD, "%s", text);
}

bool source_for_command(const Source *s)
{
        return s->for_command;
}

void source_answer(Source *s, uint64_t ticket, bool last, const json_t *piece)
{
        _cleanup_(freep) char *text = json_dumps(piece, JSON_COMPACT);
        MessageAnswer m = {.ticket = ticket, .last = last, .piece = slice_of(text ? text : "{}")};

        if (m.piece.len > LIMIT_STATS)
                m.piece = slice_of("{\"ok\":false,\"text\":\"the answer is too large\"}");
        message_put_answer(link_begin(s->module.link, MESSAGE_ANSWER), &m);
        module_end_frame(&s->module);
}

void source_stopped(Source *s)
{
        module_stopped(&s->module);
}

void source_log(Source *s, int level, const char *message_id, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        module_log(&s->module, level, message_id, format, ap);
        va_end(ap);
}

void source_stats(Source *s, const json_t *object)
{
        module_stats(&s->module, object);
}
