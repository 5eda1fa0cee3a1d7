// SPDX-License-Identifier: MIT
// dead and gaps: what did not arrive and what may not have been seen.
#include "cli/client.h"
#include "cli/output.h"

#include "base/clock.h"
#include "base/digest.h"
#include <unistd.h>

static void add_option(json_t *p, const Context *c, const char *name)
{
        const char *v = option_value(c, name);
        if (v)
                (void)json_object_set_new(p, name, json_string(v));
}

static json_t *filters(const Context *c)
{
        json_t *p = json_object();
        add_option(p, c, "sink");
        add_option(p, c, "rule");
        add_option(p, c, "reason");
        return p;
}

// ---- list

typedef struct DeadRows {
        Table table;
        uint64_t n;
} DeadRows;

static ExitStatus on_letter(Context *c, json_t *answer, bool last, void *userdata)
{
        DeadRows *rows = userdata;
        const json_t *o = json_object_get(answer, "letter");
        char age[64];
        if (!o)
                return STATUS_OK;
        if (c->json) {
                (void)fputs(rows->n ? ",\n " : "", stdout);
                (void)json_dumpf(o, stdout, JSON_COMPACT);
        } else {
                table_add(&rows->table, COLOUR_NONE, "%s", get_text(o, "id"));
                table_add(&rows->table, COLOUR_NONE, "%s", get_text(o, "subject"));
                table_add(&rows->table, COLOUR_NONE, "%s", get_text(o, "rule"));
                table_add(&rows->table, COLOUR_NONE, "%s", get_text(o, "sink"));
                table_add(&rows->table, COLOUR_BAD, "%s", get_text(o, "reason"));
                table_add(&rows->table, COLOUR_NONE, "%s", get_age(o, "when", true, age));
                table_add(&rows->table, COLOUR_NONE, "%s", get_text(o, "detail"));
        }
        rows->n++;
        return STATUS_OK;
}

ExitStatus command_dead(Context *c)
{
        DeadRows rows = {0};
        table_init(&rows.table, (const char *const[]){"ID", "SUBJECT", "RULE", "SINK", "REASON",
                                        "DIED", "DETAIL", NULL});
        if (c->json) {
                // The list is opened with the first answer in hand: no half list before an error.
                json_t *status = NULL;
                ExitStatus r = client_call(c, "Status", NULL, 30, &status);
                json_decref(status);
                if (r != STATUS_OK)
                        return r;
                (void)putchar('[');
        }
        ExitStatus r = client_stream(c, "DeadList", filters(c), on_letter, &rows);
        if (c->json)
                (void)puts("]");
        else if (r == STATUS_OK && rows.n == 0)
                (void)puts("no dead letters");
        else if (rows.n > 0)
                table_print(&rows.table, c, "");
        return r;
}

// ---- show

typedef struct Shown {
        json_t *letter, *headers;
        Buf body;
} Shown;

static ExitStatus on_shown(Context *c, json_t *answer, bool last, void *userdata)
{
        Shown *s = userdata;
        const char *piece = json_string_value(json_object_get(answer, "body"));
        if (json_object_get(answer, "letter")) {
                s->letter = json_incref(json_object_get(answer, "letter"));
                s->headers = json_incref(json_object_get(answer, "headers"));
        }
        if (piece && digest_base64_decode(&s->body, slice_of(piece)) < 0) {
                (void)fprintf(stderr, "belfry: the body cannot be read\n");
                return STATUS_FAILED;
        }
        return STATUS_OK;
}

static void show_letter(const Context *c, const Shown *s)
{
        static const char *const keys[] = {"id", "number", "type", "subject", "time", "rule",
                "sink", "reason", "detail", "class", "status", "attempts", "when", "method",
                "format"};
        for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
                const json_t *v = json_object_get(s->letter, keys[i]);
                (void)printf(
                        "%s%-9s%s ", colour_on(c, COLOUR_DIM), keys[i], colour_off(c, COLOUR_DIM));
                if (json_is_integer(v))
                        (void)printf("%lld", (long long)json_integer_value(v));
                else
                        print_escaped(slice_of(get_text(s->letter, keys[i])));
                (void)putchar('\n');
        }
        size_t i;
        const json_t *h;
        json_array_foreach(s->headers, i, h)
        {
                (void)printf("%sheader%s    ", colour_on(c, COLOUR_DIM), colour_off(c, COLOUR_DIM));
                print_escaped(slice_of(get_text(h, "name")));
                (void)printf(": ");
                print_escaped(slice_of(get_text(h, "value")));
                (void)putchar('\n');
        }
        (void)putchar('\n');
        // To a pipe the body goes as it is; a terminal is not steered by it.
        if (isatty(STDOUT_FILENO))
                print_escaped(buf_slice(&s->body));
        else
                (void)fwrite(s->body.data, 1, s->body.len, stdout);
        (void)putchar('\n');
}

ExitStatus command_dead_show(Context *c)
{
        Shown s = {.body = BUF_INIT(64 * 1024 * 1024)};
        ExitStatus r = client_stream(
                c, "DeadShow", json_pack("{s:s}", "id", c->arguments[0]), on_shown, &s);
        if (r == STATUS_OK && s.letter) {
                if (c->json) {
                        json_t *body = json_stringn((const char *)s.body.data, s.body.len);
                        (void)json_object_set(s.letter, "headers", s.headers);
                        (void)json_object_set_new(s.letter, "body", body ? body : json_null());
                        print_json(s.letter);
                } else {
                        show_letter(c, &s);
                }
        }
        json_decref(s.letter);
        json_decref(s.headers);
        buf_deinit(&s.body);
        return r;
}

