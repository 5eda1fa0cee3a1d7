// SPDX-License-Identifier: MIT
// status: the daemon at a glance, for people: one line that says it all, then each source, sink and
// rule with what matters about it, then what to do next.
#include "cli/client.h"
#include "cli/output.h"

#include "base/clock.h"
#include "base/text.h"

enum { STATUS_WAIT_SEC = 30 };

static size_t count_state(const json_t *list, const char *state)
{
        size_t n = 0, i;
        const json_t *o;
        json_array_foreach((json_t *)list, i, o) n += strcmp(get_text(o, "state"), state) == 0;
        return n;
}

static const char *plural(size_t n)
{
        return n == 1 ? "" : "s";
}

static void first_line(const Context *c, const json_t *s)
{
        const json_t *sources = json_object_get(s, "sources"), *sinks = json_object_get(s, "sinks");
        size_t n_sources = json_array_size(sources), n_ready = count_state(sources, "ready");
        size_t n_sinks = json_array_size(sinks),
               n_rules = json_array_size(json_object_get(s, "rules"));
        const char *state = get_text(s, "state");
        int64_t depth = 0;
        uint64_t oldest = UINT64_MAX, at, now = clock_wall_usec();
        size_t i;
        const json_t *o;
        json_array_foreach((json_t *)sinks, i, o)
        {
                depth += get_int(o, "depth");
                if (get_time(o, "oldest", &at) && at < oldest)
                        oldest = at;
        }
        Colour colour = colour_of_state(state);
        (void)printf("belfry: %s%s%s — ", colour_on(c, colour), state, colour_off(c, colour));
        if (n_ready == n_sources)
                (void)printf("%zu source%s ready", n_sources, plural(n_sources));
        else
                (void)printf("%zu of %zu source%s ready", n_ready, n_sources, plural(n_sources));
        (void)printf(", %zu sink%s, %zu rule%s; queue %lld %s", n_sinks, plural(n_sinks), n_rules,
                plural(n_rules), (long long)depth, depth == 1 ? "delivery" : "deliveries");
        if (oldest != UINT64_MAX) {
                char text[TEXT_QUANTITY_MAX];
                (void)printf(
                        ", oldest %s", text_duration_short(now > oldest ? now - oldest : 0, text));
        }
        (void)putchar('\n');
}

static void reason_line(const Context *c, const json_t *o)
{
        const char *reason = get_text(o, "reason");
        if (!*reason)
                return;
        (void)printf("      %s", colour_on(c, COLOUR_WARN));
        print_escaped(slice_of(reason));
        (void)printf("%s\n", colour_off(c, COLOUR_WARN));
}

// What a part of it says of itself in one line.
static const char *account(const json_t *v)
{
        return json_string_value(json_object_get(v, "text"));
}

// What it watches: the paths of its options, or the module's own account of itself, lists first (there
// the paths are), then what is not zero.
static void print_list(const json_t *list)
{
        size_t i;
        json_t *v;
        json_array_foreach((json_t *)list, i, v)
        {
                (void)printf("%s", i ? ", " : "");
                print_escaped(slice_of(json_string_value(v) ? json_string_value(v) : "?"));
        }
}

static bool is_worth_saying(const char *key, const json_t *v)
{
        if (strcmp(key, "events") == 0 || strcmp(key, "last_event") == 0)
                return false; // stand in the line above
        return json_is_true(v) || (json_is_integer(v) && json_integer_value(v) != 0) ||
               (json_is_string(v) && *json_string_value(v));
}

static void print_watches(const json_t *w)
{
        const char *key, *between = "";
        json_t *v;
        if (json_is_array(w)) {
                print_list(w);
                return;
        }
        json_object_foreach((json_t *)w, key, v)
        {
                if (!json_is_string(json_array_get(v, 0)))
                        continue;
                (void)printf("%s%s ", between, key);
                print_list(v);
                between = "; ";
        }
        json_object_foreach((json_t *)w, key, v)
        {
                const char *text = json_is_string(v) ? json_string_value(v) : account(v);
                if (!account(v) && !is_worth_saying(key, v))
                        continue;
                (void)printf("%s%s", between, key);
                between = ", ";
                if (text) {
                        (void)putchar(' ');
                        print_escaped(slice_of(text));
                } else if (json_is_integer(v))
                        (void)printf(" %lld", (long long)json_integer_value(v));
        }
}

static void head(const Context *c, const char *kind, const json_t *o)
{
        const char *state = get_text(o, "state"), *module = get_text(o, "module");
        Colour colour = colour_of_state(state);
        (void)printf("  %s %s%s%s (%s): %s%s%s", kind, colour_on(c, COLOUR_BOLD),
                get_text(o, "name"), colour_off(c, COLOUR_BOLD), module, colour_on(c, colour),
                state, colour_off(c, colour));
}

