// SPDX-License-Identifier: MIT
// What concerns several parts of a configuration: shares of the store, and what nobody uses.
#include <errno.h>

#include "base/text.h"
#include "config/load.h"

// Percent of the store: sinks may have what the others and the reserve leave.
enum { SHARE_SINKS = 50, SHARE_LEDGER = 5, SHARE_DEAD = 10, SHARE_STATE = 20, SHARE_ALL = 85 };
_Static_assert(SHARE_SINKS + SHARE_LEDGER + SHARE_DEAD + SHARE_STATE == SHARE_ALL, "shares");

enum { SHARE_LEAST = 64 * 1024 }; // of one sink: the minimum of its option

static void set_share(Loader *l, ConfigSink *s, uint64_t size)
{
        json_t *queue = json_object_get(s->policy_json, "queue");
        s->policy.queue.size = size;
        if (json_object_set_new(queue, "size", json_integer((json_int_t)size)) < 0)
                l->error = -ENOMEM;
}

// The place of a sink's queue.size, or of the sink itself when it names none.
static void say_share(
        Loader *l, const ConfigSink *s, const char *format, const char *used, const char *there)
{
        const ConfigFile *f;
        const ScanNode *n = loader_find(l, "sinks", slice_of(s->name), &f);
        const ScanNode *queue = n ? scan_child(&f->scan, n, "queue") : NULL;
        const ScanNode *size = queue ? scan_child(&f->scan, queue, "size") : NULL;
        if (!n)
                return;
        Reader r = loader_reader(l, f);
        char text[REASON_MAX];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)snprintf(text, sizeof(text), format, used, there);
#pragma GCC diagnostic pop
        reader_fault(&r, SEVERITY_ERROR,
                size ? scan_place(&f->scan, size) : scan_name_place(&f->scan, n), size ? size : n,
                size ? NULL : "queue.size", NULL, "%s", text);
}

static void check_shares(Loader *l)
{
        Config *c = l->config;
        uint64_t there = c->store.size * SHARE_SINKS / 100, named = 0;
        size_t n_unnamed = 0;
        char a[TEXT_QUANTITY_MAX], b[TEXT_QUANTITY_MAX];
        ConfigSink *last = NULL;
        for (size_t i = 0; i < c->n_sinks; i++) {
                uint64_t size = c->sinks[i].policy.queue.size;
                if (size == 0) {
                        n_unnamed++;
                } else if (__builtin_add_overflow(named, size, &named) || named > there) {
                        last = &c->sinks[i];
                        break;
                }
        }
        if (last) {
                say_share(l, last,
                        "with this the sinks ask for %s, but may have 50 %% of store.size, %s "
                        "(dead "
                        "letters, state and ledger have 35 %%, 15 %% stay free)",
                        text_size(named, a), text_size(there, b));
                return;
        }
        for (size_t i = 0; i < c->n_sinks && n_unnamed > 0; i++) {
                ConfigSink *s = &c->sinks[i];
                if (s->policy.queue.size != 0)
                        continue;
                uint64_t part = (there - named) / n_unnamed;
                if (part < SHARE_LEAST) {
                        say_share(l, s,
                                "the sinks that name a size take %s of the %s for all: nothing is "
                                "left for this one",
                                text_size(named, a), text_size(there, b));
                        return;
                }
                set_share(l, s, part);
        }
}

static bool names(char *const *list, const char *name)
{
        for (; list && *list; list++)
                if (strcmp(*list, name) == 0)
                        return true;
        return false;
}

// Is there a rule, switched on, that takes from the source, or that goes to the sink?
static bool used(const Config *c, const char *name, bool source)
{
        for (size_t i = 0; i < c->n_rules; i++) {
                const ConfigRule *rule = &c->rules[i];
                if (rule->enabled &&
                        (source ? (!rule->from || !rule->from[0] || names(rule->from, name))
                                : names(rule->to, name)))
                        return true;
        }
        return false;
}

static void warn_unused(Loader *l, const char *kind, const char *name, Place place, const char *why)
{
        char path[64];
        (void)snprintf(path, sizeof(path), "%s.%s", kind, name);
        diagnose(l->d, SEVERITY_WARNING, place, path, "%s", why);
}

// The socket of applications is one, so one source can have them.
static void check_doors(Loader *l)
{
        const Config *c = l->config;
        const ConfigSource *first = NULL;
        for (size_t i = 0; i < c->n_sources; i++) {
                const ConfigSource *s = &c->sources[i];
                char path[64];
                if (!s->module->description->doors)
                        continue;
                (void)snprintf(path, sizeof(path), "sources.%s", s->name);
                if (first)
                        diagnose(l->d, SEVERITY_ERROR, s->place, path,
                                "there can be one source of module \"%s\", and that is %s "
                                "(%s:%u:%u): it serves all applications, rules tell them apart by "
                                "type",
                                s->module->description->name, first->name, first->place.file,
                                first->place.line, first->place.column);
                else
                        first = s;
        }
}

void load_cross_checks(Loader *l)
{
        const Config *c = l->config;
        if (l->error < 0 || l->incomplete || l->d->n_errors > 0)
                return; // shares and uses of what is wrong say nothing
        check_shares(l);
        check_doors(l);
        for (size_t i = 0; i < c->n_sources; i++)
                if (!used(c, c->sources[i].name, true))
                        warn_unused(l, "sources", c->sources[i].name, c->sources[i].place,
                                "no rule takes from this source");
        for (size_t i = 0; i < c->n_sinks; i++)
                if (!used(c, c->sinks[i].name, false))
                        warn_unused(l, "sinks", c->sinks[i].name, c->sinks[i].place,
                                "no rule goes to this sink");
}
