// SPDX-License-Identifier: MIT
// The loop of a journal source. Its position is the cursor of the last entry that was looked at; it
// is committed with the events up to there. Invariants: entries are taken in the journal's order,
// each once for each position behind it; whatever invalidates what sd_journal holds (rotation,
// vacuuming), reading goes on from the position, and an entry that is no longer there is a gap unless
// its successor in the same sequence follows; under back-pressure nothing is read, but the kernel's
// notices are taken, so that deleted files are let go.
// With matches only some entries are seen. At the end of the journal the position is therefore moved
// to the newest entry from time to time, so that it does not grow old and be vacuumed while nothing
// matches.
#include "follow.h"

#include "entry.h"
#include "files.h"
#include "filter.h"
#include "reader.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <syslog.h>
#include <systemd/sd-login.h>

enum {
        POSITION_VERSION = 1,
        TURN_MAX = 512, // entries of one loop turn
        MARK_SEC = 30,  // at the end: how often the position alone is committed
        WAIT_SEC = 5,   // for a journal that is not there, or a file too new to be judged
        TROUBLE_SEC_MAX = 60,
        STATS_USEC = 1000000,
};

struct Follow {
        Source *source;
        const JournalOptions *options;
        EntryRules rules;
        Entry *entry;
        Reader *reader;
        char *own_unit; // NULL: told by the names of our programs
        bool patterns;  // a unit is a pattern
        bool matches;   // some entries are not seen at all

        Position at; // looked at up to here
        bool ahead;  // of what was handed over
        bool gap;    // to be told before the next entry
        Position gap_to;
        bool unsure; // the position's entry is gone and nothing has come since
        bool at_end, ready, stopping;
        unsigned turn;  // entries of this turn
        unsigned batch; // events of this batch

        FilesReport files;
        Buf data;
        sd_event_source *io, *run, *tick, *trouble;
        unsigned troubles; // in a row
        uint64_t entries, excluded, damaged, cut, stats_due, mark_due;
};

static void follow_failed(Follow *f, int r, const char *what)
{
        source_fail(f->source, false, "%s: %s", what, strerror(-r));
}

// ---- position

static const char *follow_where(const JournalOptions *o)
{
        return o->directory ? o->directory : o->log_namespace ? o->log_namespace : "";
}

static void position_put(Follow *f)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(LIMIT_POSITION);
        wire_put_u8(&b, POSITION_VERSION);
        wire_put_u64(&b, f->at.realtime_usec);
        wire_put_bytes(&b, slice_of(f->at.cursor));
        wire_put_bytes(&b, slice_of(follow_where(f->options)));
        if (b.error < 0)
                follow_failed(f, b.error, "cannot write the position");
        source_position(f->source, buf_slice(&b));
}

// 1: the stored position is of this journal; 0: of another one, which begins anew.
static int position_get(Follow *f, Slice position, Reason *reason)
{
        WireReader r = wire_reader(position);
        uint8_t version = wire_u8(&r);
        f->at.realtime_usec = wire_u64(&r);
        Slice cursor = wire_bytes(&r), where = wire_bytes(&r);
        if (version != POSITION_VERSION || !wire_end(&r) || cursor.len >= CURSOR_SIZE)
                return reason_set(reason, -EBADMSG, "the stored position is of another version");
        (void)snprintf(f->at.cursor, CURSOR_SIZE, "%.*s", SLICE_ARG(cursor));
        return slice_eq_str(where, follow_where(f->options));
}

static void commit(Follow *f)
{
        position_put(f);
        int r = source_commit(f->source, NULL);
        if (r < 0)
                follow_failed(f, r, "cannot hand over entries");
        f->ahead = false;
        f->batch = 0;
        f->mark_due = clock_mono_usec() + MARK_SEC * USEC_PER_SEC;
}

// ---- status

