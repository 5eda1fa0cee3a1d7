// SPDX-License-Identifier: MIT
// belfry-sink-probe: a sink for tests. An endpoint makes it try its cage, with libcurl and OpenSSL
// as belfry-sink-http uses them, and tell as statistics; every attempt is delivered at once, so that
// the framework's own cost can be measured.

#include "probe.h"

#include "module/sink.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

typedef struct ProbeSink {
        Sink *sink;
} ProbeSink;

static int start(Sink *s, void **ret, Reason *reason)
{
        ProbeSink *p = calloc(1, sizeof *p);
        if (!p)
                return -12;
        p->sink = s;
        *ret = p;
        return 0;
}

// Through the threaded resolver.
static int can_curl(const ProbeOptions *o)
{
        char url[64];
        CURL *c = curl_easy_init();

        (void)snprintf(url, sizeof url, "http://localhost:%d/", (int)o->port);
        (void)curl_easy_setopt(c, CURLOPT_URL, url);
        (void)curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
        (void)curl_easy_setopt(c, CURLOPT_PROXY, "");
        (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(c, CURLOPT_TIMEOUT, 10L);
        CURLcode r = curl_easy_perform(c);
        curl_easy_cleanup(c);
        curl_global_cleanup();
        return (int)r;
}

static int can_load_ca(void)
{
        SSL_CTX *c = SSL_CTX_new(TLS_client_method());
        int ok = c && SSL_CTX_load_verify_locations(c, "/etc/ssl/certs/ca-certificates.crt", NULL);
        SSL_CTX_free(c);
        return ok ? 0 : 5;
}

static int endpoint(void *instance, uint32_t number, uint32_t generation, const char *name,
        void *options, Reason *reason)
{
        ProbeSink *p = instance;
        ProbeOptions *o = options;
        int r = 0;

        if (strcmp(o->mode, "refuse") == 0)
                r = reason_set(reason, -2, "no credential");
        else if (strcmp(o->mode, "quick") != 0) {
                json_t *j = probe_run(o, true);
                json_t *yes = json_object_get(j, "allowed");
                (void)json_object_set_new(yes, "curl", json_integer(can_curl(o)));
                (void)json_object_set_new(yes, "ca", json_integer(can_load_ca()));
                sink_stats(p->sink, j);
                json_decref(j);
        }
        option_clear(probe_options, n_probe_options, o);
        free(o);
        return r;
}

static void attempt(void *instance, const MessageAttempt *a)
{
        ProbeSink *p = instance;

        if (slice_eq_str(a->method, "UNSENT"))
                sink_unsent(p->sink, a->ticket);
        else
                sink_verdict(p->sink, &(MessageVerdict){.ticket = a->ticket,
                                              .class = VERDICT_DELIVERED,
                                              .status = 200,
                                              .detail = SLICE_LIT("ok")});
}

static void forget(void *instance, uint32_t number)
{
}

static void cancel(void *instance, uint64_t ticket)
{
        sink_unsent(((ProbeSink *)instance)->sink, ticket);
}

static void stop(void *instance)
{
        sink_stopped(((ProbeSink *)instance)->sink);
}

int main(int argc, char **argv)
{
        const SinkModule m = {.name = "probe",
                .summary = "tries its cage; for tests",
                .options = probe_options,
                .n_options = n_probe_options,
                .options_size = sizeof(ProbeOptions),
                .start = start,
                .endpoint = endpoint,
                .forget = forget,
                .attempt = attempt,
                .cancel = cancel,
                .stop = stop,
                .free = free};
        return sink_main(&m, argc, argv);
}
