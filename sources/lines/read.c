// SPDX-License-Identifier: MIT
// One look at one file: what was appended becomes one batch of events with the file's row. The bytes
// are read first and the file's size and head looked at after, so that what was read before a
// truncation counts and what was read after it, at an offset that means nothing any more, does not.
#include "follow.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/text.h"

#include <errno.h>
#include <sys/stat.h>

typedef struct Encoded {
        size_t at, len; // in w->data
        uint64_t offset;
} Encoded;

static Encoded encoded[BATCH_EVENTS_MAX];

static void encode(Follow *w, const LogFile *f, Slice line, const Span *span, uint64_t offset)
{
        bool valid = text_utf8_valid(line);
        JsonWriter j = json_writer(&w->data);
        json_begin(&j, '{');
        json_key(&j, "path");
        json_add_string(&j, slice_of(f->path));
        json_key(&j, "name");
        json_add_string(&j, slice_of(path_name(f->path)));
        json_key(&j, "line");
        json_add_string(&j, line);
        if (!valid) {
                json_key(&j, "line_b64");
                buf_add_char(&w->data, '"');
                digest_base64(&w->data, line);
                buf_add_char(&w->data, '"');
                j.comma = true;
        }
        json_key(&j, "offset");
        json_u64(&j, offset);
        json_key(&j, "bytes");
        json_u64(&j, line.len);
        json_key(&j, "lines");
        json_u64(&j, span->lines);
        if (span->cut) {
                json_key(&j, "cut");
                json_bool(&j, true);
        }
        if (!parser_is_none(w->parser)) {
                buf_reset(&w->scratch);
                if (parser_parse(w->parser, line, &w->scratch) && !w->scratch.error) {
                        json_key(&j, "fields");
                        json_raw(&j, buf_slice(&w->scratch));
                } else {
                        w->count.unparsed++;
                }
        }
        json_end(&j, '}');
        w->count.events++;
        w->count.cut += span->cut;
}

// Frames and encodes until the batch is full or the bytes are used up. Returns how many events;
// *ret_used is how many bytes, *ret_full that the batch ended it.
static unsigned encode_all(Follow *w, const LogFile *f, Slice bytes, FrameEnd end, FrameSkip *skip,
        size_t *ret_used, bool *ret_full)
{
        unsigned n = 0;
        size_t at = 0, target = source_batch_target(w->source) / 2;
        Span span;
        buf_reset(&w->data);
        *ret_full = false;
        while (frame_next(
                &w->framer, slice_mem(bytes.data + at, bytes.len - at), end, skip, &span)) {
                if (!span.none) {
                        size_t from = w->data.len;
                        encode(w, f, slice_mem(bytes.data + at, span.len), &span, f->offset + at);
                        encoded[n++] = (Encoded){from, w->data.len - from, f->offset + at};
                }
                at += span.next;
                if (n == BATCH_EVENTS_MAX || w->data.len >= target || w->data.error) {
                        *ret_full = true;
                        break;
                }
        }
        *ret_used = at;
        return n;
}

static void send_all(Follow *w, const LogFile *f, unsigned n)
{
        uint64_t wall = clock_wall_usec();
        uint64_t material[] = {f->id.a, f->id.b, f->epoch, 0};
        for (unsigned i = 0; i < n; i++) {
                material[3] = encoded[i].offset;
                source_add(w->source,
                        &(SourceEvent){.time_usec = wall,
                                .type = "line.appended",
                                .subject = slice_of(f->path),
                                .id_material = slice_mem(material, sizeof material),
                                .data = slice_mem((const char *)w->data.data + encoded[i].at,
                                        encoded[i].len)});
        }
        if (n > 0)
                w->count.last_event_usec = wall;
}

static FrameEnd frame_end(const Follow *w, const LogFile *f, bool at_end)
{
        if (!at_end)
                return FRAME_MORE;
        if (f->rescue >= 0 || (f->flags & FILE_ROTATED && w->now >= f->grown + REST_USEC))
                return FRAME_LAST;
        if (w->framer.start && w->now >= f->grown + w->options->multiline_wait_usec)
                return FRAME_WAITED;
        return FRAME_MORE;
}

// Reads and looks. False: there is nothing to frame.
static bool look(Follow *w, LogFile *f, size_t *ret_n)
{
        struct stat s;
        int fd = f->rescue >= 0 ? f->rescue : f->fd;
        ssize_t n = pread(fd, w->bytes, w->n_bytes, (off_t)f->offset);
        if (n < 0 || fstat(fd, &s) < 0) {
                follow_trouble(w, "%s cannot be read: %s", f->path, strerror(errno));
                f->changed = false;
                return false;
        }
        uint64_t size = (uint64_t)s.st_size;
        bool truncated = n > 0 ? size >= f->offset + (uint64_t)n && !head_matches(&f->head, fd)
                               : size < f->offset || !head_matches(&f->head, fd);
        if (truncated && f->rescue >= 0) { // the copy went the same way: its rest is lost
                f->gap = (Gap){.reason = "truncated", .epoch = f->epoch, .from = f->offset};
                rescue_end(w, f);
                return false;
        }
        if (truncated) {
                file_truncated(w, f);
                return false;
        }
        if (size > f->size && !f->loaded)
                f->grown = w->now;
        f->loaded = false;
        f->size = size;
        *ret_n = (size_t)n;
        return true;
}

static void file_done(Follow *w, LogFile *f)
{
        file_close(w, f);
        f->flags |= FILE_DONE;
        f->row_owed = true;
}

// Its last byte was read and nothing is to come.
static void at_last(Follow *w, LogFile *f)
{
        f->changed = false;
        if (f->rescue >= 0)
                rescue_end(w, f);
        else if (f->flags & FILE_ROTATED && w->now >= f->grown + REST_USEC)
                file_done(w, f);
}

bool file_read(Follow *w, LogFile *f)
{
        size_t n, used;
        bool full;
        if (f->fd < 0 || f->gone || f->flags & FILE_COPY) {
                f->changed = false;
                return false;
        }
        if (!look(w, f, &n))
                return f->changed;
        bool at_end = n < w->n_bytes && f->offset + n >= f->size;
        FrameEnd end = frame_end(w, f, at_end);
        if (end == FRAME_WAITED)
                f->waited = f->size;
        FrameSkip skip = f->skip;
        unsigned events = encode_all(w, f, slice_mem(w->bytes, n), end, &skip, &used, &full);
        if (w->data.error) {
                follow_fail(w, "cannot go on", w->data.error);
                return false;
        }
        if (used == 0 && skip == f->skip) {
                if (at_end)
                        at_last(w, f);
                else
                        f->changed =
                                false; // it shrank while it was read; a look at the rest is due
                return f->changed;
        }
        follow_begin(w);
        f->skip = skip;
        int r = f->rescue >= 0 ? 0
                               : head_extend(&f->head, f->fd, f->offset, slice_mem(w->bytes, used));
        if (r < 0)
                follow_fail(w, f->path, r);
        f->offset += used;
        row_put(w, f);
        f->row_owed = false;
        send_all(w, f, events);
        w->count.bytes += used;
        follow_commit(w);
        f->changed = full || !at_end || f->rescue >= 0 || f->flags & FILE_ROTATED;
        return f->changed;
}
