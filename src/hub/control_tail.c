// SPDX-License-Identifier: MIT
// Tail: events to whoever watches, as they come in, those that no rule wants included. The event's
// own JSON is copied, nothing is encoded again; with nobody watching it costs one comparison. A
// watcher that does not keep up loses events, never the hub its time: what did not fit is counted
// and told as "missed". Filters are compiled once; what all of them together may cost an event has a
// limit, since watching needs no more than the role "read".
#include "base/json.h"
#include "base/limits.h"
#include "hub/control_internal.h"
#include "hub/control_methods.h"
#include "hub/hub.h"
#include "rule/expression.h"

#include <errno.h>

typedef struct Tail {
        Control *control;
        Expression *filter; // NULL: everything
        unsigned cost;      // of the filter
        uint64_t missed;
} Tail;

// One event larger than this is shown without its data, so that others fit beside it.
enum { TAIL_EVENT_MAX = LIMIT_CONTROL_CLIENT / 2 };
// Of all filters together, in comparisons (about 10 ns each): 0.2 ms an event.
enum { TAIL_COST_MAX = 20000, TAIL_FILTER_MAX = 4096 };

static void tail_free(void *state)
{
        Tail *t = state;
        t->control->n_tails--;
        t->control->tail_cost -= t->cost;
        t->filter = expression_free(t->filter);
        free(t);
}

// Only while something was missed: tells how much, as soon as there is room.
static int tail_step(ControlCall *c, void *state)
{
        Tail *t = state;
        int r = control_continue(c, json_pack("{s:I}", "missed", (json_int_t)t->missed));
        if (r == -ENOBUFS)
                return 0;
        t->missed = 0;
        c->step = NULL;
        return r;
}

static void tail_missed(ControlCall *c, Tail *t)
{
        t->missed++;
        c->step = tail_step;
}

// A filter that cannot be decided lets nothing through, as in a rule.
static bool tail_wants(Tail *t, const Record *r)
{
        const char *failed;
        bool wanted = true;
        if (t->filter && expression_test(t->filter, r, &wanted, &failed) < 0)
                return false;
        return wanted;
}

static void tail_send(ControlCall *c, const Record *r, unsigned n_routes)
{
        Tail *t = c->state;
        if (!tail_wants(t, r))
                return;
        bool whole = r->json.len <= TAIL_EVENT_MAX;
        size_t need = 64 + (whole ? r->json.len : r->type.len + r->subject.len + 256);
        // In order: what was missed is told before the next event is shown.
        if (t->missed > 0 || control_room(c) < need) {
                tail_missed(c, t);
                return;
        }
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(need + 256);
        buf_addf(&b, "{\"routes\":%u,\"event\":", n_routes);
        if (whole)
                buf_add_slice(&b, r->json);
        else // the head's texts are JSON-escaped already
                buf_addf(&b,
                        "{\"specversion\":\"1.0\",\"id\":\"%.*s\",\"type\":\"%.*s\",\"subject\":\"%"
                        ".*s\","
                        "\"data\":{\"omitted\":true,\"bytes\":%zu}}",
                        SLICE_ARG(r->id), SLICE_ARG(r->type), SLICE_ARG(r->subject), r->json.len);
        buf_add_char(&b, '}');
        if (b.error || control_continue_raw(c, buf_slice(&b)) < 0)
                tail_missed(c, t);
}

// Against the field tables of all sources there are: a typo is told, not waited for. The tables are
// needed only while compiling.
static int tail_compile(Hub *h, Tail *t, Slice text, Fault *fault)
{
        const Config *c = h->config;
        size_t n = 1;
        for (size_t i = 0; i < c->n_modules; i++)
                n += c->modules[i].description->n_types;
        _cleanup_(freep) const EventType **types = calloc(n, sizeof(*types));
        if (!types)
                return -ENOMEM;
        n = 0;
        for (size_t i = 0; i < c->n_modules; i++)
                for (size_t k = 0; k < c->modules[i].description->n_types; k++)
                        types[n++] = &c->modules[i].description->types[k];
        types[n++] = &event_type_gap;
        int r = expression_new(&t->filter, text, n > 1 ? types : NULL, n > 1 ? n : 0, true, fault);
        if (r == 0)
                t->cost = expression_cost(t->filter);
        return r;
}

// 0, or the call is answered already (1), or a negative errno.
static int tail_filter(ControlCall *c, Hub *h, Tail *t, Slice text)
{
        Fault fault = {0};
        if (text.len > TAIL_FILTER_MAX) {
                (void)control_fail(c, "Refused", "the filter is over %d bytes", TAIL_FILTER_MAX);
                return 1;
        }
        int r = tail_compile(h, t, text, &fault);
        if (r == -EINVAL) {
                _cleanup_(buf_deinitp) Buf words = BUF_INIT(4096);
                fault_explain(&fault, text, &words);
                const char *said = words.error ? fault.message : buf_text(&words);
                (void)control_fail_with(c, "Refused",
                        json_pack("{s:s, s:[{s:s, s:n, s:i, s:i, s:s, s:o}]}", "message",
                                "the filter has a fault", "diagnostics", "severity", "error",
                                "file", "line", 0, "column", (int)fault.start + 1, "path", "filter",
                                "message", control_json_text(slice_of(said))));
                return 1;
        }
        if (r == 0 && h->control->tail_cost + t->cost > TAIL_COST_MAX) {
                (void)control_fail(c, "Busy",
                        "the filters of all who watch would cost too much for each event; use a "
                        "simpler one");
                t->cost = 0;
                return 1;
        }
        return r;
}

int control_tail(ControlCall *c, void *hub)
{
        Hub *h = hub;
        const char *filter = control_get_string(c, "filter", NULL);
        Tail *t = calloc(1, sizeof(*t));
        int r = !t ? -ENOMEM : filter ? tail_filter(c, h, t, slice_of(filter)) : 0;
        if (r != 0) {
                if (t)
                        t->filter = expression_free(t->filter);
                free(t);
                return r < 0 ? r : 0;
        }
        t->control = h->control;
        h->control->n_tails++;
        h->control->tail_cost += t->cost;
        control_set_step(c, NULL, t, tail_free);
        // An empty answer at once: who started us knows that from now on nothing is overlooked.
        return control_continue(c, NULL);
}

void control_tail_event(Hub *h, const Record *r, unsigned n_routes)
{
        if (!h->control || h->control->n_tails == 0)
                return;
        Client *c;
        TAILQ_FOREACH (c, &h->control->clients, entry)
                if (c->call.active && c->call.method && c->call.method->run == control_tail &&
                        !c->broken)
                        tail_send(&c->call, r, n_routes);
}
