// SPDX-License-Identifier: MIT
// Timers and their coming firings: the list of sources is asked for those of module timer, and each of
// them for its next firings, since only its process knows its zone. A timer that cannot answer is
// named with its reason; the others are shown all the same.
#include "cli/client.h"
#include "cli/output.h"

typedef struct Listing {
        json_t *firings; // for --json
        bool ok;
} Listing;

static ExitStatus on_firing(Context *c, json_t *answer, bool last, void *userdata)
{
        Listing *l = userdata;
        json_t *piece = json_object_get(answer, "piece");
        const char *text = get_text(piece, "text");
        if (last)
                l->ok = json_is_true(json_object_get(answer, "ok"));
        if (!c->json && *text) {
                (void)printf("  ");
                print_lines(text);
        }
        if (c->json && !last)
                (void)json_array_append(l->firings, piece);
        return STATUS_OK;
}

static ExitStatus list_one(Context *c, const json_t *source, const char *count, json_t *all)
{
        const char *name = get_text(source, "name");
        const json_t *watches = json_object_get(source, "watches");
        const char *zone = get_text(watches, "zone");
        Listing l = {.firings = json_array()};
        if (!c->json) {
                print_escaped(slice_of(name));
                (void)printf("  %s%s%s\n", get_text(watches, "schedule"), *zone ? "  " : "", zone);
        }
        ExitStatus r = client_stream(c, "SourceCommand",
                json_pack("{s:s, s:s, s:s}", "verb", "next", "name", name, "argument", count),
                on_firing, &l);
        if (c->json)
                (void)json_array_append_new(
                        all, json_pack("{s:s, s:O}", "name", name, "firings", l.firings));
        json_decref(l.firings);
        return r == STATUS_OK && !l.ok ? STATUS_FAILED : r;
}

ExitStatus command_timers(Context *c)
{
        uint64_t n = 5;
        size_t i, shown = 0;
        char count[24];
        json_t *source, *answer = NULL, *all = json_array();
        ExitStatus worst = option_number(c, "next", 1000, &n), r;
        if (worst == STATUS_OK && n == 0) {
                print_error("--next: expected a number from 1 to 1000");
                worst = STATUS_USAGE;
        }
        if (worst == STATUS_OK)
                worst = client_call(c, "Sources", NULL, 60, &answer);
        (void)snprintf(count, sizeof(count), "%llu", (unsigned long long)n);
        json_array_foreach(json_object_get(answer, "sources"), i, source)
        {
                if (strcmp(get_text(source, "module"), "timer") != 0)
                        continue;
                r = list_one(c, source, count, all);
                worst = r != STATUS_OK ? r : worst;
                shown++;
        }
        if (answer && c->json)
                print_json(all);
        else if (answer && shown == 0)
                (void)printf("no source has module = \"timer\"\n");
        json_decref(answer);
        json_decref(all);
        return worst;
}
