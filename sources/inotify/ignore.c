// SPDX-License-Identifier: MIT
// The gitignore matcher. A pattern becomes a list of tokens, run as a set of states over the path:
// no backtracking, so no pattern can make it slow. Where git's own matcher has quirks that users
// can see (a "**" right behind the literal start of a pattern) they are kept: a test compares this
// file with `git check-ignore`.
#include "ignore.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef enum TokenType {
        TOKEN_CHAR,
        TOKEN_ANY,       // one byte but '/'
        TOKEN_CLASS,     // one byte of a set, never '/'
        TOKEN_STAR,      // any bytes but '/'
        TOKEN_DEEP,      // any bytes
        TOKEN_SKIP,      // nothing, or any bytes that end in '/': enters here ...
        TOKEN_SKIP_BODY, // ... and stays here
        TOKEN_NEVER,
} TokenType;

typedef struct Token {
        uint8_t type, byte;
        uint16_t set; // TOKEN_CLASS: index into sets
} Token;

typedef struct ByteSet {
        uint64_t bits[4];
} ByteSet;

struct IgnorePattern {
        char *text; // behind "!", without the "/" of a directory pattern
        size_t len;
        Token *tokens;
        ByteSet *sets;
        uint16_t n_tokens, n_sets;
        bool negated, dir_only, has_slash, literal, ends_with;
};

static bool is_special(char c)
{
        return c == '*' || c == '?' || c == '[' || c == '\\';
}

static size_t literal_prefix(const char *text, size_t len)
{
        size_t n = 0;
        while (n < len && !is_special(text[n]))
                n++;
        return n;
}

static bool class_has(const char *name, size_t n, unsigned char c)
{
        static const char *const names[] = {"alnum", "alpha", "blank", "cntrl", "digit", "graph",
                "lower", "print", "punct", "space", "upper", "xdigit"};
        bool lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z',
             digit = c >= '0' && c <= '9';
        bool graph = c > ' ' && c < 127;
        const bool is[] = {lower || upper || digit, lower || upper, c == ' ' || c == '\t',
                c < ' ' || c == 127, digit, graph, lower, graph || c == ' ',
                graph && !lower && !upper && !digit,
                c == ' ' || c == '\t' || c == '\n' || c == '\r', upper,
                digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
                if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0)
                        return is[i];
        return false;
}

static bool class_known(const char *name, size_t n)
{
        static const char probes[] = "aA0 !\t\x01";
        for (const char *p = probes; *p; p++)
                if (class_has(name, n, (unsigned char)*p))
                        return true;
        return false;
}

static void set_range(ByteSet *s, unsigned from, unsigned to)
{
        for (unsigned c = from; c <= to && c < 256; c++)
                s->bits[c / 64] |= UINT64_C(1) << (c % 64);
}

// "[:name:]" at p ("[:" was seen). Returns how many bytes of it were read, 0 when it is no class
// name but an ordinary "[", -1 when the pattern is broken.
static long class_name(const char *p, size_t left, ByteSet *set)
{
        size_t end = 2;
        while (end < left && p[end] != ']')
                end++;
        if (end >= left)
                return -1;
        if (end < 3 || p[end - 1] != ':')
                return 0;
        size_t n = end - 3;
        if (!class_known(p + 2, n))
                return -1;
        for (unsigned c = 1; c < 128; c++)
                if (class_has(p + 2, n, (unsigned char)c))
                        set_range(set, c, c);
        return (long)end + 1;
}

// A bracket expression at text[at] == '['. Returns the offset behind it, 0 when it never matches.
static size_t class_parse(const char *text, size_t len, size_t at, ByteSet *ret)
{
        ByteSet set = {{0}};
        unsigned previous = 0;
        size_t i = at + 1;
        bool negated = i < len && (text[i] == '!' || text[i] == '^');
        i += negated;
        for (bool first = true; first || i >= len || text[i] != ']'; first = false) {
                if (i >= len)
                        return 0;
                unsigned c = (unsigned char)text[i];
                long n;
                if (c == '-' && previous && i + 1 < len && text[i + 1] != ']') {
                        i++;
                        if (text[i] == '\\' && ++i >= len)
                                return 0;
                        set_range(&set, previous, (unsigned char)text[i++]);
                        previous = 0;
                } else if (c == '[' && i + 1 < len && text[i + 1] == ':' &&
                           (n = class_name(text + i, len - i, &set)) != 0) {
                        if (n < 0)
                                return 0;
                        i += (size_t)n;
                        previous = 0;
                } else {
                        if (c == '\\') {
                                if (++i >= len)
                                        return 0;
                                c = (unsigned char)text[i];
                        }
                        set_range(&set, c, c);
                        previous = c;
                        i++;
                }
        }
        for (unsigned k = 0; k < 4; k++)
                ret->bits[k] = negated ? ~set.bits[k] : set.bits[k];
        ret->bits['/' / 64] &= ~(UINT64_C(1) << ('/' % 64));
        return i + 1;
}

