// SPDX-License-Identifier: MIT
// Records: the exact text, the parsed view, what is refused, what a damaged one does; ids of
// deliveries; the tables of event/schema.h.
#include "test.h"

#include "base/json.h"
#include "base/limits.h"
#include "event/record.h"
#include "event/schema.h"
#include "torture.h"
#include <errno.h>

enum { HEADER = 48 };

static RecordOrigin origin;

static EventDraft draft(void)
{
        return (EventDraft){
                .time_usec = UINT64_C(1795426380123456),
                .type = SLICE_LIT("file.created"),
                .subject = SLICE_LIT("/srv/a \"b\"\n"),
                .id_material = SLICE_LIT("material"),
                .data = SLICE_LIT("{\"size\":5}"),
        };
}

static int setup(void **state)
{
        return record_origin_init(&origin, "host.example", "uploads");
}

static void test_text_and_view(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 16), plain = BUF_INIT(100);
        EventDraft d = draft();
        Reason why = {0};
        Record r;
        buf_add_str(&b, "before"); // appends
        assert_int_equal(record_build(&b, &origin, &d, LIMIT_EVENT_DEFAULT, &why), 0);
        Slice bytes = slice_mem(b.data + 6, b.len - 6);
        assert_int_equal(record_parse(bytes, &r), 0);
        // The id is fixed for ever: receivers and stores know events by it. The same value computed
        // elsewhere: sha256(le32(7) "uploads" le32(8) "material"), its first 16 bytes.
        uint8_t sum[SHA256_SIZE];
        char id[ID_HEX];
        assert_int_equal(digest_sha256(SLICE_LIT("\7\0\0\0uploads\10\0\0\0material"), sum), 0);
        digest_hex(sum, ID_HEX / 2, id);
        assert_true(slice_eq(r.id, slice_mem(id, ID_HEX)));
        _cleanup_(buf_deinitp) Buf expected = BUF_INIT(1000);
        buf_addf(&expected,
                "{\"specversion\":\"1.0\",\"id\":\"%.*s\",\"source\":\"/belfry/host.example/"
                "uploads\","
                "\"type\":\"file.created\",\"subject\":\"/srv/a \\\"b\\\"\\n\","
                "\"time\":\"2026-11-23T09:33:00.123456Z\",\"datacontenttype\":\"application/json\","
                "\"data\":{\"size\":5}}",
                ID_HEX, id);
        assert_slice(r.json, buf_text(&expected));
        assert_int_equal(json_check(r.json, LIMIT_JSON_DEPTH, NULL), 0);
        assert_true(r.time_usec == d.time_usec);
        assert_slice(r.source, "/belfry/host.example/uploads");
        assert_slice(r.type, "file.created");
        assert_slice(r.subject, "/srv/a \\\"b\\\"\\n");
        assert_slice(r.key, "/srv/a \\\"b\\\"\\n"); // no key: the subject
        assert_slice(r.data, "{\"size\":5}");
        assert_false(r.oversized);
        record_text(&plain, r.subject);
        assert_true(slice_eq(buf_slice(&plain), d.subject));
}

static void test_dataschema(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 16);
        EventDraft d = draft();
        Record r;
        d.subject = SLICE_LIT(",\"dataschema\":\"urn:mine\"");
        d.key = d.subject;
        assert_int_equal(record_build(&b, &origin, &d, LIMIT_EVENT_DEFAULT, NULL), 0);
        assert_int_equal(record_parse(buf_slice(&b), &r), 0);
        assert_int_equal(record_schema(&r).len, 0);
        buf_reset(&b);
        d.schema_version = 12;
        assert_int_equal(record_build(&b, &origin, &d, LIMIT_EVENT_DEFAULT, NULL), 0);
        assert_int_equal(record_parse(buf_slice(&b), &r), 0);
        assert_slice(record_schema(&r), "urn:belfry:event:file.created:12");
        static const char text[] =
                ",\"dataschema\":\"urn:belfry:event:file.created:12\","
                "\"datacontenttype\":\"application/json\",\"data\":{\"size\":5}}";
        assert_non_null(memmem(r.json.data, r.json.len, text, sizeof(text) - 1));
        assert_int_equal(json_check(r.json, LIMIT_JSON_DEPTH, NULL), 0);
}

