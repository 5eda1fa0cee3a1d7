// SPDX-License-Identifier: MIT
// One token at a time, left to right. Invariants: every byte of the text belongs to one token or to
// the white space between them; a '/' always begins a regular expression, since nothing divides.
// Refusals name what was probably meant (&& for and, "..." for '...').
#include "rule/lexer.h"

#include "base/clock.h"
#include "base/text.h"
#include <errno.h>

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c)
{
        return is_name_start(c) || is_digit(c);
}

static char lexer_peek(const Lexer *l, size_t ahead)
{
        return l->at + ahead < l->text.len ? l->text.data[l->at + ahead] : '\0';
}

static size_t lexer_skip_name(const Lexer *l, size_t at)
{
        while (at < l->text.len && is_name(l->text.data[at]))
                at++;
        return at;
}

static Slice lexer_slice(const Lexer *l, size_t start, size_t end)
{
        return (Slice){l->text.data + start, end - start};
}

// 'it''s'
static int lexer_string(Lexer *l, Token *t, Fault *fault)
{
        size_t start = l->at, at = start + 1, n_quotes = 0;
        for (;; at++) {
                if (at >= l->text.len)
                        return fault_set(fault, start, l->text.len,
                                "this string has no end; a quote inside one is written ''");
                if (l->text.data[at] != '\'')
                        continue;
                if (at + 1 >= l->text.len || l->text.data[at + 1] != '\'')
                        break;
                n_quotes++;
                at++;
        }
        t->type = TOKEN_STRING;
        t->text = lexer_slice(l, start + 1, at);
        l->at = at + 1;
        if (n_quotes == 0)
                return 0;
        char *out = arena_alloc(l->arena, t->text.len);
        if (!out)
                return -ENOMEM;
        size_t n = 0;
        for (size_t i = 0; i < t->text.len; i++) {
                out[n++] = t->text.data[i];
                if (t->text.data[i] == '\'')
                        i++;
        }
        t->text = (Slice){out, n};
        return 0;
}

// /pattern/flags; a '/' inside [...] or behind a backslash belongs to the pattern.
static int lexer_regex(Lexer *l, Token *t, Fault *fault)
{
        size_t start = l->at, at = start + 1;
        bool in_class = false;
        for (;; at++) {
                if (at >= l->text.len)
                        return fault_set(fault, start, l->text.len,
                                "this regular expression has no closing '/'");
                char c = l->text.data[at];
                if (c == '\\')
                        at++;
                else if (c == '[')
                        in_class = true;
                else if (c == ']')
                        in_class = false;
                else if (c == '/' && !in_class)
                        break;
        }
        t->type = TOKEN_REGEX;
        t->text = lexer_slice(l, start + 1, at);
        size_t end = lexer_skip_name(l, at + 1);
        t->flags = lexer_slice(l, at + 1, end);
        l->at = end;
        for (size_t i = 0; i < t->flags.len; i++)
                if (!strchr("imsx", t->flags.data[i]))
                        return fault_set(fault, at + 1 + i, at + 2 + i,
                                "a regular expression has no flag '%c'; there are i, m, s and x",
                                t->flags.data[i]);
        return 0;
}

static bool unit_is_size(Slice unit)
{
        return unit.len == 1 && strchr("KMG", unit.data[0]);
}

static bool unit_is_duration(Slice unit)
{
        return slice_eq_str(unit, "ms") || (unit.len == 1 && strchr("smhd", unit.data[0]));
}

// What follows the digits from start to at decides: 5, 5.25, 1e9, 5m, 10M.
static int lexer_unit(Lexer *l, Token *t, size_t start, size_t at, bool integer, Fault *fault)
{
        size_t end = lexer_skip_name(l, at);
        Slice unit = lexer_slice(l, at, end), all = lexer_slice(l, start, end);
        l->at = end;
        if (unit.len == 0) {
                t->type = TOKEN_NUMBER;
                t->text = lexer_slice(l, start, at);
                return 0;
        }
        if (!integer && (unit_is_size(unit) || unit_is_duration(unit)))
                return fault_set(fault, start, end,
                        "durations and sizes are integers with a unit, as in 1500ms or 1536K");
        if (unit_is_size(unit)) {
                uint64_t bytes;
                if (text_parse_size(all, &bytes) < 0 || bytes > INT64_MAX)
                        return fault_set(fault, start, end, "this size is too large");
                char *text = arena_printf(l->arena, "%lld", (long long)bytes);
                if (!text)
                        return -ENOMEM;
                t->type = TOKEN_SIZE;
                t->text = slice_of(text);
                return 0;
        }
        if (unit_is_duration(unit)) {
                uint64_t usec;
                if (text_parse_duration(all, USEC_PER_SEC, &usec) < 0 || usec > INT64_MAX)
                        return fault_set(fault, start, end, "this duration is too long");
                t->type = TOKEN_DURATION;
                t->usec = (int64_t)usec;
                return 0;
        }
        return fault_set(fault, at, end,
                "'%.*s' is no unit; durations have ms s m h d, sizes K M G, names do not begin "
                "with a digit",
                (int)(unit.len > 20 ? 20 : unit.len), unit.data);
}

