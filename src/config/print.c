// SPDX-License-Identifier: MIT
// Canonical values back to the text a user writes: durations and sizes with the largest unit that is
// exact, integers with the L that libconfig wants. A default is written as a comment, since options
// that exclude each other have defaults too, and setting one is not the same as leaving it.
#include "config/print.h"

#include "config/option_table.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"

static void put_string(Buf *out, const char *text)
{
        buf_add_char(out, '"');
        for (const char *at = text; *at; at++) {
                static const char from[] = "\"\\\n\r\t\f", to[] = "\"\\nrtf";
                const char *special = strchr(from, *at);
                if (special)
                        buf_add_char(out, '\\');
                buf_add_char(out, special ? to[special - from] : *at);
        }
        buf_add_char(out, '"');
}

static void put_integer(Buf *out, int64_t n)
{
        buf_addf(out, "%" PRId64 "%s", n, n > INT32_MAX || n < INT32_MIN ? "L" : "");
}

static void put_quantity(Buf *out, OptionType type, uint64_t n)
{
        static const struct {
                uint64_t size;
                const char *name;
        } usec[] = {{24 * 60 * 60 * USEC_PER_SEC, "d"}, {60 * 60 * USEC_PER_SEC, "h"},
                {60 * USEC_PER_SEC, "m"}, {USEC_PER_SEC, "s"}, {USEC_PER_MSEC, "ms"}},
          bytes[] = {{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}, {1, ""}};
        bool is_size = type == OPTION_SIZE;
        size_t i = 0, last = is_size ? N_ELEMENTS(bytes) - 1 : N_ELEMENTS(usec) - 1;
        while (i < last && (n == 0 || n % (is_size ? bytes[i] : usec[i]).size != 0))
                i++;
        if (n == 0 && !is_size)
                i = 3; // "0s"
        buf_addf(out, "\"%" PRIu64 "%s\"", n / (is_size ? bytes[i] : usec[i]).size,
                (is_size ? bytes[i] : usec[i]).name);
}

static void indent(Buf *out, unsigned depth)
{
        buf_addf(out, "%*s", (int)(2 * depth), "");
}

static void put_rows(Buf *out, const Option *rows, size_t n, const json_t *values, unsigned depth);

static void put_value(Buf *out, const Option *row, const json_t *v, unsigned depth)
{
        Option element = option_element(row);
        const char *key;
        json_t *one;
        size_t i;
        if (row->type == OPTION_GROUP) {
                buf_add_str(out, "{\n");
                put_rows(out, row->rows, row->n_rows, v, depth + 1);
                indent(out, depth);
                buf_add_char(out, '}');
        } else if (row->type == OPTION_GROUP_LIST) {
                Option group = *row;
                group.type = OPTION_GROUP;
                buf_add_char(out, '(');
                json_array_foreach((json_t *)v, i, one)
                {
                        buf_add_str(out, i ? ", " : " ");
                        put_value(out, &group, one, depth);
                }
                buf_add_str(out, " )");
        } else if (json_is_array(v)) {
                buf_add_char(out, '[');
                json_array_foreach((json_t *)v, i, one)
                {
                        buf_add_str(out, i ? ", " : " ");
                        put_value(out, &element, one, depth);
                }
                buf_add_str(out, " ]");
        } else if (json_is_object(v)) {
                buf_add_char(out, '{');
                json_object_foreach((json_t *)v, key, one)
                {
                        buf_addf(out, " %s = ", key);
                        put_string(out, json_string_value(one));
                        buf_add_char(out, ';');
                }
                buf_add_str(out, " }");
        } else if (row->type == OPTION_DURATION || row->type == OPTION_SIZE) {
                put_quantity(out, row->type, (uint64_t)json_integer_value(v));
        } else if (json_is_integer(v)) {
                put_integer(out, json_integer_value(v));
        } else if (json_is_boolean(v)) {
                buf_add_str(out, json_is_true(v) ? "true" : "false");
        } else {
                put_string(out, json_string_value(v));
        }
}

static void put_rows(Buf *out, const Option *rows, size_t n, const json_t *values, unsigned depth)
{
        for (size_t i = 0; i < n; i++) {
                json_t *def = NULL;
                const json_t *v = json_object_get(values, rows[i].name);
                if (!v || json_is_null(v))
                        continue;
                if (rows[i].type != OPTION_GROUP && option_default(&rows[i], &def) < 0)
                        out->error = -ENOMEM;
                indent(out, depth);
                buf_addf(out, "%s%s = ", json_equal(v, def) ? "# " : "", rows[i].name);
                put_value(out, &rows[i], v, depth);
                buf_add_str(out, ";\n");
                json_decref(def);
        }
}

// ---- the tables

static void put_endpoints(Buf *out, const Config *c)
{
        buf_add_str(out, "sources = {\n");
        for (size_t i = 0; i < c->n_sources; i++) {
                const ConfigSource *s = &c->sources[i];
                const ModuleDescription *m = s->module->description;
                buf_addf(out, "  %s = {\n    module = \"%s\";\n", s->name, m->name);
                put_rows(out, m->options, m->n_options, s->options, 2);
                buf_add_str(out, "  };\n");
        }
        buf_add_str(out, "};\nsinks = {\n");
        for (size_t i = 0; i < c->n_sinks; i++) {
                const ConfigSink *s = &c->sinks[i];
                const ModuleDescription *m = s->module->description;
                buf_addf(out, "  %s = {\n    module = \"%s\";\n", s->name, m->name);
                put_rows(out, m->options, m->n_options, s->options, 2);
                put_rows(out, sink_policy_options, n_sink_policy_options, s->policy_json, 2);
                buf_add_str(out, "  };\n");
        }
        buf_add_str(out, "};\n");
}