static void test_key_and_no_subject(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 16);
        EventDraft d = draft();
        Record r;
        d.subject = SLICE_NULL;
        d.key = SLICE_LIT("k\xff");
        assert_int_equal(record_build(&b, &origin, &d, LIMIT_EVENT_DEFAULT, NULL), 0);
        assert_int_equal(record_parse(buf_slice(&b), &r), 0);
        assert_int_equal(r.subject.len, 0);
        assert_slice(r.key, "k\xef\xbf\xbd");
        assert_non_null(memmem(r.json.data, r.json.len, ",\"partitionkey\":\"k", 18));
        assert_null(memmem(r.json.data, r.json.len, "subject", 7));
        assert_int_equal(json_check(r.json, LIMIT_JSON_DEPTH, NULL), 0);
}

static void test_largest_fields(void **state)
{
        // Every byte of subject and key becomes six: offsets beyond 16 bits must survive.
        static char subject[LIMIT_SUBJECT], key[LIMIT_KEY], material[LIMIT_ID_MATERIAL];
        memset(subject, 1, sizeof(subject));
        memset(key, 2, sizeof(key));
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 20);
        EventDraft d = draft();
        Record r;
        d.subject = slice_mem(subject, sizeof(subject));
        d.key = slice_mem(key, sizeof(key));
        d.id_material = slice_mem(material, sizeof(material));
        assert_int_equal(record_build(&b, &origin, &d, LIMIT_EVENT_DEFAULT, NULL), 0);
        assert_int_equal(record_parse(buf_slice(&b), &r), 0);
        assert_int_equal(r.subject.len, 6 * sizeof(subject));
        assert_int_equal(r.key.len, 6 * sizeof(key));
        assert_slice(r.data, "{\"size\":5}");
        assert_int_equal(json_check(r.json, LIMIT_JSON_DEPTH, NULL), 0);
}

static void test_same_draft_same_bytes(void **state)
{
        _cleanup_(buf_deinitp) Buf a = BUF_INIT(1 << 16), b = BUF_INIT(1 << 16);
        EventDraft d = draft();
        assert_int_equal(record_build(&a, &origin, &d, LIMIT_EVENT_DEFAULT, NULL), 0);
        assert_int_equal(record_build(&b, &origin, &d, LIMIT_EVENT_DEFAULT, NULL), 0);
        assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
        d.id_material = SLICE_LIT("other");
        buf_reset(&b);
        assert_int_equal(record_build(&b, &origin, &d, LIMIT_EVENT_DEFAULT, NULL), 0);
        assert_false(slice_eq(buf_slice(&a), buf_slice(&b)));
}

static void test_oversized(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 20), data = BUF_INIT(1 << 20);
        JsonWriter w = json_writer(&data);
        memset(buf_grow(&data, 5000), ' ', 5000);
        json_u64(&w, 1);
        EventDraft d = draft();
        d.data = buf_slice(&data);
        Record r;
        assert_int_equal(record_build(&b, &origin, &d, 1 << 20, NULL), 0);
        size_t fits = b.len;
        for (int over = 0; over < 2; over++) { // exactly at the limit, and one byte over it
                buf_reset(&b);
                assert_int_equal(record_build(&b, &origin, &d, fits - (size_t)over, NULL), 0);
                assert_int_equal(record_parse(buf_slice(&b), &r), 0);
                assert_int_equal(r.oversized, over);
        }
        uint8_t sum[SHA256_SIZE];
        char hex[2 * SHA256_SIZE];
        assert_int_equal(digest_sha256(d.data, sum), 0);
        digest_hex(sum, sizeof(sum), hex);
        _cleanup_(buf_deinitp) Buf expected = BUF_INIT(200);
        buf_addf(&expected, "{\"oversized\":true,\"bytes\":5001,\"sha256\":\"%.64s\"}", hex);
        assert_slice(r.data, buf_text(&expected));
        assert_slice(r.type, "file.created");
        assert_int_equal(json_check(r.json, LIMIT_JSON_DEPTH, NULL), 0);
}

