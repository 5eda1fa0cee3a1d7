// SPDX-License-Identifier: MIT
// See keys.h. Invariants: the entries are numbered without holes from `first` to `end`; each of them
// is in the index once; what is before `written` is on the disk, and so may be some that are forgotten
// already, in rows that are deleted once nothing of them is left.
//
// The disk sees rows, not keys, because a source may have a million of them: a row of its own for each,
// at a place that is random, would cost a page of the store for each event.
#include "event/keys.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

enum { CAP_MIN = 64, VERSION = 1, CHANGE_ROOM = 16 };

int keys_init(Keys *k, size_t max, uint32_t window_sec)
{
        assert(max > 0 && max <= KEYS_MAX);
        *k = (Keys){.max = max, .window = window_sec};
        ssize_t n = getrandom(k->seed, sizeof(k->seed), 0);
        k->seed[1] |= 1;
        return n == (ssize_t)sizeof(k->seed) ? 0 : -EIO;
}

void keys_deinit(Keys *k)
{
        free(k->ring);
        free(k->index);
        *k = (Keys){0};
}

// ---- the index

static KeyEntry *entry_at(const Keys *k, uint64_t number)
{
        return &k->ring[number & (k->cap - 1)];
}

static size_t index_mask(const Keys *k)
{
        return 2 * k->cap - 1;
}

static size_t home_of(const Keys *k, const uint8_t id[static ID_HEX / 2])
{
        uint64_t a, b;
        memcpy(&a, id, sizeof(a));
        memcpy(&b, id + sizeof(a), sizeof(b));
        return (size_t)(((a ^ b ^ k->seed[0]) * k->seed[1]) >> 32) & index_mask(k);
}

// The slot of that id, or the free one where it would stand.
static size_t slot_of(const Keys *k, const uint8_t id[static ID_HEX / 2])
{
        size_t i = home_of(k, id);
        while (k->index[i] && memcmp(k->ring[k->index[i] - 1].id, id, ID_HEX / 2) != 0)
                i = (i + 1) & index_mask(k);
        return i;
}

// Closes the hole, so that a search never meets one before what it looks for.
static void index_remove(Keys *k, const KeyEntry *e)
{
        size_t hole = slot_of(k, e->id), i = hole;
        if (k->index[hole] != (uint32_t)(e - k->ring) + 1)
                return;
        for (;;) {
                i = (i + 1) & index_mask(k);
                if (!k->index[i])
                        break;
                size_t home = home_of(k, k->ring[k->index[i] - 1].id);
                if (((i - home) & index_mask(k)) >= ((i - hole) & index_mask(k))) {
                        k->index[hole] = k->index[i];
                        hole = i;
                }
        }
        k->index[hole] = 0;
}

static int grow(Keys *k)
{
        size_t cap = k->cap ? 2 * k->cap : CAP_MIN;
        KeyEntry *ring = calloc(cap, sizeof(*ring));
        uint32_t *index = calloc(2 * cap, sizeof(*index));
        if (!ring || !index) {
                free(ring);
                free(index);
                return -ENOMEM;
        }
        for (uint64_t n = k->first; n < k->end; n++)
                ring[n & (cap - 1)] = *entry_at(k, n);
        free(k->ring);
        free(k->index);
        k->ring = ring;
        k->index = index;
        k->cap = cap;
        for (uint64_t n = k->first; n < k->end; n++)
                k->index[slot_of(k, entry_at(k, n)->id)] = (uint32_t)(n & (cap - 1)) + 1;
        return 0;
}

// ---- in and out

static void forget_oldest(Keys *k)
{
        index_remove(k, entry_at(k, k->first));
        k->first++;
}

static int add(Keys *k, const uint8_t id[static ID_HEX / 2], uint32_t sec)
{
        while (k->end - k->first >= k->max) {
                forget_oldest(k);
                k->early++;
        }
        if (k->end - k->first == k->cap) {
                int r = grow(k);
                if (r < 0)
                        return r;
        }
        size_t slot = slot_of(k, id);
        KeyEntry *e = entry_at(k, k->end);
        memcpy(e->id, id, sizeof(e->id));
        e->sec = sec;
        k->index[slot] = (uint32_t)(e - k->ring) + 1; // one that stands twice: the newer one counts
        k->end++;
        return 0;
}

void keys_expire(Keys *k, uint32_t now)
{
        // The clock went back: what seems to come from the future would stay for ever.
        if (k->end > k->first && entry_at(k, k->end - 1)->sec > now)
                for (uint64_t n = k->first; n < k->end; n++)
                        if (entry_at(k, n)->sec > now)
                                entry_at(k, n)->sec = now;
        while (k->first < k->end && (uint64_t)entry_at(k, k->first)->sec + k->window <= now)
                forget_oldest(k);
}

