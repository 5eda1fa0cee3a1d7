// SPDX-License-Identifier: MIT
// Which table is next, the connection, the clock, and the face to the stream. One table at a time, one
// connection that is there only while something is to be read. Nothing is asked for while the stream
// does not run; whatever fails is told, and tried again later, while the other tables go on.
#include "backfill_internal.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum { SAVE_ROWS = 500, ASYNC_MSEC = 700, KEEP_SEC = 5, MOVED_MAX = 3 };

static void arm(Backfill *b, uint64_t usec)
{
        (void)sd_event_source_set_time_relative(b->timer, usec);
        (void)sd_event_source_set_enabled(b->timer, SD_EVENT_ONESHOT);
}

void backfill_arm(Backfill *b, uint64_t usec)
{
        arm(b, usec);
}

// ---- the tables
BackfillTable *backfill_find(Backfill *b, uint32_t oid)
{
        for (size_t i = 0; i < b->n_tables; i++)
                if (b->tables[i]->oid == oid)
                        return b->tables[i];
        return NULL;
}

int backfill_add(Backfill *b, BackfillTable *t)
{
        if (b->n_tables == b->cap_tables) {
                size_t cap = b->cap_tables ? 2 * b->cap_tables : 64;
                BackfillTable **more = b->n_tables < BACKFILL_TABLES_MAX
                                               ? realloc(b->tables, cap * sizeof *more)
                                               : NULL;
                if (!more) {
                        (void)backfill_table_free(t);
                        return b->n_tables < BACKFILL_TABLES_MAX ? -ENOMEM : -ENOSPC;
                }
                b->tables = more;
                b->cap_tables = cap;
        }
        b->tables[b->n_tables++] = t;
        return 0;
}

void backfill_drop(Backfill *b, BackfillTable *t)
{
        if (!t->done)
                source_log(b->stream->source, LOG_WARNING, NULL,
                        "%s is read no further: it was dropped or is not published any more",
                        t->name);
        if (b->current == t)
                b->current = NULL;
        t->gone = t->dirty = t->done = true;
        t->trouble.text[0] = 0;
        backfill_tell_trouble(b);
}

static void forget_table(Backfill *b, size_t i)
{
        (void)backfill_table_free(b->tables[i]);
        b->tables[i] = b->tables[--b->n_tables];
}

// Rows that are not as stored, in batches of their own.
static bool save_some(Backfill *b)
{
        Source *s = b->stream->source;
        _cleanup_(buf_deinitp) Buf key = BUF_INIT(64);
        unsigned n = 0;
        bool more = false;

        for (size_t i = b->n_tables; i-- > 0;) {
                BackfillTable *t = b->tables[i];
                if (!t->dirty)
                        continue;
                if (n == SAVE_ROWS || (n > 0 && source_batch_bytes(s) > BATCH_BYTES / 2)) {
                        more = true;
                        break;
                }
                if (n++ == 0)
                        source_begin(s);
                backfill_table_key(t->oid, &key);
                backfill_table_value(t, &b->value);
                t->dirty = false;
                if (t->gone) {
                        source_state_del(s, buf_slice(&key));
                        forget_table(b, i);
                } else {
                        source_state_put(s, buf_slice(&key), buf_slice(&b->value));
                }
        }
        if (!more && b->all_listed) {
                if (n++ == 0)
                        source_begin(s);
                source_state_del(s, SLICE_LIT(BACKFILL_ALL));
                b->all_listed = false;
                b->all_run = 0;
        }
        if (n == 0)
                return false;
        const Position p = pump_position(b->stream);
        int r = pump_commit(b->stream, &p);
        if (r < 0)
                source_fail(s, false, "cannot store how far tables are read: %s", strerror(-r));
        return more;
}

void backfill_save(Backfill *b)
{
        while (pump_has_credit(b->stream) && save_some(b))
                ;
}

// ---- trouble
void backfill_tell_trouble(Backfill *b)
{
        Reason *why = &b->stream->backfill_trouble;
        const BackfillTable *first = NULL;
        size_t n = 0;
        for (size_t i = 0; i < b->n_tables; i++)
                if (b->tables[i]->trouble.text[0]) {
                        first = first ? first : b->tables[i];
                        n++;
                }
        why->text[0] = 0;
        if (n > 1)
                (void)reason_set(why, 0, "%s (and %zu more tables cannot be read)",
                        first->trouble.text, n - 1);
        else if (n == 1)
                *why = first->trouble;
        stream_tell_trouble(b->stream);
}

