// SPDX-License-Identifier: MIT
// Standard Webhooks signatures. A symmetric key is one EVP_MAC context that keeps the key and is
// rewound for each message (a quarter of the cost of setting it up anew); an ed25519 key is an
// EVP_PKEY, and since that scheme reads its message twice, the signed bytes are put together first.
//
// Invariants: key bytes stand in no buffer of ours after signature_key_new(); a verdict depends on
// whole decoded signatures of the right length, compared in constant time. Not here: where secrets
// come from, and which keys an endpoint has.

#include "event/signature.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/digest.h"

enum {
        HMAC_SIZE = 32,
        ED25519_SIZE = 64,
        ED25519_KEY = 32,
        SECRET_MIN = 24,
        SECRET_MAX = 64,
        TIMESTAMP_DIGITS = 20,
};

typedef enum KeyKind { KEY_HMAC, KEY_ED25519_PRIVATE, KEY_ED25519_PUBLIC } KeyKind;

struct SignatureKey {
        KeyKind kind;
        EVP_MAC_CTX *mac;
        EVP_PKEY *pkey;
};

static const char *const result_names[] = {
        [SIGNATURE_VALID] = "valid",
        [SIGNATURE_MALFORMED] = "malformed",
        [SIGNATURE_STALE] = "stale",
        [SIGNATURE_WRONG] = "wrong",
};
_Static_assert(N_ELEMENTS(result_names) == _SIGNATURE_RESULT_MAX, "one name a result");

const char *signature_result_to_string(SignatureResult r)
{
        return r >= 0 && r < _SIGNATURE_RESULT_MAX ? result_names[r] : NULL;
}

SignatureKey *signature_key_free(SignatureKey *k)
{
        if (!k)
                return NULL;
        EVP_MAC_CTX_free(k->mac); // clears its copy of the key
        EVP_PKEY_free(k->pkey);
        free(k);
        return NULL;
}

bool signature_key_can_sign(const SignatureKey *k)
{
        return k->kind != KEY_ED25519_PUBLIC;
}

static int hmac_init(SignatureKey *k, const Buf *raw, Reason *reason)
{
        if (raw->len < SECRET_MIN || raw->len > SECRET_MAX)
                return reason_set(reason, -EINVAL,
                        "a whsec_ secret holds %d to %d bytes after base64 decoding, this one %zu",
                        SECRET_MIN, SECRET_MAX, raw->len);
        EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
        if (!mac)
                return -ENOMEM;
        k->mac = EVP_MAC_CTX_new(mac);
        EVP_MAC_free(mac); // the context holds a reference
        const OSSL_PARAM params[] = {
                OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
                OSSL_PARAM_construct_end(),
        };
        return k->mac && EVP_MAC_init(k->mac, raw->data, raw->len, params) == 1 ? 0 : -ENOMEM;
}

static int ed25519_private_init(SignatureKey *k, const Buf *raw, Reason *reason)
{
        if (raw->len != 2 * ED25519_KEY)
                return reason_set(reason, -EINVAL,
                        "a whsk_ key holds 64 bytes (seed and public key), this one %zu", raw->len);
        k->pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw->data, ED25519_KEY);
        uint8_t public[ED25519_KEY];
        size_t n = sizeof(public);
        if (!k->pkey || EVP_PKEY_get_raw_public_key(k->pkey, public, &n) != 1 ||
                n != sizeof(public))
                return -ENOMEM;
        if (!digest_equal(public, raw->data + ED25519_KEY, sizeof(public)))
                return reason_set(
                        reason, -EINVAL, "the two halves of the whsk_ key do not belong together");
        return 0;
}

static int ed25519_public_init(SignatureKey *k, const Buf *raw, Reason *reason)
{
        if (raw->len != ED25519_KEY)
                return reason_set(
                        reason, -EINVAL, "a whpk_ key holds 32 bytes, this one %zu", raw->len);
        k->pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw->data, ED25519_KEY);
        return k->pkey ? 0 : -ENOMEM;
}

