// SPDX-License-Identifier: MIT
// How far a journal source has come, as it is stored: a place in the journal, what is missing behind
// it and not told yet, and which files that cannot be read have been told. Pure data; any bytes may be
// given to position_decode().
#pragma once

#include "base/buf.h"

#include <sys/types.h>

enum { CURSOR_SIZE = 256, TOLD_MAX = 32 };

// Everything up to and including the entry of the cursor is done, or, with `before`, up to it alone;
// without a cursor everything before the time.
typedef struct Position {
        uint64_t realtime_usec;
        char cursor[CURSOR_SIZE]; // "" = none
        bool before;
} Position;

// Entries that are known to have been there and could not be read; told together.
typedef struct Missing {
        uint64_t n, from_usec, to_usec;
} Missing;

typedef struct FileId {
        dev_t dev;
        ino_t ino;
} FileId;

typedef struct Progress {
        Position at;
        bool caught_up; // was at the end of the journal once
        Missing missing;
        FileId told[TOLD_MAX];
        unsigned n_told;
} Progress;

// where: which journal it is a place in.
void progress_encode(const Progress *p, Slice where, Buf *out);
// 1: it is of this journal; 0: of another one; -EBADMSG: not written by progress_encode().
int progress_decode(Slice stored, Slice where, Progress *ret) _must_use_;

int file_id_compare(const void *a, const void *b);

// ---- cursors: "s=SEQUENCE;i=NUMBER;b=BOOT;m=MONOTONIC;t=REALTIME;x=HASH", numbers in hexadecimal

bool cursor_same(const char *a, const char *b, const char *keys); // all these parts, none is absent
uint64_t cursor_number(const char *cursor, char key);             // 0: it has none
// How many entries of the same sequence lie between two; 0 also when it cannot be told.
uint64_t cursor_between(const char *a, const char *b);
