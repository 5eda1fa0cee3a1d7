// SPDX-License-Identifier: MIT
// The methods of io.belfry.Control that look at or change the hub's own objects: status, lists,
// sinks, sources, reload. What they say is documented in io.belfry.Control.varlink; a unit test
// compares that file with the table here.
#include "hub/control_methods.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "hub/commands.h"
#include "hub/commit.h"
#include "hub/control_internal.h"
#include "hub/dispatch.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "hub/judge.h"
#include "hub/reload.h"
#include "hub/status.h"
#include "module/verdict.h"
#include "store/read.h"
#include <errno.h>

// ---- small things the bodies share

void control_set(json_t *o, const char *key, json_t *value)
{
        (void)json_object_set_new(o, key, value);
}

json_t *control_json_time(uint64_t usec)
{
        char text[CLOCK_RFC3339_MAX];
        return usec ? json_string(clock_rfc3339(usec, text)) : json_null();
}

json_t *control_json_text(Slice s)
{
        json_t *v = json_stringn(s.data ? s.data : "", s.len);
        if (v)
                return v;
        // Not UTF-8: through the writer that replaces what is wrong, and back.
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(6 * s.len + 8);
        JsonWriter w = json_writer(&b);
        json_add_string(&w, s);
        return b.error ? json_null() : json_loadb((char *)b.data, b.len, JSON_DECODE_ANY, NULL);
}

static HubSink *find_sink(Hub *h, const char *name)
{
        for (size_t i = 0; i < h->config->n_sinks; i++)
                if (strcmp(h->sink_of[i]->name, name) == 0)
                        return h->sink_of[i];
        return NULL;
}

static int no_such_sink(ControlCall *c, Hub *h, const char *name)
{
        const char *names[LIMIT_SINKS];
        size_t n = 0;
        for (size_t i = 0; i < h->config->n_sinks && n < N_ELEMENTS(names); i++)
                names[n++] = h->config->sinks[i].name;
        const char *near = text_nearest(slice_of(name), names, n);
        return control_fail(c, "NotFound", "there is no sink \"%.64s\"%s%s%s", name,
                near ? " (did you mean \"" : "", near ? near : "",
                near ? "\"?)" : "; see: belfry sinks");
}

// ---- looking

static int run_status(ControlCall *c, void *userdata)
{
        json_t *status = hub_status(userdata);
        return status ? control_reply(c, status) : -ENOMEM;
}

static int reply_part(ControlCall *c, Hub *h, const char *part)
{
        json_t *status = hub_status(h);
        json_t *list = json_object_get(status, part), *answer = json_object();
        if (list)
                (void)json_object_set(answer, part, list);
        json_decref(status);
        return control_reply(c, answer);
}

static int run_sources(ControlCall *c, void *userdata)
{
        return reply_part(c, userdata, "sources");
}

static int run_sinks(ControlCall *c, void *userdata)
{
        return reply_part(c, userdata, "sinks");
}

static int run_rules(ControlCall *c, void *userdata)
{
        Hub *h = userdata;
        json_t *status = hub_status(h), *rules = json_object_get(status, "rules");
        // What a list shows beyond the counters: where from and where to.
        for (size_t i = 0; i < h->config->n_rules && i < json_array_size(rules); i++) {
                const ConfigRule *r = &h->config->rules[i];
                json_t *o = json_array_get(rules, i), *from = json_array(), *to = json_array();
                for (char **p = r->from; p && *p; p++)
                        (void)json_array_append_new(from, json_string(*p));
                for (char **p = r->to; p && *p; p++)
                        (void)json_array_append_new(to, json_string(*p));
                control_set(o, "from", from);
                control_set(o, "to", to);
                control_set(o, "when",
                        r->when.text ? control_json_text(slice_of(r->when.text)) : json_null());
                control_set(o, "enabled", json_boolean(r->enabled));
        }
        json_t *answer = json_object();
        if (rules)
                (void)json_object_set(answer, "rules", rules);
        json_decref(status);
        return control_reply(c, answer);
}

static int run_modules(ControlCall *c, void *userdata)
{
        const Hub *h = userdata;
        json_t *list = json_array();
        for (size_t i = 0; i < h->config->n_modules; i++) {
                const ConfigModule *m = &h->config->modules[i];
                const ModuleDescription *d = m->description;
                json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", d->name, "kind",
                        d->kind == MODULE_SOURCE ? "source" : "sink", "version", d->version,
                        "build", d->build, "program", m->program_path, "summary",
                        d->summary ? d->summary : "");
                json_t *commands = json_array();
                for (size_t k = 0; k < d->n_commands; k++)
                        (void)json_array_append_new(commands,
                                json_pack("{s:s, s:s, s:s, s:b, s:b}", "verb", d->commands[k].verb,
                                        "argument",
                                        d->commands[k].argument ? d->commands[k].argument : "",
                                        "prose", d->commands[k].prose, "after_removal",
                                        d->commands[k].after_removal, "looks_only",
                                        d->commands[k].looks_only));
                control_set(o, "commands", commands);
                (void)json_array_append_new(list, o);
        }
        return control_reply(c, json_pack("{s:o}", "modules", list));
}

