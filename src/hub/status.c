// SPDX-License-Identifier: MIT
// What status says, as one JSON object, and the short form for the service manager. The word of the
// daemon's state stands in "state" and nowhere else: a source's own state is "ready".
#include "hub/status.h"

#include "base/clock.h"
#include "hub/child.h"
#include "hub/control_methods.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "hub/reload.h"
#include "module/verdict.h"
#include "store/read.h"
#include <systemd/sd-daemon.h>

static void set_time(json_t *o, const char *key, uint64_t usec)
{
        char text[CLOCK_RFC3339_MAX];
        (void)json_object_set_new(
                o, key, usec ? json_string(clock_rfc3339(usec, text)) : json_null());
}

static void set_u64(json_t *o, const char *key, uint64_t n)
{
        (void)json_object_set_new(o, key, json_integer((json_int_t)n));
}

static void set_text(json_t *o, const char *key, const char *text)
{
        (void)json_object_set_new(o, key, text && text[0] ? json_string(text) : json_null());
}

static void set_child(json_t *o, const HubChild *c)
{
        set_u64(o, "pid", (uint64_t)c->pid);
        set_u64(o, "restarts", c->deaths);
        set_text(o, "last_death", c->last_death);
        set_u64(o, "log_dropped", c->log_dropped);
        set_text(o, "reason", c->reason);
}

static const char *source_state(const HubSource *s)
{
        if (s->paused && s->child.state >= CHILD_STARTED && s->child.state != CHILD_STOPPING)
                return "paused"; // also before its first comparison is over
        if (s->degraded[0] && s->child.state >= CHILD_STARTED && s->child.state != CHILD_STOPPING)
                return "degraded"; // also one that has never been ready, such as for want of a server
        return child_state_to_string(&s->child);
}

static json_t *source_status(const HubSource *s)
{
        json_t *o = json_object();
        const ConfigSource *c = &s->hub->config->sources[s->index];
        set_text(o, "name", s->name);
        set_text(o, "module", c->module->description->name);
        set_text(o, "state", source_state(s));
        set_child(o, &s->child);
        if (s->degraded[0])
                set_text(o, "reason", s->degraded);
        set_u64(o, "events", s->events);
        set_u64(o, "unmatched", s->unmatched);
        set_time(o, "last_event", s->last_event_usec);
        set_u64(o, "state_bytes", store_state_bytes(s->hub->store, s->number));
        (void)json_object_set(o, "watches",
                s->child.stats ? s->child.stats : json_object_get(c->options, "paths"));
        return o;
}

static const char *sink_state(const HubSink *k)
{
        return k->disabled             ? "disabled"
               : k->paused             ? "paused"
               : k->endpoint_reason[0] ? "unusable"
               : k->hold.held          ? "held"
               : k->full               ? "full"
                                       : "ready";
}

static uint64_t sink_oldest(HubSink *k, uint64_t seq)
{
        StoreEvent e;
        uint64_t usec = 0;
        if (seq == 0 || store_read_begin(k->hub->store) < 0)
                return 0;
        if (store_get_event(k->hub->store, seq, &e) == 0)
                usec = e.stored_usec;
        store_read_end(k->hub->store);
        return usec;
}

static json_t *sink_status(HubSink *k)
{
        json_t *o = json_object();
        SinkUsage u;
        store_sink_usage(k->hub->store, k->number, &u);
        set_text(o, "name", k->name);
        set_text(o, "module", k->hub->config->sinks[k->index].module->description->name);
        set_text(o, "state", sink_state(k));
        set_text(o, "reason",
                k->endpoint_reason[0] ? k->endpoint_reason
                : k->disabled         ? "the endpoint answered 410 Gone"
                : k->hold.held        ? k->last_detail
                                      : NULL);
        // Of a module that has this option: whoever looks should see that nobody checks who answers.
        const json_t *verify = json_object_get(k->hub->config->sinks[k->index].options, "verify");
        if (json_is_boolean(verify))
                (void)json_object_set_new(o, "verify", json_boolean(json_is_true(verify)));
        set_u64(o, "depth", u.deliveries);
        set_u64(o, "bytes", u.bytes);
        set_u64(o, "share", k->hub->config->sinks[k->index].policy.queue.size);
        set_time(o, "oldest", u.deliveries ? sink_oldest(k, u.oldest_seq) : 0);
        set_u64(o, "in_flight", k->n_out);
        set_u64(o, "delivered", k->delivered);
        set_u64(o, "failed", k->failed);
        set_u64(o, "dead", k->dead);
        set_time(o, "last_success", k->last_success_usec);
        set_time(o, "last_failure", k->last_failure_usec);
        if (k->last_failure_usec) {
                set_text(o, "last_class", verdict_class_to_string(k->last_class));
                set_u64(o, "last_status", k->last_status);
                set_text(o, "last_detail", k->last_detail);
                set_text(o, "advice", verdict_policy(k->last_class)->advice);
        }
        return o;
}

