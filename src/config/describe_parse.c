// SPDX-License-Identifier: MIT
// A module's description read back from JSON. Everything is checked: the program may be foreign.
// Strings borrow from one JSON value that the description keeps; arrays are chained to be freed.
#include <errno.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "config/describe.h"
#include "config/option_table.h"

enum { TYPES_MAX = 256, FIELDS_MAX = 512, VALUES_MAX = 256, COMMANDS_MAX = 64 };

typedef struct Chunk {
        struct Chunk *next;
        max_align_t data[];
} Chunk;

typedef struct Owned {
        ModuleDescription description; // first: the two are one allocation
        json_t *json;
        Chunk *chunks;
} Owned;

static void *take(Owned *o, size_t n, size_t size)
{
        Chunk *c = calloc(1, sizeof(*c) + n * size);
        if (!c)
                return NULL;
        c->next = o->chunks;
        o->chunks = c;
        return c->data;
}

// A text member; *error when it is of another type, or missing and needed.
static const char *text_of(const json_t *o, const char *key, bool needed, int *error)
{
        const json_t *j = json_object_get(o, key);
        if (j ? !json_is_string(j) : needed)
                *error = -EINVAL;
        return json_string_value(j);
}

static int parse_flags(const json_t *list, unsigned *ret)
{
        size_t i;
        json_t *j;
        if (list && !json_is_array(list))
                return -EINVAL;
        json_array_foreach(list, i, j)
        {
                const char *name = json_string_value(j);
                for (unsigned bit = 0; name && bit < OPTION_FLAG_BITS; bit++)
                        if (strcmp(option_flag_name(bit), name) == 0)
                                *ret |= 1u << bit;
                if (!name)
                        return -EINVAL; // an unknown word is of a newer version and does no harm
        }
        return 0;
}

static int parse_words(Owned *o, const json_t *list, const char *const **ret)
{
        size_t n = json_array_size(list);
        if (!json_is_array(list) || n > VALUES_MAX)
                return -EINVAL;
        const char **values = take(o, n + 1, sizeof(*values));
        if (!values)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                values[i] = json_string_value(json_array_get(list, i));
                if (!values[i])
                        return -EINVAL;
        }
        *ret = values;
        return 0;
}

static int parse_rows(Owned *o, const json_t *list, unsigned depth, const Option **ret,
        size_t *ret_n, Reason *reason);

static int parse_row(Owned *o, const json_t *j, unsigned depth, Option *row, Reason *reason)
{
        int r = 0;
        row->offset = SIZE_MAX;
        row->name = text_of(j, "name", true, &r);
        row->type = option_type_from_string(text_of(j, "type", true, &r));
        row->unit = text_of(j, "unit", false, &r);
        row->min = text_of(j, "min", false, &r);
        row->max = text_of(j, "max", false, &r);
        row->def = text_of(j, "default", false, &r);
        row->since = text_of(j, "since", false, &r);
        row->prose = text_of(j, "prose", false, &r);
        if (r == 0 && (int)row->type < 0)
                r = -EINVAL;
        if (r == 0)
                r = parse_flags(json_object_get(j, "flags"), &row->flags);
        if (r == 0 && json_object_get(j, "values"))
                r = parse_words(o, json_object_get(j, "values"), &row->values);
        if (r == -EINVAL)
                return reason_set(reason, r, "its option %.64s is not described well",
                        row->name ? row->name : "?");
        if (r == 0 && option_has_rows(row->type))
                r = parse_rows(
                        o, json_object_get(j, "rows"), depth + 1, &row->rows, &row->n_rows, reason);
        return r;
}

static int parse_rows(Owned *o, const json_t *list, unsigned depth, const Option **ret,
        size_t *ret_n, Reason *reason)
{
        size_t n = json_array_size(list);
        if (!json_is_array(list) || n > OPTION_ROWS_MAX || depth > OPTION_GROUP_DEPTH)
                return reason_set(reason, -EINVAL, "its option table is not described well");
        Option *rows = take(o, n ? n : 1, sizeof(*rows));
        if (!rows)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                int r = parse_row(o, json_array_get(list, i), depth, &rows[i], reason);
                if (r < 0)
                        return r;
        }
        *ret = rows;
        *ret_n = n;
        return 0;
}

static int parse_fields(Owned *o, const json_t *list, EventType *t)
{
        size_t n = json_array_size(list);
        if (!json_is_array(list) || n > FIELDS_MAX)
                return -EINVAL;
        EventField *fields = take(o, n ? n : 1, sizeof(*fields));
        if (!fields)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                int r = 0;
                const json_t *f = json_array_get(list, i);
                fields[i].name = text_of(f, "name", true, &r);
                fields[i].type = field_type_from_string(text_of(f, "type", true, &r));
                fields[i].prose = text_of(f, "prose", false, &r);
                if (r < 0 || (int)fields[i].type < 0)
                        return -EINVAL;
        }
        t->fields = fields;
        t->n_fields = n;
        return 0;
}

static unsigned version_of(const json_t *type, int *r)
{
        const json_t *v = json_object_get(type, "version");
        if (v && (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 9999))
                *r = -EINVAL;
        return v ? (unsigned)json_integer_value(v) : 1;
}

