// SPDX-License-Identifier: MIT
// One call: a request is taken apart, its method and role and parameters are checked against the
// method's table, the body runs, the answer is added to the client's output.
//
// Types are checked here and once; a method body asks for a value of the type its table names and
// gets no other (a JSON string where a number belongs never reaches it). Answers are added whole or
// not at all, so a reader never sees half a message.
#include "hub/control_internal.h"

#include "base/limits.h"
#include <assert.h>
#include <errno.h>
#include <stdarg.h>

#define SERVICE "org.varlink.service"

int control_request_parse(ControlRequest *ret, Slice text, Reason *reason)
{
        json_error_t error;
        json_t *root =
                json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &error);
        if (!root)
                return reason_set(reason, -EBADMSG, "the request is not JSON: %s (at byte %d)",
                        error.text, error.position);
        ControlRequest made = {.root = root};
        json_t *method = json_object_get(root, "method"),
               *parameters = json_object_get(root, "parameters");
        json_t *more = json_object_get(root, "more"), *oneway = json_object_get(root, "oneway");
        int r = 0;
        if (!json_is_object(root) || !json_is_string(method))
                r = reason_set(reason, -EBADMSG, "a request is an object with a string \"method\"");
        else if (parameters && !json_is_object(parameters) && !json_is_null(parameters))
                r = reason_set(reason, -EBADMSG, "\"parameters\" must be an object");
        else if ((more && !json_is_boolean(more)) || (oneway && !json_is_boolean(oneway)))
                r = reason_set(reason, -EBADMSG, "\"more\" and \"oneway\" must be true or false");
        if (r < 0) {
                json_decref(root);
                return r;
        }
        made.method = json_string_value(method);
        made.parameters = json_is_object(parameters) ? parameters : NULL;
        made.more = json_is_true(more);
        made.oneway = json_is_true(oneway);
        *ret = made;
        return 0;
}

void control_request_deinit(ControlRequest *r)
{
        json_decref(r->root);
        *r = (ControlRequest){};
}

void control_call_end(ControlCall *c)
{
        if (!c->active)
                return;
        c->active = false;
        void (*free_state)(void *) = c->free_state;
        void *state = c->state;
        c->step = NULL;
        c->state = NULL;
        c->free_state = NULL;
        control_request_deinit(&c->request);
        if (free_state)
                free_state(state);
}

// ---- answers

// Adds prefix, an object's text, suffix and the NUL: all or nothing. Returns -ENOBUFS over `limit`.
static int add_message(
        Client *c, const char *prefix, Slice object, const char *suffix, size_t limit)
{
        if (c->broken)
                return -EPIPE;
        size_t before = c->out.len, len = strlen(prefix) + object.len + strlen(suffix) + 1;
        if (len > limit || before > limit - len)
                return -ENOBUFS;
        buf_add_str(&c->out, prefix);
        buf_add_slice(&c->out, object);
        buf_add_str(&c->out, suffix);
        buf_add_char(&c->out, '\0');
        if (c->out.error) { // out of memory: this client goes, the hub stays
                c->broken = true;
                control_wake(c);
                return -ENOMEM;
        }
        control_wake(c);
        return 0;
}

static int add_object(
        Client *c, const char *prefix, json_t *values, const char *suffix, size_t limit)
{
        _cleanup_(freep) char *text = values ? json_dumps(values, JSON_COMPACT) : strdup("{}");
        json_decref(values);
        if (!text)
                return -ENOMEM;
        return add_message(c, prefix, slice_of(text), suffix, limit);
}

static int fail_named(ControlCall *call, const char *prefix, const char *error, json_t *values)
{
        Client *c = call->client;
        char head[160];
        (void)snprintf(head, sizeof(head), "{\"error\":\"%s.%s\",\"parameters\":", prefix, error);
        int r = 0;
        if (!call->active || !call->request.oneway)
                r = add_object(c, head, values, "}", c->out.max);
        else
                json_decref(values);
        control_call_end(call);
        if (r < 0)
                c->broken = true;
        control_wake(c);
        return r;
}

int control_fail_with(ControlCall *call, const char *error, json_t *values)
{
        return fail_named(call, CONTROL_INTERFACE, error, values);
}

