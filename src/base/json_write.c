// SPDX-License-Identifier: MIT
// Writing JSON into a Buf. Runs that need no escape are copied whole. What comes out is valid
// UTF-8 whatever went in; whether brackets match is the caller's business.
#include "base/json.h"

#include "base/json_scan.h"

JsonWriter json_writer(Buf *b)
{
        return (JsonWriter){.buf = b};
}

static void separate(JsonWriter *w)
{
        if (w->comma)
                buf_add_char(w->buf, ',');
        w->comma = true;
}

void json_begin(JsonWriter *w, char open)
{
        separate(w);
        buf_add_char(w->buf, open);
        w->comma = false;
}

void json_end(JsonWriter *w, char close)
{
        buf_add_char(w->buf, close);
        w->comma = true;
}

void json_key(JsonWriter *w, const char *key)
{
        size_t n = strlen(key);
        size_t comma = w->comma;
        char *at = (char *)buf_grow(w->buf, n + 3 + comma);
        w->comma = false;
        if (!at)
                return;
        if (comma)
                *at++ = ',';
        *at++ = '"';
        memcpy(at, key, n);
        memcpy(at + n, "\":", 2);
}

void json_key_slice(JsonWriter *w, Slice key)
{
        json_add_string(w, key);
        buf_add_char(w->buf, ':');
        w->comma = false;
}

static void add_escape(Buf *b, unsigned char c)
{
        static const char hex[] = "0123456789abcdef";
        static const char letters[32] = {
                ['\b'] = 'b',
                ['\f'] = 'f',
                ['\n'] = 'n',
                ['\r'] = 'r',
                ['\t'] = 't',
        };
        char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        if (c < 0x20 && !letters[c]) {
                buf_add(b, text, 6);
                return;
        }
        text[1] = c < 0x20 ? letters[c] : (char)c;
        buf_add(b, text, 2);
}

void json_add_escaped(Buf *b, Slice s)
{
        if (s.len == 0)
                return;
        const char *at = s.data, *end = s.data + s.len, *clean = at;
        while ((at = json_plain_run(at, end)) < end) {
                unsigned char c = (unsigned char)*at;
                size_t n = c < 0x80 ? 0 : text_utf8_len(slice_mem(at, (size_t)(end - at)));
                if (n > 0) {
                        at += n;
                        continue;
                }
                buf_add(b, clean, (size_t)(at - clean));
                if (c >= 0x80)
                        buf_add(b, "\xef\xbf\xbd", 3);
                else
                        add_escape(b, c);
                clean = ++at;
        }
        buf_add(b, clean, (size_t)(end - clean));
}

void json_add_string(JsonWriter *w, Slice s)
{
        separate(w);
        buf_add_char(w->buf, '"');
        json_add_escaped(w->buf, s);
        buf_add_char(w->buf, '"');
}

void json_text(JsonWriter *w, const char *text)
{
        if (text)
                json_add_string(w, slice_of(text));
        else
                json_add_null(w);
}

void json_u64(JsonWriter *w, uint64_t v)
{
        separate(w);
        buf_add_u64(w->buf, v);
}

void json_i64(JsonWriter *w, int64_t v)
{
        separate(w);
        if (v < 0)
                buf_add_char(w->buf, '-');
        buf_add_u64(w->buf, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void json_bool(JsonWriter *w, bool v)
{
        json_raw(w, v ? SLICE_LIT("true") : SLICE_LIT("false"));
}

void json_add_null(JsonWriter *w)
{
        json_raw(w, SLICE_LIT("null"));
}

void json_raw(JsonWriter *w, Slice value)
{
        separate(w);
        buf_add_slice(w->buf, value);
}
