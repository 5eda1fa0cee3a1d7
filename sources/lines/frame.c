// SPDX-License-Identifier: MIT
// Pure: the same bytes give the same events however they came. What is longer than max_line is cut
// at once and the rest left out, so nothing has to be kept while it goes on.
#include "frame.h"

#include "base/text.h"

// One line: its bytes without the end, and where the next begins. complete: its end was seen.
typedef struct Line {
        size_t len, next;
        bool complete;
} Line;

static Line line_at(Slice bytes, size_t at, size_t limit)
{
        size_t left = bytes.len - at;
        const char *p = bytes.data + at;
        const char *end = memchr(p, '\n', left < limit + 2 ? left : limit + 2);
        if (!end) // a carriage return may be half of an end
                return (Line){.len = left == limit + 1 && p[limit] == '\r' ? limit : left,
                        .next = bytes.len};
        size_t n = (size_t)(end - p);
        return (Line){
                .len = n > 0 && p[n - 1] == '\r' ? n - 1 : n, .next = at + n + 1, .complete = true};
}

static bool is_start(const Framer *f, Slice line)
{
        Slice groups[REGEX_GROUPS_MAX];
        if (line.len > f->max_line)
                line.len = f->max_line;
        return regex_match(f->start, f->matcher, line, groups) > 0;
}

// Not in the middle of a character.
static size_t cut_len(Slice bytes, size_t max)
{
        for (size_t n = max; n > 0 && n + 4 > max; n--) {
                if (((uint8_t)bytes.data[n] & 0xc0) != 0x80)
                        return n;
        }
        return max;
}

static bool skip_line(const Framer *f, Slice bytes, FrameSkip *skip, Span *ret)
{
        const char *end = memchr(bytes.data, '\n', bytes.len);
        *ret = (Span){.next = end ? (size_t)(end - bytes.data) + 1 : bytes.len, .none = true};
        if (end)
                *skip = f->start ? SKIP_GROUP : SKIP_NONE;
        return true;
}

// Whole lines up to one that begins an event.
static bool skip_group(const Framer *f, Slice bytes, FrameEnd end, FrameSkip *skip, Span *ret)
{
        size_t at = 0;
        while (at < bytes.len) {
                Line l = line_at(bytes, at, f->max_line);
                bool whole = l.complete || l.len > f->max_line || end == FRAME_LAST;
                if (!whole)
                        break;
                if (is_start(f, slice_mem(bytes.data + at, l.len))) {
                        *skip = SKIP_NONE;
                        break;
                }
                if (!l.complete && l.len > f->max_line) {
                        *skip = SKIP_LINE; // where it ends was not looked for
                        break;
                }
                at = l.next;
        }
        *ret = (Span){.next = at, .none = true};
        return at > 0 || *skip != SKIP_GROUP;
}

static bool cut(const Framer *f, Slice bytes, unsigned lines, FrameSkip *skip, Span *ret)
{
        size_t n = cut_len(bytes, f->max_line);
        *ret = (Span){.len = n, .next = n, .lines = lines, .cut = true};
        *skip = n > 0 && bytes.data[n - 1] == '\n' ? SKIP_GROUP : SKIP_LINE;
        return true;
}

static bool single(const Framer *f, Slice bytes, FrameEnd end, FrameSkip *skip, Span *ret)
{
        Line l = line_at(bytes, 0, f->max_line);
        if (l.len > f->max_line)
                return cut(f, bytes, 1, skip, ret);
        if (!l.complete && end != FRAME_LAST)
                return false;
        *ret = (Span){.len = l.len, .next = l.next, .lines = 1};
        return true;
}

static bool group(const Framer *f, Slice bytes, FrameEnd end, FrameSkip *skip, Span *ret)
{
        Line l = line_at(bytes, 0, f->max_line);
        unsigned lines = 1;
        if (l.len > f->max_line)
                return cut(f, bytes, 1, skip, ret);
        if (!l.complete && end != FRAME_LAST)
                return false;
        size_t len = l.len, at = l.next;
        while (at < bytes.len) {
                l = line_at(bytes, at, f->max_line);
                bool whole = l.complete || l.len > f->max_line || end == FRAME_LAST;
                if (!whole) {
                        if (end == FRAME_MORE)
                                return false; // it may be the next event
                        break;
                }
                if (is_start(f, slice_mem(bytes.data + at, l.len)))
                        break;
                if (at + l.len > f->max_line)
                        return cut(f, bytes, lines + (at < f->max_line), skip, ret);
                lines++;
                len = at + l.len;
                at = l.next;
                if (at == bytes.len && end == FRAME_MORE)
                        return false;
        }
        if (lines == 1 && at == bytes.len && end == FRAME_MORE)
                return false;
        *ret = (Span){.len = len, .next = at, .lines = lines};
        return true;
}

bool frame_next(const Framer *f, Slice bytes, FrameEnd end, FrameSkip *skip, Span *ret)
{
        if (bytes.len == 0)
                return false;
        if (*skip == SKIP_LINE)
                return skip_line(f, bytes, skip, ret);
        if (*skip == SKIP_GROUP)
                return skip_group(f, bytes, end, skip, ret);
        return f->start ? group(f, bytes, end, skip, ret) : single(f, bytes, end, skip, ret);
}