int control_fail(ControlCall *call, const char *error, const char *format, ...)
{
        char text[1024];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        // json_string() refuses invalid UTF-8, which a cut could make: then say less.
        json_t *message = json_string(text);
        return control_fail_with(
                call, error, json_pack("{s:o}", "message", message ? message : json_string(error)));
}

int control_reply(ControlCall *call, json_t *values)
{
        assert(call->active);
        Client *c = call->client;
        if (call->request.oneway) {
                json_decref(values);
                control_call_end(call);
                control_wake(c);
                return 0;
        }
        int r = add_object(c, "{\"parameters\":", values, "}", LIMIT_CONTROL_CLIENT);
        if (r == -ENOBUFS)
                return control_fail(
                        call, "TooLarge", "the answer is over %u bytes", LIMIT_CONTROL_CLIENT);
        control_call_end(call);
        if (r < 0)
                c->broken = true;
        control_wake(c);
        return r;
}

int control_continue(ControlCall *call, json_t *values)
{
        assert(call->active);
        if (call->request.oneway) {
                json_decref(values);
                return 0;
        }
        return add_object(call->client, "{\"parameters\":", values, ",\"continues\":true}",
                LIMIT_CONTROL_CLIENT);
}

int control_continue_raw(ControlCall *call, Slice json_object)
{
        assert(call->active);
        if (call->request.oneway)
                return 0;
        return add_message(call->client, "{\"parameters\":", json_object, ",\"continues\":true}",
                LIMIT_CONTROL_CLIENT);
}

size_t control_room(const ControlCall *call)
{
        size_t used = call->client->out.len + 64; // the message's own wrapping
        return used < LIMIT_CONTROL_CLIENT ? LIMIT_CONTROL_CLIENT - used : 0;
}

// ---- for method bodies

const char *control_get_string(const ControlCall *call, const char *name, const char *def)
{
        const char *s = json_string_value(json_object_get(call->request.parameters, name));
        return s ? s : def;
}

int64_t control_get_int(const ControlCall *call, const char *name, int64_t def)
{
        const json_t *v = json_object_get(call->request.parameters, name);
        return json_is_integer(v) ? json_integer_value(v) : def;
}

bool control_get_bool(const ControlCall *call, const char *name, bool def)
{
        const json_t *v = json_object_get(call->request.parameters, name);
        return json_is_boolean(v) ? json_is_true(v) : def;
}

uid_t control_uid(const ControlCall *call)
{
        return call->client->peer.uid;
}

void control_set_step(
        ControlCall *call, ControlStep step, void *state, void (*free_state)(void *state))
{
        assert(call->active && !call->free_state);
        call->step = step;
        call->state = state;
        call->free_state = free_state;
        control_wake(call->client);
}

void control_forget_state(ControlCall *call)
{
        call->step = NULL;
        call->state = NULL;
        call->free_state = NULL;
}

uint64_t control_ticket(const ControlCall *call)
{
        return call->ticket;
}

// ---- dispatch

static bool type_fits(const json_t *v, ControlType type)
{
        switch (type) {
        case CONTROL_BOOL:
                return json_is_boolean(v);
        case CONTROL_INT:
                return json_is_integer(v);
        case CONTROL_STRING:
                return json_is_string(v);
        }
        return false;
}

// NULL when all are in order, else the name of the bad one. A null counts as absent (Varlink's "?").
static const char *bad_parameter(const ControlParameter *table, json_t *given)
{
        static const ControlParameter none[] = {{0}};
        if (!table)
                table = none;
        const char *name;
        json_t *value;
        json_object_foreach(given, name, value)
        {
                const ControlParameter *p = table;
                while (p->name && strcmp(p->name, name) != 0)
                        p++;
                if (!p->name || (!json_is_null(value) && !type_fits(value, p->type)))
                        return name;
        }
        for (const ControlParameter *p = table; p->name; p++) {
                const json_t *v = json_object_get(given, p->name);
                if (p->required && (!v || json_is_null(v)))
                        return p->name;
        }
        return NULL;
}

bool control_call_may(const ControlCall *call, ControlRole role)
{
        const Client *c = call->client;
        return control_roles_allow(&c->control->roles, role, c->peer.uid, c->peer.gids, c->peer.n_gids);
}

