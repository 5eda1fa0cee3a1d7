// SPDX-License-Identifier: MIT
// The running stream: messages in, batches out, the durable position back to the server.
//
// What is confirmed: the end of the last transaction that is durable here, or, outside of
// transactions, how far the server says it has read; never beyond what came on this connection. Every
// confirmed LSN was stored before, in the position of some batch, so the slot is never ahead of the
// store. The status goes out by a timer of its own, whatever else happens, also while reading is
// stopped by back-pressure: else the server would cut the connection.
#include "stream.h"

#include "base/clock.h"

#include <endian.h>
#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum {
        WAL_HEAD = 25,
        KEEPALIVE_SIZE = 18,
        STATUS_SIZE = 34,
        AGAIN_PRIORITY = 10,
        SILENCE_SEC =
                60, // without a word of the server it is asked for one; twice that: it is gone
        SAVE_SEC = 10,
        TELL_MSEC = 200,
};
#define EPOCH_2000_USEC UINT64_C(946684800000000)

static uint64_t get_u64(const char *at)
{
        uint64_t v;
        memcpy(&v, at, sizeof v);
        return be64toh(v);
}

static void put_u64(uint8_t *at, uint64_t v)
{
        v = htobe64(v);
        memcpy(at, &v, sizeof v);
}

// ---- the position
Position pump_position(const Stream *s)
{
        Position p = *change_position(s->change);
        if (p.end_lsn < s->idle_lsn)
                p.end_lsn = s->idle_lsn;
        return p;
}

int pump_commit(Stream *s, const Position *p)
{
        uint64_t batch;
        _cleanup_(buf_deinitp) Buf bytes = BUF_INIT(1024);
        position_put(p, &bytes);
        if (bytes.error < 0)
                return bytes.error;
        source_position(s->source, buf_slice(&bytes));
        int r = source_commit(s->source, &batch);
        if (r < 0)
                return r;
        s->sent[(s->first_sent + s->n_sent++) % SENT_MAX] = (Sent){batch, p->end_lsn};
        s->saved_lsn = p->end_lsn;
        s->saved_usec = clock_mono_usec();
        if (s->stuck && p->end_lsn > s->failed_lsn)
                stream_well(s);
        return 0;
}

bool pump_has_credit(const Stream *s)
{
        return s->n_sent < SENT_MAX && source_may_send(s->source);
}

// ---- to the server
static void send_status(Stream *s, bool ask)
{
        uint8_t m[STATUS_SIZE] = {'r'};
        uint64_t flush = s->flush_lsn < s->received_lsn ? s->flush_lsn : s->received_lsn;
        put_u64(m + 1, s->received_lsn);
        put_u64(m + 9, flush);
        put_u64(m + 17, flush);
        put_u64(m + 25, clock_wall_usec() - EPOCH_2000_USEC);
        m[33] = ask;
        if (server_copy_put(s->main, m, sizeof m) < 0)
                return; // what is lost shows in the next read
        s->told_lsn = flush;
        s->asked = false;
}

void pump_confirm(Stream *s)
{
        if (s->state == STREAM_RUNNING && server_is_up(s->main))
                send_status(s, false);
}

static void arm_status(Stream *s, uint64_t usec)
{
        (void)sd_event_source_set_time_relative(s->status, usec);
        (void)sd_event_source_set_enabled(s->status, SD_EVENT_ONESHOT);
}

static int on_status(sd_event_source *e, uint64_t usec, void *userdata)
{
        Stream *s = userdata;
        uint64_t silent = clock_mono_usec() - s->heard_usec;
        bool reading = pump_has_credit(s);
        if (s->state != STREAM_RUNNING)
                return 0;
        if (!reading)
                s->heard_usec = clock_mono_usec(); // we do not listen
        else if (silent > 2 * SILENCE_SEC * USEC_PER_SEC) {
                stream_retry_text(s, FAULT_TRANSIENT,
                        "the server has said nothing for %" PRIu64 " s", silent / USEC_PER_SEC);
                return 0;
        }
        send_status(s, reading && silent > SILENCE_SEC * USEC_PER_SEC);
        arm_status(s, s->status_usec);
        if (reading)
                pump(s); // the position of idle times is stored here
        return 0;
}

