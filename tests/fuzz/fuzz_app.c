// SPDX-License-Identifier: MIT
// Lines of applications: what is taken is what the hub would take; and the lines that `belfry emit` makes
// of anything are one line each, and what the source takes.
#include "app.h"

#include "base/clock.h"
#include "base/limits.h"
#include "cli/emit_line.h"
#include "event/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EventParser parser;
static EmitLine maker;

static bool is_taken(Slice text)
{
        EventLine l;
        Reason reason = {0};
        char material[APP_MATERIAL_MAX];
        size_t at;
        int r = event_line_parse(&parser, text, false, &l, &reason);
        assert(r == 0 || (r == -EINVAL && reason.text[0]));
        if (r < 0)
                return false;
        assert(event_type_is_own(slice_of(l.type)));
        assert(json_check(l.data, LIMIT_JSON_DEPTH, &at) == 0 && l.data.data[0] == '{');
        assert(l.subject.len <= LIMIT_SUBJECT && l.key.len <= EVENT_LINE_ID_MAX);
        assert(!l.key.data || l.key.len > 0);
        assert(app_material(material, 0, l.key).len == 2 + l.key.len);
        return true;
}

static bool is_one_line(const Buf *b)
{
        return b->len > 0 && memchr(b->data, '\n', b->len) == b->data + b->len - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Reason reason = {0};
        Slice text = slice_mem(data, size);
        if (!maker.out.max) {
                event_parser_init(&parser);
                emit_line_init(&maker, 1 << 20);
        }
        bool taken = is_taken(text);
        // A line has no line feed in it, whatever stands around the object.
        if (size > 0 && !memchr(data, '\n', size)) {
                int r = emit_line_whole(&maker, text, &reason);
                if (r >= 0)
                        assert(is_one_line(&maker.out) && is_taken(buf_slice(&maker.out)) >= taken);
                else
                        assert(!taken && reason.text[0]);
        }
        int r = emit_line_data(&maker, &(EmitParts){.type = "a.b"}, text, &reason);
        if (r >= 0)
                assert(is_one_line(&maker.out) && is_taken(buf_slice(&maker.out)));
        char *word = strndup((const char *)data, size); // NULs end it, as in an argument
        if (!word)
                abort();
        r = emit_line_data(&maker, &(EmitParts){.type = word, .subject = word, .key = word},
                SLICE_LIT("{}"), &reason);
        if (r >= 0) {
                assert(is_one_line(&maker.out));
                (void)is_taken(buf_slice(&maker.out));
        }
        free(word);
        return 0;
}
