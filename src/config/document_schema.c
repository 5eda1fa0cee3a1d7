// SPDX-License-Identifier: MIT
// JSON Schema (2020-12) of option tables, of values as a user writes them: durations and sizes are
// strings or bare integers, a list may be one value.
#include <errno.h>

#include "config/document.h"
#include "config/option_table.h"

static json_t *schema_rows(const Option *rows, size_t n);

static json_t *text_schema(const Option *row)
{
        static const char duration[] = "^[0-9]+(ms|s|m|h|d)?$", size[] = "^[0-9]+[KMG]?$",
                          reference[] = "^(credential:[A-Za-z0-9_-][A-Za-z0-9._-]*|file:/.+)$",
                          url[] = "^(https?://|credential:|file:/)";
        switch (row->type) {
        case OPTION_DURATION:
                return json_pack("{s[ss]ss}", "type", "string", "integer", "pattern", duration);
        case OPTION_SIZE:
                return json_pack("{s[ss]ss}", "type", "string", "integer", "pattern", size);
        case OPTION_PATH:
                return json_pack("{ssss}", "type", "string", "pattern", "^/");
        case OPTION_URL:
                return json_pack("{ssss}", "type", "string", "pattern", url);
        case OPTION_SECRET:
                return json_pack("{ssss}", "type", "string", "pattern", reference);
        default:
                return json_pack("{ss}", "type", "string");
        }
}

static json_t *integer_schema(const Option *row)
{
        int64_t v;
        json_t *o = json_pack("{ss}", "type", "integer");
        if (o && row->min && option_parse_quantity(row, slice_of(row->min), &v) == 0)
                (void)json_object_set_new(o, "minimum", json_integer(v));
        if (o && row->max && option_parse_quantity(row, slice_of(row->max), &v) == 0)
                (void)json_object_set_new(o, "maximum", json_integer(v));
        return o;
}

static json_t *enum_schema(const Option *row)
{
        json_t *words = json_array();
        for (const char *const *v = row->values; v && *v; v++)
                if (json_array_append_new(words, json_string(*v)) < 0) {
                        json_decref(words);
                        return NULL;
                }
        return json_pack("{so}", "enum", words);
}

static json_t *list_schema(const Option *row)
{
        Option element = option_element(row);
        json_t *one = text_schema(&element);
        return json_pack("{s[O{sssosi}]}", "anyOf", one, "type", "array", "items", one, "minItems",
                row->flags & OPTION_REQUIRED ? 1 : 0);
}

static json_t *row_schema(const Option *row)
{
        json_t *o;
        switch (row->type) {
        case OPTION_BOOL:
                o = json_pack("{ss}", "type", "boolean");
                break;
        case OPTION_INT:
                o = integer_schema(row);
                break;
        case OPTION_ENUM:
                o = enum_schema(row);
                break;
        case OPTION_GROUP:
                o = schema_rows(row->rows, row->n_rows);
                break;
        case OPTION_GROUP_LIST:
                o = json_pack("{s[{ss}{sss{s[{ss}o]}}]}", "anyOf", "type", "string", "type",
                        "array", "items", "anyOf", "type", "string",
                        schema_rows(row->rows, row->n_rows));
                break;
        case OPTION_STRING_MAP:
                o = json_pack(
                        "{sss{ss}}", "type", "object", "additionalProperties", "type", "string");
                break;
        case OPTION_TEMPLATE:
                o = json_pack("{s[sss]}", "type", "object", "array", "string");
                break;
        default:
                o = option_is_list(row->type) ? list_schema(row) : text_schema(row);
        }
        json_t *def = NULL;
        // Only where the canonical form is also what a user writes.
        if (o &&
                (row->type == OPTION_BOOL || row->type == OPTION_INT || row->type == OPTION_ENUM) &&
                option_default(row, &def) == 0 && def)
                (void)json_object_set_new(o, "default", def);
        else if (o && row->def && !option_is_list(row->type))
                (void)json_object_set_new(o, "default", json_string(row->def));
        if (o && row->prose)
                (void)json_object_set_new(o, "description", json_string(row->prose));
        return o;
}

static json_t *schema_rows(const Option *rows, size_t n)
{
        json_t *properties = json_object(), *required = json_array();
        bool whole = properties && required;
        for (size_t i = 0; whole && i < n; i++) {
                whole = json_object_set_new(properties, rows[i].name, row_schema(&rows[i])) == 0;
                if (whole && (rows[i].flags & OPTION_REQUIRED))
                        whole = json_array_append_new(required, json_string(rows[i].name)) == 0;
        }
        if (!whole) {
                json_decref(properties);
                json_decref(required);
                return NULL;
        }
        return json_pack("{sssosbso}", "type", "object", "properties", properties,
                "additionalProperties", 0, "required", required);
}

int option_document_schema(const Option *rows, size_t n, const char *title, Buf *out)
{
        json_t *o = schema_rows(rows, n);
        if (!o ||
                json_object_set_new(o, "$schema",
                        json_string("https://json-schema.org/draft/2020-12/schema")) < 0 ||
                json_object_set_new(o, "title", json_string(title)) < 0) {
                json_decref(o);
                return -ENOMEM;
        }
        char *text = json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS);
        json_decref(o);
        if (!text)
                return -ENOMEM;
        buf_add_str(out, text);
        buf_add_char(out, '\n');
        free(text);
        return out->error;
}