int control_refuse_role(ControlCall *call, ControlRole role)
{
        const Client *c = call->client;
        const char *name = control_role_to_string(role);
        const char *listed = c->control->roles.of[role].spelled;
        // The uid and not a name: a look-up here could block the hub on a directory service.
        char line[512], message[1024];
        (void)snprintf(line, sizeof(line), "control = { %s = [ %s%s\"%u\" ]; };", name,
                listed ? listed : "", listed && *listed ? ", " : "", c->peer.uid);
        (void)snprintf(message, sizeof(message),
                "uid %u does not have the role \"%s\"; to give it, put into the configuration: %s",
                c->peer.uid, name, line);
        return control_fail_with(call, "NotPermitted",
                json_pack("{s:s, s:I, s:s, s:s}", "role", name, "uid", (json_int_t)c->peer.uid, "line",
                        line, "message", message));
}

static void service_method(ControlCall *call, const char *name)
{
        if (strcmp(name, "GetInfo") == 0) {
                (void)control_reply(
                        call, json_pack("{s:s, s:s, s:s, s:s, s:[s,s]}", "vendor", "Belfry",
                                      "product", "belfryd", "version", BELFRY_VERSION, "url", "",
                                      "interfaces", SERVICE, CONTROL_INTERFACE));
        } else if (strcmp(name, "GetInterfaceDescription") == 0) {
                const char *wanted = control_get_string(call, "interface", "");
                if (strcmp(wanted, CONTROL_INTERFACE) == 0)
                        (void)control_reply(call, json_pack("{s:s}", "description", control_idl));
                else
                        (void)fail_named(call, SERVICE, "InterfaceNotFound",
                                json_pack("{s:s}", "interface", wanted));
        } else {
                (void)fail_named(
                        call, SERVICE, "MethodNotFound", json_pack("{s:s}", "method", name));
        }
}

static const ControlMethod *find_method(const ControlOptions *o, const char *name)
{
        for (size_t i = 0; i < o->n_methods; i++)
                if (strcmp(o->methods[i].name, name) == 0)
                        return &o->methods[i];
        return NULL;
}

static void run_method(ControlCall *call, const char *name)
{
        Client *c = call->client;
        const ControlOptions *o = &c->control->options;
        const ControlMethod *m = find_method(o, name);
        if (!m) {
                (void)fail_named(
                        call, SERVICE, "MethodNotFound", json_pack("{s:s}", "method", name));
                return;
        }
        if (!control_call_may(call, m->role)) {
                (void)control_refuse_role(call, m->role);
                return;
        }
        const char *bad = bad_parameter(m->parameters, call->request.parameters);
        if (bad) {
                (void)fail_named(
                        call, SERVICE, "InvalidParameter", json_pack("{s:s}", "parameter", bad));
                return;
        }
        if (m->streams && !call->request.more) {
                (void)fail_named(call, SERVICE, "ExpectedMore", NULL);
                return;
        }
        call->method = m;
        uint64_t ticket = call->ticket;
        int r = m->run(call, o->userdata);
        if (r < 0 && call->active && call->ticket == ticket)
                (void)control_fail(call, "Failed", "%s", strerror(-r));
}

void control_dispatch(Client *c, Slice text)
{
        ControlCall *call = &c->call;
        assert(!call->active);
        Reason reason = {};
        if (control_request_parse(&call->request, text, &reason) < 0) {
                c->closes = true; // its framing cannot be trusted any more
                (void)control_fail(call, "InvalidRequest", "%s", reason.text);
                return;
        }
        call->active = true;
        call->ticket = ++c->control->last_ticket;

        const char *method = call->request.method, *dot = strrchr(method, '.');
        size_t n = dot ? (size_t)(dot - method) : 0;
        Slice interface = {method, n};
        if (slice_eq_str(interface, SERVICE))
                service_method(call, dot + 1);
        else if (slice_eq_str(interface, CONTROL_INTERFACE))
                run_method(call, dot + 1);
        else {
                _cleanup_(freep) char *copy = strndup(method, n);
                (void)fail_named(call, SERVICE, "InterfaceNotFound",
                        json_pack("{s:s}", "interface", copy ? copy : ""));
        }
}
