// SPDX-License-Identifier: MIT
// Ids that are remembered, so that what is handed in twice is taken once: ids in
// the order in which they came, for a time and up to a number. Rows for the store go out through
// keys_write() and come back through keys_load(); it knows no source and no clock.
#pragma once

#include "base/buf.h"
#include "base/digest.h"

enum {
        KEYS_MAX = 1000 * 1000,
        KEYS_A_ROW = 64,                        // a row is written again until it holds so many
        KEYS_ROW_KEY = 1 + 8,                   // 'k' and the row's number, rising as bytes do
        KEYS_ENTRY = 16 + 4,                    // an id and its second
        KEYS_ROW = 2 + KEYS_A_ROW * KEYS_ENTRY, // the longest value
        KEYS_DELETES = 32,                      // rows one batch takes away at most
};

typedef struct KeyEntry {
        uint8_t id[ID_HEX / 2];
        uint32_t sec; // wall
} KeyEntry;

// Entry number n is in row n / KEYS_A_ROW and at n & (cap - 1) of the ring; so nothing says where.
typedef struct Keys {
        size_t max;
        uint32_t window;
        KeyEntry *ring;
        uint32_t *index; // open addressing: the place in the ring + 1; twice as long as the ring
        size_t cap;      // of the ring, a power of two, or 0
        uint64_t first, end, written; // entry numbers: the oldest, one past the newest, on the disk
        uint64_t deleted;             // rows before this one are not on the disk
        uint64_t early;               // forgotten for want of room, before their time
        uint64_t seed[2];             // of the index: nobody shall know where an id falls
        bool begun;                   // a row was loaded
} Keys;

int keys_init(Keys *k, size_t max, uint32_t window_sec) _must_use_;
void keys_deinit(Keys *k);

// One row, rising by number. -EBADMSG: it is no row. A row after a hole makes what was before it
// forgotten.
int keys_load(Keys *k, Slice key, Slice value, uint32_t now) _must_use_;

void keys_expire(Keys *k, uint32_t now); // before each question
bool keys_have(const Keys *k, const char id[static ID_HEX]);
int keys_add(Keys *k, const char id[static ID_HEX], uint32_t now) _must_use_; // -ENOMEM

// What changed since the last time: rows to put, rows to delete (value absent).
typedef void (*KeysChange)(void *userdata, Slice key, Slice value);
void keys_write(Keys *k, KeysChange change, void *userdata);
size_t keys_room(const Keys *k); // bytes of changes that keys_write() may make after one more key
