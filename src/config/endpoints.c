// SPDX-License-Identifier: MIT
// Sources and sinks: named groups whose options are the module's, and of sinks the policy's too.
#include <errno.h>

#include "base/limits.h"
#include "base/text.h"
#include "config/load.h"

const ScanNode *loader_find(
        const Loader *l, const char *section, Slice name, const ConfigFile **ret_file)
{
        for (const ConfigFile *f = l->files; f < l->files + l->n_files; f++) {
                const ScanNode *table = loader_section(f, section);
                if (!table || table->kind != SCAN_GROUP)
                        continue;
                for (const ScanNode *n = scan_first(&f->scan, table); n; n = scan_next(&f->scan, n))
                        if (slice_eq(n->name, name)) {
                                *ret_file = f;
                                return n;
                        }
        }
        return NULL;
}

void loader_check_name(Loader *l, Reader *r, const char *section, const ScanNode *n)
{
        static const char *const words[] = {"source", "sink"};
        const ConfigFile *file;
        const char *name = scan_string(n);
        char copies[LIMIT_SOURCES][LIMIT_NAME + 1];
        const char *names[LIMIT_SOURCES];
        size_t n_names = 0;
        if (l->incomplete || loader_find(l, section, slice_of(name), &file))
                return;
        for (const ConfigFile *f = l->files; f < l->files + l->n_files; f++) {
                const ScanNode *table = loader_section(f, section);
                if (!table || table->kind != SCAN_GROUP)
                        continue;
                for (const ScanNode *o = scan_first(&f->scan, table); o && n_names < LIMIT_SOURCES;
                        o = scan_next(&f->scan, o)) {
                        (void)snprintf(
                                copies[n_names], sizeof(copies[0]), "%.*s", SLICE_ARG(o->name));
                        names[n_names] = copies[n_names];
                        n_names++;
                }
        }
        reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, n), n, NULL,
                text_nearest(slice_of(name), names, n_names), "unknown %s \"%.40s\"",
                words[strcmp(section, "sinks") == 0], name);
}

static bool check_name(Reader *r, const ScanNode *n, Place place, const char *name)
{
        if (text_is_name(slice_of(name)))
                return true;
        reader_fault(r, SEVERITY_ERROR, place, n, NULL, NULL,
                "not a good name: 1 to %u of a-z, 0-9 and -, a letter first", LIMIT_NAME);
        return false;
}

bool loader_new_name(
        Loader *l, Reader *r, const char *section, const ScanNode *n, Place place, const char *name)
{
        const ConfigFile *file;
        if (!check_name(r, n, place, name))
                return false;
        const ScanNode *first = loader_find(l, section, slice_of(name), &file);
        if (!first || first == n)
                return true;
        Place before = scan_name_place(&file->scan, first);
        reader_fault(r, SEVERITY_ERROR, place, n, NULL, NULL,
                "\"%s\" is defined twice (first at %s:%u:%u)", name, before.file, before.line,
                before.column);
        return false;
}

// The instance's module; its options are read into `out`, without the policy's.
static const ConfigModule *read_instance(
        Loader *l, Reader *r, const ScanNode *n, ModuleKind kind, json_t *out)
{
        static const Option module_row = {.name = "module", .type = OPTION_STRING};
        if (!group_expect(r, n, "{ module = \"name\"; }"))
                return NULL;
        const ScanNode *name = scan_child(r->scan, n, "module");
        if (!name) {
                reader_fault(r, SEVERITY_ERROR, scan_name_place(r->scan, n), n, "module", NULL,
                        "is missing: write module = \"%s\", for example",
                        kind == MODULE_SOURCE ? "inotify" : "http");
                return NULL;
        }
        json_t *checked = value_read(r, &module_row, name);
        if (!checked)
                return NULL;
        json_decref(checked);
        const ConfigModule *m = load_module(l, r, kind, name);
        if (!m)
                return NULL;
        const ModuleDescription *d = m->description;
        RowSet sets[] = {{d->options, d->n_options}, {sink_policy_options, n_sink_policy_options}};
        group_check_names(r, n, sets, kind == MODULE_SINK ? 2 : 1, "module");
        group_read(r, d->options, d->n_options, n, out);
        return m;
}

static void add_source(Loader *l, Reader *r, const ScanNode *n)
{
        Config *c = l->config;
        ConfigSource *s = &c->sources[c->n_sources];
        unsigned errors = l->d->n_errors;
        s->place = scan_name_place(r->scan, n);
        s->name = strndup(n->name.data, n->name.len);
        s->options = json_object();
        c->n_sources++; // config_free() takes it from here, whole or half
        if (!s->name || !s->options) {
                r->error = -ENOMEM;
                return;
        }
        if (loader_new_name(l, r, "sources", n, s->place, s->name))
                s->module = read_instance(l, r, n, MODULE_SOURCE, s->options);
        l->good_sources[s - c->sources] = r->error == 0 && l->d->n_errors == errors;
}

