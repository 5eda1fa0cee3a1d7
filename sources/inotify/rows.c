// SPDX-License-Identifier: MIT
// The snapshot as it is stored: one state row a file, 'f' + directory id + name, one a directory,
// 'd' + its id. A directory's row names its parent, so moving it changes that row and no other.
// Ids are big-endian so that rows sort by directory; all else is little-endian behind a version.
#include "parts.h"

#include "base/limits.h"
#include "base/wire.h"

#include <errno.h>
#include <stdlib.h>

enum { ROW_VERSION = 1, DIR_ROW_ROOT = 1, DIR_ROW_FILES = 2, DIR_ROW_AWAY = 4, DIR_ROW_STOCK = 8 };

static Slice row_key(Watcher *w, char kind, uint64_t id, const char *name, size_t len)
{
        buf_reset(&w->key);
        buf_add_char(&w->key, kind);
        uint64_t big = htobe64(id);
        buf_add(&w->key, &big, sizeof big);
        buf_add(&w->key, name, len);
        return buf_slice(&w->key);
}

static void put_id(Buf *b, FileId id)
{
        wire_put_u64(b, id.a);
        wire_put_u64(b, id.b);
}

static FileId get_id(WireReader *r)
{
        FileId id = {.a = wire_u64(r)};
        id.b = wire_u64(r);
        return id;
}

static void put_stat(Buf *b, const Entry *e)
{
        wire_put_u64(b, (uint64_t)e->mtime_ns);
        wire_put_u64(b, (uint64_t)e->ctime_ns);
        wire_put_u32(b, e->mode);
        wire_put_u32(b, e->uid);
        wire_put_u32(b, e->gid);
        wire_put_u32(b, e->nlink);
}

static void get_stat(WireReader *r, FileStat *s)
{
        s->mtime_ns = (int64_t)wire_u64(r);
        s->ctime_ns = (int64_t)wire_u64(r);
        s->mode = wire_u32(r);
        s->uid = wire_u32(r);
        s->gid = wire_u32(r);
        s->nlink = wire_u32(r);
}

void row_put_file(Watcher *w, const Dir *d, const Entry *e)
{
        Buf *b = &w->row;
        buf_reset(b);
        wire_put_u8(b, ROW_VERSION);
        put_id(b, e->id);
        wire_put_u64(b, e->size);
        put_stat(b, e);
        wire_put_u64(b, w->counter);
        batch_open(w);
        source_state_put(w->source, row_key(w, 'f', d->id, e->name, e->name_len), buf_slice(b));
}

void row_del_file(Watcher *w, const Dir *d, const char *name, size_t len)
{
        batch_open(w);
        source_state_del(w->source, row_key(w, 'f', d->id, name, len));
}

void row_put_dir(Watcher *w, const Dir *d)
{
        static const Entry none;
        Buf *b = &w->row;
        const Root *r = d->root;
        uint8_t flags = 0;
        if (!d->parent)
                flags = (uint8_t)(DIR_ROW_ROOT | (r->names ? DIR_ROW_FILES : 0) |
                                  (r->state == ROOT_AWAY ? DIR_ROW_AWAY : 0) |
                                  (r->taking_stock ? DIR_ROW_STOCK : 0));
        buf_reset(b);
        wire_put_u8(b, ROW_VERSION);
        wire_put_u8(b, flags);
        wire_put_u64(b, d->parent ? d->parent->id : 0);
        put_id(b, d->identity);
        put_stat(b, d->self ? d->self : &none);
        wire_put_u64(b, d->parent ? 0 : r->fs.id);
        wire_put_u64(b, d->parent ? 0 : r->fs.type);
        wire_put_bytes(
                b, d->parent ? slice_mem(d->self->name, d->self->name_len) : slice_of(r->path));
        batch_open(w);
        source_state_put(w->source, row_key(w, 'd', d->id, NULL, 0), buf_slice(b));
}

void row_del_dir(Watcher *w, const Dir *d)
{
        batch_open(w);
        source_state_del(w->source, row_key(w, 'd', d->id, NULL, 0));
}

