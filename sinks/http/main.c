// SPDX-License-Identifier: MIT
// belfry-sink-http: the table of callbacks, and what ties them together: endpoints by number, a
// pool of transfers (at most as many as the hub has slots), and two slow clocks. The hub decides
// what is attempted when; nothing is queued, retried or remembered here.
//
// A 2xx whose body is still coming a second after its head is reported then, and the transfer goes
// on alone ("lingers") until body or timeout ends, or its handle is wanted for a new attempt.

#include <errno.h>
#include <syslog.h>

#define HASH_NONFATAL_OOM 1
// Keys are the hub's own small numbers; the default hash falls through cases without saying so.
#define HASH_FUNCTION(key, len, hash) ((hash) = *(const uint32_t *)(key)*UINT32_C(2654435761))
#include <uthash.h>

#include "base/clock.h"
#include "base/limits.h"
#include "endpoint.h"
#include "module/sink.h"
#include "transfer.h"

#define RETRY_USEC (10 * USEC_PER_SEC) // unusable endpoints are tried, rotated secrets noticed
#define LINGER_USEC (1 * USEC_PER_SEC) // from a 2xx head to the verdict, if the body is slow

enum {
        TRANSFERS_MAX = 1024,   // whatever the hub says
        IDLE_CONNECTIONS = 128, // kept open; about what a pool of transfers uses
};

typedef struct Endpoint {
        UT_hash_handle hh;
        uint32_t number, generation;
        char *name;
        HttpOptions *options;
        Target *target; // NULL while unusable
        uint64_t files_stamp, checked_usec;
        char *reason; // why it is unusable
} Endpoint;

typedef struct Http {
        Sink *sink;
        Pump *pump;
        Endpoint *endpoints; // by number
        Transfer **transfers;
        size_t n_transfers, n_slots;
        size_t n_running; // owe a verdict: lingering ones do not
        sd_event_source *retry, *linger;
        bool linger_armed, stopping;
} Http;

static Endpoint *endpoint_free(Endpoint *e)
{
        if (!e)
                return NULL;
        target_unref(e->target);
        if (e->options) {
                option_clear(http_options, n_http_options, e->options);
                free(e->options);
        }
        free(e->name);
        free(e->reason);
        free(e);
        return NULL;
}
DEFINE_CLEANUP(Endpoint, endpoint_free)

