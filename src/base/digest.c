// SPDX-License-Identifier: MIT
// Hashes and encodings. Each process has one thread, so the fetched algorithm and one context are
// static and reused: fetching costs more than hashing an event id. They live as long as the
// process. No keys and no signatures here; the http sink does those itself.
#include "base/digest.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#ifdef __x86_64__
#include <nmmintrin.h>
#endif

static EVP_MD *sha256;
static EVP_MD_CTX *sha256_ctx;

static int sha256_begin(void)
{
        if (!sha256)
                sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
        if (!sha256_ctx)
                sha256_ctx = EVP_MD_CTX_new();
        if (!sha256 || !sha256_ctx)
                return -ENOMEM;
        // The same algorithm again: the context is reset, not rebuilt.
        return EVP_DigestInit_ex2(sha256_ctx, sha256, NULL) == 1 ? 0 : -EIO;
}

static int sha256_end(uint8_t ret[static SHA256_SIZE])
{
        uint8_t sum[SHA256_SIZE];
        unsigned n = 0;
        if (EVP_DigestFinal_ex(sha256_ctx, sum, &n) != 1 || n != SHA256_SIZE)
                return -EIO;
        memcpy(ret, sum, SHA256_SIZE);
        return 0;
}

int digest_sha256_parts(const Slice *parts, size_t n_parts, uint8_t ret[static SHA256_SIZE])
{
        int r = sha256_begin();
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_parts; i++) {
                assert(parts[i].len <= UINT32_MAX);
                uint32_t n = (uint32_t)parts[i].len;
                uint8_t length[4] = {
                        (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)};
                if (EVP_DigestUpdate(sha256_ctx, length, sizeof(length)) != 1 ||
                        EVP_DigestUpdate(sha256_ctx, parts[i].data, n) != 1)
                        return -EIO;
        }
        return sha256_end(ret);
}

int digest_sha256(Slice data, uint8_t ret[static SHA256_SIZE])
{
        int r = sha256_begin();
        if (r < 0)
                return r;
        if (EVP_DigestUpdate(sha256_ctx, data.data, data.len) != 1)
                return -EIO;
        return sha256_end(ret);
}

// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), by table.
static uint32_t crc_table(uint32_t crc, const uint8_t *p, size_t n)
{
        static uint32_t table[256];
        if (table[1] == 0)
                for (uint32_t i = 0; i < 256; i++) {
                        uint32_t c = i;
                        for (int k = 0; k < 8; k++)
                                c = (c >> 1) ^ (c & 1 ? UINT32_C(0x82f63b78) : 0);
                        table[i] = c;
                }
        while (n-- > 0)
                crc = (crc >> 8) ^ table[(crc ^ *p++) & 0xff];
        return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(
        uint32_t crc, const uint8_t *p, size_t n)
{
        uint64_t c = crc;
        for (; n >= 8; p += 8, n -= 8) {
                uint64_t v;
                memcpy(&v, p, sizeof(v));
                c = _mm_crc32_u64(c, v);
        }
        crc = (uint32_t)c;
        while (n-- > 0)
                crc = _mm_crc32_u8(crc, *p++);
        return crc;
}
#endif

uint32_t digest_crc32c(uint32_t seed, const void *data, size_t n)
{
#ifdef __x86_64__
        if (__builtin_cpu_supports("sse4.2"))
                return ~crc_sse42(~seed, data, n);
#endif
        return ~crc_table(~seed, data, n);
}

void digest_hex(const uint8_t *data, size_t n, char *ret)
{
        static const char hex[] = "0123456789abcdef";
        for (size_t i = 0; i < n; i++) {
                ret[2 * i] = hex[data[i] >> 4];
                ret[2 * i + 1] = hex[data[i] & 15];
        }
}

static const char base64_digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void digest_base64(Buf *out, Slice data)
{
        const uint8_t *p = (const uint8_t *)data.data;
        size_t left = data.len;
        for (; left > 0; p += 3, left -= left < 3 ? left : 3) {
                uint32_t v = (uint32_t)p[0] << 16 | (left > 1 ? (uint32_t)p[1] << 8 : 0) |
                             (left > 2 ? p[2] : 0);
                char four[4] = {base64_digits[v >> 18], base64_digits[v >> 12 & 63],
                        left > 1 ? base64_digits[v >> 6 & 63] : '=',
                        left > 2 ? base64_digits[v & 63] : '='};
                buf_add(out, four, sizeof(four));
        }
}

static int base64_value(char c)
{
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int digest_base64_decode(Buf *out, Slice text)
{
        if (text.len % 4 != 0)
                return -EINVAL;
        size_t start = out->len;
        for (size_t i = 0; i < text.len; i += 4) {
                const char *c = text.data + i;
                bool last = i + 4 == text.len;
                unsigned pad = last && c[3] == '=' ? 1 + (c[2] == '=') : 0;
                uint32_t v = 0;
                int bad = 0;
                for (unsigned k = 0; k < 4; k++) {
                        int digit = k >= 4 - pad ? 0 : base64_value(c[k]);
                        bad |= digit;
                        v = v << 6 | (uint32_t)(digit & 63);
                }
                // Bits that padding leaves over must be zero, else one value has several spellings.
                if (bad < 0 || (pad == 1 && (v & 0xff)) || (pad == 2 && (v & 0xffff))) {
                        out->len = start;
                        return -EINVAL;
                }
                uint8_t three[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
                buf_add(out, three, 3 - pad);
        }
        return out->error;
}

bool digest_equal(const void *a, const void *b, size_t n)
{
        return CRYPTO_memcmp(a, b, n) == 0;
}
