// SPDX-License-Identifier: MIT
// belfry modules: what the programs beside this one, and those of /usr/libexec/belfry, say of
// themselves: the tables that the rule checker uses and the manual is made from. The daemon is asked
// only which of them it uses.
#include "cli/output.h"

#include "base/cleanup.h"
#include "cli/client.h"
#include "config/document.h"
#include <libgen.h>
#include <string.h>

typedef struct Found {
        ModuleDescription *description;
        char *path;
        json_t *used; // the daemon's list of modules; NULL: it does not answer
} Found;

static const char *kind_word(ModuleKind kind)
{
        return kind == MODULE_SOURCE ? "source" : "sink";
}

static const char *self_dir(void)
{
        static char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        if (n < 0)
                return NULL;
        self[n] = 0;
        return dirname(self);
}

// Each module's description is given to `each`; one that cannot be asked is said and counted.
static ExitStatus each_module(const char *only, void (*each)(const Found *f, void *u), void *u,
        json_t *used, unsigned *ret_n)
{
        ExitStatus status = STATUS_OK;
        const char *dir = self_dir();
        for (ModuleKind kind = MODULE_SOURCE; kind <= MODULE_SINK; kind++) {
                char *names[MODULE_PROGRAMS_MAX];
                size_t n = module_program_names(dir, kind, names, N_ELEMENTS(names));
                for (size_t i = 0; i < n; i++) {
                        _cleanup_(freep) char *name = names[i];
                        Found f = {.used = used};
                        Reason reason = {0};
                        if (only && strcmp(only, name) != 0)
                                continue;
                        _cleanup_(closep) int fd = module_program_open(dir, kind, name, &f.path);
                        int r = fd < 0 ? reason_errno(&reason, fd, "the program of %s", name)
                                       : module_program_describe(
                                                 fd, f.path, &f.description, &reason);
                        if (r < 0) {
                                print_error(reason.text);
                                status = STATUS_FAILED;
                        } else {
                                each(&f, u);
                                ++*ret_n;
                        }
                        (void)module_description_free(f.description);
                        free(f.path);
                }
        }
        return status;
}

static json_t *is_used(const Found *f)
{
        size_t i;
        json_t *m;
        if (!f->used)
                return json_null();
        json_array_foreach(f->used, i, m)
        {
                if (strcmp(get_text(m, "name"), f->description->name) == 0 &&
                        strcmp(get_text(m, "kind"), kind_word(f->description->kind)) == 0)
                        return json_true();
        }
        return json_false();
}

// ---- the list

static void list_json(const Found *f, void *u)
{
        const ModuleDescription *d = f->description;
        json_t *types = json_array();
        for (size_t i = 0; i < d->n_types; i++)
                (void)json_array_append_new(types, json_string(d->types[i].name));
        (void)json_array_append_new(
                u, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "name", d->name, "kind",
                           kind_word(d->kind), "version", d->version, "build", d->build, "program",
                           f->path, "summary", d->summary ? d->summary : "", "types", types,
                           "in_use", is_used(f)));
}

static void list_row(const Found *f, void *u)
{
        const ModuleDescription *d = f->description;
        json_t *used = is_used(f);
        table_add(u, COLOUR_NONE, "%s", d->name);
        table_add(u, COLOUR_NONE, "%s", kind_word(d->kind));
        table_add(u, COLOUR_NONE, "%s", d->version);
        table_add(u, COLOUR_NONE, "%s",
                json_is_true(used)    ? "yes"
                : json_is_false(used) ? "no"
                                      : "?");
        table_add(u, COLOUR_NONE, "%s", f->path);
        table_add(u, COLOUR_NONE, "%s", d->summary ? d->summary : "");
        json_decref(used);
}

static ExitStatus list(Context *c, json_t *used)
{
        unsigned n = 0;
        ExitStatus r;
        if (c->json) {
                json_t *rows = json_array();
                r = each_module(NULL, list_json, rows, used, &n);
                print_json(rows);
                json_decref(rows);
                return r;
        }
        Table t;
        table_init(&t, (const char *const[]){
                               "NAME", "KIND", "VERSION", "IN USE", "PROGRAM", "SUMMARY", NULL});
        r = each_module(NULL, list_row, &t, used, &n);
        table_print(&t, c, "");
        return r;
}

