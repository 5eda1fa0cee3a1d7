// SPDX-License-Identifier: MIT
// Cutting libconfig text into words: longest match, as flex does it.
#include "config/token.h"

#include <strings.h>

static Token make(TokenKind kind, const char *start, const char *end)
{
        return (Token){.kind = kind, .text = {start, (size_t)(end - start)}};
}

static Token bad(const char *start, const char *end, const char *fault)
{
        return (Token){.kind = TOKEN_BAD, .text = {start, (size_t)(end - start)}, .fault = fault};
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
        return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_name_start(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '*';
}

static const char *digits(const char *at, const char *end)
{
        while (at < end && is_digit(*at))
                at++;
        return at;
}

static const char *suffix_long(const char *at, const char *end)
{
        for (int i = 0; i < 2 && at < end && *at == 'L'; i++)
                at++;
        return at;
}

// End of e[+-]digits at `at`, or `at` itself.
static const char *exponent(const char *at, const char *end)
{
        const char *p = at;
        if (p == end || (*p != 'e' && *p != 'E'))
                return at;
        p++;
        if (p < end && (*p == '+' || *p == '-'))
                p++;
        const char *stop = digits(p, end);
        return stop > p ? stop : at;
}

static Token number(const char *start, const char *end)
{
        const char *at = start;
        if (end - at > 2 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X') && is_hex(at[2])) {
                for (at += 2; at < end && is_hex(*at); at++)
                        ;
                return make(TOKEN_INTEGER, start, suffix_long(at, end));
        }
        if (*at == '+' || *at == '-')
                at++;
        const char *whole = digits(at, end);
        bool any = whole > at;
        if (whole < end && *whole == '.') {
                const char *fraction = digits(whole + 1, end);
                if (!any && fraction == whole + 1)
                        return bad(start, fraction, "a number needs a digit");
                return make(TOKEN_FLOAT, start, exponent(fraction, end));
        }
        if (!any)
                return bad(start, start + 1, "a sign without a number");
        const char *stop = exponent(whole, end);
        if (stop > whole)
                return make(TOKEN_FLOAT, start, stop);
        return make(TOKEN_INTEGER, start, suffix_long(whole, end));
}

static Token string(const char *start, const char *end)
{
        for (const char *at = start + 1; at < end; at++) {
                if (*at == '"')
                        return make(TOKEN_STRING, start, at + 1);
                if (*at == '\\')
                        at++;
        }
        return bad(start, start + 1, "this string is not closed: a \" is missing");
}

static Token word(const char *start, const char *end)
{
        const char *at = start;
        while (at < end && (is_name_start(*at) || is_digit(*at) || *at == '-' || *at == '_'))
                at++;
        size_t n = (size_t)(at - start);
        bool boolean = (n == 4 && strncasecmp(start, "true", 4) == 0) ||
                       (n == 5 && strncasecmp(start, "false", 5) == 0);
        return make(boolean ? TOKEN_BOOL : TOKEN_NAME, start, at);
}

// Passes over white space and comments. NULL: a comment begins at *ret_open and never ends.
static const char *skip(const char *at, const char *end, const char **ret_open)
{
        while (at < end) {
                if (strchr(" \t\n\r\f", *at) && *at) {
                        at++;
                } else if (*at == '#' || (*at == '/' && end - at > 1 && at[1] == '/')) {
                        while (at < end && *at != '\n')
                                at++;
                } else if (*at == '/' && end - at > 1 && at[1] == '*') {
                        const char *stop = memmem(at + 2, (size_t)(end - at) - 2, "*/", 2);
                        if (!stop) {
                                *ret_open = at;
                                return NULL;
                        }
                        at = stop + 2;
                } else {
                        break;
                }
        }
        return at;
}

static Token odd(const char *at, const char *end)
{
        if ((size_t)(end - at) >= 8 && memcmp(at, "@include", 8) == 0)
                return bad(at, at + 8,
                        "@include is refused: put the file into conf.d/ beside the main file");
        if (*at == '\'')
                return bad(at, at + 1, "strings stand in double quotes");
        return bad(at, at + 1, "this character has no meaning here");
}

Token token_next(const char *at, const char *end)
{
        static const char marks[] = "=:,;{}[]()";
        static const TokenKind kinds[] = {TOKEN_EQUALS, TOKEN_EQUALS, TOKEN_COMMA, TOKEN_SEMICOLON,
                TOKEN_GROUP_OPEN, TOKEN_GROUP_CLOSE, TOKEN_ARRAY_OPEN, TOKEN_ARRAY_CLOSE,
                TOKEN_LIST_OPEN, TOKEN_LIST_CLOSE};
        const char *open = NULL;
        at = skip(at, end, &open);
        if (!at)
                return bad(open, open + 2, "this comment is not closed: a */ is missing");
        if (at == end)
                return make(TOKEN_END, at, at);
        const char *mark = *at ? strchr(marks, *at) : NULL;
        if (mark)
                return make(kinds[mark - marks], at, at + 1);
        if (*at == '"')
                return string(at, end);
        if (is_name_start(*at))
                return word(at, end);
        if (is_digit(*at) || *at == '+' || *at == '-' || *at == '.')
                return number(at, end);
        return odd(at, end);
}

const char *token_prose(const Token *t)
{
        static const char *const prose[_TOKEN_KIND_MAX] = {
                [TOKEN_END] = "the end of the file",
                [TOKEN_NAME] = "a bare word",
                [TOKEN_EQUALS] = "\"=\"",
                [TOKEN_COMMA] = "\",\"",
                [TOKEN_SEMICOLON] = "\";\"",
                [TOKEN_GROUP_OPEN] = "\"{\"",
                [TOKEN_GROUP_CLOSE] = "\"}\"",
                [TOKEN_ARRAY_OPEN] = "\"[\"",
                [TOKEN_ARRAY_CLOSE] = "\"]\"",
                [TOKEN_LIST_OPEN] = "\"(\"",
                [TOKEN_LIST_CLOSE] = "\")\"",
                [TOKEN_BOOL] = "a boolean",
                [TOKEN_INTEGER] = "a number",
                [TOKEN_FLOAT] = "a number",
                [TOKEN_STRING] = "a string",
                [TOKEN_BAD] = "this",
        };
        return prose[t->kind];
}
