// SPDX-License-Identifier: MIT
// The pure parts of the app source: the keys that are remembered, against a model and over reloads from
// rows; what a line may say.
#include "test.h"

#include "app.h"
#include "torture.h"

#include "base/limits.h"
#include "event/line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

// ---- keys: a store of rows, and a list of what was added

enum { ROWS_MAX = 4096, MODEL_MAX = 65536, SPACE = 3000 };

typedef struct Row {
        char key[KEYS_ROW_KEY];
        uint8_t value[KEYS_ROW];
        size_t len; // 0: deleted
} Row;

typedef struct Rows {
        Row rows[ROWS_MAX];
        size_t n, bytes;
} Rows;

static void rows_change(void *userdata, Slice key, Slice value)
{
        Rows *r = userdata;
        size_t i = 0;
        assert_int_equal(key.len, KEYS_ROW_KEY);
        assert_true(value.len <= KEYS_ROW);
        r->bytes += key.len + value.len;
        while (i < r->n && memcmp(r->rows[i].key, key.data, key.len) != 0)
                i++;
        if (i == r->n) {
                assert_true(r->n < ROWS_MAX);
                memcpy(r->rows[r->n++].key, key.data, key.len);
        }
        if (value.data)
                memcpy(r->rows[i].value, value.data, value.len);
        r->rows[i].len = value.len;
}

static int by_key(const void *a, const void *b)
{
        return memcmp(((const Row *)a)->key, ((const Row *)b)->key, KEYS_ROW_KEY);
}

static int rows_load(Rows *r, Keys *k, uint32_t now)
{
        qsort(r->rows, r->n, sizeof(r->rows[0]), by_key);
        for (size_t i = 0; i < r->n; i++) {
                Row *row = &r->rows[i];
                if (row->len == 0)
                        continue;
                int e = keys_load(k, slice_mem(row->key, sizeof(row->key)),
                        slice_mem(row->value, row->len), now);
                if (e < 0)
                        return e;
        }
        return 0;
}

static size_t rows_left(const Rows *r)
{
        size_t n = 0;
        for (size_t i = 0; i < r->n; i++)
                n += r->rows[i].len > 0;
        return n;
}

static const char *hex_of(uint64_t n, char out[static ID_HEX + 1])
{
        uint8_t sum[SHA256_SIZE];
        assert_int_equal(digest_sha256(slice_mem(&n, sizeof(n)), sum), 0);
        digest_hex(sum, ID_HEX / 2, out);
        return out;
}

typedef struct Model {
        struct {
                unsigned what;
                uint32_t sec;
        } added[MODEL_MAX];
        size_t first, end, max;
        uint32_t window;
} Model;

static void model_expire(Model *m, uint32_t now)
{
        while (m->first < m->end && m->added[m->first].sec + m->window <= now)
                m->first++;
}

static bool model_has(const Model *m, unsigned what)
{
        for (size_t i = m->first; i < m->end; i++)
                if (m->added[i].what == what)
                        return true;
        return false;
}

static void model_add(Model *m, unsigned what, uint32_t now)
{
        if (m->end - m->first == m->max)
                m->first++;
        m->added[m->end].what = what;
        m->added[m->end++].sec = now;
}

static void keys_against_model(unsigned seed, size_t max, uint32_t window)
{
        Rows *rows = calloc(1, sizeof(*rows));
        Model *m = calloc(1, sizeof(*m));
        Keys k;
        char hex[ID_HEX + 1] = "";
        uint32_t now = 1000;
        assert_non_null(rows);
        assert_non_null(m);
        *m = (Model){.max = max, .window = window};
        srandom(seed);
        assert_int_equal(keys_init(&k, max, window), 0);
        for (unsigned i = 0; i < 8000; i++) {
                unsigned what = (unsigned)random() % SPACE;
                now += random() % 20 == 0;
                keys_expire(&k, now);
                model_expire(m, now);
                (void)hex_of(what, hex);
                assert_int_equal(keys_have(&k, hex), model_has(m, what));
                assert_int_equal(k.end - k.first, m->end - m->first);
                if (!model_has(m, what)) {
                        assert_int_equal(keys_add(&k, hex, now), 0);
                        model_add(m, what, now);
                }
                if (random() % 40 == 0) {
                        size_t room = keys_room(&k);
                        rows->bytes = 0;
                        keys_write(&k, rows_change, rows);
                        assert_true(rows->bytes <= room);
                }
                if (random() % 1000 == 0) { // a restart
                        keys_write(&k, rows_change, rows);
                        keys_deinit(&k);
                        assert_int_equal(keys_init(&k, max, window), 0);
                        assert_int_equal(rows_load(rows, &k, now), 0);
                }
        }
        // Nothing is left behind on the disk.
        for (unsigned i = 0; i < 200; i++)
                keys_write(&k, rows_change, rows);
        assert_true(rows_left(rows) <= (k.end - k.first) / KEYS_A_ROW + 2);
        now += window;
        keys_expire(&k, now);
        assert_int_equal(k.end - k.first, 0);
        for (unsigned i = 0; i < 200; i++)
                keys_write(&k, rows_change, rows);
        assert_true(rows_left(rows) <= 1);
        keys_deinit(&k);
        free(rows);
        free(m);
}

