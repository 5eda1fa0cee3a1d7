// SPDX-License-Identifier: MIT
// Messages in, items out: the order of things. One message is worked on at a time (`busy`); it may
// need several items (a TRUNCATE of many tables), an answer of the catalogue, or room in a part, and
// change_go() takes it up again after each. Invariants: what waits has not been counted into the
// position; the position only ever names a point behind which nothing was left out; ordinals are
// counted over all the server sent, whatever the options let through.
#include "change_internal.h"

#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>

enum {
        ENVELOPE_ROOM = 4096, // of event_max: subject, key, id material, the stand-in's own
        KEEP = 256 * 1024,    // bytes a buffer keeps between connections
};

Change *change_new(const ChangeOptions *o)
{
        Change *c = calloc(1, sizeof *c);
        if (!c)
                return NULL;
        c->options = *o;
        c->data_max =
                o->event_max > 2 * ENVELOPE_ROOM ? o->event_max - ENVELOPE_ROOM : ENVELOPE_ROOM;
        c->part.json.max = c->data_max;
        c->data.max = o->group ? c->data_max - 512 : c->data_max; // a part's own words
        c->id.max = c->tx_json.max = 512;
        c->key.max = c->subject.max = SIZE_MAX / 4;
        c->state_key.max = LIMIT_STATE_KEY;
        c->state_value.max = LIMIT_STATE_VALUE;
        if (relations_init(&c->relations) < 0) {
                free(c);
                return NULL;
        }
        return c;
}

Change *change_free(Change *c)
{
        if (!c)
                return NULL;
        relations_deinit(&c->relations);
        relation_free(c->before);
        buf_deinit(&c->part.json);
        buf_deinit(&c->data);
        buf_deinit(&c->tx_json);
        buf_deinit(&c->id);
        buf_deinit(&c->key);
        buf_deinit(&c->subject);
        buf_deinit(&c->state_key);
        buf_deinit(&c->state_value);
        buf_deinit(&c->question);
        free(c);
        return NULL;
}

int change_load(Change *c, Slice key, Slice value)
{
        return relations_load(&c->relations, key, value);
}

void change_set_position(Change *c, const Position *p)
{
        c->position = *p;
}

const Position *change_position(const Change *c)
{
        return &c->position;
}

void change_connected(Change *c, uint64_t system_id, uint32_t timeline, const char *slot)
{
        c->position.system_id = system_id;
        c->position.timeline = timeline;
        (void)snprintf(c->position.slot, sizeof c->position.slot, "%s", slot);
}

void change_disconnected(Change *c)
{
        c->tx = (Transaction){0};
        c->part.rows = 0;
        c->busy = c->counted = c->carry = c->waits = false;
        c->asking = NULL;
        c->before = relation_free(c->before);
        buf_shrink(&c->part.json, KEEP);
        buf_shrink(&c->data, KEEP);
        buf_shrink(&c->key, KEEP);
        relations_disconnected(&c->relations);
}

bool change_waits(const Change *c)
{
        return c->waits || c->asking;
}

const ChangeItem *change_item(const Change *c)
{
        return c->waits ? &c->item : NULL;
}

bool change_in_transaction(const Change *c)
{
        return c->tx.open;
}

const ChangeStats *change_stats(const Change *c)
{
        return &c->stats;
}

// Something waits. The id is what stands in c->id.
static int offer(
        Change *c, ChangeEffect effect, const char *type, Slice subject, Slice key, Slice data)
{
        c->event = (SourceEvent){
                .time_usec = c->tx.time_usec,
                .type = type,
                .subject = subject,
                .key = key,
                .id_material = buf_slice(&c->id),
                .data = data,
        };
        c->item = (ChangeItem){.event = &c->event};
        c->effect = effect;
        c->waits = true;
        return c->id.error < 0 ? c->id.error : 0;
}

static void id_begin(Change *c)
{
        c->id.len = c->tx.id_len;
        c->id.error = 0;
}

// Of a transaction's change: SYSTEM:LSN:ORDINAL.
static void id_ordinal(Change *c, uint64_t ordinal, const char *kind)
{
        id_begin(c);
        buf_add_u64(&c->id, ordinal);
        buf_add_str(&c->id, kind);
}

static void tx_taken(Change *c, uint64_t ordinal)
{
        c->position.commit_lsn = c->tx.commit_lsn;
        c->position.ordinal = ordinal;
}

