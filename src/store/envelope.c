// SPDX-License-Identifier: MIT
// Envelope and row forms; see the header. Integers are little-endian in bodies and big-endian in
// keys; LMDB's integer keys alone are in the machine's own order (the database is not portable
// between byte orders anyway).
#include "store/envelope.h"

#include "base/digest.h"
#include <assert.h>
#include <errno.h>

enum { MAGIC = 0xBE, VERSION = 1, HEAD_BEFORE_CRC = 8 };

static const struct {
        const char *name;
        bool integer;
} tables[_TABLE_MAX] = {
        [TABLE_META] = {"meta", false},
        [TABLE_EVENTS] = {"events", true},
        [TABLE_OWED] = {"owed", false},
        [TABLE_DUE] = {"due", false},
        [TABLE_BODIES] = {"bodies", false},
        [TABLE_CHUNKS] = {"chunks", false},
        [TABLE_DEAD] = {"dead", true},
        [TABLE_POSITIONS] = {"positions", false},
        [TABLE_STATE] = {"state", false},
        [TABLE_LEDGER] = {"ledger", true},
        [TABLE_GAPS] = {"gaps", true},
        [TABLE_QUARANTINE] = {"quarantine", false},
};

const char *table_name(Table t)
{
        assert(t >= 0 && t < _TABLE_MAX);
        return tables[t].name;
}

bool table_is_integer(Table t)
{
        assert(t >= 0 && t < _TABLE_MAX);
        return tables[t].integer;
}

static void put16(uint8_t *p, uint16_t v)
{
        v = htole16(v);
        memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
        v = htole32(v);
        memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
        v = htole64(v);
        memcpy(p, &v, sizeof(v));
}

static uint16_t get16(const uint8_t *p)
{
        uint16_t v;
        memcpy(&v, p, sizeof(v));
        return le16toh(v);
}

static uint32_t get32(const uint8_t *p)
{
        uint32_t v;
        memcpy(&v, p, sizeof(v));
        return le32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
        uint64_t v;
        memcpy(&v, p, sizeof(v));
        return le64toh(v);
}

static uint32_t envelope_crc(Slice key, const uint8_t *row, size_t len)
{
        uint32_t crc = digest_crc32c(0, key.data, key.len);
        crc = digest_crc32c(crc, row, HEAD_BEFORE_CRC);
        return digest_crc32c(crc, row + ENVELOPE_SIZE, len - ENVELOPE_SIZE);
}

void envelope_seal(Table table, Slice key, uint8_t *row, size_t len)
{
        row[0] = MAGIC;
        row[1] = VERSION;
        row[2] = (uint8_t)table;
        row[3] = 0;
        put32(row + 4, (uint32_t)(len - ENVELOPE_SIZE));
        put32(row + 8, envelope_crc(key, row, len));
}

int envelope_open(Table table, Slice key, Slice row, Slice *ret_body)
{
        const uint8_t *p = (const uint8_t *)row.data;
        if (row.len < ENVELOPE_SIZE || p[0] != MAGIC || p[1] != VERSION || p[2] != table ||
                get32(p + 4) != row.len - ENVELOPE_SIZE ||
                get32(p + 8) != envelope_crc(key, p, row.len))
                return -EUCLEAN;
        *ret_body = slice_mem(p + ENVELOPE_SIZE, row.len - ENVELOPE_SIZE);
        return 0;
}

bool envelope_is_newer(Slice key, Slice row)
{
        const uint8_t *p = (const uint8_t *)row.data;
        return row.len >= ENVELOPE_SIZE && p[0] == MAGIC && p[1] > VERSION &&
               get32(p + 8) == envelope_crc(key, p, row.len);
}

void key_add(Key *k, const void *data, size_t n)
{
        assert(k->len + n <= sizeof(k->bytes));
        if (n)
                memcpy(k->bytes + k->len, data, n);
        k->len += n;
}

void key_u8(Key *k, uint8_t v)
{
        key_add(k, &v, sizeof(v));
}

void key_u16(Key *k, uint16_t v)
{
        v = htobe16(v);
        key_add(k, &v, sizeof(v));
}

void key_u32(Key *k, uint32_t v)
{
        v = htobe32(v);
        key_add(k, &v, sizeof(v));
}

void key_u64(Key *k, uint64_t v)
{
        v = htobe64(v);
        key_add(k, &v, sizeof(v));
}

static uint64_t be64_at(const char *p)
{
        uint64_t v;
        memcpy(&v, p, sizeof(v));
        return be64toh(v);
}

static uint16_t be16_at(const char *p)
{
        uint16_t v;
        memcpy(&v, p, sizeof(v));
        return be16toh(v);
}

