// SPDX-License-Identifier: MIT
// From one configuration to the next, at start from none. What did not change is left alone: a source
// whose options are the same keeps running, a sink gets a new generation only when its options
// changed (running attempts end on the old one). A text that is wrong is refused whole, before
// anything was touched; so is one under which something would newly be degraded (foresee.c), unless
// forced, and taking away a sink that is still owed, unless told to park or drop.
#include "hub/reload.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "event/messages.h"
#include "hub/child.h"
#include "hub/commands.h"
#include "hub/commit.h"
#include "hub/control_methods.h"
#include "hub/dispatch.h"
#include "hub/doors.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "hub/judge.h"
#include "hub/pressure.h"
#include "hub/queue.h"
#include "hub/status.h"
#include "link/message.h"
#include <errno.h>

static HubSource *source_by_name(Hub *h, const char *name)
{
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                if (!s->removed && strcmp(s->name, name) == 0)
                        return s;
        return NULL;
}

static HubSink *sink_by_name(Hub *h, const char *name)
{
        HubSink *k;
        LIST_FOREACH (k, &h->sinks, link)
                if (!k->removed && strcmp(k->name, name) == 0)
                        return k;
        return NULL;
}

static int source_new(Hub *h, const char *name, HubSource **ret)
{
        HubSource *s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->hub = h;
        (void)snprintf(s->name, sizeof(s->name), "%s", name);
        child_init(&s->child, h, s, -1);
        int r = record_origin_init(&s->origin, h->hostname, name);
        if (r >= 0)
                r = store_intern(batch_txn(h), STORE_SOURCE, name, &s->number);
        if (r < 0) {
                free(s);
                return r;
        }
        LIST_INSERT_HEAD(&h->sources, s, link);
        *ret = s;
        return 0;
}

static int sink_new(Hub *h, const char *name, unsigned index, HubSink **ret)
{
        HubSink *k = calloc(1, sizeof(*k));
        uint32_t number;
        if (!k)
                return -ENOMEM;
        int r = store_intern(batch_txn(h), STORE_SINK, name, &number);
        if (r < 0) {
                free(k);
                return r;
        }
        k->hub = h;
        k->index = index;
        k->number = (uint16_t)number;
        k->endpoint = ++h->next_endpoint;
        k->generation = 1;
        (void)snprintf(k->name, sizeof(k->name), "%s", name);
        TAILQ_INIT(&k->ready);
        TAILQ_INIT(&k->out);
        TAILQ_INIT(&k->settling);
        LIST_INSERT_HEAD(&h->sinks, k, link);
        *ret = k;
        return 0;
}

static void source_free(HubSource *s)
{
        child_clear(&s->child);
        LIST_REMOVE(s, link);
        free(s);
}

// Sources whose process has ended after they left the configuration.
static void sources_sweep(Hub *h)
{
        HubSource *s = LIST_FIRST(&h->sources), *next;
        for (; s; s = next) {
                next = LIST_NEXT(s, link);
                if (s->removed && s->child.state == CHILD_DOWN)
                        source_free(s);
        }
}

static void sink_remove(HubSink *k)
{
        k->removed = true;
        Delivery *d, *next;
        TAILQ_FOREACH (d, &k->out, link) {
                AttemptSlot *slot = &k->hub->slots[d->slot];
                message_put_u64(link_begin(slot->child->link, MESSAGE_CANCEL), slot->ticket);
                if (link_end(slot->child->link, true) < 0)
                        child_kill(slot->child, "it does not read what it is told");
        }
        queue_drop_memory(k);
        // The slots of what is out are forgotten: a late verdict finds nobody, what was delivered
        // is sent once more should the sink come back, with the same id.
        for (d = TAILQ_FIRST(&k->out); d; d = next) {
                next = TAILQ_NEXT(d, link);
                k->hub->slots[d->slot].delivery = NULL;
                HASH_DELETE(hh, k->by_key, d);
                free(d);
        }
        sd_event_source_disable_unref(k->timer);
        LIST_REMOVE(k, link);
        free(k);
}

static bool sink_differs(const ConfigSink *a, const ConfigSink *b)
{
        return strcmp(a->module->description->name, b->module->description->name) != 0 ||
               !json_equal(a->options, b->options);
}

static bool source_same(const ConfigSource *a, const ConfigSource *b)
{
        return strcmp(a->module->description->name, b->module->description->name) == 0 &&
               json_equal(a->options, b->options);
}

static int apply_sinks(Hub *h, const Config *c, HubSink **sink_of)
{
        for (unsigned i = 0; i < c->n_sinks; i++) {
                HubSink *k = sink_by_name(h, c->sinks[i].name);
                if (!k) {
                        int r = sink_new(h, c->sinks[i].name, i, &k);
                        if (r < 0)
                                return r;
                }
                sink_of[i] = k;
        }
        return 0;
}

