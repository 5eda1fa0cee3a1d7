// SPDX-License-Identifier: MIT
// What an operator asks of a source: a verb goes to the source's ready process, or to one born for
// this command alone when that process is down or the source left the configuration. Pieces of the
// answer go to the client as they come.
//
// A command ends exactly once: with its last piece, by the death of the process that answers, by a
// limit of time, or because the client went away. Whichever comes first takes it off the list; what
// comes later finds nobody. A process born for it is stopped then, whatever the end was.
// The last options of every source are kept in the store for that, beside the name of its module:
// secrets are references there, so no secret is kept.
#include "hub/commands.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "hub/commit.h"
#include "hub/control_methods.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "link/message.h"
#include "store/read.h"
#include <errno.h>

enum {
        COMMANDS_MAX = 8,            // under way at a time
        COMMAND_SILENT_SEC = 120,    // from one piece to the next
        COMMAND_WHOLE_SEC = 60 * 60, // and all of it
        ARGUMENT_MAX = 4096,
};

struct Command {
        Hub *hub;
        uint64_t ticket; // on the link
        uint64_t call;   // of the control server; 0 when the client is gone
        char source[LIMIT_NAME + 1], verb[LIMIT_NAME + 1];
        char *arguments; // JSON
        HubChild *child; // who answers
        Errand *errand;  // it was born for this; NULL: the source's usual process
        uint64_t end_boot;
        sd_event_source *timer;
        LIST_ENTRY(Command) link;
};

static void options_key(char out[static 64], const char *source)
{
        (void)snprintf(out, 64, "source-options:%s", source);
}

void commands_keep_options(Hub *h, const Config *c)
{
        for (size_t i = 0; i < c->n_sources; i++) {
                const ConfigSource *s = &c->sources[i];
                char key[64];
                json_t *o = json_pack("{s:s, s:O}", "module", s->module->description->name,
                        "options", s->options);
                _cleanup_(freep) char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
                json_decref(o);
                options_key(key, s->name);
                // Too many to keep: then no verb can be asked after the source has left.
                bool fits = text && strlen(text) <= LIMIT_STATE_VALUE;
                store_put_meta(batch_txn(h), key, fits ? slice_of(text) : SLICE_NULL);
        }
}

void commands_forget_options(Hub *h, const char *source)
{
        char key[64];
        options_key(key, source);
        store_put_meta(batch_txn(h), key, SLICE_NULL);
}

static int options_kept(Hub *h, const char *source, json_t **ret)
{
        char key[64];
        Slice text;
        options_key(key, source);
        int r = store_read_begin(h->store);
        if (r < 0)
                return r;
        r = store_get_meta(h->store, key, &text);
        if (r >= 0) {
                *ret = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
                r = *ret ? 0 : -EBADMSG;
        }
        store_read_end(h->store);
        return r;
}

// ---- the end of one

static Command *command_free(Command *k)
{
        LIST_REMOVE(k, link);
        k->hub->n_commands--;
        sd_event_source_disable_unref(k->timer);
        free(k->arguments);
        free(k);
        return NULL;
}

// Off the list; the call, if there still is one, is the caller's to answer.
static ControlCall *command_end(Command *k)
{
        Hub *h = k->hub;
        uint64_t call = k->call;
        Errand *e = k->errand;
        // Before anything is freed: the call's end must not come back here.
        k->call = 0;
        ControlCall *c = call && h->control ? control_find(h->control, call) : NULL;
        if (c)
                control_forget_state(c);
        (void)command_free(k);
        if (e)
                errand_stop(e);
        return c;
}

static void command_fail(Command *k, const char *format, ...) _printf_(2, 3);
static void command_fail(Command *k, const char *format, ...)
{
        char text[REASON_MAX], verb[LIMIT_NAME + 1], source[LIMIT_NAME + 1];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        (void)snprintf(verb, sizeof(verb), "%s", k->verb);
        (void)snprintf(source, sizeof(source), "%s", k->source);
        ControlCall *c = command_end(k);
        if (c)
                (void)control_fail(c, "Failed", "%s %s: %s", verb, source, text);
}

static void command_client_gone(void *state)
{
        Command *k = state;
        k->call = 0;
        (void)command_end(k);
}

static int command_on_time(sd_event_source *e, uint64_t usec, void *userdata)
{
        Command *k = userdata;
        if (clock_boot_usec() >= k->end_boot)
                command_fail(k, "ended after %d minutes", COMMAND_WHOLE_SEC / 60);
        else
                command_fail(k, "no answer for %d s", COMMAND_SILENT_SEC);
        return 0;
}