static void disconnect(Backfill *b)
{
        b->server = server_free(b->server);
        b->open = false;
}

static void lost(Backfill *b)
{
        bool stalled = b->stalls;
        // What is held was read, and stays good without a connection.
        if (b->state != BACKFILL_HOLDING)
                backfill_forget(b);
        disconnect(b);
        arm(b, BACKFILL_RECONNECT_SEC * USEC_PER_SEC);
        if (stalled)
                pump(b->stream);
}

size_t backfill_cancel(Backfill *b, const char *pattern)
{
        size_t n = 0;
        bool stalled = b->stalls, current = false;

        for (size_t i = 0; i < b->n_tables; i++) {
                BackfillTable *t = b->tables[i];
                if (t->done || (pattern[0] && fnmatch(pattern, t->name, 0) != 0))
                        continue;
                t->done = t->cancelled = t->dirty = true;
                t->trouble.text[0] = 0;
                current = current || t == b->current;
                n++;
        }
        // What was asked for and is not listed yet; the list that may be under way is of no use.
        if (b->all_run != 0 && !pattern[0])
                b->all_listed = true;
        if (current) {
                b->current = NULL;
                backfill_forget(b);
                disconnect(b);
        }
        backfill_tell_trouble(b);
        backfill_save(b);
        if (b->state == BACKFILL_IDLE)
                arm(b, 0);
        if (stalled)
                pump(b->stream);
        return n;
}

static void on_down(void *userdata, const ServerFault *fault)
{
        Backfill *b = userdata;
        source_log(b->stream->source, LOG_WARNING, NULL, "reading rows was interrupted: %s",
                fault->reason.text);
        backfill_answer(b, false, "%s", fault->reason.text);
        lost(b);
}

static void explain(const Backfill *b, const ServerFault *fault, Reason *ret)
{
        const BackfillTable *t = b->current;
        if (strcmp(fault->state, "42501") == 0)
                (void)reason_set(ret, 0,
                        "cannot read %s: %.200s; run: GRANT SELECT ON %s TO \"%s\";", t->name,
                        fault->reason.text, b->told_sql ? b->told_sql : t->name,
                        b->stream->preflight.user);
        else
                (void)reason_set(ret, 0, "cannot read %s: %.300s", t->name, fault->reason.text);
}

void backfill_trouble(Backfill *b, const ServerFault *fault)
{
        BackfillTable *t = b->current;
        Reason why;
        // Dropped, renamed or altered between two looks; or somebody holds it: not worth an alarm.
        bool moved = t && t->moved < MOVED_MAX &&
                     (strcmp(fault->state, "42P01") == 0 || strcmp(fault->state, "42703") == 0 ||
                             strcmp(fault->state, "3F000") == 0);
        bool held = strcmp(fault->state, "55P03") == 0 || strncmp(fault->state, "40", 2) == 0;

        if (t && !moved && !held) {
                explain(b, fault, &why);
                if (strcmp(why.text, t->trouble.text) != 0)
                        source_log(b->stream->source, LOG_WARNING, NULL, "%s", why.text);
                t->trouble = why;
                backfill_tell_trouble(b);
        }
        if (t)
                t->moved = moved ? t->moved + 1 : 0;
        if (t)
                t->retry_usec = clock_mono_usec() + (moved         ? 0
                                                            : held ? LOCKED_SEC
                                                                   : TROUBLE_SEC) *
                                                            USEC_PER_SEC;
        b->current = NULL;
        if (b->state == BACKFILL_HOLDING)
                backfill_forget(b);
        lost(b);
        arm(b, USEC_PER_SEC);
}

// ---- the connection
void backfill_ask_rows(Backfill *b, ServerRow row, ServerAnswer answer)
{
        const ServerFault fault = {.reason = {"out of memory"}};
        b->state = BACKFILL_ASKING;
        if (b->sql.error < 0)
                backfill_trouble(b, &fault);
        else // a connection that is lost tells so itself
                (void)!server_query_rows(b->server, buf_text(&b->sql), row, answer, b);
}

