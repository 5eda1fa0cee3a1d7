// SPDX-License-Identifier: MIT
// Reads everything: checksums, order of keys, references both ways, LMDB's freelist, and all
// counters against a recount. Run where a crash is harmless (check_in_child): damage inside LMDB's
// own pages can end the process. Changes nothing.
#include "store/files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

typedef struct Scrub {
        Store *s;
        MDB_txn *txn;
        ScrubFault fault;
        void *u;
        int n;
} Scrub;

_printf_(2, 3) static void scrub_fault(Scrub *c, const char *format, ...)
{
        char text[200];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        c->n++;
        if (c->fault)
                c->fault(text, c->u);
}

static const char *event_fault(Store *s, MDB_txn *txn, Slice key, Slice body)
{
        EventRow e;
        uint64_t seq;
        if (key.len != sizeof(seq) || event_row_decode(body, &e) < 0)
                return "malformed";
        memcpy(&seq, key.data, sizeof(seq));
        if (event_record(s, txn, seq, &e) < 0)
                return "its record is incomplete";
        bool alive = false;
        for (uint16_t i = 0; i < e.n_routes; i++) {
                DeliveryKey d = {seq, i};
                Key owed_key = key_delivery(d);
                StoreRoute route;
                StoreOwed o;
                uint32_t own_len;
                Slice owed, headers, own;
                event_row_route(&e, i, &route, &own_len);
                if (row_get(s, txn, TABLE_OWED, key_slice(&owed_key), &owed) == 0 &&
                        owed_decode(owed, &o) == 0 && o.state == OWED_ENDED)
                        continue;
                alive = true;
                if (route.flags & (ROUTE_OWN_BODY | ROUTE_OWN_HEADERS) &&
                        own_get(s, txn, d, own_len, &headers, &own) < 0)
                        return "a body of its own is incomplete";
        }
        return alive ? NULL : "all its routes have ended";
}

// The event and route that a row in owed, due or bodies belongs to.
static const char *delivery_fault(
        Store *s, MDB_txn *txn, DeliveryKey d, EventRow *e, StoreRoute *route)
{
        uint32_t own_len;
        if (event_get(s, txn, d.seq, e) < 0)
                return "its event is missing";
        if (d.route >= e->n_routes)
                return "its event has no such route";
        event_row_route(e, d.route, route, &own_len);
        return NULL;
}

static const char *owed_fault(Store *s, MDB_txn *txn, Slice key, Slice body)
{
        DeliveryKey d;
        StoreOwed o;
        EventRow e;
        StoreRoute route;
        if (key_read_delivery(key, &d) < 0 || owed_decode(body, &o) < 0)
                return "malformed";
        const char *fault = delivery_fault(s, txn, d, &e, &route);
        if (fault || o.state == OWED_ENDED)
                return fault;
        Key due = key_due(&(DueKey){.sink = route.sink, .due_usec = owed_due(&o), .d = d});
        Slice empty;
        return row_get(s, txn, TABLE_DUE, key_slice(&due), &empty) < 0 ? "it has no row in due"
                                                                       : NULL;
}

static const char *due_fault(Store *s, MDB_txn *txn, Slice key, Slice body)
{
        DueKey k;
        EventRow e;
        StoreRoute route;
        StoreOwed o;
        Slice owed;
        if (key_read_due(key, &k) < 0 || body.len != 0)
                return "malformed";
        const char *fault = delivery_fault(s, txn, k.d, &e, &route);
        if (fault)
                return fault;
        Key owed_key = key_delivery(k.d);
        if (route.sink != k.sink || row_get(s, txn, TABLE_OWED, key_slice(&owed_key), &owed) < 0 ||
                owed_decode(owed, &o) < 0 || o.state == OWED_ENDED || owed_due(&o) != k.due_usec)
                return "it does not match its row in owed";
        return NULL;
}

static const char *body_fault(Store *s, MDB_txn *txn, Slice key, Slice body)
{
        DeliveryKey d;
        EventRow e;
        StoreRoute route;
        if (key_read_delivery(key, &d) < 0 || body.len < 8)
                return "malformed";
        const char *fault = delivery_fault(s, txn, d, &e, &route);
        if (!fault && !(route.flags & (ROUTE_OWN_BODY | ROUTE_OWN_HEADERS)))
                fault = "its route has no body of its own";
        return fault;
}