static int apply_sources(Hub *h, const Config *c, HubSource **source_of)
{
        for (unsigned i = 0; i < c->n_sources; i++) {
                HubSource *s = source_by_name(h, c->sources[i].name);
                if (!s) {
                        int r = source_new(h, c->sources[i].name, &s);
                        if (r < 0)
                                return r;
                }
                source_of[i] = s;
        }
        return 0;
}

// The point of no return: indexes, configuration and rules change together, then the processes
// follow.
static void apply_switch(
        Hub *h, Config *c, RuleSet *rules, HubSource **source_of, HubSink **sink_of)
{
        Config *old = h->config;
        HubSource *s, *s_next;
        for (s = LIST_FIRST(&h->sources); s; s = s_next) {
                s_next = LIST_NEXT(s, link);
                bool kept = false;
                for (unsigned i = 0; i < c->n_sources && !kept; i++)
                        kept = source_of[i] == s;
                if (!kept && !s->removed) {
                        log_notice("source %s left the configuration; its position is kept until: "
                                   "belfry source forget %s",
                                s->name, s->name);
                        s->removed = true;
                        child_stop(&s->child);
                }
        }
        HubSink *k, *k_next;
        for (k = LIST_FIRST(&h->sinks); k; k = k_next) {
                k_next = LIST_NEXT(k, link);
                bool kept = false;
                for (unsigned i = 0; i < c->n_sinks && !kept; i++)
                        kept = sink_of[i] == k;
                if (!kept)
                        sink_remove(k);
        }
        free(h->source_of);
        free(h->sink_of);
        h->source_of = source_of;
        h->sink_of = sink_of;
        h->config = c;
        if (h->rules)
                ruleset_counts_carry(rules, h->rules);
        RuleSet *old_rules = h->rules;
        h->rules = rules;
        for (unsigned i = 0; i < c->n_sinks; i++) {
                k = sink_of[i];
                bool fresh = !old || k->index >= old->n_sinks ||
                             strcmp(old->sinks[k->index].name, k->name) != 0;
                bool changed = !fresh && sink_differs(&old->sinks[k->index], &c->sinks[i]);
                k->index = i;
                if (changed) {
                        k->generation++;
                        pool_send_endpoint(k);
                        if (k->hold.held)
                                k->hold.until_boot =
                                        0; // perhaps the change was the cure: probe now
                }
        }
        for (unsigned i = 0; i < c->n_sources; i++) {
                s = source_of[i];
                bool known = old && s->index < old->n_sources &&
                             strcmp(old->sources[s->index].name, s->name) == 0 &&
                             s->child.state != CHILD_DOWN;
                bool same = known && source_same(&old->sources[s->index], &c->sources[i]);
                s->index = i;
                s->child.config_failure = false;
                if (known && !same)
                        child_stop(&s->child); // born again with the new options once it has ended
                else if (!known)
                        child_birth(&s->child);
        }
        (void)ruleset_free(old_rules);
        (void)config_free(old);
}

static void apply_pool(Hub *h)
{
        if (h->n_pool == 0)
                h->n_pool = (unsigned)h->config->limits.sink_processes;
        for (unsigned i = 0; i < h->n_pool && h->config->n_sinks > 0; i++) {
                child_check_cage(&h->pool[i]);
                if (h->pool[i].state == CHILD_DOWN && !h->pool[i].restart_timer)
                        child_birth(&h->pool[i]);
        }
        static const int levels[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};
        if (h->config->log.level >= 0 && h->config->log.level < (int)N_ELEMENTS(levels))
                log_set_max_level(levels[h->config->log.level]);
}

int hub_apply(Hub *h, Config *c, RuleSet *rules, Reason *reason)
{
        sources_sweep(h);
        HubSource **source_of = calloc(c->n_sources + 1, sizeof(*source_of));
        HubSink **sink_of = calloc(c->n_sinks + 1, sizeof(*sink_of));
        if (!source_of || !sink_of) {
                free(source_of);
                free(sink_of);
                return reason_set(reason, -ENOMEM, "out of memory");
        }
        HubSink *before = LIST_FIRST(&h->sinks);
        int r = apply_sinks(h, c, sink_of);
        if (r >= 0)
                r = apply_sources(h, c, source_of);
        for (unsigned i = 0; r >= 0 && i < c->n_rules; i++) {
                uint32_t number = rule_hash(c->rules[i].name);
                r = store_intern(batch_txn(h), STORE_RULE, c->rules[i].name, &number);
        }
        if (r < 0) {
                free(source_of);
                free(sink_of);
                return reason_errno(
                        reason, r, "cannot register the names of the configuration in the store");
        }
        commands_keep_options(h, c);
        // No commit before the switch: what follows a commit looks at the sinks through the configuration.
        apply_switch(h, c, rules, source_of, sink_of);
        HubSink *k;
        LIST_FOREACH (k, &h->sinks, link) {
                if (k == before)
                        break; // new ones stand in front
                sink_load_flags(k);
                r = queue_load(k);
                if (r < 0)
                        return reason_errno(reason, r, "cannot read the queue of sink %s", k->name);
                pool_send_endpoint(k);
        }
        apply_pool(h);
        control_roles_apply(h);
        doors_apply(h);
        if (batch_try_commit(h) < 0) { // names in use that the store does not know
                log_write(LOG_CRIT, &(LogFields){.message_id = MESSAGE_ID_STORE},
                        "the names of the configuration did not fit into the store: restarting "
                        "from "
                        "what is durable");
                _exit(EXIT_FAILURE);
        }
        pressure_apply(h);
        dispatch_wake(h);
        hub_notify(h);
        return 0;
}

