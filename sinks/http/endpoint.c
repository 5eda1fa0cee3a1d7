// SPDX-License-Identifier: MIT
// From options to a Target: references read, URL parsed once (libcurl then copies the parsed form
// for each request), headers laid out once, keys set up once. Every text that came from a reference
// is remembered as a mask and wiped with the Target. Nothing here opens a connection.

#include "endpoint.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/limits.h"

enum { QUERY_MAX = 64 * 1024, HEADER_LINE_MAX = LIMIT_HEADER_NAME + LIMIT_HEADER_VALUE + 4 };

Target *target_ref(Target *t)
{
        t->refs++;
        return t;
}

static void wipe_str(char *s)
{
        option_secret_wipe(s, s ? strlen(s) : 0);
}

Target *target_unref(Target *t)
{
        if (!t || --t->refs > 0)
                return NULL;
        curl_url_cleanup(t->url);
        for (struct curl_slist *h = t->headers; h; h = h->next)
                explicit_bzero(h->data, strlen(h->data));
        curl_slist_free_all(t->headers);
        for (size_t i = 0; i < t->n_keys; i++)
                signature_key_free(t->keys[i]);
        for (size_t i = 0; i < t->n_masks; i++)
                option_secret_wipe(t->masks[i].text, t->masks[i].len);
        free(t->masks);
        egress_deinit(&t->egress);
        free(t->ca);
        free(t);
        return NULL;
}

// Takes text, also on failure.
static int mask_add(Target *t, char *text)
{
        TargetMask *grown = reallocarray(t->masks, t->n_masks + 1, sizeof(*grown));

        if (!grown) {
                wipe_str(text);
                return -ENOMEM;
        }
        t->masks = grown;
        t->masks[t->n_masks++] = (TargetMask){text, strlen(text)};
        return 0;
}

// The value behind a reference, or a copy of the literal. *ret_secret says which.
static int value_resolve(const char *value, const char *credentials_dir, char **ret,
        bool *ret_secret, Reason *reason)
{
        *ret_secret = option_is_reference(slice_of(value));
        if (!*ret_secret) {
                *ret = strdup(value);
                return *ret ? 0 : -ENOMEM;
        }
        size_t len; // the secret is ended by NUL and holds none
        return option_secret_read(value, credentials_dir, ret, &len, reason);
}

bool header_name_is_token(Slice name)
{
        for (size_t i = 0; i < name.len; i++)
                if (!isalnum((unsigned char)name.data[i]) &&
                        (name.data[i] == '\0' || !strchr("!#$%&'*+-.^_`|~", name.data[i])))
                        return false;
        return name.len > 0 && name.len <= LIMIT_HEADER_NAME;
}

bool header_value_is_clean(Slice value)
{
        for (size_t i = 0; i < value.len; i++) {
                unsigned char c = (unsigned char)value.data[i];
                if ((c < 0x20 && c != '\t') || c == 0x7f)
                        return false;
        }
        return value.len <= LIMIT_HEADER_VALUE;
}

