// SPDX-License-Identifier: MIT
// Validation of JSON in one pass without memory: what is open is one bit a level (object or array),
// so the depth is at most 64 whatever the caller allows. It runs for each event; runs of plain
// ASCII are skipped eight bytes at a time. Duplicate keys and number ranges are not its business.
#include "base/json.h"

#include "base/json_scan.h"
#include "base/limits.h"
#include <errno.h>

_Static_assert(LIMIT_JSON_DEPTH <= 64, "open containers are the bits of one word");

static const char *scan_escape(const char *at, const char *end, const char **ret_fault)
{
        *ret_fault = at;
        if (++at == end)
                return NULL;
        switch (*at) {
        case '"':
        case '\\':
        case '/':
        case 'b':
        case 'f':
        case 'n':
        case 'r':
        case 't':
                return at + 1;
        case 'u':
                break;
        default:
                return NULL;
        }
        at++;
        for (int i = 0; i < 4; i++, at++)
                if (at == end || json_hex_digit(*at) < 0)
                        return NULL;
        return at;
}

const char *json_scan_string(
        const char *at, const char *end, bool *ret_escaped, const char **ret_fault)
{
        bool escaped = false;
        for (;;) {
                at = json_plain_run(at, end);
                if (at == end || (unsigned char)*at < 0x20) {
                        *ret_fault = at;
                        return NULL;
                }
                if (*at == '"')
                        break;
                if (*at == '\\') {
                        escaped = true;
                        at = scan_escape(at, end, ret_fault);
                        if (!at)
                                return NULL;
                        continue;
                }
                size_t n = text_utf8_len(slice_mem(at, (size_t)(end - at)));
                if (n == 0) {
                        *ret_fault = at;
                        return NULL;
                }
                at += n;
        }
        *ret_escaped = escaped;
        return at + 1;
}

static inline bool is_digit(const char *at, const char *end)
{
        return at < end && *at >= '0' && *at <= '9';
}

const char *json_scan_number(const char *at, const char *end, const char **ret_fault)
{
        if (at < end && *at == '-')
                at++;
        *ret_fault = at;
        if (!is_digit(at, end))
                return NULL;
        if (*at == '0')
                at++;
        else
                while (is_digit(at, end))
                        at++;
        if (at < end && *at == '.') {
                *ret_fault = ++at;
                if (!is_digit(at, end))
                        return NULL;
                while (is_digit(at, end))
                        at++;
        }
        if (at < end && (*at == 'e' || *at == 'E')) {
                at++;
                if (at < end && (*at == '+' || *at == '-'))
                        at++;
                *ret_fault = at;
                if (!is_digit(at, end))
                        return NULL;
                while (is_digit(at, end))
                        at++;
        }
        return at;
}

const char *json_scan_literal(
        const char *at, const char *end, Slice literal, const char **ret_fault)
{
        if (slice_starts(slice_mem(at, (size_t)(end - at)), literal))
                return at + literal.len;
        *ret_fault = at;
        return NULL;
}

typedef struct Check {
        const char *at, *end;
        const char *fault;
        uint64_t objects; // bit d is set when the container at depth d + 1 is an object
        unsigned depth, max_depth;
} Check;

// A key and its colon, `at` on the opening quote.
static bool check_key(Check *c)
{
        bool escaped;
        c->fault = c->at;
        if (c->at == c->end || *c->at != '"')
                return false;
        c->at = json_scan_string(c->at + 1, c->end, &escaped, &c->fault);
        if (!c->at)
                return false;
        c->at = json_skip_space(c->at, c->end);
        c->fault = c->at;
        if (c->at == c->end || *c->at != ':')
                return false;
        c->at = json_skip_space(c->at + 1, c->end);
        return true;
}

static bool check_scalar(Check *c)
{
        bool escaped;
        c->fault = c->at;
        if (c->at == c->end)
                return false;
        switch (*c->at) {
        case '"':
                c->at = json_scan_string(c->at + 1, c->end, &escaped, &c->fault);
                break;
        case 't':
                c->at = json_scan_literal(c->at, c->end, SLICE_LIT("true"), &c->fault);
                break;
        case 'f':
                c->at = json_scan_literal(c->at, c->end, SLICE_LIT("false"), &c->fault);
                break;
        case 'n':
                c->at = json_scan_literal(c->at, c->end, SLICE_LIT("null"), &c->fault);
                break;
        default:
                c->at = json_scan_number(c->at, c->end, &c->fault);
                break;
        }
        return c->at != NULL;
}

// Opens containers until a value is complete: 1 = complete, 0 = a further value must be read, < 0.
static int check_begin(Check *c)
{
        char open = c->at < c->end ? *c->at : 0;
        if (open != '{' && open != '[')
                return check_scalar(c) ? 1 : -EBADMSG;
        c->fault = c->at;
        if (c->depth == c->max_depth)
                return -E2BIG;
        bool object = open == '{';
        c->objects = (c->objects & ~(UINT64_C(1) << c->depth)) | (uint64_t)object << c->depth;
        c->depth++;
        c->at = json_skip_space(c->at + 1, c->end);
        if (c->at < c->end && *c->at == (object ? '}' : ']')) {
                c->at++;
                c->depth--;
                return 1;
        }
        return !object || check_key(c) ? 0 : -EBADMSG;
}

// Behind a complete value: closes what ends here and moves to the next value, if there is one.
static int check_behind(Check *c)
{
        while (c->depth > 0) {
                bool object = c->objects >> (c->depth - 1) & 1;
                c->at = json_skip_space(c->at, c->end);
                c->fault = c->at;
                if (c->at == c->end)
                        return -EBADMSG;
                if (*c->at == ',') {
                        c->at = json_skip_space(c->at + 1, c->end);
                        return !object || check_key(c) ? 0 : -EBADMSG;
                }
                if (*c->at != (object ? '}' : ']'))
                        return -EBADMSG;
                c->at++;
                c->depth--;
        }
        c->at = json_skip_space(c->at, c->end);
        c->fault = c->at;
        return c->at == c->end ? 1 : -EBADMSG;
}

int json_check(Slice text, unsigned max_depth, size_t *ret_offset)
{
        Check c = {.at = text.data, .end = text.data + text.len, .max_depth = max_depth};
        if (c.max_depth > LIMIT_JSON_DEPTH)
                c.max_depth = LIMIT_JSON_DEPTH;
        if (text.len == 0)
                c.at = c.end = "";
        const char *start = c.at;
        c.at = json_skip_space(c.at, c.end);
        int r;
        do {
                r = check_begin(&c);
                if (r == 1)
                        r = check_behind(&c);
        } while (r == 0);
        if (r < 0 && ret_offset)
                *ret_offset = (size_t)(c.fault - start);
        return r < 0 ? r : 0;
}