void pump_durable(Stream *s, uint64_t batch)
{
        while (s->n_sent > 0 && s->sent[s->first_sent].batch <= batch) {
                uint64_t lsn = s->sent[s->first_sent].lsn;
                if (lsn > s->flush_lsn)
                        s->flush_lsn = lsn;
                s->first_sent = (s->first_sent + 1) % SENT_MAX;
                s->n_sent--;
        }
        if (s->state != STREAM_RUNNING)
                return;
        // At once when the server waits or all is done; else the load is spared a message a batch.
        if (s->asked || (s->n_sent == 0 && s->flush_lsn > s->told_lsn))
                send_status(s, false);
        else if (s->flush_lsn > s->told_lsn)
                arm_status(s, TELL_MSEC * USEC_PER_MSEC);
}

// ---- from the server
static void take_keepalive(Stream *s, const char *m)
{
        uint64_t end = get_u64(m + 1);
        if (end > s->received_lsn)
                s->received_lsn = end;
        // All that was sent before it has been fed, so outside of a transaction nothing is open.
        if (!change_in_transaction(s->change) && !change_waits(s->change) && end > s->idle_lsn)
                s->idle_lsn = end;
        if (m[17]) {
                s->asked = true;
                send_status(s, false);
                s->asked = s->flush_lsn < s->idle_lsn; // and again when that is durable
        }
}

// One message of the stream: 1, 0: none is there, or an error that stream_retry() was told of.
static int take_message(Stream *s)
{
        ServerFault fault = {0};
        size_t len;
        int r = server_copy(s->main, &s->payload, &len, &fault);
        if (r == 0)
                return 0;
        if (r < 0) {
                // Where the slot stands there was no such publication: that point cannot be passed.
                s->republished = strcmp(fault.state, "42704") == 0;
                stream_retry(s, &fault);
                return r;
        }
        s->heard_usec = clock_mono_usec();
        const char *m = s->payload;
        if (m[0] == 'k' && len >= KEEPALIVE_SIZE) {
                take_keepalive(s, m);
                PQfreemem(TAKE_PTR(s->payload));
        } else if (m[0] == 'w' && len >= WAL_HEAD) {
                uint64_t end = get_u64(m + 9);
                if (end > s->received_lsn)
                        s->received_lsn = end;
                r = change_feed(s->change, slice_mem(m + WAL_HEAD, len - WAL_HEAD), &fault.reason);
        } else
                r = reason_set(&fault.reason, -EBADMSG,
                        "the server sent a frame of type '%c' with %zu bytes, which is none of "
                        "logical replication",
                        m[0] > ' ' && m[0] < 127 ? m[0] : '?', len);
        if (r < 0) {
                if (r == -ENOSPC)
                        stream_retry_text(s, FAULT_BUSY, "%s", fault.reason.text);
                else
                        stream_retry_text(s, FAULT_SETTING, "the stream cannot be read: %s",
                                fault.reason.text[0] ? fault.reason.text : strerror(-r));
                return r;
        }
        return 1;
}

// ---- into batches
static size_t item_bytes(const ChangeItem *i)
{
        size_t n = i->state_key.len + i->state_value.len + 64;
        if (i->event)
                n += i->event->subject.len + i->event->key.len + i->event->id_material.len +
                     i->event->data.len + 64;
        return n;
}

// Puts what waits into the open batch; false: the batch is full.
static bool put_items(Stream *s, size_t *n, int *error, Reason *reason)
{
        const ChangeItem *item;
        while ((item = change_item(s->change))) {
                if (*n > 0 && source_batch_bytes(s->source) + item_bytes(item) > BATCH_BYTES)
                        return false;
                if (*n == 0)
                        source_begin(s->source);
                if (item->state_key.data && item->state_value.data)
                        source_state_put(s->source, item->state_key, item->state_value);
                else if (item->state_key.data)
                        source_state_del(s->source, item->state_key);
                if (item->event) {
                        source_add(s->source, item->event);
                        s->event_usec = clock_wall_usec();
                }
                ++*n;
                *error = change_taken(s->change, reason);
                if (*error < 0)
                        return false;
                if (*n >= BATCH_EVENTS)
                        return false;
        }
        return true;
}

// Rows that were read beside the stream wait for just this point.
static bool backfill_is_next(const Stream *s)
{
        return s->backfill_lsn != UINT64_MAX && pump_position(s).end_lsn >= s->backfill_lsn;
}

