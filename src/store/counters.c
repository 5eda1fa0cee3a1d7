// SPDX-License-Identifier: MIT
// What the store holds, in numbers: kept with every commit in ONE small row, so that opening costs
// the same whatever the backlog. Recounting reads everything and is for repair and scrub only.
#include "store/internal.h"

#include <assert.h>
#include <errno.h>

static int grow(void **array, uint32_t *n, uint32_t need, size_t element)
{
        if (need <= *n)
                return 0;
        uint32_t want = (need + 15) & ~15u;
        uint8_t *p = realloc(*array, (size_t)want * element);
        if (!p)
                return -ENOMEM;
        memset(p + (size_t)*n * element, 0, (size_t)(want - *n) * element);
        *array = p;
        *n = want;
        return 0;
}

SinkCounter *counters_sink(Counters *c, uint32_t number)
{
        if (number > NUMBER_MAX ||
                grow((void **)&c->sinks, &c->n_sinks, number + 1, sizeof(*c->sinks)) < 0)
                return NULL;
        return &c->sinks[number];
}

uint64_t *counters_state(Counters *c, uint32_t source)
{
        if (source > NUMBER_MAX ||
                grow((void **)&c->state, &c->n_state, source + 1, sizeof(*c->state)) < 0)
                return NULL;
        return &c->state[source];
}

int counters_copy(Counters *to, const Counters *from)
{
        if (grow((void **)&to->sinks, &to->n_sinks, from->n_sinks, sizeof(*to->sinks)) < 0 ||
                grow((void **)&to->state, &to->n_state, from->n_state, sizeof(*to->state)) < 0)
                return -ENOMEM;
        Counters c = *from;
        c.sinks = to->sinks;
        c.n_sinks = to->n_sinks;
        c.state = to->state;
        c.n_state = to->n_state;
        if (c.n_sinks)
                memset(c.sinks, 0, c.n_sinks * sizeof(*c.sinks));
        if (c.n_state)
                memset(c.state, 0, c.n_state * sizeof(*c.state));
        if (from->n_sinks)
                memcpy(c.sinks, from->sinks, from->n_sinks * sizeof(*c.sinks));
        if (from->n_state)
                memcpy(c.state, from->state, from->n_state * sizeof(*c.state));
        *to = c;
        return 0;
}

void counters_deinit(Counters *c)
{
        free(c->sinks);
        free(c->state);
        *c = (Counters){0};
}

void counters_encode(Buf *out, const Counters *c)
{
        wire_put_u64(out, c->commit);
        buf_add(out, c->chain, CHAIN_SIZE);
        const uint64_t fields[] = {c->next_seq, c->next_dead, c->events, c->event_bytes, c->dead,
                c->dead_bytes, c->ledger_bytes, c->quarantined, c->gaps};
        for (size_t i = 0; i < N_ELEMENTS(fields); i++)
                wire_put_u64(out, fields[i]);
        for (uint32_t i = 0; i < c->n_sinks; i++) {
                if (c->sinks[i].deliveries == 0)
                        continue;
                wire_put_u16(out, (uint16_t)i);
                wire_put_u64(out, c->sinks[i].deliveries);
                wire_put_u64(out, c->sinks[i].bytes);
                wire_put_u64(out, c->sinks[i].oldest);
        }
        wire_put_u16(out, 0); // no sink has number 0
        for (uint32_t i = 0; i < c->n_state; i++) {
                if (c->state[i] == 0)
                        continue;
                wire_put_u16(out, (uint16_t)i);
                wire_put_u64(out, c->state[i]);
        }
}

static int counters_decode_lists(WireReader *r, Counters *c)
{
        for (uint16_t n; (n = wire_u16(r)) != 0;) {
                SinkCounter *k = counters_sink(c, n);
                if (!k)
                        return -ENOMEM;
                k->deliveries = wire_u64(r);
                k->bytes = wire_u64(r);
                k->oldest = wire_u64(r);
        }
        while (r->left && !r->bad) {
                uint64_t *bytes = counters_state(c, wire_u16(r));
                if (!bytes)
                        return -ENOMEM;
                *bytes = wire_u64(r);
        }
        return wire_end(r) ? 0 : -EUCLEAN;
}

