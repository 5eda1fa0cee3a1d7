// SPDX-License-Identifier: MIT
// The model store and its comparison; see the header.
#include "store_model.h"

#include "base/clock.h"
#include "base/limits.h"
#include "event/record.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

static char fault_text[300];
#define DIFFERS(...) (snprintf(fault_text, sizeof(fault_text), __VA_ARGS__), fault_text)

uint64_t model_random(uint64_t *state) // splitmix64
{
        uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

static uint64_t roll(Model *m, uint64_t n)
{
        return model_random(&m->rng) % n;
}

static char *noise(Model *m, size_t n)
{
        char *p = malloc(n + 1);
        assert(p);
        for (size_t i = 0; i < n; i++)
                p[i] = (char)('a' + roll(m, 26));
        p[n] = 0;
        return p;
}

void model_init(Model *m, uint64_t seed, size_t largest)
{
        *m = (Model){.seed = seed, .next_seq = 1, .next_dead = 1, .largest = largest};
}

static void route_free(ModelRoute *r)
{
        free(r->headers);
        free(r->body);
}

static void event_free(ModelEvent *e)
{
        for (uint16_t i = 0; i < e->n_routes; i++)
                route_free(&e->routes[i]);
        free(e->record);
        free(e);
}

void model_deinit(Model *m)
{
        while (m->events) {
                ModelEvent *e = m->events;
                m->events = e->next;
                event_free(e);
        }
        while (m->dead) {
                ModelDead *d = m->dead;
                m->dead = d->next;
                free(d->record);
                route_free(&d->route);
                free(d);
        }
        while (m->state) {
                ModelState *s = m->state;
                m->state = s->next;
                free(s->value);
                free(s);
        }
        while (m->gaps) {
                ModelGap *g = m->gaps;
                m->gaps = g->next;
                free(g);
        }
}

void model_intern(StoreTxn *t)
{
        uint32_t number;
        char name[16];
        for (unsigned i = 1; i <= MODEL_SOURCES; i++) {
                (void)snprintf(name, sizeof(name), "source-%u", i);
                if (store_intern(t, STORE_SOURCE, name, &number) != 0 || number != i)
                        abort();
        }
        for (unsigned i = 1; i <= MODEL_SINKS; i++) {
                (void)snprintf(name, sizeof(name), "sink-%u", i);
                if (store_intern(t, STORE_SINK, name, &number) != 0 || number != i)
                        abort();
        }
}

// Mostly small, sometimes longer than a page, rarely longer than a chunk.
static size_t some_length(Model *m)
{
        uint64_t kind = roll(m, 20);
        size_t n = kind < 16 ? roll(m, 600) : kind < 19 ? roll(m, 9000) : roll(m, m->largest);
        return n < m->largest ? n : m->largest;
}

static void make_record(Model *m, char **ret, size_t *ret_len)
{
        char id[32];
        static RecordOrigin origin;
        if (!origin.instance[0] && record_origin_init(&origin, "host", "model") < 0)
                abort();
        (void)snprintf(id, sizeof(id), "%" PRIu64 "/%" PRIu64, m->step, model_random(&m->rng));
        char *text = noise(m, some_length(m));
        Buf data = BUF_INIT(4 << 20), record = BUF_INIT(4 << 20);
        buf_addf(&data, "{\"n\":\"%s\"}", text);
        EventDraft d = {.time_usec = m->step,
                .type = SLICE_LIT("model.event"),
                .subject = SLICE_LIT("x"),
                .id_material = slice_of(id),
                .data = buf_slice(&data)};
        Reason reason;
        if (record_build(&record, &origin, &d, 4 << 20, &reason) < 0)
                abort();
        *ret_len = record.len;
        *ret = (char *)record.data;
        buf_deinit(&data);
        free(text);
}

static void step_put(Model *m, StoreTxn *t)
{
        ModelEvent *e = calloc(1, sizeof(*e));
        assert(e);
        e->source = 1 + (uint32_t)roll(m, MODEL_SOURCES);
        make_record(m, &e->record, &e->record_len);
        e->n_routes = (uint16_t)(roll(m, 3) ? 1 : 1 + roll(m, MODEL_ROUTES));
        StoreRoute routes[MODEL_ROUTES];
        for (uint16_t i = 0; i < e->n_routes; i++) {
                ModelRoute *r = &e->routes[i];
                r->route = (StoreRoute){.sink = (uint16_t)(1 + roll(m, MODEL_SINKS)),
                        .format = (uint8_t)roll(m, 3),
                        .method = "POST",
                        .rule = (uint32_t)(1 + roll(m, 9))};
                r->headers = noise(m, 0);
                r->body = noise(m, 0);
                if (roll(m, 4) == 0) {
                        free(r->headers);
                        free(r->body);
                        r->route.flags = ROUTE_OWN_BODY;
                        r->headers = noise(m, roll(m, 50));
                        r->body = noise(m, some_length(m));
                        r->route.own_headers = slice_of(r->headers);
                        r->route.own_body = slice_of(r->body);
                }
                routes[i] = r->route;
        }
        e->seq = m->next_seq++;
        if (t && store_put_event(t, e->source, slice_mem(e->record, e->record_len), routes,
                         e->n_routes) != e->seq)
                abort();
        ModelEvent **p = &m->events;
        while (*p)
                p = &(*p)->next;
        *p = e;
}

static ModelEvent *some_event(Model *m, uint16_t *ret_route)
{
        unsigned n = 0;
        for (ModelEvent *e = m->events; e; e = e->next)
                n++;
        if (n == 0)
                return NULL;
        uint64_t k = roll(m, 3) ? roll(m, n < 4 ? n : 4) : roll(m, n); // mostly old ones
        ModelEvent *e = m->events;
        while (k--)
                e = e->next;
        uint16_t route = (uint16_t)roll(m, e->n_routes);
        while (e->routes[route].ended)
                route = (uint16_t)((route + 1) % e->n_routes);
        *ret_route = route;
        return e;
}

static void model_close(Model *m, ModelEvent *e, uint16_t route)
{
        e->routes[route].ended = true;
        for (uint16_t i = 0; i < e->n_routes; i++)
                if (!e->routes[i].ended)
                        return;
        ModelEvent **p = &m->events;
        while (*p != e)
                p = &(*p)->next;
        *p = e->next;
        event_free(e);
}

static StoreVerdict some_verdict(Model *m)
{
        return (StoreVerdict){.class = 1,
                .status = 500,
                .attempts = 1,
                .when_usec = m->step,
                .took_usec = 7,
                .detail = SLICE_LIT("because")};
}

static void step_end(Model *m, StoreTxn *t)
{
        uint16_t route;
        ModelEvent *e = some_event(m, &route);
        if (!e)
                return;
        StoreVerdict v = some_verdict(m);
        if (t)
                store_end(t, (DeliveryKey){e->seq, route},
                        roll(m, 5) ? END_DELIVERED : END_DISCARDED, &v);
        else
                (void)roll(m, 5);
        m->ledger++;
        model_close(m, e, route);
}

static void step_defer(Model *m, StoreTxn *t)
{
        uint16_t route;
        ModelEvent *e = some_event(m, &route);
        if (!e)
                return;
        StoreOwed o = {.class = 2,
                .status = 503,
                .attempts = (uint16_t)roll(m, 9),
                .first_usec = m->step,
                .since_usec = m->step,
                .due_usec = 1000 + roll(m, 50),
                .detail = "later"};
        uint64_t kind = roll(m, 6);
        o.state = kind == 0 ? OWED_PARKED : kind == 1 ? OWED_ALONE : OWED_WAITS;
        StoreVerdict v = some_verdict(m);
        bool told = roll(m, 2);
        if (t)
                store_defer(t, (DeliveryKey){e->seq, route}, &o, told ? &v : NULL);
        m->ledger += told;
        e->routes[route].has_owed = true;
        e->routes[route].owed = o;
}

static void step_bury(Model *m, StoreTxn *t)
{
        uint16_t route;
        ModelEvent *e = some_event(m, &route);
        if (!e)
                return;
        StoreVerdict v = some_verdict(m);
        if (t)
                store_bury(t, (DeliveryKey){e->seq, route}, "rejected", &v);
        m->ledger++;
        ModelDead *d = calloc(1, sizeof(*d));
        assert(d);
        d->id = m->next_dead++;
        d->source = e->source;
        d->record = malloc(e->record_len);
        assert(d->record);
        memcpy(d->record, e->record, e->record_len);
        d->record_len = e->record_len;
        d->route.route = e->routes[route].route;
        d->route.headers = strdup(e->routes[route].headers);
        d->route.body = strdup(e->routes[route].body);
        ModelDead **p = &m->dead;
        while (*p)
                p = &(*p)->next;
        *p = d;
        model_close(m, e, route);
}

static void step_dead(Model *m, StoreTxn *t)
{
        ModelDead **p = &m->dead;
        for (uint64_t k = roll(m, 3); *p && (*p)->next && k; k--)
                p = &(*p)->next;
        ModelDead *d = *p;
        if (!d)
                return;
        *p = d->next;
        m->ledger++;
        if (roll(m, 2)) {
                if (t && store_dead_drop(t, d->id) != 0)
                        abort();
                free(d->record);
                route_free(&d->route);
                free(d);
                return;
        }
        uint64_t seq = 0;
        if (t && store_dead_retry(t, d->id, &seq) != 0)
                abort();
        ModelEvent *e = calloc(1, sizeof(*e));
        assert(e);
        *e = (ModelEvent){.seq = m->next_seq++,
                .source = d->source,
                .record = d->record,
                .record_len = d->record_len,
                .n_routes = 1,
                .routes = {d->route}};
        e->routes[0].route.own_headers = slice_of(e->routes[0].headers);
        e->routes[0].route.own_body = slice_of(e->routes[0].body);
        if (t && seq != e->seq)
                abort();
        free(d);
        ModelEvent **last = &m->events;
        while (*last)
                last = &(*last)->next;
        *last = e;
}

static void step_state(Model *m, StoreTxn *t)
{
        ModelState **p = &m->state;
        uint32_t source = 1 + (uint32_t)roll(m, MODEL_SOURCES);
        char key[32];
        (void)snprintf(key, sizeof(key), "key-%" PRIu64, roll(m, 60));
        while (*p && ((*p)->source != source || strcmp((*p)->key, key) != 0))
                p = &(*p)->next;
        if (*p) {
                ModelState *old = *p;
                *p = old->next;
                free(old->value);
                free(old);
        }
        if (roll(m, 3) == 0) {
                if (t)
                        store_del_state(t, source, slice_of(key));
                return;
        }
        ModelState *s = calloc(1, sizeof(*s));
        assert(s);
        s->source = source;
        memcpy(s->key, key, sizeof(key));
        s->len = roll(m, 8) ? roll(m, 100) : roll(m, 5000);
        s->value = noise(m, s->len);
        s->next = m->state;
        m->state = s;
        if (t)
                store_put_state(t, source, slice_of(key), slice_mem(s->value, s->len));
}

static void step_gap(Model *m, StoreTxn *t)
{
        if (m->gaps && roll(m, 2)) {
                ModelGap *g = m->gaps;
                m->gaps = g->next;
                if (t && store_ack_gap(t, g->seq) != 0)
                        abort();
                free(g);
                return;
        }
        ModelGap *g = calloc(1, sizeof(*g));
        assert(g);
        g->seq = m->next_seq++;
        g->next = m->gaps;
        m->gaps = g;
        char text[32];
        (void)snprintf(text, sizeof(text), "gap %" PRIu64, g->seq);
        if (t) {
                if (store_put_event(t, 1, slice_of(text), NULL, 0) != g->seq)
                        abort();
                store_put_gap(t, g->seq, 1, slice_of(text));
        }
}

void model_step(Model *m, StoreTxn *t)
{
        m->step++;
        m->rng = m->seed ^ m->step * UINT64_C(0xff51afd7ed558ccd);
        unsigned backlog = 0;
        for (ModelEvent *e = m->events; e; e = e->next)
                backlog++;
        for (uint64_t n = 1 + roll(m, 12); n; n--) {
                uint64_t kind = roll(m, 100);
                if (kind < (backlog > 150 ? 20u : 40u))
                        step_put(m, t);
                else if (kind < 65)
                        step_end(m, t);
                else if (kind < 80)
                        step_defer(m, t);
                else if (kind < 84)
                        step_bury(m, t);
                else if (kind < 88)
                        step_dead(m, t);
                else if (kind < 97)
                        step_state(m, t);
                else
                        step_gap(m, t);
        }
        uint32_t source = 1 + (uint32_t)roll(m, MODEL_SOURCES);
        (void)snprintf(
                m->position[source], sizeof(m->position[source]), "position %" PRIu64, m->step);
        if (!t)
                return;
        store_put_position(t, source, slice_of(m->position[source]));
        char text[32];
        (void)snprintf(text, sizeof(text), "%" PRIu64, m->step);
        store_put_meta(t, "step", slice_of(text));
}

// ---- comparison

typedef struct Compare {
        const Model *m;
        Store *s;
        const char *fault;
        bool damaged;
        const ModelEvent *event;
        const ModelDead *dead;
        uint32_t source;
        uint64_t n;
        char last_key[64];
} Compare;

static bool same_bytes(Slice a, const char *data, size_t len)
{
        return a.len == len && (len == 0 || memcmp(a.data, data, len) == 0);
}

static bool same_route(const ModelRoute *m, const StoreRoute *r)
{
        return m->route.sink == r->sink && m->route.flags == r->flags &&
               m->route.format == r->format && m->route.rule == r->rule &&
               strcmp(m->route.method, r->method) == 0;
}

static const char *compare_delivery(
        const Compare *c, const ModelEvent *m, uint16_t i, const StoreEvent *e)
{
        const ModelRoute *mr = &m->routes[i];
        DeliveryKey d = {m->seq, i};
        StoreRoute r;
        StoreOwed o;
        Slice headers, body;
        if (store_event_route(e, i, &r) != 0 || !same_route(mr, &r))
                return DIFFERS("event %" PRIu64 ": route %u", m->seq, i);
        int result = store_get_owed(c->s, d, &o);
        if (!c->damaged) {
                if (mr->ended ? result != 0 || o.state != OWED_ENDED
                              : mr->has_owed != (result == 0))
                        return DIFFERS("event %" PRIu64 ": owed %d", m->seq, result);
                if (!mr->ended && mr->has_owed &&
                        (o.state != mr->owed.state || o.due_usec != mr->owed.due_usec ||
                                o.attempts != mr->owed.attempts ||
                                strcmp(o.detail, mr->owed.detail) != 0))
                        return DIFFERS("event %" PRIu64 ": what owed says", m->seq);
        }
        if (mr->ended)
                return NULL;
        result = store_get_own(c->s, d, &headers, &body);
        if (c->damaged && (result == -EUCLEAN || result == -ENOENT)) // it says that it has none
                return NULL;
        if (result != 0 || !same_bytes(headers, mr->headers, strlen(mr->headers)) ||
                !same_bytes(body, mr->body, strlen(mr->body)))
                return DIFFERS("event %" PRIu64 ": own body (%d)", m->seq, result);
        return NULL;
}

static int compare_event(const StoreEvent *e, void *u)
{
        Compare *c = u;
        while (c->damaged && c->event && c->event->seq < e->seq)
                c->event = c->event->next;
        const ModelEvent *m = c->event;
        if (!m || m->seq != e->seq || m->source != e->source || m->n_routes != e->n_routes ||
                !same_bytes(e->record, m->record, m->record_len)) {
                c->fault = DIFFERS("event %" PRIu64 " is wrong", e->seq);
                return -ECANCELED;
        }
        for (uint16_t i = 0; i < m->n_routes && !c->fault; i++)
                c->fault = compare_delivery(c, m, i, e);
        c->event = m->next;
        return c->fault ? -ECANCELED : 0;
}

static int compare_dead(const StoreDead *d, void *u)
{
        Compare *c = u;
        while (c->damaged && c->dead && c->dead->id < d->dead)
                c->dead = c->dead->next;
        const ModelDead *m = c->dead;
        if (!m || m->id != d->dead || !same_bytes(d->record, m->record, m->record_len) ||
                !same_route(&m->route, &d->route) || strcmp(d->reason, "rejected") != 0 ||
                !same_bytes(d->route.own_headers, m->route.headers, strlen(m->route.headers)) ||
                !same_bytes(d->route.own_body, m->route.body, strlen(m->route.body))) {
                c->fault = DIFFERS("dead letter %" PRIu64 " is wrong", d->dead);
                return -ECANCELED;
        }
        c->dead = m->next;
        return 0;
}

static int compare_state_row(Slice key, Slice value, void *u)
{
        Compare *c = u;
        const ModelState *s = c->m->state;
        while (s && (s->source != c->source || !slice_eq_str(key, s->key)))
                s = s->next;
        if (!s || !same_bytes(value, s->value, s->len)) {
                c->fault = DIFFERS("state %.*s of %u", SLICE_ARG(key), c->source);
                return -ECANCELED;
        }
        (void)snprintf(c->last_key, sizeof(c->last_key), "%.*s", SLICE_ARG(key));
        c->n++;
        return 0;
}

static int compare_gap(const StoreGap *g, void *u)
{
        Compare *c = u;
        char text[32];
        (void)snprintf(text, sizeof(text), "gap %" PRIu64, g->seq);
        if (!slice_eq_str(g->record, text))
                c->fault = DIFFERS("gap %" PRIu64, g->seq);
        c->n++;
        return c->fault ? -ECANCELED : 0;
}

static const char *compare_state(Compare *c)
{
        for (c->source = 1; c->source <= MODEL_SOURCES; c->source++) {
                uint64_t rows = 0, bytes = 0;
                for (const ModelState *s = c->m->state; s; s = s->next)
                        if (s->source == c->source) {
                                rows++;
                                bytes += strlen(s->key) + s->len;
                        }
                c->n = 0;
                c->last_key[0] = 0;
                int r = 1;
                while (r == 1) {
                        char from[64];
                        memcpy(from, c->last_key, sizeof(from));
                        r = store_each_state(
                                c->s, c->source, slice_of(from), 300, compare_state_row, c);
                }
                if (c->damaged ? r == -ECANCELED : r != 0 || c->n != rows)
                        return c->fault ? c->fault
                                        : DIFFERS("state of %u: %d, %" PRIu64 " rows", c->source, r,
                                                  c->n);
                if (!c->damaged && store_state_bytes(c->s, c->source) != bytes)
                        return DIFFERS("state bytes of %u", c->source);
                Slice position = SLICE_NULL;
                r = store_get_position(c->s, c->source, &position);
                const char *want = c->m->position[c->source];
                if (!c->damaged && (*want ? r != 0 || !slice_eq_str(position, want) : r != -ENOENT))
                        return DIFFERS("position of %u: %.*s is not %s", c->source,
                                SLICE_ARG(position), want);
                if (c->damaged && r == 0 && !slice_starts(position, SLICE_LIT("position ")))
                        return DIFFERS("position of %u is nonsense", c->source);
        }
        return NULL;
}

static const char *compare_fresh(const Compare *c, uint16_t sink, uint64_t *ret_n)
{
        DeliveryKey keys[64];
        uint64_t bytes[64], cursor = 0;
        unsigned n = 0, at = 0;
        bool end = false;
        for (const ModelEvent *e = c->m->events; e; e = e->next)
                for (uint16_t i = 0; i < e->n_routes; i++) {
                        const ModelRoute *r = &e->routes[i];
                        if (r->route.sink != sink || r->ended || r->has_owed)
                                continue;
                        for (uint64_t before = UINT64_MAX; at == n && !end; at = 0) {
                                if (store_scan_fresh(
                                            c->s, sink, &cursor, 10, keys, bytes, 64, &n) != 0)
                                        return DIFFERS("scan_fresh fails");
                                end = cursor == before;
                                before = cursor;
                                if (n)
                                        at = 0;
                                if (n)
                                        break;
                        }
                        if (at >= n || keys[at].seq != e->seq || keys[at].route != i ||
                                bytes[at] != e->record_len + strlen(r->headers) + strlen(r->body))
                                return DIFFERS("fresh %" PRIu64 "/%u of sink %u", e->seq, i, sink);
                        at++;
                        ++*ret_n;
                }
        return NULL;
}

static int count_owed(DeliveryKey d, const StoreOwed *o, void *u)
{
        ++*(uint64_t *)u;
        return 0;
}

static const char *compare_owed(const Compare *c, uint16_t sink)
{
        uint64_t want = 0, due_early = 0, got = 0, seen = 0, next, last = 0;
        for (const ModelEvent *e = c->m->events; e; e = e->next)
                for (uint16_t i = 0; i < e->n_routes; i++) {
                        const ModelRoute *r = &e->routes[i];
                        if (r->route.sink != sink || r->ended || !r->has_owed)
                                continue;
                        want++;
                        due_early += r->owed.state == OWED_WAITS && r->owed.due_usec <= 1024;
                }
        if (store_each_owed(c->s, sink, count_owed, &got) != 0 || got != want)
                return DIFFERS("owed of sink %u: %" PRIu64 " for %" PRIu64, sink, got, want);
        DueDelivery due[3], after;
        unsigned n;
        for (bool first = true;; first = false) {
                if (store_scan_due(c->s, sink, first ? NULL : &after, 1024, due, 3, &n, &next) != 0)
                        return DIFFERS("scan_due fails");
                if (n == 0)
                        break;
                for (unsigned i = 0; i < n; i++) {
                        if (due[i].due_usec < last || due[i].owed.due_usec != due[i].due_usec)
                                return DIFFERS("due of sink %u out of order", sink);
                        last = due[i].due_usec;
                }
                seen += n;
                after = due[n - 1];
        }
        if (seen != due_early || (next != USEC_INFINITY && next <= 1024))
                return DIFFERS("due of sink %u: %" PRIu64 " for %" PRIu64, sink, seen, due_early);
        return NULL;
}

static const char *compare_counts(const Compare *c)
{
        StoreUsage usage;
        store_usage(c->s, &usage);
        uint64_t events = 0, bytes = 0, dead = 0;
        for (const ModelEvent *e = c->m->events; e; e = e->next) {
                events++;
                bytes += e->record_len;
                for (uint16_t i = 0; i < e->n_routes; i++)
                        bytes += strlen(e->routes[i].headers) + strlen(e->routes[i].body);
        }
        for (const ModelDead *d = c->m->dead; d; d = d->next)
                dead++;
        if (usage.events != events || usage.event_bytes != bytes || usage.dead != dead ||
                usage.last_seq != c->m->next_seq - 1)
                return DIFFERS("usage: %" PRIu64 " events, %" PRIu64 " bytes, %" PRIu64 " dead",
                        usage.events, usage.event_bytes, usage.dead);
        for (uint16_t sink = 1; sink <= MODEL_SINKS; sink++) {
                SinkUsage k, want = {0};
                store_sink_usage(c->s, sink, &k);
                for (const ModelEvent *e = c->m->events; e; e = e->next)
                        for (uint16_t i = 0; i < e->n_routes; i++) {
                                const ModelRoute *r = &e->routes[i];
                                if (r->route.sink != sink || r->ended)
                                        continue;
                                want.deliveries++;
                                want.bytes += e->record_len + strlen(r->headers) + strlen(r->body);
                                want.oldest_seq = want.oldest_seq ? want.oldest_seq : e->seq;
                        }
                if (k.deliveries != want.deliveries || k.bytes != want.bytes ||
                        k.oldest_seq > want.oldest_seq ||
                        (k.oldest_seq == 0) != (want.oldest_seq == 0))
                        return DIFFERS("sink %u: %" PRIu64 " deliveries, %" PRIu64
                                       " bytes, oldest %" PRIu64 " for %" PRIu64 ", %" PRIu64
                                       ", %" PRIu64,
                                sink, k.deliveries, k.bytes, k.oldest_seq, want.deliveries,
                                want.bytes, want.oldest_seq);
        }
        return NULL;
}

static int compare_ledger(const LedgerEntry *e, void *u)
{
        Compare *c = u;
        c->n++;
        if (strlen(e->event_id) != ID_HEX || strspn(e->event_id, "0") == ID_HEX || e->sink == 0 ||
                e->sink > MODEL_SINKS || e->seq >= c->m->next_seq)
                c->fault = DIFFERS("ledger entry of %" PRIu64, e->seq);
        return c->fault ? -ECANCELED : 0;
}

static const char *compare_all(Compare *c)
{
        c->event = c->m->events;
        c->dead = c->m->dead;
        int r = store_each_event(c->s, 0, compare_event, c);
        if (c->fault || (!c->damaged && (r != 0 || c->event)))
                return c->fault ? c->fault : DIFFERS("events: %d", r);
        r = store_each_dead(c->s, 0, compare_dead, c);
        if (c->fault || (!c->damaged && (r != 0 || c->dead)))
                return c->fault ? c->fault : DIFFERS("dead letters: %d", r);
        const char *fault = compare_state(c);
        if (fault)
                return fault;
        c->n = 0;
        r = store_each_gap(c->s, compare_gap, c);
        uint64_t gaps = 0, cursor = 0;
        for (const ModelGap *g = c->m->gaps; g; g = g->next)
                gaps++;
        if (c->fault || (!c->damaged && (r != 0 || c->n != gaps)))
                return c->fault ? c->fault : DIFFERS("gaps: %d, %" PRIu64, r, c->n);
        c->n = 0;
        uint64_t before;
        do {
                before = cursor;
                r = store_each_ledger(c->s, &cursor, 7, compare_ledger, c);
        } while (r == 0 && cursor != before);
        if (c->fault || (!c->damaged && (r != 0 || c->n > c->m->ledger || (c->m->ledger && !c->n))))
                return c->fault ? c->fault : DIFFERS("ledger: %d, %" PRIu64 " entries", r, c->n);
        return NULL;
}

const char *model_compare(const Model *m, Store *s)
{
        Compare c = {.m = m, .s = s};
        const char *fault = compare_counts(&c);
        if (fault)
                return fault;
        if (store_read_begin(s) != 0)
                return "cannot read";
        fault = compare_all(&c);
        for (uint16_t sink = 1; sink <= MODEL_SINKS && !fault; sink++) {
                uint64_t n = 0;
                fault = compare_fresh(&c, sink, &n);
                if (!fault)
                        fault = compare_owed(&c, sink);
        }
        store_read_end(s);
        return fault;
}

const char *model_compare_damaged(const Model *m, Store *s)
{
        Compare c = {.m = m, .s = s, .damaged = true};
        int r = store_read_begin(s);
        if (r != 0)
                return r == -EUCLEAN ? NULL : "cannot read";
        const char *fault = compare_all(&c);
        store_read_end(s);
        return fault;
}