static void follow_stats(Follow *f, bool now)
{
        uint64_t mono = clock_mono_usec(), wall = clock_wall_usec();
        char at[CLOCK_RFC3339_MAX];
        if (!now && mono < f->stats_due)
                return;
        f->stats_due = mono + STATS_USEC;
        uint64_t lag = f->at_end || wall < f->at.realtime_usec ? 0 : wall - f->at.realtime_usec;
        json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:f, s:b, s:s, s:i, s:i}", "entries",
                (json_int_t)f->entries, "excluded", (json_int_t)f->excluded, "damaged",
                (json_int_t)f->damaged, "cut", (json_int_t)f->cut, "lag", (double)lag / 1e6,
                "at_end", f->at_end, "cursor_time", clock_rfc3339(f->at.realtime_usec, at), "files",
                (int)f->files.files, "files_skipped", (int)f->files.skipped);
        if (j)
                source_stats(f->source, j);
        json_decref(j);
}

static void tick_arm(Follow *f, uint64_t usec)
{
        (void)sd_event_source_set_time_relative(f->tick, usec);
        (void)sd_event_source_set_enabled(f->tick, SD_EVENT_ONESHOT);
}

static _Noreturn void follow_denied(Follow *f)
{
        source_fail(f->source, false,
                "the journal may not be read (%s): this user is not in the group systemd-journal; "
                "install the drop-in journal.conf (see belfry-journal(5)) and restart the daemon",
                f->files.first);
        abort(); // it does not come back
}

static void follow_survey(Follow *f)
{
        unsigned skipped = f->files.skipped;
        int r = files_survey(f->options, &f->files);
        if (r < 0)
                follow_failed(f, r, "cannot look at the journal's files");
        if (f->files.denied > 0)
                follow_denied(f);
        if (f->files.skipped > skipped)
                source_log(f->source, LOG_WARNING, NULL, "%u of %u journal files are not read: %s",
                        f->files.skipped, f->files.files, f->files.first);
        if (f->files.directories == 0)
                source_degraded(f->source, "there is no journal yet: %s",
                        f->options->directory ? f->options->directory
                                              : "neither /var/log/journal nor /run/log/journal");
        else if (f->files.skipped > 0)
                source_degraded(f->source, "%u of %u journal files are not read: %s",
                        f->files.skipped, f->files.files, f->files.first);
        else
                source_degraded(f->source, NULL);
        if (f->files.unsettled || f->files.directories == 0)
                tick_arm(f, WAIT_SEC * USEC_PER_SEC);
}

// ---- events

static void gap_data(const Follow *f, Buf *out)
{
        _cleanup_(buf_deinitp) Buf detail = BUF_INIT(LIMIT_LOG_TEXT);
        char from[CLOCK_RFC3339_MAX], to[CLOCK_RFC3339_MAX];
        JsonWriter w = json_writer(out);
        json_begin(&w, '{');
        json_key(&w, "reason");
        json_text(&w, "vacuumed");
        json_key(&w, "from");
        json_text(&w, clock_rfc3339(f->at.realtime_usec, from));
        json_key(&w, "to");
        json_text(&w, clock_rfc3339(f->gap_to.realtime_usec, to));
        buf_addf(&detail,
                "The journal no longer holds the entry read last (%s); the first one left is %s. "
                "What was logged between them may have been removed unread. If this happens while "
                "the daemon runs, raise SystemMaxUse= in journald.conf.",
                f->at.cursor, f->gap_to.cursor);
        json_key(&w, "detail");
        json_add_string(&w, buf_slice(&detail));
        json_end(&w, '}');
}

// Told alone, in front of the entry that is left; the position stays before that entry.
static void gap_tell(Follow *f)
{
        char material[2 * CURSOR_SIZE + 16];
        _cleanup_(buf_deinitp) Buf data = BUF_INIT(LIMIT_STATS);
        gap_data(f, &data);
        (void)snprintf(material, sizeof(material), "gap:%s:%s", f->at.cursor, f->gap_to.cursor);
        source_log(f->source, LOG_WARNING, NULL,
                "the journal was vacuumed past the position: entries may have been missed");
        source_begin(f->source);
        source_add(f->source, &(SourceEvent){.type = "source.gap",
                                      .subject = slice_of(source_name(f->source)),
                                      .id_material = slice_of(material),
                                      .data = buf_slice(&data)});
        if (data.error < 0)
                follow_failed(f, data.error, "cannot tell a gap");
        // As if everything before the entry that is left had been read.
        f->at = (Position){.realtime_usec = f->gap_to.realtime_usec};
        f->gap = false;
        commit(f);
}