static void id_of(const char hex[static ID_HEX], uint8_t ret[static ID_HEX / 2])
{
        for (size_t i = 0; i < ID_HEX; i++) {
                uint8_t digit = (uint8_t)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
                ret[i / 2] = (uint8_t)(ret[i / 2] << 4 | (digit & 15));
        }
}

bool keys_have(const Keys *k, const char hex[static ID_HEX])
{
        uint8_t id[ID_HEX / 2] = {0};
        id_of(hex, id);
        return k->cap && k->index[slot_of(k, id)];
}

int keys_add(Keys *k, const char hex[static ID_HEX], uint32_t now)
{
        uint8_t id[ID_HEX / 2] = {0};
        id_of(hex, id);
        return add(k, id, now);
}

// ---- rows

static void row_key(uint64_t row, char out[static KEYS_ROW_KEY])
{
        out[0] = 'k';
        for (unsigned i = 0; i < 8; i++)
                out[1 + i] = (char)(row >> (56 - 8 * i));
}

static void put_row(const Keys *k, uint64_t row, KeysChange change, void *userdata)
{
        char key[KEYS_ROW_KEY];
        uint8_t value[KEYS_ROW];
        uint64_t from = row * KEYS_A_ROW, to = from + KEYS_A_ROW;
        size_t at = 2;
        if (from < k->first)
                from = k->first;
        if (to > k->end)
                to = k->end;
        value[0] = VERSION;
        value[1] = (uint8_t)(from % KEYS_A_ROW);
        for (uint64_t n = from; n < to; n++) {
                const KeyEntry *e = entry_at(k, n);
                memcpy(value + at, e->id, sizeof(e->id));
                for (unsigned i = 0; i < 4; i++)
                        value[at + sizeof(e->id) + i] = (uint8_t)(e->sec >> 8 * i);
                at += KEYS_ENTRY;
        }
        row_key(row, key);
        change(userdata, slice_mem(key, sizeof(key)), slice_mem(value, at));
}

void keys_write(Keys *k, KeysChange change, void *userdata)
{
        char key[KEYS_ROW_KEY];
        uint64_t from = k->written > k->first ? k->written : k->first;
        for (uint64_t row = from / KEYS_A_ROW; row * KEYS_A_ROW < k->end && from < k->end; row++)
                put_row(k, row, change, userdata);
        k->written = k->end;
        uint64_t keep = k->first / KEYS_A_ROW;
        for (unsigned i = 0; i < KEYS_DELETES && k->deleted < keep; i++) {
                row_key(k->deleted++, key);
                change(userdata, slice_mem(key, sizeof(key)), SLICE_NULL);
        }
}

size_t keys_room(const Keys *k)
{
        size_t rows = (size_t)((k->end + 1 - k->written) / KEYS_A_ROW) + 2;
        return rows * (KEYS_ROW + KEYS_ROW_KEY + CHANGE_ROOM) +
               KEYS_DELETES * (KEYS_ROW_KEY + CHANGE_ROOM);
}

int keys_load(Keys *k, Slice key, Slice value, uint32_t now)
{
        uint64_t row = 0;
        const uint8_t *v = (const uint8_t *)value.data;
        if (key.len != KEYS_ROW_KEY || key.data[0] != 'k' || value.len < 2 + KEYS_ENTRY ||
                (value.len - 2) % KEYS_ENTRY != 0 || v[0] != VERSION ||
                v[1] + (value.len - 2) / KEYS_ENTRY > KEYS_A_ROW)
                return -EBADMSG;
        for (unsigned i = 0; i < 8; i++)
                row = row << 8 | (uint8_t)key.data[1 + i];
        if (row > UINT64_MAX / KEYS_A_ROW - 1)
                return -EBADMSG;
        uint64_t number = row * KEYS_A_ROW + v[1];
        if (!k->begun)
                k->deleted = row;
        else if (number < k->end)
                return -EBADMSG;
        if (!k->begun || number != k->end) {
                while (k->first < k->end)
                        forget_oldest(k);
                k->first = k->end = number;
        }
        k->begun = true;
        for (size_t at = 2; at < value.len; at += KEYS_ENTRY) {
                uint32_t sec = 0;
                for (unsigned i = 0; i < 4; i++)
                        sec |= (uint32_t)v[at + ID_HEX / 2 + i] << 8 * i;
                int r = add(k, v + at, sec < now ? sec : now);
                if (r < 0)
                        return r;
        }
        k->written = k->end;
        k->early = 0; // what does not fit any more is told of the process that had room for it
        keys_expire(k, now);
        return 0;
}