static int command_wait(Command *k)
{
        uint64_t until = clock_boot_usec() + COMMAND_SILENT_SEC * USEC_PER_SEC;
        if (until > k->end_boot)
                until = k->end_boot;
        if (!k->timer)
                return sd_event_add_time(k->hub->event, &k->timer, CLOCK_BOOTTIME, until,
                        USEC_PER_SEC / 10, command_on_time, k);
        int r = sd_event_source_set_time(k->timer, until);
        return r < 0 ? r : sd_event_source_set_enabled(k->timer, SD_EVENT_ONESHOT);
}

// ---- what the source says

static Command *command_find(Hub *h, const HubChild *c, uint64_t ticket)
{
        Command *k;
        LIST_FOREACH (k, &h->commands, link)
                if (k->ticket == ticket && k->child == c)
                        return k;
        return NULL;
}

int commands_answer(HubChild *c, Slice payload)
{
        MessageAnswer m;
        int r = message_get_answer(payload, &m);
        if (r < 0 || m.piece.len > LIMIT_STATS)
                return -EBADMSG;
        json_t *piece = json_loadb(m.piece.data, m.piece.len, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(piece)) {
                json_decref(piece);
                return -EBADMSG;
        }
        Command *k = command_find(c->hub, c, m.ticket);
        ControlCall *call = k && c->hub->control ? control_find(c->hub->control, k->call) : NULL;
        if (!call) { // the client went away
                json_decref(piece);
                return 0;
        }
        if (m.last) {
                bool ok = json_is_true(json_object_get(piece, "ok"));
                (void)command_end(k);
                (void)control_reply(call, json_pack("{s:o, s:b}", "piece", piece, "ok", ok));
                return 0;
        }
        r = control_continue(call, json_pack("{s:o}", "piece", piece));
        if (r >= 0)
                r = command_wait(k);
        if (r < 0)
                command_fail(k, "%s",
                        r == -ENOBUFS ? "its answer is not read fast enough" : strerror(-r));
        return 0;
}

void commands_child_gone(HubChild *c, const char *why)
{
        Command *k = LIST_FIRST(&c->hub->commands), *next;
        for (; k; k = next) {
                next = LIST_NEXT(k, link);
                if (k->child != c)
                        continue;
                k->errand = NULL; // it frees itself
                command_fail(k, "the source's process ended before it had answered%s%s",
                        why && why[0] ? ": " : "", why ? why : "");
        }
}

void commands_stop(Hub *h)
{
        while (!LIST_EMPTY(&h->commands))
                command_fail(LIST_FIRST(&h->commands), "belfryd is stopping");
        errands_clear(h);
}

// ---- the beginning

static int command_send(Command *k)
{
        MessageCommand m = {.ticket = k->ticket,
                .verb = slice_of(k->verb),
                .arguments = slice_of(k->arguments)};
        message_put_command(link_begin(k->child->link, MESSAGE_COMMAND), &m);
        return link_end(k->child->link, true);
}

int commands_errand_started(HubChild *c)
{
        Command *k;
        LIST_FOREACH (k, &c->hub->commands, link)
                if (k->child == c)
                        return command_send(k);
        return 0; // the client went away meanwhile
}

static HubSource *find_source(Hub *h, const char *name)
{
        for (size_t i = 0; i < h->config->n_sources; i++)
                if (strcmp(h->source_of[i]->name, name) == 0)
                        return h->source_of[i];
        return NULL;
}

static int no_such_source(ControlCall *c, Hub *h, const char *name)
{
        const char *names[LIMIT_SOURCES];
        size_t n = 0;
        for (size_t i = 0; i < h->config->n_sources && n < N_ELEMENTS(names); i++)
                names[n++] = h->config->sources[i].name;
        const char *near = text_nearest(slice_of(name), names, n);
        return control_fail(c, "NotFound", "there is no source \"%.64s\"%s%s%s", name,
                near ? " (did you mean \"" : "", near ? near : "",
                near ? "\"?)" : "; see: belfry sources");
}

// Is the verb in the module's table, and used as that says? Else -EINVAL with what would be. -EPERM:
// the caller may only look.
static int check_verb(
        const ControlCall *c, const ModuleDescription *d, bool removed, Reason *reason)
{
        const char *source = control_get_string(c, "name", ""),
                   *verb = control_get_string(c, "verb", ""),
                   *argument = control_get_string(c, "argument", NULL);
        const SourceCommand *row = module_command_find(d, verb);
        if (!row) {
                _cleanup_(buf_deinitp) Buf list = BUF_INIT(1024);
                for (size_t i = 0; i < d->n_commands; i++)
                        buf_addf(&list, "%s%s", i ? ", " : "", d->commands[i].verb);
                return reason_set(reason, -EINVAL, "source %s (%s) knows no \"%s\"%s%s", source,
                        d->name, verb,
                        list.len ? "; it knows: " : ", nor any other verb but forget",
                        list.len ? buf_text(&list) : "");
        }
        if (!row->looks_only && !control_call_may(c, CONTROL_ADMIN))
                return -EPERM;
        if (removed && !row->after_removal)
                return reason_set(reason, -EINVAL,
                        "source %s left the configuration, and %s works only while it is there",
                        source, verb);
        if (argument && !row->argument)
                return reason_set(reason, -EINVAL, "%s takes no argument", verb);
        if (!argument && row->argument && row->argument[0] != '[')
                return reason_set(reason, -EINVAL, "usage: belfry source %s %s %s", verb, source,
                        row->argument);
        if (argument && strlen(argument) > ARGUMENT_MAX)
                return reason_set(reason, -EINVAL, "the argument is over %d bytes", ARGUMENT_MAX);
        return 0;
}