// ---- retry and drop

typedef struct Totals {
        int64_t done, skipped;
} Totals;

static ExitStatus on_progress(Context *c, json_t *answer, bool last, void *userdata)
{
        Totals *t = userdata;
        bool shows = isatty(STDERR_FILENO) && !c->json;
        if (last) {
                t->done += get_int(answer, "done");
                t->skipped += get_int(answer, "skipped");
                if (shows)
                        (void)fprintf(stderr, "\r\033[K");
        } else if (shows) {
                (void)fprintf(stderr, "\r%lld ...", (long long)(t->done + get_int(answer, "done")));
        }
        return STATUS_OK;
}

static ExitStatus act(Context *c, const char *method, const char *done)
{
        bool all = option_given(c, "all");
        if (all == (c->n_arguments > 0)) {
                (void)fprintf(stderr,
                        "belfry: %s: name dead letters, or give --all; see: belfry dead\n",
                        c->command->words);
                return STATUS_USAGE;
        }
        Totals t = {0};
        ExitStatus worst = STATUS_OK;
        for (unsigned i = 0; i < (all ? 1 : c->n_arguments); i++) {
                json_t *p = filters(c);
                if (all)
                        (void)json_object_set_new(p, "all", json_true());
                else
                        (void)json_object_set_new(p, "id", json_string(c->arguments[i]));
                ExitStatus r = client_stream(c, method, p, on_progress, &t);
                if (r == STATUS_NOT_RUNNING || r == STATUS_NOT_PERMITTED)
                        return r;
                if (r != STATUS_OK)
                        worst = r; // the others are still done
        }
        if (c->json) {
                json_t *o = json_pack(
                        "{s:I, s:I}", "done", (json_int_t)t.done, "skipped", (json_int_t)t.skipped);
                print_json(o);
                json_decref(o);
        } else if (worst == STATUS_OK || t.done > 0) {
                (void)printf(
                        "%lld dead letter%s %s\n", (long long)t.done, t.done == 1 ? "" : "s", done);
                if (t.skipped)
                        (void)printf("%lld left: their sink is not in the configuration\n",
                                (long long)t.skipped);
        }
        return worst;
}

ExitStatus command_dead_retry(Context *c)
{
        return act(c, "DeadRetry", "back in the queue");
}

ExitStatus command_dead_drop(Context *c)
{
        return act(c, "DeadDrop", "dropped");
}

// ---- gaps

ExitStatus command_gaps(Context *c)
{
        json_t *answer = NULL, *o;
        ExitStatus r = client_call(c, "GapsList", NULL, 30, &answer);
        if (r != STATUS_OK)
                return r;
        json_t *gaps = json_object_get(answer, "gaps");
        if (c->json) {
                json_t *none = json_array();
                print_json(gaps ? gaps : none);
                json_decref(none);
        } else if (json_array_size(gaps) == 0) {
                (void)puts("no gaps");
        } else {
                Table t;
                size_t i;
                char when[64];
                uint64_t usec;
                table_init(&t, (const char *const[]){"ID", "SOURCE", "TIME", "REASON", "FROM", "TO",
                                       "DETAIL", NULL});
                json_array_foreach(gaps, i, o)
                {
                        const json_t *d = json_object_get(o, "data");
                        table_add(&t, COLOUR_NONE, "%s", get_text(o, "id"));
                        table_add(&t, COLOUR_NONE, "%s", get_text(o, "source"));
                        table_add(&t, COLOUR_NONE, "%s",
                                get_time(o, "time", &usec) ? local_time(usec, when) : "?");
                        table_add(&t, COLOUR_WARN, "%s", get_text(d, "reason"));
                        table_add(&t, COLOUR_NONE, "%s", get_text(d, "from"));
                        table_add(&t, COLOUR_NONE, "%s", get_text(d, "to"));
                        table_add(&t, COLOUR_NONE, "%s", get_text(d, "detail"));
                }
                table_print(&t, c, "");
                if (json_is_true(json_object_get(answer, "truncated")))
                        (void)puts("(more: they show when these are acknowledged)");
        }
        json_decref(answer);
        return r;
}

ExitStatus command_gaps_ack(Context *c)
{
        int64_t n = 0;
        for (unsigned i = 0; i < (c->n_arguments ? c->n_arguments : 1); i++) {
                json_t *answer = NULL;
                json_t *p = c->n_arguments ? json_pack("{s:s}", "id", c->arguments[i]) : NULL;
                ExitStatus r = client_call(c, "GapsAck", p, 60, &answer);
                if (r != STATUS_OK)
                        return r;
                n += get_int(answer, "acknowledged");
                json_decref(answer);
        }
        if (c->json) {
                json_t *o = json_pack("{s:I}", "acknowledged", (json_int_t)n);
                print_json(o);
                json_decref(o);
        } else {
                (void)printf("%lld gap%s acknowledged\n", (long long)n, n == 1 ? "" : "s");
        }
        return STATUS_OK;
}