static json_t *rules_status(const Hub *h)
{
        json_t *list = json_array();
        for (unsigned i = 0; i < h->config->n_rules; i++) {
                RuleCounts n = ruleset_counts(h->rules, i);
                json_t *o = json_object();
                set_text(o, "name", h->config->rules[i].name);
                set_u64(o, "matched", n.matched);
                set_u64(o, "unmatched", n.seen - n.matched);
                set_u64(o, "failed", n.failed);
                (void)json_array_append_new(list, o);
        }
        return list;
}

static json_t *store_status(const Hub *h, const StoreUsage *u)
{
        json_t *o = json_object();
        set_u64(o, "size", u->size);
        set_u64(o, "used", u->used);
        set_u64(o, "events", u->events);
        set_u64(o, "event_bytes", u->event_bytes);
        set_u64(o, "dead", u->dead);
        set_u64(o, "dead_bytes", u->dead_bytes);
        set_u64(o, "ledger_bytes", u->ledger_bytes);
        set_u64(o, "quarantined", u->quarantined);
        set_u64(o, "commits", u->commits);
        set_u64(o, "refused", h->refused_ever);
        (void)json_object_set_new(o, "paused", json_boolean(h->all_paused));
        return o;
}

// What degrades the daemon and belongs to no source and no sink: a sentence each.
static json_t *problems(Hub *h, const StoreUsage *u)
{
        json_t *list = json_array();
        const char *unknown = control_unknown(h);
        if (unknown[0])
                (void)json_array_append_new(list,
                        json_sprintf("control: no such user or group: %s; create it or correct the "
                                     "configuration, then: belfry reload",
                                unknown));
        for (unsigned i = 0; i < h->n_pool && h->config->n_sinks; i++)
                if (h->pool[i].state != CHILD_READY && h->pool[i].reason[0])
                        (void)json_array_append_new(
                                list, json_sprintf("%s is not there: %s", child_title(&h->pool[i]),
                                              h->pool[i].reason));
        if (h->all_paused)
                (void)json_array_append_new(
                        list, json_string("the store is full: all sources wait until "
                                          "something is delivered or dropped"));
        for (unsigned i = 0; i < h->poison.n_letters; i++)
                (void)json_array_append_new(list,
                        json_sprintf(
                                "belfryd died three times at an event: it is quarantined as dead "
                                "letter %llu; after an upgrade: belfry dead retry %llu, or "
                                "belfry dead drop %llu",
                                (unsigned long long)h->poison.letters[i],
                                (unsigned long long)h->poison.letters[i],
                                (unsigned long long)h->poison.letters[i]));
        if (u->quarantined)
                (void)json_array_append_new(list,
                        json_sprintf("%llu damaged row%s of the store set aside; the log says "
                                     "which, what they were may be missing",
                                (unsigned long long)u->quarantined,
                                u->quarantined == 1 ? " is" : "s are"));
        return list;
}

static bool hub_degraded(Hub *h, bool *ret_starting)
{
        bool degraded = false;
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link) {
                if (s->removed)
                        continue;
                if (s->child.state != CHILD_READY && !s->child.reason[0] && s->child.deaths == 0 &&
                        !s->degraded[0])
                        *ret_starting = true;
                else if (s->child.state != CHILD_READY || s->degraded[0])
                        degraded = true;
        }
        for (unsigned i = 0; i < h->n_pool && h->config->n_sinks; i++) {
                if (h->pool[i].state == CHILD_READY)
                        continue;
                if (h->pool[i].reason[0] || h->pool[i].deaths)
                        degraded = true;
                else
                        *ret_starting = true;
        }
        HubSink *k;
        LIST_FOREACH (k, &h->sinks, link)
                degraded |= k->disabled || k->endpoint_reason[0] || k->hold.held || k->full;
        StoreUsage u;
        store_usage(h->store, &u);
        return degraded || u.open_gaps || u.quarantined || h->poison.n_letters || h->all_paused ||
               control_unknown(h)[0];
}

