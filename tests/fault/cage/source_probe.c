// SPDX-License-Identifier: MIT
// belfry-source-probe: a source for tests. "probe" tries its cage and tells in one event; "flood"
// sends batches whenever it may, to show credit and pauses; "hang" never stops; "crash" aborts.

#include "probe.h"

#include "module/source.h"

#include <stdlib.h>
#include <string.h>

typedef struct ProbeSource {
        Source *source;
        const ProbeOptions *options;
        unsigned sent;
        unsigned state_rows;
} ProbeSource;

static void send_one(ProbeSource *p, const char *type, Slice data)
{
        char id[32];
        int n = snprintf(id, sizeof id, "%u", ++p->sent);

        source_begin(p->source);
        source_position(p->source, slice_mem(id, (size_t)n));
        source_add(p->source, &(SourceEvent){.type = type,
                                      .subject = SLICE_LIT("probe"),
                                      .id_material = slice_mem(id, (size_t)n),
                                      .data = data});
        source_state_put(p->source, SLICE_LIT("key"), slice_mem(id, (size_t)n));
        source_state_del(p->source, SLICE_LIT("gone"));
        if (source_commit(p->source, NULL) < 0)
                source_fail(p->source, false, "commit");
}

static void flood(ProbeSource *p)
{
        static char data[8192];

        memset(data, 'x', sizeof data);
        memcpy(data, "{\"d\":\"", 6);
        memcpy(data + sizeof data - 2, "\"}", 2);
        while (source_may_send(p->source))
                send_one(p, "probe.flood", slice_mem(data, sizeof data));
}

static int start(Source *s, const void *options, Slice position, void **ret, Reason *reason)
{
        ProbeSource *p = calloc(1, sizeof *p);
        if (!p)
                return -12;
        *p = (ProbeSource){.source = s, .options = options};
        *ret = p;
        if (strcmp(p->options->mode, "fail") == 0) {
                free(p);
                *ret = NULL;
                return reason_set(reason, -2, "the world is not ready");
        }
        if (strcmp(p->options->mode, "crash") == 0)
                abort();
        if (strcmp(p->options->mode, "flood") == 0) {
                source_ready(s);
                flood(p);
                return 0;
        }
        if (strcmp(p->options->mode, "big") == 0) {
                size_t n = source_batch_max(s) + 10;
                char *data = malloc(n);
                memset(data, ' ', n);
                data[0] = '{';
                data[n - 1] = '}';
                send_one(p, "probe.big", slice_mem(data, n));
                free(data);
                return source_state_get(s, SLICE_NULL, 4096);
        }
        json_t *j = probe_run(p->options, false);
        char *text = json_dumps(j, JSON_COMPACT);
        send_one(p, "probe.result", slice_of(text));
        free(text);
        json_decref(j);
        source_log(s, 5, NULL, "probed as %s on %s", source_name(s), source_hostname(s));
        source_degraded(s, "only a %s", "probe");
        source_ready(s);
        return 0;
}

static int state(void *instance, Slice key, Slice value)
{
        ProbeSource *p = instance;
        p->state_rows += slice_eq_str(key, "key") && slice_eq_str(value, "value");
        return 0;
}

static int state_end(void *instance, bool more)
{
        ProbeSource *p = instance;
        if (p->state_rows != 2 || more)
                source_fail(p->source, true, "state rows: %u", p->state_rows);
        source_ready(p->source);
        return 0;
}

static void resume(void *instance)
{
        ProbeSource *p = instance;
        if (!source_may_send(p->source))
                source_fail(p->source, true, "resumed, but nothing may be sent");
        flood(p);
}

static void stop(void *instance)
{
        ProbeSource *p = instance;
        if (strcmp(p->options->mode, "hang") != 0)
                source_stopped(p->source);
}

int main(int argc, char **argv)
{
        static const EventType types[] = {{.name = "probe.result", .prose = "x", .sample = "{}"},
                {.name = "probe.flood", .prose = "x", .sample = "{}"},
                {.name = "probe.big", .prose = "x", .sample = "{}"}};
        const SourceModule m = {.name = "probe",
                .summary = "tries its cage; for tests",
                .options = probe_options,
                .n_options = n_probe_options,
                .options_size = sizeof(ProbeOptions),
                .types = types,
                .n_types = N_ELEMENTS(types),
                .start = start,
                .state = state,
                .state_end = state_end,
                .resume = resume,
                .stop = stop,
                .free = free};
        return source_main(&m, argc, argv);
}
