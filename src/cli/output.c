// SPDX-License-Identifier: MIT
// Tables, colours, times and JSON for the command's output. Nothing here knows a method.
#include "cli/output.h"

#include "base/clock.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { CELL_MAX = 64 * 1024 };

static const char *const codes[] = {
        [COLOUR_NONE] = "",
        [COLOUR_GOOD] = "\033[32m",
        [COLOUR_WARN] = "\033[33m",
        [COLOUR_BAD] = "\033[31m",
        [COLOUR_DIM] = "\033[2m",
        [COLOUR_BOLD] = "\033[1m",
};

const char *colour_on(const Context *c, Colour colour)
{
        return c->color ? codes[colour] : "";
}

const char *colour_off(const Context *c, Colour colour)
{
        return c->color && colour != COLOUR_NONE ? "\033[0m" : "";
}

Colour colour_of_state(const char *state)
{
        static const char *const good[] = {"running", "ready", "delivered"};
        static const char *const warn[] = {"starting", "paused", "held", "stopping", "full"};
        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                if (strcmp(state, good[i]) == 0)
                        return COLOUR_GOOD;
        for (size_t i = 0; i < N_ELEMENTS(warn); i++)
                if (strcmp(state, warn[i]) == 0)
                        return COLOUR_WARN;
        return COLOUR_BAD;
}

void print_json(const json_t *value)
{
        size_t flags = JSON_ENCODE_ANY | (isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT);
        (void)json_dumpf(value, stdout, flags);
        (void)putchar('\n');
}

void print_escaped(Slice s)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(CELL_MAX);
        text_add_escaped(&b, s);
        (void)fwrite(b.data, 1, b.len, stdout);
}

void print_error(const char *message)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(CELL_MAX);
        text_add_escaped(&b, slice_of(message));
        (void)fprintf(stderr, "belfry: %s\n", buf_text(&b));
}

const char *get_text(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "";
}

int64_t get_int(const json_t *o, const char *key)
{
        const json_t *v = json_object_get(o, key);
        return json_is_integer(v) ? json_integer_value(v) : 0;
}

bool get_time(const json_t *o, const char *key, uint64_t *ret_usec)
{
        const char *s = get_text(o, key);
        return *s && clock_parse_rfc3339(s, strlen(s), ret_usec) >= 0;
}

const char *get_age(const json_t *o, const char *key, bool ago, char out[static 64])
{
        uint64_t then, now = clock_wall_usec();
        char text[TEXT_QUANTITY_MAX];
        if (!get_time(o, key, &then))
                return "never";
        (void)text_duration_short(now > then ? now - then : 0, text);
        (void)snprintf(out, 64, "%s%s", text, ago ? " ago" : "");
        return out;
}

const char *local_time(uint64_t usec, char out[static 64])
{
        time_t then = (time_t)(usec / USEC_PER_SEC), now = time(NULL);
        struct tm tm = {}, today = {};
        char day[32] = "", clock[32];
        (void)localtime_r(&then, &tm);
        (void)localtime_r(&now, &today);
        if (tm.tm_yday != today.tm_yday || tm.tm_year != today.tm_year)
                (void)strftime(day, sizeof(day), "%Y-%m-%d ", &tm);
        (void)strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
        (void)snprintf(
                out, 64, "%s%s.%03u", day, clock, (unsigned)(usec % USEC_PER_SEC / USEC_PER_MSEC));
        return out;
}

