// SPDX-License-Identifier: MIT
// The words of libconfig's syntax, as libconfig 1.5 cuts them (its scanner.l), with their bytes.
// Stricter in what would only hide a mistake: unclosed strings and comments, @include, a lone ".".
#pragma once

#include "base/slice.h"

typedef enum TokenKind {
        TOKEN_END,
        TOKEN_NAME,
        TOKEN_EQUALS,
        TOKEN_COMMA,
        TOKEN_SEMICOLON,
        TOKEN_GROUP_OPEN,
        TOKEN_GROUP_CLOSE,
        TOKEN_ARRAY_OPEN,
        TOKEN_ARRAY_CLOSE,
        TOKEN_LIST_OPEN,
        TOKEN_LIST_CLOSE,
        TOKEN_BOOL,
        TOKEN_INTEGER,
        TOKEN_FLOAT,
        TOKEN_STRING, // quotes included
        TOKEN_BAD,    // `fault` says why
        _TOKEN_KIND_MAX,
} TokenKind;

typedef struct Token {
        TokenKind kind;
        Slice text;
        const char *fault;
} Token;

// The token at or behind `at`; white space and comments are passed over.
Token token_next(const char *at, const char *end);
const char *token_prose(const Token *t); // "a string", for "expected ..., not ..."