static int parse_types(Owned *o, const json_t *list, Reason *reason)
{
        size_t n = json_array_size(list);
        if (list && (!json_is_array(list) || n > TYPES_MAX))
                return reason_set(reason, -EINVAL, "its event types are not described well");
        EventType *types = take(o, n ? n : 1, sizeof(*types));
        if (!types)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                int r = 0;
                const json_t *j = json_array_get(list, i);
                types[i].name = text_of(j, "name", true, &r);
                types[i].prose = text_of(j, "prose", false, &r);
                types[i].sample = text_of(j, "sample", false, &r);
                types[i].sample_subject = text_of(j, "sample_subject", false, &r);
                types[i].version = version_of(j, &r);
                if (r == 0)
                        r = parse_fields(o, json_object_get(j, "fields"), &types[i]);
                if (r == -EINVAL)
                        return reason_set(reason, r, "its event type %.64s is not described well",
                                types[i].name ? types[i].name : "?");
                if (r < 0)
                        return r;
        }
        o->description.types = types;
        o->description.n_types = n;
        return 0;
}

static int parse_command(const json_t *j, SourceCommand *c)
{
        int r = 0;
        const json_t *after = json_object_get(j, "after_removal");
        const json_t *looks = json_object_get(j, "looks_only");
        c->verb = text_of(j, "verb", true, &r);
        c->argument = text_of(j, "argument", false, &r);
        c->prose = text_of(j, "prose", true, &r);
        c->leaves = text_of(j, "leaves", false, &r);
        c->after_removal = json_is_true(after);
        c->looks_only = json_is_true(looks);
        if ((after && !json_is_boolean(after)) || (looks && !json_is_boolean(looks)))
                r = -EINVAL;
        if (r == 0 && (!text_is_name(slice_of(c->verb)) || strcmp(c->verb, "forget") == 0))
                r = -EINVAL;
        return r;
}

// Absent in descriptions of modules that know nothing of commands.
static int parse_commands(Owned *o, Reason *reason)
{
        const json_t *list = json_object_get(o->json, "commands");
        const json_t *own = json_object_get(o->json, "own_types");
        size_t n = json_array_size(list);
        if ((list && (!json_is_array(list) || n > COMMANDS_MAX)) || (own && !json_is_boolean(own)))
                return reason_set(reason, -EINVAL, "its commands are not described well");
        o->description.own_types = json_is_true(own);
        o->description.doors = json_is_true(json_object_get(o->json, "doors"));
        SourceCommand *commands = take(o, n ? n : 1, sizeof(*commands));
        if (!commands)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                int r = parse_command(json_array_get(list, i), &commands[i]);
                for (size_t k = 0; r == 0 && k < i; k++)
                        if (strcmp(commands[k].verb, commands[i].verb) == 0)
                                r = -EINVAL;
                if (r < 0)
                        return reason_set(reason, r, "its command %.64s is not described well",
                                commands[i].verb ? commands[i].verb : "?");
        }
        o->description.commands = commands;
        o->description.n_commands = n;
        return 0;
}

const SourceCommand *module_command_find(const ModuleDescription *d, const char *verb)
{
        for (size_t i = 0; i < d->n_commands; i++)
                if (strcmp(d->commands[i].verb, verb) == 0)
                        return &d->commands[i];
        return NULL;
}

// Absent in descriptions of modules that read nothing beside what their options name.
static int parse_reads(Owned *o, Reason *reason)
{
        const json_t *list = json_object_get(o->json, "reads");
        int r = list ? parse_words(o, list, &o->description.reads) : 0;
        for (const char *const *p = o->description.reads; r == 0 && p && *p; p++)
                if (**p != '/')
                        r = -EINVAL;
        return r == -EINVAL ? reason_set(reason, r, "what it reads is not described well") : r;
}

static int parse_head(Owned *o, Reason *reason)
{
        int r = 0;
        ModuleDescription *d = &o->description;
        if (json_integer_value(json_object_get(o->json, "describe")) != 1)
                return reason_set(reason, -EINVAL, "it does not answer with a description");
        const char *kind = text_of(o->json, "kind", true, &r);
        d->name = text_of(o->json, "name", true, &r);
        d->version = text_of(o->json, "version", true, &r);
        d->build = text_of(o->json, "build", true, &r);
        d->summary = text_of(o->json, "summary", false, &r);
        d->network = json_is_true(json_object_get(o->json, "network"));
        d->programs = json_is_true(json_object_get(o->json, "programs"));
        if (r == 0 && strcmp(kind, "source") != 0 && strcmp(kind, "sink") != 0)
                r = -EINVAL;
        if (r == 0 && !text_is_name(slice_of(d->name)))
                r = -EINVAL;
        if (r < 0)
                return reason_set(reason, r, "it does not describe itself well");
        d->kind = strcmp(kind, "source") == 0 ? MODULE_SOURCE : MODULE_SINK;
        d->checks = json_is_true(json_object_get(o->json, "check"));
        return 0;
}

int module_description_parse(const json_t *j, ModuleDescription **ret, Reason *reason)
{
        Owned *o = calloc(1, sizeof(*o));
        if (o)
                o->json = json_deep_copy(j);
        int r = o && o->json ? parse_head(o, reason) : -ENOMEM;
        if (r == 0)
                r = parse_rows(o, json_object_get(o->json, "options"), 0, &o->description.options,
                        &o->description.n_options, reason);
        if (r == 0)
                r = option_check_rows(o->description.options, o->description.n_options, 0, reason);
        if (r == 0)
                r = parse_reads(o, reason);
        if (r == 0)
                r = parse_types(o, json_object_get(o->json, "types"), reason);
        if (r == 0)
                r = parse_commands(o, reason);
        if (r == -ENOMEM)
                (void)reason_set(reason, r, "out of memory");
        if (r < 0) {
                (void)module_description_free(o ? &o->description : NULL);
                return r;
        }
        *ret = &o->description;
        return 0;
}

ModuleDescription *module_description_free(ModuleDescription *d)
{
        Owned *o = (Owned *)d;
        if (!o)
                return NULL;
        for (Chunk *c = o->chunks, *next; c; c = next) {
                next = c->next;
                free(c);
        }
        json_decref(o->json);
        free(o);
        return NULL;
}
