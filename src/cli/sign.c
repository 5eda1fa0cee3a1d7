// SPDX-License-Identifier: MIT
// sign and verify: Standard Webhooks headers for a body on standard input, and the other way round.
// The bytes are taken as they are; nothing is parsed or re-encoded.
#include "cli/secrets.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/output.h"
#include "config/option.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

static ExitStatus add_key(Secrets *s, const char *text, size_t len, const char *where)
{
        Reason reason = {};
        if (s->n == SIGNATURE_KEYS_MAX) {
                (void)fprintf(stderr, "belfry: at most %d secrets\n", SIGNATURE_KEYS_MAX);
                return STATUS_USAGE;
        }
        int r = signature_key_new(&s->keys[s->n], (Slice){text, len}, &reason);
        if (r < 0) {
                (void)fprintf(stderr, "belfry: %s: %s\n", where,
                        reason.text[0] ? reason.text : strerror(-r));
                return STATUS_FAILED;
        }
        s->n++;
        return STATUS_OK;
}

static ExitStatus add_reference(Secrets *s, const char *reference)
{
        char full[PATH_MAX + 8] = "file:";
        if (strncmp(reference, "file:", 5) == 0 && reference[5] != '/' &&
                realpath(reference + 5, full + 5))
                reference =
                        full; // here, other than in a configuration, a relative path has a meaning
        char *value = NULL;
        size_t len = 0;
        Reason reason = {};
        int r = option_secret_read(
                reference, getenv("CREDENTIALS_DIRECTORY"), &value, &len, &reason);
        if (r < 0) {
                (void)fprintf(stderr, "belfry: --secret: %s\n",
                        reason.text[0] ? reason.text : strerror(-r));
                return STATUS_FAILED;
        }
        ExitStatus status = add_key(s, value, len, reference);
        option_secret_wipe(value, len);
        return status;
}

ExitStatus secrets_load(Secrets *s, const Context *c, bool required)
{
        *s = (Secrets){0};
        ExitStatus r = STATUS_OK;
        const char *given;
        for (unsigned i = 0; r == STATUS_OK && (given = option_nth(c, "secret", i)); i++) {
                if (strncmp(given, "file:", 5) == 0 || strncmp(given, "credential:", 11) == 0) {
                        r = add_reference(s, given);
                        continue;
                }
                (void)fprintf(stderr,
                        "belfry: warning: every user can see a secret on the command line; use "
                        "--secret file:PATH or BELFRY_SECRET\n");
                r = add_key(s, given, strlen(given), "--secret");
        }
        const char *env = getenv("BELFRY_SECRET");
        if (r == STATUS_OK && !option_given(c, "secret") && env && *env)
                r = add_key(s, env, strlen(env), "BELFRY_SECRET");
        if (r == STATUS_OK && required && s->n == 0) {
                (void)fprintf(
                        stderr, "belfry: no secret: give --secret file:PATH, or BELFRY_SECRET\n");
                r = STATUS_USAGE;
        }
        if (r != STATUS_OK)
                secrets_deinit(s);
        return r;
}

void secrets_deinit(Secrets *s)
{
        for (size_t i = 0; i < s->n; i++)
                (void)signature_key_free(s->keys[i]);
        *s = (Secrets){0};
}

ExitStatus read_body(Buf *out)
{
        for (;;) {
                enum { CHUNK = 65536 };
                uint8_t *room = buf_grow(out, CHUNK);
                if (!room) {
                        (void)fprintf(stderr, "belfry: the body is over %d bytes\n", BODY_MAX);
                        return STATUS_FAILED;
                }
                ssize_t n = read(STDIN_FILENO, room, CHUNK);
                int error = errno;
                out->len -= CHUNK - (n > 0 ? (size_t)n : 0);
                if (n == 0)
                        return STATUS_OK;
                if (n < 0 && error != EINTR) {
                        (void)fprintf(
                                stderr, "belfry: cannot read the body: %s\n", strerror(error));
                        return STATUS_FAILED;
                }
        }
}

static ExitStatus sign_id(const Context *c, char out[static 64], const char **ret)
{
        *ret = option_value(c, "id");
        if (*ret)
                return STATUS_OK;
        uint8_t random[12];
        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
                (void)fprintf(stderr, "belfry: no random bytes: %s\n", strerror(errno));
                return STATUS_FAILED;
        }
        memcpy(out, "msg_", 4);
        digest_hex(random, sizeof(random), out + 4);
        out[4 + 2 * sizeof(random)] = 0;
        *ret = out;
        return STATUS_OK;
}

static ExitStatus sign_with(const Context *c, const Secrets *s, Slice body)
{
        char made[64];
        const char *id;
        uint64_t timestamp = clock_wall_usec() / USEC_PER_SEC;
        ExitStatus r = sign_id(c, made, &id);
        if (r == STATUS_OK)
                r = option_number(c, "timestamp", INT64_MAX, &timestamp);
        if (r != STATUS_OK)
                return r;
        _cleanup_(buf_deinitp) Buf signature = BUF_INIT(SIGNATURE_HEADER_MAX);
        int e = signature_sign(s->keys, s->n, slice_of(id), timestamp, body, &signature);
        if (e == -EINVAL) {
                (void)fprintf(stderr, "belfry: cannot sign: the id must have no dot and no blank, "
                                      "and a whpk_ key only verifies\n");
                return STATUS_FAILED;
        }
        if (e < 0) {
                (void)fprintf(stderr, "belfry: cannot sign: %s\n", strerror(-e));
                return STATUS_FAILED;
        }
        if (c->json) {
                char digits[24];
                (void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)timestamp);
                json_t *o = json_pack("{s:s, s:s, s:s}", "webhook-id", id, "webhook-timestamp",
                        digits, "webhook-signature", buf_text(&signature));
                print_json(o);
                json_decref(o);
        } else {
                (void)printf("webhook-id: %s\nwebhook-timestamp: %llu\nwebhook-signature: %s\n", id,
                        (unsigned long long)timestamp, buf_text(&signature));
        }
        return STATUS_OK;
}

