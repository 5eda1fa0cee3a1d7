// SPDX-License-Identifier: MIT
// What an operator asks and sees of it: the command, and how far reading has come. Percent and time
// left rest on the server's own estimate of a table's rows, and say so by their names.
#include "backfill_internal.h"

#include "base/limits.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { RATE_MIN_USEC = 200000 };

static void say(Stream *s, uint64_t ticket, bool ok, const char *text)
{
        json_t *o = json_pack("{s:b s:s}", "ok", ok, "text", text);
        if (o)
                source_answer(s->source, ticket, true, o);
        json_decref(o);
}

void backfill_answer(Backfill *b, bool ok, const char *format, ...)
{
        char text[512];
        va_list ap;
        if (!b->asked)
                return;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        free(TAKE_PTR(b->asked));
        say(b->stream, b->ticket, ok, text);
}

void backfill_command(Stream *s, uint64_t ticket, const json_t *arguments)
{
        const char *table = json_string_value(json_object_get(arguments, "argument"));
        Backfill *b = s->backfill;

        if (!b)
                say(s, ticket, false, "the source is not running");
        else if (b->state == BACKFILL_OFF)
                say(s, ticket, false, "the source is not streaming now: see belfry status");
        else if (b->asked)
                say(s, ticket, false, "another request is being looked at: try again");
        else if (!pump_has_credit(s))
                say(s, ticket, false, "the source is paused now: try again");
        else if (!(b->asked = strdup(table ? table : "")))
                say(s, ticket, false, "out of memory");
        else {
                b->ticket = ticket;
                backfill_step(b);
        }
}

// Rows of the table in all, as far as anybody knows: 0 = nobody.
static double rows_in_all(const Backfill *b, const BackfillTable *t)
{
        if (t->by_place && t->end_block > 0 && t->n_cursor > 0 && t->read_rows > 0 &&
                b->next_block > 0)
                return (double)t->read_rows * t->end_block / b->next_block;
        return t->estimate;
}

static void add_current(const Backfill *b, json_t *o)
{
        const BackfillTable *t = b->current;
        uint64_t spent = clock_mono_usec() - b->rate_usec;
        double all = rows_in_all(b, t), rate = 0;

        (void)json_object_set_new(o, "table", json_string(t->name));
        (void)json_object_set_new(o, "rows", json_integer((json_int_t)t->told_rows));
        if (spent >= RATE_MIN_USEC && b->rate_rows > 0) {
                rate = (double)b->rate_rows * USEC_PER_SEC / (double)spent;
                (void)json_object_set_new(o, "rows_per_second", json_integer((json_int_t)rate));
        }
        if (all < (double)t->read_rows || all <= 0)
                return;
        (void)json_object_set_new(o, "percent_estimate",
                json_real((double)(int64_t)(1000 * (double)t->read_rows / all) / 10));
        if (rate > 0)
                (void)json_object_set_new(o, "seconds_left_estimate",
                        json_integer((json_int_t)((all - (double)t->read_rows) / rate)));
}

json_t *backfill_stats(const Backfill *b)
{
        size_t done = 0, troubled = 0, n = 0;
        uint64_t rows = 0;
        if (!b || (b->n_tables == 0 && b->all_run == 0))
                return NULL;
        for (size_t i = 0; i < b->n_tables; i++) {
                const BackfillTable *t = b->tables[i];
                n += !t->gone;
                done += t->done && !t->gone;
                troubled += t->trouble.text[0] != 0;
                rows += t->told_rows;
        }
        const char *state = done == n && b->all_run == 0 ? "done"
                            : b->state == BACKFILL_OFF   ? "waiting for the stream"
                            : b->current                 ? "reading"
                                                         : "waiting";
        json_t *o = json_pack("{s:s s:I s:I s:I}", "state", state, "tables", (json_int_t)n,
                "tables_done", (json_int_t)done, "rows_in_all", (json_int_t)rows);
        if (!o)
                return NULL;
        if (troubled > 0)
                (void)json_object_set_new(
                        o, "tables_in_trouble", json_integer((json_int_t)troubled));
        if (b->current)
                add_current(b, o);
        return o;
}
