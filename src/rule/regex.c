// SPDX-License-Identifier: MIT
// A thin skin over PCRE2. Invariants: a code has fewer than REGEX_GROUPS_MAX groups, so one match
// block fits all; \C (half a character) is refused; invalid UTF-8 in a subject never matches and
// never crashes. MemoryDenyWriteExecute= makes the JIT unavailable: then the interpreter serves,
// under the same limits.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "rule/regex.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>

// A match takes about 10 ns a step: the limit holds the worst pattern to some milliseconds.
enum {
        REGEX_MATCH_STEPS = 100000,
        REGEX_DEPTH = 5000,
        REGEX_HEAP_KIB = 4096,
        REGEX_PATTERN_MAX = 8192
};

struct Regex {
        pcre2_code *code;
        uint32_t n_groups;
        bool jit;
};

struct RegexMatcher {
        pcre2_match_data *data;
        pcre2_match_context *context;
};

static uint32_t flags_options(Slice flags)
{
        uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
        for (size_t i = 0; i < flags.len; i++)
                switch (flags.data[i]) {
                case 'i':
                        options |= PCRE2_CASELESS;
                        break;
                case 'm':
                        options |= PCRE2_MULTILINE;
                        break;
                case 's':
                        options |= PCRE2_DOTALL;
                        break;
                case 'x':
                        options |= PCRE2_EXTENDED;
                        break;
                }
        return options;
}

int regex_new(Regex **ret, Slice pattern, Slice flags, size_t *ret_offset,
        char ret_message[static REGEX_MESSAGE_MAX])
{
        *ret_offset = 0;
        if (pattern.len > REGEX_PATTERN_MAX) {
                (void)snprintf(ret_message, REGEX_MESSAGE_MAX,
                        "the pattern is longer than %d bytes", REGEX_PATTERN_MAX);
                return -EINVAL;
        }
        Regex *r = calloc(1, sizeof(*r));
        if (!r)
                return -ENOMEM;
        int error;
        PCRE2_SIZE offset;
        r->code = pcre2_compile(
                (PCRE2_SPTR)pattern.data, pattern.len, flags_options(flags), &error, &offset, NULL);
        if (!r->code) {
                free(r);
                if (error == PCRE2_ERROR_HEAP_FAILED || error == PCRE2_ERROR_NOMEMORY)
                        return -ENOMEM;
                *ret_offset = offset < pattern.len ? offset : pattern.len;
                if (pcre2_get_error_message(error, (PCRE2_UCHAR *)ret_message, REGEX_MESSAGE_MAX) <
                                0 &&
                        !ret_message[0])
                        (void)snprintf(ret_message, REGEX_MESSAGE_MAX, "error %d", error);
                return -EINVAL;
        }
        (void)pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &r->n_groups);
        if (r->n_groups >= REGEX_GROUPS_MAX) {
                (void)snprintf(ret_message, REGEX_MESSAGE_MAX,
                        "the pattern has %u groups, %d are allowed; (?:...) groups without "
                        "capturing",
                        r->n_groups, REGEX_GROUPS_MAX - 1);
                (void)regex_free(r);
                return -EINVAL;
        }
        r->jit = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0;
        *ret = r;
        return 0;
}

Regex *regex_free(Regex *r)
{
        if (r) {
                pcre2_code_free(r->code);
                free(r);
        }
        return NULL;
}

unsigned regex_n_groups(const Regex *r)
{
        return r->n_groups;
}

bool regex_uses_jit(const Regex *r)
{
        return r->jit;
}

// The table of names: *ret_size bytes an entry, each two bytes of number, the name, a NUL.
static uint32_t name_table(const Regex *r, PCRE2_SPTR *ret, uint32_t *ret_size)
{
        uint32_t n = 0;
        if (pcre2_pattern_info(r->code, PCRE2_INFO_NAMECOUNT, &n) != 0 || n == 0 ||
                pcre2_pattern_info(r->code, PCRE2_INFO_NAMEENTRYSIZE, ret_size) != 0 ||
                pcre2_pattern_info(r->code, PCRE2_INFO_NAMETABLE, ret) != 0)
                return 0;
        return n;
}

int regex_group(const Regex *r, Slice name)
{
        PCRE2_SPTR table;
        uint32_t size;
        for (uint32_t n = name_table(r, &table, &size); n > 0; n--, table += size)
                if (slice_eq_str(name, (const char *)table + 2))
                        return table[0] << 8 | table[1];
        return -1;
}

Slice regex_group_name(const Regex *r, unsigned group)
{
        PCRE2_SPTR table;
        uint32_t size;
        for (uint32_t n = name_table(r, &table, &size); n > 0; n--, table += size)
                if ((unsigned)(table[0] << 8 | table[1]) == group)
                        return slice_of((const char *)table + 2);
        return SLICE_LIT("");
}

int regex_matcher_new(RegexMatcher **ret)
{
        RegexMatcher *m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        m->data = pcre2_match_data_create(REGEX_GROUPS_MAX, NULL);
        m->context = pcre2_match_context_create(NULL);
        if (!m->data || !m->context) {
                (void)regex_matcher_free(m);
                return -ENOMEM;
        }
        (void)pcre2_set_match_limit(m->context, REGEX_MATCH_STEPS);
        (void)pcre2_set_depth_limit(m->context, REGEX_DEPTH);
        (void)pcre2_set_heap_limit(m->context, REGEX_HEAP_KIB);
        *ret = m;
        return 0;
}

RegexMatcher *regex_matcher_free(RegexMatcher *m)
{
        if (m) {
                pcre2_match_data_free(m->data);
                pcre2_match_context_free(m->context);
                free(m);
        }
        return NULL;
}

int regex_match(
        const Regex *r, RegexMatcher *m, Slice subject, Slice groups[static REGEX_GROUPS_MAX])
{
        PCRE2_SPTR text = (PCRE2_SPTR)(subject.data ? subject.data : "");
        int n = PCRE2_ERROR_JIT_STACKLIMIT;
        if (r->jit)
                n = pcre2_match(r->code, text, subject.len, 0, 0, m->data, m->context);
        if (n == PCRE2_ERROR_JIT_STACKLIMIT) // the JIT's stack is small; the interpreter's is ours
                n = pcre2_match(r->code, text, subject.len, 0, PCRE2_NO_JIT, m->data, m->context);
        if (n == PCRE2_ERROR_NOMATCH || n == PCRE2_ERROR_PARTIAL)
                return 0;
        if (n == PCRE2_ERROR_NOMEMORY)
                return -ENOMEM;
        if (n < 0)
                return -E2BIG;
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data);
        for (uint32_t i = 0; i <= r->n_groups; i++) {
                bool set = (int)i < n && at[2 * i] != PCRE2_UNSET && at[2 * i + 1] >= at[2 * i];
                groups[i] = set ? (Slice){(const char *)text + at[2 * i], at[2 * i + 1] - at[2 * i]}
                                : SLICE_NULL;
        }
        return 1;
}
