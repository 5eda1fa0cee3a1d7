// SPDX-License-Identifier: MIT
// Text of people: UTF-8 checking, quantities, names, terminal-safe output. ASCII only where words
// are compared; no locale is ever consulted.
#include "base/text.h"

#include "base/clock.h"
#include <errno.h>
#include <inttypes.h>

typedef struct Unit {
        const char *name;
        uint64_t factor;
} Unit;

#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)

// Largest first; the configuration's spelling.
static const Unit duration_units[] = {
        {"d", USEC_PER_DAY},
        {"h", USEC_PER_HOUR},
        {"m", USEC_PER_MINUTE},
        {"s", USEC_PER_SEC},
        {"ms", USEC_PER_MSEC},
};
static const Unit size_units[] = {
        {"G", UINT64_C(1) << 30},
        {"M", UINT64_C(1) << 20},
        {"K", UINT64_C(1) << 10},
};
static const Unit short_units[] = {
        {"d", USEC_PER_DAY},
        {"h", USEC_PER_HOUR},
        {"min", USEC_PER_MINUTE},
        {"s", USEC_PER_SEC},
        {"ms", USEC_PER_MSEC},
        {"us", 1},
};

size_t text_utf8_len(Slice s)
{
        const unsigned char *p = (const unsigned char *)s.data;
        if (s.len == 0)
                return 0;
        if (p[0] < 0x80)
                return 1;
        // Bounds of the second byte exclude overlong forms, surrogates and what is above U+10FFFF.
        unsigned char low = 0x80, high = 0xbf;
        size_t n;
        if (p[0] >= 0xc2 && p[0] <= 0xdf) {
                n = 2;
        } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
                n = 3;
                low = p[0] == 0xe0 ? 0xa0 : 0x80;
                high = p[0] == 0xed ? 0x9f : 0xbf;
        } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
                n = 4;
                low = p[0] == 0xf0 ? 0x90 : 0x80;
                high = p[0] == 0xf4 ? 0x8f : 0xbf;
        } else {
                return 0;
        }
        if (s.len < n || p[1] < low || p[1] > high)
                return 0;
        for (size_t i = 2; i < n; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        return n;
}

bool text_utf8_valid(Slice s)
{
        const char *at = s.data, *end = s.data + s.len;
        while (at < end) {
                uint64_t eight;
                if ((size_t)(end - at) >= sizeof(eight)) {
                        memcpy(&eight, at, sizeof(eight));
                        if (!(eight & UINT64_C(0x8080808080808080))) {
                                at += sizeof(eight);
                                continue;
                        }
                }
                size_t n = text_utf8_len(slice_mem(at, (size_t)(end - at)));
                if (n == 0)
                        return false;
                at += n;
        }
        return true;
}

static int parse_quantity(Slice s, const Unit *units, size_t n_units, uint64_t bare, uint64_t *ret)
{
        uint64_t v = 0;
        bool over = false;
        size_t i = 0;
        for (; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++)
                if (__builtin_mul_overflow(v, 10, &v) ||
                        __builtin_add_overflow(v, (uint64_t)(s.data[i] - '0'), &v))
                        over = true;
        if (i == 0)
                return -EINVAL;
        uint64_t factor = 0;
        Slice unit = slice_mem(s.data + i, s.len - i);
        if (unit.len == 0)
                factor = bare;
        for (size_t k = 0; k < n_units && unit.len > 0; k++)
                if (slice_eq_str(unit, units[k].name))
                        factor = units[k].factor;
        if (factor == 0)
                return -EINVAL;
        if (over || __builtin_mul_overflow(v, factor, &v))
                return -ERANGE;
        *ret = v;
        return 0;
}

int text_parse_duration(Slice s, uint64_t unit_usec, uint64_t *ret_usec)
{
        return parse_quantity(s, duration_units, N_ELEMENTS(duration_units), unit_usec, ret_usec);
}

int text_parse_size(Slice s, uint64_t *ret_bytes)
{
        return parse_quantity(s, size_units, N_ELEMENTS(size_units), 1, ret_bytes);
}

const char *text_duration(uint64_t usec, char out[static TEXT_QUANTITY_MAX])
{
        if (usec == 0)
                return memcpy(out, "0s", sizeof("0s"));
        if (usec == USEC_INFINITY)
                return memcpy(out, "infinity", sizeof("infinity"));
        for (size_t i = 0; i < N_ELEMENTS(duration_units); i++)
                if (usec % duration_units[i].factor == 0) {
                        (void)snprintf(out, TEXT_QUANTITY_MAX, "%" PRIu64 "%s",
                                usec / duration_units[i].factor, duration_units[i].name);
                        return out;
                }
        (void)snprintf(out, TEXT_QUANTITY_MAX, "%" PRIu64 "us", usec);
        return out;
}

const char *text_size(uint64_t bytes, char out[static TEXT_QUANTITY_MAX])
{
        for (size_t i = 0; bytes > 0 && i < N_ELEMENTS(size_units); i++)
                if (bytes % size_units[i].factor == 0) {
                        (void)snprintf(out, TEXT_QUANTITY_MAX, "%" PRIu64 "%s",
                                bytes / size_units[i].factor, size_units[i].name);
                        return out;
                }
        (void)snprintf(out, TEXT_QUANTITY_MAX, "%" PRIu64, bytes);
        return out;
}

