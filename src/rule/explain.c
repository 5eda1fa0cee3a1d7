// SPDX-License-Identifier: MIT
// Faults for people: the line of the text and a caret under the run that is wrong. Invariants: what
// is shown is safe for a terminal, one screen column a character, and at most about 100 columns.
#include "rule/explain.h"

#include "base/text.h"
#include "rule/expression.h"

enum { SHOWN_BEFORE = 50, SHOWN_AFTER = 40, CARET_MAX = 40 };

// One character as it is shown, so that the caret line can be counted: controls and the like as '?'.
static size_t shown_char(Slice s, Buf *out)
{
        size_t n = text_utf8_len(s);
        unsigned char c = (unsigned char)s.data[0];
        bool format =
                n == 3 && c == 0xe2 && ((unsigned char)s.data[1] & 0xfe) == 0x80; // bidi, marks
        bool c1 = n == 2 && c == 0xc2 && (unsigned char)s.data[1] < 0xa0;
        if (n == 0 || c < ' ' || c == 0x7f || format || c1)
                buf_add_char(out, c == '\t' ? ' ' : '?');
        else
                buf_add(out, s.data, n);
        return n ? n : 1;
}

static bool is_inside(char c)
{
        return ((unsigned char)c & 0xc0) == 0x80;
}

void fault_explain(const Fault *f, Slice text, Buf *out)
{
        buf_add_str(out, f->message);
        size_t start = f->start < text.len ? f->start : text.len;
        size_t end = f->end < text.len ? f->end : text.len;

        size_t from = start, to = start;
        while (from > 0 && start - from < SHOWN_BEFORE && text.data[from - 1] != '\n')
                from--;
        while (to < text.len && to < start + SHOWN_AFTER && text.data[to] != '\n')
                to++;
        while (from < start && is_inside(text.data[from]))
                from++;
        while (to < text.len && is_inside(text.data[to]))
                to++;

        bool cut = from > 0 && text.data[from - 1] != '\n';
        buf_add_str(out, cut ? "\n  ..." : "\n  ");
        unsigned before = cut ? 3 : 0, marked = 0;
        for (size_t at = from; at < to;) {
                before += at < start;
                marked += at >= start && at < end;
                at += shown_char((Slice){text.data + at, to - at}, out);
        }
        if (to < text.len && text.data[to] != '\n')
                buf_add_str(out, "...");
        buf_add_str(out, "\n  ");
        while (before-- > 0)
                buf_add_char(out, ' ');
        buf_add_char(out, '^');
        for (unsigned i = 1; i < marked && i < CARET_MAX; i++)
                buf_add_char(out, '~');
}

void fault_diagnose(const Fault *f, const ConfigText *text, const char *path, Diagnostics *d)
{
        _cleanup_(buf_deinitp) Buf message = BUF_INIT(4096);
        fault_explain(f, slice_of(text->text), &message);
        diagnose(d, SEVERITY_ERROR, config_text_place(text, f->start), path, "%s",
                message.error ? f->message : buf_text(&message));
}
