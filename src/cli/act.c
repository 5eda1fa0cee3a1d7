// SPDX-License-Identifier: MIT
// Singular nouns act: a sink is paused, resumed, pinged; a source is forgotten; the configuration is
// read again.
#include "cli/client.h"
#include "cli/output.h"

#include "base/text.h"
#include <unistd.h>

static ExitStatus on_sink(Context *c, const char *method, const char *done)
{
        json_t *answer = NULL;
        ExitStatus r =
                client_call(c, method, json_pack("{s:s}", "name", c->arguments[0]), 60, &answer);
        if (r == STATUS_OK && c->json)
                print_json(answer);
        else if (r == STATUS_OK)
                (void)printf("sink %s %s\n", c->arguments[0], done);
        json_decref(answer);
        return r;
}

ExitStatus command_sink_pause(Context *c)
{
        return on_sink(c, "SinkPause", "is paused; its queue is kept (belfry resume goes on)");
}

ExitStatus command_sink_resume(Context *c)
{
        return on_sink(c, "SinkResume", "goes on");
}

// A trace has lines: each is escaped by itself, so that it still reads as one.
static void print_trace(const char *trace)
{
        while (*trace) {
                size_t n = strcspn(trace, "\n"), shown = n && trace[n - 1] == '\r' ? n - 1 : n;
                print_escaped((Slice){trace, shown});
                (void)putchar('\n');
                trace += n + (trace[n] == '\n');
        }
}

ExitStatus command_sink_ping(Context *c)
{
        json_t *answer = NULL;
        ExitStatus r =
                client_call(c, "SinkPing", json_pack("{s:s}", "name", c->arguments[0]), 0, &answer);
        if (r != STATUS_OK)
                return r;
        bool delivered = json_is_true(json_object_get(answer, "delivered"));
        if (c->json) {
                print_json(answer);
        } else {
                char total[TEXT_QUANTITY_MAX];
                const char *class = get_text(answer, "class");
                Colour colour = delivered ? COLOUR_GOOD : COLOUR_BAD;
                print_trace(get_text(answer, "trace"));
                (void)printf("%s%s%s", colour_on(c, colour), class, colour_off(c, colour));
                if (get_int(answer, "status"))
                        (void)printf(" %lld", (long long)get_int(answer, "status"));
                (void)printf(" after %s",
                        text_duration_short((uint64_t)get_int(answer, "total_usec"), total));
                if (*get_text(answer, "detail")) {
                        (void)printf(": ");
                        print_escaped(slice_of(get_text(answer, "detail")));
                }
                (void)putchar('\n');
                if (!delivered && *get_text(answer, "advice"))
                        (void)printf("What to do: %s\n", get_text(answer, "advice"));
        }
        json_decref(answer);
        return delivered ? STATUS_OK : STATUS_FAILED;
}

static ExitStatus on_forgotten(Context *c, json_t *answer, bool last, void *userdata)
{
        if (!last && isatty(STDERR_FILENO))
                (void)fputc('.', stderr);
        return STATUS_OK;
}

ExitStatus command_source_forget(Context *c)
{
        ExitStatus r = client_stream(
                c, "SourceForget", json_pack("{s:s}", "name", c->arguments[0]), on_forgotten, NULL);
        if (r == STATUS_OK && c->json)
                (void)puts("{\"done\":true}");
        else if (r == STATUS_OK)
                (void)printf("source %s is forgotten; should it come back, it begins anew\n",
                        c->arguments[0]);
        return r;
}

ExitStatus command_reload(Context *c)
{
        static const char *const names[] = {"force", "park", "drop"};
        json_t *p = json_object(), *answer = NULL;
        for (size_t i = 0; i < N_ELEMENTS(names); i++)
                if (option_given(c, names[i]))
                        (void)json_object_set_new(p, names[i], json_true());
        ExitStatus r = client_call(c, "Reload", p, 0, &answer);
        if (r == STATUS_OK && c->json) {
                print_json(answer);
        } else if (r == STATUS_OK) {
                print_diagnostics(stderr, json_object_get(answer, "diagnostics"));
                (void)printf("reloaded: %lld sources, %lld sinks, %lld rules\n",
                        (long long)get_int(answer, "sources"), (long long)get_int(answer, "sinks"),
                        (long long)get_int(answer, "rules"));
        }
        json_decref(answer);
        return r;
}
