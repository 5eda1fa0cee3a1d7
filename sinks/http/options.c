// SPDX-License-Identifier: MIT
// The option table of the http sink. The prose in a row is the manual (belfry-http(5)).

#include "options.h"

static const char *const http_versions[] = {"auto", "1.1", "2", NULL};

#define AT(ctype, member) OPTION_MEMBER(HttpOptions, ctype, member)

const Option http_options[] = {
        {.name = "url",
                .type = OPTION_URL,
                .offset = AT(char *, url),
                .flags = OPTION_REQUIRED | OPTION_RELOADABLE | OPTION_REFERENCE,
                .since = "0.1",
                .prose = "Where events are posted: http:// or https://, or a secret reference to a "
                         "file "
                         "or credential that holds the whole URL. A user name and password in it "
                         "are "
                         "accepted only behind a reference. A fragment is refused."},
        {.name = "headers",
                .type = OPTION_STRING_MAP,
                .offset = AT(StringMap, headers),
                .flags = OPTION_RELOADABLE | OPTION_REFERENCE | OPTION_HEADERS,
                .since = "0.1",
                .prose = "Request headers added to every request, such as Authorization = "
                         "\"credential:token\". Values may be secret references. Host, Connection, "
                         "Content-Length, Transfer-Encoding, TE, Upgrade, Keep-Alive, Expect, "
                         "Proxy-*, "
                         "webhook-* and ce-* belong to belfry and are refused. A header of the "
                         "same name "
                         "set by the rule goes first."},
        {.name = "query",
                .type = OPTION_STRING_MAP,
                .offset = AT(StringMap, query),
                .flags = OPTION_RELOADABLE | OPTION_REFERENCE,
                .since = "0.1",
                .prose = "Parameters appended to the URL's query, percent-encoded. Values may be "
                         "secret "
                         "references."},
        {.name = "secret",
                .type = OPTION_SECRET_LIST,
                .offset = AT(char **, secret),
                .flags = OPTION_RELOADABLE,
                .since = "0.1",
                .prose = "Keys that sign each request after Standard Webhooks: one reference or a "
                         "list, "
                         "the newest first, at most 8. Every key adds its signature, so that a "
                         "receiver "
                         "may change keys in its own time. Each holds whsec_ and 24 to 64 bytes in "
                         "base64 "
                         "(HMAC-SHA256, v1) or whsk_ and an ed25519 key pair in base64 (v1a). "
                         "Without "
                         "*secret* requests are not signed."},
        {.name = "timeout",
                .type = OPTION_DURATION,
                .offset = AT(uint64_t, timeout_usec),
                .flags = OPTION_RELOADABLE,
                .unit = "s",
                .min = "100ms",
                .max = "10m",
                .def = "15s",
                .since = "0.1",
                .prose = "For one whole attempt: looking the name up, connecting, sending, and "
                         "reading "
                         "the answer to the end of its body."},
        {.name = "connect_timeout",
                .type = OPTION_DURATION,
                .offset = AT(uint64_t, connect_timeout_usec),
                .flags = OPTION_RELOADABLE,
                .unit = "s",
                .min = "100ms",
                .max = "5m",
                .def = "5s",
                .since = "0.1",
                .prose = "For looking the name up, connecting and the TLS handshake together; it "
                         "is part "
                         "of *timeout*."},
        {.name = "response_limit",
                .type = OPTION_SIZE,
                .offset = AT(uint64_t, response_limit),
                .flags = OPTION_RELOADABLE,
                .unit = "bytes",
                .min = "0",
                .max = "16M",
                .def = "64K",
                .since = "0.1",
                .prose = "How much of the answer's body is read (and thrown away) to keep the "
                         "connection "
                         "usable. A longer body closes the connection; what the status said "
                         "stands."},
        {.name = "ca",
                .type = OPTION_PATH,
                .offset = AT(char *, ca),
                .flags = OPTION_RELOADABLE | OPTION_CAGE_READ,
                .since = "0.1",
                .prose = "A PEM file with the certificate authorities to trust for this endpoint, "
                         "in "
                         "place of those of the system."},
        {.name = "verify",
                .type = OPTION_BOOL,
                .offset = AT(bool, verify),
                .flags = OPTION_RELOADABLE,
                .def = "true",
                .since = "0.1",
                .prose = "Whether the server's certificate and name are verified. Switched off, "
                         "anybody "
                         "on the way can read and change what is sent; belfry status shows it. "
                         "Prefer "
                         "*ca*."},
        {.name = "http",
                .type = OPTION_ENUM,
                .offset = AT(int, http),
                .flags = OPTION_RELOADABLE,
                .values = http_versions,
                .since = "0.1",
                .prose = "The protocol version. auto: over TLS HTTP/2 where the server offers it, "
                         "else "
                         "1.1. 1.1: never HTTP/2. 2: as auto, and HTTP/2 without TLS for http:// "
                         "URLs "
                         "(the server must know that beforehand)."},
        {.name = "allow",
                .type = OPTION_STRING_LIST,
                .offset = AT(char **, allow),
                .flags = OPTION_RELOADABLE,
                .since = "0.1",
                .prose = "Networks (ADDRESS/BITS) that may be connected to although they are "
                         "denied by "
                         "default: link-local and cloud metadata addresses (169.254.0.0/16, "
                         "fe80::/10, "
                         "fd00:ec2::254), 0.0.0.0/8, multicast and broadcast."},
        {.name = "deny",
                .type = OPTION_STRING_LIST,
                .offset = AT(char **, deny),
                .flags = OPTION_RELOADABLE,
                .since = "0.1",
                .prose =
                        "Networks (ADDRESS/BITS) that must not be connected to, in addition; "
                        "*deny* wins "
                        "over *allow*. The address of the socket counts, whatever name led to it."},
};
const size_t n_http_options = N_ELEMENTS(http_options);
