// SPDX-License-Identifier: MIT
// Modules of a configuration: each program is opened and asked once. An unknown one is said with
// the nearest that is there.
#include <errno.h>

#include "base/limits.h"
#include "base/text.h"
#include "config/load.h"

static void say_unknown(
        Loader *l, Reader *r, const char *kind, const ScanNode *n, const char *name, int error)
{
        if (error != -ENOENT) {
                Reason reason = {0};
                (void)reason_errno(
                        &reason, error, "the program of module \"%s\" cannot be used", name);
                reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, n), n, NULL, NULL, "%s",
                        reason.text);
                return;
        }
        char *names[MODULE_PROGRAMS_MAX];
        size_t n_names = module_program_names(l->module_dir,
                strcmp(kind, "source") == 0 ? MODULE_SOURCE : MODULE_SINK, names,
                N_ELEMENTS(names));
        reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, n), n, NULL,
                text_nearest(slice_of(name), (const char *const *)names, n_names),
                "unknown %s module \"%.40s\"", kind, name);
        for (size_t i = 0; i < n_names; i++)
                free(names[i]);
}

static const char *conflict(const ModuleDescription *d)
{
        if (option_find(d->options, d->n_options, "module"))
                return "module";
        for (size_t i = 0; d->kind == MODULE_SINK && i < d->n_options; i++)
                if (option_find(sink_policy_options, n_sink_policy_options, d->options[i].name))
                        return d->options[i].name;
        return NULL;
}

static const ConfigModule *ask(
        Loader *l, Reader *r, const ScanNode *n, ConfigModule *m, ModuleKind kind, const char *name)
{
        Reason reason = {0};
        int e = module_program_describe(m->program_fd, m->program_path, &m->description, &reason);
        if (e == 0 && (m->description->kind != kind || strcmp(m->description->name, name) != 0))
                e = reason_set(&reason, -EPROTO, "%s: it says it is the %s module \"%s\"",
                        m->program_path, m->description->kind == MODULE_SOURCE ? "source" : "sink",
                        m->description->name);
        if (e == 0 && conflict(m->description))
                e = reason_set(&reason, -EPROTO, "%s: its option \"%s\" has a name that is taken",
                        m->program_path, conflict(m->description));
        if (e == -ENOMEM)
                l->error = e;
        else if (e < 0)
                reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, n), n, NULL, NULL, "%s",
                        reason.text);
        if (e < 0) {
                m->description = module_description_free(m->description);
                return NULL;
        }
        return m;
}

// config->modules has room for one module an instance, so that pointers into it stay.
const ConfigModule *load_module(Loader *l, Reader *r, ModuleKind kind, const ScanNode *n)
{
        Config *c = l->config;
        const char *name = scan_string(n), *kind_word = kind == MODULE_SOURCE ? "source" : "sink";
        char program[64];
        if (!text_is_name(slice_of(name))) {
                say_unknown(l, r, kind_word, n, name, -ENOENT);
                return NULL;
        }
        (void)snprintf(program, sizeof(program), "belfry-%s-%s", kind_word, name);
        for (size_t i = 0; i < c->n_modules; i++)
                if (strcmp(basename(c->modules[i].program_path), program) == 0)
                        return c->modules[i].description ? &c->modules[i] : NULL;
        ConfigModule *m = &c->modules[c->n_modules];
        int fd = module_program_open(l->module_dir, kind, name, &m->program_path);
        if (fd == -ENOMEM) {
                l->error = fd;
        } else if (fd < 0) {
                say_unknown(l, r, kind_word, n, name, fd);
        } else {
                m->program_fd = fd;
                c->n_modules++;
                return ask(l, r, n, m, kind, name);
        }
        return NULL;
}