static const char *chunk_fault(Store *s, MDB_txn *txn, Slice key, Slice body)
{
        if (key.len != 13)
                return "malformed";
        uint64_t id;
        uint16_t route, index;
        memcpy(&id, key.data + 1, sizeof(id));
        memcpy(&route, key.data + 9, sizeof(route));
        memcpy(&index, key.data + 11, sizeof(index));
        id = be64toh(id);
        uint32_t source, len = 0;
        Slice row, ignored;
        EventRow e;
        DeadRow d;
        BlobKind kind = (BlobKind)key.data[0];
        Key own_key = key_delivery((DeliveryKey){id, be16toh(route)});
        if (kind == BLOB_RECORD && event_get(s, txn, id, &e) == 0) {
                len = e.record_len;
        } else if (kind == BLOB_OWN &&
                   row_get(s, txn, TABLE_BODIES, key_slice(&own_key), &row) == 0 && row.len >= 8) {
                memcpy(&len, row.data + 4, sizeof(len));
                len = le32toh(len);
        } else if ((kind == BLOB_DEAD || kind == BLOB_DEAD_OWN) &&
                   row_get(s, txn, TABLE_DEAD, slice_of_number(&id), &row) == 0 &&
                   dead_decode(row, &d) == 0) {
                len = kind == BLOB_DEAD ? d.record_len : d.own_len;
        } else if (kind == BLOB_GAP &&
                   row_get(s, txn, TABLE_GAPS, slice_of_number(&id), &row) == 0) {
                if (gap_decode(row, &source, &len, &ignored) < 0)
                        len = 0;
        }
        if (fits_inline(len) || (uint64_t)be16toh(index) * CHUNK_BODY >= len)
                return "it belongs to nothing";
        return NULL;
}

static const char *number_fault(Store *s, MDB_txn *txn, Table table, Slice key, Slice body)
{
        uint64_t number;
        if (key.len != sizeof(number))
                return "malformed";
        memcpy(&number, key.data, sizeof(number));
        if (table == TABLE_DEAD) {
                DeadRow d;
                return dead_get(s, txn, number, &d) < 0 ? "malformed or incomplete" : NULL;
        }
        if (table == TABLE_GAPS) {
                uint32_t source, len;
                Slice record;
                if (gap_decode(body, &source, &len, &record) < 0 ||
                        (!fits_inline(len) && blob_borrow(s, txn, (BlobKey){BLOB_GAP, number, 0},
                                                      len, &record) < 0))
                        return "malformed or incomplete";
                return NULL;
        }
        WireReader w = wire_reader(body);
        LedgerEntry e;
        while (ledger_decode(&w, &e))
                ;
        return w.bad ? "malformed" : NULL;
}

const char *row_fault(Store *s, MDB_txn *txn, Table table, Slice key, Slice body)
{
        switch (table) {
        case TABLE_EVENTS:
                return event_fault(s, txn, key, body);
        case TABLE_OWED:
                return owed_fault(s, txn, key, body);
        case TABLE_DUE:
                return due_fault(s, txn, key, body);
        case TABLE_BODIES:
                return body_fault(s, txn, key, body);
        case TABLE_CHUNKS:
                return chunk_fault(s, txn, key, body);
        case TABLE_DEAD:
        case TABLE_LEDGER:
        case TABLE_GAPS:
                return number_fault(s, txn, table, key, body);
        case TABLE_POSITIONS:
                return key.len == 5 && body.len >= 8 ? NULL : "malformed";
        case TABLE_STATE:
                return key.len > 4 ? NULL : "malformed";
        default:
                return NULL;
        }
}

static int key_cmp(Table table, Slice a, Slice b)
{
        if (!table_is_integer(table) || a.len != sizeof(uint64_t) || b.len != sizeof(uint64_t))
                return slice_cmp(a, b);
        uint64_t x, y;
        memcpy(&x, a.data, sizeof(x));
        memcpy(&y, b.data, sizeof(y));
        return (x > y) - (x < y);
}

