// SPDX-License-Identifier: MIT
// Lines of any bytes, in any pieces: the same events, all bytes used, and what parse makes of them is
// JSON.
#include "frame.h"
#include "parse.h"

#include "base/json.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Regex *start;
static Framer framer;
static Parser *parsers[3];

typedef struct Told {
        uint64_t hash;
        size_t offset;
        FrameSkip skip;
} Told;

static void look_at(Slice line)
{
        Buf out = BUF_INIT(1 << 20);
        size_t at;
        for (size_t i = 0; i < N_ELEMENTS(parsers); i++) {
                buf_reset(&out);
                if (parser_parse(parsers[i], line, &out))
                        assert(json_check(buf_slice(&out), 64, &at) == 0);
                else
                        assert(out.len == 0);
        }
        buf_deinit(&out);
}

static void tell(const char *bytes, size_t n, FrameEnd end, Told *t)
{
        Span span;
        while (frame_next(
                &framer, slice_mem(bytes + t->offset, n - t->offset), end, &t->skip, &span)) {
                assert(span.next <= n - t->offset && (span.next > 0 || span.none));
                assert(span.len <= framer.max_line && span.len <= span.next);
                if (!span.none) {
                        t->hash = (t->hash * 31 + span.len) * 31 + t->offset * 2 + span.cut;
                        look_at(slice_mem(bytes + t->offset, span.len));
                }
                t->offset += span.next;
        }
}

static void prepare(void)
{
        static const char *const parse[] = {"json", "logfmt", "/^(?<a>\\w+) (?<b>.*)$/"};
        char message[REGEX_MESSAGE_MAX];
        Reason reason;
        size_t at;
        bool ok = regex_new(&start, SLICE_LIT("^[A-Z]"), SLICE_NULL, &at, message) == 0 &&
                  regex_matcher_new(&framer.matcher) == 0;
        for (size_t i = 0; i < N_ELEMENTS(parsers); i++)
                ok = ok && parser_new(&parsers[i], parse[i], &at, &reason) == 0;
        if (!ok)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (!start)
                prepare();
        if (size < 2)
                return 0;
        framer.max_line = 4 + data[0] % 60;
        framer.start = data[0] & 0x80 ? start : NULL;
        size_t step = 1 + data[1] % 40;
        const char *bytes = (const char *)data + 2;
        size -= 2;
        Told whole = {0}, pieces = {0};
        tell(bytes, size, FRAME_MORE, &whole);
        for (size_t at = 0; at < size; at += step)
                tell(bytes, at, FRAME_MORE, &pieces);
        tell(bytes, size, FRAME_MORE, &pieces);
        assert(whole.hash == pieces.hash && whole.offset == pieces.offset);
        tell(bytes, size, FRAME_LAST, &whole);
        assert(whole.offset == size);
        return 0;
}
