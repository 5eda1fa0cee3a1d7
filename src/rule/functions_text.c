// SPDX-License-Identifier: MIT
// Functions on strings. Invariants: what is valid UTF-8 stays so (cuts fall between characters, case
// changes touch A to Z only); results share the argument's bytes where they can.
#include "rule/functions.h"

#include "base/text.h"
#include "rule/compare.h"
#include "rule/render.h"
#include <errno.h>

static void map_case(Evaluation *e, Slice s, char first, char last, Value *ret)
{
        buf_reset(&e->scratch);
        uint8_t *out = s.len <= LIMIT_VALUE ? buf_grow(&e->scratch, s.len) : NULL;
        if (!out && s.len > LIMIT_VALUE)
                e->scratch.error = -ENOBUFS;
        for (size_t i = 0; out && i < s.len; i++)
                out[i] = (uint8_t)(s.data[i] >= first && s.data[i] <= last ? s.data[i] ^ 0x20
                                                                           : s.data[i]);
        evaluation_take_scratch(e, VALUE_STRING, ret);
}

void function_lower(Evaluation *e, const Value *args, Value *ret)
{
        map_case(e, args[0].text, 'A', 'Z', ret);
}

void function_upper(Evaluation *e, const Value *args, Value *ret)
{
        map_case(e, args[0].text, 'a', 'z', ret);
}

static bool is_space(char c)
{
        return c == ' ' || (c >= '\t' && c <= '\r');
}

void function_trim(Evaluation *e, const Value *args, Value *ret)
{
        Slice s = args[0].text;
        while (s.len > 0 && is_space(s.data[s.len - 1]))
                s.len--;
        while (s.len > 0 && is_space(s.data[0]))
                s = (Slice){s.data + 1, s.len - 1};
        *ret = value_string(s);
}

void function_cut(Evaluation *e, const Value *args, Value *ret)
{
        Slice s = args[0].text;
        char room[DURATION_TEXT_MAX];
        Decimal d;
        int64_t n;
        if (!value_to_number(&args[1], &d, room) || !decimal_int64(&d, &n) || n < 0) {
                *ret = VALUE_INIT(VALUE_MISSING);
                return;
        }
        size_t at = 0;
        for (; at < s.len && n > 0; n--) {
                size_t step = text_utf8_len((Slice){s.data + at, s.len - at});
                at += step ? step : 1;
        }
        *ret = value_string((Slice){s.data, at});
}

// The last part of a path without slashes at its end.
static Slice path_trim(Slice s)
{
        while (s.len > 1 && s.data[s.len - 1] == '/')
                s.len--;
        return s;
}

static Slice path_base(Slice s)
{
        s = path_trim(s);
        const char *slash = s.len > 1 ? memrchr(s.data, '/', s.len) : NULL;
        if (!slash)
                return s;
        size_t skip = (size_t)(slash - s.data) + 1;
        return (Slice){s.data + skip, s.len - skip};
}

void function_basename(Evaluation *e, const Value *args, Value *ret)
{
        *ret = value_string(path_base(args[0].text));
}

void function_dirname(Evaluation *e, const Value *args, Value *ret)
{
        Slice s = path_trim(args[0].text);
        const char *slash = s.len > 0 ? memrchr(s.data, '/', s.len) : NULL;
        if (!slash) {
                *ret = value_string(SLICE_LIT("."));
                return;
        }
        s.len = (size_t)(slash - s.data);
        *ret = value_string(s.len ? path_trim(s) : SLICE_LIT("/"));
}

void function_extension(Evaluation *e, const Value *args, Value *ret)
{
        Slice base = path_base(args[0].text);
        const char *dot = base.data && base.len > 0 ? memrchr(base.data, '.', base.len) : NULL;
        if (!dot || dot == base.data) { // .bashrc has none
                *ret = value_string(SLICE_LIT(""));
                return;
        }
        size_t skip = (size_t)(dot - base.data) + 1;
        *ret = value_string((Slice){base.data + skip, base.len - skip});
}

void function_replace(Evaluation *e, const Value *args, Value *ret)
{
        Slice s = args[0].text, from = args[1].text, to = args[2].text;
        if (from.len == 0) {
                *ret = args[0];
                return;
        }
        buf_reset(&e->scratch);
        while (!e->scratch.error && e->scratch.len <= LIMIT_VALUE) {
                const char *hit = s.len ? memmem(s.data, s.len, from.data, from.len) : NULL;
                size_t before = hit ? (size_t)(hit - s.data) : s.len;
                buf_add(&e->scratch, s.data, before);
                if (!hit)
                        break;
                buf_add_slice(&e->scratch, to);
                s = (Slice){s.data + before + from.len, s.len - before - from.len};
        }
        evaluation_take_scratch(e, VALUE_STRING, ret);
}

enum { SPLIT_PARTS_MAX = 1024 };

void function_split(Evaluation *e, const Value *args, Value *ret)
{
        Slice s = args[0].text, by = args[1].text;
        *ret = VALUE_INIT(VALUE_MISSING);
        if (by.len == 0)
                return;
        size_t n = 1;
        const char *end = s.data + s.len;
        for (const char *at = s.data;
                s.len && (at = memmem(at, (size_t)(end - at), by.data, by.len)); at += by.len)
                n++;
        if (n > SPLIT_PARTS_MAX) {
                e->failed = "split() made over 1024 parts";
                return;
        }
        Value *items = arena_alloc(&e->arena, n * sizeof(*items));
        if (!items)
                return;
        for (size_t i = 0; i < n; i++) {
                const char *hit = s.len ? memmem(s.data, s.len, by.data, by.len) : NULL;
                size_t len = hit ? (size_t)(hit - s.data) : s.len;
                items[i] = value_string((Slice){s.data, len});
                if (hit)
                        s = (Slice){hit + by.len, s.len - len - by.len};
        }
        *ret = (Value){.type = VALUE_LIST, .items = items, .n_items = n};
}

void function_join(Evaluation *e, const Value *args, Value *ret)
{
        // Elements become text one by one in the arena, since making text uses the scratch buffer.
        size_t n = value_list_len(&args[0]), total = 0;
        *ret = VALUE_INIT(VALUE_MISSING);
        if (n > LIMIT_VALUE) {
                e->failed = "join() of over 65536 elements";
                return;
        }
        Slice *texts = arena_alloc(&e->arena, (n + 1) * sizeof(*texts));
        if (!texts)
                return;
        ListCursor cursor = list_cursor(&args[0]);
        Value item;
        size_t used = 0;
        while (used < n && total <= LIMIT_VALUE && list_next(e, &cursor, &item)) {
                texts[used] = value_text(e, &item);
                total += texts[used++].len + args[1].text.len;
        }
        buf_reset(&e->scratch);
        for (size_t i = 0; i < used; i++) {
                if (i > 0)
                        buf_add_slice(&e->scratch, args[1].text);
                buf_add_slice(&e->scratch, texts[i]);
        }
        evaluation_take_scratch(e, VALUE_STRING, ret);
}