static int lexer_number(Lexer *l, Token *t, Fault *fault)
{
        size_t start = l->at, at = start;
        bool integer = true;
        if (l->text.data[at] == '-') {
                integer = false; // no negative durations and sizes
                at++;
        }
        size_t digits = at;
        while (at < l->text.len && is_digit(l->text.data[at]))
                at++;
        if (at == digits)
                return fault_set(fault, start, start + 1,
                        "there is no arithmetic: '-' only begins a number");
        if (at - digits > 1 && l->text.data[digits] == '0')
                return fault_set(fault, start, at, "a number does not begin with 0");
        if (at + 1 < l->text.len && l->text.data[at] == '.' && is_digit(l->text.data[at + 1])) {
                integer = false;
                at++;
                while (at < l->text.len && is_digit(l->text.data[at]))
                        at++;
        }
        size_t e = at;
        if (e < l->text.len && (l->text.data[e] == 'e' || l->text.data[e] == 'E')) {
                e++;
                if (e < l->text.len && (l->text.data[e] == '+' || l->text.data[e] == '-'))
                        e++;
                size_t exponent = e;
                while (e < l->text.len && is_digit(l->text.data[e]))
                        e++;
                if (e - exponent > 9)
                        return fault_set(fault, start, e, "this exponent is too large");
                if (e > exponent) {
                        integer = false;
                        at = e;
                }
        }
        return lexer_unit(l, t, start, at, integer, fault);
}

static int lexer_capture(Lexer *l, Token *t, Fault *fault)
{
        size_t start = l->at + 1, end = lexer_skip_name(l, start);
        if (end == start)
                return fault_set(fault, l->at, l->at + 1,
                        "a number or a name follows '$': $1, $name (a group of the last =~)");
        t->type = TOKEN_CAPTURE;
        t->text = lexer_slice(l, start, end);
        if (is_digit(t->text.data[0])) {
                for (size_t i = 0; i < t->text.len; i++)
                        if (!is_digit(t->text.data[i]) || i > 2)
                                return fault_set(fault, l->at, end, "no group is called so");
        }
        l->at = end;
        return 0;
}

typedef struct Punctuation {
        const char *text;
        TokenOperator op;
        const char *instead; // for what other languages have
} Punctuation;

// Longest first.
static const Punctuation punctuation[] = {
        {"===", OP_NONE, "=="},
        {"==", OP_EQ},
        {"!=", OP_NE},
        {"<=", OP_LE},
        {">=", OP_GE},
        {"=~", OP_MATCH},
        {"!~", OP_NONE, "not (... =~ ...)"},
        {"~=", OP_NONE, "=~"},
        {"??", OP_DEFAULT},
        {"&&", OP_NONE, "and"},
        {"||", OP_NONE, "or"},
        {"<>", OP_NONE, "!="},
        {"<", OP_LT},
        {">", OP_GT},
        {"(", OP_LPAREN},
        {")", OP_RPAREN},
        {"[", OP_LBRACKET},
        {"]", OP_RBRACKET},
        {".", OP_DOT},
        {",", OP_COMMA},
        {"}", OP_RBRACE},
        {"=", OP_NONE, "=="},
        {"!", OP_NONE, "not"},
        {"&", OP_NONE, "and"},
        {"|", OP_NONE, "or"},
        {"\"", OP_NONE, "'...' around a string"},
        {"`", OP_NONE, "'...' around a string"},
};

static int lexer_punctuation(Lexer *l, Token *t, Fault *fault)
{
        Slice rest = lexer_slice(l, l->at, l->text.len);
        for (size_t i = 0; i < N_ELEMENTS(punctuation); i++) {
                const Punctuation *p = &punctuation[i];
                if (!slice_starts(rest, slice_of(p->text)))
                        continue;
                size_t end = l->at + strlen(p->text);
                if (p->op == OP_NONE)
                        return fault_set(
                                fault, l->at, end, "write %s, not %s", p->instead, p->text);
                t->type = TOKEN_OPERATOR;
                t->op = p->op;
                l->at = end;
                return 0;
        }
        size_t n = text_utf8_len(rest);
        unsigned char c = (unsigned char)rest.data[0];
        if (n == 0 || c < ' ' || c == 0x7f)
                return fault_set(fault, l->at, l->at + 1, "a byte 0x%02x has no place here", c);
        return fault_set(fault, l->at, l->at + n, "'%.*s' has no meaning here", (int)n, rest.data);
}

int lexer_next(Lexer *l, Token *ret, Fault *fault)
{
        while (l->at < l->text.len && strchr(" \t\r\n", l->text.data[l->at]) && l->text.data[l->at])
                l->at++;
        Token t = {.start = l->at};
        int r = 0;
        char c = lexer_peek(l, 0);
        if (l->at == l->text.len) {
                t.type = TOKEN_END;
        } else if (is_name_start(c)) {
                size_t end = lexer_skip_name(l, l->at);
                t.type = TOKEN_NAME;
                t.text = lexer_slice(l, l->at, end);
                l->at = end;
        } else if (c == '\'') {
                r = lexer_string(l, &t, fault);
        } else if (c == '/') {
                r = lexer_regex(l, &t, fault);
        } else if (c == '$') {
                r = lexer_capture(l, &t, fault);
        } else if (is_digit(c) || c == '-') {
                r = lexer_number(l, &t, fault);
        } else {
                r = lexer_punctuation(l, &t, fault);
        }
        if (r < 0)
                return r;
        t.end = l->at;
        *ret = t;
        return 0;
}