void backfill_ask(Backfill *b, ServerAnswer answer)
{
        backfill_ask_rows(b, NULL, answer);
}

static void on_up(void *userdata)
{
        Backfill *b = userdata;
        change_disconnected(b->rows); // its tables are described anew
        backfill_step(b);
}

static void connect(Backfill *b)
{
        static const ServerHandlers handlers = {.up = on_up, .down = on_down};
        Reason why = {""};
        if (stream_login(b->stream, false, &handlers, b, &b->server, &why) < 0) {
                source_log(b->stream->source, LOG_WARNING, NULL, "cannot read rows: %s", why.text);
                arm(b, BACKFILL_RECONNECT_SEC * USEC_PER_SEC);
        }
}

// ---- what is next
static bool list_is_due(const Backfill *b, uint64_t now)
{
        if (b->relist || b->asked || (b->all_run != 0 && !b->all_listed))
                return true;
        return b->stream->options->backfill &&
               (b->list_usec == 0 || now - b->list_usec >= LIST_SEC * USEC_PER_SEC);
}

// The next table, or when to look again.
static BackfillTable *next_table(const Backfill *b, uint64_t now, uint64_t *ret_usec)
{
        uint64_t wait = USEC_INFINITY;
        for (size_t i = 0; i < b->n_tables; i++) {
                BackfillTable *t = b->tables[i];
                if (t->done)
                        continue;
                if (t->retry_usec <= now)
                        return t;
                if (t->retry_usec - now < wait)
                        wait = t->retry_usec - now;
        }
        if (b->stream->options->backfill && wait > LIST_SEC * USEC_PER_SEC)
                wait = LIST_SEC * USEC_PER_SEC;
        *ret_usec = wait;
        return NULL;
}

static void begin_table(Backfill *b, BackfillTable *t, uint64_t now)
{
        if (b->current != t) {
                b->current = t;
                b->limit = CHUNK_ROWS_MIN * 16;
                b->blocks = 16;
                b->careful = false;
                b->rate_usec = now;
                b->rate_rows = 0;
        }
        backfill_window(b);
}

static bool window_is_young(const Backfill *b, uint64_t now)
{
        return b->open && now - b->window_usec < WINDOW_SEC * USEC_PER_SEC;
}

void backfill_step(Backfill *b)
{
        uint64_t now = clock_mono_usec(), wait = USEC_INFINITY;

        if (b->state != BACKFILL_IDLE)
                return;
        backfill_save(b);
        bool list = list_is_due(b, now);
        BackfillTable *t = next_table(b, now, &wait);
        if (!list && !t && !b->open) {
                if (wait > KEEP_SEC * USEC_PER_SEC)
                        disconnect(b);
                if (wait != USEC_INFINITY)
                        arm(b, wait);
                return;
        }
        if (!b->server)
                connect(b);
        if (!server_is_up(b->server) || server_is_busy(b->server))
                return; // its handler comes here
        if (!list && t && t == b->current && window_is_young(b, now)) {
                // The same snapshot: what was noted for the last chunk holds for the next.
                backfill_chunk(b);
        } else if (b->open) {
                watch_end(b->watch);
                backfill_close(b);
        } else if (list)
                backfill_list(b);
        else
                begin_table(b, t, now);
}

// ---- while a chunk is held
static void on_flushed(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Backfill *b = userdata;
        uint64_t lsn;
        if (fault || PQntuples(result) != 1 ||
                pg_lsn_parse(slice_of(PQgetvalue(result, 0, 0)), &lsn) < 0 || lsn >= b->lsn)
                return;
        b->lsn = lsn;
        if (b->state == BACKFILL_HOLDING)
                b->stream->backfill_lsn = lsn;
        pump(b->stream);
}

static void on_closed(void *userdata, const PGresult *result, const ServerFault *fault)
{
        Backfill *b = userdata;
        b->open = false;
        backfill_step(b);
}

