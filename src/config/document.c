// SPDX-License-Identifier: MIT
// Option tables and event types as parts of manual pages and of the sample file.
#include "config/document.h"

#include "base/cleanup.h"
#include "config/option_table.h"

enum { SAMPLE_WIDTH = 92 };

// ---- mdoc
static bool is_line_start(const Buf *b)
{
        return b->len == 0 || b->data[b->len - 1] == '\n';
}

// Length of the name in "*name*" at p; 0: this is a plain asterisk ("webhook-*").
static size_t bold_name(const char *p)
{
        size_t n = p[0] == '*' ? strspn(p + 1, "abcdefghijklmnopqrstuvwxyz0123456789_.") : 0;
        return n > 0 && p[n + 1] == '*' ? n : 0;
}

// Running text. What roff would take for itself is escaped.
static void man_text(Buf *out, const char *text)
{
        for (const char *p = text; p && *p; p++) {
                size_t bold = bold_name(p);
                if (bold) {
                        buf_addf(out, "\\fB%.*s\\fP", (int)bold, p + 1);
                        p += bold + 1;
                } else if (*p == '\\') {
                        buf_add_str(out, "\\e");
                } else if ((*p == '.' || *p == '\'') && is_line_start(out)) {
                        buf_add_str(out, "\\&");
                        buf_add_char(out, *p);
                } else if (*p == ' ' && p > text && p[-1] == '.') {
                        buf_add_char(out, '\n'); // mdoc wants each sentence on a line of its own
                } else {
                        buf_add_char(out, *p);
                }
        }
}

// An argument of a macro: quoted, so that no word in it is taken for a macro.
static void man_argument(Buf *out, const char *text)
{
        buf_add_char(out, '"');
        for (const char *p = text; *p; p++) {
                if (*p == '"')
                        buf_add_str(out, "\"\"");
                else if (*p == '\\')
                        buf_add_str(out, "\\e");
                else
                        buf_add_char(out, *p);
        }
        buf_add_char(out, '"');
}

static const char *placeholder(OptionType t)
{
        static const char *const words[_OPTION_TYPE_MAX] = {
                [OPTION_BOOL] = "true | false",
                [OPTION_INT] = "integer",
                [OPTION_DURATION] = "duration",
                [OPTION_SIZE] = "size",
                [OPTION_STRING] = "string",
                [OPTION_PATH] = "path",
                [OPTION_STRING_LIST] = "[ string, ... ]",
                [OPTION_PATH_LIST] = "[ path, ... ]",
                [OPTION_DURATION_LIST] = "[ duration, ... ]",
                [OPTION_URL] = "url | reference",
                [OPTION_SECRET] = "reference",
                [OPTION_SECRET_LIST] = "reference | [ reference, ... ]",
                [OPTION_STRING_MAP] = "{ name = string; ... }",
                [OPTION_GROUP] = "{ ... }",
                [OPTION_GROUP_LIST] = "( string | { ... }, ... )",
                [OPTION_TEMPLATE] = "{ ... } | string",
        };
        return words[t] ? words[t] : "word";
}

static void values_text(const Option *row, Buf *out)
{
        for (const char *const *v = row->values; v && *v; v++)
                buf_addf(out, "%s\"%s\"", v == row->values ? "" : " | ", *v);
}

static bool is_text_default(const Option *row)
{
        return row->type != OPTION_BOOL && row->type != OPTION_INT && !option_is_list(row->type);
}

static const char *default_of(const Option *row)
{
        if (row->def || row->type != OPTION_ENUM || (row->flags & OPTION_REQUIRED))
                return row->def;
        return row->values ? row->values[0] : NULL;
}

static void man_facts(const Option *row, Buf *out)
{
        const char *def = default_of(row), *quote = def && is_text_default(row) ? "\"" : "";
        if (row->flags & OPTION_REQUIRED)
                buf_add_str(out, "Required.\n");
        if (def && def[0])
                buf_addf(out, "Default: %s%s%s.\n", quote, def, quote);
        if (row->min && row->max)
                buf_addf(out, "From %s to %s.\n", row->min, row->max);
        else if (row->min || row->max)
                buf_addf(out, "%s %s.\n", row->min ? "At least" : "At most",
                        row->min ? row->min : row->max);
        if (row->type != OPTION_URL && (row->flags & OPTION_REFERENCE))
                buf_add_str(out, "May be a secret reference.\n");
        if (row->flags & OPTION_REBASELINE)
                buf_add_str(out, "A change makes the source take stock anew.\n");
}