static void test_keys_against_a_model(void **state)
{
        keys_against_model(1, KEYS_MAX, 100);
        keys_against_model(2, 500, 1000);
        keys_against_model(3, 64, 1000);
        keys_against_model(4, 1, 1000);
        keys_against_model(5, 1000, 3);
}

static void test_keys_early(void **state)
{
        Keys k;
        char hex[ID_HEX + 1] = "";
        assert_int_equal(keys_init(&k, 3, 100), 0);
        for (unsigned i = 0; i < 5; i++)
                assert_int_equal(keys_add(&k, hex_of(i, hex), 50), 0);
        assert_int_equal(k.early, 2);
        assert_false(keys_have(&k, hex_of(1, hex)));
        assert_true(keys_have(&k, hex_of(2, hex)));
        keys_deinit(&k);
}

// A clock that was far ahead and is right again: the keys go after their window, not years later.
static void test_keys_clock(void **state)
{
        Keys k;
        Rows *rows = calloc(1, sizeof(*rows));
        char hex[ID_HEX + 1] = "";
        assert_non_null(rows);
        assert_int_equal(keys_init(&k, 10, 100), 0);
        assert_int_equal(keys_add(&k, hex_of(1, hex), 1000000), 0);
        keys_write(&k, rows_change, rows);
        keys_expire(&k, 5000);
        assert_int_equal(keys_add(&k, hex_of(2, hex), 5000), 0);
        keys_expire(&k, 5099);
        assert_true(keys_have(&k, hex_of(1, hex)));
        keys_expire(&k, 5100);
        assert_int_equal(k.end - k.first, 0);
        keys_deinit(&k);

        assert_int_equal(keys_init(&k, 10, 100), 0);
        assert_int_equal(rows_load(rows, &k, 6000), 0);
        assert_true(keys_have(&k, hex_of(1, hex)));
        keys_expire(&k, 6100);
        assert_int_equal(k.end - k.first, 0);
        keys_deinit(&k);
        free(rows);
}

static void test_keys_bad_rows(void **state)
{
        char key[KEYS_ROW_KEY] = "k\0\0\0\0\0\0\0\2", value[2 + 2 * KEYS_ENTRY] = {1, 0};
        Slice good = slice_mem(value, sizeof(value));
        const struct {
                Slice key, value;
        } bad[] = {
                {slice_mem(key, 8), good},
                {SLICE_LIT("x\0\0\0\0\0\0\0\2"), good},
                {SLICE_LIT("k\xff\xff\xff\xff\xff\xff\xff\xff"), good},
                {slice_mem(key, sizeof(key)), slice_mem(value, 2)},
                {slice_mem(key, sizeof(key)), slice_mem(value, 3 + KEYS_ENTRY)},
                {slice_mem(key, sizeof(key)), SLICE_LIT("\2\0xxxxxxxxxxxxxxxxxxxx")},
                {slice_mem(key, sizeof(key)), SLICE_LIT("\1\100xxxxxxxxxxxxxxxxxxxx")},
        };
        Keys k;
        assert_int_equal(keys_init(&k, 10, 100), 0);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_int_equal(keys_load(&k, bad[i].key, bad[i].value, 50), -EBADMSG);
        assert_int_equal(k.end, 0);
        assert_int_equal(keys_load(&k, slice_mem(key, sizeof(key)), good, 50), 0);
        assert_int_equal(k.end, 2 * KEYS_A_ROW + 2);
        assert_int_equal(keys_load(&k, slice_mem(key, sizeof(key)), good, 50), -EBADMSG); // again
        key[8] = 4; // a row is missing: what was before it is forgotten
        assert_int_equal(keys_load(&k, slice_mem(key, sizeof(key)), good, 50), 0);
        assert_int_equal(k.first, 4 * KEYS_A_ROW);
        keys_deinit(&k);
}

