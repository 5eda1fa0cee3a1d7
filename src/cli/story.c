// SPDX-License-Identifier: MIT
// tail and why: events as they come, and what became of one. `why` gathers what the daemon finds in
// its queue, dead letters and ledger, puts it in order of time and tells it.
#include "cli/client.h"
#include "cli/output.h"

#include "base/clock.h"
#include "base/text.h"
#include <stdlib.h>

// ---- tail

static ExitStatus on_event(Context *c, json_t *answer, bool last, void *userdata)
{
        const json_t *e = json_object_get(answer, "event");
        int64_t missed = get_int(answer, "missed");
        uint64_t usec;
        char when[64];
        if (c->json) {
                if (e || missed) {
                        (void)json_dumpf(e ? e : answer, stdout, JSON_COMPACT);
                        (void)putchar('\n');
                }
        } else if (missed) {
                (void)printf("%smissed %lld%s\n", colour_on(c, COLOUR_WARN), (long long)missed,
                        colour_off(c, COLOUR_WARN));
        } else if (e) {
                (void)printf("%s%s%s  %s  ", colour_on(c, COLOUR_DIM),
                        get_time(e, "time", &usec) ? local_time(usec, when) : "-",
                        colour_off(c, COLOUR_DIM), get_text(e, "type"));
                print_escaped(slice_of(get_text(e, "subject")));
                (void)printf("  %s%s\n", get_text(e, "id"),
                        get_int(answer, "routes") ? "" : "  (no rule wants it)");
        }
        return fflush(stdout) == 0 ? STATUS_OK : STATUS_FAILED;
}

ExitStatus command_tail(Context *c)
{
        const char *filter = option_value(c, "filter");
        return client_stream(
                c, "Tail", filter ? json_pack("{s:s}", "filter", filter) : NULL, on_event, NULL);
}

// ---- why

typedef struct Story {
        json_t *items;
        bool complete;
} Story;

static ExitStatus on_item(Context *c, json_t *answer, bool last, void *userdata)
{
        Story *s = userdata;
        if (last)
                s->complete = !json_is_false(json_object_get(answer, "complete"));
        else
                (void)json_array_append(s->items, answer);
        return STATUS_OK;
}

static uint64_t moment(const json_t *item)
{
        uint64_t usec = 0;
        if (!get_time(item, "when", &usec))
                (void)get_time(item, "stored", &usec);
        return usec;
}

// The queue's and the dead letter's entries say where it is now and come last.
static int rank(const json_t *item)
{
        const char *word = get_text(item, "item");
        return strcmp(word, "queued") == 0 ? 2 : strcmp(word, "dead-letter") == 0 ? 1 : 0;
}

static int by_time(const void *a, const void *b)
{
        const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
        if (rank(x) != rank(y))
                return rank(x) - rank(y);
        uint64_t s = moment(x), t = moment(y);
        return (s > t) - (s < t);
}

static void line_start(const Context *c, const char *key, const json_t *o)
{
        uint64_t usec;
        char when[64];
        (void)printf("%s%s%s  ", colour_on(c, COLOUR_DIM),
                get_time(o, key, &usec) ? local_time(usec, when) : "            ",
                colour_off(c, COLOUR_DIM));
}

static void outcome(const json_t *o)
{
        char took[TEXT_QUANTITY_MAX];
        (void)printf("%s", get_text(o, "class"));
        if (get_int(o, "status"))
                (void)printf(" %lld", (long long)get_int(o, "status"));
        if (get_int(o, "took_usec"))
                (void)printf(
                        " after %s", text_duration_short((uint64_t)get_int(o, "took_usec"), took));
        if (*get_text(o, "detail")) {
                (void)printf(" (");
                print_escaped(slice_of(get_text(o, "detail")));
                (void)printf(")");
        }
        (void)putchar('\n');
}

static void tell_ledger(const Context *c, const json_t *o)
{
        const char *word = get_text(o, "item");
        line_start(c, "when", o);
        if (strcmp(word, "attempt") == 0)
                (void)printf("sink %s, rule %s: attempt %lld failed: ", get_text(o, "sink"),
                        get_text(o, "rule"), (long long)get_int(o, "attempts"));
        else
                (void)printf(
                        "sink %s, rule %s: %s: ", get_text(o, "sink"), get_text(o, "rule"), word);
        outcome(o);
}

static void tell_head(const Context *c, const json_t *o)
{
        line_start(c, "time", o);
        (void)printf("happened: %s ", get_text(o, "type"));
        print_escaped(slice_of(get_text(o, "subject")));
        if (*get_text(o, "source"))
                (void)printf(" (source %s)", get_text(o, "source"));
        (void)putchar('\n');
        if (*get_text(o, "stored")) {
                line_start(c, "stored", o);
                (void)printf("stored in the queue\n");
        }
}

static void tell_queued(const Context *c, const json_t *o)
{
        size_t i;
        json_t *route;
        json_array_foreach(json_object_get(o, "routes"), i, route)
        {
                uint64_t due;
                char when[64];
                (void)printf("now           sink %s, rule %s: %s", get_text(route, "sink"),
                        get_text(route, "rule"), get_text(route, "now"));
                if (get_int(route, "attempts"))
                        (void)printf(", %lld attempt%s made", (long long)get_int(route, "attempts"),
                                get_int(route, "attempts") == 1 ? "" : "s");
                if (get_time(route, "due", &due))
                        (void)printf(", due %s", local_time(due, when));
                (void)putchar('\n');
        }
}

static void tell_dead(const Context *c, const json_t *o)
{
        (void)printf("now           sink %s, rule %s: %sdead letter%s (%s): belfry dead retry %s\n",
                get_text(o, "sink"), get_text(o, "rule"), colour_on(c, COLOUR_BAD),
                colour_off(c, COLOUR_BAD), get_text(o, "reason"), get_text(o, "id"));
}

static void tell(const Context *c, const Story *s)
{
        size_t n = json_array_size(s->items);
        json_t **order = calloc(n + 1, sizeof(*order));
        if (!order)
                return;
        const json_t *head = NULL;
        for (size_t i = 0; i < n; i++) {
                order[i] = json_array_get(s->items, i);
                if (rank(order[i]) > 0 && (!head || rank(order[i]) > rank(head)))
                        head = order[i];
        }
        qsort(order, n, sizeof(*order), by_time);
        if (head)
                tell_head(c, head);
        for (size_t i = 0; i < n; i++) {
                if (rank(order[i]) == 2)
                        tell_queued(c, order[i]);
                else if (rank(order[i]) == 1)
                        tell_dead(c, order[i]);
                else
                        tell_ledger(c, order[i]);
        }
        if (!head)
                (void)printf(
                        "now           no longer in the queue: every delivery of it has ended\n");
        free(order);
}

ExitStatus command_why(Context *c)
{
        Story s = {.items = json_array()};
        ExitStatus r =
                client_stream(c, "Why", json_pack("{s:s}", "id", c->arguments[0]), on_item, &s);
        if (r == STATUS_OK && json_array_size(s.items) == 0) {
                (void)fprintf(stderr,
                        "belfry: nothing is known of %s (no rule matched it, or it is older than "
                        "the ledger)\n",
                        c->arguments[0]);
                r = STATUS_FAILED;
        } else if (r == STATUS_OK && c->json) {
                print_json(s.items);
        } else if (r == STATUS_OK) {
                tell(c, &s);
        }
        if (r == STATUS_OK && !s.complete)
                (void)fprintf(stderr, "belfry: part of the store could not be read; the story may "
                                      "not be whole\n");
        json_decref(s.items);
        return r;
}