// A snapshot is not held for as long as a sink may be away. And what the log's end was when it was
// taken may not be on disk, so not be streamed, for long: but what had been committed is by now.
static void look_after(Backfill *b)
{
        uint64_t now = clock_mono_usec();
        arm(b, HOLD_MSEC * USEC_PER_MSEC);
        if (!server_is_up(b->server) || server_is_busy(b->server))
                return;
        if (b->open && !window_is_young(b, now))
                (void)!server_query(b->server, "COMMIT", on_closed, b);
        else if (!backfill_is_due(b) && now - b->ask_usec >= ASYNC_MSEC * USEC_PER_MSEC) {
                b->ask_usec = now;
                (void)!server_query(b->server,
                        "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN"
                        " pg_catalog.pg_last_wal_replay_lsn() ELSE"
                        " pg_catalog.pg_current_wal_flush_lsn() END",
                        on_flushed, b);
        }
}

static int on_timer(sd_event_source *e, uint64_t usec, void *userdata)
{
        Backfill *b = userdata;
        if (b->state == BACKFILL_HOLDING)
                look_after(b);
        else
                backfill_step(b);
        return 0;
}

// ---- the face
int backfill_new(Stream *s, Backfill **ret)
{
        const ChangeOptions options = {.operations = CHANGE_ALL,
                .numbers = s->options->numeric,
                .event_max = source_batch_max(s->source)};
        Backfill *b = calloc(1, sizeof *b);
        if (!b)
                return -ENOMEM;
        b->stream = s;
        b->first = true;
        s->backfill_lsn = UINT64_MAX;
        b->sql = b->describe = BUF_INIT(BACKFILL_SQL_MAX);
        b->chunk = BUF_INIT(CHUNK_MAX);
        b->value = BUF_INIT(64 * 1024);
        b->id = BUF_INIT(4096);
        b->watch = watch_new();
        b->rows = change_new(&options);
        int r = b->watch && b->rows ? sd_event_add_time_relative(source_loop(s->source), &b->timer,
                                              CLOCK_MONOTONIC, USEC_PER_SEC, 0, on_timer, b)
                                    : -ENOMEM;
        if (r >= 0)
                r = sd_event_source_set_enabled(b->timer, SD_EVENT_OFF);
        if (r < 0) {
                (void)backfill_free(b);
                return r;
        }
        change_watch(s->change, b->watch);
        *ret = b;
        return 0;
}

Backfill *backfill_free(Backfill *b)
{
        if (!b)
                return NULL;
        if (b->stream->change)
                change_watch(b->stream->change, NULL);
        disconnect(b);
        b->timer = sd_event_source_disable_unref(b->timer);
        for (size_t i = 0; i < b->n_tables; i++)
                (void)backfill_table_free(b->tables[i]);
        free(b->tables);
        b->rows = change_free(b->rows);
        b->watch = watch_free(b->watch);
        backfill_columns_clear(&b->columns);
        buf_deinit(&b->sql);
        buf_deinit(&b->describe);
        buf_deinit(&b->chunk);
        buf_deinit(&b->value);
        buf_deinit(&b->id);
        free(b->asked);
        free(b->told_sql);
        free(b->read_sql);
        free(b);
        return NULL;
}

int backfill_load(Backfill *b, Slice key, Slice value)
{
        BackfillTable *t = NULL;
        int r = backfill_all_load(key, value, &b->all_run);
        if (r == 1)
                r = backfill_table_load(key, value, &t);
        if (r != 0 || !t)
                return r;
        b->first = false;
        return backfill_add(b, t);
}

void backfill_request_all(Backfill *b)
{
        b->all_run = clock_wall_usec();
        b->all_listed = false;
        backfill_all_value(b->all_run, &b->value);
        source_state_put(b->stream->source, SLICE_LIT(BACKFILL_ALL), buf_slice(&b->value));
}

void backfill_running(Backfill *b)
{
        b->state = BACKFILL_IDLE;
        b->current = NULL;
        b->list_usec = 0;
        // After pump_start(), which is where this is called from, is through.
        arm(b, 0);
}

void backfill_interrupted(Backfill *b)
{
        if (!b || b->state == BACKFILL_OFF)
                return;
        b->state = BACKFILL_OFF;
        backfill_forget(b);
        disconnect(b);
        b->current = NULL;
        (void)sd_event_source_set_enabled(b->timer, SD_EVENT_OFF);
        backfill_answer(b, false, "the stream was interrupted: try again");
}

bool backfill_stalls(const Backfill *b)
{
        return b->stalls;
}

void backfill_work(Backfill *b)
{
        if (backfill_is_due(b))
                backfill_tell(b);
}