static void scrub_row(Scrub *c, Table table, MDB_val *key, const MDB_val *row, uint64_t n)
{
        Slice body;
        const char *fault = "its checksum is wrong";
        MDB_val again;
        if (mdb_get(c->txn, c->s->dbi[table], key, &again) != 0 || again.mv_data != row->mv_data)
                fault = "it is not found by its key";
        else if (row_at(table, key, row, &body) == 0)
                fault = row_fault(c->s, c->txn, table, slice_of_val(*key), body);
        scratch_free(c->s, NULL);
        if (!fault)
                return;
        uint64_t number = n;
        if (table_is_integer(table) && key->mv_size == sizeof(number))
                memcpy(&number, key->mv_data, sizeof(number));
        scrub_fault(c, "%s %" PRIu64 ": %s", table_name(table), number, fault);
}

static int scrub_table(Scrub *c, Table table)
{
        MDB_cursor *cursor;
        MDB_stat stat;
        int rc = mdb_stat(c->txn, c->s->dbi[table], &stat);
        if (rc == 0)
                rc = mdb_cursor_open(c->txn, c->s->dbi[table], &cursor);
        if (rc)
                return lmdb_error(rc);
        Key last;
        last.len = 0;
        uint64_t n = 0;
        MDB_val key, row;
        while ((rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) == 0) {
                if (key.mv_size > KEY_MAX ||
                        (n && key_cmp(table, key_slice(&last), slice_of_val(key)) >= 0)) {
                        scrub_fault(c, "%s: its keys are out of order", table_name(table));
                        break;
                }
                last.len = 0;
                key_add(&last, key.mv_data, key.mv_size);
                scrub_row(c, table, &key, &row, n++);
        }
        mdb_cursor_close(cursor);
        if (rc != MDB_NOTFOUND && rc != 0)
                scrub_fault(c, "%s: %s", table_name(table), mdb_strerror(rc));
        if (rc == MDB_NOTFOUND && n != stat.ms_entries)
                scrub_fault(c, "%s: %" PRIu64 " rows where %zu should be", table_name(table), n,
                        stat.ms_entries);
        return 0;
}

static void scrub_free_entry(
        Scrub *c, const MDB_val *row, uint8_t *seen, size_t last_page, uint64_t *n_free)
{
        size_t count, page;
        if (row->mv_size < sizeof(count))
                return scrub_fault(c, "freelist: a malformed row");
        memcpy(&count, row->mv_data, sizeof(count));
        if (count > row->mv_size / sizeof(count) - 1)
                return scrub_fault(c, "freelist: a malformed row");
        for (size_t i = 0; i < count; i++) {
                memcpy(&page, (const uint8_t *)row->mv_data + (i + 1) * sizeof(page), sizeof(page));
                if (page < 2 || page > last_page)
                        return scrub_fault(c, "freelist: page %zu is not in the file", page);
                if (seen[page / 8] & 1 << page % 8)
                        return scrub_fault(c, "freelist: page %zu is free twice", page);
                seen[page / 8] |= (uint8_t)(1 << page % 8);
                ++*n_free;
        }
}

static int scrub_freelist(Scrub *c)
{
        MDB_envinfo info;
        MDB_cursor *cursor;
        (void)mdb_env_info(c->s->env, &info);
        if (info.me_last_pgno > info.me_mapsize / c->s->page) {
                scrub_fault(c, "the last page is behind the end of the map");
                return 0;
        }
        _cleanup_(freep) uint8_t *seen = calloc(1, info.me_last_pgno / 8 + 1);
        if (!seen)
                return -ENOMEM;
        int rc = mdb_cursor_open(c->txn, 0, &cursor); // LMDB's own table
        if (rc)
                return lmdb_error(rc);
        MDB_val key, row;
        uint64_t n_free = 0;
        while ((rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) == 0)
                scrub_free_entry(c, &row, seen, info.me_last_pgno, &n_free);
        mdb_cursor_close(cursor);
        if (rc != MDB_NOTFOUND)
                scrub_fault(c, "freelist: %s", mdb_strerror(rc));
        if (env_used(c->s, c->txn) / c->s->page + n_free > info.me_last_pgno + 1)
                scrub_fault(c, "pages are both free and in use");
        return 0;
}

