// SPDX-License-Identifier: MIT
// The sink's side of the link: endpoints and attempts in, verdicts out. Invariants: every attempt
// read ends in exactly one verdict or unsent (the module's promise; this file keeps it for endpoints
// the module has refused); verdicts of one turn of the loop leave in one write.
// The way of an attempt allocates nothing and logs nothing. It judges nothing: classes are the
// module's, consequences the hub's.

#include "module/sink.h"

#include "base/failpoint.h"
#include "base/limits.h"
#include "build_id.h"
#include "module/module_main.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <syslog.h>

enum { SINK_FILES = 8192, DETAIL_MAX = 256 };

// An endpoint's generation that cannot be used, by its options or by the module's own word.
typedef struct Refused {
        uint32_t endpoint, generation;
        char reason[DETAIL_MAX];
        LIST_ENTRY(Refused) link;
} Refused;

struct Sink {
        Module module;
        const SinkModule *table;
        void *instance;
        uint64_t n_slots;
        bool state_said; // the module spoke for the endpoint that is being set up
        LIST_HEAD(, Refused) refused;
};

// The few that were refused; normally the list is empty and an attempt pays one comparison.
static Refused *refused_find(Sink *s, uint32_t endpoint, uint32_t generation)
{
        Refused *x;

        LIST_FOREACH (x, &s->refused, link)
                if (x->endpoint == endpoint && x->generation == generation)
                        return x;
        return NULL;
}

static void refused_forget(Sink *s, uint32_t endpoint)
{
        Refused *x = LIST_FIRST(&s->refused);

        while (x) {
                Refused *next = LIST_NEXT(x, link);
                if (x->endpoint == endpoint) {
                        LIST_REMOVE(x, link);
                        free(x);
                }
                x = next;
        }
}

static int refused_add(Sink *s, uint32_t endpoint, uint32_t generation, const char *reason)
{
        Refused *x = calloc(1, sizeof *x);
        if (!x)
                return -ENOMEM;
        x->endpoint = endpoint;
        x->generation = generation;
        (void)snprintf(x->reason, sizeof x->reason, "%s", reason);
        LIST_INSERT_HEAD(&s->refused, x, link);
        sink_endpoint_state(s, endpoint, generation, reason);
        return 0;
}

static int sink_fill_options(Sink *s, Slice text, void **ret, Reason *reason)
{
        json_error_t error;
        json_t *values = json_loadb(text.data ? text.data : "", text.len, 0, &error);

        int r = module_options(s->module.program, values, ret, reason);
        json_decref(values);
        return r;
}

static int sink_endpoint(Sink *s, Slice payload)
{
        MessageEndpoint m;
        Reason reason = {""};
        void *options = NULL;

        int r = message_get_endpoint(payload, &m);
        if (r < 0)
                return r;
        _cleanup_(freep) char *name = strndup(m.name.data ? m.name.data : "", m.name.len);
        if (!name)
                return -ENOMEM;
        // Frames come in order: no attempt of an earlier generation follows.
        refused_forget(s, m.endpoint);
        r = sink_fill_options(s, m.options, &options, &reason);
        if (r == -EBADMSG || r == -ENOMEM)
                return r;
        s->state_said = false;
        if (r >= 0)
                r = s->table->endpoint(
                        s->instance, m.endpoint, m.generation, name, options, &reason);
        if (r < 0)
                return refused_add(
                        s, m.endpoint, m.generation, reason.text[0] ? reason.text : strerror(-r));
        if (!s->state_said)
                sink_endpoint_state(s, m.endpoint, m.generation, NULL);
        return 0;
}

static int sink_attempt(Sink *s, Slice payload)
{
        MessageAttempt a;

        int r = message_get_attempt(payload, &a);
        if (r < 0)
                return r;
        if (!LIST_EMPTY(&s->refused)) {
                const Refused *x = refused_find(s, a.endpoint, a.generation);
                if (x) {
                        MessageVerdict v = {.ticket = a.ticket,
                                .class = VERDICT_ENDPOINT,
                                .detail = slice_of(x->reason)};
                        sink_verdict(s, &v);
                        return 0;
                }
        }
        FAILPOINT("sink.attempt-read");
        s->table->attempt(s->instance, &a);
        return 0;
}