ExitStatus command_sign(Context *c)
{
        Secrets s;
        ExitStatus r = secrets_load(&s, c, true);
        if (r != STATUS_OK)
                return r;
        _cleanup_(buf_deinitp) Buf body = BUF_INIT(BODY_MAX + 65536);
        r = read_body(&body);
        if (r == STATUS_OK)
                r = sign_with(c, &s, buf_slice(&body));
        secrets_deinit(&s);
        return r;
}

// ---- verify

typedef struct Signed {
        Slice id, timestamp, signature;
} Signed;

static Slice trim(Slice s)
{
        while (s.len && strchr(" \t\r", s.data[0]) && s.data[0])
                s = (Slice){s.data + 1, s.len - 1};
        while (s.len && strchr(" \t\r", s.data[s.len - 1]) && s.data[s.len - 1])
                s.len--;
        return s;
}

// "Name: value" lines; others (a request line) are passed over. The slices borrow from text.
static void signed_from_lines(Signed *h, Slice text)
{
        while (text.len > 0) {
                const char *end = memchr(text.data, '\n', text.len);
                size_t n = end ? (size_t)(end - text.data) : text.len;
                const char *colon = memchr(text.data, ':', n);
                if (colon) {
                        Slice name = trim((Slice){text.data, (size_t)(colon - text.data)});
                        Slice value = trim((Slice){colon + 1, n - (size_t)(colon + 1 - text.data)});
                        if (name.len == 10 && strncasecmp(name.data, "webhook-id", 10) == 0)
                                h->id = value;
                        else if (name.len == 17 &&
                                 strncasecmp(name.data, "webhook-timestamp", 17) == 0)
                                h->timestamp = value;
                        else if (name.len == 17 &&
                                 strncasecmp(name.data, "webhook-signature", 17) == 0)
                                h->signature = value;
                }
                n += end != NULL;
                text = (Slice){text.data + n, text.len - n};
        }
}

static ExitStatus verify_headers(const Context *c, Buf *lines, Signed *ret)
{
        const char *file = option_value(c, "headers");
        if (file) {
                int r = file_read(AT_FDCWD, file, lines);
                if (r < 0) {
                        (void)fprintf(stderr, "belfry: --headers %s: %s\n", file, strerror(-r));
                        return STATUS_FAILED;
                }
                signed_from_lines(ret, buf_slice(lines));
        }
        const char *id = option_value(c, "id"), *timestamp = option_value(c, "timestamp"),
                   *signature = option_value(c, "signature");
        if (id)
                ret->id = slice_of(id);
        if (timestamp)
                ret->timestamp = slice_of(timestamp);
        if (signature)
                ret->signature = slice_of(signature);
        if (ret->id.data && ret->timestamp.data && ret->signature.data)
                return STATUS_OK;
        (void)fprintf(stderr,
                "belfry: no %s: give --headers FILE, or --id, --timestamp and --signature\n",
                !ret->id.data          ? "webhook-id"
                : !ret->timestamp.data ? "webhook-timestamp"
                                       : "webhook-signature");
        return STATUS_USAGE;
}

ExitStatus command_verify(Context *c)
{
        uint64_t tolerance = SIGNATURE_TOLERANCE_SEC * USEC_PER_SEC;
        Secrets s;
        Signed h = {0};
        _cleanup_(buf_deinitp) Buf lines = BUF_INIT(1 << 20), body = BUF_INIT(BODY_MAX + 65536);
        ExitStatus r = option_duration(c, "tolerance", &tolerance);
        if (r == STATUS_OK)
                r = verify_headers(c, &lines, &h);
        if (r == STATUS_OK)
                r = secrets_load(&s, c, true);
        if (r != STATUS_OK)
                return r;
        r = read_body(&body);
        int result = -1;
        if (r == STATUS_OK)
                result = signature_verify(s.keys, s.n, h.id, h.timestamp, h.signature,
                        buf_slice(&body), clock_wall_usec() / USEC_PER_SEC,
                        tolerance / USEC_PER_SEC);
        secrets_deinit(&s);
        if (r != STATUS_OK)
                return r;
        const char *why = result < 0 ? "out of memory" : signature_result_to_string(result);
        bool valid = result == SIGNATURE_VALID;
        if (c->json) {
                json_t *o =
                        json_pack("{s:b, s:s?}", "verified", valid, "reason", valid ? NULL : why);
                print_json(o);
                json_decref(o);
        } else if (valid) {
                (void)puts("verified");
        } else {
                (void)printf("NOT VERIFIED: %s\n", why);
        }
        return valid ? STATUS_OK : STATUS_FAILED;
}
