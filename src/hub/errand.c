// SPDX-License-Identifier: MIT
// A source's process that is born for one command: with the source's options, its cage and its last
// position, but told that it makes no events; whatever else it sends than an answer, a question for
// state, a log line or statistics ends it. Its program is opened and asked for its table anew, so
// that it needs nothing of the configuration, which may change while it runs.
#include "hub/commands.h"

#include "base/limits.h"
#include "hub/child.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "link/message.h"
#include "store/read.h"
#include <errno.h>

struct Errand {
        Hub *hub;
        char source[LIMIT_NAME + 1];
        uint32_t number; // in the store; 0 = none
        ConfigModule module;
        json_t *options;
        HubChild child;
        LIST_ENTRY(Errand) link;
};

static Errand *errand_free(Errand *e)
{
        child_clear(&e->child);
        LIST_REMOVE(e, link);
        if (e->module.program_fd >= 0)
                (void)close(e->module.program_fd);
        free(e->module.program_path);
        (void)module_description_free(e->module.description);
        json_decref(e->options);
        free(e);
        return NULL;
}

static int errand_open(Errand *e, const json_t *kept, Reason *reason)
{
        const char *module = json_string_value(json_object_get(kept, "module"));
        e->options = json_deep_copy(json_object_get(kept, "options"));
        if (!module || !json_is_object(e->options))
                return reason_set(reason, -EBADMSG, "its last options cannot be read");
        int r = module_program_open(
                e->hub->module_dir, MODULE_SOURCE, module, &e->module.program_path);
        if (r < 0)
                return reason_errno(reason, r, "module %s", module);
        e->module.program_fd = r;
        r = module_program_describe(
                e->module.program_fd, e->module.program_path, &e->module.description, reason);
        if (r < 0)
                return r;
        const ModuleDescription *d = e->module.description;
        if (d->kind != MODULE_SOURCE || strcmp(d->name, module) != 0)
                return reason_set(
                        reason, -EPROTO, "%s says it is another module", e->module.program_path);
        return 0;
}

int errand_new(Hub *h, const char *source, const json_t *kept, Errand **ret, Reason *reason)
{
        Errand *e = calloc(1, sizeof(*e));
        if (!e)
                return -ENOMEM;
        LIST_INSERT_HEAD(&h->errands, e, link);
        e->hub = h;
        e->module.program_fd = -1;
        (void)snprintf(e->source, sizeof(e->source), "%s", source);
        child_init(&e->child, h, NULL, -1);
        e->child.errand = e;
        int r = errand_open(e, kept, reason);
        if (r >= 0 && store_read_begin(h->store) >= 0) {
                if (store_lookup(h->store, STORE_SOURCE, source, &e->number) < 0)
                        e->number = 0;
                store_read_end(h->store);
        }
        if (r < 0) {
                (void)errand_free(e);
                return r;
        }
        *ret = e;
        return 0;
}

int errand_start(Errand *e)
{
        child_birth(&e->child);
        return e->child.state == CHILD_DOWN ? -ECHILD : 0;
}

void errand_stop(Errand *e)
{
        if (e->child.state == CHILD_DOWN)
                (void)errand_free(e);
        else
                child_stop(&e->child);
}

void errands_clear(Hub *h)
{
        while (!LIST_EMPTY(&h->errands))
                (void)errand_free(LIST_FIRST(&h->errands));
}

void errand_died(Errand *e)
{
        commands_child_gone(&e->child, e->child.reason);
        (void)errand_free(e);
}

HubChild *errand_child(Errand *e)
{
        return &e->child;
}

const ModuleDescription *errand_description(const Errand *e)
{
        return e->module.description;
}

const ConfigModule *errand_module(const Errand *e)
{
        return &e->module;
}

const char *errand_source(const Errand *e)
{
        return e->source;
}

const json_t *errand_options(const Errand *e)
{
        return e->options;
}

int errand_send_start(Errand *e)
{
        int r = source_put_start(&e->child, e->number, e->options, true);
        return r < 0 ? r : commands_errand_started(&e->child);
}

int errand_frame(Errand *e, uint16_t type, Slice payload)
{
        switch (type) {
        case MESSAGE_ANSWER:
                return commands_answer(&e->child, payload);
        case MESSAGE_STATE_GET:
                return e->number ? source_get_state(&e->child, e->number, payload) : -EBADMSG;
        case MESSAGE_DEGRADED:
                return 0; // its answer says it better
        default:
                return -EBADMSG;
        }
}