static int load_root(
        Watcher *w, uint64_t id, FileId identity, uint8_t flags, Filesystem fs, Slice path)
{
        Root *r = root_new(w, path.data, path.len, flags & DIR_ROW_FILES);
        if (!r)
                return -ENOMEM;
        r->fs = fs;
        r->state = flags & DIR_ROW_AWAY ? ROOT_AWAY : ROOT_WAITING;
        r->taking_stock = flags & DIR_ROW_STOCK;
        r->dir = tree_dir_new(&w->tree, id, NULL, NULL, r, identity);
        return r->dir ? 0 : -ENOMEM;
}

static int load_dir(Watcher *w, uint64_t id, Slice value)
{
        WireReader r = wire_reader(value);
        FileStat s = {0};
        uint8_t version = wire_u8(&r), flags = wire_u8(&r);
        uint64_t parent = wire_u64(&r);
        s.id = get_id(&r);
        get_stat(&r, &s);
        Filesystem fs = {.id = wire_u64(&r)};
        fs.type = wire_u64(&r);
        Slice name = wire_bytes(&r);
        if (!wire_end(&r) || version != ROW_VERSION || id == 0 || tree_dir(&w->tree, id))
                return -EBADMSG;
        if (flags & DIR_ROW_ROOT)
                return memchr(name.data, 0, name.len) ? -EBADMSG
                                                      : load_root(w, id, s.id, flags, fs, name);
        if (name.len == 0 || name.len > 255 || parent == 0 || (s.mode & 0170000) != 0040000)
                return -EBADMSG;
        Entry *e = entry_new(name.data, name.len, &s);
        if (!e)
                return -ENOMEM;
        Dir *d = tree_dir_new(&w->tree, id, NULL, e, NULL, s.id);
        if (!d) {
                free(e);
                return -ENOMEM;
        }
        d->load_parent = parent;
        return 0;
}

static int load_file(Watcher *w, uint64_t dir, Slice name, Slice value)
{
        WireReader r = wire_reader(value);
        FileStat s = {0};
        uint8_t version = wire_u8(&r);
        s.id = get_id(&r);
        s.size = wire_u64(&r);
        get_stat(&r, &s);
        (void)wire_u64(&r); // the change counter at the time
        if (!wire_end(&r) || version != ROW_VERSION || name.len == 0 || name.len > 255 ||
                (s.mode & 0170000) == 0040000)
                return -EBADMSG;
        Dir *d = tree_dir(&w->tree, dir);
        if (!d)
                return -EBADMSG;
        if (dir_find(d, name.data, name.len))
                return -EBADMSG;
        Entry *e = entry_new(name.data, name.len, &s);
        if (!e)
                return -ENOMEM;
        int q = dir_insert(&w->tree, d, e);
        if (q < 0)
                free(e);
        return q;
}

int row_load(Watcher *w, Slice key, Slice value)
{
        uint64_t id = 0;
        if (key.len == 1 && key.data[0] == 'o') {
                coverage_load(w, value);
                return 0;
        }
        if (key.len < 1 + sizeof id)
                return -EBADMSG;
        memcpy(&id, key.data + 1, sizeof id);
        id = be64toh(id);
        if (key.data[0] == 'd' && key.len == 1 + sizeof id)
                return load_dir(w, id, value);
        if (key.data[0] == 'f')
                return load_file(
                        w, id, slice_mem(key.data + 1 + sizeof id, key.len - 1 - sizeof id), value);
        return -EBADMSG;
}

void position_put(Watcher *w)
{
        Buf *b = &w->row;
        buf_reset(b);
        wire_put_u8(b, ROW_VERSION);
        wire_put_u8(b, w->taking_stock ? 0 : 1);
        wire_put_u64(b, w->counter);
        wire_put_u64(b, w->tree.next_id);
        wire_put_u64(b, clock_wall_usec());
        source_position(w->source, buf_slice(b));
}

int position_load(Watcher *w, Slice position)
{
        WireReader r = wire_reader(position);
        uint8_t version = wire_u8(&r), complete = wire_u8(&r);
        w->counter = wire_u64(&r);
        w->tree.next_id = wire_u64(&r);
        uint64_t seen = wire_u64(&r);
        if (!wire_end(&r) || version != ROW_VERSION)
                return -EBADMSG;
        w->taking_stock = !complete;
        w->last_run_usec = seen;
        return 0;
}