void option_document_man(const Option *rows, size_t n, Buf *out)
{
        buf_add_str(out, ".Bl -tag -width Ds\n");
        for (size_t i = 0; i < n; i++) {
                _cleanup_(buf_deinitp) Buf what = BUF_INIT(4096);
                if (rows[i].type == OPTION_ENUM)
                        values_text(&rows[i], &what);
                else
                        buf_add_str(&what, placeholder(rows[i].type));
                buf_add_str(out, ".It Cm ");
                man_argument(out, rows[i].name);
                buf_add_str(out, " No = Ar ");
                man_argument(out, buf_text(&what));
                buf_add_char(out, '\n');
                man_text(out, rows[i].prose);
                buf_add_char(out, '\n');
                man_facts(&rows[i], out);
                if (option_has_rows(rows[i].type))
                        option_document_man(rows[i].rows, rows[i].n_rows, out);
        }
        buf_add_str(out, ".El\n");
}

static void man_fields(const EventType *t, Buf *out)
{
        for (size_t i = 0; i < t->n_fields; i++) {
                buf_add_str(out, ".It Va ");
                man_argument(out, t->fields[i].name);
                buf_addf(out, " Pq %s\n", field_type_to_string(t->fields[i].type));
                man_text(out, t->fields[i].prose);
                buf_add_char(out, '\n');
        }
}

void event_document_man(const EventType *types, size_t n, Buf *out)
{
        const EventField *shown = NULL;
        buf_add_str(out, ".Bl -tag -width Ds\n");
        for (size_t i = 0; i < n; i++) {
                buf_add_str(out, ".It Sy ");
                man_argument(out, types[i].name);
                buf_add_char(out, '\n');
                man_text(out, types[i].prose);
                buf_add_char(out, '\n');
                // Types that share their fields list them once, with the first of them.
                bool repeated = shown && types[i].fields == shown;
                for (size_t k = 0; k < i && !repeated; k++)
                        repeated = types[k].n_fields == types[i].n_fields &&
                                   types[i].n_fields > 0 &&
                                   strcmp(types[k].fields[0].name, types[i].fields[0].name) == 0 &&
                                   strcmp(types[k].fields[types[k].n_fields - 1].name,
                                           types[i].fields[types[i].n_fields - 1].name) == 0;
                if (types[i].n_fields == 0)
                        continue;
                if (repeated) {
                        buf_add_str(out, "It has the fields listed above.\n");
                        continue;
                }
                shown = types[i].fields;
                buf_add_str(out, ".Bl -tag -width Ds -compact\n");
                man_fields(&types[i], out);
                buf_add_str(out, ".El\n");
        }
        buf_add_str(out, ".El\n");
}

// Literal text: nothing of it is a request or an escape.
static void man_literal(Buf *out, const char *text)
{
        buf_add_str(out, ".Bd -literal -offset indent\n");
        for (const char *p = text; *p; p++) {
                if ((*p == '.' || *p == '\'') && is_line_start(out))
                        buf_add_str(out, "\\&");
                if (*p == '\\')
                        buf_add_str(out, "\\e");
                else
                        buf_add_char(out, *p);
        }
        buf_add_str(out, "\n.Ed\n");
}

static void catalogue_type(const EventType *t, const char *module, Buf *out)
{
        char urn[EVENT_URN_MAX];
        json_t *sample = event_type_sample(t, module);
        _cleanup_(freep) char *text = sample ? json_dumps(sample, JSON_INDENT(1)) : NULL;
        json_decref(sample);
        buf_add_str(out, ".Ss ");
        man_argument(out, t->name);
        buf_add_char(out, '\n');
        man_text(out, t->prose);
        buf_addf(out, "\nVersion %u, schema\n.Li %s .\n", event_type_version(t),
                event_type_urn(t, urn));
        if (t->n_fields > 0) {
                buf_add_str(out, ".Bl -tag -width Ds -compact\n");
                man_fields(t, out);
                buf_add_str(out, ".El\n");
        }
        man_literal(out, text ? text : "");
}