const char *text_duration_short(uint64_t usec, char out[static TEXT_QUANTITY_MAX])
{
        if (usec == 0)
                return memcpy(out, "0s", sizeof("0s"));
        if (usec == USEC_INFINITY)
                return memcpy(out, "infinity", sizeof("infinity"));
        size_t i = 0;
        while (usec < short_units[i].factor)
                i++;
        uint64_t whole = usec / short_units[i].factor;
        uint64_t rest = usec % short_units[i].factor;
        // Parts of a second say nothing beside ten whole ones, nor do microseconds.
        bool second = i < 3 || (i == 3 && whole < 10);
        uint64_t minor = second ? rest / short_units[i + 1].factor : 0;
        if (minor)
                (void)snprintf(out, TEXT_QUANTITY_MAX, "%" PRIu64 "%s %" PRIu64 "%s", whole,
                        short_units[i].name, minor, short_units[i + 1].name);
        else
                (void)snprintf(out, TEXT_QUANTITY_MAX, "%" PRIu64 "%s", whole, short_units[i].name);
        return out;
}

enum { NEAREST_MAX = 64 }; // longer words are no typing errors of option names

static char lower(char c)
{
        return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static unsigned least(unsigned a, unsigned b)
{
        return a < b ? a : b;
}

// Edits from a to b: insert, delete, replace, swap neighbours (optimal string alignment).
// Both at most NEAREST_MAX long; three rows of the table are enough.
static unsigned edits(Slice a, Slice b)
{
        unsigned rows[3][NEAREST_MAX + 1];
        unsigned *before = rows[0], *last = rows[1], *row = rows[2];
        for (unsigned k = 0; k <= b.len; k++)
                last[k] = k;
        for (unsigned i = 1; i <= a.len; i++) {
                row[0] = i;
                for (unsigned k = 1; k <= b.len; k++) {
                        char ca = lower(a.data[i - 1]), cb = lower(b.data[k - 1]);
                        row[k] =
                                least(least(last[k] + 1, row[k - 1] + 1), last[k - 1] + (ca != cb));
                        if (i > 1 && k > 1 && ca == lower(b.data[k - 2]) &&
                                lower(a.data[i - 2]) == cb)
                                row[k] = least(row[k], before[k - 2] + 1);
                }
                unsigned *spare = before;
                before = last;
                last = row;
                row = spare;
        }
        return last[b.len];
}

const char *text_nearest(Slice word, const char *const *candidates, size_t n)
{
        if (word.len == 0 || word.len > NEAREST_MAX)
                return NULL;
        unsigned best = word.len / 3 > 2 ? (unsigned)(word.len / 3) : 2;
        // Of a short word at least one character must be right, or everything would be near.
        best = least(best, (unsigned)word.len - 1) + 1;
        const char *found = NULL;
        for (size_t i = 0; i < n; i++) {
                Slice candidate = slice_of(candidates[i]);
                size_t apart = candidate.len > word.len ? candidate.len - word.len
                                                        : word.len - candidate.len;
                if (candidate.len > NEAREST_MAX || apart >= best)
                        continue;
                unsigned distance = edits(word, candidate);
                if (distance < best) {
                        best = distance;
                        found = candidates[i];
                }
        }
        return found;
}

bool text_is_name(Slice s)
{
        if (s.len == 0 || s.len > 32 || s.data[0] < 'a' || s.data[0] > 'z')
                return false;
        for (size_t i = 1; i < s.len; i++) {
                char c = s.data[i];
                if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
                        return false;
        }
        return true;
}

// Characters that reorder, break or hide text on a terminal: C0, DEL, C1, bidi controls, U+2028/9.
static bool steers(const unsigned char *p, size_t n)
{
        if (n == 1)
                return p[0] < 0x20 || p[0] == 0x7f;
        if (n == 2)
                return (p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xd8 && p[1] == 0x9c);
        if (n == 3 && p[0] == 0xe2 && p[1] == 0x80)
                return p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae);
        return n == 3 && p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9;
}

void text_add_escaped(Buf *b, Slice s)
{
        static const char hex[] = "0123456789abcdef";
        size_t clean = 0;
        for (size_t i = 0; i < s.len;) {
                size_t n = text_utf8_len(slice_mem(s.data + i, s.len - i));
                const unsigned char *p = (const unsigned char *)s.data + i;
                if (n > 0 && !steers(p, n)) {
                        i += n;
                        continue;
                }
                buf_add(b, s.data + clean, i - clean);
                for (size_t k = 0; k < (n ? n : 1); k++) {
                        char text[4] = {'\\', 'x', hex[p[k] >> 4], hex[p[k] & 15]};
                        buf_add(b, text, sizeof(text));
                }
                i += n ? n : 1;
                clean = i;
        }
        buf_add(b, s.data + clean, s.len - clean);
}
