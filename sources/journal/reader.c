// SPDX-License-Identifier: MIT
// sd_journal, with what its manual does not say out loud: the first wait returns at once, so the
// inotify descriptor is made right after opening; sd_journal_seek_tail() wants previous(), not
// next(); a cursor whose entry is gone is found "nearby" without a word, so each seek is checked
// with sd_journal_test_cursor(); the check must be made without matches, since the entry of a
// position need not match.
// An entry that journald copied from /run to /var has another cursor there (another sequence) but
// the same boot, times and hash of its content: it counts as the same.
#include "reader.h"

#include "filter.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-id128.h>
#include <systemd/sd-journal.h>

enum { SAME_TIME_MAX = 100000 }; // entries of one instant looked at for one of them

struct Reader {
        sd_journal *journal;
        const JournalOptions *options;
        bool current; // the entry at hand is still to be given by reader_next()
};

// ---- matches

static int add_match(Reader *r, const char *field, const char *value)
{
        char text[FIELD_NAME_MAX + UNIT_NAME_SIZE + 8];
        int n = snprintf(text, sizeof text, "%s=%s", field, value);
        return n < 0 || (size_t)n >= sizeof text
                       ? -E2BIG
                       : sd_journal_add_match(r->journal, text, (size_t)n);
}

typedef struct Term {
        const char *field, *value; // value NULL: the unit's name; field NULL: or
} Term;

// What `journalctl -u` shows of a unit.
static const Term unit_terms[] = {
        {"_SYSTEMD_UNIT", NULL},
        {NULL, NULL},
        {"MESSAGE_ID", "fc2e22bc6ee647b6b90729ab34a250b1"}, // a core dump
        {"_UID", "0"},
        {"COREDUMP_UNIT", NULL},
        {NULL, NULL},
        {"_PID", "1"},
        {"UNIT", NULL},
        {NULL, NULL},
        {"_UID", "0"},
        {"OBJECT_SYSTEMD_UNIT", NULL},
};

static int add_unit(Reader *r, const char *name)
{
        size_t len = strlen(name);
        int e = 0;
        for (size_t i = 0; e >= 0 && i < N_ELEMENTS(unit_terms); i++) {
                const Term *t = &unit_terms[i];
                e = t->field ? add_match(r, t->field, t->value ? t->value : name)
                             : sd_journal_add_disjunction(r->journal);
        }
        if (e >= 0 && len > 6 && strcmp(name + len - 6, ".slice") == 0) {
                e = sd_journal_add_disjunction(r->journal);
                if (e >= 0)
                        e = add_match(r, "_SYSTEMD_SLICE", name);
        }
        return e < 0 ? e : sd_journal_add_disjunction(r->journal);
}

// None of them when one is a pattern: then each entry is looked at (entry_is_of_unit).
static int add_units(Reader *r)
{
        char *const *units = r->options->units;
        char name[UNIT_NAME_SIZE];
        Reason reason;
        int e = 0;
        for (size_t i = 0; units && units[i]; i++)
                if (unit_is_pattern(units[i]))
                        return 0;
        for (size_t i = 0; e >= 0 && units && units[i]; i++) {
                e = unit_mangle(units[i], name, &reason);
                if (e >= 0)
                        e = add_unit(r, name);
        }
        return e < 0 ? e : sd_journal_add_conjunction(r->journal);
}

static int add_boot(Reader *r)
{
        const char *boot = r->options->boot;
        sd_id128_t id;
        char text[SD_ID128_STRING_MAX];
        if (strcmp(boot, "all") == 0)
                return 0;
        int e = strcmp(boot, "current") == 0 ? sd_id128_get_boot(&id)
                                             : sd_id128_from_string(boot, &id);
        if (e >= 0)
                e = add_match(r, "_BOOT_ID", sd_id128_to_string(id, text));
        return e < 0 ? e : sd_journal_add_conjunction(r->journal);
}

static int add_identifiers(Reader *r)
{
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(1024 * 1024);
        char *const *list = r->options->identifiers;
        int e = 0;
        for (size_t i = 0; e >= 0 && list && list[i]; i++) {
                buf_reset(&text);
                buf_addf(&text, "SYSLOG_IDENTIFIER=%s", list[i]);
                e = text.error < 0 ? text.error
                                   : sd_journal_add_match(r->journal, text.data, text.len);
        }
        return e < 0 ? e : sd_journal_add_conjunction(r->journal);
}

