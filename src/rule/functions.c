// SPDX-License-Identifier: MIT
// The table, and the functions that are not about strings. A row is what the checker, the cost and
// the manual need; belfry-rules(7) lists every row and a test compares the two.
#include "rule/functions.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/text.h"
#include "rule/compare.h"
#include "rule/escape.h"
#include "rule/render.h"
#include <errno.h>

static void number_text(Evaluation *e, const char *text, Value *ret)
{
        Slice s = arena_copy(&e->arena, slice_of(text));
        *ret = (Value){.type = s.data ? VALUE_NUMBER : VALUE_MISSING, .text = s};
}

static void function_len(Evaluation *e, const Value *args, Value *ret)
{
        size_t n = 0;
        if (args[0].type == VALUE_LIST) {
                n = value_list_len(&args[0]);
        } else {
                // Characters: every byte that does not continue one.
                for (size_t i = 0; i < args[0].text.len; i++)
                        n += ((unsigned char)args[0].text.data[i] & 0xc0) != 0x80;
        }
        char text[24];
        (void)snprintf(text, sizeof(text), "%zu", n);
        number_text(e, text, ret);
}

static void function_number(Evaluation *e, const Value *args, Value *ret)
{
        char room[DURATION_TEXT_MAX];
        Value trimmed = args[0];
        if (args[0].type == VALUE_STRING)
                function_trim(e, args, &trimmed);
        Decimal d;
        if (!value_to_number(&trimmed, &d, room))
                *ret = VALUE_INIT(VALUE_MISSING);
        else if (trimmed.type == VALUE_DURATION)
                number_text(e, room, ret);
        else
                *ret = (Value){.type = VALUE_NUMBER, .text = trimmed.text};
}

static void function_string(Evaluation *e, const Value *args, Value *ret)
{
        *ret = value_string(value_text(e, &args[0]));
}

static void function_json(Evaluation *e, const Value *args, Value *ret)
{
        TypeMask type = MASK(args[0].type);
        if ((type & (MASK(VALUE_LIST) | MASK(VALUE_OBJECT))) && args[0].node) {
                *ret = value_string(args[0].node->raw);
                return;
        }
        buf_reset(&e->scratch);
        value_json(e, &args[0], &e->scratch);
        evaluation_take_scratch(e, VALUE_STRING, ret);
}

static void function_abs(Evaluation *e, const Value *args, Value *ret)
{
        Slice s = args[0].text;
        if (s.len > 0 && s.data[0] == '-')
                s = (Slice){s.data + 1, s.len - 1};
        *ret = (Value){.type = VALUE_NUMBER, .text = s};
}

static void function_round(Evaluation *e, const Value *args, Value *ret)
{
        buf_reset(&e->scratch);
        decimal_round(&e->scratch, args[0].text, DECIMAL_NEAREST);
        evaluation_take_scratch(e, VALUE_NUMBER, ret);
}

static void function_floor(Evaluation *e, const Value *args, Value *ret)
{
        buf_reset(&e->scratch);
        decimal_round(&e->scratch, args[0].text, DECIMAL_FLOOR);
        evaluation_take_scratch(e, VALUE_NUMBER, ret);
}

// 1536 -> "1.5 KiB": for people, so one decimal is enough; cut, not rounded up.
static void function_size_text(Evaluation *e, const Value *args, Value *ret)
{
        static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
        Decimal d;
        int64_t n;
        buf_reset(&e->scratch);
        decimal_round(&e->scratch, args[0].text, DECIMAL_FLOOR);
        if (e->scratch.error || decimal_parse(buf_slice(&e->scratch), &d) < 0 ||
                !decimal_int64(&d, &n) || n < 0) {
                *ret = VALUE_INIT(VALUE_MISSING);
                return;
        }
        unsigned unit = 0;
        uint64_t v = (uint64_t)n, rest = 0;
        for (; v >= 1024; v /= 1024, unit++)
                rest = v % 1024;
        char text[32];
        unsigned tenth = (unsigned)(rest * 10 / 1024);
        if (unit == 0 || tenth == 0)
                (void)snprintf(text, sizeof(text), "%llu %s", (unsigned long long)v, units[unit]);
        else
                (void)snprintf(text, sizeof(text), "%llu.%u %s", (unsigned long long)v, tenth,
                        units[unit]);
        Slice s = arena_copy(&e->arena, slice_of(text));
        *ret = s.data ? value_string(s) : VALUE_INIT(VALUE_MISSING);
}

static void function_age(Evaluation *e, const Value *args, Value *ret)
{
        *ret = (Value){
                .type = VALUE_DURATION, .usec = (int64_t)e->record->time_usec - args[0].usec};
}

enum { SECONDS_PER_DAY = 86400, SECONDS_PER_HOUR = 3600 };

static void function_hour(Evaluation *e, const Value *args, Value *ret)
{
        uint64_t seconds = (uint64_t)args[0].usec / USEC_PER_SEC;
        char text[8];
        (void)snprintf(
                text, sizeof(text), "%u", (unsigned)(seconds % SECONDS_PER_DAY / SECONDS_PER_HOUR));
        number_text(e, text, ret);
}