bool header_is_reserved(Slice name)
{
        static const char *const whole[] = {"host", "connection", "content-length",
                "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect",
                "accept-encoding"};
        static const char *const prefixes[] = {"proxy-", "webhook-", "ce-"};

        for (size_t i = 0; i < N_ELEMENTS(whole); i++)
                if (name.len == strlen(whole[i]) && strncasecmp(name.data, whole[i], name.len) == 0)
                        return true;
        for (size_t i = 0; i < N_ELEMENTS(prefixes); i++)
                if (name.len >= strlen(prefixes[i]) &&
                        strncasecmp(name.data, prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        return false;
}

static int slist_add(struct curl_slist **list, const char *line)
{
        struct curl_slist *grown = curl_slist_append(*list, line);

        if (!grown)
                return -ENOMEM;
        *list = grown;
        return 0;
}

static int header_check(const StringMap *headers, size_t i, const char *value, Reason *reason)
{
        const char *name = headers->names[i];

        if (!header_name_is_token(slice_of(name)))
                return reason_set(reason, -EINVAL, "headers: '%.64s' is not a header name", name);
        if (header_is_reserved(slice_of(name)))
                return reason_set(reason, -EINVAL, "headers: %s is set by Belfry itself", name);
        if (!header_value_is_clean(slice_of(value)))
                return reason_set(reason, -EINVAL,
                        "headers: the value of %s holds a line break or control character, or is "
                        "over %u bytes",
                        name, LIMIT_HEADER_VALUE);
        for (size_t k = 0; k < i; k++)
                if (strcasecmp(headers->names[k], name) == 0)
                        return reason_set(reason, -EINVAL, "headers: %s is given twice", name);
        return 0;
}

static int headers_prepare(
        Target *t, const HttpOptions *o, const char *credentials_dir, Reason *reason)
{
        // libcurl's own Accept and Expect headers are left out: few bytes are the cheapest.
        if (slist_add(&t->headers, "Expect:") < 0)
                return -ENOMEM;
        bool accept = false;
        if (o->headers.n > LIMIT_HEADERS)
                return reason_set(reason, -EINVAL, "headers: more than %u", LIMIT_HEADERS);
        for (size_t i = 0; i < o->headers.n; i++) {
                const char *name = o->headers.names[i];
                char *value;
                bool secret;
                int r = value_resolve(
                        o->headers.values[i], credentials_dir, &value, &secret, reason);
                if (r < 0)
                        return reason_prefix(reason, r, "headers: %s", name);
                r = header_check(&o->headers, i, value, reason);
                char line[HEADER_LINE_MAX];
                if (r == 0) {
                        // libcurl drops "Name:" with nothing behind; empty is spelled "Name;".
                        (void)snprintf(line, sizeof(line), *value ? "%s: %s" : "%s;", name, value);
                        r = slist_add(&t->headers, line);
                        explicit_bzero(line, sizeof(line));
                }
                accept |= strcasecmp(name, "accept") == 0;
                t->sets_content_type |= strcasecmp(name, "content-type") == 0;
                if (r == 0 && secret && *value)
                        r = mask_add(t, value);
                else
                        wipe_str(value);
                if (r < 0)
                        return r;
        }
        return accept ? 0 : slist_add(&t->headers, "Accept:");
}

static int query_append(Target *t, const char *name, const char *value, bool secret, Reason *reason)
{
        char *n = curl_easy_escape(NULL, name, 0), *v = curl_easy_escape(NULL, value, 0);
        int r = n && v ? 0 : -ENOMEM;

        // As libcurl spells it in the URL, and so as a mask must spell it.
        for (char *c = v; c && (c = strchr(c, '%')); c++) {
                c[1] = (char)tolower((unsigned char)c[1]);
                c[2] = (char)tolower((unsigned char)c[2]);
        }
        if (r == 0) {
                _cleanup_(buf_deinitp) Buf pair = BUF_INIT(QUERY_MAX);
                buf_addf(&pair, "%s=%s", n, v);
                if (pair.error)
                        r = reason_set(reason, -EINVAL, "query: %s is too long", name);
                else if (curl_url_set(t->url, CURLUPART_QUERY, buf_text(&pair),
                                 CURLU_APPENDQUERY) != CURLUE_OK)
                        r = -ENOMEM;
                if (pair.data)
                        explicit_bzero(pair.data, pair.len);
        }
        // Shown is the escaped form, so that is what must be masked.
        if (r == 0 && secret && *v) {
                char *copy = strdup(v);
                r = copy ? mask_add(t, copy) : -ENOMEM;
        }
        if (v)
                explicit_bzero(v, strlen(v));
        curl_free(n);
        curl_free(v);
        return r;
}

int url_check(CURLU *url, const char *text, bool private_url, Reason *reason)
{
        char *scheme = NULL, *host = NULL, *user = NULL, *fragment = NULL;
        CURLUcode c = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME);
        int r = 0;

        if (c == CURLUE_OUT_OF_MEMORY)
                return -ENOMEM;
        if (c != CURLUE_OK)
                return reason_set(reason, -EINVAL, "%s", curl_url_strerror(c));
        (void)curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
        (void)curl_url_get(url, CURLUPART_HOST, &host, 0);
        (void)curl_url_get(url, CURLUPART_USER, &user, 0);
        (void)curl_url_get(url, CURLUPART_FRAGMENT, &fragment, 0);
        if (!scheme || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
                r = reason_set(reason, -EINVAL, "must begin with http:// or https://");
        else if (!host || !*host)
                r = reason_set(reason, -EINVAL, "names no host");
        else if (fragment)
                r = reason_set(reason, -EINVAL, "a fragment (#...) is never sent; leave it out");
        else if (user && !private_url)
                r = reason_set(reason, -EINVAL,
                        "a name and password do not belong into the configuration; put the whole "
                        "URL behind a reference (url = \"credential:NAME\")");
        curl_free(scheme);
        curl_free(host);
        if (user)
                explicit_bzero(user, strlen(user));
        curl_free(user);
        curl_free(fragment);
        return r;
}

// Everything of a private URL that an exchange would show.
static int url_mask(Target *t)
{
        static const CURLUPart parts[] = {CURLUPART_HOST, CURLUPART_PATH, CURLUPART_QUERY,
                CURLUPART_USER, CURLUPART_PASSWORD};

        for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
                char *part = NULL;
                if (curl_url_get(t->url, parts[i], &part, 0) != CURLUE_OK || !part)
                        continue;
                int r = 0;
                if (*part && strcmp(part, "/") != 0) {
                        char *copy = strdup(part);
                        r = copy ? mask_add(t, copy) : -ENOMEM;
                }
                explicit_bzero(part, strlen(part));
                curl_free(part);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int url_prepare(Target *t, const HttpOptions *o, const char *credentials_dir, Reason *reason)
{
        char *text;
        int r = value_resolve(o->url, credentials_dir, &text, &t->private_url, reason);
        if (r < 0)
                return reason_prefix(reason, r, "url");
        t->url = curl_url();
        r = t->url ? url_check(t->url, text, t->private_url, reason) : -ENOMEM;
        if (r == -EINVAL)
                (void)reason_prefix(reason, r, "url");
        if (r == 0 && t->private_url)
                r = url_mask(t);
        bool tls = strncasecmp(text, "https:", 6) == 0;
        wipe_str(text);
        for (size_t i = 0; i < o->query.n && r == 0; i++) {
                char *value;
                bool secret;
                r = value_resolve(o->query.values[i], credentials_dir, &value, &secret, reason);
                if (r < 0)
                        return reason_prefix(reason, r, "query: %s", o->query.names[i]);
                r = query_append(t, o->query.names[i], value, secret, reason);
                wipe_str(value);
        }
        t->http_version = tls && o->http != HTTP_VERSION_1_1 ? CURL_HTTP_VERSION_2TLS
                          : o->http == HTTP_VERSION_2        ? CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
                                                             : CURL_HTTP_VERSION_1_1;
        return r;
}

static int keys_prepare(
        Target *t, const HttpOptions *o, const char *credentials_dir, Reason *reason)
{
        for (size_t i = 0; o->secret && o->secret[i]; i++) {
                char *text;
                size_t len;
                if (t->n_keys == SIGNATURE_KEYS_MAX)
                        return reason_set(
                                reason, -EINVAL, "secret: more than %d", SIGNATURE_KEYS_MAX);
                int r = option_secret_read(o->secret[i], credentials_dir, &text, &len, reason);
                if (r < 0)
                        return reason_prefix(reason, r, "secret");
                r = signature_key_new(&t->keys[t->n_keys], slice_mem(text, len), reason);
                option_secret_wipe(text, len);
                if (r < 0)
                        return reason_prefix(reason, r, "secret: %s", o->secret[i]);
                t->n_keys++;
                if (!signature_key_can_sign(t->keys[t->n_keys - 1]))
                        return reason_set(reason, -EINVAL,
                                "secret: %s holds a public key, which cannot sign", o->secret[i]);
        }
        return 0;
}

int target_new(Target **ret, const HttpOptions *o, const char *credentials_dir, Reason *reason)
{
        static uint64_t serial;
        _cleanup_(target_unrefp) Target *t = calloc(1, sizeof(*t));

        if (!t)
                return -ENOMEM;
        t->refs = 1;
        t->serial = ++serial;
        t->timeout_usec = o->timeout_usec;
        t->connect_timeout_usec = o->connect_timeout_usec;
        t->response_limit = o->response_limit;
        t->verify = o->verify;
        if (o->ca) {
                t->ca = strdup(o->ca);
                if (!t->ca)
                        return -ENOMEM;
                if (access(o->ca, R_OK) < 0)
                        return reason_errno(reason, -errno, "ca: %s", o->ca);
        }
        int r = url_prepare(t, o, credentials_dir, reason);
        if (r == 0)
                r = headers_prepare(t, o, credentials_dir, reason);
        if (r == 0)
                r = keys_prepare(t, o, credentials_dir, reason);
        if (r == 0)
                r = egress_init(&t->egress, o->allow, o->deny, reason);
        if (r == -ENOMEM)
                return reason_set(reason, r, "out of memory");
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}

static void stamp_file(uint64_t *stamp, const char *reference)
{
        struct stat st;

        if (!reference || strncmp(reference, "file:", 5) != 0)
                return;
        if (stat(reference + 5, &st) < 0)
                st = (struct stat){0};
        const uint64_t parts[] = {(uint64_t)st.st_ino, (uint64_t)st.st_size,
                (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec,
                (uint64_t)st.st_ctim.tv_sec, (uint64_t)st.st_ctim.tv_nsec};
        for (size_t i = 0; i < N_ELEMENTS(parts); i++)
                *stamp = (*stamp ^ parts[i]) * UINT64_C(0x100000001b3);
}

uint64_t target_files_stamp(const HttpOptions *o)
{
        uint64_t stamp = UINT64_C(0xcbf29ce484222325);

        stamp_file(&stamp, o->url);
        for (size_t i = 0; i < o->headers.n; i++)
                stamp_file(&stamp, o->headers.values[i]);
        for (size_t i = 0; i < o->query.n; i++)
                stamp_file(&stamp, o->query.values[i]);
        for (size_t i = 0; o->secret && o->secret[i]; i++)
                stamp_file(&stamp, o->secret[i]);
        return stamp;
}