static int reload_check_owed(Hub *h, const Config *c, const ReloadOptions *o, Reason *reason)
{
        HubSink *k;
        if (o->park && o->drop)
                return reason_set(
                        reason, -EINVAL, "--park keeps what --drop discards: which is it?");
        if (o->park || o->drop)
                return 0;
        LIST_FOREACH (k, &h->sinks, link) {
                bool kept = false;
                for (unsigned i = 0; i < c->n_sinks && !kept; i++)
                        kept = strcmp(c->sinks[i].name, k->name) == 0;
                SinkUsage u;
                store_sink_usage(h->store, k->number, &u);
                if (!kept && u.deliveries)
                        return reason_set(reason, -EBUSY,
                                "sink %s would go, but is still owed %llu deliveries: reload with "
                                "--park (keep them until it is back) or --drop (discard them)",
                                k->name, (unsigned long long)u.deliveries);
        }
        return 0;
}

static int reload_check_world(
        Hub *h, const Config *c, const ReloadOptions *o, Diagnostics *d, Reason *reason)
{
        unsigned n = foresee(h, c, d);
        if (n == 0 || o->force)
                return 0;
        return reason_set(reason, -EBUSY,
                "%u thing%s would newly be degraded; nothing was changed: mend %s, or force it "
                "with "
                "belfry reload --force",
                n, n == 1 ? "" : "s", n == 1 ? "it" : "them");
}

// What a source leaves behind elsewhere is nobody's any more: who gives it back is said now.
static void tell_left_behind(const Config *before, const Config *after, Diagnostics *d)
{
        for (size_t i = 0; i < before->n_sources; i++) {
                const ConfigSource *s = &before->sources[i];
                const ModuleDescription *m = s->module->description;
                bool kept = false;
                for (size_t k = 0; k < after->n_sources && !kept; k++)
                        kept = strcmp(after->sources[k].name, s->name) == 0;
                for (size_t k = 0; k < m->n_commands && !kept; k++) {
                        const SourceCommand *c = &m->commands[k];
                        char path[LIMIT_NAME + 16];
                        if (!c->leaves)
                                continue;
                        (void)snprintf(path, sizeof(path), "sources.%s", s->name);
                        diagnose(d, SEVERITY_WARNING, (Place){0}, path,
                                "%s until: belfry source %s %s", c->leaves, c->verb, s->name);
                        log_warning("source %s: %s until: belfry source %s %s", s->name, c->leaves,
                                c->verb, s->name);
                }
        }
}

int hub_reload(Hub *h, const ReloadOptions *o, Diagnostics *d, Reason *reason)
{
        Config *c = NULL;
        RuleSet *rules = NULL;
        int r = config_load(&c, h->config_path, h->module_dir, d);
        if (r >= 0)
                r = ruleset_new(&rules, c, d);
        if (r < 0) {
                (void)config_free(c);
                return reason_set(
                        reason, -EINVAL, "the configuration has faults; nothing was changed");
        }
        batch_commit(h);
        if (c->store.size != h->config->store.size)
                diagnose(d, SEVERITY_WARNING, (Place){0}, "store.size",
                        "takes effect with the next restart");
        r = reload_check_world(h, c, o, d, reason);
        if (r >= 0)
                r = reload_check_owed(h, c, o, reason);
        if (r >= 0) {
                tell_left_behind(h->config, c, d);
                r = hub_apply(h, c, rules, reason);
        }
        if (r < 0) {
                if (h->config != c) {
                        (void)ruleset_free(rules);
                        (void)config_free(c);
                }
                return r;
        }
        if (o->drop)
                parked_drop(h, d); // now that nothing of them is in memory or on its way
        log_write(LOG_NOTICE, &(LogFields){.message_id = MESSAGE_ID_RELOADED},
                "configuration reloaded: %zu source%s, %zu sink%s, %zu rule%s", c->n_sources,
                c->n_sources == 1 ? "" : "s", c->n_sinks, c->n_sinks == 1 ? "" : "s", c->n_rules,
                c->n_rules == 1 ? "" : "s");
        return 0;
}
