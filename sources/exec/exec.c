// SPDX-License-Identifier: MIT
// The life of an exec source. Lines become events of a batch; the place in the program's output goes
// with them, so that the program started again after any crash goes on where the durable events end.
// While the hub asks for a pause, or there is no credit, nothing is read and the program waits in its
// write. The program is started again only when all that it printed is durable.
#include "exec.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>

enum { PRIORITY_COMMIT = 10, STATS_USEC = 200 * 1000, STATE_BYTES = 256 * 1024 };

void exec_failed(Exec *x, int error, const char *format, ...)
{
        char text[REASON_MAX];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        source_fail(x->source, false, "%s: %s", text, strerror(-error));
}

// ---- batches

bool exec_may_take(const Exec *x)
{
        return source_may_send(x->source);
}

bool exec_all_durable(const Exec *x)
{
        return !x->begun && x->durable + 1 >= x->batch;
}

void exec_begin(Exec *x)
{
        if (x->begun)
                return;
        source_begin(x->source);
        x->begun = true;
        (void)sd_event_source_set_enabled(x->commit, SD_EVENT_ONESHOT);
}

static void ids_change(void *userdata, Slice key, Slice value)
{
        Exec *x = userdata;
        if (value.data)
                source_state_put(x->source, key, value);
        else
                source_state_del(x->source, key);
}

void exec_commit(Exec *x)
{
        char text[PLACE_TEXT_MAX];
        uint64_t batch;
        if (!x->begun)
                return;
        // Behind what an earlier run made durable the store must not fall.
        Place place = x->place;
        if (place.index < x->repeat)
                place.index = x->repeat;
        source_position(x->source, slice_mem(text, place_text(&place, text)));
        if (x->options->ids)
                keys_write(&x->ids, ids_change, x);
        x->begun = false;
        x->n_batch = 0;
        int r = source_commit(x->source, &batch);
        if (r < 0)
                exec_failed(x, r, "cannot hand over events");
        x->batch = batch + 1;
        (void)sd_event_source_set_enabled(x->commit, SD_EVENT_OFF);
}

bool exec_make_room(Exec *x, size_t bytes)
{
        bytes += x->options->ids ? keys_room(&x->ids) : 0;
        if (x->begun && source_batch_bytes(x->source) + bytes > source_batch_max(x->source))
                exec_commit(x);
        else if (x->n_batch >= EXEC_BATCH_EVENTS ||
                 (x->begun && source_batch_bytes(x->source) >= source_batch_target(x->source)))
                exec_commit(x);
        return exec_may_take(x);
}

static int on_commit(sd_event_source *e, void *userdata)
{
        exec_commit(userdata);
        return 0;
}

// ---- what it tells of itself

static void exec_stats(Exec *x)
{
        const ExecCounts *n = &x->counts;
        json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "program",
                run_state_to_string(x), "replay",
                x->options->replay == REPLAY_NONE ? "none" : "position", "starts",
                (json_int_t)n->starts, "failures", (json_int_t)n->failures, "accepted",
                (json_int_t)n->accepted, "refused", (json_int_t)n->refused, "repeated",
                (json_int_t)n->repeated, "errors", (json_int_t)n->errors, "unlogged",
                (json_int_t)n->unlogged);
        if (x->run == RUN_UP)
                (void)json_object_set_new(j, "pid", json_integer(x->program));
        if (x->last_end[0])
                (void)json_object_set_new(j, "last_end", json_string(x->last_end));
        source_stats(x->source, j);
        json_decref(j);
}

static int on_stats(sd_event_source *e, uint64_t usec, void *userdata)
{
        exec_stats(userdata);
        return 0;
}

void exec_stats_soon(Exec *x)
{
        int enabled;
        if (sd_event_source_get_enabled(x->stats, &enabled) < 0 || enabled != SD_EVENT_OFF)
                return;
        (void)sd_event_source_set_time_relative(x->stats, STATS_USEC);
        (void)sd_event_source_set_enabled(x->stats, SD_EVENT_ONESHOT);
}

// ---- what the hub says

void exec_maybe_stopped(Exec *x)
{
        if (!x->stopping || x->run != RUN_DOWN || !exec_all_durable(x))
                return;
        exec_stats(x);
        source_stopped(x->source);
}

int exec_state(void *instance, Slice key, Slice value)
{
        Exec *x = instance;
        buf_reset(&x->last_row);
        buf_add_slice(&x->last_row, key);
        int r = x->last_row.error ? x->last_row.error : keys_load(&x->ids, key, value, 0);
        if (r == -EBADMSG)
                source_fail(x->source, false, "a stored row is damaged: belfry source forget %s",
                        source_name(x->source));
        return r;
}

int exec_state_end(void *instance, bool more)
{
        Exec *x = instance;
        if (more)
                return source_state_get(x->source, buf_slice(&x->last_row), STATE_BYTES);
        if (!x->stopping)
                run_begin(x);
        return 0;
}

