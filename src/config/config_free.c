// SPDX-License-Identifier: MIT
// The end of a configuration, whole or half-built.
#include "config/load.h"

static void free_list(char **list)
{
        for (char **p = list; p && *p; p++)
                free(*p);
        free(list);
}

static void free_rule(ConfigRule *r)
{
        free(r->name);
        free_list(r->from);
        free_list(r->to);
        config_text_clear(&r->when);
        template_clear(&r->body);
        free(r->body_file);
        for (size_t i = 0; i < r->n_headers; i++) {
                free(r->header_names[i]);
                config_text_clear(&r->header_values[i]);
        }
        free(r->header_names);
        free(r->header_values);
}

Config *config_free(Config *c)
{
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n_sources; i++) {
                free(c->sources[i].name);
                json_decref(c->sources[i].options);
        }
        for (size_t i = 0; i < c->n_sinks; i++) {
                free(c->sinks[i].name);
                json_decref(c->sinks[i].options);
                json_decref(c->sinks[i].policy_json);
                option_clear(sink_policy_options, n_sink_policy_options, &c->sinks[i].policy);
        }
        for (size_t i = 0; i < c->n_rules; i++)
                free_rule(&c->rules[i]);
        for (size_t i = 0; i < c->n_modules; i++) {
                (void)module_description_free(c->modules[i].description);
                free(c->modules[i].program_path);
                (void)close(c->modules[i].program_fd);
        }
        option_clear(control_options, n_control_options, &c->control);
        free(c->sources);
        free(c->sinks);
        free(c->rules);
        free(c->modules);
        free_list(c->files);
        free(c);
        return NULL;
}