static void timer_start(sd_event_source *timer, uint64_t usec)
{
        (void)sd_event_source_set_time_relative(timer, usec);
        (void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

// For belfry status: what is not as safe as it could be, and what is in use.
static void stats_send(Http *h)
{
        json_t *endpoints = json_object();

        for (Endpoint *e = h->endpoints; endpoints && e; e = e->hh.next)
                (void)json_object_set_new(endpoints, e->name,
                        json_pack("{s:b, s:b}", "usable", e->target != NULL, "verify",
                                e->options->verify));
        json_t *stats = json_pack("{s:o}", "endpoints", endpoints);
        if (stats)
                sink_stats(h->sink, stats);
        json_decref(stats);
}

// Reads the references anew. On failure the endpoint keeps a target it has.
static int endpoint_resolve(Http *h, Endpoint *e, Reason *reason)
{
        Target *t;

        e->files_stamp = target_files_stamp(e->options);
        e->checked_usec = clock_mono_usec();
        int r = target_new(&t, e->options, sink_credentials_dir(h->sink), reason);
        if (r < 0)
                return r;
        target_unref(e->target);
        e->target = t;
        return 0;
}

static void endpoint_unusable(Http *h, Endpoint *e, const char *reason)
{
        bool news = !e->reason || strcmp(e->reason, reason) != 0;

        if (news) {
                free(e->reason);
                e->reason = strdup(reason);
                sink_endpoint_state(h->sink, e->number, e->generation, reason);
        }
        timer_start(h->retry, RETRY_USEC);
}

static int on_retry(sd_event_source *s, uint64_t usec, void *userdata)
{
        Http *h = userdata;

        for (Endpoint *e = h->endpoints; e; e = e->hh.next) {
                Reason reason = {0};
                if (e->target)
                        continue;
                if (endpoint_resolve(h, e, &reason) < 0) {
                        endpoint_unusable(h, e, reason.text);
                        continue;
                }
                free(e->reason);
                e->reason = NULL;
                sink_endpoint_state(h->sink, e->number, e->generation, NULL);
                stats_send(h);
        }
        return 0;
}

static int http_endpoint(void *instance, uint32_t number, uint32_t generation, const char *name,
        void *options, Reason *reason)
{
        Http *h = instance;
        Endpoint *old;
        Reason why = {0};
        _cleanup_(endpoint_freep) Endpoint *e = calloc(1, sizeof(*e));

        if (!e) {
                option_clear(http_options, n_http_options, options);
                free(options);
                return -ENOMEM;
        }
        e->options = options;
        e->number = number;
        e->generation = generation;
        e->name = strdup(name);
        if (!e->name)
                return -ENOMEM;
        int r = endpoint_resolve(h, e, &why);
        HASH_FIND_INT(h->endpoints, &number, old);
        if (old) { // its attempts that still run hold the old target
                HASH_DEL(h->endpoints, old);
                endpoint_free(old);
        }
        HASH_ADD_INT(h->endpoints, number, e);
        if (!e->hh.tbl)
                return -ENOMEM;
        Endpoint *kept = TAKE_PTR(e);
        if (r < 0)
                endpoint_unusable(h, kept, why.text);
        stats_send(h);
        return 0;
}

static void http_forget(void *instance, uint32_t number)
{
        Http *h = instance;
        Endpoint *e;

        HASH_FIND_INT(h->endpoints, &number, e);
        if (!e)
                return;
        HASH_DEL(h->endpoints, e);
        endpoint_free(e);
        stats_send(h);
}

// A file: reference may have been rewritten since; looked at no more than every ten seconds.
static void endpoint_refresh(Http *h, Endpoint *e)
{
        Reason reason = {0};

        if (clock_mono_usec() - e->checked_usec < RETRY_USEC)
                return;
        e->checked_usec = clock_mono_usec();
        if (target_files_stamp(e->options) == e->files_stamp)
                return;
        if (endpoint_resolve(h, e, &reason) < 0)
                sink_log(h->sink, LOG_WARNING, NULL,
                        "sink %s: %s; going on with what was read before", e->name, reason.text);
}

static void verdict_simple(Http *h, uint64_t ticket, VerdictClass class, const char *detail)
{
        sink_verdict(h->sink,
                &(MessageVerdict){
                        .ticket = ticket, .class = (uint8_t) class, .detail = slice_of(detail)});
}

static void transfer_finish(Http *h, Transfer *t, CURLcode result)
{
        MessageVerdict v;

        if (!t->lingering) {
                transfer_verdict(t, result, &v);
                sink_verdict(h->sink, &v);
                h->n_running--;
        }
        transfer_end(t);
        if (h->stopping && h->n_running == 0)
                sink_stopped(h->sink);
}

static void on_done(CURL *easy, CURLcode result, void *userdata)
{
        char *private;

        (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
        transfer_finish(userdata, (Transfer *)(void *)private, result);
}

// Reports what has its 2xx but whose body drags on.
static int on_linger(sd_event_source *s, uint64_t usec, void *userdata)
{
        Http *h = userdata;
        uint64_t now = clock_mono_usec();

        for (size_t i = 0; i < h->n_transfers; i++) {
                Transfer *t = h->transfers[i];
                MessageVerdict v;
                if (!t->running || t->lingering || !t->head_done || t->status > 299 ||
                        now - t->head_usec < LINGER_USEC)
                        continue;
                transfer_verdict(t, CURLE_OK, &v);
                sink_verdict(h->sink, &v);
                t->lingering = true;
                h->n_running--;
        }
        h->linger_armed = h->n_running > 0;
        if (h->linger_armed)
                timer_start(h->linger, LINGER_USEC / 2);
        else if (h->stopping)
                sink_stopped(h->sink);
        return 0;
}

// An idle transfer, best one that carries this target's options already; else a new one, else the
// one that has lingered longest.
static Transfer *transfer_take(Http *h, const Target *target)
{
        Transfer *idle = NULL, *oldest = NULL;

        for (size_t i = 0; i < h->n_transfers; i++) {
                Transfer *t = h->transfers[i];
                if (!t->running && t->applied == target->serial)
                        return t;
                if (!t->running)
                        idle = t;
                else if (t->lingering && (!oldest || t->head_usec < oldest->head_usec))
                        oldest = t;
        }
        if (idle)
                return idle;
        if (h->n_transfers < h->n_slots) {
                Transfer *t = calloc(1, sizeof(*t));
                if (t && transfer_init(t, h->pump) == 0)
                        return h->transfers[h->n_transfers++] = t;
                free(t);
        }
        if (oldest) {
                pump_remove(h->pump, oldest->easy);
                transfer_end(oldest);
        }
        return oldest;
}

static void http_attempt(void *instance, const MessageAttempt *a)
{
        Http *h = instance;
        Reason reason = {0};
        Endpoint *e;

        HASH_FIND_INT(h->endpoints, &a->endpoint, e);
        if (!e || e->generation != a->generation || h->stopping) {
                sink_unsent(h->sink, a->ticket);
                return;
        }
        if (!e->target) {
                verdict_simple(
                        h, a->ticket, VERDICT_ENDPOINT, e->reason ? e->reason : "not usable");
                return;
        }
        endpoint_refresh(h, e);
        Transfer *t = transfer_take(h, e->target);
        if (!t) { // more attempts than slots, or no memory
                sink_unsent(h->sink, a->ticket);
                return;
        }
        h->n_running++;
        if (!h->linger_armed)
                timer_start(h->linger, LINGER_USEC);
        h->linger_armed = true;
        int r = transfer_begin(t, e->target, a, &reason);
        if (r == 0)
                return; // perhaps ended already
        h->n_running--;
        if (r == -EINVAL)
                verdict_simple(h, a->ticket, VERDICT_REJECTED, reason.text);
        else
                sink_unsent(h->sink, a->ticket);
}

static void http_cancel(void *instance, uint64_t ticket)
{
        Http *h = instance;

        for (size_t i = 0; i < h->n_transfers; i++) {
                Transfer *t = h->transfers[i];
                if (!t->running || t->lingering || t->ticket != ticket)
                        continue;
                if (t->sending)
                        return; // too late: its verdict will come
                pump_remove(h->pump, t->easy);
                transfer_end(t);
                h->n_running--;
                sink_unsent(h->sink, ticket);
                if (h->stopping && h->n_running == 0)
                        sink_stopped(h->sink);
                return;
        }
}

static void http_stop(void *instance)
{
        Http *h = instance;

        h->stopping = true;
        if (h->n_running == 0)
                sink_stopped(h->sink);
}

static void http_free(void *instance)
{
        Http *h = instance;
        Endpoint *e, *next;

        if (!h)
                return;
        for (size_t i = 0; i < h->n_transfers; i++) {
                if (h->transfers[i]->running)
                        pump_remove(h->pump, h->transfers[i]->easy);
                transfer_deinit(h->transfers[i]);
                free(h->transfers[i]);
        }
        free(h->transfers);
        HASH_ITER (hh, h->endpoints, e, next) {
                HASH_DEL(h->endpoints, e);
                endpoint_free(e);
        }
        sd_event_source_disable_unref(h->retry);
        sd_event_source_disable_unref(h->linger);
        pump_free(h->pump);
        curl_global_cleanup();
        free(h);
}

static int http_start(Sink *s, void **ret_instance, Reason *reason)
{
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return reason_set(reason, -EIO, "libcurl could not be set up");
        Http *h = calloc(1, sizeof(*h));
        int r = h ? 0 : -ENOMEM;
        if (r == 0) {
                h->sink = s;
                h->n_slots = sink_slots(s) < TRANSFERS_MAX ? (size_t)sink_slots(s) : TRANSFERS_MAX;
                h->transfers = calloc(TRANSFERS_MAX, sizeof(Transfer *));
                r = h->transfers ? pump_new(&h->pump, sink_loop(s), IDLE_CONNECTIONS, on_done, h)
                                 : -ENOMEM;
        }
        if (r >= 0)
                r = sd_event_add_time(
                        sink_loop(s), &h->retry, CLOCK_MONOTONIC, USEC_INFINITY, 0, on_retry, h);
        if (r >= 0)
                r = sd_event_add_time(
                        sink_loop(s), &h->linger, CLOCK_MONOTONIC, USEC_INFINITY, 0, on_linger, h);
        if (r >= 0)
                r = sd_event_source_set_enabled(h->retry, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_enabled(h->linger, SD_EVENT_OFF);
        if (r < 0) {
                http_free(h);
                return reason_errno(reason, r, "starting the http sink");
        }
        *ret_instance = h;
        return 0;
}

static const SinkModule http_module = {
        .name = "http",
        .summary = "Posts events to an HTTP or HTTPS endpoint as webhooks.",
        .options = http_options,
        .options_size = sizeof(HttpOptions),
        .check = http_check,
        .start = http_start,
        .endpoint = http_endpoint,
        .forget = http_forget,
        .attempt = http_attempt,
        .cancel = http_cancel,
        .stop = http_stop,
        .free = http_free,
};

int main(int argc, char **argv)
{
        SinkModule module = http_module;

        module.n_options = n_http_options; // no constant in another file's table
        return sink_main(&module, argc, argv);
}
