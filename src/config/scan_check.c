// SPDX-License-Identifier: MIT
// Faults inside one word of a configuration, and places of what is found.
#include "config/scan_check.h"

#include <errno.h>
#include <inttypes.h>

#include "base/limits.h"
#include "config/token.h"

static void fault(const Scan *s, uint32_t node, const char *at, Diagnostics *d, const char *format,
        ...) _printf_(5, 6);
static void fault(
        const Scan *s, uint32_t node, const char *at, Diagnostics *d, const char *format, ...)
{
        char text[REASON_MAX];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        char *path = scan_path(s, &s->nodes[node], NULL);
        diagnose(d, SEVERITY_ERROR, lines_place(&s->lines, at), path, "%s", text);
        free(path);
}

bool scan_is_long(Slice integer)
{
        return integer.len > 0 && integer.data[integer.len - 1] == 'L';
}

// -ERANGE: beyond 64 bits.
static int read_integer(Slice text, int64_t *ret)
{
        bool negative = text.data[0] == '-';
        size_t i = text.data[0] == '-' || text.data[0] == '+';
        int base = 10;
        int64_t v = 0;
        if (text.len > 2 && text.data[0] == '0' && (text.data[1] | 0x20) == 'x') {
                base = 16;
                i = 2;
        }
        for (; i < text.len && text.data[i] != 'L'; i++) {
                char c = (char)(text.data[i] | 0x20);
                int digit = c >= 'a' ? c - 'a' + 10 : text.data[i] - '0';
                if (__builtin_mul_overflow(v, base, &v) ||
                        __builtin_add_overflow(v, negative ? -digit : digit, &v))
                        return -ERANGE;
        }
        *ret = v;
        return 0;
}

void scan_check_integer(Scan *s, uint32_t node, Slice text, Diagnostics *d)
{
        ScanNode *n = &s->nodes[node];
        size_t sign = text.data[0] == '-' || text.data[0] == '+';
        int shown = (int)(text.len < 40 ? text.len : 40);
        n->wrong = true;
        if (read_integer(text, &n->integer) < 0) {
                fault(s, node, text.data, d, "%.*s does not fit 64 bits", shown, text.data);
        } else if (!scan_is_long(text) && (n->integer > INT32_MAX || n->integer < INT32_MIN)) {
                fault(s, node, text.data, d,
                        "%.*s does not fit 32 bits: write %.*sL, or libconfig takes another number",
                        shown, text.data, shown, text.data);
        } else if (text.len > sign + 1 && text.data[sign] == '0' && text.data[sign + 1] >= '0' &&
                   text.data[sign + 1] <= '9') {
                fault(s, node, text.data, d,
                        "%.*s would be read as decimal %" PRId64
                        ", not octal: remove the leading 0",
                        shown, text.data, n->integer);
        } else {
                n->wrong = false;
        }
}

void scan_check_string(const Scan *s, uint32_t node, Slice text, Diagnostics *d)
{
        for (size_t i = 1; i + 1 < text.len; i++) {
                if (text.data[i] != '\\')
                        continue;
                i++;
                if (text.data[i] == 'x' || text.data[i] == 'X')
                        fault(s, node, text.data + i - 1, d,
                                "\\x in a string is refused (libconfig makes a raw byte of it): "
                                "write "
                                "the character itself");
        }
}

Place scan_place(const Scan *s, const ScanNode *n)
{
        return lines_place(&s->lines, n->raw.data ? n->raw.data : s->lines.text.data);
}

Place scan_name_place(const Scan *s, const ScanNode *n)
{
        return n->name.data ? lines_place(&s->lines, n->name.data) : scan_place(s, n);
}

char *scan_path(const Scan *s, const ScanNode *n, const char *more)
{
        uint32_t chain[SCAN_DEPTH_MAX + 2];
        unsigned depth = 0;
        for (uint32_t i = (uint32_t)(n - s->nodes); i != 0 && depth < N_ELEMENTS(chain);
                i = s->nodes[i].parent)
                chain[depth++] = i;
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(LIMIT_CONFIG_FILE);
        while (depth-- > 0) {
                const ScanNode *one = &s->nodes[chain[depth]];
                if (!one->name.data)
                        buf_addf(&b, "[%u]", one->index);
                else
                        buf_addf(&b, "%s%.*s", b.len ? "." : "",
                                one->name.len < 64 ? (int)one->name.len : 64, one->name.data);
        }
        if (more)
                buf_addf(&b, "%s%.64s", b.len ? "." : "", more);
        return b.error < 0 ? NULL : strdup(buf_text(&b));
}

