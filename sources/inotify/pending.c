// SPDX-License-Identifier: MIT
// The names that wait for their writer or for credit: a hash by (directory id, name) and a binary
// heap by (due, arrival). Bounded by PENDING_MAX; it holds names and times, never file content.
#include "parts.h"

#include <stddef.h>
#include <stdlib.h>

bool memory_short;

static size_t key_size(size_t name_len)
{
        return sizeof(uint64_t) + name_len;
}

static bool before(const Pending *a, const Pending *b)
{
        return a->due != b->due ? a->due < b->due : a->sequence < b->sequence;
}

static void place(Pendings *ps, size_t i, Pending *p)
{
        ps->heap[i] = p;
        p->slot = i;
}

static void sift(Pendings *ps, Pending *p)
{
        size_t i = p->slot;
        while (i > 0 && before(p, ps->heap[(i - 1) / 2])) {
                place(ps, i, ps->heap[(i - 1) / 2]);
                i = (i - 1) / 2;
        }
        for (;;) {
                size_t child = 2 * i + 1;
                if (child >= ps->n)
                        break;
                if (child + 1 < ps->n && before(ps->heap[child + 1], ps->heap[child]))
                        child++;
                if (!before(ps->heap[child], p))
                        break;
                place(ps, i, ps->heap[child]);
                i = child;
        }
        place(ps, i, p);
}

Pending *pending_find(Pendings *ps, uint64_t dir, Slice name)
{
        struct {
                uint64_t dir;
                char name[256];
        } key = {.dir = dir};
        Pending *p;
        memcpy(key.name, name.data, name.len);
        HASH_FIND(hh, ps->by_name, &key, key_size(name.len), p);
        return p;
}

Pending *pending_get(Pendings *ps, uint64_t dir, Slice name)
{
        Pending *p = pending_find(ps, dir, name);
        if (p)
                return p;
        if (ps->n >= PENDING_MAX)
                return NULL;
        if (ps->n == ps->cap) {
                size_t cap = ps->cap ? ps->cap * 2 : 64;
                Pending **heap = reallocarray(ps->heap, cap, sizeof *heap);
                if (!heap)
                        return NULL;
                ps->heap = heap;
                ps->cap = cap;
        }
        p = calloc(1, offsetof(Pending, key) + key_size(name.len) + 1);
        if (!p)
                return NULL;
        p->key.dir = dir;
        memcpy(p->key.name, name.data, name.len);
        p->name_len = (uint8_t)name.len;
        p->due = UINT64_MAX;
        p->sequence = ++ps->sequence;
        HASH_ADD(hh, ps->by_name, key, key_size(name.len), p);
        place(ps, ps->n++, p);
        return p;
}

void pending_schedule(Pendings *ps, Pending *p, uint64_t due)
{
        p->due = due;
        p->sequence = ++ps->sequence;
        sift(ps, p);
}

Pending *pending_first(Pendings *ps)
{
        return ps->n ? ps->heap[0] : NULL;
}

void pending_drop(Pendings *ps, Pending *p)
{
        Pending *last = ps->heap[--ps->n];
        if (last != p) {
                place(ps, p->slot, last);
                sift(ps, last);
        }
        HASH_DELETE(hh, ps->by_name, p);
        free(p);
}

void pendings_deinit(Pendings *ps)
{
        while (ps->n > 0)
                pending_drop(ps, ps->heap[ps->n - 1]);
        free(ps->heap);
        *ps = (Pendings){0};
}
