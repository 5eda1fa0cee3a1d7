// SPDX-License-Identifier: MIT
// Collecting, ordering and printing the faults of a configuration. A fault is never lost silently:
// when it cannot be kept it is counted.
#include "config/diagnostic.h"

#include <stdarg.h>

#include "base/limits.h"
#include "base/text.h"

void diagnostics_deinit(Diagnostics *d)
{
        for (unsigned i = 0; i < d->n; i++) {
                free(d->list[i].path);
                free(d->list[i].message);
        }
        for (unsigned i = 0; i < d->n_files; i++)
                free(d->files[i]);
        free(d->list);
        free(d->files);
        *d = (Diagnostics){0};
}

const char *diagnostics_file(Diagnostics *d, const char *name)
{
        if (!name)
                return NULL;
        for (unsigned i = 0; i < d->n_files; i++)
                if (strcmp(d->files[i], name) == 0)
                        return d->files[i];
        char **files = reallocarray(d->files, d->n_files + 1, sizeof(*files));
        if (!files)
                return NULL;
        d->files = files;
        char *copy = strdup(name);
        if (copy)
                files[d->n_files++] = copy;
        return copy;
}

static int keep(Diagnostics *d, Diagnostic *one)
{
        if (d->n >= LIMIT_DIAGNOSTICS)
                return -1;
        Diagnostic *list = reallocarray(d->list, d->n + 1, sizeof(*list));
        if (!list)
                return -1;
        d->list = list;
        if (one->place.file && !(one->place.file = diagnostics_file(d, one->place.file)))
                return -1;
        list[d->n++] = *one;
        return 0;
}

void diagnose(Diagnostics *d, Severity s, Place place, const char *path, const char *format, ...)
{
        Diagnostic one = {.severity = s, .place = place, .path = strdup(path ? path : "")};
        va_list ap;
        va_start(ap, format);
        if (vasprintf(&one.message, format, ap) < 0)
                one.message = NULL;
        va_end(ap);
        if (s == SEVERITY_ERROR)
                d->n_errors++;
        else
                d->n_warnings++;
        if (!one.path || !one.message || keep(d, &one) < 0) {
                d->dropped++;
                free(one.path);
                free(one.message);
        }
}

static unsigned file_rank(const Diagnostics *d, const char *file)
{
        unsigned i = 0;
        while (file && i < d->n_files && d->files[i] != file)
                i++;
        return i;
}

static bool comes_before(const Diagnostics *d, const Diagnostic *a, const Diagnostic *b)
{
        unsigned x = file_rank(d, a->place.file), y = file_rank(d, b->place.file);
        if (x != y)
                return x < y;
        if (a->place.line != b->place.line)
                return a->place.line < b->place.line;
        return a->place.column < b->place.column;
}

void diagnostics_sort(Diagnostics *d)
{
        // By insertion: they are few, and what was found first at one place stays first.
        for (unsigned i = 1; i < d->n; i++) {
                Diagnostic one = d->list[i];
                unsigned k = i;
                for (; k > 0 && comes_before(d, &one, &d->list[k - 1]); k--)
                        d->list[k] = d->list[k - 1];
                d->list[k] = one;
        }
}

// A message may have lines of its own: the text of an expression and a caret under the place.
static void add_lines(Buf *out, const char *message)
{
        while (*message) {
                size_t n = strcspn(message, "\n");
                text_add_escaped(out, (Slice){message, n});
                buf_add_char(out, '\n');
                message += n + (message[n] == '\n');
        }
}

void diagnostics_print(const Diagnostics *d, Buf *out)
{
        for (unsigned i = 0; i < d->n; i++) {
                const Diagnostic *one = &d->list[i];
                if (one->place.file) {
                        text_add_escaped(out, slice_of(one->place.file));
                        if (one->place.line)
                                buf_addf(out, ":%u:%u", one->place.line, one->place.column);
                        buf_add_str(out, ": ");
                }
                if (one->severity == SEVERITY_WARNING)
                        buf_add_str(out, "warning: ");
                if (one->path[0]) {
                        text_add_escaped(out, slice_of(one->path));
                        buf_add_str(out, ": ");
                }
                add_lines(out, one->message);
        }
        if (d->dropped)
                buf_addf(out, "and %u more\n", d->dropped);
}
