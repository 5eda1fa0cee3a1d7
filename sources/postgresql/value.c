// SPDX-License-Identifier: MIT
// PostgreSQL's text forms to JSON. Each kind first looks whether the text has the form its type
// promises, and only then writes it as more than a string: so the result is valid JSON whatever came.
// Recursion: an array's dimensions are a loop; an array inside an array (possible through a domain
// only) is a call, and types.c lets no more than two stand in each other.
#include "value.h"

#include "base/digest.h"
#include "base/json.h"

#include <errno.h>

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

// "-12.50e+3" as RFC 8259 has numbers.
static bool is_number(Slice s)
{
        const char *at = s.data, *end = s.data + s.len;

        if (at < end && *at == '-')
                at++;
        if (at == end || !is_digit(*at))
                return false;
        if (*at++ == '0' && at < end && is_digit(*at))
                return false;
        while (at < end && is_digit(*at))
                at++;
        if (at < end && *at == '.') {
                if (++at == end || !is_digit(*at))
                        return false;
                while (at < end && is_digit(*at))
                        at++;
        }
        if (at < end && (*at | 0x20) == 'e') {
                at++;
                if (at < end && (*at == '+' || *at == '-'))
                        at++;
                if (at == end || !is_digit(*at))
                        return false;
                while (at < end && is_digit(*at))
                        at++;
        }
        return at == end;
}

static void write_string(Buf *out, Slice s)
{
        buf_add_char(out, '"');
        json_add_escaped(out, s);
        buf_add_char(out, '"');
}

// Text that is known to need no escape.
static void write_quoted(Buf *out, Slice s)
{
        char *at = (char *)buf_grow(out, s.len + 2);
        if (!at)
                return;
        at[0] = '"';
        memcpy(at + 1, s.data, s.len);
        at[s.len + 1] = '"';
}

static void write_number(Buf *out, Slice s, bool as_number)
{
        if (!is_number(s))
                write_string(out, s);
        else if (as_number)
                buf_add_slice(out, s);
        else
                write_quoted(out, s);
}

static void write_json(Buf *out, Slice s)
{
        if (json_check(s, VALUE_JSON_DEPTH, NULL) == 0)
                buf_add_slice(out, s);
        else
                write_string(out, s);
}