static void test_refusals(void **state)
{
        static char long_text[LIMIT_SUBJECT + 1], deep[2 * LIMIT_JSON_DEPTH];
        memset(long_text, 'x', sizeof(long_text));
        memset(deep, '[', LIMIT_JSON_DEPTH);
        memset(deep + LIMIT_JSON_DEPTH, ']', LIMIT_JSON_DEPTH);
        EventDraft good = draft(), bad[11];
        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                bad[i] = good;
        bad[0].type = SLICE_NULL;
        bad[1].type = SLICE_LIT("file\"created");
        bad[2].type = slice_mem(long_text, 200);
        bad[3].id_material = SLICE_NULL;
        bad[4].id_material = slice_mem(long_text, LIMIT_ID_MATERIAL + 1);
        bad[5].subject = slice_mem(long_text, LIMIT_SUBJECT + 1);
        bad[6].key = slice_mem(long_text, LIMIT_KEY + 1);
        bad[7].data = SLICE_NULL;
        bad[8].data = SLICE_LIT("{\"a\":}");
        bad[9].data = SLICE_LIT("1}{\"x\":1");
        bad[10].data = slice_mem(deep, sizeof(deep));
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 16);
        buf_add_str(&b, "kept");
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                Reason why = {0};
                int r = record_build(&b, &origin, &bad[i], LIMIT_EVENT_DEFAULT, &why);
                assert_int_equal(r, i < 7 ? -EINVAL : -EBADMSG);
                assert_true(why.text[0] != 0);
                assert_slice(buf_slice(&b), "kept");
        }
        Reason why = {0};
        assert_int_equal(record_build(&b, &origin, &bad[8], LIMIT_EVENT_DEFAULT, &why), -EBADMSG);
        assert_string_equal(why.text, "data is not valid JSON at byte 5");
        // One level less is the deepest that fits, and the whole is still within the limit.
        Record r;
        bad[10].data = slice_mem(deep + 1, sizeof(deep) - 2);
        buf_reset(&b);
        assert_int_equal(record_build(&b, &origin, &bad[10], LIMIT_EVENT_DEFAULT, NULL), 0);
        assert_int_equal(record_parse(buf_slice(&b), &r), 0);
        assert_int_equal(json_check(r.json, LIMIT_JSON_DEPTH, NULL), 0);
}

static void test_full_buffer_keeps_the_rest(void **state)
{
        EventDraft d = draft();
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(100);
        Reason why = {0};
        buf_add_str(&b, "kept");
        assert_int_equal(record_build(&b, &origin, &d, LIMIT_EVENT_DEFAULT, &why), -ENOBUFS);
        assert_slice(buf_slice(&b), "kept");
        assert_int_equal(b.error, 0);
}

static void test_origin(void **state)
{
        RecordOrigin o;
        char long_name[400];
        memset(long_name, 'h', sizeof(long_name));
        long_name[sizeof(long_name) - 1] = 0;
        assert_int_equal(record_origin_init(&o, "h\"st", "a"), 0);
        assert_string_equal(o.source, "/belfry/h\\\"st/a");
        assert_int_equal(record_origin_init(&o, "", "a"), -EINVAL);
        assert_int_equal(record_origin_init(&o, "h", ""), -EINVAL);
        assert_int_equal(record_origin_init(&o, "h", "Bad"), -EINVAL);
        assert_int_equal(record_origin_init(&o, long_name, "a"), -EINVAL);
}

// A view must lie within the bytes whatever they are.
static void assert_within(Slice bytes, Slice s)
{
        assert_true(
                s.len == 0 || (s.data >= bytes.data && s.data + s.len <= bytes.data + bytes.len));
}

static void test_damage(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 16);
        EventDraft d = draft();
        d.key = SLICE_LIT("key");
        assert_int_equal(record_build(&b, &origin, &d, LIMIT_EVENT_DEFAULT, NULL), 0);
        for (size_t n = 0; n < b.len; n++) {
                _cleanup_(freep) uint8_t *copy = malloc(n ? n : 1);
                memcpy(copy, b.data, n);
                Record r;
                assert_int_equal(record_parse(slice_mem(copy, n), &r), -EBADMSG);
        }
        unsigned refused = 0;
        for (size_t i = 0; i < HEADER; i++)
                for (unsigned v = 0; v < 256; v++) {
                        _cleanup_(freep) uint8_t *copy = malloc(b.len);
                        memcpy(copy, b.data, b.len);
                        copy[i] = (uint8_t)v;
                        Slice bytes = slice_mem(copy, b.len);
                        Record r;
                        if (record_parse(bytes, &r) < 0) {
                                refused++;
                                continue;
                        }
                        assert_within(bytes, r.id);
                        assert_within(bytes, r.source);
                        assert_within(bytes, r.type);
                        assert_within(bytes, r.subject);
                        assert_within(bytes, r.key);
                        assert_within(bytes, r.data);
                        assert_within(bytes, r.json);
                }
        assert_true(refused > 6000);
}