static int refuse_verb(ControlCall *c, int r, const Reason *reason)
{
        return r == -EPERM ? control_refuse_role(c, CONTROL_ADMIN)
                           : control_fail(c, "Refused", "%s", reason->text);
}

static Command *command_new(Hub *h, ControlCall *c, const char *source)
{
        const char *argument = control_get_string(c, "argument", NULL);
        Command *k = calloc(1, sizeof(*k));
        if (!k)
                return NULL;
        LIST_INSERT_HEAD(&h->commands, k, link);
        h->n_commands++;
        k->hub = h;
        k->ticket = ++h->next_command;
        k->end_boot = clock_boot_usec() + COMMAND_WHOLE_SEC * USEC_PER_SEC;
        (void)snprintf(k->source, sizeof(k->source), "%s", source);
        (void)snprintf(k->verb, sizeof(k->verb), "%s", control_get_string(c, "verb", ""));
        json_t *o = argument ? json_pack("{s:s}", "argument", argument) : json_object();
        k->arguments = o ? json_dumps(o, JSON_COMPACT) : NULL;
        json_decref(o);
        return k->arguments ? k : command_free(k);
}

// From here on an end of the call ends the command.
static int command_start(Command *k, ControlCall *c, Errand *e, HubChild *child)
{
        k->errand = e;
        k->child = child;
        k->call = control_ticket(c);
        control_set_step(c, NULL, k, command_client_gone);
        int r = command_wait(k);
        if (r >= 0)
                r = e ? errand_start(e) : command_send(k);
        if (r < 0)
                command_fail(k, "%s", e && child->reason[0] ? child->reason : strerror(-r));
        return 0;
}

// The source's own table, or that of the module it had last; its options from the configuration, or
// the last ones.
static int ask_errand(Hub *h, ControlCall *c, const char *name, const HubSource *s)
{
        json_t *kept = NULL;
        const char *module;
        Reason reason = {0};
        if (s) {
                const ConfigSource *from = &h->config->sources[s->index];
                module = from->module->description->name;
                kept = json_pack("{s:s, s:O}", "module", module, "options", from->options);
        } else if (options_kept(h, name, &kept) < 0) {
                return no_such_source(c, h, name);
        }
        Errand *e = NULL;
        int r = errand_new(h, name, kept, &e, &reason);
        json_decref(kept);
        if (r < 0)
                return control_fail(c, "Failed", "cannot start the module of source %s: %s", name,
                        reason.text[0] ? reason.text : strerror(-r));
        r = check_verb(c, errand_description(e), !s, &reason);
        if (r < 0) {
                errand_stop(e);
                return refuse_verb(c, r, &reason);
        }
        Command *k = command_new(h, c, name);
        if (!k) {
                errand_stop(e);
                return -ENOMEM;
        }
        return command_start(k, c, e, errand_child(e));
}

int control_source_command(ControlCall *c, void *hub)
{
        Hub *h = hub;
        const char *name = control_get_string(c, "name", ""),
                   *verb = control_get_string(c, "verb", "");
        if (!text_is_name(slice_of(name)))
                return no_such_source(c, h, name);
        if (!text_is_name(slice_of(verb)))
                return control_fail(c, "NotFound", "\"%.64s\" is no verb", verb);
        if (h->n_commands >= COMMANDS_MAX || h->state == HUB_STOPPING)
                return control_fail(
                        c, "Busy", "%u commands are under way, try again later", h->n_commands);
        HubSource *s = find_source(h, name);
        log_write(LOG_NOTICE, &(LogFields){.instance = name}, "source %s is asked to %s, by uid %u",
                name, verb, control_uid(c));
        if (!s || s->child.state != CHILD_READY)
                return ask_errand(h, c, name, s);
        const ModuleDescription *d = h->config->sources[s->index].module->description;
        Reason reason = {0};
        int r = check_verb(c, d, false, &reason);
        if (r < 0)
                return refuse_verb(c, r, &reason);
        Command *k = command_new(h, c, name);
        return k ? command_start(k, c, NULL, &s->child) : -ENOMEM;
}