static bool is_own(const Follow *f)
{
        static const char *const programs[] = {"belfryd", "belfry-births", "belfry-web"};
        if (f->own_unit)
                return slice_eq_str(entry_text(f->entry, ENTRY_SYSTEMD_UNIT), f->own_unit) ||
                       slice_eq_str(entry_text(f->entry, ENTRY_SYSTEMD_USER_UNIT), f->own_unit);
        Slice comm = entry_text(f->entry, ENTRY_COMM);
        for (size_t i = 0; i < N_ELEMENTS(programs); i++)
                if (slice_eq_str(comm, programs[i]))
                        return true;
        return slice_starts(comm, SLICE_LIT("belfry-source-")) ||
               slice_starts(comm, SLICE_LIT("belfry-sink-"));
}

static bool is_wanted(const Follow *f)
{
        char name[UNIT_NAME_SIZE];
        Reason reason;
        if (f->options->exclude_self && is_own(f))
                return false;
        if (!f->patterns)
                return true;
        for (char *const *u = f->options->units; *u; u++)
                if (unit_mangle(*u, name, &reason) == 0 && entry_is_of_unit(f->entry, name))
                        return true;
        return false;
}

static uint64_t event_time(const Follow *f, const Position *here)
{
        Slice s = entry_text(f->entry, ENTRY_SOURCE_TIME);
        uint64_t usec = 0;
        for (size_t i = 0; i < s.len && i < 17; i++) {
                if (s.data[i] < '0' || s.data[i] > '9')
                        return here->realtime_usec;
                usec = 10 * usec + (uint64_t)(s.data[i] - '0');
        }
        return usec > 0 && usec <= here->realtime_usec ? usec : here->realtime_usec;
}

// The event of the entry at hand. False: no credit is left, it is to come again.
static bool event_add(Follow *f, const Position *here)
{
        Slice cursor = slice_of(here->cursor), unit = entry_unit(f->entry);
        Slice identifier = entry_text(f->entry, ENTRY_IDENTIFIER);
        buf_shrink(&f->data, ENTRY_DATA_MAX / 4);
        int r = entry_data(f->entry, cursor, &f->data);
        if (r < 0)
                follow_failed(f, r, "cannot take an entry in");
        if (f->batch > 0 && source_batch_bytes(f->source) + f->data.len + 1024 >
                                    source_batch_target(f->source)) {
                commit(f);
                if (!source_may_send(f->source))
                        return false;
        }
        if (f->batch++ == 0)
                source_begin(f->source);
        source_add(f->source, &(SourceEvent){.time_usec = event_time(f, here),
                                      .type = "journal.entry",
                                      .subject = unit.len         ? unit
                                                 : identifier.len ? identifier
                                                                  : SLICE_LIT("journal"),
                                      .id_material = cursor,
                                      .data = buf_slice(&f->data)});
        f->entries++;
        f->cut += entry_was_cut(f->entry);
        return true;
}

// ---- reading

static void trouble_arm(Follow *f)
{
        uint64_t sec = 1u << (f->troubles < 6 ? f->troubles : 6);
        f->troubles++;
        (void)sd_event_source_set_time_relative(
                f->trouble, (sec < TROUBLE_SEC_MAX ? sec : TROUBLE_SEC_MAX) * USEC_PER_SEC);
        (void)sd_event_source_set_enabled(f->trouble, SD_EVENT_ONESHOT);
}

// Something in the journal cannot be read: it is opened anew after a while.
static void follow_trouble(Follow *f, int r, const char *what)
{
        if (r == -ENOMEM)
                follow_failed(f, r, what);
        source_log(f->source, LOG_WARNING, NULL, "%s: %s; it is opened anew", what, strerror(-r));
        f->io = sd_event_source_disable_unref(f->io);
        f->reader = reader_free(f->reader);
        trouble_arm(f);
}

