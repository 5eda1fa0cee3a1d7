// SPDX-License-Identifier: MIT
// The data of each event, written straight from the message into one buffer that is kept: no
// allocation a row once it has grown. What a table's rows share is prepared in its Relation, what a
// transaction's share in tx_json. A change whose data would exceed data_max is told by its key, its
// size and its hash; the size and hash are those of the message as the server sent it.
#include "change_internal.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"

#include <errno.h>

// Text that is known while compiling.
#define add(b, literal) buf_add(b, "" literal, sizeof(literal) - 1)

static const char *const op_heads[_OP_MAX] = {
        [OP_INSERT] = "{\"op\":\"insert\",",
        [OP_UPDATE] = "{\"op\":\"update\",",
        [OP_DELETE] = "{\"op\":\"delete\",",
        [OP_TRUNCATE] = "{\"op\":\"truncate\",",
        [OP_MESSAGE] = "{\"op\":\"message\",",
        [OP_READ] = "{\"op\":\"read\",",
};

void change_write_tx(Change *c)
{
        char lsn[PG_LSN_TEXT], time[CLOCK_RFC3339_MAX];

        buf_reset(&c->tx_json);
        buf_addf(&c->tx_json,
                "\"tx\":{\"xid\":%u,\"lsn\":\"%s\",\"time\":\"%s\",\"ordinal\":", c->tx.xid,
                pg_lsn_text(c->tx.commit_lsn, lsn), clock_rfc3339(c->tx.time_usec, time));
}

// Closes the data: its transaction, or in a list only which change of it this is.
static void write_end(Change *c)
{
        Buf *b = &c->data;

        if (c->options.group) {
                add(b, ",\"ordinal\":");
                buf_add_u64(b, c->tx.ordinal);
                buf_add_char(b, '}');
                return;
        }
        buf_add_char(b, ',');
        buf_add_slice(b, buf_slice(&c->tx_json));
        buf_add_u64(b, c->tx.ordinal);
        add(b, "}}");
}

static void write_value(Change *c, const Column *column, const PgValue *v)
{
        if (v->kind == 't')
                value_write(&c->data, column->value, v->text, c->options.numbers);
        else
                add(&c->data, "null");
}

// A row as an object. A 'u' is taken from `old` where that has it, else left out.
static void write_row(Change *c, const Relation *r, const PgValue *row, const PgValue *old)
{
        Buf *b = &c->data;
        char before = '{';

        for (unsigned i = 0; i < r->n_columns; i++) {
                const PgValue *v = &row[i];
                if (v->kind == 'u') {
                        if (!old || old[i].kind == 'u')
                                continue;
                        v = &old[i];
                }
                buf_add_char(b, before);
                before = ',';
                buf_add_slice(b, r->columns[i].json_name);
                write_value(c, &r->columns[i], v);
        }
        if (before == '{')
                buf_add_char(b, '{');
        buf_add_char(b, '}');
}

// The value of a key column: the new row's, or the old one's where the new one does not say.
static const PgValue *key_value(const Change *c, unsigned column, bool has_new, bool has_old)
{
        const PgValue *v = &c->new_values[column];
        if (has_new && v->kind != 'u')
                return v;
        v = &c->old_values[column];
        return has_old && v->kind != 'u' ? v : NULL;
}

static void write_key(Change *c, const Relation *r)
{
        Buf *b = &c->data;
        bool has_new = c->message.row.new_row.packed.data, has_old = c->message.row.old_kind;
        char before = '{';

        if (r->n_key == 0)
                return;
        add(b, ",\"key\":");
        for (unsigned i = 0; i < r->n_columns; i++) {
                const PgValue *v = r->columns[i].key ? key_value(c, i, has_new, has_old) : NULL;
                if (!v)
                        continue;
                buf_add_char(b, before);
                before = ',';
                buf_add_slice(b, r->columns[i].json_name);
                write_value(c, &r->columns[i], v);
        }
        if (before == '{')
                buf_add_char(b, '{');
        buf_add_char(b, '}');
}

// What came of the old row: all of it, or the columns of the identity.
static void write_old(Change *c, const Relation *r)
{
        Buf *b = &c->data;
        char before = '{';

        add(b, ",\"old\":");
        if (c->message.row.old_kind == 'O') {
                write_row(c, r, c->old_values, NULL);
                return;
        }
        for (unsigned i = 0; i < r->n_columns; i++) {
                if (!r->columns[i].identity || c->old_values[i].kind == 'u')
                        continue;
                buf_add_char(b, before);
                before = ',';
                buf_add_slice(b, r->columns[i].json_name);
                write_value(c, &r->columns[i], &c->old_values[i]);
        }
        if (before == '{')
                buf_add_char(b, '{');
        buf_add_char(b, '}');
}

