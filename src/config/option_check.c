// SPDX-License-Identifier: MIT
// What strings in options must look like: paths, URLs, secret references, header names; and whether
// a table of rows is itself well-formed. Looks at form only, never at the world. No message repeats
// the text it judges: it may be a secret put in the wrong place.
#include "config/option_table.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "base/limits.h"
#include "base/text.h"

enum { CREDENTIAL_NAME_MAX = 255, OPTION_NAME_MAX = 48 };

static bool is_credential_name(const char *s)
{
        size_t n = strlen(s);
        if (n == 0 || n > CREDENTIAL_NAME_MAX || s[0] == '.')
                return false;
        return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static bool has_control(const char *s)
{
        for (; *s; s++)
                if ((unsigned char)*s < 0x20 || *s == 0x7f)
                        return true;
        return false;
}

static bool looks_like_reference(const char *text)
{
        return strncmp(text, "credential:", 11) == 0 || strncmp(text, "file:", 5) == 0;
}

int option_check_reference(const char *text, Reason *reason)
{
        if (strncmp(text, "credential:", 11) == 0) {
                if (is_credential_name(text + 11))
                        return 0;
                return reason_set(reason, -EINVAL,
                        "bad reference: after \"credential:\" stands the name of a credential "
                        "(letters, digits, . _ -)");
        }
        if (strncmp(text, "file:", 5) == 0) {
                if (text[5] == '/' && text[6] && !has_control(text))
                        return 0;
                return reason_set(reason, -EINVAL,
                        "bad reference: after \"file:\" stands an absolute path, such as "
                        "\"file:/etc/belfry/key\"");
        }
        return reason_set(reason, -EINVAL,
                "a literal secret is refused: write \"credential:NAME\" (LoadCredential=) or "
                "\"file:/PATH\" (a file of mode 0600)");
}

bool option_is_reference(Slice text)
{
        char copy[5 + 4096];
        if (text.len >= sizeof(copy) || memchr(text.data ? text.data : "", 0, text.len))
                return false;
        (void)snprintf(copy, sizeof(copy), "%.*s", SLICE_ARG(text));
        return option_check_reference(copy, NULL) == 0;
}

static int check_path(const char *text, Reason *reason)
{
        if (text[0] != '/')
                return reason_set(reason, -EINVAL,
                        "must be an absolute path (beginning with /), such as \"/srv/uploads\"");
        for (const char *at = text; (at = strstr(at, "/..")); at += 3)
                if (at[3] == 0 || at[3] == '/')
                        return reason_set(reason, -EINVAL, "a path may not contain \"..\"");
        return 0;
}

static int check_port(const char *at, const char *end, Reason *reason)
{
        unsigned port = 0;
        for (const char *p = at; p < end; p++) {
                if (!isdigit((unsigned char)*p) ||
                        (port = port * 10 + (unsigned)(*p - '0')) > 65535)
                        return reason_set(reason, -EINVAL, "the port of the URL is not 1 to 65535");
        }
        if (port == 0)
                return reason_set(reason, -EINVAL, "the port of the URL is not 1 to 65535");
        return 0;
}

static int check_url(const char *text, Reason *reason)
{
        size_t scheme = strncasecmp(text, "https://", 8) == 0  ? 8
                        : strncasecmp(text, "http://", 7) == 0 ? 7
                                                               : 0;
        if (scheme == 0)
                return reason_set(reason, -EINVAL,
                        "must begin with http:// or https://, such as "
                        "\"https://hooks.example.com/in\"");
        for (const char *p = text; *p; p++)
                if ((unsigned char)*p <= 0x20 || *p == 0x7f)
                        return reason_set(reason, -EINVAL,
                                "a URL has no spaces or control characters; write %%20");
        const char *host = text + scheme, *end = host + strcspn(host, "/?#");
        if (memchr(host, '@', (size_t)(end - host)))
                return reason_set(reason, -EINVAL,
                        "a URL may not carry user:password@; keep the whole URL in a reference, "
                        "\"credential:NAME\"");
        const char *host_end = host[0] == '[' ? memchr(host, ']', (size_t)(end - host)) : NULL;
        if (host[0] == '[' && (!host_end || host_end == host + 1))
                return reason_set(reason, -EINVAL, "the [address] of the URL is incomplete");
        host_end = host_end ? host_end + 1 : memchr(host, ':', (size_t)(end - host));
        if (!host_end)
                host_end = end;
        if (host_end == host)
                return reason_set(reason, -EINVAL, "the URL names no host");
        if (host_end < end && *host_end != ':')
                return reason_set(reason, -EINVAL, "the host of the URL is not of good form");
        return host_end < end ? check_port(host_end + 1, end, reason) : 0;
}

int option_check_text(const Option *row, const char *text, Reason *reason)
{
        if ((row->flags & OPTION_REFERENCE) && looks_like_reference(text))
                return option_check_reference(text, reason);
        switch (row->type) {
        case OPTION_SECRET:
        case OPTION_SECRET_LIST:
                return option_check_reference(text, reason);
        case OPTION_PATH:
        case OPTION_PATH_LIST:
                return check_path(text, reason);
        case OPTION_URL:
                return check_url(text, reason);
        case OPTION_STRING_MAP:
                if ((row->flags & OPTION_HEADERS) && has_control(text))
                        return reason_set(
                                reason, -EINVAL, "a header value has no control characters");
                if ((row->flags & OPTION_HEADERS) && strlen(text) > LIMIT_HEADER_VALUE)
                        return reason_set(reason, -EINVAL, "a header value has at most %u bytes",
                                LIMIT_HEADER_VALUE);
                return 0;
        default:
                return 0;
        }
}

int option_check_header_name(const char *name, Reason *reason)
{
        static const char *const reserved[] = {"host", "connection", "content-length",
                "transfer-encoding", "te", "upgrade", "keep-alive"};
        static const char *const prefixes[] = {"proxy-", "webhook-", "ce-"};
        if (strlen(name) > LIMIT_HEADER_NAME)
                return reason_set(reason, -EINVAL, "a header name has at most %u characters",
                        LIMIT_HEADER_NAME);
        for (const char *p = name; *p || p == name; p++)
                if (!isalnum((unsigned char)*p) && (!*p || !strchr("!#$%&'*+-.^_`|~", *p)))
                        return reason_set(reason, -EINVAL, "not the name of an HTTP header");
        for (size_t i = 0; i < N_ELEMENTS(reserved); i++)
                if (strcasecmp(name, reserved[i]) == 0)
                        return reason_set(reason, -EINVAL, "this header is set by Belfry itself");
        for (size_t i = 0; i < N_ELEMENTS(prefixes); i++)
                if (strncasecmp(name, prefixes[i], strlen(prefixes[i])) == 0)
                        return reason_set(reason, -EINVAL,
                                "headers that begin with \"%s\" are set by Belfry itself",
                                prefixes[i]);
        return 0;
}

// ---- tables
static bool is_option_name(const char *s)
{
        size_t n = strlen(s);
        return n > 0 && n <= OPTION_NAME_MAX && s[0] >= 'a' && s[0] <= 'z' &&
               strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static int check_row(const Option *row, unsigned depth, Reason *reason)
{
        int64_t v;
        Option element = option_element(row);
        json_t *def = NULL;
        if (!is_option_name(row->name))
                return reason_set(reason, -EINVAL, "an option's name is not of good form");
        if (!option_type_to_string(row->type))
                return reason_set(reason, -EINVAL, "option %s: unknown type", row->name);
        const char *bounds[] = {row->min, row->max};
        for (size_t i = 0; i < N_ELEMENTS(bounds); i++)
                if (bounds[i] && option_parse_quantity(&element, slice_of(bounds[i]), &v) < 0)
                        return reason_set(reason, -EINVAL, "option %s: bad bound", row->name);
        if (row->type == OPTION_ENUM && option_n_values(row) == 0)
                return reason_set(reason, -EINVAL, "option %s: no values", row->name);
        if (row->type == OPTION_GROUP_LIST && (row->n_rows == 0 || row->def))
                return reason_set(reason, -EINVAL,
                        "option %s: a list of groups needs rows and has no "
                        "default",
                        row->name);
        if (option_has_rows(row->type))
                return option_check_rows(row->rows, row->n_rows, depth + 1, reason);
        int r = option_default(row, &def);
        json_decref(def);
        if (r == -EINVAL || r == -ERANGE)
                return reason_set(reason, -EINVAL, "option %s: bad default", row->name);
        return r;
}

int option_check_rows(const Option *rows, size_t n, unsigned depth, Reason *reason)
{
        if (n > OPTION_ROWS_MAX || depth > OPTION_GROUP_DEPTH)
                return reason_set(reason, -EINVAL, "more options or deeper groups than allowed");
        for (size_t i = 0; i < n; i++) {
                int r = check_row(&rows[i], depth, reason);
                if (r < 0)
                        return r;
                if (option_find(rows, i, rows[i].name))
                        return reason_set(reason, -EINVAL, "option %s: given twice", rows[i].name);
        }
        return 0;
}
