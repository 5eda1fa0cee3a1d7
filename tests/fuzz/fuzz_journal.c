// SPDX-License-Identifier: MIT
// Any texts as options, any bytes as a stored position, a file's header and an entry's fields. What is
// accepted keeps its promises: names are bounded, positions come back the same, events are JSON.
#include "entry.h"
#include "files.h"
#include "filter.h"
#include "position.h"

#include "base/json.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void texts(const char *text)
{
        char name[UNIT_NAME_SIZE], copy[512];
        char *terms[16];
        size_t n = 0, at;
        unsigned bits;
        uint64_t usec;
        Reason reason;
        if (unit_mangle(text, name, &reason) == 0)
                assert(name[0] && strlen(name) < UNIT_NAME_SIZE);
        if (priority_parse(text, &bits, &reason) == 0)
                assert(bits > 0 && bits <= 0xff);
        (void)since_parse(text, 1700000000000000, &usec, &reason);
        (void)boot_check(text, &reason);
        (void)namespace_check(text, &reason);
        if (field_pattern_check(text, &reason) == 0)
                (void)field_pattern_matches(text, slice_of(text));
        (void)cursor_between(text, text);
        (void)snprintf(copy, sizeof copy, "%s", text);
        for (char *s = copy; n + 1 < N_ELEMENTS(terms) && (terms[n] = strsep(&s, " "));)
                n++;
        terms[n] = NULL;
        if (match_check(terms, &at, &reason) < 0)
                assert(at < n && reason.text[0]);
}

static void entry(const uint8_t *data, size_t size)
{
        char *patterns[] = {(char[]){"A*"}, (char[]){"MESSAGE"}, NULL};
        EntryRules rules = {.max_field = 1 + size % 40,
                .max_data = 64 + size % 512,
                .fields = size % 3 ? NULL : patterns};
        Entry *e = entry_new(&rules);
        Buf out = BUF_INIT(1 << 20);
        size_t at;
        assert(e);
        for (int round = 0; round < 2; round++) { // the second finds nothing left by the first
                entry_begin(e);
                Slice rest = slice_mem(data, size);
                while (rest.len > 0) {
                        const char *end = memchr(rest.data, 0xfe, rest.len);
                        size_t n = end ? (size_t)(end - rest.data) : rest.len;
                        entry_add(e, (Slice){rest.data, n});
                        n += end != NULL;
                        rest = (Slice){rest.data + n, rest.len - n};
                }
                buf_reset(&out);
                assert(entry_data(e, SLICE_LIT("c"), &out) == 0);
                assert(json_check(buf_slice(&out), 64, &at) == 0);
                (void)entry_is_of_unit(e, "a*");
        }
        buf_deinit(&out);
        (void)entry_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Progress p, again;
        char text[512];
        if (size == 0)
                return 0;
        Slice bytes = slice_mem(data, size);
        if (progress_decode(bytes, SLICE_LIT("x"), &p) >= 0) {
                Buf b = BUF_INIT(4096);
                progress_encode(&p, SLICE_LIT("x"), &b);
                assert(b.error == 0 && progress_decode(buf_slice(&b), SLICE_LIT("x"), &again) == 1);
                assert(memcmp(&p.at, &again.at, sizeof p.at) == 0 && p.n_told == again.n_told);
                buf_deinit(&b);
        }
        (void)files_header_fault(data, size, size * 2);
        (void)snprintf(text, sizeof text, "%.*s", SLICE_ARG(bytes));
        texts(text);
        entry(data, size);
        return 0;
}