void event_document_catalogue(const ModuleDescription *d, Buf *out)
{
        for (size_t i = 0; i < d->n_types; i++)
                catalogue_type(&d->types[i], d->name, out);
}

// ---- the sample file
static void indent(Buf *out, unsigned depth)
{
        for (unsigned i = 0; i < depth; i++)
                buf_add_str(out, "  ");
}

// Prose as a comment, broken at spaces; the marks of bold are left out.
static void sample_prose(Buf *out, const char *text, unsigned depth)
{
        size_t column = 0;
        for (const char *p = text ? text : ""; *p;) {
                size_t n = strcspn(p, " ");
                if (column == 0 || column + n + 1 > SAMPLE_WIDTH) {
                        if (column)
                                buf_add_char(out, '\n');
                        indent(out, depth);
                        buf_add_str(out, "#");
                        column = 1 + 2 * (size_t)depth;
                }
                buf_add_char(out, ' ');
                for (size_t i = 0; i < n; i++) {
                        size_t bold = bold_name(p + i);
                        if (bold)
                                buf_add(out, p + i + 1, bold);
                        else
                                buf_add_char(out, p[i]);
                        i += bold ? bold + 1 : 0;
                }
                column += n + 1;
                p += n;
                p += strspn(p, " ");
        }
        if (column)
                buf_add_char(out, '\n');
}

static void sample_list(const Option *row, Buf *out)
{
        buf_add_str(out, "[ ");
        for (const char *at = row->def; at && *at;) {
                size_t n = strcspn(at, ",");
                buf_addf(out, "%s\"%.*s\"", at == row->def ? "" : ", ", (int)n, at);
                at += n;
                at += strspn(at, ", ");
        }
        buf_add_str(out, row->def && *row->def ? " ]" : "]");
}

static void sample_value(const Option *row, Buf *out)
{
        static const char *const examples[_OPTION_TYPE_MAX] = {
                [OPTION_BOOL] = "true",
                [OPTION_INT] = "1",
                [OPTION_DURATION] = "\"1m\"",
                [OPTION_SIZE] = "\"1M\"",
                [OPTION_STRING] = "\"...\"",
                [OPTION_PATH] = "\"/srv/example\"",
                [OPTION_STRING_LIST] = "[ \"...\" ]",
                [OPTION_PATH_LIST] = "[ \"/srv/example\" ]",
                [OPTION_DURATION_LIST] = "[ \"5s\", \"1m\" ]",
                [OPTION_URL] = "\"https://hooks.example.com/in\"",
                [OPTION_SECRET] = "\"credential:name\"",
                [OPTION_SECRET_LIST] = "\"credential:name\"",
                [OPTION_STRING_MAP] = "{ name = \"value\"; }",
                [OPTION_GROUP_LIST] = "( \"...\" )",
                [OPTION_TEMPLATE] = "{ text = \"${subject}\"; }",
        };
        const char *def = default_of(row);
        if (option_is_list(row->type) && def)
                sample_list(row, out);
        else if (def && is_text_default(row))
                buf_addf(out, "\"%s\"", def);
        else if (def)
                buf_add_str(out, def);
        else
                buf_add_str(out, examples[row->type] ? examples[row->type] : "\"...\"");
}

static void sample_rows(const Option *rows, size_t n, unsigned depth, Buf *out)
{
        for (size_t i = 0; i < n; i++) {
                sample_prose(out, rows[i].prose, depth);
                indent(out, depth);
                buf_addf(out, "#%s = ", rows[i].name);
                if (rows[i].type != OPTION_GROUP) {
                        sample_value(&rows[i], out);
                        buf_add_str(out, ";\n");
                        continue;
                }
                buf_add_str(out, "{\n");
                sample_rows(rows[i].rows, rows[i].n_rows, depth + 1, out);
                indent(out, depth);
                buf_add_str(out, "#};\n");
        }
}

void option_document_sample(const Option *rows, size_t n, Buf *out)
{
        sample_rows(rows, n, 0, out);
}
