// SPDX-License-Identifier: MIT
// Notes are kept by key. Before the snapshot is known each is one of a transaction, in a list; then
// those of transactions that it does not see move into a table, and what comes later goes there
// directly. Several changes of a row are one note: it is told whole when any of them told it whole,
// since those after it told the difference.
#include "watch.h"

#include "base/buf.h"
#include "base/wire.h"
#include "table.h"

#include <errno.h>
#include <stdlib.h>

typedef struct Note {
        bool whole;
        UT_hash_handle hh;
        char key[];
} Note;

struct Watch {
        uint32_t told[WATCH_TOLD]; // a ring: xids that told something
        uint64_t n_told, n_before; // n_before: told when the reading began
        uint32_t last;

        uint32_t table; // 0: nothing is read
        bool touched, known, blind;
        Snapshot snapshot;
        Buf early; // u32 xid, u8 whole, bytes key
        size_t n_early;
        Note *notes;
        size_t bytes;
};

// ---- snapshots
static bool take_number(Slice *s, char end, uint64_t *ret)
{
        uint64_t n = 0;
        size_t i = 0;
        for (; i < s->len && s->data[i] >= '0' && s->data[i] <= '9'; i++) {
                if (n > (UINT64_MAX - 9) / 10)
                        return false;
                n = 10 * n + (uint64_t)(s->data[i] - '0');
        }
        if (i == 0 || (i < s->len && s->data[i] != end) || (i == s->len && end == ':'))
                return false;
        i += i < s->len;
        *s = (Slice){s->data + i, s->len - i};
        *ret = n;
        return true;
}

int snapshot_parse(Slice text, Snapshot *ret)
{
        Snapshot s = {0};
        size_t room = 1;

        if (!take_number(&text, ':', &s.xmin) || !take_number(&text, ':', &s.xmax) ||
                s.xmin > s.xmax)
                return -EBADMSG;
        for (size_t i = 0; i < text.len; i++)
                room += text.data[i] == ',';
        if (text.len > 0 && !(s.running = calloc(room, sizeof *s.running)))
                return -ENOMEM;
        while (text.len > 0) {
                uint64_t n;
                if (!take_number(&text, ',', &n) ||
                        (s.n_running > 0 && n <= s.running[s.n_running - 1])) {
                        snapshot_deinit(&s);
                        return -EBADMSG;
                }
                s.running[s.n_running++] = n;
        }
        *ret = s;
        return 0;
}

void snapshot_deinit(Snapshot *s)
{
        free(s->running);
        *s = (Snapshot){0};
}

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
        return (x > y) - (x < y);
}

bool snapshot_sees(const Snapshot *s, uint32_t xid)
{
        // The stream has the lower half; the transaction is one of the last 2^31.
        uint64_t full = s->xmax + (uint64_t)(int64_t)(int32_t)(xid - (uint32_t)s->xmax);
        if (full >= s->xmax)
                return false;
        return full < s->xmin || s->n_running == 0 ||
               !bsearch(&full, s->running, s->n_running, sizeof *s->running, compare);
}

static bool seen(const Watch *w, uint32_t xid)
{
        return !w->blind && snapshot_sees(&w->snapshot, xid);
}

// ---- notes
static void notes_clear(Watch *w)
{
        Note *n, *next;
        HASH_ITER (hh, w->notes, n, next) {
                HASH_DEL(w->notes, n);
                free(n);
        }
        w->bytes = 0;
        buf_shrink(&w->early, 64 * 1024);
        w->n_early = 0;
}

Watch *watch_new(void)
{
        Watch *w = calloc(1, sizeof *w);
        if (w)
                w->early = BUF_INIT(WATCH_BYTES);
        return w;
}

Watch *watch_free(Watch *w)
{
        if (!w)
                return NULL;
        notes_clear(w);
        snapshot_deinit(&w->snapshot);
        buf_deinit(&w->early);
        free(w);
        return NULL;
}