void exec_durable(void *instance, uint64_t batch)
{
        Exec *x = instance;
        x->durable = batch;
        input_durable(x);
        run_look(x);
        exec_maybe_stopped(x);
}

void exec_pause(void *instance)
{
        (void)instance; // it is asked for before each line
}

void exec_resume(void *instance)
{
        Exec *x = instance;
        output_look(x);
        run_look(x);
}

void exec_stop(void *instance)
{
        Exec *x = instance;
        x->stopping = true;
        run_stop(x);
        exec_commit(x);
        exec_maybe_stopped(x);
}

void exec_free(void *instance)
{
        Exec *x = instance;
        run_clear(x);
        sd_event_source_disable_unref(x->commit);
        sd_event_source_disable_unref(x->stats);
        event_parser_deinit(&x->parser);
        keys_deinit(&x->ids);
        buf_deinit(&x->last_row);
        for (char **e = x->environment; e && *e; e++)
                option_secret_wipe(*e, strlen(*e));
        free(x->environment);
        free(x);
}

// NAME=value of what the user gave, references resolved.
static int environment_one(Exec *x, const char *name, const char *value, char **ret, Reason *reason)
{
        char *secret = NULL;
        size_t n = 0;
        int r = 0;
        if (option_is_reference(slice_of(value)))
                r = option_secret_read(
                        value, source_credentials_dir(x->source), &secret, &n, reason);
        if (r >= 0 && asprintf(ret, "%s=%s", name, secret ? secret : value) < 0) {
                *ret = NULL;
                r = reason_set(reason, -ENOMEM, "out of memory");
        }
        option_secret_wipe(secret, n);
        return r;
}

static int environment_read(Exec *x, Reason *reason)
{
        const StringMap *m = &x->options->environment;
        int r = 0;
        x->environment = calloc(m->n + 1, sizeof(*x->environment));
        if (!x->environment)
                return reason_set(reason, -ENOMEM, "out of memory");
        for (size_t i = 0; r >= 0 && i < m->n; i++)
                r = environment_one(x, m->names[i], m->values[i], &x->environment[i], reason);
        return r;
}

static int exec_timers(Exec *x)
{
        int r = sd_event_add_defer(x->event, &x->commit, on_commit, x);
        if (r >= 0)
                r = sd_event_source_set_priority(x->commit, PRIORITY_COMMIT);
        if (r >= 0)
                r = sd_event_source_set_enabled(x->commit, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(
                        x->event, &x->stats, CLOCK_BOOTTIME, 0, STATS_USEC, on_stats, x);
        return r < 0 ? r : sd_event_source_set_enabled(x->stats, SD_EVENT_OFF);
}

static int exec_nonce(Exec *x)
{
        uint8_t random[16];
        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
                return -EIO;
        digest_hex(random, sizeof(random), x->nonce);
        return 0;
}

int exec_start(Source *s, const void *options, Slice position, void **ret_instance, Reason *reason)
{
        Exec *x = calloc(1, sizeof(*x));
        if (!x)
                return reason_set(reason, -ENOMEM, "out of memory");
        *ret_instance = x;
        x->source = s;
        x->options = options;
        x->event = source_loop(s);
        x->news_fd = x->in_fd = -1;
        x->last_row = BUF_INIT(LIMIT_STATE_KEY);
        (void)snprintf(x->origin.instance, sizeof(x->origin.instance), "%s", source_name(s));
        x->batch = 1;
        TAILQ_INIT(&x->acks);
        event_parser_init(&x->parser);
        uint64_t now = clock_boot_usec();
        x->rate = rate_new(x->options->rate, USEC_PER_SEC, now);
        x->log_rate = rate_new(x->options->log_rate, 60 * USEC_PER_SEC, now);
        if (source_for_command(s))
                return 0;
        if (position.data && place_parse(&x->place, position) < 0)
                return reason_set(reason, -EINVAL,
                        "the stored position is damaged: belfry source forget %s", source_name(s));
        int r = exec_timers(x);
        if (r >= 0)
                r = exec_nonce(x);
        // They are forgotten by number alone.
        if (r >= 0 && x->options->ids)
                r = keys_init(&x->ids, (size_t)x->options->ids, UINT32_MAX);
        // What a killed keeper leaves behind comes to this process, to be ended.
        if (r >= 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                r = -errno;
        if (r < 0)
                return reason_errno(reason, r, "cannot set up");
        r = environment_read(x, reason);
        if (r < 0)
                return r;
        if (!x->options->ids) {
                run_begin(x);
                return 0;
        }
        r = source_state_get(s, SLICE_NULL, STATE_BYTES);
        return r < 0 ? reason_errno(reason, r, "cannot read the ids") : 0;
}