static int keys_grown(void *arg)
{
        Keys k;
        char hex[ID_HEX + 1] = "";
        int r = keys_init(&k, KEYS_MAX, 100);
        for (unsigned i = 0; r >= 0 && i < 1000; i++)
                r = keys_add(&k, hex_of(i, hex), 1);
        for (unsigned i = 0; r >= 0 && i < 1000; i++)
                r = keys_have(&k, hex_of(i, hex)) ? 0 : -EPROTO;
        keys_deinit(&k);
        return r;
}

static void test_keys_without_memory(void **state)
{
        assert_true(torture(keys_grown, NULL) >= 10);
}

// ---- lines

static const struct {
        const char *line, *error; // a part of it; NULL: taken, then:
        const char *type, *subject, *key, *data;
} lines[] = {
        {"{\"type\":\"a.b\"}", NULL, "a.b", "", NULL, "{}"},
        {" {\"data\":{\"x\": [1]},\"id\":\"k\\u00e9\",\"subject\":\"s\\n\",\"type\":\"a\"} ", NULL,
                "a", "s\n", "k\xc3\xa9", "{\"x\": [1]}"},
        {"{\"type\":\"a\",\"time\":\"2026-11-23T09:33:00Z\"}", NULL, "a", "", NULL, "{}"},
        {"", "not JSON from byte 1 on"},
        {"1", "not a JSON object"},
        {"{}", "type is missing"},
        {"{\"type\":\"a\"}{", "not JSON from byte 13 on"},
        {"{\"type\":1}", "type is not a string"},
        {"{\"type\":\"a\\u0062\"}", "may use"},
        {"{\"type\":\"file\"}", "may use"},
        {"{\"type\":\"belfry.x\"}", "may use"},
        {"{\"type\":\"a\",\"data\":null}", "data is not an object"},
        {"{\"type\":\"a\",\"id\":\"\"}", "id is empty"},
        {"{\"type\":\"a\",\"id\":5}", "id is not a string"},
        {"{\"type\":\"a\",\"time\":\"now\"}", "RFC 3339"},
        {"{\"type\":\"a\",\"typ\":\"b\"}", "unknown member \"typ\""},
        {"{\"type\":\"a\",\"t\\u0079pe\":\"b\"}", "unknown member"},
        {"{\"type\":\"a\",\"subject\":\"b\",\"subject\":\"b\"}", "subject is given twice"},
        {"{\"type\":\"a\",\"subject\":\"\xff\"}", "not JSON from byte 24 on"},
};

static void test_lines(void **state)
{
        EventParser p;
        event_parser_init(&p);
        for (size_t i = 0; i < N_ELEMENTS(lines); i++) {
                EventLine l;
                Reason reason = {0};
                int r = event_line_parse(&p, slice_of(lines[i].line), false, &l, &reason);
                if (lines[i].error) {
                        assert_int_equal(r, -EINVAL);
                        if (!strstr(reason.text, lines[i].error))
                                fail_msg("%s: %s", lines[i].line, reason.text);
                        continue;
                }
                assert_int_equal(r, 0);
                assert_string_equal(l.type, lines[i].type);
                assert_slice(l.subject, lines[i].subject);
                assert_slice(l.key, lines[i].key);
                assert_slice(l.data, lines[i].data);
        }
        event_parser_deinit(&p);
}

static void test_material(void **state)
{
        char out[APP_MATERIAL_MAX];
        assert_slice(app_material(out, 1000, SLICE_LIT("k")), "1000:k");
        assert_slice(app_material(out, UINT32_MAX, SLICE_LIT("k")), "4294967295:k");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_keys_against_a_model),
                cmocka_unit_test(test_keys_early),
                cmocka_unit_test(test_keys_clock),
                cmocka_unit_test(test_keys_bad_rows),
                cmocka_unit_test(test_keys_without_memory),
                cmocka_unit_test(test_lines),
                cmocka_unit_test(test_material),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