static void tx_end(Change *c)
{
        if (!c->tx.skipped) {
                if (c->tx.end_lsn > c->position.end_lsn)
                        c->position.end_lsn = c->tx.end_lsn;
                c->position.commit_lsn = c->position.ordinal = 0;
                c->position.part = 0;
        }
        c->tx = (Transaction){0};
}

static int tx_begin(Change *c, Reason *reason)
{
        const PgMessage *m = &c->message;

        if (c->tx.open)
                return reason_set(reason, -EBADMSG,
                        "the server began a transaction inside another one (xid %u in %u)",
                        m->begin.xid, c->tx.xid);
        c->tx = (Transaction){.open = true,
                .commit_lsn = m->begin.final_lsn,
                .xid = m->begin.xid,
                .time_usec = pg_time_usec(m->begin.time)};
        c->tx.skipped = m->begin.final_lsn < c->position.end_lsn;
        if (m->begin.final_lsn == c->position.commit_lsn)
                c->tx.skip_until = c->position.ordinal;
        else if (!c->tx.skipped)
                c->position.part = 0;
        c->part.number = c->position.part + 1;
        buf_reset(&c->id);
        buf_addf(&c->id, "%" PRIu64 ":%" PRIX64 ":", c->position.system_id, c->tx.commit_lsn);
        c->tx.id_len = c->id.len;
        change_write_tx(c);
        change_part_begin(c);
        c->stats.transactions++;
        return c->tx_json.error < 0 || c->id.error < 0
                       ? reason_set(reason, -ENOMEM, "no memory for a transaction")
                       : 0;
}

static int offer_part(Change *c, bool last)
{
        id_ordinal(c, c->part.first, ":part");
        change_part_end(c, last);
        if (c->part.json.error < 0)
                return c->part.json.error;
        return offer(c, last ? EFFECT_END : EFFECT_PART, "transaction", SLICE_LIT("transaction"),
                SLICE_NULL, buf_slice(&c->part.json));
}

static int tx_commit(Change *c, Reason *reason)
{
        const PgMessage *m = &c->message;

        if (!c->tx.open || m->commit.commit_lsn != c->tx.commit_lsn ||
                m->commit.end_lsn < m->commit.commit_lsn) {
                char lsn[PG_LSN_TEXT];
                return reason_set(reason, -EBADMSG,
                        "the server committed a transaction at %s that it had not begun",
                        pg_lsn_text(m->commit.commit_lsn, lsn));
        }
        c->tx.end_lsn = m->commit.end_lsn;
        if (c->part.rows > 0)
                return offer_part(c, true);
        tx_end(c);
        return 0;
}

// Counts a change, once. True: it is told; false: it was before, or the options leave it out.
static bool tx_count(Change *c, ChangeOperation operation)
{
        c->tx.ordinal++;
        if (c->tx.skipped || c->tx.ordinal <= c->tx.skip_until) {
                c->stats.skipped++;
                return false;
        }
        if (c->options.operations & operation)
                return true;
        if (c->part.rows == 0)
                tx_taken(c, c->tx.ordinal);
        return false;
}

// The change in `data` goes into the open part; a part that is full goes out first.
static int part_add(Change *c)
{
        size_t limit = c->data_max < CHANGE_PART_BYTES ? c->data_max : CHANGE_PART_BYTES;

        if (!c->carry && c->part.rows > 0 &&
                (c->part.rows == CHANGE_PART_ROWS ||
                        c->part.json.len + c->data.len + 512 > limit)) {
                c->carry = true;
                return offer_part(c, false);
        }
        c->carry = false;
        if (c->part.rows == 0)
                c->part.first = c->tx.ordinal;
        else
                buf_add_char(&c->part.json, ',');
        buf_add_slice(&c->part.json, buf_slice(&c->data));
        c->part.rows++;
        c->part.last = c->tx.ordinal;
        return c->part.json.error;
}

static int tell(Change *c, const char *type, Slice subject, Slice key)
{
        if (c->options.group)
                return part_add(c);
        id_ordinal(c, c->tx.ordinal, "");
        return offer(c, EFFECT_ORDINAL, type, subject, key, buf_slice(&c->data));
}

bool change_values(PgTuple t, const Relation *r, PgValue *out)
{
        if (!t.packed.data)
                return true;
        if (t.n != r->n_columns)
                return false;
        Slice rest = t.packed;
        for (unsigned i = 0; i < t.n; i++)
                out[i] = pg_next_value(&rest);
        return true;
}

