// SPDX-License-Identifier: MIT
// A change becomes an event and a row of the snapshot, in one batch with the position: that is what
// makes it exactly once. The tree in memory changes with them. Each function needs batch_ready()
// just before it, which keeps room for the longest paths.
#include "parts.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/wire.h"

#include <stdlib.h>

static size_t batch_limit(const Watcher *w)
{
        size_t max = source_batch_target(w->source);
        return max < BATCH_TARGET ? max : BATCH_TARGET;
}

bool batch_ready(Watcher *w)
{
        if (w->failed)
                return false;
        if (w->in_batch) {
                size_t limit = batch_limit(w),
                       room = limit / 2 < BATCH_ROOM ? limit / 2 : BATCH_ROOM;
                if (source_batch_bytes(w->source) + room <= limit)
                        return true;
                batch_close(w);
        }
        return !w->failed && source_may_send(w->source);
}

void batch_open(Watcher *w)
{
        if (!w->in_batch)
                source_begin(w->source);
        w->in_batch = true;
}

void batch_close(Watcher *w)
{
        uint64_t batch;
        if (!w->in_batch)
                return;
        position_put(w);
        w->in_batch = false;
        int r = source_commit(w->source, &batch);
        if (r < 0)
                watcher_fail(w, "cannot send to the hub", r);
}

typedef struct Told { // what one event tells
        const char *type;
        const FileStat *stat;
        bool present; // dev and ino are known
        bool sized;
        const Buf *old_path;
        const char *hash;
} Told;

static void add_path(JsonWriter *j, const char *key, const char *key_b64, Slice path, Buf *scratch)
{
        json_key(j, key);
        json_add_string(j, path);
        if (text_utf8_valid(path))
                return;
        buf_reset(scratch);
        digest_base64(scratch, path);
        json_key(j, key_b64);
        json_add_string(j, buf_slice(scratch));
}

static void add_account(JsonWriter *j, const char *key, const char *name)
{
        if (!name)
                return;
        json_key(j, key);
        json_text(j, name);
}

static void add_stat(JsonWriter *j, const Told *t)
{
        const FileStat *s = t->stat;
        char text[CLOCK_RFC3339_MAX];
        if (t->sized) {
                json_key(j, "size");
                json_u64(j, s->size);
        }
        unsigned m = s->mode & 07777;
        char mode[6] = {'0', (char)('0' + (m >> 9 & 7)), (char)('0' + (m >> 6 & 7)),
                (char)('0' + (m >> 3 & 7)), (char)('0' + (m & 7)), 0};
        json_key(j, "mode");
        json_text(j, m >> 9 ? mode : mode + 1);
        json_key(j, "uid");
        json_u64(j, s->uid);
        json_key(j, "gid");
        json_u64(j, s->gid);
        add_account(j, "owner", account_user(s->uid));
        add_account(j, "group", account_group(s->gid));
        json_key(j, "mtime");
        json_text(j, clock_rfc3339(s->mtime_ns > 0 ? (uint64_t)s->mtime_ns / 1000 : 0, text));
        if (t->present) {
                json_key(j, "dev");
                json_u64(j, s->dev);
                json_key(j, "ino");
                json_u64(j, s->ino);
        }
        if (t->hash) {
                json_key(j, "hash");
                json_text(j, t->hash);
        }
}

// What makes this event this event, whoever looks at it: see DESIGN of ids.
static Slice id_material(Watcher *w, const Told *t, Slice path)
{
        Buf *b = &w->row;
        uint8_t digest[SHA256_SIZE];
        buf_reset(b);
        wire_put_bytes(b, slice_of(t->type));
        if (path.len > LIMIT_ID_MATERIAL / 2 && digest_sha256(path, digest) == 0)
                path = slice_mem(digest, sizeof digest);
        wire_put_bytes(b, path);
        wire_put_u32(b, t->stat->mode & 0170000);
        wire_put_u64(b, t->stat->id.a);
        wire_put_u64(b, t->stat->id.b);
        wire_put_u64(b, t->stat->size);
        wire_put_u64(b, (uint64_t)t->stat->mtime_ns);
        wire_put_u64(b, (uint64_t)t->stat->ctime_ns);
        wire_put_u64(b, w->counter);
        return buf_slice(b);
}