static void put_template(Buf *out, const ConfigTemplate *t)
{
        char number[32];
        switch (t->kind) {
        case TEMPLATE_STRING:
                put_string(out, t->text.text);
                break;
        case TEMPLATE_INT:
                put_integer(out, t->integer);
                break;
        case TEMPLATE_FLOAT:
                (void)snprintf(number, sizeof(number), "%.17g", t->number);
                buf_addf(out, "%s%s", number, strpbrk(number, ".e") ? "" : ".0");
                break;
        case TEMPLATE_BOOL:
                buf_add_str(out, t->boolean ? "true" : "false");
                break;
        case TEMPLATE_NULL: // only in a body_file, which is named instead
                break;
        case TEMPLATE_LIST:
        case TEMPLATE_OBJECT:
                buf_add_char(out, t->kind == TEMPLATE_LIST ? '(' : '{');
                for (size_t i = 0; i < t->n_children; i++) {
                        buf_add_str(out, i && t->kind == TEMPLATE_LIST ? ", " : " ");
                        if (t->kind == TEMPLATE_OBJECT)
                                buf_addf(out, "%s = ", t->children[i].key);
                        put_template(out, &t->children[i]);
                        if (t->kind == TEMPLATE_OBJECT)
                                buf_add_char(out, ';');
                }
                buf_add_str(out, t->kind == TEMPLATE_LIST ? " )" : " }");
        }
}

static void put_names(Buf *out, const char *setting, char *const *names)
{
        if (!names || !names[0])
                return;
        buf_addf(out, "    %s = [", setting);
        for (size_t i = 0; names[i]; i++) {
                buf_add_str(out, i ? ", " : " ");
                put_string(out, names[i]);
        }
        buf_add_str(out, " ];\n");
}

static void put_rule(Buf *out, const ConfigRule *r)
{
        buf_addf(out, "  {\n    name = \"%s\";\n", r->name);
        put_names(out, "from", r->from);
        if (r->when.text) {
                buf_add_str(out, "    when = ");
                put_string(out, r->when.text);
                buf_add_str(out, ";\n");
        }
        put_names(out, "to", r->to);
        if (r->n_headers) {
                buf_add_str(out, "    headers = {");
                for (size_t i = 0; i < r->n_headers; i++) {
                        buf_addf(out, " %s = ", r->header_names[i]);
                        put_string(out, r->header_values[i].text);
                        buf_add_char(out, ';');
                }
                buf_add_str(out, " };\n");
        }
        if (r->has_body) {
                buf_add_str(out, r->body_file ? "    body_file = " : "    body = ");
                if (r->body_file)
                        put_string(out, r->body_file);
                else
                        put_template(out, &r->body);
                buf_add_str(out, ";\n");
        }
        buf_addf(out, "    %senabled = %s;\n  }", r->enabled ? "# " : "",
                r->enabled ? "true" : "false");
}

// The value of one row of a struct that option_fill() filled: what the hub's own tables hold.
static json_t *member(const Option *row, const void *base)
{
        const void *at = (const char *)base + row->offset;
        switch (row->type) {
        case OPTION_INT:
        case OPTION_DURATION:
        case OPTION_SIZE:
                return json_integer((json_int_t) * (const uint64_t *)at);
        case OPTION_ENUM:
                return json_string(row->values[*(const int *)at]);
        default:
                break;
        }
        char *const *s = *(char *const *const *)at;
        if (!s)
                return json_null(); // not set, and without a default
        json_t *list = json_array();
        for (; *s; s++)
                if (json_array_append_new(list, json_string(*s)) < 0)
                        break;
        return list;
}

static void put_section(Buf *out, const char *name, const Option *rows, size_t n, const void *base)
{
        json_t *values = json_object();
        for (size_t i = 0; i < n; i++)
                if (json_object_set_new(values, rows[i].name, member(&rows[i], base)) < 0)
                        out->error = -ENOMEM;
        buf_addf(out, "%s = {\n", name);
        put_rows(out, rows, n, values, 1);
        buf_add_str(out, "};\n");
        json_decref(values);
}

int config_print(const Config *c, Buf *out)
{
        put_endpoints(out, c);
        buf_add_str(out, "rules = (\n");
        for (size_t i = 0; i < c->n_rules; i++) {
                put_rule(out, &c->rules[i]);
                buf_add_str(out, i + 1 < c->n_rules ? ",\n" : "\n");
        }
        buf_add_str(out, ");\n");
        put_section(out, "store", store_options, n_store_options, &c->store);
        put_section(out, "limits", limits_options, n_limits_options, &c->limits);
        put_section(out, "log", log_options, n_log_options, &c->log);
        put_section(out, "control", control_options, n_control_options, &c->control);
        return out->error;
}
