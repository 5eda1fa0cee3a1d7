// SPDX-License-Identifier: MIT
// Nodes, entries and their tables. Names are hashed with a seed of this process, so that nobody can
// choose names that collide. Nothing here touches a filesystem.
#include "tree.h"
#include "roots.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t seed;

static uint32_t name_hash(const char *name, size_t len)
{
        if (seed == 0 && (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed || seed == 0))
                seed = UINT64_C(0x9e3779b97f4a7c15);
        uint64_t h = seed ^ len * UINT64_C(0x9e3779b97f4a7c15);
        while (len > 0) {
                uint64_t part = 0;
                size_t n = len < 8 ? len : 8;
                memcpy(&part, name, n);
                h = (h ^ part) * UINT64_C(0xff51afd7ed558ccd);
                h ^= h >> 32;
                name += n;
                len -= n;
        }
        h *= UINT64_C(0xc4ceb9fe1a85ec53);
        return (uint32_t)(h >> 32);
}

void entry_set(Entry *e, const FileStat *s)
{
        bool was_dir = entry_is_dir(e);
        e->id = s->id;
        if (!was_dir)
                e->size = s->size;
        e->mtime_ns = s->mtime_ns;
        e->ctime_ns = s->ctime_ns;
        e->mode = s->mode;
        e->uid = s->uid;
        e->gid = s->gid;
        e->nlink = s->nlink;
}

Entry *entry_new(const char *name, size_t len, const FileStat *s)
{
        assert(len > 0 && len <= 255);
        Entry *e = calloc(1, sizeof *e + len + 1);
        if (!e)
                return NULL;
        memcpy(e->name, name, len);
        e->name_len = (uint8_t)len;
        e->hash = name_hash(name, len);
        entry_set(e, s);
        if (entry_is_dir(e))
                e->dir = NULL;
        return e;
}

static Entry **table_slot(const Table *t, const char *name, size_t len, uint32_t hash)
{
        for (uint32_t i = hash & (t->cap - 1);; i = (i + 1) & (t->cap - 1)) {
                Entry *e = t->slots[i];
                if (!e ||
                        (e->hash == hash && e->name_len == len && memcmp(e->name, name, len) == 0))
                        return &t->slots[i];
        }
}

static int table_resize(Table *t, uint32_t cap)
{
        Entry **slots = calloc(cap, sizeof *slots);
        if (!slots)
                return -ENOMEM;
        Table grown = {slots, t->n, cap};
        for (uint32_t i = 0; i < t->cap; i++) {
                Entry *e = t->slots[i];
                if (e)
                        *table_slot(&grown, e->name, e->name_len, e->hash) = e;
        }
        free(t->slots);
        *t = grown;
        return 0;
}

Entry *dir_find(const Dir *d, const char *name, size_t len)
{
        if (d->entries.n == 0)
                return NULL;
        return *table_slot(&d->entries, name, len, name_hash(name, len));
}

int dir_insert(Tree *t, Dir *d, Entry *e)
{
        Table *table = &d->entries;
        if ((table->n + 1) * 4 > table->cap * 3) {
                int r = table_resize(table, table->cap ? table->cap * 2 : 4);
                if (r < 0)
                        return r;
        }
        Entry **slot = table_slot(table, e->name, e->name_len, e->hash);
        assert(!*slot);
        *slot = e;
        table->n++;
        if (!entry_is_dir(e))
                t->n_files++;
        return 0;
}

void dir_remove(Tree *t, Dir *d, Entry *e)
{
        Table *table = &d->entries;
        Entry **slot = table_slot(table, e->name, e->name_len, e->hash);
        assert(*slot == e);
        uint32_t hole = (uint32_t)(slot - table->slots), mask = table->cap - 1;
        for (uint32_t i = (hole + 1) & mask; table->slots[i]; i = (i + 1) & mask) {
                uint32_t home = table->slots[i]->hash & mask;
                if (((i - home) & mask) >= ((i - hole) & mask)) {
                        table->slots[hole] = table->slots[i];
                        hole = i;
                }
        }
        table->slots[hole] = NULL;
        table->n--;
        if (!entry_is_dir(e))
                t->n_files--;
        if (table->n == 0) {
                free(table->slots);
                *table = (Table){0};
        }
}