// ---- sinks

static int run_sink_pause(ControlCall *c, void *userdata)
{
        const char *name = control_get_string(c, "name", "");
        HubSink *k = find_sink(userdata, name);
        if (!k)
                return no_such_sink(c, userdata, name);
        sink_set_paused(k, true);
        log_write(LOG_NOTICE, &(LogFields){.instance = k->name}, "sink %s was paused by uid %u",
                k->name, control_uid(c));
        return control_reply(c, NULL);
}

static int run_sink_resume(ControlCall *c, void *userdata)
{
        const char *name = control_get_string(c, "name", "");
        HubSink *k = find_sink(userdata, name);
        if (!k)
                return no_such_sink(c, userdata, name);
        sink_resume(k);
        log_write(LOG_NOTICE, &(LogFields){.instance = k->name}, "sink %s was resumed by uid %u",
                k->name, control_uid(c));
        return control_reply(c, NULL);
}

// The client may be gone before the verdict comes: only its ticket is kept.
typedef struct PingWait {
        Hub *hub;
        uint64_t ticket;
} PingWait;

static void on_ping_done(const MessageVerdict *v, void *userdata)
{
        PingWait *w = userdata;
        Hub *h = w->hub;
        ControlCall *c = h->control ? control_find(h->control, w->ticket) : NULL;
        free(w);
        if (!c)
                return;
        if (!v) {
                (void)control_fail(c, "Failed", "the sink process ended before it answered");
                return;
        }
        const VerdictPolicy *p = verdict_policy(v->class);
        json_t *o = json_object();
        control_set(o, "class", json_string(p->name));
        control_set(o, "delivered", json_boolean(v->class == VERDICT_DELIVERED));
        control_set(o, "status", json_integer(v->status));
        control_set(o, "detail", control_json_text(v->detail));
        control_set(o, "advice", json_string(p->advice ? p->advice : ""));
        control_set(o, "total_usec", json_integer((json_int_t)v->total_usec));
        control_set(o, "connect_usec", json_integer((json_int_t)v->connect_usec));
        control_set(o, "first_byte_usec", json_integer((json_int_t)v->first_byte_usec));
        control_set(o, "trace", control_json_text(v->trace));
        (void)control_reply(c, o);
}

static int run_sink_ping(ControlCall *c, void *userdata)
{
        const char *name = control_get_string(c, "name", "");
        HubSink *k = find_sink(userdata, name);
        if (!k)
                return no_such_sink(c, userdata, name);
        PingWait *w = malloc(sizeof(*w));
        if (!w)
                return -ENOMEM;
        *w = (PingWait){userdata, control_ticket(c)};
        Reason reason = {};
        int r = sink_ping(k, on_ping_done, w, &reason);
        if (r < 0) {
                free(w);
                return control_fail(c, "Refused", "cannot ping %s: %s", name,
                        reason.text[0] ? reason.text : strerror(-r));
        }
        return 0;
}

// ---- sources

typedef struct Forget {
        Hub *hub;
        uint32_t number;
        char name[LIMIT_NAME + 1];
} Forget;

static int forget_step(ControlCall *c, void *state)
{
        Forget *f = state;
        int r = store_forget_source(batch_txn(f->hub), f->number);
        if (r == 0)
                commands_forget_options(f->hub, f->name);
        int committed = batch_try_commit(f->hub);
        if (r < 0 || committed < 0)
                return r < 0 ? r : committed;
        return r > 0 ? control_continue(c, json_pack("{s:b}", "done", 0))
                     : control_reply(c, json_pack("{s:b}", "done", 1));
}

static int run_source_forget(ControlCall *c, void *userdata)
{
        Hub *h = userdata;
        const char *name = control_get_string(c, "name", "");
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link) {
                if (strcmp(s->name, name) != 0)
                        continue;
                if (!s->removed)
                        return control_fail(c, "Refused",
                                "source %s is in the configuration: take it out and reload first",
                                name);
                if (s->child.state != CHILD_DOWN)
                        return control_fail(
                                c, "Busy", "source %s is still stopping, try again", name);
        }
        Forget *f = malloc(sizeof(*f));
        if (!f)
                return -ENOMEM;
        f->hub = h;
        (void)snprintf(f->name, sizeof(f->name), "%s", name);
        int r = store_read_begin(h->store);
        if (r >= 0) {
                r = store_lookup(h->store, STORE_SOURCE, name, &f->number);
                store_read_end(h->store);
        }
        if (r < 0) {
                free(f);
                return r == -ENOENT ? control_fail(c, "NotFound",
                                              "no source \"%.64s\" was ever known here", name)
                                    : r;
        }
        log_write(LOG_NOTICE, &(LogFields){.instance = name}, "source %s is forgotten, by uid %u",
                name, control_uid(c));
        control_set_step(c, forget_step, f, free);
        return 0;
}

