// SPDX-License-Identifier: MIT
// Standard Webhooks signatures: the vectors of the specification's reference libraries (A and B:
// HMAC-SHA256, C: ed25519), and everything a verifier must turn down.
#include "test.h"

#include "event/signature.h"
#include "torture.h"
#include <errno.h>
#include <string.h>

#define KEY_A "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
#define KEY_B "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define KEY_C                         \
        "whsk_6Xb/dCcHpPea21PS1N9VY/" \
        "NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
#define KEY_C_PUBLIC "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
#define ID_A "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"
#define ID_B "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define TIME_A 1649367553u
#define TIME_B 1614265330u
#define BODY_A "{\"email\":\"test@example.com\",\"username\":\"test_user\"}"
#define BODY_B "{\"test\": 2432232314}"
#define SIGNATURE_A "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
#define SIGNATURE_B "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define SIGNATURE_C                              \
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/" \
        "enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="

static SignatureKey *key(const char *text)
{
        SignatureKey *k = NULL;
        Reason reason = {""};

        if (signature_key_new(&k, slice_of(text), &reason) < 0)
                fail_msg("%s", reason.text);
        return k;
}

static void test_vectors(void **state)
{
        static const struct {
                const char *key, *id, *body, *signature;
                uint64_t time;
        } cases[] = {
                {KEY_A, ID_A, BODY_A, SIGNATURE_A, TIME_A},
                {KEY_B, ID_B, BODY_B, SIGNATURE_B, TIME_B},
                {KEY_C, ID_B, BODY_B, SIGNATURE_C, TIME_B},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                SignatureKey *k = key(cases[i].key);
                for (int again = 0; again < 2; again++) { // the context is reused
                        _cleanup_(buf_deinitp) Buf out = BUF_INIT(1024);
                        assert_int_equal(signature_sign(&k, 1, slice_of(cases[i].id), cases[i].time,
                                                 slice_of(cases[i].body), &out),
                                0);
                        assert_slice(buf_slice(&out), cases[i].signature);
                }
                signature_key_free(k);
        }
}

static int verify_b(SignatureKey *const *keys, size_t n, const char *timestamp, const char *header,
        const char *body, int64_t late)
{
        return signature_verify(keys, n, SLICE_LIT(ID_B), slice_of(timestamp), slice_of(header),
                slice_of(body), (uint64_t)((int64_t)TIME_B + late), SIGNATURE_TOLERANCE_SEC);
}

