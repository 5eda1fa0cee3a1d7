// SPDX-License-Identifier: MIT
// JSON is copied as it stands once it is known to be one object; logfmt and named groups become
// strings, never numbers (a leading zero means something to somebody). No line is refused for its
// content: what does not fit is reported without fields.
#include "parse.h"

#include "base/json.h"
#include "base/limits.h"

#include <errno.h>

enum { OBJECT_DEPTH = LIMIT_JSON_DEPTH - 2, LOGFMT_FIELDS_MAX = 256 };

typedef enum ParserKind { PARSE_NONE, PARSE_JSON, PARSE_LOGFMT, PARSE_REGEX } ParserKind;

struct Parser {
        ParserKind kind;
        Regex *regex;
        RegexMatcher *matcher;
};

int parse_regex(Regex **ret, Slice pattern, Slice flags, size_t *ret_at, Reason *reason)
{
        char message[REGEX_MESSAGE_MAX] = "";
        int r = regex_new(ret, pattern, flags, ret_at, message);
        if (r == -EINVAL)
                return reason_set(reason, r, "the regular expression is wrong here: %s", message);
        return r < 0 ? reason_errno(reason, r, "regular expression") : 0;
}

// Where the slash stands that ends the pattern: the last one.
static int parser_regex(Parser *p, const char *text, size_t *ret_at, Reason *reason)
{
        const char *end = strrchr(text, '/');
        size_t n_flags = strspn(end + 1, "imsx");
        if (end == text || end[1 + n_flags]) {
                *ret_at = end == text ? 0 : (size_t)(end - text) + 1 + n_flags;
                return reason_set(reason, -EINVAL,
                        end == text ? "the regular expression has no slash at its end"
                                    : "expected letters of imsx behind the regular expression");
        }
        p->kind = PARSE_REGEX;
        int r = parse_regex(&p->regex, slice_mem(text + 1, (size_t)(end - text) - 1),
                slice_of(end + 1), ret_at, reason);
        if (r < 0) {
                ++*ret_at;
                return r;
        }
        unsigned named = 0;
        for (unsigned i = 1; i <= regex_n_groups(p->regex); i++)
                named += regex_group_name(p->regex, i).len > 0;
        if (named == 0) {
                *ret_at = 0;
                return reason_set(reason, -EINVAL,
                        "the regular expression names no group: (?<name>...) makes "
                        "data.fields.name");
        }
        return regex_matcher_new(&p->matcher);
}

int parser_new(Parser **ret, const char *text, size_t *ret_at, Reason *reason)
{
        static const char *const words[] = {"none", "json", "logfmt"};
        Parser *p = calloc(1, sizeof *p);
        if (!p)
                return reason_errno(reason, -ENOMEM, "parse");
        *ret_at = 0;
        int r = -EINVAL;
        for (size_t i = 0; i < N_ELEMENTS(words); i++)
                if (strcmp(text, words[i]) == 0) {
                        p->kind = (ParserKind)i;
                        r = 0;
                }
        if (r < 0 && text[0] == '/')
                r = parser_regex(p, text, ret_at, reason);
        else if (r < 0)
                (void)reason_set(reason, r,
                        "expected none, json, logfmt or a regular expression between slashes, not "
                        "\"%.40s\"",
                        text);
        if (r < 0) {
                (void)parser_free(p);
                return r;
        }
        *ret = p;
        return 0;
}

Parser *parser_free(Parser *p)
{
        if (!p)
                return NULL;
        (void)regex_free(p->regex);
        (void)regex_matcher_free(p->matcher);
        free(p);
        return NULL;
}

bool parser_is_none(const Parser *p)
{
        return p->kind == PARSE_NONE;
}

// ---- the three ways

static Slice trim(Slice s)
{
        while (s.len > 0 && strchr(" \t\r\n", s.data[0])) {
                s.data++;
                s.len--;
        }
        while (s.len > 0 && strchr(" \t\r\n", s.data[s.len - 1]))
                s.len--;
        return s;
}

static bool parse_json(Slice line, Buf *out)
{
        size_t at;
        line = trim(line);
        if (line.len < 2 || line.data[0] != '{' || json_check(line, OBJECT_DEPTH, &at) < 0)
                return false;
        buf_add_slice(out, line);
        return true;
}

static bool is_key_byte(char c)
{
        return (unsigned char)c > ' ' && c != '=' && c != '"' && c != 0x7f;
}

// "..." with backslash escapes as Go and JSON write them. Returns what is behind it, NULL when it
// does not end; *ret_raw is what stood between the quotes.
static const char *quoted_end(const char *p, const char *end, Slice *ret_raw)
{
        const char *from = ++p;
        for (; p < end && *p != '"'; p++)
                if (*p == '\\' && p + 1 < end)
                        p++;
        if (p >= end)
                return NULL;
        *ret_raw = slice_mem(from, (size_t)(p - from));
        return p + 1;
}

// The value is already escaped for JSON when it is valid there; else backslashes are bytes.
static void add_quoted(JsonWriter *w, Slice raw)
{
        size_t at;
        if (json_check(slice_mem(raw.data - 1, raw.len + 2), 1, &at) == 0)
                json_raw(w, slice_mem(raw.data - 1, raw.len + 2));
        else
                json_add_string(w, raw);
}

// key=value, key="value", key= and a key alone (true). Anything else, and a line without one "=", is
// no logfmt.
static bool parse_logfmt(Slice line, Buf *out)
{
        const char *p = line.data, *end = p + line.len;
        size_t begin = out->len;
        unsigned n = 0, pairs = 0;
        JsonWriter w = json_writer(out);
        json_begin(&w, '{');
        for (;;) {
                while (p < end && strchr(" \t\r\n", *p))
                        p++;
                if (p == end)
                        break;
                const char *key = p;
                while (p < end && is_key_byte(*p))
                        p++;
                if (p == key || n++ == LOGFMT_FIELDS_MAX) {
                        pairs = 0;
                        break;
                }
                json_key_slice(&w, slice_mem(key, (size_t)(p - key)));
                if (p == end || *p != '=') {
                        json_bool(&w, true);
                        continue;
                }
                pairs++;
                const char *value = ++p;
                if (p < end && *p == '"') {
                        Slice raw;
                        p = quoted_end(p, end, &raw);
                        if (!p) {
                                pairs = 0;
                                break;
                        }
                        add_quoted(&w, raw);
                        continue;
                }
                while (p < end && !strchr(" \t\r\n", *p))
                        p++;
                json_add_string(&w, slice_mem(value, (size_t)(p - value)));
        }
        json_end(&w, '}');
        if (pairs == 0 && !out->error)
                out->len = begin;
        return pairs > 0;
}

static bool parse_groups(const Parser *p, Slice line, Buf *out)
{
        Slice groups[REGEX_GROUPS_MAX];
        if (regex_match(p->regex, p->matcher, line, groups) <= 0)
                return false;
        JsonWriter w = json_writer(out);
        json_begin(&w, '{');
        for (unsigned i = 1; i <= regex_n_groups(p->regex); i++) {
                Slice name = regex_group_name(p->regex, i);
                if (name.len == 0 || !groups[i].data)
                        continue;
                json_key_slice(&w, name);
                json_add_string(&w, groups[i]);
        }
        json_end(&w, '}');
        return true;
}

bool parser_parse(const Parser *p, Slice line, Buf *out)
{
        switch (p->kind) {
        case PARSE_JSON:
                return parse_json(line, out);
        case PARSE_LOGFMT:
                return parse_logfmt(line, out);
        case PARSE_REGEX:
                return parse_groups(p, line, out);
        default:
                return false;
        }
}