static int sink_start(void *owner, Slice payload)
{
        Sink *s = owner;
        MessageStart m;
        json_t *values;
        Reason reason = {""};

        int r = module_get_start(&s->module, payload, &m, &values);
        if (r < 0)
                return r;
        json_decref(values);
        s->n_slots = m.credit;
        r = s->table->start(s, &s->instance, &reason);
        module_must(&s->module, r, FAILURE_WORLD, &reason);
        s->module.started = true;
        (void)link_begin(s->module.link, MESSAGE_READY);
        module_end_frame(&s->module);
        return 0;
}

static int sink_forget(Sink *s, Slice payload)
{
        uint32_t endpoint;

        int r = message_get_u32(payload, &endpoint);
        if (r < 0)
                return r;
        refused_forget(s, endpoint);
        s->table->forget(s->instance, endpoint);
        return 0;
}

static int sink_cancel(Sink *s, Slice payload)
{
        uint64_t ticket;

        int r = message_get_u64(payload, &ticket);
        if (r >= 0)
                s->table->cancel(s->instance, ticket);
        return r;
}

static int sink_frame(void *owner, uint16_t type, Slice payload)
{
        Sink *s = owner;

        switch (type) {
        case MESSAGE_ATTEMPT:
                return sink_attempt(s, payload);
        case MESSAGE_ENDPOINT:
                return sink_endpoint(s, payload);
        case MESSAGE_FORGET:
                return sink_forget(s, payload);
        case MESSAGE_CANCEL:
                return sink_cancel(s, payload);
        default:
                return -EBADMSG;
        }
}

static void sink_stop(void *owner)
{
        Sink *s = owner;

        s->table->stop(s->instance);
}

static void sink_deinit(void *owner)
{
        Sink *s = owner;

        if (s->instance && s->table->free)
                s->table->free(s->instance);
        while (!LIST_EMPTY(&s->refused))
                refused_forget(s, LIST_FIRST(&s->refused)->endpoint);
}

int sink_main(const SinkModule *m, int argc, char **argv)
{
        static Sink sink; // one to a process
        const ModuleProgram program = {
                .description = {.name = m->name,
                        .kind = MODULE_SINK,
                        .version = BELFRY_VERSION,
                        .build = BELFRY_BUILD,
                        .summary = m->summary,
                        .network = true,
                        .options = m->options,
                        .n_options = m->n_options,
                        .checks = m->check},
                .options_size = m->options_size,
                .check = m->check,
                .cage = CAGE_NETWORK,
                .n_files = SINK_FILES,
                .start = sink_start,
                .frame = sink_frame,
                .stop = sink_stop,
                .free = sink_deinit,
        };

        sink.table = m;
        return module_main(&sink.module, &program, &sink, argc, argv);
}

sd_event *sink_loop(Sink *s)
{
        return s->module.loop;
}

const char *sink_credentials_dir(const Sink *s)
{
        return s->module.credentials_dir;
}

uint64_t sink_slots(const Sink *s)
{
        return s->n_slots;
}

void sink_verdict(Sink *s, const MessageVerdict *v)
{
        FAILPOINT("sink.answered");
        message_put_verdict(link_begin(s->module.link, MESSAGE_VERDICT), v);
        module_end_frame(&s->module);
}

void sink_unsent(Sink *s, uint64_t ticket)
{
        message_put_u64(link_begin(s->module.link, MESSAGE_UNSENT), ticket);
        module_end_frame(&s->module);
}

void sink_endpoint_state(Sink *s, uint32_t endpoint, uint32_t generation, const char *reason)
{
        MessageEndpointState m = {.endpoint = endpoint,
                .generation = generation,
                .reason = slice_of(reason ? reason : "")};

        s->state_said = true;
        message_put_endpoint_state(link_begin(s->module.link, MESSAGE_ENDPOINT_STATE), &m);
        module_end_frame(&s->module);
}

void sink_stopped(Sink *s)
{
        module_stopped(&s->module);
}

void sink_log(Sink *s, int level, const char *message_id, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        module_log(&s->module, level, message_id, format, ap);
        va_end(ap);
}

void sink_stats(Sink *s, const json_t *object)
{
        module_stats(&s->module, object);
}