static void test_verify(void **state)
{
        static const struct {
                const char *timestamp, *header;
                int64_t late;
                SignatureResult result;
        } cases[] = {
                {"1614265330", SIGNATURE_B, 0, SIGNATURE_VALID},
                {"1614265330", SIGNATURE_B, 300, SIGNATURE_VALID},
                {"1614265330", SIGNATURE_B, -300, SIGNATURE_VALID},
                {"1614265330", SIGNATURE_B, 301, SIGNATURE_STALE},
                {"1614265330", SIGNATURE_B, -301, SIGNATURE_STALE},
                {"1614265330", "v1,", 0, SIGNATURE_WRONG}, // CVE-2024-21491
                {"1614265330", "v1a,", 0, SIGNATURE_WRONG},
                {"1614265330", "v1,AAAA", 0, SIGNATURE_WRONG},
                {"1614265330", "", 0, SIGNATURE_MALFORMED},
                {"1614265330", "   ", 0, SIGNATURE_MALFORMED},
                {"1614265330", "v1", 0, SIGNATURE_MALFORMED},
                {"1614265330", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", 0,
                        SIGNATURE_MALFORMED},
                {"1614265330", "v2,abc v1b,def " SIGNATURE_B, 0, SIGNATURE_VALID},
                {"1614265330", SIGNATURE_A " " SIGNATURE_B, 0, SIGNATURE_VALID},
                {"1614265330", "  " SIGNATURE_A "   " SIGNATURE_B " ", 0, SIGNATURE_VALID},
                {"1614265330", SIGNATURE_A, 0, SIGNATURE_WRONG},
                {"1614265330", SIGNATURE_C, 0, SIGNATURE_WRONG}, // another scheme's key
                {"1614265330", "v1,G0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", 0,
                        SIGNATURE_WRONG},
                {"1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1O", 0, SIGNATURE_WRONG},
                {"1614265331", SIGNATURE_B, 0, SIGNATURE_WRONG},
                {"", SIGNATURE_B, 0, SIGNATURE_MALFORMED},
                {"+1614265330", SIGNATURE_B, 0, SIGNATURE_MALFORMED},
                {"1614265330 ", SIGNATURE_B, 0, SIGNATURE_MALFORMED},
                {"1614265330.5", SIGNATURE_B, 0, SIGNATURE_MALFORMED},
                {"99999999999999999999", SIGNATURE_B, 0, SIGNATURE_MALFORMED},
        };
        SignatureKey *k = key(KEY_B);

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                int r = verify_b(&k, 1, cases[i].timestamp, cases[i].header, BODY_B, cases[i].late);
                if (r != (int)cases[i].result)
                        fail_msg("case %zu (%s | %s): %s", i, cases[i].timestamp, cases[i].header,
                                signature_result_to_string((SignatureResult)r));
        }
        assert_int_equal(
                verify_b(&k, 1, "1614265330", SIGNATURE_B, BODY_B " ", 0), SIGNATURE_WRONG);
        assert_int_equal(verify_b(&k, 0, "1614265330", SIGNATURE_B, BODY_B, 0), SIGNATURE_WRONG);
        // Moving a dot from one part to the other signs the same bytes, so a dot in the id is refused.
        assert_int_equal(signature_verify(&k, 1, SLICE_LIT("a.1"), SLICE_LIT("2"),
                                 SLICE_LIT(SIGNATURE_B), SLICE_LIT(""), 2, 0),
                SIGNATURE_MALFORMED);
        // Tolerance 0: any time.
        assert_int_equal(signature_verify(&k, 1, SLICE_LIT(ID_B), SLICE_LIT("1614265330"),
                                 SLICE_LIT(SIGNATURE_B), SLICE_LIT(BODY_B), 0, 0),
                SIGNATURE_VALID);
        signature_key_free(k);
}

static void test_ed25519_verify(void **state)
{
        static const char *const texts[] = {KEY_C, KEY_C_PUBLIC};

        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                SignatureKey *k = key(texts[i]);
                assert_int_equal(signature_key_can_sign(k), i == 0);
                assert_int_equal(
                        verify_b(&k, 1, "1614265330", SIGNATURE_C, BODY_B, 0), SIGNATURE_VALID);
                assert_int_equal(
                        verify_b(&k, 1, "1614265330", SIGNATURE_B " " SIGNATURE_C, BODY_B, 0),
                        SIGNATURE_VALID);
                assert_int_equal(
                        verify_b(&k, 1, "1614265330", SIGNATURE_C, BODY_A, 0), SIGNATURE_WRONG);
                assert_int_equal(
                        verify_b(&k, 1, "1614265330", SIGNATURE_B, BODY_B, 0), SIGNATURE_WRONG);
                signature_key_free(k);
        }
}

static void test_rotation(void **state)
{
        SignatureKey *keys[] = {key(KEY_C), key(KEY_B), key(KEY_A)};
        _cleanup_(buf_deinitp) Buf out = BUF_INIT(1024);

        assert_int_equal(
                signature_sign(keys, 3, SLICE_LIT(ID_B), TIME_B, SLICE_LIT(BODY_B), &out), 0);
        // Each key signs, in order; a receiver with any one of them is content.
        assert_true(slice_starts(buf_slice(&out), SLICE_LIT(SIGNATURE_C " " SIGNATURE_B " v1,")));
        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                assert_int_equal(verify_b(&keys[i], 1, "1614265330", buf_text(&out), BODY_B, 0),
                        SIGNATURE_VALID);
        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                signature_key_free(keys[i]);
}

