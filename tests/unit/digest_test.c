// SPDX-License-Identifier: MIT
// Hashes and encodings against published vectors: FIPS 180 (SHA-256), RFC 3720 B.4 (CRC-32C),
// RFC 4648 section 10 (base64).
#include "test.h"

#include "base/digest.h"
#include "torture.h"
#include <errno.h>

static void assert_sha(Slice data, const char *expected)
{
        uint8_t sum[SHA256_SIZE];
        char hex[2 * SHA256_SIZE];
        assert_int_equal(digest_sha256(data, sum), 0);
        digest_hex(sum, sizeof(sum), hex);
        assert_slice(slice_mem(hex, sizeof(hex)), expected);
}

static void test_sha256(void **state)
{
        for (int again = 0; again < 2; again++) { // the context is reused
                assert_sha(SLICE_NULL,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
                assert_sha(SLICE_LIT("abc"),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
                assert_sha(SLICE_LIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        }
}

static void test_parts_are_told_apart(void **state)
{
        uint8_t a[SHA256_SIZE], b[SHA256_SIZE], plain[SHA256_SIZE];
        Slice ab_c[] = {SLICE_LIT("ab"), SLICE_LIT("c")},
              a_bc[] = {SLICE_LIT("a"), SLICE_LIT("bc")};
        assert_int_equal(digest_sha256_parts(ab_c, 2, a), 0);
        assert_int_equal(digest_sha256_parts(a_bc, 2, b), 0);
        assert_memory_not_equal(a, b, SHA256_SIZE);
        // The lengths are little-endian u32 in front: ids in stores of yesterday depend on it.
        assert_int_equal(digest_sha256(SLICE_LIT("\2\0\0\0ab\1\0\0\0c"), plain), 0);
        assert_memory_equal(a, plain, SHA256_SIZE);
}

static void test_crc32c(void **state)
{
        uint8_t buf[32];
        assert_int_equal(digest_crc32c(0, NULL, 0), 0);
        assert_int_equal(digest_crc32c(0, "123456789", 9), 0xe3069283);
        memset(buf, 0, sizeof(buf));
        assert_int_equal(digest_crc32c(0, buf, sizeof(buf)), 0x8a9136aa);
        memset(buf, 0xff, sizeof(buf));
        assert_int_equal(digest_crc32c(0, buf, sizeof(buf)), 0x62a8ab43);
        for (size_t i = 0; i < sizeof(buf); i++)
                buf[i] = (uint8_t)i;
        assert_int_equal(digest_crc32c(0, buf, sizeof(buf)), 0x46dd794e);
        for (size_t cut = 0; cut <= sizeof(buf); cut++) // a sum goes on where the last one ended
                assert_int_equal(
                        digest_crc32c(digest_crc32c(0, buf, cut), buf + cut, sizeof(buf) - cut),
                        0x46dd794e);
}

static void test_base64(void **state)
{
        static const struct {
                const char *plain, *text;
        } cases[] = {
                {"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"},
                {"\xfb\xff\xfe", "+//+"},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(buf_deinitp) Buf text = BUF_INIT(100), plain = BUF_INIT(100);
                digest_base64(&text, slice_of(cases[i].plain));
                assert_slice(buf_slice(&text), cases[i].text);
                assert_int_equal(digest_base64_decode(&plain, buf_slice(&text)), 0);
                assert_slice(buf_slice(&plain), cases[i].plain);
        }
        static const char *const bad[] = {"Z", "Zg",
                "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm 9", "Zm9-", "Zm_v",
                "=Zm9", "Z=m9", "Zg=v"};
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                _cleanup_(buf_deinitp) Buf plain = BUF_INIT(100);
                buf_add_str(&plain, "kept");
                if (digest_base64_decode(&plain, slice_of(bad[i])) != -EINVAL)
                        fail_msg("%s", bad[i]);
                assert_slice(buf_slice(&plain), "kept");
        }
}

static void test_equal(void **state)
{
        assert_true(digest_equal("abc", "abc", 3));
        assert_false(digest_equal("abc", "abd", 3));
        assert_true(digest_equal("abc", "abd", 2));
}

static int encode(void *arg)
{
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(1000), plain = BUF_INIT(1000);
        char data[300] = {0};
        digest_base64(&text, slice_mem(data, sizeof(data)));
        if (text.error < 0)
                return text.error;
        return digest_base64_decode(&plain, buf_slice(&text));
}

static void test_torture(void **state)
{
        assert_true(torture(encode, NULL) >= 4);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sha256),
                cmocka_unit_test(test_parts_are_told_apart),
                cmocka_unit_test(test_crc32c),
                cmocka_unit_test(test_base64),
                cmocka_unit_test(test_equal),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