// ---- configuration

static json_t *diagnostics_json(const Diagnostics *d)
{
        json_t *list = json_array();
        for (unsigned i = 0; i < d->n; i++) {
                const Diagnostic *g = &d->list[i];
                json_t *o = json_object();
                control_set(o, "severity",
                        json_string(g->severity == SEVERITY_ERROR ? "error" : "warning"));
                control_set(o, "file",
                        g->place.file ? control_json_text(slice_of(g->place.file)) : json_null());
                control_set(o, "line", json_integer(g->place.line));
                control_set(o, "column", json_integer(g->place.column));
                control_set(o, "path", control_json_text(slice_of(g->path)));
                control_set(o, "message", control_json_text(slice_of(g->message)));
                (void)json_array_append_new(list, o);
        }
        return list;
}

static int run_reload(ControlCall *c, void *userdata)
{
        Hub *h = userdata;
        ReloadOptions o = {
                .force = control_get_bool(c, "force", false),
                .park = control_get_bool(c, "park", false),
                .drop = control_get_bool(c, "drop", false),
        };
        Diagnostics d = {};
        Reason reason = {};
        int r = hub_reload(h, &o, &d, &reason);
        json_t *list = diagnostics_json(&d);
        bool text_fault = d.n_errors > 0;
        diagnostics_deinit(&d);
        if (r >= 0)
                return control_reply(c, json_pack("{s:o, s:I, s:I, s:I}", "diagnostics", list,
                                                "sources", (json_int_t)h->config->n_sources,
                                                "sinks", (json_int_t)h->config->n_sinks, "rules",
                                                (json_int_t)h->config->n_rules));
        const char *why = reason.text[0] ? reason.text : strerror(-r);
        return control_fail_with(c, text_fault ? "ConfigRefused" : "Refused",
                json_pack("{s:o, s:o}", "message", control_json_text(slice_of(why)), "diagnostics",
                        list));
}

// What the text cannot show: instances whose world is not as it should be.
static json_t *live_problems(Hub *h)
{
        json_t *status = hub_status(h), *list = json_array();
        static const char *const parts[] = {"sources", "sinks"};
        for (size_t p = 0; p < N_ELEMENTS(parts); p++) {
                size_t i;
                json_t *one;
                json_array_foreach(json_object_get(status, parts[p]), i, one)
                {
                        if (!json_is_string(json_object_get(one, "reason")))
                                continue;
                        json_t *o = json_object();
                        (void)json_object_set(o, "name", json_object_get(one, "name"));
                        (void)json_object_set(o, "state", json_object_get(one, "state"));
                        (void)json_object_set(o, "reason", json_object_get(one, "reason"));
                        (void)json_array_append_new(list, o);
                }
        }
        json_decref(status);
        return list;
}

static int run_check_live(ControlCall *c, void *userdata)
{
        Hub *h = userdata;
        Config *config = NULL;
        RuleSet *rules = NULL;
        Diagnostics d = {};
        int r = config_load(&config, h->config_path, h->module_dir, &d);
        if (r >= 0)
                r = ruleset_new(&rules, config, &d);
        if (r < 0 && d.n_errors == 0)
                return r; // no fault of the text
        unsigned foreseen = r < 0 ? 0 : foresee(h, config, &d);
        json_t *answer = json_pack("{s:s, s:o, s:i, s:i, s:i, s:o}", "file", h->config_path,
                "diagnostics", diagnostics_json(&d), "errors", (int)d.n_errors, "warnings",
                (int)d.n_warnings, "foreseen", (int)foreseen, "problems", live_problems(h));
        diagnostics_deinit(&d); // its places point into the configuration
        (void)ruleset_free(rules);
        (void)config_free(config);
        return control_reply(c, answer);
}

// ---- the table

static const ControlParameter parameters_name[] = {{"name", CONTROL_STRING, true}, {0}};
static const ControlParameter parameters_id[] = {{"id", CONTROL_STRING, true}, {0}};
static const ControlParameter parameters_maybe_id[] = {{"id", CONTROL_STRING, false}, {0}};
static const ControlParameter parameters_command[] = {{"name", CONTROL_STRING, true},
        {"verb", CONTROL_STRING, true}, {"argument", CONTROL_STRING, false}, {0}};