static int relation_of(Change *c, uint32_t oid, Relation **ret, Reason *reason)
{
        *ret = relations_find(&c->relations, oid);
        if (!c->tx.open)
                return reason_set(reason, -EBADMSG,
                        "the server sent a change of table %u outside a transaction", oid);
        if (!*ret)
                return reason_set(reason, -EBADMSG,
                        "the server sent a change of table %u without describing it", oid);
        return 0;
}

static int work_row(Change *c, ChangeOp op, const char *type, Reason *reason)
{
        Relation *r;

        if (c->carry)
                return part_add(c);
        int k = relation_of(c, c->message.row.relation, &r, reason);
        if (k < 0)
                return k;
        if (!c->counted) {
                c->stats.rows++;
                if (!tx_count(c, (ChangeOperation)(1u << op)))
                        return 0;
                c->counted = true;
        }
        k = change_ask(c, r);
        if (k != 0)
                return k < 0 ? k : 0;
        if (!change_values(c->message.row.old_row, r, c->old_values) ||
                !change_values(c->message.row.new_row, r, c->new_values))
                return reason_set(reason, -EBADMSG,
                        "the server sent a row of %.*s that has not the %u columns it described",
                        SLICE_ARG(r->subject), r->n_columns);
        if (c->watch)
                change_watch_row(c, r, op);
        k = change_write_row(c, r, op);
        if (k < 0)
                return k;
        if (!c->options.group)
                (void)change_write_key(c, r, false);
        return c->key.error < 0 ? c->key.error : tell(c, type, r->subject, buf_slice(&c->key));
}

// One table a turn; each counts as a change.
static int work_truncate(Change *c, Reason *reason)
{
        if (c->carry) {
                c->step++;
                return part_add(c);
        }
        while (c->step < c->message.truncate.n && !c->waits) {
                Relation *r;
                int k = relation_of(c, pg_truncate_relation(&c->message, c->step), &r, reason);
                if (k < 0)
                        return k;
                if (tx_count(c, CHANGE_TRUNCATE)) {
                        if (c->watch)
                                change_watch_row(c, r, OP_TRUNCATE);
                        k = change_write_truncate(c, r);
                        if (k >= 0)
                                k = tell(c, "table.truncated", r->subject, r->subject);
                        if (k < 0)
                                return k;
                        if (c->carry)
                                return 0;
                }
                c->step++;
        }
        return 0;
}

static Slice message_subject(Change *c)
{
        Slice s = c->message.message.prefix;

        if (s.len > CHANGE_MESSAGE_SUBJECT) {
                s.len = CHANGE_MESSAGE_SUBJECT;
                while (s.len > 0 && ((uint8_t)s.data[s.len] & 0xc0) == 0x80)
                        s.len--;
        }
        return s.len ? s : SLICE_LIT("message");
}

static int work_message(Change *c, Reason *reason)
{
        const PgMessage *m = &c->message;

        if (c->carry)
                return part_add(c);
        c->stats.messages++;
        if (m->message.transactional) {
                if (!c->tx.open)
                        return reason_set(reason, -EBADMSG,
                                "the server sent a transaction's message outside a transaction");
                if (!tx_count(c, CHANGE_MESSAGE))
                        return 0;
                int k = change_write_message(c);
                return k < 0 ? k : tell(c, "message", message_subject(c), SLICE_NULL);
        }
        // All that stands before what was taken has been seen: the log is read in one direction.
        if (m->message.lsn <= c->position.message_lsn || m->message.lsn < c->position.end_lsn ||
                m->message.lsn < c->position.commit_lsn)
                return 0;
        if (!(c->options.operations & CHANGE_MESSAGE)) {
                c->position.message_lsn = m->message.lsn;
                return 0;
        }
        if (c->tx.open)
                return reason_set(
                        reason, -EBADMSG, "the server sent a message of no transaction inside one");
        int k = change_write_message(c);
        if (k < 0)
                return k;
        buf_reset(&c->id);
        buf_addf(&c->id, "%" PRIu64 ":%" PRIX64 ":message", c->position.system_id, m->message.lsn);
        return offer(
                c, EFFECT_MESSAGE, "message", message_subject(c), SLICE_NULL, buf_slice(&c->data));
}

static void offer_state(Change *c, uint32_t oid, const Relation *r)
{
        buf_reset(&c->state_key);
        buf_reset(&c->state_value);
        relation_state_key(oid, &c->state_key);
        if (r)
                relation_state_value(r, &c->state_value);
        c->item.state_key = buf_slice(&c->state_key);
        // A description over the limit of a state row is not kept: its next change is not seen if it
        // happens while nobody listens.
        c->item.state_value =
                r && c->state_value.error == 0 ? buf_slice(&c->state_value) : SLICE_NULL;
        c->waits = true;
}