// Stars at text[at]. Returns the offset behind them (and, for "**/", behind the slash).
static size_t stars_parse(IgnorePattern *p, size_t at, size_t start)
{
        size_t end = at;
        while (end < p->len && p->text[end] == '*')
                end++;
        bool opens = at == start || p->text[at - 1] == '/';
        bool escaped_slash = end + 1 < p->len && p->text[end] == '\\' && p->text[end + 1] == '/';
        bool closes = end == p->len || p->text[end] == '/' || escaped_slash;
        if (end - at >= 2 && p->has_slash && opens && closes) {
                if (end < p->len && p->text[end] == '/') {
                        p->tokens[p->n_tokens++] = (Token){.type = TOKEN_SKIP};
                        p->tokens[p->n_tokens++] = (Token){.type = TOKEN_SKIP_BODY};
                        return end + 1;
                }
                p->tokens[p->n_tokens++] = (Token){.type = TOKEN_DEEP};
                return end;
        }
        p->tokens[p->n_tokens++] = (Token){.type = TOKEN_STAR};
        return end;
}

static int pattern_compile(IgnorePattern *p)
{
        size_t at = p->has_slash && p->len > 0 && p->text[0] == '/' ? 1 : 0;
        size_t start = at + literal_prefix(p->text + at, p->len - at);
        p->tokens = calloc(p->len + 2, sizeof *p->tokens);
        p->sets = calloc(p->len / 2 + 1, sizeof *p->sets);
        if (!p->tokens || !p->sets)
                return -ENOMEM;
        while (at < p->len) {
                Token *t = &p->tokens[p->n_tokens];
                char c = p->text[at];
                if (c == '*') {
                        at = stars_parse(p, at, start);
                        continue;
                }
                if (c == '[') {
                        size_t end = class_parse(p->text, p->len, at, &p->sets[p->n_sets]);
                        *t = (Token){.type = end ? TOKEN_CLASS : TOKEN_NEVER, .set = p->n_sets};
                        p->n_tokens++;
                        if (!end)
                                return 0;
                        p->n_sets++;
                        at = end;
                        continue;
                }
                if (c == '\\' && ++at == p->len)
                        *t = (Token){.type = TOKEN_NEVER};
                else if (c == '?')
                        *t = (Token){.type = TOKEN_ANY};
                else
                        *t = (Token){.type = TOKEN_CHAR, .byte = (uint8_t)p->text[at]};
                p->n_tokens++;
                at++;
        }
        return 0;
}

// Trailing spaces do not count unless the last is escaped, as in a .gitignore line.
static size_t trimmed_length(const char *line)
{
        size_t keep = 0;
        for (size_t i = 0; line[i]; i++) {
                if (line[i] == '\\') {
                        if (!line[i + 1])
                                return i + 1;
                        i++;
                        keep = i + 1;
                } else if (line[i] != ' ') {
                        keep = i + 1;
                }
        }
        return keep;
}

static int pattern_parse(IgnorePattern *p, const char *line)
{
        size_t len = trimmed_length(line);
        if (len > 0 && line[0] == '!') {
                p->negated = true;
                line++;
                len--;
        }
        if (len > 0 && line[len - 1] == '/') {
                p->dir_only = true;
                len--;
        }
        p->text = strndup(line, len);
        if (!p->text)
                return -ENOMEM;
        p->len = len;
        p->has_slash = memchr(line, '/', len);
        p->literal = !p->has_slash && literal_prefix(line, len) == len;
        p->ends_with = !p->has_slash && len > 0 && line[0] == '*' &&
                       literal_prefix(line + 1, len - 1) == len - 1;
        return pattern_compile(p);
}

int ignore_list_init(IgnoreList *l, char *const *lines, Reason *reason)
{
        size_t n = 0;
        while (lines && lines[n])
                n++;
        *l = (IgnoreList){.patterns = calloc(n ? n : 1, sizeof *l->patterns)};
        if (!l->patterns)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                if (strlen(lines[i]) > IGNORE_PATTERN_MAX)
                        return reason_set(reason, -EINVAL, "pattern %zu is longer than %d bytes",
                                i + 1, IGNORE_PATTERN_MAX);
                if (lines[i][0] == '#' || trimmed_length(lines[i]) == 0)
                        continue;
                int r = pattern_parse(&l->patterns[l->n++], lines[i]);
                if (r < 0)
                        return r;
                l->by_path |= l->patterns[l->n - 1].has_slash;
        }
        return 0;
}