Key key_delivery(DeliveryKey d)
{
        Key k;
        k.len = 0;
        key_u64(&k, d.seq);
        key_u16(&k, d.route);
        return k;
}

int key_read_delivery(Slice key, DeliveryKey *ret)
{
        if (key.len != 10)
                return -EUCLEAN;
        *ret = (DeliveryKey){.seq = be64_at(key.data), .route = be16_at(key.data + 8)};
        return 0;
}

Key key_due(const DueKey *d)
{
        Key k;
        k.len = 0;
        key_u16(&k, d->sink);
        key_u64(&k, d->due_usec);
        key_u64(&k, d->d.seq);
        key_u16(&k, d->d.route);
        return k;
}

int key_read_due(Slice key, DueKey *ret)
{
        if (key.len != 20)
                return -EUCLEAN;
        *ret = (DueKey){
                .sink = be16_at(key.data),
                .due_usec = be64_at(key.data + 2),
                .d = {.seq = be64_at(key.data + 10), .route = be16_at(key.data + 18)},
        };
        return 0;
}

size_t event_row_size(size_t record_len, uint16_t n_routes)
{
        return EVENT_HEAD + (size_t)n_routes * ROUTE_SIZE +
               (fits_inline(record_len) ? record_len : 0);
}

void route_encode(uint8_t *out, const StoreRoute *r, uint32_t own_len)
{
        put16(out, r->sink);
        out[2] = r->flags;
        out[3] = r->format;
        memcpy(out + 4, r->method, sizeof(r->method));
        put32(out + 12, r->rule);
        put32(out + 16, own_len);
}

void route_decode(const uint8_t *at, StoreRoute *ret, uint32_t *ret_own_len)
{
        *ret = (StoreRoute){
                .sink = get16(at), .flags = at[2], .format = at[3], .rule = get32(at + 12)};
        memcpy(ret->method, at + 4, sizeof(ret->method));
        ret->method[sizeof(ret->method) - 1] = 0;
        *ret_own_len = get32(at + 16);
}

uint8_t *event_row_encode(uint8_t *body, const EventRow *e, const StoreRoute *routes)
{
        put32(body, e->source);
        put64(body + 4, e->stored_usec);
        put32(body + 12, e->record_len);
        put16(body + 16, e->n_routes);
        uint8_t *at = body + EVENT_HEAD;
        for (uint16_t i = 0; i < e->n_routes; i++, at += ROUTE_SIZE)
                route_encode(at, &routes[i],
                        (uint32_t)(routes[i].own_headers.len + routes[i].own_body.len));
        return at;
}

int event_row_decode(Slice body, EventRow *ret)
{
        const uint8_t *p = (const uint8_t *)body.data;
        if (body.len < EVENT_HEAD)
                return -EUCLEAN;
        EventRow e = {
                .source = get32(p),
                .stored_usec = get64(p + 4),
                .record_len = get32(p + 12),
                .n_routes = get16(p + 16),
        };
        if (e.n_routes == 0 || body.len != event_row_size(e.record_len, e.n_routes))
                return -EUCLEAN;
        e.routes = slice_mem(p + EVENT_HEAD, (size_t)e.n_routes * ROUTE_SIZE);
        if (fits_inline(e.record_len))
                e.record = slice_mem(p + EVENT_HEAD + e.routes.len, e.record_len);
        *ret = e;
        return 0;
}

void owed_encode(Buf *out, const StoreOwed *o)
{
        wire_put_u8(out, o->state);
        wire_put_u8(out, o->class);
        wire_put_u16(out, o->status);
        wire_put_u16(out, o->attempts);
        wire_put_u8(out, o->crashes);
        wire_put_u64(out, o->due_usec);
        wire_put_u64(out, o->first_usec);
        wire_put_u64(out, o->since_usec);
        wire_put_bytes(out, slice_mem(o->detail, strnlen(o->detail, sizeof(o->detail) - 1)));
}

int owed_decode(Slice body, StoreOwed *ret)
{
        WireReader r = wire_reader(body);
        // One statement a field: the order in which an initializer's parts are read is open in C.
        StoreOwed o = {0};
        o.state = wire_u8(&r);
        o.class = wire_u8(&r);
        o.status = wire_u16(&r);
        o.attempts = wire_u16(&r);
        o.crashes = wire_u8(&r);
        o.due_usec = wire_u64(&r);
        o.first_usec = wire_u64(&r);
        o.since_usec = wire_u64(&r);
        Slice detail = wire_bytes(&r);
        if (!wire_end(&r) || o.state >= _OWED_STATE_MAX || detail.len >= sizeof(o.detail) ||
                (detail.len && memchr(detail.data, 0, detail.len)))
                return -EUCLEAN;
        if (detail.len)
                memcpy(o.detail, detail.data, detail.len);
        *ret = o;
        return 0;
}