static uint64_t dev_number(uint64_t dev)
{
        uint64_t major = dev >> 32, minor = dev & UINT32_MAX; // glibc's gnu_dev_makedev
        return (major & 0xfffff000u) << 32 | (major & 0xfffu) << 8 | (minor & 0xffffff00u) << 12 |
               (minor & 0xffu);
}

// w->path holds the path.
static void tell(Watcher *w, const Told *told)
{
        FileStat s = *told->stat;
        Told t = *told;
        s.dev = dev_number(s.dev);
        t.stat = &s;
        Slice path = buf_slice(&w->path);
        const char *slash = memrchr(path.data, '/', path.len);
        size_t dir_len = slash ? (size_t)(slash - path.data) : 0;
        Slice name = {path.data + dir_len + 1, path.len - dir_len - 1};
        buf_reset(&w->json);
        JsonWriter j = json_writer(&w->json);
        json_begin(&j, '{');
        add_path(&j, "path", "path_b64", path, &w->scratch);
        json_key(&j, "name");
        json_add_string(&j, name);
        json_key(&j, "dir");
        json_add_string(&j, dir_len ? slice_mem(path.data, dir_len) : SLICE_LIT("/"));
        if (t.old_path)
                add_path(&j, "old_path", "old_path_b64", buf_slice(t.old_path), &w->scratch);
        add_stat(&j, &t);
        json_end(&j, '}');
        w->counter++;
        uint64_t wall = clock_wall_usec();
        uint64_t when = t.present && s.ctime_ns > 0 ? (uint64_t)s.ctime_ns / 1000 : wall;
        batch_open(w);
        source_add(w->source, &(SourceEvent){.time_usec = when < wall ? when : wall,
                                      .type = t.type,
                                      .subject = path,
                                      .id_material = id_material(w, &t, path),
                                      .data = buf_slice(&w->json)});
        w->stats.events++;
        w->stats.last_event_usec = wall;
        if (w->json.error || w->path.error)
                watcher_fail(w, "an event's path", w->json.error ? w->json.error : w->path.error);
}

static void path_of(Watcher *w, Buf *b, const Dir *d, const char *name, size_t len)
{
        buf_reset(b);
        dir_path(d, b);
        if (name) {
                buf_add_char(b, '/');
                buf_add(b, name, len);
        }
}

static Entry *entry_add(Watcher *w, Dir *d, const char *name, size_t len, const FileStat *s)
{
        Entry *e = entry_new(name, len, s);
        if (!e || dir_insert(&w->tree, d, e) < 0) {
                free(e);
                memory_short = true;
                return NULL;
        }
        e->seen = true;
        return e;
}

void report_known(Watcher *w, Dir *d, const char *name, size_t len, const FileStat *s)
{
        Entry *e = entry_add(w, d, name, len, s);
        if (!e)
                return;
        batch_open(w);
        row_put_file(w, d, e);
}

void report_created(
        Watcher *w, Dir *d, const char *name, size_t len, const FileStat *s, const char *hash)
{
        Entry *e = entry_add(w, d, name, len, s);
        if (!e)
                return;
        path_of(w, &w->path, d, name, len);
        tell(w, &(Told){.type = "file.created",
                        .stat = s,
                        .present = true,
                        .sized = true,
                        .hash = hash});
        row_put_file(w, d, e);
}

static bool content_differs(const Entry *e, const FileStat *s)
{
        return !file_id_equal(e->id, s->id) || e->size != s->size || e->mtime_ns != s->mtime_ns ||
               (e->mode ^ s->mode) & 0170000;
}

static bool attributes_differ(const Entry *e, const FileStat *s)
{
        return e->mode != s->mode || e->uid != s->uid || e->gid != s->gid;
}

bool entry_differs(const Entry *e, const FileStat *s)
{
        return content_differs(e, s) || attributes_differ(e, s) || e->nlink != s->nlink;
}

