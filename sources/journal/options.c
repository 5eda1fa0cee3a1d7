// SPDX-License-Identifier: MIT
// The option table of the journal source, and what the table cannot judge. Its prose is the manual's
// option list.
#include "options.h"

#include "filter.h"

#include "base/clock.h"

#include <errno.h>

#define AT(type, member) .offset = OPTION_MEMBER(JournalOptions, type, member)

const Option journal_options[] = {
        {.name = "match",
                .type = OPTION_STRING_LIST,
                AT(char **, match),
                .unit = "",
                .since = "0.1",
                .prose = "Only entries that match, in the terms of journalctl: FIELD=value, one a "
                         "list element. Terms of the same field are alternatives, terms of "
                         "different fields must all hold, and an element + stands between two "
                         "groups of which either suffices."},
        {.name = "priority",
                .type = OPTION_STRING,
                AT(char *, priority),
                .unit = "",
                .since = "0.1",
                .prose = "Only entries of this priority or a more urgent one (*err*, or its "
                         "number *3*), or of a range (*warning..emerg*), as in journalctl -p. An "
                         "entry without a priority is then left out, but for *debug*, which is "
                         "everything."},
        {.name = "units",
                .type = OPTION_STRING_LIST,
                AT(char **, units),
                .unit = "",
                .since = "0.1",
                .prose = "Only entries of these units, as in journalctl -u: what their processes "
                         "log, their core dumps, what systemd and other privileged daemons log "
                         "about them, and for a slice all units in it. A name without a suffix is "
                         "that of a service. Patterns (*app@\\*.service*) are compared with each "
                         "entry, so that they hold for units to come; that costs reading "
                         "everything that the other options let through."},
        {.name = "identifiers",
                .type = OPTION_STRING_LIST,
                AT(char **, identifiers),
                .unit = "",
                .since = "0.1",
                .prose = "Only entries with one of these syslog identifiers, as in journalctl -t."},
        {.name = "boot",
                .type = OPTION_STRING,
                AT(char *, boot),
                .unit = "",
                .def = "all",
                .since = "0.1",
                .prose = "*all*, or only entries of one boot of the host: *current*, or a boot id "
                         "as journalctl --list-boots shows it."},
        {.name = "since",
                .type = OPTION_STRING,
                AT(char *, since),
                .unit = "",
                .def = "now",
                .since = "0.1",
                .prose = "Where to begin the first time: *now*, *beginning* (all that is stored), "
                         "or at a time: *2026-11-23T09:00:00Z*, *2026-11-23 09:00* in the host's "
                         "zone, *today*, *yesterday*, *-2h*. From then on the stored position "
                         "counts."},
        {.name = "namespace",
                .type = OPTION_STRING,
                AT(char *, log_namespace),
                .unit = "",
                .since = "0.1",
                .prose = "The journal of this namespace (LogNamespace= of units) instead of the "
                         "default one; *+NAME* for both, *\\** for all namespaces."},
        {.name = "directory",
                .type = OPTION_PATH,
                AT(char *, directory),
                .flags = OPTION_CAGE_READ,
                .unit = "",
                .since = "0.1",
                .prose = "The journal files in and directly below this directory, of whatever "
                         "machine they are, instead of this host's journal."},
        {.name = "fields",
                .type = OPTION_STRING_LIST,
                AT(char **, fields),
                .unit = "",
                .since = "0.1",
                .prose = "Which fields of an entry data.fields shall hold: names, or beginnings "
                         "such as *COREDUMP_\\**. Unless given it holds all that have no place of "
                         "their own in the event."},
        {.name = "exclude_self",
                .type = OPTION_BOOL,
                AT(bool, exclude_self),
                .unit = "",
                .def = "true",
                .since = "0.1",
                .prose = "Leave out what Belfry's own processes log, so that it does not feed "
                         "itself. What systemd logs about its unit is not left out."},
        {.name = "max_field",
                .type = OPTION_SIZE,
                AT(uint64_t, max_field),
                .unit = "bytes",
                .min = "1K",
                .max = "64K",
                .def = "64K",
                .since = "0.1",
                .prose = "A value longer than that is cut; data.cut names its field."},
};
const size_t n_journal_options = N_ELEMENTS(journal_options);

static void check_list(OptionFaults *f, const char *name, char *const *list,
        int (*check)(const char *text, Reason *reason))
{
        char path[64];
        Reason reason = {0};
        for (size_t i = 0; list && list[i]; i++)
                if (check(list[i], &reason) < 0) {
                        (void)snprintf(path, sizeof path, "%s[%zu]", name, i);
                        option_fault(f, path, "%s", reason.text);
                }
}

void journal_check(const void *options, OptionFaults *f)
{
        const JournalOptions *o = options;
        Reason reason = {0};
        uint64_t usec;
        unsigned priorities;
        size_t at;

        if (match_check(o->match, &at, &reason) < 0) {
                char path[64];
                (void)snprintf(path, sizeof path, "match[%zu]", at);
                option_fault(f, path, "%s", reason.text);
        }
        if (o->priority && priority_parse(o->priority, &priorities, &reason) < 0)
                option_fault(f, "priority", "%s", reason.text);
        check_list(f, "units", o->units, unit_check);
        check_list(f, "fields", o->fields, field_pattern_check);
        if (boot_check(o->boot, &reason) < 0)
                option_fault(f, "boot", "%s", reason.text);
        if (since_parse(o->since, clock_wall_usec(), &usec, &reason) < 0)
                option_fault(f, "since", "%s", reason.text);
        if (o->log_namespace && namespace_check(o->log_namespace, &reason) < 0)
                option_fault(f, "namespace", "%s", reason.text);
        if (o->log_namespace && o->directory)
                option_fault(f, "directory", "directory and namespace exclude each other");
}
