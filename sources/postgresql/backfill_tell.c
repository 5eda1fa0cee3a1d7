// SPDX-License-Identifier: MIT
// A chunk's rows into batches. Told once the stream has passed the end of the log as it was when the
// snapshot was taken: then all that the snapshot sees was told, and what it does not see was noted. A
// row that was noted is left out; one that was told in part only ends the chunk, and reading goes on
// with it. The progress row goes into the batch of its rows.
#include "backfill_internal.h"

#include "base/digest.h"
#include "base/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <syslog.h>

enum {
        TURN_BATCHES_READ = 2,
        BATCH_ROWS = 1000,
        EVENT_ROOM = 160, // what surrounds an event in a batch
        ID_CURSOR_MAX = 1024,
        STATS_SEC = 1,
};

typedef enum TellResult {
        TELL_MORE,  // the batch is full
        TELL_END,   // the chunk is done
        TELL_AGAIN, // the next row must be read again
        TELL_FAILED,
} TellResult;

bool backfill_is_due(const Backfill *b)
{
        return b->state == BACKFILL_HOLDING && pump_position(b->stream).end_lsn >= b->lsn;
}

static void set_cursor(BackfillTable *t, Slice cursor, unsigned n)
{
        buf_reset(&t->cursor);
        buf_add_slice(&t->cursor, cursor);
        t->n_cursor = n;
        t->read_rows++;
        t->dirty = true;
}

// System, run and table, and the row's key; without one its number, which is counted durably.
static void make_id(Backfill *b, Slice cursor)
{
        const BackfillTable *t = b->current;
        uint8_t digest[SHA256_SIZE];
        char hex[2 * SHA256_SIZE];

        buf_reset(&b->id);
        buf_addf(&b->id, "%" PRIu64 ":read:%" PRIu64 ":%u:", b->stream->server_facts.system_id,
                t->run, t->oid);
        if (t->by_place)
                buf_add_u64(&b->id, t->told_rows + 1);
        else if (cursor.len <= ID_CURSOR_MAX)
                buf_add_slice(&b->id, cursor);
        else if (digest_sha256(cursor, digest) < 0)
                b->id.error = -ENOMEM;
        else {
                digest_hex(digest, sizeof digest, hex);
                buf_add(&b->id, hex, sizeof hex);
        }
}

static void put_progress(Backfill *b, BackfillTable *t)
{
        Buf key = BUF_INIT(64);
        backfill_table_key(t->oid, &key);
        backfill_table_value(t, &b->value);
        source_state_put(b->stream->source, buf_slice(&key), buf_slice(&b->value));
        buf_deinit(&key);
        t->dirty = false;
}

typedef struct Row {
        SourceEvent event;
        Slice cursor;
        unsigned n_cursor;
        size_t next;
} Row;

static int read_row(Backfill *b, Row *row, Reason *reason)
{
        const BackfillTable *t = b->current;
        WireReader in =
                wire_reader(slice_mem(b->chunk.data + b->chunk_at, b->chunk.len - b->chunk_at));
        Slice message = wire_bytes(&in);
        const uint8_t *start = in.at;

        row->n_cursor = t->by_place ? 1 : b->columns.n_keys;
        for (unsigned i = 0; i < row->n_cursor; i++)
                (void)wire_bytes(&in);
        row->cursor = slice_mem(start, (size_t)(in.at - start));
        row->next = b->chunk.len - in.left;
        if (row->cursor.len > BACKFILL_CURSOR_MAX)
                return reason_set(reason, -EMSGSIZE, "a key of %s is longer than %d bytes", t->name,
                        BACKFILL_CURSOR_MAX);
        int r = change_read_row(b->rows, message, t->told_rows + 1, &row->event, reason);
        if (r < 0)
                return r;
        make_id(b, row->cursor);
        row->event.id_material = buf_slice(&b->id);
        return b->id.error < 0 ? reason_set(reason, b->id.error, "out of memory") : 0;
}

static void add_row(Backfill *b, const Row *row, bool alone)
{
        BackfillTable *t = b->current;
        set_cursor(t, row->cursor, row->n_cursor);
        t->told_rows++;
        // A large one must fit beside the progress, so that goes first.
        if (alone)
                put_progress(b, t);
        source_add(b->stream->source, &row->event);
        b->chunk_at = row->next;
        b->rate_rows++;
}

