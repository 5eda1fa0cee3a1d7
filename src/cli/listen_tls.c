// SPDX-License-Identifier: MIT
// A certificate made on the spot, for trying things out: P-256, valid for 30 days, for the address
// that is listened on and for localhost. Its key lives in memory only.
#include "cli/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

static int add_extension(X509 *cert, int nid, const char *value)
{
        X509V3_CTX ctx;
        X509V3_set_ctx_nodb(&ctx);
        X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        int ok = e && X509_add_ext(cert, e, -1);
        X509_EXTENSION_free(e);
        return ok;
}

static int fill_certificate(X509 *cert, EVP_PKEY *key, const char *address)
{
        enum { DAYS = 30, BACKDATED_SEC = 3600 };
        uint64_t serial;
        char names[256];
        struct in6_addr probe;
        bool ip = inet_pton(AF_INET, address, &probe) == 1 ||
                  inet_pton(AF_INET6, address, &probe) == 1;
        (void)snprintf(names, sizeof(names), "DNS:localhost,IP:127.0.0.1,IP:::1,%s:%s",
                ip ? "IP" : "DNS", address);
        if (RAND_bytes((unsigned char *)&serial, sizeof(serial)) != 1)
                return 0;
        X509_NAME *name = X509_get_subject_name(cert);
        return X509_set_version(cert, 2) &&
               ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1) &&
               X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATED_SEC) &&
               X509_gmtime_adj(X509_getm_notAfter(cert), DAYS * 86400L) &&
               X509_set_pubkey(cert, key) &&
               X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                       (const unsigned char *)"belfry listen", -1, -1, 0) &&
               X509_set_issuer_name(cert, name) &&
               add_extension(cert, NID_basic_constraints, "critical,CA:TRUE") &&
               add_extension(cert, NID_subject_alt_name, names) &&
               X509_sign(cert, key, EVP_sha256()) > 0;
}

static int take_pem(BIO *bio, Buf *out)
{
        char *data;
        long n = BIO_get_mem_data(bio, &data);
        if (n <= 0)
                return -EIO;
        buf_add(out, data, (size_t)n);
        return out->error;
}

int tls_make_certificate(const char *address, Buf *ret_cert, Buf *ret_key)
{
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *cert = X509_new();
        BIO *cert_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());
        int r = -ENOMEM;
        if (key && cert && cert_pem && key_pem)
                r = fill_certificate(cert, key, address) && PEM_write_bio_X509(cert_pem, cert) &&
                                    PEM_write_bio_PrivateKey(
                                            key_pem, key, NULL, NULL, 0, NULL, NULL)
                            ? 0
                            : -EIO;
        if (r >= 0)
                r = take_pem(cert_pem, ret_cert);
        if (r >= 0)
                r = take_pem(key_pem, ret_key);
        BIO_free(cert_pem);
        BIO_free(key_pem);
        X509_free(cert);
        EVP_PKEY_free(key);
        return r;
}
