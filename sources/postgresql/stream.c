// SPDX-License-Identifier: MIT
// The state machine of one source: read back what is stored, connect, hand over to attach.c, and
// after any failure say why and try again, soon or slowly by the class of the fault. Nothing but a
// fault of the configuration's text ends the process: what the world mends is waited for.
#include "stream.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum {
        BACKOFF_BUSY_USEC = 100000,
        BACKOFF_MIN_USEC = 250000,
        BACKOFF_MAX_USEC = 10000000,
        BACKOFF_SETTING_USEC = 5000000,
        BACKOFF_SETTING_MAX_USEC = 30000000,
        STATE_BYTES = 512 * 1024,
        PATH_BYTES = 4096,
};

// ---- what is degraded
void stream_tell_trouble(Stream *s)
{
        const Reason *all[] = {
                &s->trouble, &s->budget_trouble, &s->publication_trouble, &s->backfill_trouble};
        char text[REASON_MAX] = "";
        size_t n = 0;
        for (size_t i = 0; i < N_ELEMENTS(all) && n < sizeof text; i++)
                if (all[i]->text[0])
                        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s",
                                n ? "; also: " : "", all[i]->text);
        source_degraded(s->source, text[0] ? "%s" : NULL, text);
}

void stream_well(Stream *s)
{
        s->stuck = false;
        s->backoff_usec = 0;
        s->trouble.text[0] = 0;
        stream_tell_trouble(s);
}

// ---- timers
void stream_alarm(Stream *s, uint64_t usec, sd_event_time_handler_t handler)
{
        s->timer = sd_event_source_disable_unref(s->timer);
        int r = sd_event_add_time_relative(
                source_loop(s->source), &s->timer, CLOCK_MONOTONIC, usec, 0, handler, s);
        if (r < 0)
                source_fail(s->source, false, "cannot set a timer: %s", strerror(-r));
}

static int on_backoff(sd_event_source *e, uint64_t usec, void *userdata)
{
        Stream *s = userdata;
        s->timer = sd_event_source_disable_unref(s->timer);
        stream_connect(s);
        return 0;
}

static void disconnect(Stream *s)
{
        s->timer = sd_event_source_disable_unref(s->timer);
        pump_stop(s);
        s->publishing = publication_free(s->publishing);
        s->main = server_free(s->main);
}

static uint64_t next_backoff(Stream *s, FaultClass c)
{
        uint64_t min = c == FAULT_BUSY      ? BACKOFF_BUSY_USEC
                       : c == FAULT_SETTING ? BACKOFF_SETTING_USEC
                                            : BACKOFF_MIN_USEC;
        uint64_t max = c == FAULT_SETTING ? BACKOFF_SETTING_MAX_USEC
                       : c == FAULT_BUSY  ? BACKOFF_SETTING_USEC
                                          : BACKOFF_MAX_USEC;
        uint64_t usec = 2 * s->backoff_usec;
        usec = usec < min ? min : usec > max ? max : usec;
        s->backoff_usec = usec;
        return usec;
}

static void retry(Stream *s, FaultClass c, const Reason *why)
{
        bool running = s->state == STREAM_RUNNING;
        if (s->state == STREAM_STOPPED)
                return;
        disconnect(s);
        s->state = STREAM_BACKOFF;
        // What goes away by itself at once is not worth an alarm: a restart, a slot still busy.
        if (running && c != FAULT_SETTING)
                s->backoff_usec = 0;
        else if (c != FAULT_BUSY || s->backoff_usec >= BACKOFF_MIN_USEC) {
                if (strcmp(s->trouble.text, why->text) != 0)
                        source_log(s->source, LOG_WARNING, NULL, "%s", why->text);
                s->trouble = *why;
                stream_tell_trouble(s);
        }
        stream_alarm(s, next_backoff(s, c), on_backoff);
}

void stream_retry(Stream *s, const ServerFault *fault)
{
        Reason why;
        preflight_explain(fault, server_user(s->main), &why);
        FaultClass c = fault_class(fault);
        // A slot that is lost, or a publication that was not there yet, is looked at anew at once; what
        // the server cannot pass (a condition that fails for a row) would be met again and again.
        if (s->state == STREAM_RUNNING && c == FAULT_SETTING) {
                uint64_t at = pump_position(s).end_lsn;
                s->stuck = s->failed && s->failed_lsn == at;
                s->failed = true;
                s->failed_lsn = at;
                if (!s->stuck)
                        c = FAULT_TRANSIENT;
        }
        retry(s, c, &why);
}

void stream_retry_text(Stream *s, FaultClass c, const char *format, ...)
{
        Reason why;
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(why.text, sizeof why.text, format, ap);
        va_end(ap);
        retry(s, c, &why);
}

// ---- connecting
static void on_up(void *userdata)
{
        attach_begin(userdata);
}

static void on_down(void *userdata, const ServerFault *fault)
{
        stream_retry(userdata, fault);
}

static void on_copy(void *userdata)
{
        pump(userdata);
}

int stream_login(const Stream *s, bool replication, const ServerHandlers *handlers, void *userdata,
        Server **ret, Reason *reason)
{
        const ServerLogin login = {.conninfo = s->options->conninfo,
                .passfile = s->passfile,
                .application = s->application,
                .replication = replication,
                .connect_usec = CONNECT_SEC * USEC_PER_SEC};
        return server_connect(ret, source_loop(s->source), &login, handlers, userdata, reason);
}