static void verdict_encode(Buf *out, const StoreVerdict *v)
{
        wire_put_u8(out, v->class);
        wire_put_u16(out, v->status);
        wire_put_u16(out, v->attempts);
        wire_put_u64(out, v->when_usec);
        wire_put_u32(out, v->took_usec);
        wire_put_bytes(out, v->detail);
}

static StoreVerdict verdict_decode(WireReader *r)
{
        StoreVerdict v = {0};
        v.class = wire_u8(r);
        v.status = wire_u16(r);
        v.attempts = wire_u16(r);
        v.when_usec = wire_u64(r);
        v.took_usec = wire_u32(r);
        v.detail = wire_bytes(r);
        return v;
}

void dead_encode(Buf *out, const DeadRow *d)
{
        uint8_t route[ROUTE_SIZE];
        route_encode(route, &d->dead.route, d->own_len);
        wire_put_u64(out, d->seq);
        wire_put_u32(out, d->source);
        buf_add(out, route, sizeof(route));
        wire_put_u32(out, d->record_len);
        wire_put_u32(out, d->own_headers_len);
        verdict_encode(out, &d->dead.verdict);
        size_t n = strlen(d->dead.reason) + 1; // with its NUL: readers borrow it as a C string
        wire_put_bytes(out, slice_mem(d->dead.reason, n));
        if (fits_inline(d->record_len))
                buf_add_slice(out, d->dead.record);
        if (fits_inline(d->own_len)) {
                buf_add_slice(out, d->dead.route.own_headers);
                buf_add_slice(out, d->dead.route.own_body);
        }
}

int dead_decode(Slice body, DeadRow *ret)
{
        WireReader r = wire_reader(body);
        DeadRow d = {0};
        d.seq = wire_u64(&r);
        d.source = wire_u32(&r);
        Slice route = wire_raw(&r, ROUTE_SIZE);
        if (r.bad)
                return -EUCLEAN;
        route_decode((const uint8_t *)route.data, &d.dead.route, &d.own_len);
        d.record_len = wire_u32(&r);
        d.own_headers_len = wire_u32(&r);
        d.dead.verdict = verdict_decode(&r);
        Slice reason = wire_bytes(&r);
        if (r.bad || reason.len == 0 ||
                memchr(reason.data, 0, reason.len) != reason.data + reason.len - 1 ||
                d.own_headers_len > d.own_len)
                return -EUCLEAN;
        if (fits_inline(d.record_len))
                d.dead.record = wire_raw(&r, d.record_len);
        if (fits_inline(d.own_len)) {
                d.dead.route.own_headers = wire_raw(&r, d.own_headers_len);
                d.dead.route.own_body = wire_raw(&r, d.own_len - d.own_headers_len);
        }
        if (!wire_end(&r))
                return -EUCLEAN;
        d.dead.reason = reason.data;
        d.dead.sink = d.dead.route.sink;
        d.dead.rule = d.dead.route.rule;
        *ret = d;
        return 0;
}

static int hex_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void ledger_encode(Buf *out, const LedgerEntry *e)
{
        uint8_t id[ID_HEX / 2] = {0};
        for (size_t i = 0; i < sizeof(id); i++) {
                int high = hex_value(e->event_id[2 * i]), low = hex_value(e->event_id[2 * i + 1]);
                if (high < 0 || low < 0)
                        break;
                id[i] = (uint8_t)(high << 4 | low);
        }
        wire_put_u8(out, (uint8_t)e->kind);
        wire_put_u64(out, e->seq);
        wire_put_u16(out, e->route);
        wire_put_u16(out, e->sink);
        wire_put_u32(out, e->rule);
        buf_add(out, id, sizeof(id));
        verdict_encode(out, &e->verdict);
}

bool ledger_decode(WireReader *r, LedgerEntry *ret)
{
        if (r->left == 0)
                return false;
        LedgerEntry e = {0};
        e.kind = wire_u8(r);
        e.seq = wire_u64(r);
        e.route = wire_u16(r);
        e.sink = wire_u16(r);
        e.rule = wire_u32(r);
        Slice id = wire_raw(r, ID_HEX / 2);
        e.verdict = verdict_decode(r);
        if (r->bad || e.kind >= _LEDGER_KIND_MAX) {
                r->bad = true;
                return false;
        }
        digest_hex((const uint8_t *)id.data, id.len, e.event_id);
        e.event_id[ID_HEX] = 0;
        *ret = e;
        return true;
}
