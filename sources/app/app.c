// SPDX-License-Identifier: MIT
// The life of an app source: lines become events of a batch, a batch is handed over when nobody else
// has something to say at that moment or when it is large, and what waited for it is answered when the
// hub says that it is durable. While the hub asks for a pause, or there is no credit, nothing is read
// and whoever writes waits.
#include "app.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum {
        PRIORITY_COMMIT = 10,     // behind everything that reads
        EVENT_ROOM = 1024,        // of a record, beside data and subject
        STATE_BYTES = 256 * 1024, // of keys read at once
        STATS_USEC = 200 * 1000,
        TICK_ACCURACY_USEC = 1000,
};

static void app_failed(App *a, int r, const char *what)
{
        source_fail(a->source, false, "%s: %s", what, strerror(-r));
}

// ---- batches

static uint32_t now_sec(void)
{
        return (uint32_t)(clock_wall_usec() / USEC_PER_SEC);
}

static void keys_change(void *userdata, Slice key, Slice value)
{
        App *a = userdata;
        if (value.data)
                source_state_put(a->source, key, value);
        else
                source_state_del(a->source, key);
}

static void app_commit(App *a)
{
        if (!a->begun)
                return;
        uint64_t batch;
        keys_write(&a->keys, keys_change, a);
        datagrams_write(a);
        a->begun = false;
        a->n_batch = 0;
        int r = source_commit(a->source, &batch);
        if (r < 0)
                app_failed(a, r, "cannot hand over events");
        a->batch = batch + 1;
        (void)sd_event_source_set_enabled(a->commit, SD_EVENT_OFF);
}

static int on_commit(sd_event_source *e, void *userdata)
{
        app_commit(userdata);
        return 0;
}

void app_begin(App *a)
{
        if (a->begun)
                return;
        source_begin(a->source);
        a->begun = true;
        (void)sd_event_source_set_enabled(a->commit, SD_EVENT_ONESHOT);
}

bool app_may_take(const App *a)
{
        return a->ready && !a->stopping && source_may_send(a->source);
}

bool app_flush(App *a)
{
        app_commit(a);
        return app_may_take(a);
}

static int key_make(AppTaken *t)
{
        uint8_t random[APP_ID];
        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
                return -EIO;
        digest_hex(random, sizeof(random), t->key);
        t->key[2 * sizeof(random)] = 0;
        t->made = true;
        return 0;
}

// Room in the batch for an event that large, if need be in the next one.
static int app_make_room(App *a, size_t bytes, Reason *reason)
{
        size_t max = source_batch_max(a->source);
        if (bytes > max)
                return reason_set(reason, -EINVAL,
                        "the event does not fit into limits.event (%zu bytes)", max);
        if (a->begun && source_batch_bytes(a->source) + keys_room(&a->keys) + bytes > max)
                app_commit(a);
        return app_may_take(a) ? 0 : -EAGAIN;
}

// The same key again: the answer it got or will get. What of its batch is known is that it is none
// after the one being filled.
static bool app_is_duplicate(App *a, AppTaken *t)
{
        keys_expire(&a->keys, now_sec());
        if (!keys_have(&a->keys, t->id))
                return false;
        t->batch = a->begun ? a->batch : a->batch - 1;
        a->counts.duplicates++;
        return true;
}

int app_take(App *a, uid_t uid, Slice text, AppTaken *ret, Reason *reason)
{
        EventLine line;
        AppTaken t = {0};
        char material[APP_MATERIAL_MAX];
        int r = event_line_parse(&a->parser, text, false, &line, reason);
        if (r < 0)
                return r;
        if (!line.key.data) {
                r = key_make(&t);
                if (r < 0)
                        return reason_errno(reason, -EINVAL, "cannot make a key");
                line.key = slice_of(t.key);
        }
        Slice id_material = app_material(material, uid, line.key);
        r = record_id(&a->origin, id_material, t.id);
        if (r < 0)
                return reason_errno(reason, -EINVAL, "cannot make an id");
        app_stats_soon(a);
        if (!t.made && app_is_duplicate(a, &t)) {
                *ret = t;
                return 0;
        }
        r = app_make_room(a, line.data.len + line.subject.len * 6 + EVENT_ROOM, reason);
        if (r >= 0 && !t.made)
                r = keys_add(&a->keys, t.id, now_sec());
        if (r < 0)
                return r;
        app_begin(a);
        source_add(a->source, &(SourceEvent){.time_usec = line.time_usec,
                                      .type = line.type,
                                      .subject = line.subject,
                                      .id_material = id_material,
                                      .data = line.data});
        t.batch = a->batch;
        a->counts.accepted++;
        if (++a->n_batch >= APP_BATCH_EVENTS ||
                source_batch_bytes(a->source) >= source_batch_target(a->source))
                app_commit(a);
        *ret = t;
        return 0;
}