static void function_weekday(Evaluation *e, const Value *args, Value *ret)
{
        // The epoch was a Thursday.
        static const char *const names[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
        uint64_t days = (uint64_t)args[0].usec / USEC_PER_SEC / SECONDS_PER_DAY;
        *ret = value_string(slice_of(names[days % N_ELEMENTS(names)]));
}

static void function_sha256(Evaluation *e, const Value *args, Value *ret)
{
        uint8_t digest[SHA256_SIZE];
        *ret = VALUE_INIT(VALUE_MISSING);
        char *hex = arena_alloc(&e->arena, 2 * sizeof(digest));
        if (!hex)
                return;
        if (digest_sha256(args[0].text, digest) < 0) {
                e->no_memory = true;
                return;
        }
        digest_hex(digest, sizeof(digest), hex);
        *ret = value_string((Slice){hex, 2 * sizeof(digest)});
}

static void function_base64(Evaluation *e, const Value *args, Value *ret)
{
        buf_reset(&e->scratch);
        if (args[0].text.len > LIMIT_VALUE)
                e->scratch.error = -ENOBUFS;
        else
                digest_base64(&e->scratch, args[0].text);
        evaluation_take_scratch(e, VALUE_STRING, ret);
}

static void function_urlencode(Evaluation *e, const Value *args, Value *ret)
{
        buf_reset(&e->scratch);
        if (args[0].text.len > LIMIT_VALUE)
                e->scratch.error = -ENOBUFS;
        else
                escape_add(&e->scratch, ESCAPE_URL, args[0].text);
        evaluation_take_scratch(e, VALUE_STRING, ret);
}

#define STRING MASK(VALUE_STRING)
#define NUMBER MASK(VALUE_NUMBER)
#define TIME MASK(VALUE_TIME)
#define LIST MASK(VALUE_LIST)

const Function functions[] = {
        {"abs", 1, {NUMBER}, NUMBER, 1, "abs(number)", "The number without its sign.",
                function_abs},
        {"age", 1, {TIME}, MASK(VALUE_DURATION), 2, "age(time)",
                "How long before the event that instant was, as a duration.", function_age},
        {"base64", 1, {STRING}, STRING, 20, "base64(string)", "The bytes in Base64.",
                function_base64},
        {"basename", 1, {STRING}, STRING, 2, "basename(path)", "The last part of a path.",
                function_basename},
        {"cut", 2, {STRING, NUMBER}, STRING, 5, "cut(string, n)", "At most the first n characters.",
                function_cut},
        {"dirname", 1, {STRING}, STRING, 2, "dirname(path)", "A path without its last part.",
                function_dirname},
        {"extension", 1, {STRING}, STRING, 2, "extension(path)",
                "What follows the last dot of the last part; empty if there is none.",
                function_extension},
        {"floor", 1, {NUMBER}, NUMBER, 5, "floor(number)", "The largest integer not above it.",
                function_floor},
        {"hour", 1, {TIME}, NUMBER, 3, "hour(time)", "The hour from 0 to 23, in UTC.",
                function_hour},
        {"join", 2, {LIST, STRING}, STRING, 50, "join(list, string)",
                "The elements as text, with the string between them.", function_join},
        {"json", 1, {MASK_ANY}, STRING, 20, "json(value)", "The value as JSON text.",
                function_json},
        {"len", 1, {STRING | LIST}, NUMBER, 5, "len(string or list)",
                "How many characters or elements.", function_len},
        {"lower", 1, {STRING}, STRING, 10, "lower(string)", "A to Z become a to z.",
                function_lower},
        {"number", 1, {STRING | NUMBER | MASK(VALUE_DURATION)}, NUMBER, 3, "number(value)",
                "The number a string spells, or the seconds of a duration; missing if it is none.",
                function_number},
        {"replace", 3, {STRING, STRING, STRING}, STRING, 50, "replace(string, from, to)",
                "Every occurrence of one string replaced by another.", function_replace},
        {"round", 1, {NUMBER}, NUMBER, 5, "round(number)",
                "The nearest integer, halves away from 0.", function_round},
        {"sha256", 1, {STRING}, STRING, 100, "sha256(string)", "SHA-256 in 64 hexadecimal digits.",
                function_sha256},
        {"size_text", 1, {NUMBER}, STRING, 5, "size_text(bytes)",
                "Bytes for people to read: 1.5 KiB, 20 MiB.", function_size_text},
        {"split", 2, {STRING, STRING}, LIST, 50, "split(string, by)",
                "The list of what stands between the occurrences.", function_split},
        {"string", 1, {MASK_SCALAR}, STRING, 3, "string(value)", "The value as text.",
                function_string},
        {"trim", 1, {STRING}, STRING, 2, "trim(string)", "Without white space at both ends.",
                function_trim},
        {"upper", 1, {STRING}, STRING, 10, "upper(string)", "a to z become A to Z.",
                function_upper},
        {"urlencode", 1, {STRING}, STRING, 20, "urlencode(string)",
                "Escaped for a part of a URL: %20 for a space.", function_urlencode},
        {"weekday", 1, {TIME}, STRING, 3, "weekday(time)",
                "Mon, Tue, Wed, Thu, Fri, Sat or Sun, in UTC.", function_weekday},
};
const size_t n_functions = N_ELEMENTS(functions);

const Function *function_find(Slice name)
{
        for (size_t i = 0; i < n_functions; i++)
                if (slice_eq_str(name, functions[i].name))
                        return &functions[i];
        return NULL;
}

const char *function_nearest(Slice name)
{
        const char *names[N_ELEMENTS(functions)];
        for (size_t i = 0; i < n_functions; i++)
                names[i] = functions[i].name;
        return text_nearest(name, names, n_functions);
}
