// SPDX-License-Identifier: MIT
// Text of an expression to tokens. Knows no names and no types.
#pragma once

#include "rule/arena.h"
#include "rule/fault.h"
#include <stdint.h>

typedef enum TokenType {
        TOKEN_END,
        TOKEN_NAME,     // identifiers; the words and, or, not, in ... are names until the parser asks
        TOKEN_STRING,   // text: quotes undone
        TOKEN_NUMBER,   // text: JSON spelling
        TOKEN_SIZE,     // text: integer bytes in decimal
        TOKEN_DURATION, // usec
        TOKEN_REGEX,    // text: the pattern; flags
        TOKEN_CAPTURE,  // text: digits or a name
        TOKEN_OPERATOR, // punctuation: the code of its characters
} TokenType;

typedef enum TokenOperator {
        OP_NONE,
        OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_MATCH, OP_DEFAULT,
        OP_LPAREN, OP_RPAREN, OP_LBRACKET, OP_RBRACKET, OP_DOT, OP_COMMA, OP_RBRACE,
} TokenOperator;

typedef struct Token {
        TokenType type;
        TokenOperator op;
        size_t start, end; // offsets in the text
        Slice text;
        int64_t usec;
        Slice flags; // of a regex
} Token;

typedef struct Lexer {
        Slice text;
        size_t at;
        Arena *arena; // for texts whose escapes are undone
} Lexer;

// 0, -EINVAL with the fault, -ENOMEM.
int lexer_next(Lexer *l, Token *ret, Fault *fault) _must_use_;