const char *hub_state_word(Hub *h)
{
        bool starting = false;
        if (h->state == HUB_STOPPING)
                return "stopping";
        bool degraded = hub_degraded(h, &starting);
        return degraded                               ? "degraded"
               : starting || h->state == HUB_STARTING ? "starting"
                                                      : "running";
}

static void set_processes(json_t *root, Hub *h)
{
        json_t *list = json_array();
        for (unsigned i = 0; i <= h->n_pool && h->n_pool; i++) {
                if (i == h->n_pool && h->pool[i].state == CHILD_DOWN)
                        continue;
                json_t *o = json_object();
                set_text(o, "name", child_title(&h->pool[i]));
                set_text(o, "state", child_state_to_string(&h->pool[i]));
                set_child(o, &h->pool[i]);
                set_u64(o, "in_flight", h->pool[i].slots_used);
                (void)json_array_append_new(list, o);
        }
        (void)json_object_set_new(root, "sink_processes", list);
}

static int parked_status(Hub *h, const ParkedSink *p, void *userdata)
{
        json_t *o = json_object();
        set_text(o, "name", p->name);
        set_u64(o, "depth", p->usage.deliveries);
        set_u64(o, "bytes", p->usage.bytes);
        (void)json_array_append_new(userdata, o);
        return 0;
}

json_t *hub_status(Hub *h)
{
        json_t *root = json_object(), *sources = json_array(), *sinks = json_array(),
               *parked = json_array();
        StoreUsage u;
        poison_look(h);
        store_usage(h->store, &u);
        set_text(root, "state", hub_state_word(h));
        set_text(root, "version", BELFRY_VERSION);
        set_u64(root, "pid", (uint64_t)getpid());
        set_time(root, "since", h->started_wall);
        set_text(root, "config", h->config_path);
        for (unsigned i = 0; i < h->config->n_sources; i++)
                (void)json_array_append_new(sources, source_status(h->source_of[i]));
        for (unsigned i = 0; i < h->config->n_sinks; i++)
                (void)json_array_append_new(sinks, sink_status(h->sink_of[i]));
        (void)json_object_set_new(root, "sources", sources);
        (void)json_object_set_new(root, "sinks", sinks);
        (void)parked_each(h, h->config, parked_status, parked);
        (void)json_object_set_new(root, "parked", parked);
        (void)json_object_set_new(root, "rules", rules_status(h));
        set_processes(root, h);
        (void)json_object_set_new(root, "store", store_status(h, &u));
        (void)json_object_set_new(root, "problems", problems(h, &u));
        set_u64(root, "gaps", u.open_gaps);
        set_u64(root, "dead", u.dead);
        if (h->config->n_rules == 0)
                set_text(root, "hint",
                        "no rules yet: declare sources, sinks and rules in the configuration (man "
                        "belfry.conf), then: belfry check && belfry reload");
        else if (u.open_gaps)
                set_text(root, "hint",
                        "something may have gone unreported: belfry gaps, then: belfry gaps ack");
        return root;
}

void hub_notify(Hub *h)
{
        StoreUsage u;
        unsigned ready = 0;
        const char *word = hub_state_word(h);
        store_usage(h->store, &u);
        for (unsigned i = 0; h->source_of && i < h->config->n_sources; i++)
                ready += h->source_of[i]->child.state == CHILD_READY;
        char line[sizeof(h->status_line)];
        (void)snprintf(line, sizeof(line), "%s: %u of %zu sources ready, %zu sinks, %zu rules",
                word, ready, h->config->n_sources, h->config->n_sinks, h->config->n_rules);
        if (strcmp(line, h->status_line) == 0)
                return;
        memcpy(h->status_line, line, sizeof(line));
        (void)sd_notifyf(0, "STATUS=%s", line);
}