static int hex_value(char c)
{
        if (is_digit(c))
                return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// A piece at a time, so that a large value needs no second copy.
static void write_bytes(Buf *out, Slice s)
{
        uint8_t piece[768]; // of a multiple of three: no padding inside
        size_t n = 0, start = out->len;

        if (s.len < 2 || s.len % 2 || s.data[0] != '\\' || s.data[1] != 'x') {
                write_string(out, s);
                return;
        }
        buf_add_char(out, '"');
        for (size_t i = 2; i < s.len; i += 2) {
                int high = hex_value(s.data[i]), low = hex_value(s.data[i + 1]);
                if ((high | low) < 0) {
                        out->len = start;
                        write_string(out, s);
                        return;
                }
                piece[n++] = (uint8_t)(high << 4 | low);
                if (n == sizeof piece) {
                        digest_base64(out, slice_mem(piece, n));
                        n = 0;
                }
        }
        digest_base64(out, slice_mem(piece, n));
        buf_add_char(out, '"');
}

// Does `s` begin as `form` says? 0 stands for any digit.
static bool has_form(Slice s, const char *form)
{
        size_t n = strlen(form);

        if (s.len < n)
                return false;
        for (size_t i = 0; i < n; i++)
                if (form[i] == '0' ? !is_digit(s.data[i]) : s.data[i] != form[i])
                        return false;
        return true;
}

// "2026-11-23 09:33:00.5+00": RFC 3339 wants a T, and an offset with minutes, or Z.
static void write_timestamptz(Buf *out, Slice s)
{
        size_t n = sizeof "2026-11-23 09:33:00" - 1;

        if (!has_form(s, "0000-00-00 00:00:00")) {
                write_string(out, s);
                return;
        }
        if (n < s.len && s.data[n] == '.')
                for (n++; n < s.len && is_digit(s.data[n]); n++)
                        continue;
        Slice zone = {s.data + n, s.len - n};
        bool minutes = zone.len == 6 && has_form((Slice){zone.data + 1, 5}, "00:00");
        bool hours = zone.len == 3 && has_form((Slice){zone.data + 1, 2}, "00");
        if (s.data[n - 1] == '.' || !(minutes || hours) ||
                (zone.data[0] != '+' && zone.data[0] != '-')) {
                write_string(out, s);
                return;
        }
        char *at = (char *)buf_grow(out, n + 2);
        if (!at)
                return;
        at[0] = '"';
        memcpy(at + 1, s.data, n);
        at[1 + 10] = 'T';
        at[n + 1] = 'Z';
        if (slice_eq(zone, SLICE_LIT("+00"))) {
                buf_add_char(out, '"');
                return;
        }
        out->len--;
        buf_add_slice(out, zone);
        buf_add_str(out, hours ? ":00\"" : "\"");
}

// One element between quotes, whose escapes are undone before its type looks at it.
static const char *write_quoted_element(
        Buf *out, const ValueType *type, const char *at, const char *end, bool numbers)
{
        const char *start = at;
        bool escaped = false;

        while (at < end && *at != '"') {
                if (*at == '\\') {
                        escaped = true;
                        at++;
                }
                at++;
        }
        if (at >= end)
                return NULL;
        Slice raw = {start, (size_t)(at - start)};
        if (!escaped) {
                value_write(out, type, raw, numbers);
                return at + 1;
        }
        _cleanup_(buf_deinitp) Buf plain = BUF_INIT(raw.len);
        for (const char *p = start; p < at; p++) {
                p += *p == '\\';
                buf_add_char(&plain, *p);
        }
        if (plain.error < 0)
                out->error = plain.error;
        else
                value_write(out, type, buf_slice(&plain), numbers);
        return at + 1;
}

static const char *write_element(
        Buf *out, const ValueType *type, const char *at, const char *end, bool numbers)
{
        if (at < end && *at == '"')
                return write_quoted_element(out, type->element, at + 1, end, numbers);
        const char *start = at;
        while (at < end && *at != type->delimiter && *at != '}' && *at != '{' && *at != '"' &&
                *at != '\\')
                at++;
        Slice s = {start, (size_t)(at - start)};
        if (s.len == 0)
                return NULL;
        if (slice_eq(s, SLICE_LIT("NULL")))
                buf_add(out, "null", 4);
        else
                value_write(out, type->element, s, numbers);
        return at;
}

// The elements, dimension by dimension: NULL at a fault, else the place behind the last brace.
static const char *write_elements(
        Buf *out, const ValueType *type, const char *at, const char *end, bool numbers)
{
        unsigned depth = 0;

        while (at && at < end) {
                if (*at == '{') {
                        if (++depth > VALUE_ARRAY_DEPTH)
                                return NULL;
                        buf_add_char(out, '[');
                        at++;
                        if (at == end || *at != '}')
                                continue;
                } else {
                        at = write_element(out, type, at, end, numbers);
                }
                // Behind a value, or before the brace of an empty list.
                while (at && at < end && *at == '}') {
                        buf_add_char(out, ']');
                        at++;
                        if (--depth == 0)
                                return at;
                }
                if (!at || at == end || *at != type->delimiter)
                        return NULL;
                buf_add_char(out, ',');
                at++;
        }
        return NULL;
}

static void write_array(Buf *out, const ValueType *type, Slice s, bool numbers)
{
        const char *at = s.data, *end = s.data + s.len;
        size_t start = out->len;

        if (at < end && *at == '[') {
                const char *equals = memchr(at, '=', s.len);
                at = equals ? equals + 1 : end;
        }
        if (at < end && *at == '{')
                at = write_elements(out, type, at, end, numbers);
        else
                at = NULL;
        if (at == end)
                return;
        out->len = start;
        write_string(out, s);
}

void value_write(Buf *out, const ValueType *type, Slice text, bool numbers)
{
        switch (type->kind) {
        case VALUE_BOOL:
                if (slice_eq(text, SLICE_LIT("t")))
                        buf_add(out, "true", 4);
                else if (slice_eq(text, SLICE_LIT("f")))
                        buf_add(out, "false", 5);
                else
                        write_string(out, text);
                break;
        case VALUE_INTEGER:
        case VALUE_FLOAT:
                write_number(out, text, true);
                break;
        case VALUE_LONG:
                write_number(out, text, numbers);
                break;
        case VALUE_JSON:
                write_json(out, text);
                break;
        case VALUE_BYTES:
                write_bytes(out, text);
                break;
        case VALUE_TIMESTAMPTZ:
                write_timestamptz(out, text);
                break;
        case VALUE_ARRAY:
                write_array(out, type, text, numbers);
                break;
        case VALUE_STRING:
        case _VALUE_KIND_MAX:
                write_string(out, text);
                break;
        }
}
