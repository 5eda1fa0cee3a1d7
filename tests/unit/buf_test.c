// SPDX-License-Identifier: MIT
// Buffers: growth up to the maximum, the sticky error, what survives it.
#include "test.h"

#include "base/buf.h"
#include "torture.h"
#include <errno.h>
#include <string.h>

static void test_adds(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(4096);
        assert_string_equal(buf_text(&b), "");
        buf_add_str(&b, "a");
        buf_add_char(&b, 'b');
        buf_add_u64(&b, 0);
        buf_add_u64(&b, UINT64_MAX);
        buf_addf(&b, "<%d %s>", -5, "x");
        buf_add_slice(&b, SLICE_NULL);
        assert_string_equal(buf_text(&b), "ab018446744073709551615<-5 x>");
        buf_consume(&b, 3);
        assert_slice(buf_slice(&b), "18446744073709551615<-5 x>");
        buf_consume(&b, b.len);
        assert_int_equal(b.len, 0);
        assert_int_equal(b.error, 0);
}

static void test_addf_longer_than_the_stack(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(2000);
        buf_addf(&b, "%0999d|", 7);
        assert_int_equal(b.len, 1000);
        assert_int_equal(b.data[998], '7');
        assert_int_equal(b.data[999], '|');
        buf_addf(&b, "%01000d", 8);
        assert_int_equal(b.error, 0);
        assert_int_equal(b.len, 2000);
        assert_int_equal(strlen(buf_text(&b)), 2000); // the NUL fits behind a full buffer
        buf_addf(&b, "%s", "x");
        assert_int_equal(b.error, -ENOBUFS);
}

static void test_maximum_is_sticky(void **state)
{
        static const size_t maxima[] = {0, 1, 63, 64, 65, 1000};
        for (size_t i = 0; i < N_ELEMENTS(maxima); i++) {
                _cleanup_(buf_deinitp) Buf b = BUF_INIT(maxima[i]);
                for (size_t n = 0; n < maxima[i]; n++)
                        buf_add_char(&b, 'x');
                assert_int_equal(b.error, 0);
                assert_int_equal(b.len, maxima[i]);
                buf_add_char(&b, 'y');
                assert_int_equal(b.error, -ENOBUFS);
                assert_null(buf_grow(&b, 0));
                buf_add_str(&b, "");
                assert_int_equal(b.len, maxima[i]);
                assert_string_equal(buf_text(&b), "");
                buf_reset(&b);
                assert_int_equal(b.error, 0);
                assert_int_equal(b.len, 0);
        }
}

static void test_huge_requests_do_not_wrap(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(100);
        buf_add_str(&b, "abc");
        assert_null(buf_grow(&b, SIZE_MAX));
        assert_int_equal(b.error, -ENOBUFS);
        buf_reset(&b);
        assert_null(buf_grow(&b, SIZE_MAX - 2));
        assert_int_equal(b.error, -ENOBUFS);
}

static void test_shrink(void **state)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 20);
        assert_non_null(buf_grow(&b, 1 << 20));
        buf_shrink(&b, 4096);
        assert_int_equal(b.cap, 4096);
        assert_int_equal(b.len, 0);
        buf_add_str(&b, "again");
        assert_string_equal(buf_text(&b), "again");
        buf_shrink(&b, 0);
        assert_null(b.data);
        assert_int_equal(b.max, 1 << 20);
}

static int fill(void *arg)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 16);
        for (int i = 0; i < 1000; i++)
                buf_addf(&b, "%d,", i);
        (void)buf_text(&b);
        int r = b.error;
        if (b.len >= 6) // what was added before a failure stays readable
                assert_memory_equal(b.data, "0,1,2,", 6);
        buf_shrink(&b, 16); // its realloc may fail: not an error
        assert_int_equal(b.error, 0);
        return r;
}

static void test_torture(void **state)
{
        assert_true(torture(fill, NULL) >= 5);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_adds),
                cmocka_unit_test(test_addf_longer_than_the_stack),
                cmocka_unit_test(test_maximum_is_sticky),
                cmocka_unit_test(test_huge_requests_do_not_wrap),
                cmocka_unit_test(test_shrink),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