// Behind the last row of the chunk.
static void chunk_ends(Backfill *b)
{
        BackfillTable *t = b->current;
        char text[32];
        t->done = b->last;
        t->dirty = true;
        if (!t->by_place || b->cut)
                return;
        // The pages are read to their end, also where nothing was on them.
        buf_reset(&t->cursor);
        (void)snprintf(text, sizeof text, "(%u,0)", b->next_block);
        wire_put_bytes(&t->cursor, slice_of(text));
        t->n_cursor = 1;
}

static TellResult fill(Backfill *b, size_t *n, Reason *reason)
{
        Source *s = b->stream->source;
        size_t target = source_batch_target(s) < BATCH_BYTES ? source_batch_target(s) : BATCH_BYTES;
        Row row;

        while (b->chunk_at < b->chunk.len) {
                if (read_row(b, &row, reason) < 0)
                        return TELL_FAILED;
                WatchVerdict v = b->current->by_place ? WATCH_UNTOUCHED
                                                      : watch_verdict(b->watch, row.event.key);
                if (v == WATCH_IN_PART)
                        return TELL_AGAIN;
                if (v == WATCH_TOUCHED) {
                        set_cursor(b->current, row.cursor, row.n_cursor);
                        b->chunk_at = row.next;
                        continue;
                }
                size_t bytes = row.event.data.len + row.event.key.len + row.event.subject.len +
                               row.event.id_material.len + EVENT_ROOM;
                size_t progress = row.cursor.len + b->current->basis.len + 2 * EVENT_ROOM;
                bool fits = source_batch_bytes(s) + bytes + progress <= target;
                if (*n > 0 && (!fits || *n >= BATCH_ROWS))
                        return TELL_MORE;
                if (*n == 0)
                        source_begin(s);
                bool alone = *n == 0 && bytes + progress > target;
                add_row(b, &row, alone);
                ++*n;
                if (alone)
                        return TELL_MORE;
        }
        chunk_ends(b);
        return TELL_END;
}

static TellResult tell_batch(Backfill *b, Reason *reason)
{
        BackfillTable *t = b->current;
        size_t n = 0;
        TellResult result = fill(b, &n, reason);
        if (n == 0)
                return result; // progress alone is saved with the rest
        if (t->dirty)
                put_progress(b, t);
        const Position p = pump_position(b->stream);
        int r = pump_commit(b->stream, &p);
        b->stream->event_usec = clock_wall_usec();
        if (r < 0)
                source_fail(b->stream->source, false, "cannot pass on rows: %s", strerror(-r));
        return result;
}

static void finished(Backfill *b)
{
        BackfillTable *t = b->current;
        if (t->done)
                source_log(b->stream->source, LOG_NOTICE, NULL,
                        "read %s: %" PRIu64 " rows were told", t->name, t->told_rows);
        t->trouble.text[0] = 0;
        t->moved = 0;
        backfill_release(b);
        b->careful = false;
        backfill_tell_trouble(b);
        uint64_t now = clock_mono_usec();
        if (t->done || now - b->stats_usec >= STATS_SEC * USEC_PER_SEC) {
                b->stats_usec = now;
                stream_stats(b->stream);
        }
        backfill_step(b);
}

// What was read is of no use: everything is read again, with the stream waiting.
static void read_again(Backfill *b)
{
        backfill_forget(b);
        b->careful = true;
        b->limit = b->limit / 4 > CHUNK_ROWS_MIN ? b->limit / 4 : CHUNK_ROWS_MIN;
        b->window_usec = 0; // another snapshot
        backfill_step(b);
}

void backfill_tell(Backfill *b)
{
        Reason reason = {""};
        TellResult result = TELL_MORE;

        if (watch_table_touched(b->watch)) {
                read_again(b);
                return;
        }
        for (unsigned i = 0; i < TURN_BATCHES_READ && result == TELL_MORE; i++) {
                if (!pump_has_credit(b->stream))
                        return;
                result = tell_batch(b, &reason);
        }
        if (result == TELL_END)
                finished(b);
        else if (result == TELL_AGAIN)
                read_again(b);
        else if (result == TELL_FAILED) {
                ServerFault fault = {.reason = reason};
                backfill_trouble(b, &fault);
        }
}