// Those that made room, then the new description, with its event when a known table changed.
static int work_relation(Change *c, Reason *reason)
{
        if (c->step == 0) {
                if (!c->tx.open)
                        return reason_set(reason, -EBADMSG,
                                "the server described a table outside a transaction");
                bool replay = c->tx.skipped || c->tx.ordinal < c->tx.skip_until;
                int k = relations_describe(
                        &c->relations, &c->message, replay, &c->relation, &c->before, reason);
                if (k < 0)
                        return k;
                c->news = k != RELATION_SAME;
        }
        if (c->step < c->relations.n_evicted) {
                c->item = (ChangeItem){0};
                c->effect = EFFECT_NONE;
                offer_state(c, c->relations.evicted[c->step++], NULL);
                return c->state_key.error;
        }
        if (!c->news)
                return 0;
        c->news = false;
        c->step = UINT_MAX; // nothing is left after this
        c->item = (ChangeItem){0};
        c->effect = EFFECT_NONE;
        if (c->before) {
                int k = change_write_schema(c, c->before, c->relation);
                if (k < 0)
                        return k;
                id_ordinal(c, c->tx.ordinal, ":schema:");
                buf_add_u64(&c->id, c->relation->oid);
                k = offer(c, EFFECT_NONE, "schema.changed", c->relation->subject,
                        c->relation->subject, buf_slice(&c->data));
                if (k < 0)
                        return k;
                c->before = relation_free(c->before);
        }
        offer_state(c, c->relation->oid, c->relation);
        return c->state_value.error == -ENOMEM ? -ENOMEM : c->state_key.error;
}

static int work(Change *c, Reason *reason)
{
        const PgMessage *m = &c->message;

        switch (m->type) {
        case PG_BEGIN:
                return tx_begin(c, reason);
        case PG_COMMIT:
                return tx_commit(c, reason);
        case PG_ORIGIN:
                return 0;
        case PG_RELATION:
                return work_relation(c, reason);
        case PG_TYPE:
                return types_named(
                        c->relations.types, m->named.oid, m->named.schema, m->named.name);
        case PG_INSERT:
                return work_row(c, OP_INSERT, "row.inserted", reason);
        case PG_UPDATE:
                return work_row(c, OP_UPDATE, "row.updated", reason);
        case PG_DELETE:
                return work_row(c, OP_DELETE, "row.deleted", reason);
        case PG_TRUNCATE:
                return work_truncate(c, reason);
        case PG_MESSAGE:
                return work_message(c, reason);
        }
        return 0;
}

// Is there more to do for the message, once nothing waits?
static bool unfinished(const Change *c)
{
        if (c->carry || c->asking)
                return true;
        if (c->message.type == PG_TRUNCATE)
                return c->step < c->message.truncate.n;
        if (c->message.type == PG_RELATION)
                return c->step < c->relations.n_evicted || c->news;
        return false;
}

int change_go(Change *c, Reason *reason)
{
        while (c->busy && !change_waits(c)) {
                if (reason)
                        reason->text[0] = 0;
                int r = work(c, reason);
                if (r < 0)
                        return reason && reason->text[0]
                                       ? r
                                       : reason_set(reason, r, "no memory for a change");
                c->busy = unfinished(c);
        }
        return 0;
}

int change_feed(Change *c, Slice payload, Reason *reason)
{
        assert(!c->busy && !change_waits(c));
        int r = pgoutput_parse(payload, &c->message, reason);
        if (r < 0)
                return r;
        c->payload = payload;
        c->busy = true;
        c->counted = false;
        c->step = 0;
        return change_go(c, reason);
}

int change_taken(Change *c, Reason *reason)
{
        assert(c->waits);
        c->waits = false;
        switch (c->effect) {
        case EFFECT_NONE:
                break;
        case EFFECT_ORDINAL:
                tx_taken(c, c->tx.ordinal);
                break;
        case EFFECT_PART:
                tx_taken(c, c->part.last);
                c->position.part = c->part.number++;
                change_part_begin(c);
                break;
        case EFFECT_END:
                change_part_begin(c);
                tx_end(c);
                break;
        case EFFECT_MESSAGE:
                c->position.message_lsn = c->message.message.lsn;
                break;
        }
        return change_go(c, reason);
}
