// SPDX-License-Identifier: MIT
// First byte 0: the rest is a stored record, which may be anything. Else: the rest is cut into a
// draft; what record_build accepts must be valid JSON and parse back to the same fields.
#include "base/json.h"
#include "base/limits.h"
#include "base/wire.h"
#include "event/record.h"

#include <assert.h>
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void assert_within(Slice bytes, Slice s)
{
        assert(s.len == 0 || (s.data >= bytes.data && s.data + s.len <= bytes.data + bytes.len));
}

static void parse(Slice bytes)
{
        Record r;
        if (record_parse(bytes, &r) < 0)
                return;
        Slice fields[] = {r.id, r.source, r.type, r.subject, r.key, r.data, r.json};
        for (size_t i = 0; i < N_ELEMENTS(fields); i++)
                assert_within(bytes, fields[i]);
        char id[DELIVERY_ID_MAX];
        delivery_id(id, r.id, 1);
        _cleanup_(buf_deinitp) Buf plain = BUF_INIT(1 << 20); // damaged text may be no JSON
        record_text(&plain, r.subject);
        record_text(&plain, r.key);
}

static void build(Slice bytes)
{
        RecordOrigin o;
        Reason why = {0};
        assert(record_origin_init(&o, "host", "fuzz") == 0);
        WireReader r = wire_reader(bytes);
        EventDraft d = {.time_usec = wire_u64(&r)};
        size_t max = wire_u16(&r);
        d.type = wire_raw(&r, wire_u8(&r));
        d.subject = wire_raw(&r, wire_u8(&r));
        d.key = wire_raw(&r, wire_u8(&r));
        d.id_material = wire_raw(&r, wire_u8(&r));
        d.data = wire_raw(&r, r.left);
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 22);
        int e = record_build(&b, &o, &d, max, &why);
        if (e < 0) {
                assert((e == -EINVAL || e == -EBADMSG) && why.text[0] && b.len == 0);
                return;
        }
        Record rec;
        e = record_parse(buf_slice(&b), &rec);
        assert(e == 0);
        assert(json_check(rec.json, LIMIT_JSON_DEPTH, NULL) == 0);
        assert(rec.time_usec == d.time_usec && slice_eq(rec.type, d.type));
        assert(rec.oversized || slice_eq(rec.data, d.data));
        JsonTree t = {0};
        assert(json_parse(&t, rec.json, LIMIT_JSON_DEPTH) == 0);
        const JsonNode *n = json_get(&t, t.nodes, SLICE_LIT("data"));
        assert(n);
        n = json_get(&t, t.nodes, SLICE_LIT("id"));
        assert(n && slice_eq(n->raw, rec.id));
        json_tree_deinit(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        if (data[0] == 0)
                parse(slice_mem(data + 1, size - 1));
        else
                build(slice_mem(data + 1, size - 1));
        return 0;
}