void report_changed(Watcher *w, Dir *d, Entry *e, const FileStat *s, const char *hash)
{
        const char *type = content_differs(e, s)     ? "file.modified"
                           : attributes_differ(e, s) ? "file.attributes"
                                                     : NULL;
        bool row = type || e->nlink != s->nlink;
        entry_set(e, s);
        if (type) {
                path_of(w, &w->path, d, e->name, e->name_len);
                tell(w, &(Told){.type = type,
                                .stat = s,
                                .present = true,
                                .sized = true,
                                .hash = hash});
        }
        if (row) {
                batch_open(w);
                row_put_file(w, d, e);
        }
}

void report_moved(Watcher *w, Dir *from, Entry *e, Dir *to, const char *name, size_t len,
        const FileStat *s, bool attached)
{
        FileStat moved = *s;
        moved.size = e->size;
        moved.mtime_ns = e->mtime_ns;
        path_of(w, &w->old_path, from, e->name, e->name_len);
        if (attached)
                dir_remove(&w->tree, from, e);
        batch_open(w);
        row_del_file(w, from, e->name, e->name_len);
        Entry *n = entry_add(w, to, name, len, &moved);
        free(e);
        if (!n)
                return;
        path_of(w, &w->path, to, name, len);
        tell(w, &(Told){.type = "file.moved",
                        .stat = &moved,
                        .present = true,
                        .sized = true,
                        .old_path = &w->old_path});
        row_put_file(w, to, n);
}

static FileStat entry_stat(const Entry *e)
{
        return (FileStat){.id = e->id,
                .size = entry_is_dir(e) ? 0 : e->size,
                .mtime_ns = e->mtime_ns,
                .ctime_ns = e->ctime_ns,
                .mode = e->mode,
                .uid = e->uid,
                .gid = e->gid,
                .nlink = e->nlink};
}

void report_deleted(Watcher *w, Dir *d, Entry *e, bool attached)
{
        FileStat s = entry_stat(e);
        if (attached)
                dir_remove(&w->tree, d, e);
        batch_open(w);
        row_del_file(w, d, e->name, e->name_len);
        if (d->root->wanted && !(d->flags & DIR_SILENT)) {
                path_of(w, &w->path, d, e->name, e->name_len);
                tell(w, &(Told){.type = "file.deleted", .stat = &s, .sized = true});
        }
        free(e);
}

void report_dir(Watcher *w, const char *type, Dir *d, const FileStat *s, const Buf *old_path)
{
        FileStat last = entry_stat(d->self);
        path_of(w, &w->path, d, NULL, 0);
        tell(w, &(Told){.type = type,
                        .stat = s ? s : &last,
                        .present = s,
                        .sized = s,
                        .old_path = old_path});
}

void report_gap(Watcher *w, Root *r, const char *reason, const char *detail)
{
        char from[CLOCK_RFC3339_MAX], to[CLOCK_RFC3339_MAX];
        uint64_t wall = clock_wall_usec();
        Slice path = slice_of(r->path[0] ? r->path : "/");
        clock_rfc3339(r->seen_usec ? r->seen_usec : wall, from);
        clock_rfc3339(wall, to);
        buf_reset(&w->json);
        JsonWriter j = json_writer(&w->json);
        json_begin(&j, '{');
        json_key(&j, "reason");
        json_text(&j, reason);
        json_key(&j, "from");
        json_text(&j, from);
        json_key(&j, "to");
        json_text(&j, to);
        json_key(&j, "detail");
        json_add_string(&j, slice_of(detail));
        json_end(&j, '}');
        w->counter++;
        FileStat s = {.ctime_ns = (int64_t)(r->seen_usec * 1000)};
        batch_open(w);
        source_add(w->source, &(SourceEvent){.time_usec = wall,
                                      .type = "source.gap",
                                      .subject = path,
                                      .id_material = id_material(
                                              w, &(Told){.type = "source.gap", .stat = &s}, path),
                                      .data = buf_slice(&w->json)});
        row_put_dir(w, r->dir);
}
