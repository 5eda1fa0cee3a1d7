// SPDX-License-Identifier: MIT
// check: the configuration as the daemon would load it, without the daemon. Faults go to standard
// error one a line and give 1. What only the service can see (its credentials, its rights) is a
// warning and gives 0; --live asks the daemon instead.
#include "cli/client.h"
#include "cli/output.h"

#include "base/text.h"
#include "config/config.h"
#include "config/print.h"
#include "config/world.h"
#include "rule/ruleset.h"
#include <errno.h>
#include <libgen.h>
#include <unistd.h>

#define DEFAULT_FILE "/etc/belfry/belfry.conf"
#define PRINT_MAX (64u << 20)

// ---- what the world has that the text names

typedef struct Instance {
        Diagnostics *d;
        Place place;
        char name[64];
} Instance;

static void warn(const Option *row, const char *what, void *userdata)
{
        const Instance *i = userdata;
        char path[128];
        (void)snprintf(path, sizeof(path), "%s.%s", i->name, row->name);
        diagnose(i->d, SEVERITY_WARNING, i->place, path, "%s", what);
}

static void check_world(const Config *c, Diagnostics *d)
{
        const WorldEyes eyes = {0};
        for (size_t i = 0; i < c->n_sources; i++) {
                const ConfigSource *s = &c->sources[i];
                const ModuleDescription *m = s->module->description;
                Instance one = {.d = d, .place = s->place};
                (void)snprintf(one.name, sizeof(one.name), "sources.%s", s->name);
                world_look(m->options, m->n_options, s->options, &eyes, warn, &one);
        }
        for (size_t i = 0; i < c->n_sinks; i++) {
                const ConfigSink *s = &c->sinks[i];
                const ModuleDescription *m = s->module->description;
                Instance one = {.d = d, .place = s->place};
                (void)snprintf(one.name, sizeof(one.name), "sinks.%s", s->name);
                world_look(m->options, m->n_options, s->options, &eyes, warn, &one);
        }
}

// ---- the command

static json_t *to_json(const Diagnostics *d)
{
        json_t *list = json_array();
        for (unsigned i = 0; i < d->n; i++) {
                const Diagnostic *g = &d->list[i];
                (void)json_array_append_new(list,
                        json_pack("{s:s, s:s?, s:i, s:i, s:s, s:s}", "severity",
                                g->severity == SEVERITY_ERROR ? "error" : "warning", "file",
                                g->place.file, "line", (int)g->place.line, "column",
                                (int)g->place.column, "path", g->path, "message", g->message));
        }
        return list;
}

// --print: what was understood. -ENOMEM.
static int print_config(const Context *c, const Config *config, json_t *answer)
{
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(PRINT_MAX);
        int r = config_print(config, &text);
        if (r < 0)
                return r;
        if (c->json)
                return json_object_set_new(
                        answer, "configuration", json_stringn(buf_text(&text), text.len));
        (void)fwrite(text.data, 1, text.len, stdout);
        return 0;
}

static int show(const Context *c, const char *file, const Config *config, const Diagnostics *d)
{
        bool prints = config && d->n_errors == 0 && option_given(c, "print");
        int r = 0;
        if (c->json) {
                json_t *o = json_pack("{s:s, s:o, s:i, s:i}", "file", file, "diagnostics",
                        to_json(d), "errors", (int)d->n_errors, "warnings", (int)d->n_warnings);
                if (prints)
                        r = print_config(c, config, o);
                print_json(o);
                json_decref(o);
                return r;
        }
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(4 << 20);
        diagnostics_print(d, &text);
        (void)fputs(buf_text(&text), stderr);
        if (prints)
                return print_config(c, config, NULL);
        if (config && d->n_errors == 0)
                (void)printf("%s: good: %zu source%s, %zu sink%s, %zu rule%s\n", file,
                        config->n_sources, config->n_sources == 1 ? "" : "s", config->n_sinks,
                        config->n_sinks == 1 ? "" : "s", config->n_rules,
                        config->n_rules == 1 ? "" : "s");
        return r;
}

static ExitStatus check_live(Context *c)
{
        json_t *answer = NULL, *o;
        size_t i;
        if (option_given(c, "print")) {
                (void)fprintf(stderr, "belfry: check --live looks, it does not print\n");
                return STATUS_USAGE;
        }
        if (c->n_arguments) {
                (void)fprintf(stderr,
                        "belfry: check --live looks at the daemon's own file; leave %s out\n",
                        c->arguments[0]);
                return STATUS_USAGE;
        }
        ExitStatus r = client_call(c, "CheckLive", NULL, 60, &answer);
        if (r != STATUS_OK)
                return r;
        bool good = get_int(answer, "errors") == 0 && get_int(answer, "foreseen") == 0;
        const json_t *problems = json_object_get(answer, "problems");
        if (c->json) {
                print_json(answer);
        } else {
                print_diagnostics(stderr, json_object_get(answer, "diagnostics"));
                json_array_foreach((json_t *)problems, i, o)
                {
                        (void)printf("%s is %s: ", get_text(o, "name"), get_text(o, "state"));
                        print_escaped(slice_of(get_text(o, "reason")));
                        (void)putchar('\n');
                }
                if (good && json_array_size(problems) == 0)
                        (void)printf("%s: good, and the daemon finds all it names\n",
                                get_text(answer, "file"));
        }
        good = good && json_array_size(problems) == 0;
        json_decref(answer);
        return good ? STATUS_OK : STATUS_FAILED;
}

ExitStatus command_check(Context *c)
{
        if (option_given(c, "live"))
                return check_live(c);
        const char *file = c->n_arguments ? c->arguments[0] : DEFAULT_FILE;
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        self[n > 0 ? n : 0] = 0;
        Diagnostics d = {0};
        Config *config = NULL;
        RuleSet *rules = NULL;
        int r = config_load(&config, file, dirname(self), &d);
        if (r >= 0)
                r = ruleset_new(&rules, config, &d);
        if (r >= 0)
                check_world(config, &d);
        diagnostics_sort(&d);
        int shown = show(c, file, config, &d);
        if (r >= 0)
                r = shown;
        if (r < 0 && d.n_errors == 0)
                (void)fprintf(stderr, "belfry: %s: %s\n", file, strerror(-r));
        ExitStatus status = r < 0 || d.n_errors ? STATUS_FAILED : STATUS_OK;
        diagnostics_deinit(&d);
        (void)ruleset_free(rules);
        (void)config_free(config);
        return status;
}
