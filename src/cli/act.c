// SPDX-License-Identifier: MIT
// Singular nouns act: a sink is paused, resumed, pinged; a source is asked one of its module's verbs or
// forgotten; the configuration is read again.
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
                print_lines(get_text(answer, "trace"));
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

// One answer of SourceCommand: lines for people, the whole object for --json.
static ExitStatus on_piece(Context *c, json_t *answer, bool last, void *userdata)
{
        const json_t *piece = json_object_get(answer, "piece");
        const char *text = get_text(piece, "text");
        bool ok = !last || json_is_true(json_object_get(answer, "ok"));
        if (c->json)
                print_json(piece);
        else if (!ok)
                print_error(*text ? text : "it failed, and the source does not say why");
        else if (*text)
                print_lines(text);
        if (fflush(stdout) != 0)
                return STATUS_FAILED; // main() says so
        return ok ? STATUS_OK : STATUS_FAILED;
}

ExitStatus command_source(Context *c)
{
        json_t *p = json_pack("{s:s, s:s}", "verb", c->arguments[0], "name", c->arguments[1]);
        if (c->n_arguments > 2 && p)
                (void)json_object_set_new(p, "argument", json_string(c->arguments[2]));
        return client_stream(c, "SourceCommand", p, on_piece, NULL);
}

void help_source(Context *c)
{
        size_t i, k;
        json_t *module, *verb, *answer = client_try(c, "Modules");
        (void)printf("\nVerbs:\n  %-26s %s\n", "forget NAME",
                "forget position and state of a removed source");
        json_array_foreach(json_object_get(answer, "modules"), i, module)
        {
                json_array_foreach(json_object_get(module, "commands"), k, verb)
                {
                        char left[128];
                        const char *argument = get_text(verb, "argument");
                        (void)snprintf(left, sizeof(left), "%s NAME%s%s", get_text(verb, "verb"),
                                *argument ? " " : "", argument);
                        (void)printf("  %-26s %s (%s)\n", left, get_text(verb, "prose"),
                                get_text(module, "name"));
                }
        }
        if (!answer)
                (void)printf("The others are known to belfryd, which does not answer.\n");
        json_decref(answer);
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