// ---- time

static int on_tick(sd_event_source *e, uint64_t usec, void *userdata)
{
        App *a = userdata;
        uint64_t now = clock_boot_usec();
        Client *c, *next;
        a->tick_at = 0;
        if (a->accept && !a->stopping)
                (void)sd_event_source_set_enabled(a->accept, SD_EVENT_ON);
        for (c = LIST_FIRST(&a->clients); c; c = next) {
                next = LIST_NEXT(c, link);
                if (!client_over(c, now))
                        client_look(c);
        }
        datagrams_look(a);
        return 0;
}

void app_tick(App *a, uint64_t usec)
{
        uint64_t at = clock_boot_usec() + usec;
        if (a->tick_at && a->tick_at <= at)
                return;
        a->tick_at = at;
        (void)sd_event_source_set_time(a->tick, at);
        (void)sd_event_source_set_enabled(a->tick, SD_EVENT_ONESHOT);
}

static void app_stats(App *a)
{
        const AppCounts *n = &a->counts;
        uint64_t dropped = 0;
        for (int i = 0; i < _DROP_MAX; i++)
                dropped += a->datagrams.dropped[i];
        const struct {
                const char *name;
                uint64_t n;
        } rows[] = {{"connections", a->n_clients}, {"connected", n->connected},
                {"turned_away", n->turned_away}, {"accepted", n->accepted}, {"refused", n->refused},
                {"duplicates", n->duplicates}, {"datagrams", a->datagrams.received},
                {"dropped", dropped}, {"keys", a->keys.end - a->keys.first},
                {"forgotten_early", a->keys.early}};
        json_t *j = json_object();
        for (size_t i = 0; i < N_ELEMENTS(rows); i++)
                (void)json_object_set_new(j, rows[i].name, json_integer((json_int_t)rows[i].n));
        source_stats(a->source, j);
        json_decref(j);
}

static int on_stats(sd_event_source *e, uint64_t usec, void *userdata)
{
        app_stats(userdata);
        return 0;
}

void app_stats_soon(App *a)
{
        int enabled;
        if (sd_event_source_get_enabled(a->stats, &enabled) < 0 || enabled != SD_EVENT_OFF)
                return;
        (void)sd_event_source_set_time_relative(a->stats, STATS_USEC);
        (void)sd_event_source_set_enabled(a->stats, SD_EVENT_ONESHOT);
}

// ---- what the hub says

static void app_maybe_ready(App *a)
{
        if (a->ready || !a->told || !a->loaded || a->stopping)
                return;
        int r = doors_open(a);
        if (r >= 0)
                r = datagrams_open(a);
        if (r < 0)
                app_failed(a, r, "cannot watch the sockets");
        a->ready = true;
        app_stats(a);
        source_ready(a->source);
        datagrams_look(a);
}

void app_peers(void *instance, const SourcePeers *peers)
{
        App *a = instance;
        doors_peers(a, peers);
        a->told = true;
        app_maybe_ready(a);
}

int app_state(void *instance, Slice key, Slice value)
{
        App *a = instance;
        buf_reset(&a->last_row);
        buf_add_slice(&a->last_row, key);
        int r = a->last_row.error;
        if (r == 0 && slice_eq_str(key, datagrams_row))
                r = datagrams_load(a, value);
        else if (r == 0)
                r = keys_load(&a->keys, key, value, now_sec());
        if (r == -EBADMSG)
                source_fail(a->source, false, "a stored row is damaged: belfry source forget %s",
                        source_name(a->source));
        return r;
}