void print_diagnostics(FILE *f, const json_t *list)
{
        size_t i;
        const json_t *d;
        json_array_foreach((json_t *)list, i, d)
        {
                _cleanup_(buf_deinitp) Buf b = BUF_INIT(CELL_MAX), line = BUF_INIT(CELL_MAX);
                const char *file = get_text(d, "file"), *path = get_text(d, "path");
                if (*file && get_int(d, "line"))
                        buf_addf(&line, "%s:%lld:%lld: ", file, (long long)get_int(d, "line"),
                                (long long)get_int(d, "column"));
                else if (*file) // of the file as a whole
                        buf_addf(&line, "%s: ", file);
                if (strcmp(get_text(d, "severity"), "warning") == 0)
                        buf_add_str(&line, "warning: ");
                if (*path)
                        buf_addf(&line, "%s: ", path);
                buf_add_str(&line, get_text(d, "message"));
                // A message may have several lines (a caret under the place): escape each by itself.
                Slice rest = buf_slice(&line);
                while (rest.len > 0) {
                        const char *end = memchr(rest.data, '\n', rest.len);
                        size_t n = end ? (size_t)(end - rest.data) : rest.len;
                        text_add_escaped(&b, (Slice){rest.data, n});
                        buf_add_char(&b, '\n');
                        n += end != NULL;
                        rest = (Slice){rest.data + n, rest.len - n};
                }
                (void)fputs(buf_text(&b), f);
        }
}

// ---- tables

void table_init(Table *t, const char *const *heads)
{
        *t = (Table){0};
        while (heads[t->n_columns] && t->n_columns < TABLE_COLUMNS_MAX) {
                t->heads[t->n_columns] = heads[t->n_columns];
                t->n_columns++;
        }
}

void table_add(Table *t, Colour colour, const char *format, ...)
{
        if (t->n_cells == t->cap) {
                size_t cap = t->cap ? t->cap * 2 : 64;
                struct Cell *grown = reallocarray(t->cells, cap, sizeof(*grown));
                if (!grown)
                        return;
                t->cells = grown;
                t->cap = cap;
        }
        _cleanup_(freep) char *text = NULL;
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(CELL_MAX);
        va_list ap;
        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        text_add_escaped(&b, slice_of(text ? text : "?"));
        t->cells[t->n_cells++] = (struct Cell){strdup(buf_text(&b)), colour};
}

// Columns on the screen: code points, which is right for all but wide and combining ones.
static int width_of(const char *s)
{
        int n = 0;
        for (; s && *s; s++)
                n += (*s & 0xC0) != 0x80;
        return n;
}

void table_print(Table *t, const Context *c, const char *indent)
{
        int widths[TABLE_COLUMNS_MAX] = {0};
        for (unsigned k = 0; k < t->n_columns; k++)
                widths[k] = width_of(t->heads[k]);
        for (size_t i = 0; i < t->n_cells; i++) {
                int w = width_of(t->cells[i].text);
                if (w > widths[i % t->n_columns])
                        widths[i % t->n_columns] = w;
        }
        (void)printf("%s%s", indent, colour_on(c, COLOUR_BOLD));
        for (unsigned k = 0; k < t->n_columns; k++)
                (void)printf("%s%s%*s", k ? "  " : "", t->heads[k],
                        k + 1 < t->n_columns ? widths[k] - width_of(t->heads[k]) : 0, "");
        (void)printf("%s\n", colour_off(c, COLOUR_BOLD));
        for (size_t i = 0; i < t->n_cells; i++) {
                unsigned k = (unsigned)(i % t->n_columns);
                const struct Cell *cell = &t->cells[i];
                bool last = k + 1 == t->n_columns || i + 1 == t->n_cells;
                const char *text = cell->text ? cell->text : "?";
                (void)printf("%s%s%s%s%*s%s", k == 0 ? indent : "  ", colour_on(c, cell->colour),
                        text, colour_off(c, cell->colour), last ? 0 : widths[k] - width_of(text),
                        "", last ? "\n" : "");
                free(cell->text);
        }
        free(t->cells);
        *t = (Table){0};
}

void print_lines(const char *text)
{
        while (*text) {
                size_t n = strcspn(text, "\n"), shown = n && text[n - 1] == '\r' ? n - 1 : n;
                print_escaped((Slice){text, shown});
                (void)putchar('\n');
                text += n + (text[n] == '\n');
        }
}
