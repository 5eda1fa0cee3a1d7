// SPDX-License-Identifier: MIT
// What a configuration would find in the world before it is in force: which of its instances would
// be degraded that work now, or are new. The judgement is the hub's own look at what the option
// tables name (paths, credentials), at cages, builds, shares and roles; what only a running module
// can know, whether a server answers, is not foreseen. An instance whose options stay is not judged:
// what it is, it is already. Changes nothing.
#include "hub/reload.h"

#include "base/limits.h"
#include "build_id.h"
#include "config/world.h"
#include "hub/control_methods.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include <errno.h>
#include <sys/prctl.h>
#include <linux/capability.h>

typedef struct Foresight {
        Hub *hub;
        Diagnostics *d;
        Place place;
        char path[80]; // "sources.files", or the setting below it
        unsigned found;
} Foresight;

static void foresee_say(Foresight *f, const char *what)
{
        diagnose(f->d, SEVERITY_WARNING, f->place, f->path, "would be degraded: %s", what);
        f->found++;
}

static void foresee_missing(const Option *row, const char *what, void *userdata)
{
        Foresight *f = userdata;
        if ((row->type == OPTION_PATH || row->type == OPTION_PATH_LIST) &&
                !(row->flags & OPTION_CAGE_READ))
                return; // the module does not read it
        size_t len = strlen(f->path);
        (void)snprintf(f->path + len, sizeof(f->path) - len, ".%s", row->name);
        foresee_say(f, what);
        f->path[len] = 0;
}

// The service's capability is with births alone: what it still bounds, the file source may have.
static bool may_read_all(const ModuleDescription *m)
{
        return strcmp(m->name, "inotify") == 0 &&
               prctl(PR_CAPBSET_READ, CAP_DAC_READ_SEARCH, 0, 0, 0) == 1;
}

static void foresee_instance(Foresight *f, const ConfigModule *module, const json_t *options)
{
        const Hub *h = f->hub;
        const ModuleDescription *m = module->description;
        const WorldEyes eyes = {.service = true,
                .credentials_dir = h->credentials_dir,
                .reads_all = may_read_all(m)};
        Reason reason = {0};
        CagePaths paths = {0};

        if (strcmp(m->build, BELFRY_BUILD) != 0) {
                (void)reason_set(&reason, -EPROTO,
                        "%s is of build %s, belfryd of " BELFRY_BUILD
                        ": restart belfryd after an upgrade",
                        module->program_path, m->build);
                foresee_say(f, reason.text);
                return;
        }
        int r = cage_paths_from_options(&paths, m, options, h->credentials_dir, &reason);
        if (r >= 0 && m->kind == MODULE_SOURCE)
                r = spawn_roots_check(&paths, h->state_dir, &reason);
        cage_paths_clear(&paths);
        if (r < 0)
                foresee_say(f, reason.text);
        world_look(m->options, m->n_options, options, &eyes, foresee_missing, f);
}

static void foresee_source(Foresight *f, const ConfigSource *new)
{
        const Hub *h = f->hub;
        f->place = new->place;
        (void)snprintf(f->path, sizeof(f->path), "sources.%s", new->name);
        for (size_t i = 0; i < h->config->n_sources; i++) {
                const ConfigSource *old = &h->config->sources[i];
                const HubSource *s = h->source_of[i];
                if (strcmp(old->name, new->name) != 0)
                        continue;
                if (s->degraded[0] || s->child.reason[0] ||
                        (strcmp(old->module->description->name, new->module->description->name) ==
                                        0 &&
                                json_equal(old->options, new->options)))
                        return;
        }
        foresee_instance(f, new->module, new->options);
}

static void foresee_sink(Foresight *f, const ConfigSink *new)
{
        const Hub *h = f->hub;
        f->place = new->place;
        (void)snprintf(f->path, sizeof(f->path), "sinks.%s", new->name);
        for (size_t i = 0; i < h->config->n_sinks; i++) {
                const ConfigSink *old = &h->config->sinks[i];
                const HubSink *k = h->sink_of[i];
                SinkUsage u;
                if (strcmp(old->name, new->name) != 0)
                        continue;
                store_sink_usage(h->store, k->number, &u);
                if (!k->full && u.bytes >= new->policy.queue.size)
                        foresee_say(f, "it is owed more than queue.size");
                if (k->endpoint_reason[0] || json_equal(old->options, new->options))
                        return;
        }
        foresee_instance(f, new->module, new->options);
}

unsigned foresee(Hub *h, const Config *c, Diagnostics *d)
{
        Foresight f = {.hub = h, .d = d};
        for (size_t i = 0; i < c->n_sources; i++)
                foresee_source(&f, &c->sources[i]);
        for (size_t i = 0; i < c->n_sinks; i++)
                foresee_sink(&f, &c->sinks[i]);
        _cleanup_(buf_deinitp) Buf unknown = BUF_INIT(LIMIT_LOG_TEXT);
        control_unknown_of(c, &unknown);
        if (unknown.len && !control_unknown(h)[0]) {
                f.place = (Place){0};
                (void)snprintf(f.path, sizeof(f.path), "control");
                Reason reason;
                (void)reason_set(&reason, -ENOENT, "no such user or group: %s", buf_text(&unknown));
                foresee_say(&f, reason.text);
        }
        diagnostics_sort(d);
        return f.found;
}