static int add_priorities(Reader *r)
{
        unsigned priorities = 0;
        Reason reason;
        if (!r->options->priority)
                return 0;
        int e = priority_parse(r->options->priority, &priorities, &reason);
        if (priorities == 0xff)
                return e; // as journalctl -p debug, which shows entries without a priority too
        for (unsigned p = 0; e >= 0 && p < 8; p++) {
                char digit[] = {(char)('0' + p), '\0'};
                if (priorities & (1u << p))
                        e = add_match(r, "PRIORITY", digit);
        }
        return e < 0 ? e : sd_journal_add_conjunction(r->journal);
}

static int add_terms(Reader *r)
{
        char *const *list = r->options->match;
        int e = 0;
        for (size_t i = 0; e >= 0 && list && list[i]; i++)
                e = strcmp(list[i], "+") == 0
                            ? sd_journal_add_disjunction(r->journal)
                            : sd_journal_add_match(r->journal, list[i], strlen(list[i]));
        return e;
}

// In journalctl's order, each group of alternatives joined with the next by "and".
static int matches_add(Reader *r)
{
        static int (*const groups[])(Reader *) = {
                add_boot, add_units, add_identifiers, add_priorities, add_terms};
        int e = 0;
        for (size_t i = 0; e >= 0 && i < N_ELEMENTS(groups); i++)
                e = groups[i](r);
        return e;
}

// ---- open

static int open_journal(const JournalOptions *o, sd_journal **ret)
{
        const char *ns = o->log_namespace;
        if (o->directory)
                return sd_journal_open_directory(ret, o->directory, 0);
        int flags = SD_JOURNAL_LOCAL_ONLY;
        if (!ns)
                return sd_journal_open(ret, flags);
        if (strcmp(ns, "*") == 0)
                return sd_journal_open_namespace(ret, NULL, flags | SD_JOURNAL_ALL_NAMESPACES);
        if (ns[0] == '+')
                return sd_journal_open_namespace(
                        ret, ns + 1, flags | SD_JOURNAL_INCLUDE_DEFAULT_NAMESPACE);
        return sd_journal_open_namespace(ret, ns, flags);
}

int reader_open(const JournalOptions *o, Reader **ret, Reason *reason)
{
        Reader *r = calloc(1, sizeof(*r));
        if (!r)
                return reason_set(reason, -ENOMEM, "out of memory");
        r->options = o;
        int e = open_journal(o, &r->journal);
        if (e < 0) {
                free(r);
                return reason_errno(reason, e, "cannot open the journal%s%s",
                        o->directory ? " in " : "", o->directory ? o->directory : "");
        }
        // Compressed values are unpacked up to here only, so that memory stays bounded.
        e = sd_journal_set_data_threshold(r->journal, o->max_field + FIELD_NAME_MAX + 8);
        if (e >= 0)
                e = sd_journal_get_fd(r->journal);
        if (e < 0) {
                (void)reader_free(r);
                return reason_errno(reason, e, "cannot watch the journal");
        }
        *ret = r;
        return 0;
}

Reader *reader_free(Reader *r)
{
        if (!r)
                return NULL;
        sd_journal_close(r->journal);
        free(r);
        return NULL;
}

int reader_fd(Reader *r)
{
        return sd_journal_get_fd(r->journal);
}

uint32_t reader_events(Reader *r)
{
        int e = sd_journal_get_events(r->journal);
        return e < 0 ? 0 : (uint32_t)e;
}

uint64_t reader_timeout(Reader *r)
{
        uint64_t usec;
        return sd_journal_get_timeout(r->journal, &usec) < 0 ? USEC_INFINITY : usec;
}

int reader_process(Reader *r, ReaderNews *ret)
{
        int e = sd_journal_process(r->journal);
        if (e < 0)
                return e;
        *ret = e == SD_JOURNAL_NOP      ? READER_NOTHING
               : e == SD_JOURNAL_APPEND ? READER_APPENDED
                                        : READER_INVALIDATED;
        return 0;
}

// ---- places

static int position_here(Reader *r, Position *ret)
{
        _cleanup_(freep) char *cursor = NULL;
        uint64_t usec;
        int e = sd_journal_get_realtime_usec(r->journal, &usec);
        if (e >= 0)
                e = sd_journal_get_cursor(r->journal, &cursor);
        if (e < 0)
                return e;
        size_t n = strlen(cursor);
        if (n >= CURSOR_SIZE)
                return -E2BIG;
        ret->realtime_usec = usec;
        ret->before = false;
        memcpy(ret->cursor, cursor, n + 1);
        return 0;
}