// schedule and base exclude each other; cap and attempts go with base.
static void check_retry(Reader *r, const ScanNode *sink)
{
        const ScanNode *retry = scan_child(r->scan, sink, "retry");
        if (!retry || retry->kind != SCAN_GROUP)
                return;
        const ScanNode *base = scan_child(r->scan, retry, "base");
        const ScanNode *schedule = scan_child(r->scan, retry, "schedule");
        if (base && schedule)
                reader_fault(r, SEVERITY_ERROR, scan_name_place(r->scan, base), base, NULL, NULL,
                        "retry has either a schedule or a base, not both");
        if (schedule && (schedule->kind == SCAN_LIST || schedule->kind == SCAN_ARRAY) &&
                schedule->n == 0)
                reader_fault(r, SEVERITY_ERROR, scan_place(r->scan, schedule), schedule, NULL, NULL,
                        "the schedule is empty: the first attempt is its first entry, [ \"0s\" ]");
        for (const ScanNode *n = base ? NULL : scan_first(r->scan, retry); n;
                n = scan_next(r->scan, n))
                if (slice_eq_str(n->name, "cap") || slice_eq_str(n->name, "attempts"))
                        reader_fault(r, SEVERITY_ERROR, scan_name_place(r->scan, n), n, NULL, NULL,
                                "counts only together with base");
}

static void add_sink(Loader *l, Reader *r, const ScanNode *n)
{
        Config *c = l->config;
        Reason reason = {0};
        unsigned errors = l->d->n_errors;
        ConfigSink *s = &c->sinks[c->n_sinks];
        s->place = scan_name_place(r->scan, n);
        s->name = strndup(n->name.data, n->name.len);
        s->options = json_object();
        s->policy_json = json_object();
        c->n_sinks++;
        if (!s->name || !s->options || !s->policy_json) {
                r->error = -ENOMEM;
                return;
        }
        if (loader_new_name(l, r, "sinks", n, s->place, s->name))
                s->module = read_instance(l, r, n, MODULE_SINK, s->options);
        if (n->kind != SCAN_GROUP)
                return;
        group_read(r, sink_policy_options, n_sink_policy_options, n, s->policy_json);
        check_retry(r, n);
        if (r->error < 0 || l->d->n_errors > errors)
                return;
        int e = option_fill(
                sink_policy_options, n_sink_policy_options, &s->policy, s->policy_json, &reason);
        if (e == -ENOMEM)
                r->error = e;
        else if (e < 0)
                reader_fault(r, SEVERITY_ERROR, s->place, n, NULL, NULL, "%s", reason.text);
        l->good_sinks[s - c->sinks] = e == 0;
}

static size_t count(const Loader *l, const char *section)
{
        size_t n = 0;
        for (size_t i = 0; i < l->n_files; i++) {
                const ScanNode *table = loader_section(&l->files[i], section);
                n += table && table->kind == SCAN_GROUP ? table->n : 0;
        }
        return n;
}

static void each(Loader *l, const char *section, size_t limit,
        void (*add)(Loader *l, Reader *r, const ScanNode *n))
{
        size_t seen = 0;
        for (size_t i = 0; i < l->n_files && l->error == 0; i++) {
                const ConfigFile *f = &l->files[i];
                const ScanNode *table = loader_section(f, section);
                Reader r = loader_reader(l, f);
                if (!table || !group_expect(&r, table, "{ name = { module = \"...\"; }; }"))
                        continue;
                for (const ScanNode *n = scan_first(&f->scan, table);
                        n && r.error == 0 && l->error == 0; n = scan_next(&f->scan, n)) {
                        if (++seen > limit) {
                                reader_fault(&r, SEVERITY_ERROR, scan_name_place(&f->scan, n), n,
                                        NULL, NULL, "more than %zu %s", limit, section);
                                break;
                        }
                        add(l, &r, n);
                }
                loader_merge(l, &r);
        }
}

void load_sources(Loader *l)
{
        Config *c = l->config;
        size_t n = count(l, "sources"), all = n + count(l, "sinks");
        c->modules = calloc(all ? all : 1, sizeof(*c->modules));
        c->sources = calloc(n ? n : 1, sizeof(*c->sources));
        if (!c->modules || !c->sources)
                l->error = -ENOMEM;
        each(l, "sources", LIMIT_SOURCES, add_source);
        load_judgements(l, MODULE_SOURCE);
}

void load_sinks(Loader *l)
{
        Config *c = l->config;
        size_t n = count(l, "sinks");
        c->sinks = calloc(n ? n : 1, sizeof(*c->sinks));
        if (!c->sinks)
                l->error = -ENOMEM;
        each(l, "sinks", LIMIT_SINKS, add_sink);
        load_judgements(l, MODULE_SINK);
}