static void test_bad_keys(void **state)
{
        static const struct {
                const char *text, *words;
        } cases[] = {
                {"", "begins with whsec_"},
                {"C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "begins with whsec_"},
                {"whsec_", "24 to 64 bytes"},
                {"whsec_AAAA", "24 to 64 bytes"},
                {"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7o", "not standard base64"},
                {"whsec_C2FVsBQIhrscChlQIMV-b5sSYspob7oD", "not standard base64"},
                {"whsk_AAAA", "64 bytes"},
                {"whsk_7Xb/dCcHpPea21PS1N9VY/"
                 "NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
                        "do not belong together"},
                {"whpk_AAAA", "32 bytes"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                SignatureKey *k = NULL;
                Reason reason = {""};
                assert_int_equal(signature_key_new(&k, slice_of(cases[i].text), &reason), -EINVAL);
                assert_null(k);
                if (!strstr(reason.text, cases[i].words))
                        fail_msg("%s: %s", cases[i].text, reason.text);
                if (strlen(cases[i].text) > 20) // never the key itself
                        assert_null(strstr(reason.text, cases[i].text + 6));
        }
}

static void test_bad_ids(void **state)
{
        static const char *const ids[] = {"", "a.b", "a b", "a\nb"};
        SignatureKey *k = key(KEY_B), *public = key(KEY_C_PUBLIC);

        for (size_t i = 0; i < N_ELEMENTS(ids); i++) {
                _cleanup_(buf_deinitp) Buf out = BUF_INIT(1024);
                assert_int_equal(
                        signature_sign(&k, 1, slice_of(ids[i]), TIME_B, SLICE_LIT(""), &out),
                        -EINVAL);
        }
        _cleanup_(buf_deinitp) Buf out = BUF_INIT(1024), small = BUF_INIT(10);
        assert_int_equal(
                signature_sign(&public, 1, SLICE_LIT("a"), TIME_B, SLICE_LIT(""), &out), -EINVAL);
        assert_int_equal(
                signature_sign(&k, 1, SLICE_LIT("a"), TIME_B, SLICE_LIT(""), &small), -ENOBUFS);
        signature_key_free(k);
        signature_key_free(public);
}

static void test_many_signatures_cost_little(void **state)
{
        SignatureKey *k = key(KEY_B);
        _cleanup_(buf_deinitp) Buf header = BUF_INIT(SIGNATURE_HEADER_MAX + 100);

        for (int i = 0; i < 40; i++)
                buf_add_str(&header, SIGNATURE_A " ");
        buf_add_str(&header, SIGNATURE_B);
        // Behind the sixteenth signature of a known version nobody looks.
        assert_int_equal(
                verify_b(&k, 1, "1614265330", buf_text(&header), BODY_B, 0), SIGNATURE_WRONG);
        while (header.len <= SIGNATURE_HEADER_MAX)
                buf_add_char(&header, ' ');
        assert_int_equal(
                verify_b(&k, 1, "1614265330", buf_text(&header), BODY_B, 0), SIGNATURE_MALFORMED);
        signature_key_free(k);
}

static int work(void *arg)
{
        _cleanup_(signature_key_freep) SignatureKey *a = NULL, *b = NULL;
        _cleanup_(buf_deinitp) Buf out = BUF_INIT(1024);

        int r = signature_key_new(&a, SLICE_LIT(KEY_A), NULL);
        if (r == 0)
                r = signature_key_new(&b, SLICE_LIT(KEY_C), NULL);
        SignatureKey *keys[] = {a, b};
        if (r == 0)
                r = signature_sign(keys, 2, SLICE_LIT(ID_A), TIME_A, SLICE_LIT(BODY_A), &out);
        if (r < 0)
                return r;
        r = signature_verify(keys, 2, SLICE_LIT(ID_A), SLICE_LIT("1649367553"), buf_slice(&out),
                SLICE_LIT(BODY_A), TIME_A, 1);
        return r > 0 ? -EINVAL : r; // a failing allocation must not make it invalid
}

static void test_torture(void **state)
{
        assert_true(torture(work, NULL) > 0);
}

static void test_names(void **state)
{
        for (int i = 0; i < _SIGNATURE_RESULT_MAX; i++)
                assert_non_null(signature_result_to_string((SignatureResult)i));
        assert_null(signature_result_to_string(_SIGNATURE_RESULT_INVALID));
        assert_null(signature_result_to_string(_SIGNATURE_RESULT_MAX));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_vectors),
                cmocka_unit_test(test_verify),
                cmocka_unit_test(test_ed25519_verify),
                cmocka_unit_test(test_rotation),
                cmocka_unit_test(test_bad_keys),
                cmocka_unit_test(test_bad_ids),
                cmocka_unit_test(test_many_signatures_cost_little),
                cmocka_unit_test(test_torture),
                cmocka_unit_test(test_names),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