static void source_lines(const Context *c, const json_t *o)
{
        char age[64];
        head(c, "source", o);
        (void)printf(", %lld event%s, last %s", (long long)get_int(o, "events"),
                plural((size_t)get_int(o, "events")), get_age(o, "last_event", true, age));
        if (get_int(o, "unmatched"))
                (void)printf(", %lld unmatched", (long long)get_int(o, "unmatched"));
        if (get_int(o, "restarts"))
                (void)printf(", restarted %lld times, the last time: %s",
                        (long long)get_int(o, "restarts"), get_text(o, "last_death"));
        if (get_int(o, "log_dropped"))
                (void)printf(", %lld log lines dropped", (long long)get_int(o, "log_dropped"));
        (void)putchar('\n');
        const json_t *w = json_object_get(o, "watches");
        if (json_is_array(w) || json_object_size(w) > 0) {
                (void)printf("      ");
                print_watches(w);
                (void)putchar('\n');
        }
        reason_line(c, o);
}

static void sink_lines(const Context *c, const json_t *o)
{
        char age[64], oldest[64];
        head(c, "sink", o);
        (void)printf(", depth %lld", (long long)get_int(o, "depth"));
        if (*get_text(o, "oldest"))
                (void)printf(" (oldest %s)", get_age(o, "oldest", false, oldest));
        (void)printf(", %lld in flight, %lld delivered, last %s",
                (long long)get_int(o, "in_flight"), (long long)get_int(o, "delivered"),
                get_age(o, "last_success", true, age));
        if (get_int(o, "dead"))
                (void)printf(", %lld dead", (long long)get_int(o, "dead"));
        (void)putchar('\n');
        if (json_is_false(json_object_get(o, "verify")))
                (void)printf("      %sits certificate is not verified (verify = false)%s\n",
                        colour_on(c, COLOUR_WARN), colour_off(c, COLOUR_WARN));
        if (*get_text(o, "last_failure")) {
                (void)printf("      last failure %s: %s", get_age(o, "last_failure", true, age),
                        get_text(o, "last_class"));
                if (get_int(o, "last_status"))
                        (void)printf(" %lld", (long long)get_int(o, "last_status"));
                (void)printf(" ");
                print_escaped(slice_of(get_text(o, "last_detail")));
                (void)putchar('\n');
        }
        reason_line(c, o);
}

static void parked_lines(const json_t *o)
{
        long long n = get_int(o, "depth");
        (void)printf("  sink %s is not configured: %lld deliver%s kept until it is back, or until: "
                     "belfry reload --drop\n",
                get_text(o, "name"), n, n == 1 ? "y is" : "ies are");
}

static void rule_lines(const json_t *o)
{
        (void)printf("  rule %s: %lld matched, %lld unmatched", get_text(o, "name"),
                (long long)get_int(o, "matched"), (long long)get_int(o, "unmatched"));
        if (get_int(o, "failed"))
                (void)printf(", %lld failed", (long long)get_int(o, "failed"));
        (void)putchar('\n');
}

static void print_status(const Context *c, const json_t *s)
{
        size_t i;
        const json_t *o;
        first_line(c, s);
        json_array_foreach(json_object_get(s, "sources"), i, o) source_lines(c, o);
        json_array_foreach(json_object_get(s, "sinks"), i, o) sink_lines(c, o);
        json_array_foreach(json_object_get(s, "parked"), i, o) parked_lines(o);
        json_array_foreach(json_object_get(s, "rules"), i, o) rule_lines(o);
        if (get_int(s, "gaps"))
                (void)printf("  %lld gap%s not acknowledged: belfry gaps\n",
                        (long long)get_int(s, "gaps"), plural((size_t)get_int(s, "gaps")));
        if (get_int(s, "dead"))
                (void)printf("  %lld dead letter%s: belfry dead\n", (long long)get_int(s, "dead"),
                        plural((size_t)get_int(s, "dead")));
        json_array_foreach(json_object_get(s, "problems"), i, o)
        {
                (void)printf("  %s", colour_on(c, COLOUR_WARN));
                print_escaped(slice_of(json_string_value(o) ? json_string_value(o) : "?"));
                (void)printf("%s\n", colour_off(c, COLOUR_WARN));
        }
        const char *hint = get_text(s, "hint");
        if (*hint) {
                (void)printf("Next: ");
                print_escaped(slice_of(hint));
                (void)putchar('\n');
        }
}

ExitStatus command_status(Context *c)
{
        json_t *s = NULL;
        ExitStatus r = client_call(c, "Status", NULL, STATUS_WAIT_SEC, &s);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                print_json(s);
        else
                print_status(c, s);
        r = strcmp(get_text(s, "state"), "running") == 0 ? STATUS_OK : STATUS_FAILED;
        json_decref(s);
        return r;
}

// ---- lists