static bool value_differs(const PgValue *new, const PgValue *old)
{
        if (new->kind == 'u' || old->kind == 'u')
                return false;
        return new->kind != old->kind || (new->kind == 't' && !slice_eq(new->text, old->text));
}

// Names of columns: those that changed (only a whole old row says so), and those not sent.
static void write_names(Change *c, const Relation *r, bool changed)
{
        Buf *b = &c->data;
        bool whole = c->message.row.old_kind == 'O', any = false;

        for (unsigned i = 0; i < r->n_columns; i++) {
                const PgValue *new = &c->new_values[i], *old = &c->old_values[i];
                if (changed ? !value_differs(new, old)
                            : new->kind != 'u' || (whole && old->kind != 'u'))
                        continue;
                if (any)
                        buf_add_char(b, ',');
                else if (changed)
                        add(b, ",\"changed\":[");
                else
                        add(b, ",\"unchanged\":[");
                any = true;
                Slice name = r->columns[i].json_name; // `"name":`
                buf_add(b, name.data, name.len - 1);
        }
        if (any)
                buf_add_char(b, ']');
        else if (changed)
                add(b, ",\"changed\":[]");
}

// What stands for data over data_max.
static int write_stand_in(Change *c, const Relation *r, ChangeOp op)
{
        uint8_t digest[SHA256_SIZE];
        char hex[2 * SHA256_SIZE];

        int k = digest_sha256(c->payload, digest);
        if (k < 0)
                return k;
        digest_hex(digest, sizeof digest, hex);
        for (bool with_key = op != OP_MESSAGE;; with_key = false) {
                buf_reset(&c->data);
                buf_add_str(&c->data, op_heads[op]);
                if (r) {
                        buf_add_slice(&c->data, r->head);
                        if (with_key)
                                write_key(c, r);
                        buf_add_char(&c->data, ',');
                }
                buf_addf(&c->data, "\"oversized\":true,\"bytes\":%zu,\"sha256\":\"%.*s\"",
                        c->payload.len, (int)sizeof hex, hex);
                write_end(c);
                if (c->data.error != -ENOBUFS || !with_key)
                        return c->data.error;
        }
}

static int finish(Change *c, const Relation *r, ChangeOp op)
{
        write_end(c);
        return c->data.error == -ENOBUFS ? write_stand_in(c, r, op) : c->data.error;
}

int change_write_row(Change *c, const Relation *r, ChangeOp op)
{
        Buf *b = &c->data;

        buf_reset(b);
        buf_add_str(b, op_heads[op]);
        buf_add_slice(b, r->head);
        write_key(c, r);
        if (op != OP_DELETE) {
                add(b, ",\"new\":");
                write_row(
                        c, r, c->new_values, c->message.row.old_kind == 'O' ? c->old_values : NULL);
        }
        if (c->message.row.old_kind)
                write_old(c, r);
        if (op == OP_UPDATE && c->message.row.old_kind == 'O')
                write_names(c, r, true);
        if (op == OP_UPDATE)
                write_names(c, r, false);
        return finish(c, r, op);
}

int change_write_truncate(Change *c, const Relation *r)
{
        Buf *b = &c->data;

        buf_reset(b);
        buf_add_str(b, op_heads[OP_TRUNCATE]);
        buf_add_slice(b, r->head);
        if (c->message.truncate.cascade)
                add(b, ",\"cascade\":true");
        if (c->message.truncate.restart)
                add(b, ",\"restart_identity\":true");
        return finish(c, r, OP_TRUNCATE);
}

// An object or a list is embedded; other text is a string, be it a number or not, so that its type
// does not depend on what somebody wrote; what is no text is base64.
static void write_content(Buf *b, Slice content)
{
        Slice s = content;
        while (s.len && memchr(" \t\r\n", s.data[0], 4))
                s = (Slice){s.data + 1, s.len - 1};
        JsonWriter w = json_writer(b);
        if (s.len && (s.data[0] == '{' || s.data[0] == '[') &&
                json_check(content, VALUE_JSON_DEPTH, NULL) == 0) {
                add(b, ",\"encoding\":\"json\",\"payload\":");
                buf_add_slice(b, content);
        } else if (text_utf8_valid(content)) {
                add(b, ",\"encoding\":\"text\",\"payload\":");
                json_add_string(&w, content);
        } else {
                add(b, ",\"encoding\":\"base64\",\"payload\":\"");
                digest_base64(b, content);
                buf_add_char(b, '"');
        }
}