void ignore_list_deinit(IgnoreList *l)
{
        for (size_t i = 0; i < l->n; i++) {
                free(l->patterns[i].text);
                free(l->patterns[i].tokens);
                free(l->patterns[i].sets);
        }
        free(l->patterns);
        *l = (IgnoreList){0};
}

enum { STATE_WORDS = (IGNORE_PATTERN_MAX + 3) / 64 + 1 };

typedef struct States {
        uint64_t bits[STATE_WORDS];
} States;

static void state_enter(const IgnorePattern *p, uint64_t *s, size_t i)
{
        for (;;) {
                s[i / 64] |= UINT64_C(1) << (i % 64);
                if (i >= p->n_tokens)
                        return;
                TokenType type = p->tokens[i].type;
                if (type == TOKEN_SKIP)
                        s[(i + 1) / 64] |= UINT64_C(1) << ((i + 1) % 64), i += 2;
                else if (type == TOKEN_STAR || type == TOKEN_DEEP)
                        i++;
                else
                        return;
        }
}

static void state_step(const IgnorePattern *p, size_t i, unsigned char c, uint64_t *next)
{
        const Token *t = &p->tokens[i];
        switch ((TokenType)t->type) {
        case TOKEN_CHAR:
                if (c == t->byte)
                        state_enter(p, next, i + 1);
                return;
        case TOKEN_ANY:
                if (c != '/')
                        state_enter(p, next, i + 1);
                return;
        case TOKEN_CLASS:
                if (p->sets[t->set].bits[c / 64] >> (c % 64) & 1)
                        state_enter(p, next, i + 1);
                return;
        case TOKEN_STAR:
                if (c != '/')
                        state_enter(p, next, i);
                return;
        case TOKEN_DEEP:
                state_enter(p, next, i);
                return;
        case TOKEN_SKIP_BODY:
                next[i / 64] |= UINT64_C(1) << (i % 64);
                if (c == '/')
                        state_enter(p, next, i + 1);
                return;
        case TOKEN_SKIP:
        case TOKEN_NEVER:
                return;
        }
}

static void run(const IgnorePattern *p, States *now, Slice text)
{
        size_t words = p->n_tokens / 64u + 1;
        for (size_t k = 0; k < text.len; k++) {
                States next;
                uint64_t any = 0;
                memset(next.bits, 0, words * sizeof *next.bits);
                for (size_t w = 0; w < words; w++)
                        for (uint64_t left = now->bits[w]; left; left &= left - 1) {
                                size_t i = w * 64 + (size_t)__builtin_ctzll(left);
                                if (i < p->n_tokens)
                                        state_step(p, i, (unsigned char)text.data[k], next.bits);
                        }
                for (size_t w = 0; w < words; w++)
                        any |= next.bits[w];
                memcpy(now->bits, next.bits, words * sizeof *next.bits);
                if (!any)
                        return;
        }
}

static bool pattern_matches(const IgnorePattern *p, Slice dir, Slice name)
{
        if (p->literal)
                return name.len == p->len && memcmp(name.data, p->text, p->len) == 0;
        if (p->ends_with)
                return name.len >= p->len - 1 &&
                       memcmp(name.data + name.len - (p->len - 1), p->text + 1, p->len - 1) == 0;
        States states;
        memset(states.bits, 0, (p->n_tokens / 64u + 1) * sizeof *states.bits);
        state_enter(p, states.bits, 0);
        if (p->has_slash && dir.len > 0) {
                run(p, &states, dir);
                run(p, &states, SLICE_LIT("/"));
        }
        run(p, &states, name);
        return states.bits[p->n_tokens / 64] >> (p->n_tokens % 64) & 1;
}

IgnoreVerdict ignore_match(const IgnoreList *l, Slice dir, Slice name, bool is_dir)
{
        for (size_t i = l->n; i-- > 0;) {
                const IgnorePattern *p = &l->patterns[i];
                if ((!p->dir_only || is_dir) && pattern_matches(p, dir, name))
                        return p->negated ? IGNORE_NEGATED : IGNORE_MATCHED;
        }
        return IGNORE_NONE;
}

bool ignore_covers(const IgnoreList *l, Slice path, bool is_dir)
{
        size_t begin = 0;
        for (size_t i = 0; i <= path.len; i++) {
                if (i < path.len && path.data[i] != '/')
                        continue;
                Slice dir = {path.data, begin ? begin - 1 : 0},
                      name = {path.data + begin, i - begin};
                if (ignore_match(l, dir, name, i < path.len || is_dir) == IGNORE_MATCHED)
                        return true;
                begin = i + 1;
        }
        return false;
}
