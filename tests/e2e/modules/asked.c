// SPDX-License-Identifier: MIT
// belfry-source-asked: a source for tests that can be asked things. Its answers say how it was born;
// `mode` makes it fail at start, or never get ready. It stands where nobody configures it but a test
// that copies it beside a belfryd of its own.
#include "module/source.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct AskedOptions {
        int mode;
        char *note;
} AskedOptions;

static const char *const modes[] = {"ready", "failing", "starting", NULL};
static const Option options[] = {
        {.name = "mode",
                .type = OPTION_ENUM,
                .offset = OPTION_MEMBER(AskedOptions, int, mode),
                .values = modes,
                .prose = "How it behaves."},
        {.name = "note",
                .type = OPTION_STRING,
                .offset = OPTION_MEMBER(AskedOptions, char *, note),
                .def = "none",
                .prose = "Told in answers."},
};

static const EventField fields[] = {
        {"asked.verb", FIELD_STRING, "What it was asked."},
        {"when", FIELD_TIME, "When."},
};
static const EventType types[] = {
        {"asked.happened", "It was asked.", fields, N_ELEMENTS(fields),
                "{\"asked\":{\"verb\":\"x\"}}"},
};

static const SourceCommand commands[] = {
        {"doctor", NULL, "Says how it is.", true},
        {"echo", "WORD", "Says the word again.", false},
        {"many", "[N]", "Answers in many pieces.", false},
        {"wrong", NULL, "Fails, and says so.", true},
        {"die", NULL, "Dies while it answers.", false},
        {"hang", NULL, "Never answers.", false},
        {"garbage", NULL, "Sends events although it may not.", true},
};

typedef struct Asked {
        Source *source;
        const AskedOptions *options;
        bool position;
        unsigned rows;
        uint64_t ticket; // of a doctor that waits for its state
} Asked;

static int start(Source *s, const void *values, Slice position, void **ret, Reason *reason)
{
        Asked *a = calloc(1, sizeof(*a));
        if (!a)
                return -12;
        *a = (Asked){.source = s, .options = values, .position = position.data != NULL};
        *ret = a;
        if (source_for_command(s))
                return 0;
        if (a->options->mode == 1) {
                free(a);
                *ret = NULL;
                return reason_set(reason, -2, "the world is not ready");
        }
        source_begin(s);
        source_position(s, SLICE_LIT("here"));
        source_state_put(s, SLICE_LIT("row"), SLICE_LIT("value"));
        if (source_commit(s, NULL) < 0)
                source_fail(s, false, "commit");
        if (a->options->mode == 0)
                source_ready(s);
        return 0;
}

static void say(Asked *a, uint64_t ticket, bool last, json_t *piece)
{
        source_answer(a->source, ticket, last, piece);
        json_decref(piece);
}

static int state(void *instance, Slice key, Slice value)
{
        Asked *a = instance;
        a->rows++;
        return 0;
}

static int state_end(void *instance, bool more)
{
        Asked *a = instance;
        say(a, a->ticket, true,
                json_pack("{s:b, s:s, s:s, s:b, s:b, s:i, s:s}", "ok", 1, "text", "all is well",
                        "note", a->options->note, "born", source_for_command(a->source), "position",
                        a->position, "rows", (int)a->rows, "name", source_name(a->source)));
        return 0;
}

static void command(void *instance, uint64_t ticket, const char *verb, const json_t *arguments)
{
        Asked *a = instance;
        const char *word = json_string_value(json_object_get(arguments, "argument"));
        if (strcmp(verb, "doctor") == 0) {
                a->ticket = ticket;
                a->rows = 0;
                if (source_state_get(a->source, SLICE_NULL, 4096) < 0)
                        abort();
        } else if (strcmp(verb, "echo") == 0) {
                say(a, ticket, true, json_pack("{s:b, s:s}", "ok", 1, "text", word));
        } else if (strcmp(verb, "many") == 0) {
                for (int i = 0; i < (word ? 3 : 100000); i++)
                        say(a, ticket, false,
                                json_pack("{s:s, s:i}", "text", "line\n\033[2J", "i", i));
                say(a, ticket, true, json_pack("{s:b, s:s}", "ok", 1, "text", "end"));
        } else if (strcmp(verb, "wrong") == 0) {
                say(a, ticket, false, json_pack("{s:s}", "text", "looking"));
                say(a, ticket, true, json_pack("{s:b, s:s}", "ok", 0, "text", "no free slot"));
        } else if (strcmp(verb, "die") == 0) {
                say(a, ticket, false, json_pack("{s:s}", "text", "about to"));
                source_fail(a->source, false, "it was asked to");
        } else if (strcmp(verb, "garbage") == 0) {
                source_begin(a->source);
                source_position(a->source, SLICE_LIT("there"));
                (void)!source_commit(a->source, NULL);
        }
}

static void stop(void *instance)
{
        source_stopped(((Asked *)instance)->source);
}

int main(int argc, char **argv)
{
        const SourceModule m = {.name = "asked",
                .summary = "Answers; for tests.",
                .options = options,
                .n_options = N_ELEMENTS(options),
                .options_size = sizeof(AskedOptions),
                .types = types,
                .n_types = N_ELEMENTS(types),
                .commands = commands,
                .n_commands = N_ELEMENTS(commands),
                .start = start,
                .state = state,
                .state_end = state_end,
                .command = command,
                .stop = stop,
                .free = free};
        return source_main(&m, argc, argv);
}
