// SPDX-License-Identifier: MIT
// Hashes, checksums and the encodings that go with them. OpenSSL does the cryptography; algorithm
// look-ups are made once for the process. Not for TLS, not for key storage.
#pragma once

#include "base/buf.h"

enum { SHA256_SIZE = 32, ID_HEX = 32 };

// SHA-256 of the parts, each preceded by its length as u32 (so that ("ab","c") != ("a","bc")).
int digest_sha256_parts(const Slice *parts, size_t n_parts, uint8_t ret[static SHA256_SIZE]) _must_use_;
int digest_sha256(Slice data, uint8_t ret[static SHA256_SIZE]) _must_use_; // plain
uint32_t digest_crc32c(uint32_t seed, const void *data, size_t n);          // SSE4.2 where there is

void digest_hex(const uint8_t *data, size_t n, char *ret); // 2n lower-case digits, no NUL
void digest_base64(Buf *out, Slice data);                   // standard alphabet, padded
int digest_base64_decode(Buf *out, Slice text) _must_use_;  // strict; -EINVAL
bool digest_equal(const void *a, const void *b, size_t n);  // constant time