int signature_key_new(SignatureKey **ret, Slice text, Reason *reason)
{
        static const struct {
                Slice prefix;
                KeyKind kind;
                int (*init)(SignatureKey *k, const Buf *raw, Reason *reason);
        } kinds[] = {
                {SLICE_LIT("whsec_"), KEY_HMAC, hmac_init},
                {SLICE_LIT("whsk_"), KEY_ED25519_PRIVATE, ed25519_private_init},
                {SLICE_LIT("whpk_"), KEY_ED25519_PUBLIC, ed25519_public_init},
        };

        for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
                if (!slice_starts(text, kinds[i].prefix))
                        continue;
                Buf raw = BUF_INIT(1024);
                _cleanup_(signature_key_freep) SignatureKey *k = calloc(1, sizeof(*k));
                if (!k)
                        return -ENOMEM;
                k->kind = kinds[i].kind;
                size_t skip = kinds[i].prefix.len;
                int r = digest_base64_decode(&raw, slice_mem(text.data + skip, text.len - skip));
                if (r < 0)
                        r = reason_set(reason, -EINVAL, "what follows %s is not standard base64",
                                kinds[i].prefix.data);
                else
                        r = kinds[i].init(k, &raw, reason);
                if (raw.data)
                        explicit_bzero(raw.data, raw.cap);
                buf_deinit(&raw);
                if (r == -ENOMEM)
                        return reason_set(reason, r, "OpenSSL could not set the key up");
                if (r < 0)
                        return r;
                *ret = TAKE_PTR(k);
                return 0;
        }
        return reason_set(reason, -EINVAL,
                "a signing secret begins with whsec_ (or whsk_ for ed25519), this one does not");
}

static int hmac_compute(
        SignatureKey *k, Slice id, Slice timestamp, Slice body, uint8_t ret[static HMAC_SIZE])
{
        size_t n = 0;
        bool ok = EVP_MAC_init(k->mac, NULL, 0, NULL) == 1 &&
                  EVP_MAC_update(k->mac, (const uint8_t *)id.data, id.len) == 1 &&
                  EVP_MAC_update(k->mac, (const uint8_t *)".", 1) == 1 &&
                  EVP_MAC_update(k->mac, (const uint8_t *)timestamp.data, timestamp.len) == 1 &&
                  EVP_MAC_update(k->mac, (const uint8_t *)".", 1) == 1 &&
                  (body.len == 0 ||
                          EVP_MAC_update(k->mac, (const uint8_t *)body.data, body.len) == 1) &&
                  EVP_MAC_final(k->mac, ret, &n, HMAC_SIZE) == 1;
        return ok && n == HMAC_SIZE ? 0 : -ENOMEM;
}

// ed25519 is not incremental: the whole message in one piece.
static int message_join(Buf *out, Slice id, Slice timestamp, Slice body)
{
        buf_add_slice(out, id);
        buf_add_char(out, '.');
        buf_add_slice(out, timestamp);
        buf_add_char(out, '.');
        buf_add_slice(out, body);
        return out->error;
}

static int ed25519_sign(SignatureKey *k, Slice message, uint8_t ret[static ED25519_SIZE])
{
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        size_t n = ED25519_SIZE;
        bool ok = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
                  EVP_DigestSign(ctx, ret, &n, (const uint8_t *)message.data, message.len) == 1;
        EVP_MD_CTX_free(ctx);
        return ok && n == ED25519_SIZE ? 0 : -ENOMEM;
}

static int ed25519_verify(
        SignatureKey *k, Slice message, const uint8_t signature[static ED25519_SIZE])
{
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        if (!ctx || EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->pkey) != 1) {
                EVP_MD_CTX_free(ctx);
                return -ENOMEM;
        }
        int r = EVP_DigestVerify(
                ctx, signature, ED25519_SIZE, (const uint8_t *)message.data, message.len);
        EVP_MD_CTX_free(ctx);
        return r == 1;
}

// What is signed must fall apart in one way only, so the id has no dot (and no blank: a header).
static bool id_is_good(Slice id)
{
        for (size_t i = 0; i < id.len; i++)
                if (id.data[i] == '.' || id.data[i] <= ' ' || id.data[i] == 0x7f)
                        return false;
        return id.len > 0;
}

static int sign_one(SignatureKey *k, Slice id, Slice timestamp, Slice body, Buf *out)
{
        if (k->kind == KEY_HMAC) {
                uint8_t mac[HMAC_SIZE];
                int r = hmac_compute(k, id, timestamp, body, mac);
                if (r < 0)
                        return r;
                buf_add_str(out, "v1,");
                digest_base64(out, slice_mem(mac, sizeof(mac)));
                return out->error;
        }
        if (k->kind != KEY_ED25519_PRIVATE)
                return -EINVAL;
        _cleanup_(buf_deinitp) Buf message = BUF_INIT(id.len + timestamp.len + body.len + 2);
        uint8_t signature[ED25519_SIZE];
        int r = message_join(&message, id, timestamp, body);
        if (r < 0)
                return r;
        r = ed25519_sign(k, buf_slice(&message), signature);
        if (r < 0)
                return r;
        buf_add_str(out, "v1a,");
        digest_base64(out, slice_mem(signature, sizeof(signature)));
        return out->error;
}