static void scrub_compare(Scrub *c, const char *what, uint64_t says, uint64_t counted)
{
        if (says != counted)
                scrub_fault(
                        c, "counter %s says %" PRIu64 ", counted %" PRIu64, what, says, counted);
}

static void scrub_compare_counters(Scrub *c, const Counters *a, const Counters *b)
{
        scrub_compare(c, "events", a->events, b->events);
        scrub_compare(c, "event bytes", a->event_bytes, b->event_bytes);
        scrub_compare(c, "dead", a->dead, b->dead);
        scrub_compare(c, "dead bytes", a->dead_bytes, b->dead_bytes);
        scrub_compare(c, "ledger bytes", a->ledger_bytes, b->ledger_bytes);
        scrub_compare(c, "quarantined", a->quarantined, b->quarantined);
        scrub_compare(c, "gaps", a->gaps, b->gaps);
        static const SinkCounter none;
        for (uint32_t i = 0; i < a->n_sinks || i < b->n_sinks; i++) {
                const SinkCounter *x = i < a->n_sinks ? &a->sinks[i] : &none;
                const SinkCounter *y = i < b->n_sinks ? &b->sinks[i] : &none;
                scrub_compare(c, "deliveries of a sink", x->deliveries, y->deliveries);
                scrub_compare(c, "bytes of a sink", x->bytes, y->bytes);
                if (y->deliveries && x->oldest > y->oldest)
                        scrub_compare(c, "oldest of a sink", x->oldest, y->oldest);
        }
        for (uint32_t i = 0; i < a->n_state || i < b->n_state; i++)
                scrub_compare(c, "state bytes", i < a->n_state ? a->state[i] : 0,
                        i < b->n_state ? b->state[i] : 0);
}

static int scrub_counters(Scrub *c)
{
        Counters says = {0}, counted = {0};
        int r = store_read_counters(c->s, c->txn, &says);
        if (r == -EUCLEAN) {
                scrub_fault(c, "the row of counters is missing or damaged");
                r = 0;
        } else if (r == 0) {
                r = counters_recount(c->s, c->txn, &counted);
                if (r == 0)
                        scrub_compare_counters(c, &says, &counted);
        }
        counters_deinit(&says);
        counters_deinit(&counted);
        return r;
}

int scrub_txn(Store *s, MDB_txn *txn, ScrubFault fault, void *u)
{
        Scrub c = {.s = s, .txn = txn, .fault = fault, .u = u};
        int r = scrub_freelist(&c);
        for (Table i = 0; i < _TABLE_MAX && r == 0; i++)
                r = scrub_table(&c, i);
        if (r == 0 && c.n == 0) // else they are wrong anyway
                r = scrub_counters(&c);
        if (r == -EUCLEAN) {
                scrub_fault(&c, "LMDB finds its own pages damaged");
                r = 0;
        }
        return r < 0 ? r : c.n;
}

int store_scrub(Store *s, ScrubFault fault, void *u)
{
        MDB_txn *txn; // its own, so that it may run beside a read
        int r = lmdb_error(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn));
        if (r < 0)
                return r;
        Scratch *kept = s->scratch;
        s->scratch = NULL;
        r = scrub_txn(s, txn, fault, u);
        s->scratch = kept;
        mdb_txn_abort(txn);
        if (r > 0)
                store_suspect(s);
        return r;
}

int meta_format(Store *s, MDB_txn *txn)
{
        MDB_val key = val_of(SLICE_LIT("format")), row;
        Slice body;
        int r = lmdb_error(mdb_get(txn, s->dbi[TABLE_META], &key, &row));
        if (r < 0)
                return r == -ENOENT ? -EUCLEAN : r;
        if (envelope_is_newer(slice_of_val(key), slice_of_val(row)))
                return -EPROTO;
        r = row_at(TABLE_META, &key, &row, &body);
        if (r < 0)
                return r;
        WireReader w = wire_reader(body);
        uint32_t version = wire_u32(&w);
        return w.bad || version == 0 ? -EUCLEAN : version > 1 ? -EPROTO : 0;
}