static void test_delivery_ids(void **state)
{
        char out[DELIVERY_ID_MAX];
        Slice id = SLICE_LIT("0123456789abcdef0123456789abcdef");
        delivery_id(out, id, 0);
        assert_string_equal(out, "0123456789abcdef0123456789abcdef");
        delivery_id(out, id, 0x00c0ffee);
        assert_string_equal(out, "0123456789abcdef0123456789abcdef_00c0ffee");
        assert_int_equal(rule_hash("new-invoice"), rule_hash("new-invoice"));
        assert_int_not_equal(rule_hash("new-invoice"), rule_hash("new-invoices"));
        assert_int_not_equal(rule_hash(""), 0);
}

static void test_schema(void **state)
{
        for (int t = 0; t < _FIELD_TYPE_MAX; t++) {
                const char *name = field_type_to_string((FieldType)t);
                assert_non_null(name);
                assert_int_equal(field_type_from_string(name), t);
        }
        assert_null(field_type_to_string(_FIELD_TYPE_INVALID));
        assert_null(field_type_to_string(_FIELD_TYPE_MAX));
        assert_int_equal(field_type_from_string("strin"), _FIELD_TYPE_INVALID);
        assert_int_equal(field_type_from_string(NULL), _FIELD_TYPE_INVALID);

        JsonTree t = {0};
        assert_int_equal(json_parse(&t, slice_of(event_type_gap.sample), 3), 0);
        assert_int_equal(t.nodes[0].n, event_type_gap.n_fields);
        for (size_t i = 0; i < event_type_gap.n_fields; i++)
                assert_non_null(json_get(&t, t.nodes, slice_of(event_type_gap.fields[i].name)));
        json_tree_deinit(&t);
}

static void test_own_types(void **state)
{
        static const char *const good[] = {"a", "order.paid", "deploy-1.done", "filed.x", "rows"};
        static const char *const bad[] = {"", "A", "1a", "a b", "a_b", "\xc3\xa4", "file.created",
                "file.", "file", "row", "message", "belfry.x", "source.gap", "sink.x",
                "timer.elapsed"};
        char longest[EVENT_TYPE_MAX + 2];
        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                assert_true(event_type_is_own(slice_of(good[i])));
        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_false(event_type_is_own(slice_of(bad[i])));
        assert_false(event_type_is_own((Slice){"a\0b", 3}));
        memset(longest, 'a', sizeof longest);
        assert_true(event_type_is_own((Slice){longest, EVENT_TYPE_MAX}));
        assert_false(event_type_is_own((Slice){longest, EVENT_TYPE_MAX + 1}));
}

static int build(void *arg)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 16);
        RecordOrigin o;
        Reason why;
        EventDraft d = draft();
        int r = record_origin_init(&o, "host", "instance");
        if (r < 0)
                return r;
        r = record_build(&b, &o, &d, LIMIT_EVENT_DEFAULT, &why);
        if (r < 0)
                assert_int_equal(b.len, 0);
        return r;
}

static void test_torture(void **state)
{
        assert_true(torture(build, NULL) >= 4);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text_and_view),
                cmocka_unit_test(test_dataschema),
                cmocka_unit_test(test_key_and_no_subject),
                cmocka_unit_test(test_largest_fields),
                cmocka_unit_test(test_same_draft_same_bytes),
                cmocka_unit_test(test_oversized),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_full_buffer_keeps_the_rest),
                cmocka_unit_test(test_origin),
                cmocka_unit_test(test_damage),
                cmocka_unit_test(test_delivery_ids),
                cmocka_unit_test(test_schema),
                cmocka_unit_test(test_own_types),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, setup, NULL);
}