// Standing on the first entry at or after a cursor that is not its own: is the cursor's entry here
// under another cursor? Then it becomes the one at hand.
static int same_elsewhere(Reader *r, const char *cursor, Position *here)
{
        for (unsigned i = 0; i < SAME_TIME_MAX; i++) {
                if (cursor_same(cursor, here->cursor, "bmtx") &&
                        !cursor_same(cursor, here->cursor, "s"))
                        return 1;
                if (!cursor_same(cursor, here->cursor, "bm"))
                        return 0;
                int e = sd_journal_next(r->journal);
                if (e > 0)
                        e = position_here(r, here);
                if (e <= 0)
                        return e;
        }
        return 0;
}

// Without matches: where is the position's entry? *ret_at is its cursor as it is now.
static int look_for(
        Reader *r, const Position *at, ReaderFound *ret, Position *ret_at, Position *ret_next)
{
        *ret = READER_THERE;
        *ret_at = *at;
        if (!at->cursor[0])
                return 0;
        int e = sd_journal_seek_cursor(r->journal, at->cursor);
        if (e >= 0)
                e = sd_journal_next(r->journal);
        if (e == 0) {
                *ret = READER_UNSURE;
                return 0;
        }
        if (e > 0)
                e = sd_journal_test_cursor(r->journal, at->cursor);
        if (e != 0)
                return e < 0 ? e : 0;
        e = position_here(r, ret_next);
        if (e < 0)
                return e;
        Position first = *ret_next;
        e = same_elsewhere(r, at->cursor, ret_next);
        if (e < 0)
                return e;
        if (e > 0) {
                *ret_at = *ret_next;
                ret_at->before = at->before;
                return 0;
        }
        *ret_next = first;
        // The next in the same sequence: its predecessor is gone, but it was read.
        bool follows = !at->before && cursor_same(at->cursor, first.cursor, "s") &&
                       cursor_number(first.cursor, 'i') == cursor_number(at->cursor, 'i') + 1;
        *ret = follows ? READER_THERE : READER_GONE;
        return 0;
}

int reader_seek(Reader *r, const Position *at, ReaderFound *ret, Position *ret_next)
{
        Position now;
        r->current = false;
        sd_journal_flush_matches(r->journal);
        int e = look_for(r, at, ret, &now, ret_next);
        if (e >= 0)
                e = matches_add(r);
        if (e < 0)
                return e;
        if (!now.cursor[0])
                return now.realtime_usec
                               ? sd_journal_seek_realtime_usec(r->journal, now.realtime_usec)
                               : sd_journal_seek_head(r->journal);
        e = sd_journal_seek_cursor(r->journal, now.cursor);
        if (e >= 0)
                e = sd_journal_next(r->journal);
        if (e > 0) {
                e = sd_journal_test_cursor(r->journal, now.cursor);
                r->current = e == 0 || now.before;
        }
        return e < 0 ? e : 0;
}

int reader_tail(Reader *r, Position *ret)
{
        r->current = false;
        *ret = (Position){.realtime_usec = clock_wall_usec()};
        sd_journal_flush_matches(r->journal);
        int e = sd_journal_seek_tail(r->journal);
        if (e >= 0)
                e = sd_journal_previous(r->journal);
        return e <= 0 ? e : position_here(r, ret);
}

int reader_next(Reader *r)
{
        if (r->current) {
                r->current = false;
                return 1;
        }
        return sd_journal_next(r->journal);
}

void reader_again(Reader *r)
{
        r->current = true;
}

int reader_entry(Reader *r, Entry *e, Position *ret_at)
{
        const void *data;
        size_t n;
        int k = position_here(r, ret_at);
        if (k < 0)
                return k;
        entry_begin(e);
        bool any = false;
        sd_journal_restart_data(r->journal);
        while ((k = sd_journal_enumerate_available_data(r->journal, &data, &n)) > 0) {
                any = true;
                entry_add(e, slice_mem(data, n));
        }
        // What libsystemd cannot read of an entry it leaves out without a word.
        if (k == 0 && !any)
                return -EBADMSG;
        return k < 0 && k != -ENOMEM ? -EBADMSG : k;
}
