// SPDX-License-Identifier: MIT
// Rows beside the stream: what is told of them to the watch, and rows that were read become events
// of the same form as the stream's.
#include "change_internal.h"

#include <errno.h>
#include <inttypes.h>

void change_watch(Change *c, Watch *w)
{
        c->watch = w;
}

// Told whole: nothing of the new row was left out, or there is none.
static bool told_whole(const Change *c, const Relation *r)
{
        bool old = c->message.row.old_kind == 'O';
        if (!c->message.row.new_row.packed.data)
                return true;
        for (unsigned i = 0; i < r->n_columns; i++)
                if (c->new_values[i].kind == 'u' && (!old || c->old_values[i].kind == 'u'))
                        return false;
        return true;
}

void change_watch_row(Change *c, const Relation *r, ChangeOp op)
{
        watch_transaction(c->watch, c->tx.xid);
        if (!watch_wants(c->watch, r->oid))
                return;
        // Rows that cannot be told apart; new ones are in no snapshot that does not see their maker.
        if (op == OP_TRUNCATE || r->n_key == 0) {
                if (op != OP_INSERT)
                        watch_table(c->watch, c->tx.xid);
                return;
        }
        bool whole = told_whole(c, r), known = change_write_key(c, r, false);
        watch_row(c->watch, c->tx.xid, buf_slice(&c->key), whole);
        if (c->message.row.old_kind) {
                known = change_write_key(c, r, true) && known;
                watch_row(c->watch, c->tx.xid, buf_slice(&c->key), whole);
        }
        if (!known)
                watch_table(c->watch, c->tx.xid);
}

int change_read_table(Change *c, Slice message, uint64_t lsn, Reason *reason)
{
        char text[PG_LSN_TEXT];
        Relation *before = NULL;

        int r = pgoutput_parse(message, &c->message, reason);
        if (r == 0 && c->message.type != PG_RELATION)
                r = reason_set(reason, -EBADMSG, "not the description of a table");
        if (r == 0)
                r = relations_describe(
                        &c->relations, &c->message, false, &c->relation, &before, reason);
        relation_free(before);
        if (r < 0)
                return r;
        buf_reset(&c->tx_json);
        buf_addf(&c->tx_json, "\"tx\":{\"lsn\":\"%s\",\"ordinal\":", pg_lsn_text(lsn, text));
        return c->tx_json.error < 0 ? reason_set(reason, -ENOMEM, "out of memory") : 0;
}

int change_read_ask(Change *c)
{
        return change_ask(c, c->relation);
}

int change_read_row(Change *c, Slice message, uint64_t ordinal, SourceEvent *ret, Reason *reason)
{
        int r = pgoutput_parse(message, &c->message, reason);
        if (r < 0)
                return r;
        Relation *relation = relations_find(&c->relations, c->message.row.relation);
        if (c->message.type != PG_INSERT || !relation || !relation->resolved ||
                !change_values(c->message.row.new_row, relation, c->new_values))
                return reason_set(reason, -EBADMSG, "a row does not fit its table's description");
        c->payload = message;
        c->tx.ordinal = ordinal;
        r = change_write_row(c, relation, OP_READ);
        if (r == 0 && !change_write_key(c, relation, false))
                r = c->key.error;
        if (r < 0)
                return reason_set(reason, r, "out of memory");
        *ret = (SourceEvent){.type = "row.read",
                .subject = relation->subject,
                .key = buf_slice(&c->key),
                .data = buf_slice(&c->data)};
        return 0;
}
