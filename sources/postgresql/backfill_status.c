// SPDX-License-Identifier: MIT
// What an operator asks and sees of it: the command, and how far reading has come. Percent and time
// left rest on the server's own estimate of a table's rows, and say so by their names.
#include "backfill_internal.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { RATE_MIN_USEC = 200000, SECONDS_MAX = 1000000000 };

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

// Why nothing can be asked now; NULL: it can.
static const char *refusal(const Stream *s)
{
        const Backfill *b = s->backfill;
        return !b                         ? "the source is not running"
               : b->state == BACKFILL_OFF ? "the source is not streaming now: see belfry status"
               : b->asked                 ? "another request is being looked at: try again"
               : !pump_has_credit(s)      ? "the source is paused now: try again"
                                          : NULL;
}

void backfill_command(Stream *s, uint64_t ticket, const json_t *arguments)
{
        const char *table = json_string_value(json_object_get(arguments, "argument"));
        const char *why = refusal(s);
        Backfill *b = s->backfill;

        if (why)
                say(s, ticket, false, why);
        else if (!(b->asked = strdup(table ? table : "")))
                say(s, ticket, false, "out of memory");
        else {
                b->ticket = ticket;
                backfill_step(b);
        }
}

void backfill_cancel_command(Stream *s, uint64_t ticket, const json_t *arguments)
{
        const char *table = json_string_value(json_object_get(arguments, "argument"));
        const char *why = refusal(s);
        char text[64];

        if (why) {
                say(s, ticket, false, why);
                return;
        }
        bool pending = s->backfill->all_run != 0;
        size_t n = backfill_cancel(s->backfill, table ? table : "");
        if (n == 0 && !pending) {
                say(s, ticket, false, "no such table is being read");
                return;
        }
        (void)snprintf(
                text, sizeof text, "%zu table%s read no further", n, n == 1 ? " is" : "s are");
        stream_stats(s);
        say(s, ticket, true, text);
}

// Rows of the table in all, as far as anybody knows: 0 = nobody.
static double rows_in_all(const Backfill *b, const BackfillTable *t)
{
        if (t->by_place && t->end_block > 0 && t->n_cursor > 0 && t->read_rows > 0 &&
                b->next_block > 0)
                return (double)t->read_rows * t->end_block / b->next_block;
        return t->estimate;
}

static void add_current(const Backfill *b, json_t *o, Buf *text)
{
        const BackfillTable *t = b->current;
        uint64_t spent = clock_mono_usec() - b->rate_usec;
        double all = rows_in_all(b, t), rate = 0;

        (void)json_object_set_new(o, "table", json_string(t->name));
        (void)json_object_set_new(o, "rows", json_integer((json_int_t)t->told_rows));
        buf_addf(text, " %s, %" PRIu64 " rows", t->name, t->told_rows);
        if (spent >= RATE_MIN_USEC && b->rate_rows > 0) {
                rate = (double)b->rate_rows * USEC_PER_SEC / (double)spent;
                (void)json_object_set_new(o, "rows_per_second", json_integer((json_int_t)rate));
                buf_addf(text, " at %.0f/s", rate);
        }
        if (all < (double)t->read_rows || all <= 0)
                return;
        double percent = (double)(int64_t)(1000 * (double)t->read_rows / all) / 10;
        (void)json_object_set_new(o, "percent_estimate", json_real(percent));
        buf_addf(text, ", about %.0f %%", percent);
        if (rate > 0) {
                char left[TEXT_QUANTITY_MAX];
                double seconds = (all - (double)t->read_rows) / rate;
                (void)json_object_set_new(
                        o, "seconds_left_estimate", json_integer((json_int_t)seconds));
                if (seconds < SECONDS_MAX)
                        buf_addf(text, ", about %s left",
                                text_duration_short((uint64_t)seconds * USEC_PER_SEC, left));
        }
}

json_t *backfill_stats(const Backfill *b)
{
        size_t done = 0, cancelled = 0, troubled = 0, n = 0;
        uint64_t rows = 0;
        if (!b || (b->n_tables == 0 && b->all_run == 0))
                return NULL;
        for (size_t i = 0; i < b->n_tables; i++) {
                const BackfillTable *t = b->tables[i];
                n += !t->gone;
                done += t->done && !t->gone;
                cancelled += t->cancelled && !t->gone;
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
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(1024);
        buf_add_str(&text, state);
        if (cancelled > 0)
                (void)json_object_set_new(
                        o, "tables_cancelled", json_integer((json_int_t)cancelled));
        if (troubled > 0)
                (void)json_object_set_new(
                        o, "tables_in_trouble", json_integer((json_int_t)troubled));
        if (b->current && !b->current->done)
                add_current(b, o, &text);
        else
                buf_addf(&text, ", %" PRIu64 " rows", rows);
        buf_addf(&text, " (%zu of %zu table%s)", done, n, n == 1 ? "" : "s");
        (void)json_object_set_new(o, "text", json_string(buf_text(&text)));
        return o;
}
