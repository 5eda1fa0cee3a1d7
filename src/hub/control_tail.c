// SPDX-License-Identifier: MIT
// Tail: events to whoever watches, as they enter the store. The event's own JSON is copied, nothing
// is encoded again; with nobody watching it costs one comparison. A watcher that does not keep up
// loses events, never the hub its time: what did not fit is counted and told as "missed".
#include "base/json.h"
#include "hub/control_internal.h"
#include "hub/control_methods.h"

typedef struct Tail {
        Control *control;
        uint64_t missed;
} Tail;

// One event larger than this is shown without its data, so that others fit beside it.
enum { TAIL_EVENT_MAX = LIMIT_CONTROL_CLIENT / 2 };

static void tail_free(void *state)
{
        Tail *t = state;
        t->control->n_tails--;
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

static void tail_send(ControlCall *c, const Record *r)
{
        Tail *t = c->state;
        bool whole = r->json.len <= TAIL_EVENT_MAX;
        size_t need = 64 + (whole ? r->json.len : r->type.len + r->subject.len + 256);
        // In order: what was missed is told before the next event is shown.
        if (t->missed > 0 || control_room(c) < need) {
                tail_missed(c, t);
                return;
        }
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(need + 256);
        buf_add_str(&b, "{\"event\":");
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

int control_tail(ControlCall *c, void *hub)
{
        Hub *h = hub;
        Tail *t = calloc(1, sizeof(*t));
        if (!t)
                return -ENOMEM;
        t->control = h->control;
        h->control->n_tails++;
        control_set_step(c, NULL, t, tail_free);
        // An empty answer at once: who started us knows that from now on nothing is overlooked.
        return control_continue(c, NULL);
}

void control_tail_event(Hub *h, const Record *r)
{
        if (!h->control || h->control->n_tails == 0)
                return;
        Client *c;
        TAILQ_FOREACH (c, &h->control->clients, entry)
                if (c->call.active && c->call.method && c->call.method->run == control_tail &&
                        !c->broken)
                        tail_send(&c->call, r);
}