// Fills and commits one batch. 1: there may be more; 0: nothing is left to read; <0: told.
static int fill_batch(Stream *s)
{
        size_t n = 0;
        int r = 1, error = 0;
        Reason reason = {""};

        for (;;) {
                if (!put_items(s, &n, &error, &reason) || error < 0)
                        break;
                if (change_waits(s->change)) { // a question: no feeding before its answer
                        health_question(s);
                        r = 0;
                        break;
                }
                PQfreemem(TAKE_PTR(s->payload));
                // What makes no event (another's tables, filtered rows) has its end too.
                if ((source_batch_bytes(s->source) > BATCH_BYTES && n > 0) || backfill_is_next(s))
                        break;
                r = take_message(s);
                if (r <= 0)
                        break;
        }
        if (n > 0) {
                Position p = pump_position(s);
                int c = pump_commit(s, &p);
                if (c < 0)
                        source_fail(s->source, false, "cannot pass on a batch: %s", strerror(-c));
        }
        if (error < 0) {
                stream_retry_text(s, FAULT_SETTING, "the stream cannot be read: %s",
                        reason.text[0] ? reason.text : strerror(-error));
                return error;
        }
        return r;
}

// Positions without events: not each of them is worth a commit.
static void save_idle(Stream *s)
{
        Position p = pump_position(s);
        uint64_t now = clock_mono_usec();
        if (p.end_lsn <= s->saved_lsn || !pump_has_credit(s))
                return;
        if (!s->asked && p.end_lsn - s->saved_lsn < IDLE_WAL &&
                now - s->saved_usec < SAVE_SEC * USEC_PER_SEC)
                return;
        source_begin(s->source);
        int r = pump_commit(s, &p);
        if (r < 0)
                source_fail(s->source, false, "cannot pass on a position: %s", strerror(-r));
}

void pump(Stream *s)
{
        int r = 0;
        if (s->state != STREAM_RUNNING)
                return;
        for (unsigned i = 0;
                i < TURN_BATCHES && pump_has_credit(s) && !backfill_stalls(s->backfill); i++) {
                r = fill_batch(s);
                if (r <= 0)
                        break;
        }
        if (r < 0 || s->state != STREAM_RUNNING)
                return;
        save_idle(s);
        backfill_work(s->backfill);
        // Nothing is read that cannot be worked on: it would pile up in libpq.
        bool on = pump_has_credit(s) && !change_waits(s->change) && !backfill_stalls(s->backfill);
        server_copy_read(s->main, on);
        if (r > 0 && on)
                (void)sd_event_source_set_enabled(s->again, SD_EVENT_ONESHOT);
}

static int on_again(sd_event_source *e, void *userdata)
{
        pump(userdata);
        return 0;
}

void pump_start(Stream *s)
{
        uint64_t third = s->preflight.sender_timeout_usec / 3;
        s->status_usec = 10 * USEC_PER_SEC;
        if (third > 0 && third < s->status_usec)
                s->status_usec = third;
        s->received_lsn = 0;
        s->asked = false;
        s->heard_usec = s->saved_usec = clock_mono_usec();
        Position p = pump_position(s);
        s->saved_lsn = p.end_lsn;
        if (s->n_sent == 0)
                s->flush_lsn = p.end_lsn;
        change_connected(s->change, s->server_facts.system_id, s->server_facts.timeline, s->slot);
        arm_status(s, s->status_usec);
        backfill_running(s->backfill);
        pump(s);
}

void pump_stop(Stream *s)
{
        if (s->status)
                (void)sd_event_source_set_enabled(s->status, SD_EVENT_OFF);
        if (s->again)
                (void)sd_event_source_set_enabled(s->again, SD_EVENT_OFF);
        if (s->change)
                change_disconnected(s->change);
        backfill_interrupted(s->backfill);
        PQfreemem(TAKE_PTR(s->payload));
        s->questioned = false;
}

void pump_goodbye(Stream *s)
{
        if (s->state != STREAM_RUNNING)
                return;
        if (pump_has_credit(s))
                (void)fill_batch(s);
        if (s->state == STREAM_RUNNING)
                send_status(s, false);
}

int pump_init(Stream *s)
{
        int r = sd_event_add_defer(source_loop(s->source), &s->again, on_again, s);
        if (r >= 0)
                r = sd_event_source_set_priority(s->again, AGAIN_PRIORITY);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->again, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(source_loop(s->source), &s->status, CLOCK_MONOTONIC,
                        USEC_PER_SEC, 0, on_status, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->status, SD_EVENT_OFF);
        return r;
}

void pump_deinit(Stream *s)
{
        pump_stop(s);
        s->again = sd_event_source_disable_unref(s->again);
        s->status = sd_event_source_disable_unref(s->status);
}