const ScanNode *scan_first(const Scan *s, const ScanNode *n)
{
        return n->n > 0 ? n + 1 : NULL;
}

const ScanNode *scan_next(const Scan *s, const ScanNode *n)
{
        const ScanNode *parent = &s->nodes[n->parent];
        return n->index + 1 < parent->n ? &s->nodes[n->next] : NULL;
}

const ScanNode *scan_child(const Scan *s, const ScanNode *group, const char *name)
{
        for (const ScanNode *n = scan_first(s, group); n; n = scan_next(s, n))
                if (slice_eq_str(n->name, name))
                        return n;
        return NULL;
}

const char *scan_kind_prose(ScanKind k)
{
        static const char *const prose[_SCAN_KIND_MAX] = {
                [SCAN_GROUP] = "a group",
                [SCAN_LIST] = "a list",
                [SCAN_ARRAY] = "a list",
                [SCAN_STRING] = "a string",
                [SCAN_INTEGER] = "an integer",
                [SCAN_FLOAT] = "a decimal number",
                [SCAN_BOOL] = "a boolean",
        };
        return prose[k];
}

// ---- strings with the places of their inside
void text_maker_jump(TextMaker *m, Place place)
{
        ConfigJump *jumps = reallocarray(m->jumps, m->n_jumps + 1, sizeof(*jumps));
        if (!jumps) {
                m->failed = true;
                return;
        }
        m->jumps = jumps;
        jumps[m->n_jumps++] = (ConfigJump){m->out.len, place.line, place.column};
}

int text_maker_end(TextMaker *m, Place first, ConfigText *ret)
{
        char *text = NULL;
        if (!m->failed && m->out.error == 0)
                text = strndup(m->out.len ? (const char *)m->out.data : "", m->out.len);
        buf_deinit(&m->out);
        if (!text) {
                free(m->jumps);
                *m = (TextMaker){0};
                return -ENOMEM;
        }
        *ret = (ConfigText){text, first, m->jumps, m->n_jumps};
        *m = (TextMaker){0};
        return 0;
}

// One quoted piece; the escapes are libconfig's: any other backslash stands for itself.
static void add_piece(const Scan *s, TextMaker *m, Slice piece)
{
        static const char from[] = "nrtf\\\"", to[] = "\n\r\t\f\\\"";
        for (size_t i = 1; i + 1 < piece.len; i++) {
                const char *at = piece.data + i;
                const char *escape =
                        at[0] == '\\' && i + 2 < piece.len ? strchr(from, at[1]) : NULL;
                if (!escape || !at[1]) {
                        buf_add_char(&m->out, *at);
                        if (*at == '\n')
                                text_maker_jump(m, lines_place(&s->lines, at + 1));
                        continue;
                }
                buf_add_char(&m->out, to[escape - from]);
                text_maker_jump(m, lines_place(&s->lines, at + 2));
                i++;
        }
}

int scan_text(const Scan *s, const ScanNode *n, ConfigText *ret)
{
        TextMaker m = {.out = BUF_INIT(LIMIT_CONFIG_FILE)};
        const char *at = n->raw.data, *end = at + n->raw.len;
        for (bool first = true; at < end; first = false) {
                Token t = token_next(at, end);
                if (t.kind != TOKEN_STRING)
                        break;
                if (!first)
                        text_maker_jump(&m, lines_place(&s->lines, t.text.data + 1));
                add_piece(s, &m, t.text);
                at = t.text.data + t.text.len;
        }
        return text_maker_end(&m, lines_place(&s->lines, n->raw.data + 1), ret);
}

void config_text_clear(ConfigText *t)
{
        free(t->text);
        free(t->jumps);
        *t = (ConfigText){0};
}

Place config_text_place(const ConfigText *t, size_t byte_offset)
{
        Place place = t->place;
        size_t from = 0;
        for (size_t i = 0; i < t->n_jumps && t->jumps[i].offset <= byte_offset; i++) {
                from = t->jumps[i].offset;
                place.line = t->jumps[i].line;
                place.column = t->jumps[i].column;
        }
        for (const char *p = t->text + from; p < t->text + byte_offset && *p; p++)
                place.column += ((unsigned char)*p & 0xc0) != 0x80;
        return place;
}