int change_write_message(Change *c)
{
        Buf *b = &c->data;
        const bool inside = c->message.message.transactional;

        buf_reset(b);
        buf_add_str(b, op_heads[OP_MESSAGE]);
        JsonWriter w = json_writer(b);
        json_key(&w, "prefix");
        json_add_string(&w, c->message.message.prefix);
        json_key(&w, "transactional");
        json_bool(&w, inside);
        write_content(b, c->message.message.content);
        if (inside)
                return finish(c, NULL, OP_MESSAGE);
        char lsn[PG_LSN_TEXT];
        (void)pg_lsn_text(c->message.message.lsn, lsn);
        if (b->error != -ENOBUFS) {
                buf_addf(b, ",\"tx\":{\"lsn\":\"%s\"}}", lsn);
                return b->error;
        }
        buf_reset(b);
        buf_addf(b,
                "{\"op\":\"message\",\"transactional\":false,\"oversized\":true,\"bytes\":%zu,"
                "\"tx\":{\"lsn\":\"%s\"}}",
                c->payload.len, lsn);
        return b->error;
}

int change_write_schema(Change *c, const Relation *before, const Relation *after)
{
        Buf *b = &c->data;

        buf_reset(b);
        add(b, "{\"op\":\"schema\",");
        buf_add_slice(b, after->head);
        size_t start = b->len;
        buf_add_char(b, ',');
        relation_write_changes(before, after, b);
        for (unsigned i = 0; i < 2; i++) {
                buf_add_char(b, ',');
                buf_add_slice(b, buf_slice(&c->tx_json));
                buf_add_u64(b, c->tx.ordinal);
                add(b, "}}");
                if (b->error != -ENOBUFS)
                        break;
                buf_reset(b);
                b->len = start;
                add(b, ",\"oversized\":true");
        }
        return b->error;
}

void change_part_begin(Change *c)
{
        buf_reset(&c->part.json);
        add(&c->part.json, "{\"op\":\"transaction\",\"changes\":[");
        c->part.rows = 0;
}

void change_part_end(Change *c, bool last)
{
        Buf *b = &c->part.json;

        add(b, "],\"rows\":");
        buf_add_u64(b, c->part.rows);
        buf_add_char(b, ',');
        buf_add_slice(b, buf_slice(&c->tx_json));
        buf_add_u64(b, c->part.first);
        add(b, ",\"part\":");
        buf_add_u64(b, c->part.number);
        buf_add_str(b, last ? ",\"last\":true}}" : ",\"last\":false}}");
}

bool change_write_key(Change *c, const Relation *r, bool old)
{
        Buf *b = &c->key;
        bool has_new = c->message.row.new_row.packed.data && !old;
        bool has_old = c->message.row.old_kind, whole = true;
        char before = ':';
        uint8_t digest[SHA256_SIZE];

        buf_reset(b);
        buf_add_slice(b, r->subject);
        for (unsigned i = 0; i < r->n_columns && r->n_key; i++) {
                const PgValue *v = r->columns[i].key ? key_value(c, i, has_new, has_old) : NULL;
                if (!v || v->kind != 't') {
                        whole = whole && !r->columns[i].key;
                        continue;
                }
                buf_add_char(b, before);
                before = ',';
                if (r->n_key == 1) {
                        buf_add_slice(b, v->text);
                        continue;
                }
                for (size_t k = 0; k < v->text.len; k++) {
                        if (v->text.data[k] == ',' || v->text.data[k] == '\\')
                                buf_add_char(b, '\\');
                        buf_add_char(b, v->text.data[k]);
                }
        }
        if (b->len <= LIMIT_KEY || b->error < 0)
                return whole && b->error == 0;
        // Too long for a key: what it hashes to is as good for telling keys apart.
        if (digest_sha256(buf_slice(b), digest) < 0) {
                b->error = -ENOMEM;
                return false;
        }
        b->len = 0;
        char *hex = (char *)buf_grow(b, 2 * SHA256_SIZE);
        if (hex)
                digest_hex(digest, sizeof digest, hex);
        return whole && hex;
}
