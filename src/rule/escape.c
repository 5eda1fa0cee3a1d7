// SPDX-License-Identifier: MIT
// Escaping by context. Invariant: whatever goes in, what comes out cannot end the string, the
// parameter, the element or the header it stands in.
#include "rule/escape.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include <strings.h>

static bool is_alnum(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void escape_percent(Buf *out, Slice s, bool form)
{
        static const char hex[] = "0123456789ABCDEF";
        for (size_t i = 0; i < s.len; i++) {
                char c = s.data[i];
                unsigned char u = (unsigned char)c;
                if (is_alnum(c) || (c && strchr(form ? "-._*" : "-._~", c))) {
                        buf_add_char(out, c);
                } else if (form && c == ' ') {
                        buf_add_char(out, '+');
                } else {
                        char text[3] = {'%', hex[u >> 4], hex[u & 15]};
                        buf_add(out, text, sizeof(text));
                }
        }
}

static void escape_xml(Buf *out, Slice s)
{
        static const struct {
                char c;
                const char *text;
        } named[] = {
                {'<', "&lt;"},
                {'>', "&gt;"},
                {'&', "&amp;"},
                {'"', "&quot;"},
                {'\'', "&#39;"},
                {'\t', "&#9;"},
                {'\n', "&#10;"},
                {'\r', "&#13;"},
        };
        while (s.len > 0) {
                size_t n = text_utf8_len(s);
                const char *text = NULL;
                for (size_t i = 0; i < N_ELEMENTS(named); i++)
                        if (named[i].c == s.data[0])
                                text = named[i].text;
                // U+FFFE and U+FFFF are no XML characters either.
                bool none = n == 0 || (unsigned char)s.data[0] < ' ' ||
                            (n == 3 && memcmp(s.data, "\xef\xbf", 2) == 0 &&
                                    (unsigned char)s.data[2] >= 0xbe);
                if (text)
                        buf_add_str(out, text);
                else if (none)
                        buf_add_str(out, "\xef\xbf\xbd");
                else
                        buf_add(out, s.data, n);
                n = n ? n : 1;
                s = (Slice){s.data + n, s.len - n};
        }
}

void escape_add(Buf *out, Escape how, Slice text)
{
        switch (how) {
        case ESCAPE_JSON:
                json_add_escaped(out, text);
                break;
        case ESCAPE_URL:
        case ESCAPE_FORM:
                escape_percent(out, text, how == ESCAPE_FORM);
                break;
        case ESCAPE_XML:
                escape_xml(out, text);
                break;
        default:
                buf_add_slice(out, text);
        }
}

// What would break framing or pretend to be ours.
static const char *const forbidden_names[] = {
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "upgrade",
        "keep-alive",
};
static const char *const forbidden_prefixes[] = {"proxy-", "webhook-", "ce-"};

const char *header_name_fault(Slice name)
{
        if (name.len == 0)
                return "a header needs a name";
        if (name.len > LIMIT_HEADER_NAME)
                return "the header's name is too long";
        for (size_t i = 0; i < name.len; i++)
                if (!is_alnum(name.data[i]) &&
                        (!name.data[i] || !strchr("!#$%&'*+-.^_`|~", name.data[i])))
                        return "a header's name consists of letters, digits and hyphens";
        for (size_t i = 0; i < N_ELEMENTS(forbidden_names); i++)
                if (name.len == strlen(forbidden_names[i]) &&
                        strncasecmp(name.data, forbidden_names[i], name.len) == 0)
                        return "this header belongs to the HTTP connection and cannot be set";
        for (size_t i = 0; i < N_ELEMENTS(forbidden_prefixes); i++) {
                size_t n = strlen(forbidden_prefixes[i]);
                if (name.len >= n && strncasecmp(name.data, forbidden_prefixes[i], n) == 0)
                        return "headers that begin with proxy-, webhook- or ce- cannot be set";
        }
        return NULL;
}

const char *header_value_fault(Slice value)
{
        if (value.len > LIMIT_HEADER_VALUE)
                return "the value of a header is longer than 4096 bytes";
        for (size_t i = 0; i < value.len; i++) {
                unsigned char c = (unsigned char)value.data[i];
                bool c1 = c == 0xc2 && i + 1 < value.len && (unsigned char)value.data[i + 1] < 0xa0;
                if (c < ' ' || c == 0x7f || c1)
                        return "the value of a header has a line break or another control "
                               "character";
        }
        return NULL;
}
