// SPDX-License-Identifier: MIT
// Packing: byte order, round trip, and a reader that stops at its first fault.
#include "test.h"

#include "base/wire.h"
#include "torture.h"
#include <string.h>

static void put_all(Buf *b)
{
        wire_put_u8(b, 0x01);
        wire_put_u16(b, 0x0302);
        wire_put_u32(b, 0x07060504);
        wire_put_u64(b, UINT64_C(0x0f0e0d0c0b0a0908));
        wire_put_bytes(b, SLICE_LIT("xyz"));
        wire_put_bytes(b, SLICE_NULL);
}

static void test_layout(void **state)
{
        static const uint8_t expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 3, 0,
                0, 0, 'x', 'y', 'z', 0, 0, 0, 0};
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(100);
        put_all(&b);
        assert_int_equal(b.len, sizeof(expected));
        assert_memory_equal(b.data, expected, sizeof(expected));
        wire_set_u32(&b, 3, 0xdeadbeef);
        assert_memory_equal(b.data + 3, "\xef\xbe\xad\xde", 4);
}

static void test_round_trip_and_every_cut(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(100);
        put_all(&b);
        for (size_t n = 0; n <= b.len; n++) {
                // A copy of exactly n bytes, so that reading behind them is seen.
                _cleanup_(freep) uint8_t *copy = malloc(n ? n : 1);
                memcpy(copy, b.data, n);
                WireReader r = wire_reader(slice_mem(copy, n));
                uint8_t v8 = wire_u8(&r);
                uint16_t v16 = wire_u16(&r);
                uint32_t v32 = wire_u32(&r);
                uint64_t v64 = wire_u64(&r);
                Slice s = wire_bytes(&r), empty = wire_bytes(&r);
                assert_int_equal(wire_end(&r), n == b.len);
                assert_int_equal(r.bad, n < b.len);
                assert_int_equal(v8, n >= 1 ? 0x01 : 0);
                assert_int_equal(v16, n >= 3 ? 0x0302 : 0);
                assert_int_equal(v32, n >= 7 ? 0x07060504 : 0);
                assert_true(v64 == (n >= 15 ? UINT64_C(0x0f0e0d0c0b0a0908) : 0));
                assert_slice(s, n >= 22 ? "xyz" : "");
                assert_int_equal(empty.len, 0);
                assert_non_null(empty.data);
        }
}

static void test_sticky(void **state)
{
        WireReader r = wire_reader(SLICE_LIT("\xff\xff\xff\xff"
                                             "abcdefgh"));
        assert_int_equal(wire_bytes(&r).len, 0); // a length that wraps nothing and reaches nowhere
        assert_true(r.bad);
        assert_int_equal(wire_u8(&r), 0); // there are bytes left, but not for a broken reader
        assert_int_equal(wire_raw(&r, 1).len, 0);
        assert_false(wire_end(&r));
}

static void test_more_behind_is_no_end(void **state)
{
        WireReader r = wire_reader(SLICE_LIT("ab"));
        assert_int_equal(wire_u8(&r), 'a');
        assert_false(r.bad);
        assert_false(wire_end(&r));
        assert_slice(wire_raw(&r, 1), "b");
        assert_true(wire_end(&r));
}

static int put(void *arg)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(100);
        put_all(&b);
        wire_set_u32(&b, 3, 1); // must not touch a placeholder that was never written
        return b.error;
}

static void test_torture(void **state)
{
        assert_true(torture(put, NULL) >= 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_layout),
                cmocka_unit_test(test_round_trip_and_every_cut),
                cmocka_unit_test(test_sticky),
                cmocka_unit_test(test_more_behind_is_no_end),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