static ExitStatus fetch_list(Context *c, const char *method, const char *key, json_t **ret)
{
        ExitStatus r = client_call(c, method, NULL, STATUS_WAIT_SEC, ret);
        if (r != STATUS_OK || !c->json)
                return r;
        json_t *list = json_object_get(*ret, key), *none = json_array();
        print_json(list ? list : none);
        json_decref(none);
        return r;
}

ExitStatus command_sources(Context *c)
{
        json_t *answer = NULL, *o;
        ExitStatus r = fetch_list(c, "Sources", "sources", &answer);
        if (r == STATUS_OK && !c->json) {
                Table t;
                size_t i;
                char age[64];
                table_init(&t, (const char *const[]){"NAME", "MODULE", "STATE", "EVENTS", "LAST",
                                       "REASON", NULL});
                json_array_foreach(json_object_get(answer, "sources"), i, o)
                {
                        table_add(&t, COLOUR_NONE, "%s", get_text(o, "name"));
                        table_add(&t, COLOUR_NONE, "%s", get_text(o, "module"));
                        table_add(&t, colour_of_state(get_text(o, "state")), "%s",
                                get_text(o, "state"));
                        table_add(&t, COLOUR_NONE, "%lld", (long long)get_int(o, "events"));
                        table_add(&t, COLOUR_NONE, "%s", get_age(o, "last_event", true, age));
                        table_add(&t, COLOUR_WARN, "%s", get_text(o, "reason"));
                }
                table_print(&t, c, "");
        }
        json_decref(answer);
        return r;
}

ExitStatus command_sinks(Context *c)
{
        json_t *answer = NULL, *o;
        ExitStatus r = fetch_list(c, "Sinks", "sinks", &answer);
        if (r == STATUS_OK && !c->json) {
                Table t;
                size_t i;
                char age[64];
                table_init(&t, (const char *const[]){"NAME", "MODULE", "STATE", "DEPTH", "OLDEST",
                                       "IN FLIGHT", "DELIVERED", "DEAD", "LAST FAILURE", NULL});
                json_array_foreach(json_object_get(answer, "sinks"), i, o)
                {
                        table_add(&t, COLOUR_NONE, "%s", get_text(o, "name"));
                        table_add(&t, COLOUR_NONE, "%s", get_text(o, "module"));
                        table_add(&t, colour_of_state(get_text(o, "state")), "%s",
                                get_text(o, "state"));
                        table_add(&t, COLOUR_NONE, "%lld", (long long)get_int(o, "depth"));
                        table_add(&t, COLOUR_NONE, "%s",
                                *get_text(o, "oldest") ? get_age(o, "oldest", false, age) : "-");
                        table_add(&t, COLOUR_NONE, "%lld", (long long)get_int(o, "in_flight"));
                        table_add(&t, COLOUR_NONE, "%lld", (long long)get_int(o, "delivered"));
                        table_add(&t, COLOUR_NONE, "%lld", (long long)get_int(o, "dead"));
                        if (*get_text(o, "last_failure"))
                                table_add(&t, COLOUR_NONE, "%s %s",
                                        get_age(o, "last_failure", true, age),
                                        get_text(o, "last_class"));
                        else
                                table_add(&t, COLOUR_DIM, "none");
                }
                table_print(&t, c, "");
        }
        json_decref(answer);
        return r;
}

static void add_names(Table *t, const json_t *list, const char *empty)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(8192);
        size_t i;
        json_t *v;
        json_array_foreach((json_t *)list, i, v) buf_addf(
                &b, "%s%s", i ? ", " : "", json_string_value(v) ? json_string_value(v) : "?");
        table_add(t, COLOUR_NONE, "%s", b.len ? buf_text(&b) : empty);
}

ExitStatus command_rules(Context *c)
{
        json_t *answer = NULL, *o;
        ExitStatus r = fetch_list(c, "Rules", "rules", &answer);
        if (r == STATUS_OK && !c->json) {
                Table t;
                size_t i;
                table_init(&t, (const char *const[]){"NAME", "FROM", "TO", "MATCHED", "UNMATCHED",
                                       "FAILED", "WHEN", NULL});
                json_array_foreach(json_object_get(answer, "rules"), i, o)
                {
                        table_add(&t, COLOUR_NONE, "%s", get_text(o, "name"));
                        add_names(&t, json_object_get(o, "from"), "all");
                        add_names(&t, json_object_get(o, "to"), "-");
                        table_add(&t, COLOUR_NONE, "%lld", (long long)get_int(o, "matched"));
                        table_add(&t, COLOUR_NONE, "%lld", (long long)get_int(o, "unmatched"));
                        table_add(&t, get_int(o, "failed") ? COLOUR_BAD : COLOUR_NONE, "%lld",
                                (long long)get_int(o, "failed"));
                        table_add(&t, COLOUR_NONE, "%s",
                                json_is_false(json_object_get(o, "enabled")) ? "(disabled)"
                                                                             : get_text(o, "when"));
                }
                table_print(&t, c, "");
        }
        json_decref(answer);
        return r;
}
