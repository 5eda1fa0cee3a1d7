// SPDX-License-Identifier: MIT
// The follower's events: entries, and gaps of three kinds. Vacuumed: the entry of the position is gone.
// Damaged: numbers of entries are left out, or an entry has no content. Unreadable: a whole file. Each
// is in the batch whose position leads past it.
#include "follow_internal.h"

#include "filter.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <syslog.h>

enum { MARK_SEC = 30, STATS_USEC = 1000000 };

Slice follow_where(const Follow *f)
{
        const JournalOptions *o = f->options;
        return slice_of(o->directory ? o->directory : o->log_namespace ? o->log_namespace : "");
}

static void batch_open(Follow *f)
{
        if (f->batch++ == 0)
                source_begin(f->source);
}

void tell_commit(Follow *f)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(LIMIT_POSITION);
        batch_open(f);
        progress_encode(&f->progress, follow_where(f), &b);
        if (b.error < 0)
                follow_failed(f, b.error, "cannot write the position");
        source_position(f->source, buf_slice(&b));
        int r = source_commit(f->source, NULL);
        if (r < 0)
                follow_failed(f, r, "cannot hand over entries");
        f->ahead = false;
        f->batch = 0;
        f->mark_due = clock_mono_usec() + MARK_SEC * USEC_PER_SEC;
}

// ---- gaps

typedef struct Gap {
        const char *reason;
        uint64_t from_usec, to_usec;
        const char *material; // what makes it this gap
} Gap;

static void tell_gap(Follow *f, const Gap *g, const char *detail)
{
        char from[CLOCK_RFC3339_MAX], to[CLOCK_RFC3339_MAX];
        _cleanup_(buf_deinitp) Buf data = BUF_INIT(LIMIT_STATS);
        JsonWriter w = json_writer(&data);
        json_begin(&w, '{');
        json_key(&w, "reason");
        json_text(&w, g->reason);
        json_key(&w, "from");
        json_text(&w, clock_rfc3339(g->from_usec, from));
        json_key(&w, "to");
        json_text(&w, clock_rfc3339(g->to_usec, to));
        json_key(&w, "detail");
        json_add_string(&w, slice_of(detail));
        json_end(&w, '}');
        if (data.error < 0)
                follow_failed(f, data.error, "cannot tell a gap");
        source_log(f->source, LOG_WARNING, NULL, "gap: %s", detail);
        batch_open(f);
        source_add(f->source, &(SourceEvent){.type = "source.gap",
                                      .subject = slice_of(source_name(f->source)),
                                      .id_material = slice_of(g->material),
                                      .data = buf_slice(&data)});
        f->gaps++;
}

void tell_vacuumed(Follow *f)
{
        char material[2 * CURSOR_SIZE + 16], detail[2 * CURSOR_SIZE + 512];
        Position *at = &f->progress.at;
        (void)snprintf(material, sizeof(material), "gap:%s:%s", at->cursor, f->gap_to.cursor);
        (void)snprintf(detail, sizeof(detail),
                "The journal no longer holds the entry read last (%s); the first one left is %s. "
                "What was logged between them may have been removed unread. If this happens while "
                "the daemon runs, raise SystemMaxUse= in journald.conf.",
                at->cursor, f->gap_to.cursor);
        tell_gap(f,
                &(Gap){.reason = "vacuumed",
                        .from_usec = at->realtime_usec,
                        .to_usec = f->gap_to.realtime_usec,
                        .material = material},
                detail);
        *at = f->gap_to;
        at->before = true;
        f->gap = false;
        tell_commit(f);
}

void tell_missing(Follow *f)
{
        char material[128], detail[512];
        Missing *m = &f->progress.missing;
        (void)snprintf(material, sizeof(material), "missing:%" PRIx64 ":%" PRIx64 ":%" PRIx64, m->n,
                m->from_usec, m->to_usec);
        (void)snprintf(detail, sizeof(detail),
                "%" PRIu64 " %s of the journal between these times cannot be read: damaged, or "
                "removed unread. journalctl --verify names damaged files.",
                m->n, m->n == 1 ? "entry" : "entries");
        tell_gap(f,
                &(Gap){.reason = "damaged",
                        .from_usec = m->from_usec,
                        .to_usec = m->to_usec,
                        .material = material},
                detail);
        *m = (Missing){0};
}

