// SPDX-License-Identifier: MIT
// A module's description as JSON: the writing half. One form for built-in and foreign modules;
// describe_parse.c reads it back.
#include "config/describe.h"

#include "config/option_table.h"

// A failed step leaves NULL in *o and the rest does nothing: one check at the end.
static void put(json_t **o, const char *key, json_t *value)
{
        if (*o && value && json_object_set_new(*o, key, value) == 0)
                return;
        if (!*o)
                json_decref(value); // else the setter took it
        json_decref(*o);
        *o = NULL;
}

static void put_text(json_t **o, const char *key, const char *text)
{
        if (text)
                put(o, key, json_string(text));
}

static void append(json_t **list, json_t *value)
{
        if (*list && value && json_array_append_new(*list, value) == 0)
                return;
        if (!*list)
                json_decref(value);
        json_decref(*list);
        *list = NULL;
}

static json_t *describe_words(const char *const *words)
{
        json_t *list = json_array();
        for (; *words; words++)
                append(&list, json_string(*words));
        return list;
}

static json_t *describe_rows(const Option *rows, size_t n);

static json_t *describe_row(const Option *row)
{
        json_t *o = json_object(), *flags = json_array();
        put_text(&o, "name", row->name);
        put_text(&o, "type", option_type_to_string(row->type));
        for (unsigned bit = 0; bit < OPTION_FLAG_BITS; bit++)
                if (row->flags & (1u << bit))
                        append(&flags, json_string(option_flag_name(bit)));
        put(&o, "flags", flags);
        put_text(&o, "unit", row->unit);
        put_text(&o, "min", row->min);
        put_text(&o, "max", row->max);
        put_text(&o, "default", row->def);
        if (row->values)
                put(&o, "values", describe_words(row->values));
        if (option_has_rows(row->type))
                put(&o, "rows", describe_rows(row->rows, row->n_rows));
        put_text(&o, "since", row->since);
        put_text(&o, "prose", row->prose);
        return o;
}

static json_t *describe_rows(const Option *rows, size_t n)
{
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
                append(&list, describe_row(&rows[i]));
        return list;
}

static json_t *describe_type(const EventType *t)
{
        json_t *o = json_object(), *fields = json_array();
        put_text(&o, "name", t->name);
        put(&o, "version", json_integer(event_type_version(t)));
        put_text(&o, "prose", t->prose);
        for (size_t i = 0; i < t->n_fields; i++) {
                json_t *f = json_object();
                put_text(&f, "name", t->fields[i].name);
                put_text(&f, "type", field_type_to_string(t->fields[i].type));
                put_text(&f, "prose", t->fields[i].prose);
                append(&fields, f);
        }
        put(&o, "fields", fields);
        put_text(&o, "sample", t->sample);
        put_text(&o, "sample_subject", t->sample_subject);
        return o;
}

static json_t *describe_command(const SourceCommand *c)
{
        json_t *o = json_object();
        put_text(&o, "verb", c->verb);
        put_text(&o, "argument", c->argument);
        put_text(&o, "prose", c->prose);
        put(&o, "after_removal", json_boolean(c->after_removal));
        put_text(&o, "leaves", c->leaves);
        put(&o, "looks_only", json_boolean(c->looks_only));
        return o;
}

json_t *module_describe(const ModuleDescription *d)
{
        json_t *o = json_object(), *types = json_array();
        put(&o, "describe", json_integer(1)); // the version of this form
        put_text(&o, "kind", d->kind == MODULE_SOURCE ? "source" : "sink");
        put_text(&o, "name", d->name);
        put_text(&o, "version", d->version);
        put_text(&o, "build", d->build);
        put_text(&o, "summary", d->summary);
        put(&o, "network", json_boolean(d->network));
        put(&o, "programs", json_boolean(d->programs));
        if (d->reads)
                put(&o, "reads", describe_words(d->reads));
        put(&o, "options", describe_rows(d->options, d->n_options));
        for (size_t i = 0; i < d->n_types; i++)
                append(&types, describe_type(&d->types[i]));
        put(&o, "types", types);
        if (d->checks)
                put(&o, "check", json_true());
        if (d->kind != MODULE_SOURCE)
                return o;
        json_t *commands = json_array();
        put(&o, "own_types", json_boolean(d->own_types));
        if (d->doors)
                put(&o, "doors", json_true());
        for (size_t i = 0; i < d->n_commands; i++)
                append(&commands, describe_command(&d->commands[i]));
        put(&o, "commands", commands);
        return o;
}