Dir *tree_dir_new(Tree *t, uint64_t id, Dir *parent, Entry *self, Root *root, FileId identity)
{
        Dir *d = calloc(1, sizeof *d);
        if (!d)
                return NULL;
        d->id = id ? id : ++t->next_id;
        if (d->id > t->next_id)
                t->next_id = d->id;
        d->identity = identity;
        d->parent = parent;
        d->self = self;
        d->root = root;
        d->wd = -1;
        d->depth = parent ? parent->depth + 1 : 0;
        if (self)
                self->dir = d;
        HASH_ADD(hh, t->by_id, id, sizeof d->id, d);
        HASH_ADD(hh_identity, t->by_identity, identity, sizeof d->identity, d);
        t->n_dirs++;
        return d;
}

void tree_dir_free(Tree *t, Dir *d)
{
        for (uint32_t i = 0; i < d->entries.cap; i++) {
                Entry *e = d->entries.slots[i];
                if (e && !entry_is_dir(e))
                        t->n_files--;
                free(e);
        }
        free(d->entries.slots);
        HASH_DELETE(hh, t->by_id, d);
        HASH_DELETE(hh_identity, t->by_identity, d);
        t->n_dirs--;
        free(d);
}

void tree_deinit(Tree *t)
{
        Dir *d, *next;
        HASH_ITER (hh, t->by_id, d, next) {
                if (d->flags & DIR_DETACHED || (d->self && !d->parent))
                        free(d->self);
                tree_dir_free(t, d);
        }
}

Dir *tree_dir(const Tree *t, uint64_t id)
{
        Dir *d;
        HASH_FIND(hh, t->by_id, &id, sizeof id, d);
        return d;
}

Dir *tree_dir_by_identity(const Tree *t, FileId id)
{
        Dir *d;
        HASH_FIND(hh_identity, t->by_identity, &id, sizeof id, d);
        for (UT_hash_handle *hh = d ? &d->hh_identity : NULL; hh; hh = hh->hh_next) {
                Dir *x = ELMT_FROM_HH(t->by_identity->hh_identity.tbl, hh);
                if (file_id_equal(x->identity, id) && !(x->flags & DIR_REMOVING))
                        return x;
        }
        return d;
}

void tree_dir_set_identity(Tree *t, Dir *d, FileId id)
{
        HASH_DELETE(hh_identity, t->by_identity, d);
        d->identity = id;
        HASH_ADD(hh_identity, t->by_identity, identity, sizeof d->identity, d);
}

void tree_dir_settle(Dir *d)
{
        // Depth first without recursion: a stack of positions would need memory, parents do not.
        Dir *at = d;
        uint32_t i = 0;
        for (;;) {
                while (i < at->entries.cap) {
                        Entry *e = at->entries.slots[i++];
                        if (!e || !entry_is_dir(e) || !e->dir)
                                continue;
                        e->dir->root = at->root;
                        e->dir->depth = at->depth + 1;
                        at = e->dir;
                        i = 0;
                }
                if (at == d)
                        return;
                Entry *self = at->self;
                at = at->parent;
                i = (uint32_t)(table_slot(&at->entries, self->name, self->name_len, self->hash) -
                               at->entries.slots) +
                    1;
        }
}

void dir_relative_path(const Dir *d, Buf *out)
{
        size_t len = 0;
        for (const Dir *a = d; a->parent; a = a->parent)
                len += a->self->name_len + 1u;
        if (len == 0)
                return;
        uint8_t *p = buf_grow(out, len - 1);
        if (!p)
                return;
        size_t at = len - 1;
        for (const Dir *a = d; a->parent; a = a->parent) {
                at -= a->self->name_len;
                memcpy(p + at, a->self->name, a->self->name_len);
                if (at > 0)
                        p[--at] = '/';
        }
}

void dir_path(const Dir *d, Buf *out)
{
        buf_add_str(out, d->root->path);
        if (d->parent) {
                buf_add_char(out, '/');
                dir_relative_path(d, out);
        }
}

bool dir_is_below(const Dir *d, const Dir *ancestor)
{
        for (; d; d = d->parent)
                if (d == ancestor)
                        return true;
        return false;
}