static const ControlParameter parameters_list[] = {{"sink", CONTROL_STRING, false},
        {"rule", CONTROL_STRING, false}, {"reason", CONTROL_STRING, false}, {0}};
static const ControlParameter parameters_dead[] = {{"id", CONTROL_STRING, false},
        {"all", CONTROL_BOOL, false}, {"sink", CONTROL_STRING, false},
        {"rule", CONTROL_STRING, false}, {"reason", CONTROL_STRING, false}, {0}};
static const ControlParameter parameters_tail[] = {{"filter", CONTROL_STRING, false}, {0}};
static const ControlParameter parameters_reload[] = {{"force", CONTROL_BOOL, false},
        {"park", CONTROL_BOOL, false}, {"drop", CONTROL_BOOL, false}, {0}};

const ControlMethod control_methods[] = {
        {"Status", CONTROL_READ, false, NULL, run_status},
        {"Sources", CONTROL_READ, false, NULL, run_sources},
        {"Sinks", CONTROL_READ, false, NULL, run_sinks},
        {"Rules", CONTROL_READ, false, NULL, run_rules},
        {"Modules", CONTROL_READ, false, NULL, run_modules},
        {"DeadList", CONTROL_READ, true, parameters_list, control_dead_list},
        {"DeadShow", CONTROL_READ, true, parameters_id, control_dead_show},
        {"DeadRetry", CONTROL_ADMIN, true, parameters_dead, control_dead_retry},
        {"DeadDrop", CONTROL_ADMIN, true, parameters_dead, control_dead_drop},
        {"GapsList", CONTROL_READ, false, NULL, control_gaps_list},
        {"GapsAck", CONTROL_ADMIN, false, parameters_maybe_id, control_gaps_ack},
        {"SourceForget", CONTROL_ADMIN, true, parameters_name, run_source_forget},
        {"SourceCommand", CONTROL_READ, true, parameters_command, control_source_command},
        {"SinkPause", CONTROL_ADMIN, false, parameters_name, run_sink_pause},
        {"SinkResume", CONTROL_ADMIN, false, parameters_name, run_sink_resume},
        {"SinkPing", CONTROL_ADMIN, false, parameters_name, run_sink_ping},
        {"Reload", CONTROL_ADMIN, false, parameters_reload, run_reload},
        {"CheckLive", CONTROL_ADMIN, false, NULL, run_check_live},
        {"Why", CONTROL_READ, true, parameters_id, control_why},
        {"Tail", CONTROL_READ, true, parameters_tail, control_tail},
};
const size_t n_control_methods = N_ELEMENTS(control_methods);

// ---- life

static void roles_of(const Config *c, char *const *ret[static _CONTROL_ROLE_MAX])
{
        ret[CONTROL_READ] = c->control.read;
        ret[CONTROL_INJECT] = c->control.inject;
        ret[CONTROL_ADMIN] = c->control.admin;
}

void control_roles_apply(Hub *h)
{
        if (!h->control)
                return;
        char *const *lists[_CONTROL_ROLE_MAX];
        roles_of(h->config, lists);
        _cleanup_(buf_deinitp) Buf unknown = BUF_INIT(LIMIT_LOG_TEXT);
        if (control_set_roles(h->control, lists, &unknown) < 0)
                log_error("out of memory: the roles of the control socket stay as they were");
        else if (unknown.len)
                log_warning("control: no such user or group: %s", buf_text(&unknown));
        (void)snprintf(h->control->unknown, sizeof(h->control->unknown), "%s", buf_text(&unknown));
}

void control_unknown_of(const Config *c, Buf *ret)
{
        ControlRoles made;
        char *const *lists[_CONTROL_ROLE_MAX];
        roles_of(c, lists);
        if (control_roles_init(&made, lists, ret) >= 0)
                control_roles_deinit(&made);
}

const char *control_unknown(const Hub *h)
{
        return h->control ? h->control->unknown : "";
}

int control_start(Hub *h, Reason *reason)
{
        _cleanup_(buf_deinitp) Buf path = BUF_INIT(8192);
        buf_addf(&path, "%s/control", h->runtime_dir);
        if (path.error)
                return reason_set(
                        reason, -ENAMETOOLONG, "the runtime directory's name is too long");
        ControlOptions o = {
                .path = buf_text(&path),
                .methods = control_methods,
                .n_methods = n_control_methods,
                .userdata = h,
                .priority = PRIORITY_CONTROL,
        };
        int r = control_new(&h->control, h->event, &o, reason);
        if (r >= 0)
                control_roles_apply(h);
        return r;
}

void control_stop(Hub *h)
{
        h->control = control_free(h->control);
}