// ---- one

// The tables themselves, each type with its sample as an event and its schema.
static void one_json(const Found *f, void *u)
{
        const ModuleDescription *d = f->description;
        ModuleDescription with_gap = *d;
        EventType *types = calloc(d->n_types + 1, sizeof(*types));
        if (types && d->kind == MODULE_SOURCE) {
                for (size_t i = 0; i < d->n_types; i++)
                        types[i] = d->types[i];
                types[d->n_types] = event_type_gap;
                with_gap.types = types;
                with_gap.n_types = d->n_types + 1;
        }
        json_t *o = module_describe(&with_gap), *list = json_object_get(o, "types");
        for (size_t i = 0; i < json_array_size(list); i++) {
                json_t *type = json_array_get(list, i);
                (void)json_object_set_new(
                        type, "sample", event_type_sample(&with_gap.types[i], d->name));
                (void)json_object_set_new(
                        type, "dataschema", event_type_schema(&with_gap.types[i]));
        }
        (void)json_object_set_new(o, "program", json_string(f->path));
        (void)json_object_set_new(o, "in_use", is_used(f));
        print_json(o);
        json_decref(o);
        free(types);
}

static void one_type(const Context *c, const ModuleDescription *d, const EventType *t)
{
        Table table;
        (void)printf("\n%s%s%s  version %u\n  %s\n", colour_on(c, COLOUR_BOLD), t->name,
                colour_off(c, COLOUR_BOLD), event_type_version(t), t->prose ? t->prose : "");
        table_init(&table, (const char *const[]){"FIELD", "TYPE", "MEANING", NULL});
        for (size_t i = 0; i < t->n_fields; i++) {
                table_add(&table, COLOUR_NONE, "data.%s", t->fields[i].name);
                table_add(&table, COLOUR_NONE, "%s", field_type_to_string(t->fields[i].type));
                table_add(&table, COLOUR_NONE, "%s", t->fields[i].prose ? t->fields[i].prose : "");
        }
        table_print(&table, c, "  ");
        json_t *sample = event_type_sample(t, d->name);
        _cleanup_(freep) char *text = sample ? json_dumps(sample, JSON_COMPACT) : NULL;
        json_decref(sample);
        (void)printf("  sample: %s\n", text ? text : "");
}

static void one_text(const Found *f, void *u)
{
        const Context *c = u;
        const ModuleDescription *d = f->description;
        (void)printf("%s module %s %s: %s\n%s\n", kind_word(d->kind), d->name, d->version,
                d->summary ? d->summary : "", f->path);
        for (size_t i = 0; i < d->n_commands; i++)
                (void)printf("belfry source %s NAME%s%s: %s\n", d->commands[i].verb,
                        d->commands[i].argument ? " " : "",
                        d->commands[i].argument ? d->commands[i].argument : "",
                        d->commands[i].prose);
        if (d->own_types)
                (void)printf("Events are of any type that whoever emits them names.\n");
        for (size_t i = 0; i < d->n_types; i++)
                one_type(c, d, &d->types[i]);
        if (d->kind == MODULE_SOURCE)
                one_type(c, d, &event_type_gap);
}

ExitStatus command_modules(Context *c)
{
        json_t *answer = client_try(c, "Modules"), *used = json_object_get(answer, "modules");
        const char *only = c->n_arguments ? c->arguments[0] : NULL;
        unsigned n = 0;
        ExitStatus r = only ? each_module(only, c->json ? one_json : one_text, c, used, &n)
                            : list(c, used);
        if (only && n == 0 && r == STATUS_OK) {
                char text[256];
                (void)snprintf(text, sizeof(text),
                        "there is no module \"%.64s\"; see: belfry modules", only);
                print_error(text);
                r = STATUS_FAILED;
        }
        json_decref(answer);
        return r;
}