int signature_sign(SignatureKey *const *keys, size_t n_keys, Slice id, uint64_t timestamp_sec,
        Slice body, Buf *out)
{
        if (!id_is_good(id))
                return -EINVAL;
        char digits[TIMESTAMP_DIGITS + 1];
        int n = snprintf(digits, sizeof(digits), "%" PRIu64, timestamp_sec);
        for (size_t i = 0; i < n_keys; i++) {
                if (i > 0)
                        buf_add_char(out, ' ');
                int r = sign_one(keys[i], id, slice_mem(digits, (size_t)n), body, out);
                if (r < 0)
                        return r;
        }
        return out->error;
}

static bool timestamp_parse(Slice text, uint64_t *ret)
{
        uint64_t v = 0;

        if (text.len == 0 || text.len > 12)
                return false;
        for (size_t i = 0; i < text.len; i++) {
                if (text.data[i] < '0' || text.data[i] > '9')
                        return false;
                v = v * 10 + (uint64_t)(text.data[i] - '0');
        }
        *ret = v;
        return true;
}

// Does this one decoded signature fit any of the keys? 1, 0 or -ENOMEM.
static int fits_any(SignatureKey *const *keys, size_t n_keys, bool asymmetric, Slice id,
        Slice timestamp, Slice body, const Buf *signature)
{
        if (signature->len != (asymmetric ? ED25519_SIZE : HMAC_SIZE))
                return 0;
        for (size_t i = 0; i < n_keys; i++) {
                int r = 0;
                if (asymmetric != (keys[i]->kind != KEY_HMAC))
                        continue;
                if (asymmetric) {
                        _cleanup_(buf_deinitp) Buf message =
                                BUF_INIT(id.len + timestamp.len + body.len + 2);
                        r = message_join(&message, id, timestamp, body);
                        if (r == 0)
                                r = ed25519_verify(keys[i], buf_slice(&message), signature->data);
                } else {
                        uint8_t mac[HMAC_SIZE];
                        r = hmac_compute(keys[i], id, timestamp, body, mac);
                        if (r == 0)
                                r = digest_equal(mac, signature->data, sizeof(mac));
                }
                if (r != 0)
                        return r;
        }
        return 0;
}

// The next blank-separated word; empty at the end.
static Slice word_next(Slice *rest)
{
        while (rest->len > 0 && rest->data[0] == ' ')
                *rest = slice_mem(rest->data + 1, rest->len - 1);
        size_t n = 0;
        while (n < rest->len && rest->data[n] != ' ')
                n++;
        Slice word = {rest->data, n};
        *rest = slice_mem(rest->data + n, rest->len - n);
        return word;
}

int signature_verify(SignatureKey *const *keys, size_t n_keys, Slice id, Slice timestamp,
        Slice header, Slice body, uint64_t now_sec, uint64_t tolerance_sec)
{
        const Slice v1 = SLICE_LIT("v1,"), v1a = SLICE_LIT("v1a,");
        uint64_t sent;
        unsigned n_known = 0;

        if (!id_is_good(id) || !timestamp_parse(timestamp, &sent) ||
                header.len > SIGNATURE_HEADER_MAX)
                return SIGNATURE_MALFORMED;
        if (tolerance_sec > 0 && (sent > now_sec ? sent - now_sec : now_sec - sent) > tolerance_sec)
                return SIGNATURE_STALE;
        // One message is hashed for each signature tried: a header can carry many, a few are enough.
        for (Slice rest = header, word; n_known < 2 * SIGNATURE_KEYS_MAX;) {
                word = word_next(&rest);
                if (word.len == 0)
                        break;
                bool asymmetric = slice_starts(word, v1a);
                if (!asymmetric && !slice_starts(word, v1))
                        continue;
                n_known++;
                size_t skip = asymmetric ? v1a.len : v1.len;
                _cleanup_(buf_deinitp) Buf signature = BUF_INIT(SIGNATURE_HEADER_MAX);
                if (digest_base64_decode(&signature, slice_mem(word.data + skip, word.len - skip)) <
                        0)
                        continue;
                int r = fits_any(keys, n_keys, asymmetric, id, timestamp, body, &signature);
                if (r != 0)
                        return r < 0 ? r : SIGNATURE_VALID;
        }
        return n_known == 0 ? SIGNATURE_MALFORMED : SIGNATURE_WRONG;
}