int app_state_end(void *instance, bool more)
{
        App *a = instance;
        if (more)
                return source_state_get(a->source, buf_slice(&a->last_row), STATE_BYTES);
        a->loaded = true;
        app_maybe_ready(a);
        return 0;
}

static void app_maybe_stopped(App *a)
{
        if (!a->stopping || a->durable + 1 < a->batch)
                return;
        app_stats(a);
        source_stopped(a->source);
}

void app_durable(void *instance, uint64_t batch)
{
        App *a = instance;
        Client *c;
        a->durable = batch;
        LIST_FOREACH (c, &a->clients, link)
                client_durable(c);
        datagrams_look(a);
        app_maybe_stopped(a);
}

void app_pause(void *instance)
{
        (void)instance; // each client asks before it reads
}

void app_resume(void *instance)
{
        App *a = instance;
        Client *c;
        LIST_FOREACH (c, &a->clients, link)
                client_look(c);
        datagrams_look(a);
}

// What was taken is answered; what was not will be refused by the closed connection.
void app_stop(void *instance)
{
        App *a = instance;
        datagrams_stop(a);
        a->stopping = true;
        if (a->accept)
                (void)sd_event_source_set_enabled(a->accept, SD_EVENT_OFF);
        app_commit(a);
        app_maybe_stopped(a);
}

void app_free(void *instance)
{
        App *a = instance;
        Client *c;
        User *u;
        while ((c = LIST_FIRST(&a->clients)))
                client_free(c);
        while ((u = LIST_FIRST(&a->users))) {
                LIST_REMOVE(u, link);
                free(u);
        }
        sd_event_source_disable_unref(a->accept);
        sd_event_source_disable_unref(a->commit);
        sd_event_source_disable_unref(a->tick);
        sd_event_source_disable_unref(a->stats);
        datagrams_close(a);
        event_parser_deinit(&a->parser);
        keys_deinit(&a->keys);
        buf_deinit(&a->last_row);
        free(a->uids);
        free(a->gids);
        free(a);
}

static int app_timers(App *a)
{
        int r = sd_event_add_defer(a->event, &a->commit, on_commit, a);
        if (r >= 0)
                r = sd_event_source_set_priority(a->commit, PRIORITY_COMMIT);
        if (r >= 0)
                r = sd_event_source_set_enabled(a->commit, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(
                        a->event, &a->tick, CLOCK_BOOTTIME, 0, TICK_ACCURACY_USEC, on_tick, a);
        if (r >= 0)
                r = sd_event_source_set_enabled(a->tick, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(
                        a->event, &a->stats, CLOCK_BOOTTIME, 0, STATS_USEC, on_stats, a);
        return r < 0 ? r : sd_event_source_set_enabled(a->stats, SD_EVENT_OFF);
}

int app_start(Source *s, const void *options, Slice position, void **ret_instance, Reason *reason)
{
        App *a = calloc(1, sizeof(*a));
        if (!a)
                return reason_set(reason, -ENOMEM, "out of memory");
        *ret_instance = a;
        a->source = s;
        a->options = options;
        a->event = source_loop(s);
        (void)snprintf(a->origin.instance, sizeof(a->origin.instance), "%s", source_name(s));
        a->batch = 1;
        a->max_line = a->options->max_line;
        event_parser_init(&a->parser);
        a->last_row = BUF_INIT(LIMIT_STATE_KEY);
        int r = app_timers(a);
        if (r >= 0)
                r = keys_init(&a->keys, (size_t)a->options->keys,
                        (uint32_t)(a->options->key_usec / USEC_PER_SEC));
        if (r < 0)
                return reason_errno(reason, r, "cannot set up");
        if (source_for_command(s))
                return 0;
        r = source_state_get(s, SLICE_NULL, STATE_BYTES);
        return r < 0 ? reason_errno(reason, r, "cannot read the keys") : 0;
}
