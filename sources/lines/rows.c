// SPDX-License-Identifier: MIT
// What is stored: one row for each file, by its identity, and as position what the rows are about.
// What is owed without a line of its own (a new file, another name, a file that went) is put in
// batches of its own, with the gaps that belong to it.
#include "follow.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/wire.h"

#include <errno.h>
#include <inttypes.h>

enum { ROW_VERSION = 1, POSITION_VERSION = 1, COVERAGE_SIZE = 16 };

static Slice row_key(const LogFile *f)
{
        return slice_mem(&f->id, sizeof f->id);
}

void row_put(Follow *w, const LogFile *f)
{
        Buf *b = &w->row;
        buf_reset(b);
        wire_put_u8(b, ROW_VERSION);
        wire_put_u8(b, (uint8_t)f->flags);
        wire_put_u8(b, (uint8_t)f->skip);
        wire_put_u64(b, f->epoch);
        wire_put_u64(b, f->offset);
        wire_put_u32(b, f->head.len);
        buf_add(b, f->head.hash, HEAD_HASH);
        wire_put_bytes(b, slice_of(f->path));
        if (b->error)
                follow_fail(w, "cannot go on", b->error);
        source_state_put(w->source, row_key(f), buf_slice(b));
}

void row_del(Follow *w, const LogFile *f)
{
        source_state_del(w->source, row_key(f));
}

int row_get(Follow *w, Slice key, Slice value)
{
        WireReader r = wire_reader(value);
        LogFile stored = {0};
        uint8_t version = wire_u8(&r);
        stored.flags = wire_u8(&r);
        stored.skip = wire_u8(&r);
        stored.epoch = wire_u64(&r);
        stored.offset = wire_u64(&r);
        stored.head.len = wire_u32(&r);
        Slice hash = wire_raw(&r, HEAD_HASH), path = wire_bytes(&r);
        if (version != ROW_VERSION || !wire_end(&r) || key.len != sizeof stored.id ||
                stored.skip >= _SKIP_MAX || stored.head.len > HEAD_MAX ||
                stored.head.len > stored.offset || path.len == 0 || memchr(path.data, 0, path.len))
                return -EBADMSG;
        memcpy(stored.head.hash, hash.data, HEAD_HASH);
        memcpy(&stored.id, key.data, sizeof stored.id);
        buf_reset(&w->scratch);
        buf_add_slice(&w->scratch, path);
        LogFile *f =
                file_find(w, stored.id) ? NULL : file_add(w, stored.id, buf_text(&w->scratch), -1);
        if (!f)
                return w->failed ? -ENOMEM : 0;
        f->flags = stored.flags;
        f->skip = stored.skip;
        f->epoch = stored.epoch;
        f->offset = stored.offset;
        f->head = stored.head;
        f->loaded = f->changed = true;
        if (f->epoch > w->last_epoch)
                w->last_epoch = f->epoch;
        return 0;
}

// ---- position

static int coverage_digest(Follow *w, uint8_t ret[static SHA256_SIZE])
{
        char **lists[] = {w->options->paths, w->options->exclude};
        buf_reset(&w->scratch);
        for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
                for (char **p = lists[i]; p && *p; p++)
                        wire_put_bytes(&w->scratch, slice_of(*p));
                wire_put_u32(&w->scratch, UINT32_MAX);
        }
        int r = w->scratch.error;
        return r < 0 ? r : digest_sha256(buf_slice(&w->scratch), ret);
}

void position_put(Follow *w)
{
        uint8_t digest[SHA256_SIZE];
        int r = coverage_digest(w, digest);
        if (r < 0) {
                follow_fail(w, "cannot go on", r);
                return;
        }
        buf_reset(&w->row);
        wire_put_u8(&w->row, POSITION_VERSION);
        buf_add(&w->row, digest, COVERAGE_SIZE);
        wire_put_u64(&w->row, w->stock_usec);
        source_position(w->source, buf_slice(&w->row));
        w->position_owed = false;
}

bool position_is_current(Follow *w, Slice position)
{
        uint8_t digest[SHA256_SIZE];
        WireReader r = wire_reader(position);
        uint8_t version = wire_u8(&r);
        Slice stored = wire_raw(&r, COVERAGE_SIZE);
        w->stock_usec = wire_u64(&r);
        return position.data && version == POSITION_VERSION && wire_end(&r) &&
               coverage_digest(w, digest) == 0 && memcmp(stored.data, digest, COVERAGE_SIZE) == 0;
}

// ---- what is owed

static void gap_add(Follow *w, LogFile *f)
{
        char from[24], to[24];
        const Gap *g = &f->gap;
        uint64_t material[] = {f->id.a, f->id.b, g->epoch, g->from, UINT64_MAX};
        (void)snprintf(from, sizeof from, "%" PRIu64, g->from);
        (void)snprintf(to, sizeof to, "%" PRIu64, g->to);
        buf_reset(&w->scratch);
        buf_addf(&w->scratch, "%s %s; from and to are bytes of it", f->path,
                f->gone ? "went before it was known to be read to its end"
                        : "was truncated before it was known to be read to its end");
        buf_reset(&w->data);
        JsonWriter j = json_writer(&w->data);
        json_begin(&j, '{');
        json_key(&j, "reason");
        json_text(&j, g->reason);
        json_key(&j, "from");
        json_text(&j, from);
        json_key(&j, "to");
        json_text(&j, g->to ? to : NULL);
        json_key(&j, "detail");
        json_add_string(&j, buf_slice(&w->scratch));
        json_end(&j, '}');
        if (w->data.error)
                follow_fail(w, "cannot go on", w->data.error);
        source_add(w->source, &(SourceEvent){.type = "source.gap",
                                      .subject = slice_of(f->path),
                                      .id_material = slice_mem(material, sizeof material),
                                      .data = buf_slice(&w->data)});
        f->gap = (Gap){0};
        w->count.gaps++;
}

static bool is_owed(const LogFile *f)
{
        return f->row_owed || f->gone || f->gap.reason;
}

// One batch. True: there is more.
static bool flush_some(Follow *w)
{
        LogFile *f, *next;
        unsigned n = 0;
        bool more = false;
        size_t room = source_batch_target(w->source) / 2;
        follow_begin(w);
        HASH_ITER (hh, w->files, f, next) {
                if (!is_owed(f))
                        continue;
                if (n == ROWS_MAX || source_batch_bytes(w->source) > room) {
                        more = true;
                        break;
                }
                n++;
                if (f->gone)
                        row_del(w, f);
                else
                        row_put(w, f);
                if (f->gap.reason)
                        gap_add(w, f);
                f->row_owed = false;
                if (f->gone)
                        file_free(w, f);
        }
        follow_commit(w);
        return more;
}

void rows_flush(Follow *w)
{
        bool owed = w->position_owed;
        for (LogFile *f = w->files; f && !owed; f = f->hh.next)
                owed = is_owed(f);
        while (owed && !w->failed && source_may_send(w->source))
                owed = flush_some(w);
}