void tell_files(Follow *f, unsigned n, const SkippedFile *first)
{
        char material[128], detail[REASON_MAX + 256], more[64] = "";
        (void)snprintf(material, sizeof(material), "file:%" PRIx64 ":%" PRIx64 ":%" PRIx64,
                (uint64_t)first->id.dev, (uint64_t)first->id.ino, first->changed_usec);
        if (n > 1)
                (void)snprintf(more, sizeof(more), " (and %u more)", n - 1);
        (void)snprintf(detail, sizeof(detail),
                "A journal file is not read%s: %s. What only it holds is not told.", more,
                first->what);
        uint64_t from = f->survey_usec < first->changed_usec ? f->survey_usec : 0;
        tell_gap(f,
                &(Gap){.reason = first->error == EACCES || first->error == EPERM ? "denied"
                                                                                 : "damaged",
                        .from_usec = from,
                        .to_usec = first->changed_usec,
                        .material = material},
                detail);
        tell_commit(f);
}

// ---- entries

static uint64_t event_time(const Follow *f, const Position *here)
{
        Slice s = entry_text(f->entry, ENTRY_SOURCE_TIME);
        uint64_t usec = 0;
        for (size_t i = 0; i < s.len && i < 17; i++) {
                if (s.data[i] < '0' || s.data[i] > '9')
                        return here->realtime_usec;
                usec = 10 * usec + (uint64_t)(s.data[i] - '0');
        }
        return usec > 0 && usec <= here->realtime_usec ? usec : here->realtime_usec;
}

bool tell_entry(Follow *f, const Position *here)
{
        Slice cursor = slice_of(here->cursor), unit = entry_unit(f->entry);
        Slice identifier = entry_text(f->entry, ENTRY_IDENTIFIER);
        buf_shrink(&f->data, ENTRY_DATA_MAX / 4);
        int r = entry_data(f->entry, cursor, &f->data);
        if (r < 0)
                follow_failed(f, r, "cannot take an entry in");
        if (f->batch > 0 && source_batch_bytes(f->source) + f->data.len + 1024 >
                                    source_batch_target(f->source)) {
                tell_commit(f);
                if (!source_may_send(f->source))
                        return false;
        }
        batch_open(f);
        source_add(f->source, &(SourceEvent){.time_usec = event_time(f, here),
                                      .type = "journal.entry",
                                      .subject = unit.len         ? unit
                                                 : identifier.len ? identifier
                                                                  : SLICE_LIT("journal"),
                                      .id_material = cursor,
                                      .data = buf_slice(&f->data)});
        f->entries++;
        f->cut += entry_was_cut(f->entry);
        return true;
}

// ---- status

void tell_stats(Follow *f, bool now)
{
        uint64_t mono = clock_mono_usec(), wall = clock_wall_usec();
        uint64_t at = f->progress.at.realtime_usec;
        char text[CLOCK_RFC3339_MAX];
        if (!now && mono < f->stats_due)
                return;
        f->stats_due = mono + STATS_USEC;
        uint64_t lag = f->at_end || wall < at ? 0 : wall - at;
        json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:b, s:s, s:i, s:i}", "entries",
                (json_int_t)f->entries, "excluded", (json_int_t)f->excluded, "damaged",
                (json_int_t)f->damaged, "missing", (json_int_t)f->missing, "cut",
                (json_int_t)f->cut, "gaps", (json_int_t)f->gaps, "lag", (double)lag / 1e6, "at_end",
                f->at_end, "cursor_time", clock_rfc3339(at, text), "files", (int)f->files.files,
                "files_skipped", (int)f->files.skipped);
        if (j && f->files.n_list > 0)
                (void)json_object_set_new(j, "file_skipped", json_string(f->files.list[0].what));
        if (j)
                source_stats(f->source, j);
        json_decref(j);
}