// To where the position says, with a look whether its entry is still there.
static int follow_seek(Follow *f)
{
        ReaderFound found;
        int r = reader_seek(f->reader, &f->at, &found, &f->gap_to);
        if (r < 0)
                return r;
        f->gap = found == READER_GONE;
        f->unsure = found == READER_UNSURE;
        f->at_end = false;
        return 0;
}

// One entry. 1: go on; 0: enough for now.
static int follow_step(Follow *f)
{
        Position here;
        int r = reader_next(f->reader);
        if (r == 0)
                f->at_end = true;
        if (r <= 0)
                return r;
        r = reader_entry(f->reader, f->entry, &here);
        if (r == -EBADMSG) {
                f->damaged++;
        } else if (r < 0) {
                return r;
        } else if (!is_wanted(f)) {
                f->excluded++;
        } else if (!event_add(f, &here)) {
                reader_again(f->reader);
                return 0;
        }
        f->at = here;
        f->ahead = true;
        return 1;
}

static void follow_run(Follow *f)
{
        int r = 1;
        if (f->stopping || !f->reader || !source_may_send(f->source))
                return;
        if (f->unsure)
                r = follow_seek(f);
        if (r >= 0 && f->gap)
                gap_tell(f);
        for (f->turn = 0; r >= 0 && f->turn < TURN_MAX && source_may_send(f->source); f->turn++) {
                r = follow_step(f);
                if (r == 0)
                        break;
        }
        if (f->batch > 0)
                commit(f);
        if (r < 0) {
                follow_trouble(f, r, "cannot read the journal");
                return;
        }
        f->troubles = 0;
        if (!f->at_end && source_may_send(f->source))
                (void)sd_event_source_set_enabled(f->run, SD_EVENT_ONESHOT);
        if (f->at_end && (f->ahead || f->matches))
                tick_arm(f, MARK_SEC * USEC_PER_SEC);
        follow_stats(f, f->at_end);
}

static int on_run(sd_event_source *e, void *userdata)
{
        follow_run(userdata);
        return 0;
}

static int on_journal(sd_event_source *e, int fd, uint32_t events, void *userdata)
{
        Follow *f = userdata;
        ReaderNews news;
        int r = reader_process(f->reader, &news);
        if (r >= 0 && news == READER_INVALIDATED) {
                r = follow_seek(f);
                follow_survey(f);
        }
        if (r < 0)
                follow_trouble(f, r, "cannot follow the journal");
        else if (news != READER_NOTHING)
                follow_run(f);
        return 0;
}

// ---- start

static int follow_open(Follow *f, Reason *reason)
{
        int r = reader_open(f->options, &f->reader, reason);
        if (r < 0)
                return r;
        r = sd_event_add_io(source_loop(f->source), &f->io, reader_fd(f->reader),
                reader_events(f->reader), on_journal, f);
        return r < 0 ? reason_errno(reason, r, "cannot watch the journal") : 0;
}

static int on_tick(sd_event_source *e, uint64_t usec, void *userdata)
{
        Follow *f = userdata;
        if (f->reader && f->at_end && f->ahead && source_may_send(f->source)) {
                source_begin(f->source);
                commit(f);
        }
        if (f->files.unsettled || f->files.directories == 0)
                follow_survey(f);
        return 0;
}

static int on_trouble(sd_event_source *e, uint64_t usec, void *userdata)
{
        Follow *f = userdata;
        Reason reason = {0};
        int r = follow_open(f, &reason);
        if (r >= 0)
                r = follow_seek(f);
        if (r < 0) {
                source_degraded(f->source, "%s", reason.text);
                trouble_arm(f);
                return 0;
        }
        follow_survey(f);
        follow_run(f);
        return 0;
}