void stream_connect(Stream *s)
{
        static const ServerHandlers handlers = {.up = on_up, .down = on_down, .copy = on_copy};
        Reason why = {""};
        disconnect(s);
        s->state = STREAM_CONNECTING;
        if (stream_login(s, true, &handlers, s, &s->main, &why) < 0)
                retry(s, FAULT_SETTING, &why);
}

// ---- start
static int find_passfile(Stream *s, Reason *reason)
{
        const char *reference = s->options->passfile, *dir = source_credentials_dir(s->source);
        int r = 0;
        if (!reference)
                return 0;
        if (strncmp(reference, "file:", 5) == 0)
                r = asprintf(&s->passfile, "%s", reference + 5);
        else if (dir)
                r = asprintf(&s->passfile, "%s/%s", dir, reference + strlen("credential:"));
        else
                return reason_set(reason, -ENOENT,
                        "passfile: there is no credential %s: add LoadCredential=%s:PATH to the "
                        "unit",
                        reference + strlen("credential:"), reference + strlen("credential:"));
        return r < 0 ? -ENOMEM : 0;
}

// libpq looks for services where it is told; a file that is not there is no fault until one is named.
static void set_environment(const PostgresqlOptions *o)
{
        if (o->service_file && access(o->service_file, R_OK) == 0)
                (void)setenv("PGSERVICEFILE", o->service_file, 1);
        // No home: its files are not ours to read, and the cage would refuse them anyway.
        (void)setenv("HOME", "/nonexistent", 1);
}

static int start(Stream *s, Slice position, Reason *reason)
{
        ChangeOptions options = {.operations = options_operations(s->options),
                .numbers = s->options->numeric,
                .group = s->options->transaction,
                .event_max = source_batch_max(s->source)};
        Position p;

        set_environment(s->options);
        options_slot(s->options, source_hostname(s->source), source_name(s->source), s->slot);
        (void)snprintf(s->publication, sizeof s->publication, "%s",
                s->options->publication ? s->options->publication : s->slot);
        (void)snprintf(s->application, sizeof s->application, "belfry/%s", source_name(s->source));
        if (source_for_command(s->source))
                return find_passfile(s, reason);
        s->change = change_new(&options);
        int r = s->change ? pump_init(s) : -ENOMEM;
        if (r >= 0)
                r = backfill_new(s, &s->backfill);
        if (r >= 0)
                r = find_passfile(s, reason);
        if (r >= 0 && position.data) {
                r = position_get(position, &p, reason);
                if (r >= 0) {
                        change_set_position(s->change, &p);
                        s->flush_lsn = s->saved_lsn = p.end_lsn;
                }
        }
        if (r >= 0)
                r = source_state_get(s->source, SLICE_NULL, STATE_BYTES);
        return r;
}

int stream_new(
        Source *source, const PostgresqlOptions *o, Slice position, Stream **ret, Reason *reason)
{
        Stream *s = calloc(1, sizeof *s);
        if (!s)
                return reason_set(reason, -ENOMEM, "out of memory");
        s->source = source;
        s->options = o;
        int r = start(s, position, reason);
        if (r < 0) {
                (void)stream_free(s);
                if (reason->text[0])
                        return r;
                return reason_set(reason, r, "cannot start: %s", strerror(-r));
        }
        *ret = s;
        return 0;
}

int stream_state(Stream *s, Slice key, Slice value)
{
        free(s->state_from);
        s->state_from = strndup(key.data, key.len);
        s->state_from_len = key.len;
        if (!s->state_from)
                return -ENOMEM;
        if (slice_eq_str(key, "halt")) {
                (void)snprintf(s->halt, sizeof s->halt, "%.*s", SLICE_ARG(value));
                return 0;
        }
        int r = backfill_load(s->backfill, key, value);
        if (r == 1)
                r = change_load(s->change, key, value);
        if (r == 1)
                source_log(s->source, LOG_WARNING, NULL, "unknown state row %.*s", SLICE_ARG(key));
        return r < 0 ? r : 0;
}

int stream_state_end(Stream *s, bool more)
{
        if (s->state != STREAM_LOADING)
                return 0;
        if (more)
                return source_state_get(
                        s->source, slice_mem(s->state_from, s->state_from_len), STATE_BYTES);
        free(TAKE_PTR(s->state_from));
        if (s->halt[0] && s->options->on_gap != ON_GAP_STOP)
                attach_continue(s);
        stream_connect(s);
        return 0;
}

void stream_stop(Stream *s)
{
        pump_goodbye(s);
        s->state = STREAM_STOPPED;
        health_stop(s);
        disconnect(s);
        source_stopped(s->source);
}

Stream *stream_free(Stream *s)
{
        if (!s)
                return NULL;
        health_stop(s);
        disconnect(s);
        pump_deinit(s);
        s->backfill = backfill_free(s->backfill);
        s->change = change_free(s->change);
        json_decref(s->slot_stats);
        free(s->state_from);
        free(s->passfile);
        free(s);
        return NULL;
}