// What cannot be noted counts for the whole table, so that nothing stale is ever told.
static void note(Watch *w, Slice key, bool whole)
{
        Note *n = NULL;
        HASH_FIND(hh, w->notes, key.data, key.len, n);
        if (n) {
                n->whole = n->whole || whole;
                return;
        }
        bool room = HASH_COUNT(w->notes) < WATCH_ROWS && w->bytes + key.len <= WATCH_BYTES;
        n = room ? calloc(1, sizeof *n + key.len + 1) : NULL;
        if (!n) {
                w->touched = true;
                return;
        }
        n->whole = whole;
        if (key.len > 0)
                memcpy(n->key, key.data, key.len);
        HASH_ADD_KEYPTR(hh, w->notes, n->key, key.len, n);
        if (!n->hh.tbl) {
                free(n);
                w->touched = true;
                return;
        }
        w->bytes += key.len;
}

// ---- the stream's side
void watch_transaction(Watch *w, uint32_t xid)
{
        if (xid == w->last && w->n_told > 0)
                return;
        w->last = xid;
        w->told[w->n_told++ % WATCH_TOLD] = xid;
}

bool watch_wants(const Watch *w, uint32_t table)
{
        return w->table == table && table != 0 && !w->touched;
}

static void early(Watch *w, uint32_t xid, Slice key, bool whole)
{
        wire_put_u32(&w->early, xid);
        wire_put_u8(&w->early, whole);
        wire_put_bytes(&w->early, key);
        if (w->early.error < 0 || ++w->n_early > WATCH_ROWS)
                w->touched = true;
}

void watch_row(Watch *w, uint32_t xid, Slice key, bool whole)
{
        if (!w->known)
                early(w, xid, key, whole);
        else if (!seen(w, xid))
                note(w, key, whole);
}

// Before the snapshot is known it is taken as one that does not see the transaction: rare, and safe.
void watch_table(Watch *w, uint32_t xid)
{
        if (!w->known || !seen(w, xid))
                w->touched = true;
}

// ---- the reader's side
void watch_begin(Watch *w, uint32_t table)
{
        watch_end(w);
        w->table = table;
        w->n_before = w->n_told;
}

int watch_snapshot(Watch *w, Slice text)
{
        Snapshot s = {0};
        int r = text.data ? snapshot_parse(text, &s) : 0;
        if (r < 0)
                return r;
        snapshot_deinit(&w->snapshot);
        w->snapshot = s;
        w->known = true;
        w->blind = !text.data;
        uint64_t first = w->n_before > WATCH_TOLD ? w->n_before - WATCH_TOLD : 0;
        if (w->n_told > WATCH_TOLD && w->n_told - WATCH_TOLD > first)
                first = w->n_told - WATCH_TOLD;
        for (uint64_t i = first; i < w->n_before && !w->blind; i++)
                if (!snapshot_sees(&s, w->told[i % WATCH_TOLD]))
                        return 1;
        WireReader in = wire_reader(buf_slice(&w->early));
        while (in.left > 0 && !w->touched) {
                uint32_t xid = wire_u32(&in);
                bool whole = wire_u8(&in);
                Slice key = wire_bytes(&in);
                if (!seen(w, xid))
                        note(w, key, whole);
        }
        buf_shrink(&w->early, 64 * 1024);
        return 0;
}

WatchVerdict watch_verdict(const Watch *w, Slice key)
{
        Note *n = NULL;
        HASH_FIND(hh, w->notes, key.data, key.len, n);
        return !n ? WATCH_UNTOUCHED : n->whole ? WATCH_TOUCHED : WATCH_IN_PART;
}

bool watch_table_touched(const Watch *w)
{
        return w->touched;
}

void watch_end(Watch *w)
{
        notes_clear(w);
        snapshot_deinit(&w->snapshot);
        w->table = 0;
        w->touched = w->known = w->blind = false;
}