// Where to begin the first time, made durable at once.
static int follow_begin(Follow *f, Reason *reason)
{
        uint64_t since;
        int r = since_parse(f->options->since, clock_wall_usec(), &since, reason);
        if (r < 0)
                return r;
        f->at = (Position){.realtime_usec = since};
        if (since == SINCE_NOW) {
                r = reader_tail(f->reader, &f->at);
                if (r < 0)
                        return reason_errno(reason, r, "cannot find the end of the journal");
        }
        source_begin(f->source);
        commit(f);
        return 0;
}

static void find_own_unit(Follow *f)
{
        static const char suffix[] = ".service";
        char *unit = NULL;
        if (sd_pid_get_user_unit(0, &unit) < 0 && sd_pid_get_unit(0, &unit) < 0)
                return;
        size_t n = unit ? strlen(unit) : 0;
        if (n > strlen(suffix) && strcmp(unit + n - strlen(suffix), suffix) == 0)
                f->own_unit = TAKE_PTR(unit);
        free(unit);
}

static int follow_arm(Follow *f)
{
        sd_event *loop = source_loop(f->source);
        int r = sd_event_add_defer(loop, &f->run, on_run, f);
        if (r >= 0)
                r = sd_event_source_set_enabled(f->run, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(
                        loop, &f->tick, CLOCK_MONOTONIC, USEC_INFINITY, USEC_PER_SEC, on_tick, f);
        if (r >= 0)
                r = sd_event_add_time(loop, &f->trouble, CLOCK_MONOTONIC, USEC_INFINITY,
                        USEC_PER_SEC / 10, on_trouble, f);
        return r;
}

static int follow_init(Follow *f, Source *s, const JournalOptions *o)
{
        f->source = s;
        f->options = o;
        f->rules = (EntryRules){.fields = o->fields, .max_field = o->max_field};
        f->rules.max_data =
                source_batch_max(s) / 2 < ENTRY_DATA_MAX ? source_batch_max(s) / 2 : ENTRY_DATA_MAX;
        f->data = BUF_INIT(LIMIT_EVENT_MAX);
        f->entry = entry_new(&f->rules);
        if (!f->entry)
                return -ENOMEM;
        for (char *const *u = o->units; u && *u; u++)
                f->patterns |= unit_is_pattern(*u);
        f->matches = o->match || o->priority || o->identifiers || strcmp(o->boot, "all") != 0 ||
                     (o->units && !f->patterns);
        find_own_unit(f);
        return follow_arm(f);
}

int follow_start(Source *s, const JournalOptions *o, Slice position, Follow **ret, Reason *reason)
{
        Follow *f = calloc(1, sizeof(*f));
        if (!f)
                return reason_set(reason, -ENOMEM, "out of memory");
        *ret = f;
        int r = follow_init(f, s, o);
        if (r < 0)
                return reason_errno(reason, r, "cannot start");
        if (source_for_command(s))
                return 0;
        r = position.data ? position_get(f, position, reason) : 0;
        if (r < 0)
                return r;
        bool known = r > 0;
        r = follow_open(f, reason);
        if (r >= 0)
                follow_survey(f);
        if (r >= 0 && !known)
                r = follow_begin(f, reason);
        if (r < 0)
                return r;
        r = follow_seek(f);
        if (r < 0)
                return reason_errno(reason, r, "cannot read the journal");
        source_ready(s);
        (void)sd_event_source_set_enabled(f->run, SD_EVENT_ONESHOT);
        return 0;
}

void follow_resume(Follow *f)
{
        follow_run(f);
}

void follow_stop(Follow *f)
{
        f->stopping = true;
        if (f->reader && f->ahead && source_may_send(f->source)) {
                source_begin(f->source);
                commit(f);
        }
        source_stopped(f->source);
}

void follow_free(Follow *f)
{
        if (!f)
                return;
        sd_event_source_disable_unref(f->io);
        sd_event_source_disable_unref(f->run);
        sd_event_source_disable_unref(f->tick);
        sd_event_source_disable_unref(f->trouble);
        (void)reader_free(f->reader);
        (void)entry_free(f->entry);
        buf_deinit(&f->data);
        free(f->own_unit);
        free(f);
}
