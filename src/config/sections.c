// SPDX-License-Identifier: MIT
// The tables of the hub, merged over all files: store, limits, log, control. One option may stand
// in one file only; all of them have defaults.
#include <errno.h>

#include "base/text.h"
#include "config/load.h"

static const char *const section_names[] = {
        "sources", "sinks", "rules", "store", "limits", "log", "control"};

static void check_top(Loader *l, const ConfigFile *f)
{
        Reader r = loader_reader(l, f);
        for (const ScanNode *n = scan_first(&f->scan, f->scan.nodes); n;
                n = scan_next(&f->scan, n)) {
                bool known = false;
                for (size_t i = 0; i < N_ELEMENTS(section_names) && !known; i++)
                        known = slice_eq_str(n->name, section_names[i]);
                if (!known)
                        reader_fault(&r, SEVERITY_ERROR, scan_name_place(&f->scan, n), n, NULL,
                                text_nearest(n->name, section_names, N_ELEMENTS(section_names)),
                                "unknown table; known are: sources, sinks, rules, store, limits, "
                                "log, control");
        }
}

// The same option in an earlier file?
static bool given_before(Loader *l, const ConfigFile *f, const char *section, const ScanNode *n)
{
        for (const ConfigFile *before = l->files; before < f; before++) {
                const ScanNode *table = loader_section(before, section);
                if (!table || table->kind != SCAN_GROUP)
                        continue;
                for (const ScanNode *o = scan_first(&before->scan, table); o;
                        o = scan_next(&before->scan, o)) {
                        if (!slice_eq(o->name, n->name))
                                continue;
                        Place place = scan_name_place(&before->scan, o);
                        Reader r = loader_reader(l, f);
                        reader_fault(&r, SEVERITY_ERROR, scan_name_place(&f->scan, n), n, NULL,
                                NULL, "given twice (first at %s:%u:%u)", place.file, place.line,
                                place.column);
                        return true;
                }
        }
        return false;
}

static void merge(
        Loader *l, const ConfigFile *f, const char *section, const RowSet *set, json_t *out)
{
        const ScanNode *table = loader_section(f, section);
        Reader r = loader_reader(l, f);
        if (!table || !group_expect(&r, table, "{ name = value; }"))
                return;
        group_check_names(&r, table, set, 1, NULL);
        for (size_t i = 0; i < set->n && r.error == 0; i++) {
                const ScanNode *n = scan_child(&f->scan, table, set->rows[i].name);
                if (!n || given_before(l, f, section, n))
                        continue;
                json_t *j = value_read(&r, &set->rows[i], n);
                if (j && json_object_set_new(out, set->rows[i].name, j) < 0)
                        r.error = -ENOMEM;
        }
        loader_merge(l, &r);
}

static void load_section(
        Loader *l, const char *section, const Option *rows, size_t n, void *dst, json_t **ret_given)
{
        Reason reason = {0};
        RowSet set = {rows, n};
        json_t *values = json_object();
        if (!values)
                l->error = -ENOMEM;
        for (size_t i = 0; i < l->n_files && l->error == 0; i++)
                merge(l, &l->files[i], section, &set, values);
        int r = l->error == 0 ? option_fill(rows, n, dst, values, &reason) : 0;
        if (r == -ENOMEM)
                l->error = r;
        else if (r < 0) // each value was good by its row: a fault of the table
                diagnose(l->d, SEVERITY_ERROR, (Place){0}, section, "%s", reason.text);
        if (ret_given)
                *ret_given = values;
        else
                json_decref(values);
}

// "user" or "@group", as the system writes names.
static void check_roles(Loader *l, const ConfigFile *f)
{
        const ScanNode *table = loader_section(f, "control");
        Reader r = loader_reader(l, f);
        if (!table || table->kind != SCAN_GROUP)
                return;
        for (const ScanNode *n = table + 1; n < &f->scan.nodes[table->next]; n++) {
                if (n->kind != SCAN_STRING)
                        continue;
                const char *name = scan_string(n);
                name += name[0] == '@';
                if (!name[0] || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                             "0123456789._-$") != strlen(name))
                        reader_fault(&r, SEVERITY_ERROR, scan_place(&f->scan, n), n, NULL, NULL,
                                "expected the name of a user, or \"@group\"");
        }
}

void load_sections(Loader *l)
{
        Config *c = l->config;
        json_t *given = NULL;
        for (size_t i = 0; i < l->n_files; i++)
                if (l->files[i].good)
                        check_top(l, &l->files[i]);
        load_section(l, "store", store_options, n_store_options, &c->store, NULL);
        load_section(l, "limits", limits_options, n_limits_options, &c->limits, NULL);
        load_section(l, "log", log_options, n_log_options, &c->log, NULL);
        load_section(l, "control", control_options, n_control_options, &c->control, &given);
        c->control.read_given = json_object_get(given, "read");
        c->control.inject_given = json_object_get(given, "inject");
        c->control.admin_given = json_object_get(given, "admin");
        json_decref(given);
        for (size_t i = 0; i < l->n_files; i++)
                check_roles(l, &l->files[i]);
}