int counters_decode(Slice body, Counters *ret)
{
        WireReader r = wire_reader(body);
        Counters c = {0};
        c.commit = wire_u64(&r);
        Slice chain = wire_raw(&r, CHAIN_SIZE);
        if (r.bad)
                return -EUCLEAN;
        memcpy(c.chain, chain.data, CHAIN_SIZE);
        uint64_t *const fields[] = {&c.next_seq, &c.next_dead, &c.events, &c.event_bytes, &c.dead,
                &c.dead_bytes, &c.ledger_bytes, &c.quarantined, &c.gaps};
        for (size_t i = 0; i < N_ELEMENTS(fields); i++)
                *fields[i] = wire_u64(&r);
        int result = counters_decode_lists(&r, &c);
        if (result < 0) {
                counters_deinit(&c);
                return result;
        }
        *ret = c;
        return 0;
}

static bool route_has_ended(Store *s, MDB_txn *txn, DeliveryKey d)
{
        Key key = key_delivery(d);
        Slice body;
        StoreOwed o;
        return row_get(s, txn, TABLE_OWED, key_slice(&key), &body) == 0 &&
               owed_decode(body, &o) == 0 && o.state == OWED_ENDED;
}

static int count_event(Store *s, MDB_txn *txn, uint64_t seq, Slice body, Counters *c)
{
        EventRow e;
        if (event_row_decode(body, &e) < 0)
                return 0;
        c->events++;
        c->event_bytes += e.record_len;
        for (uint16_t i = 0; i < e.n_routes; i++) {
                StoreRoute r;
                uint32_t own_len;
                event_row_route(&e, i, &r, &own_len);
                c->event_bytes += own_len;
                if (e.n_routes > 1 && route_has_ended(s, txn, (DeliveryKey){seq, i}))
                        continue;
                SinkCounter *k = counters_sink(c, r.sink);
                if (!k)
                        return -ENOMEM;
                k->oldest = k->deliveries == 0 ? seq : k->oldest;
                k->deliveries++;
                k->bytes += (uint64_t)e.record_len + own_len;
        }
        return 0;
}

static int count_row(Store *s, MDB_txn *txn, Table table, Slice key, Slice body, Counters *c)
{
        uint64_t number = 0;
        if (table_is_integer(table) && key.len == sizeof(number))
                memcpy(&number, key.data, sizeof(number));
        if (table == TABLE_EVENTS)
                return count_event(s, txn, number, body, c);
        if (table == TABLE_DEAD) {
                DeadRow d;
                if (dead_decode(body, &d) == 0) {
                        c->dead++;
                        c->dead_bytes += (uint64_t)d.record_len + d.own_len;
                }
        } else if (table == TABLE_LEDGER) {
                c->ledger_bytes += ledger_cost(body.len);
        } else if (table == TABLE_QUARANTINE) {
                c->quarantined++;
        } else if (table == TABLE_GAPS) {
                c->gaps++;
        } else if (table == TABLE_STATE && key.len >= 4) {
                uint32_t source;
                memcpy(&source, key.data, sizeof(source));
                uint64_t *bytes = counters_state(c, be32toh(source));
                if (!bytes)
                        return -ENOMEM;
                *bytes += key.len - 4 + body.len;
        }
        return 0;
}

int counters_recount(Store *s, MDB_txn *txn, Counters *c)
{
        static const Table counted[] = {
                TABLE_EVENTS, TABLE_DEAD, TABLE_LEDGER, TABLE_QUARANTINE, TABLE_GAPS, TABLE_STATE};
        c->events = c->event_bytes = c->dead = c->dead_bytes = c->ledger_bytes = c->quarantined =
                c->gaps = 0;
        if (c->n_sinks)
                memset(c->sinks, 0, c->n_sinks * sizeof(*c->sinks));
        if (c->n_state)
                memset(c->state, 0, c->n_state * sizeof(*c->state));
        for (size_t i = 0; i < N_ELEMENTS(counted); i++) {
                MDB_cursor *cursor;
                int rc = mdb_cursor_open(txn, s->dbi[counted[i]], &cursor);
                if (rc)
                        return lmdb_error(rc);
                MDB_val key, row;
                int r = 0;
                while (r == 0 && (rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) == 0) {
                        Slice body;
                        if (row_at(counted[i], &key, &row, &body) == 0)
                                r = count_row(s, txn, counted[i], slice_of_val(key), body, c);
                }
                mdb_cursor_close(cursor);
                if (r < 0)
                        return r;
                if (rc != MDB_NOTFOUND)
                        return lmdb_error(rc);
        }
        return 0;
}
