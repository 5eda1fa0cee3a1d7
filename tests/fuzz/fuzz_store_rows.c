// SPDX-License-Identifier: MIT
// Whatever bytes stand in a row: decoding never reads outside of them, and what decodes encodes to
// the same bytes again. The first byte chooses the table; the envelope is tried as it is, then the
// decoders get the bytes as if the checksum had been right.
#include "store/envelope.h"
#include <stdlib.h>

static void check(bool fine)
{
        if (!fine)
                abort();
}

static void touch(Slice s)
{
        volatile char sum = 0;
        for (size_t i = 0; i < s.len; i++)
                sum = (char)(sum + s.data[i]);
}

static void event_row(Slice body)
{
        EventRow e;
        if (event_row_decode(body, &e) < 0)
                return;
        touch(e.record);
        for (uint16_t i = 0; i < e.n_routes; i++) {
                StoreRoute r;
                uint32_t own_len;
                event_row_route(&e, i, &r, &own_len);
                check(strnlen(r.method, sizeof(r.method)) < sizeof(r.method));
        }
}

static void owed_row(Slice body)
{
        StoreOwed o;
        if (owed_decode(body, &o) < 0)
                return;
        Buf again = BUF_INIT(1 << 16);
        StoreOwed second;
        owed_encode(&again, &o);
        check(owed_decode(buf_slice(&again), &second) == 0 && memcmp(&o, &second, sizeof(o)) == 0);
        buf_deinit(&again);
}

static void dead_row(Slice body)
{
        DeadRow d;
        if (dead_decode(body, &d) < 0)
                return;
        touch(d.dead.record);
        touch(d.dead.route.own_headers);
        touch(d.dead.route.own_body);
        touch(slice_of(d.dead.reason));
        Buf again = BUF_INIT(1 << 24);
        dead_encode(&again, &d);
        DeadRow second;
        check(dead_decode(buf_slice(&again), &second) == 0 && second.record_len == d.record_len);
        buf_deinit(&again);
}

static void ledger_row(Slice body)
{
        WireReader r = wire_reader(body);
        LedgerEntry e;
        Buf again = BUF_INIT(1 << 24);
        while (ledger_decode(&r, &e))
                ledger_encode(&again, &e);
        if (!r.bad)
                check(slice_eq(buf_slice(&again), body));
        buf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size < 1)
                return 0;
        Table table = (Table)(data[0] % _TABLE_MAX);
        Slice body = slice_mem(data + 1, size - 1), opened;
        DeliveryKey d;
        DueKey due;
        if (envelope_open(table, SLICE_LIT("key"), body, &opened) == 0)
                touch(opened);
        (void)envelope_is_newer(SLICE_LIT("key"), body);
        (void)!key_read_delivery(body, &d);
        (void)!key_read_due(body, &due);
        if (table == TABLE_EVENTS)
                event_row(body);
        else if (table == TABLE_OWED)
                owed_row(body);
        else if (table == TABLE_DEAD)
                dead_row(body);
        else if (table == TABLE_LEDGER)
                ledger_row(body);
        return 0;
}
