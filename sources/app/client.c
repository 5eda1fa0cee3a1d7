// SPDX-License-Identifier: MIT
// One connection: lines in, answers out. Each line gets one answer and the answers come in the order
// of the lines, so a refusal waits behind events that wait for their commit.
//
// Invariants: a line is taken only while there is credit, room for its answer, and its user is within
// its rate; else nothing is read and whoever writes waits. What is half read is at most max_line and a
// chunk. Whoever hung up still has the lines read that it wrote before. client_arm() alone says what
// the loop waits for; a client is freed in its own turn only, never under somebody's feet.
#include "app.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { TICK_USEC = 500 * 1000 };

typedef struct Pending {
        uint64_t batch;   // durable: it may be answered
        char *error;      // instead of an id
        const char *code; // with it: what a program is to make of it
        char id[ID_HEX];
        bool made;
        char key[2 * APP_ID + 1];
} Pending;

void client_free(Client *c)
{
        if (!c)
                return;
        LIST_REMOVE(c, link);
        c->app->n_clients--;
        c->app->input -= c->in.len;
        if (c->user)
                user_put(c->user);
        sd_event_source_disable_unref(c->io);
        sd_event_source_disable_unref(c->turn);
        (void)close(c->fd);
        peer_deinit(&c->peer);
        buf_deinit(&c->in);
        buf_deinit(&c->out);
        for (unsigned i = 0; i < c->n_pending; i++)
                free(c->pending[(c->first + i) % c->cap].error);
        free(c->pending);
        free(c);
}

// ---- what it waits for

static bool has_line(const Client *c)
{
        if (c->in.len == 0)
                return false;
        return c->eof || memchr(c->in.data + c->scanned, '\n', c->in.len - c->scanned);
}

static bool may_take(const Client *c)
{
        return !c->closes && !c->app->stopping && c->n_pending < APP_PENDING &&
               c->out.len < APP_OUT && app_may_take(c->app) && user_has(c->app, c->user);
}

static bool is_finished(const Client *c)
{
        bool said = c->closes || c->app->stopping || (c->eof && c->in.len == 0);
        return said && c->n_pending == 0 && (c->out.len == 0 || c->hung_up);
}

static void client_arm(Client *c)
{
        uint32_t mask = 0;
        bool take = may_take(c), line = has_line(c);
        if (c->out.len > 0 && !c->hung_up)
                mask |= EPOLLOUT;
        if (take && !line && !c->eof)
                mask |= EPOLLIN;
        bool turn = c->over || is_finished(c) || (take && line) ||
                    (take && c->hung_up && !c->eof); // its socket says HUP for ever: read without
        // What nobody reads on our side is not its fault.
        bool half = take && c->in.len > 0 && !line && !c->eof;
        bool unread = c->out.len > 0 && !c->hung_up;
        if (!half && !unread)
                c->since_usec = 0;
        else if (c->since_usec == 0)
                c->since_usec = clock_boot_usec();
        if (c->since_usec)
                app_tick(c->app, TICK_USEC);
        if (sd_event_source_set_io_events(c->io, mask) < 0 ||
                sd_event_source_set_enabled(c->io, c->hung_up ? SD_EVENT_OFF : SD_EVENT_ON) < 0)
                c->over = turn = true;
        (void)sd_event_source_set_enabled(c->turn, turn ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

void client_look(Client *c)
{
        client_arm(c);
}

// ---- answers

static void client_write(Client *c)
{
        if (c->out.len == 0)
                return;
        ssize_t n = c->hung_up ? (ssize_t)c->out.len
                               : send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
                if (errno != EAGAIN && errno != EINTR)
                        c->hung_up = true; // what it wrote before is still read
                return;
        }
        buf_consume(&c->out, (size_t)n);
        c->since_usec = 0;
        if (c->out.len == 0)
                buf_shrink(&c->out, 0);
}

static void answer(Client *c, const Pending *p)
{
        JsonWriter w = json_writer(&c->out);
        json_begin(&w, '{');
        if (p->error) {
                json_key(&w, "error");
                json_text(&w, p->error);
                json_key(&w, "code");
                json_text(&w, p->code);
        } else {
                json_key(&w, "id");
                json_add_string(&w, slice_mem(p->id, sizeof(p->id)));
                if (p->made) {
                        json_key(&w, "key");
                        json_text(&w, p->key);
                }
        }
        json_end(&w, '}');
        buf_add_char(&c->out, '\n');
}

// All that may be answered by now, in order.
static void answer_due(Client *c)
{
        while (c->n_pending > 0) {
                Pending *p = &c->pending[c->first];
                if (p->batch > c->app->durable)
                        break;
                if (!c->hung_up)
                        answer(c, p);
                free(TAKE_PTR(p->error));
                c->first = (c->first + 1) % c->cap;
                c->n_pending--;
        }
        if (c->out.error) // no memory for an answer: it must not hear those behind it in its place
                c->over = true;
}

void client_durable(Client *c)
{
        if (c->n_pending == 0)
                return;
        answer_due(c);
        client_write(c);
        client_arm(c);
}

static Pending *pending_add(Client *c)
{
        if (c->n_pending == c->cap) {
                unsigned cap = c->cap ? c->cap * 2 : 4;
                Pending *grown = calloc(cap, sizeof(*grown));
                if (!grown)
                        return NULL;
                for (unsigned i = 0; i < c->n_pending; i++)
                        grown[i] = c->pending[(c->first + i) % c->cap];
                free(c->pending);
                c->pending = grown;
                c->first = 0;
                c->cap = cap;
        }
        Pending *p = &c->pending[(c->first + c->n_pending++) % c->cap];
        *p = (Pending){0};
        return p;
}

// The line stays refused, however often it comes ("invalid", "too-long"); or the connection is ended and
// may be made anew ("busy"), or not by this user ("not-permitted").
static void client_refuse(Client *c, const char *code, const char *text)
{
        Pending *p = pending_add(c);
        c->app->counts.refused++;
        app_stats_soon(c->app);
        if (p) {
                p->error = strdup(text);
                p->code = code;
        }
        if (!p || !p->error)
                c->over = true;
}

// ---- lines

// False: not now (-EAGAIN); the line is to be kept.
static bool client_line(Client *c, Slice line)
{
        App *a = c->app;
        AppTaken taken;
        Reason reason = {0};
        while (line.len > 0 && (line.data[line.len - 1] == '\r' || line.data[line.len - 1] == ' '))
                line.len--;
        if (line.len == 0)
                return true;
        int r = app_take(a, c->peer.uid, line, &taken, &reason);
        if (r == -EAGAIN)
                return false;
        c->since_usec = 0;
        user_take(c->user);
        if (r < 0) {
                client_refuse(c, r == -ENOMEM ? "busy" : "invalid",
                        r == -ENOMEM ? "out of memory, try again later" : reason.text);
                c->closes |= r == -ENOMEM;
                return true;
        }
        Pending *p = pending_add(c);
        if (!p) {
                c->over = true;
                return true;
        }
        *p = (Pending){.batch = taken.batch, .made = taken.made};
        memcpy(p->id, taken.id, sizeof(p->id));
        memcpy(p->key, taken.key, sizeof(p->key));
        return true;
}

// Takes lines from [text] while it may; returns how many bytes it is done with.
static size_t client_feed(Client *c, Slice text, size_t scanned)
{
        size_t at = 0;
        for (unsigned i = 0; i < APP_TURN_LINES && at < text.len && !c->over && may_take(c); i++) {
                const char *from = text.data + at;
                const char *end = memchr(text.data + scanned, '\n', text.len - scanned);
                size_t len = end ? (size_t)(end - from) : text.len - at;
                if (!end && !(c->eof && len > 0)) {
                        scanned = text.len;
                        break;
                }
                if (len > c->app->max_line) {
                        scanned = text.len; // refused below
                        break;
                }
                if (!client_line(c, slice_mem(from, len)))
                        break;
                at += len + (end ? 1 : 0);
                scanned = at;
        }
        c->scanned = scanned - at;
        return at;
}

static void client_too_long(Client *c)
{
        char text[160];
        (void)snprintf(text, sizeof(text), "the line is longer than %zu bytes (max_line)",
                c->app->max_line);
        client_refuse(c, "too-long", text);
        c->closes = true;
        c->app->input -= c->in.len;
        buf_shrink(&c->in, 0);
        c->scanned = 0;
}

// A line that cannot become one any more ends the connection: where the next begins nobody knows.
static void client_check_length(Client *c)
{
        if (c->in.len <= c->app->max_line)
                return;
        const char *end = memchr(c->in.data, '\n', c->in.len);
        size_t len = end ? (size_t)(end - (const char *)c->in.data) : c->in.len;
        if (!c->closes && len > c->app->max_line)
                client_too_long(c);
}

static void client_keep(Client *c, const uint8_t *data, size_t n)
{
        App *a = c->app;
        if (n == 0)
                return;
        if (c->in.len + n > APP_CHUNK && a->input + n > APP_INPUT) {
                client_refuse(c, "busy", "too many long lines at once, try again later");
                c->closes = true;
                return;
        }
        buf_add(&c->in, data, n);
        if (c->in.error)
                c->over = true;
        else
                a->input += n;
}

static void client_lines(Client *c)
{
        size_t done = client_feed(c, buf_slice(&c->in), c->scanned);
        buf_consume(&c->in, done);
        c->app->input -= done;
        client_check_length(c);
        if (c->in.len == 0)
                buf_shrink(&c->in, 0);
}

// Most of what comes is whole lines: those are taken where they were read.
static void client_read(Client *c)
{
        App *a = c->app;
        ssize_t n = recv(c->fd, a->chunk, sizeof(a->chunk), MSG_DONTWAIT);
        if (n < 0) {
                if (errno == EINTR || (errno == EAGAIN && !c->hung_up))
                        return;
                c->hung_up = true;
                n = 0;
        }
        if (n == 0) {
                c->eof = true;
                client_lines(c);
                return;
        }
        if (c->in.len == 0) {
                size_t done = client_feed(c, slice_mem(a->chunk, (size_t)n), 0);
                client_keep(c, a->chunk + done, (size_t)n - done);
                client_check_length(c);
                return;
        }
        client_keep(c, a->chunk, (size_t)n);
        if (!c->over && !c->closes)
                client_lines(c);
}

// ---- turns

static void client_after(Client *c)
{
        answer_due(c);
        client_write(c);
        if (c->over || is_finished(c))
                client_free(c);
        else
                client_arm(c);
}

static int on_turn(sd_event_source *e, void *userdata)
{
        Client *c = userdata;
        if (!c->over && may_take(c)) {
                if (has_line(c))
                        client_lines(c);
                else if (!c->eof)
                        client_read(c);
        }
        client_after(c);
        return 0;
}

static int on_io(sd_event_source *e, int fd, uint32_t events, void *userdata)
{
        Client *c = userdata;
        if (events & (EPOLLERR | EPOLLHUP))
                c->hung_up = true;
        if ((events & EPOLLIN) && may_take(c) && !has_line(c))
                client_read(c);
        client_after(c);
        return 0;
}

bool client_over(Client *c, uint64_t now_boot)
{
        if (!c->since_usec || now_boot < c->since_usec + c->app->options->line_usec)
                return false;
        bool unread = c->out.len > 0;
        c->since_usec = now_boot;
        if (!unread && !c->closes) {
                client_refuse(c, "busy", "the line did not end in time (line_timeout)");
                c->closes = true;
                c->app->input -= c->in.len;
                buf_shrink(&c->in, 0);
                c->scanned = 0;
        } else {
                c->over = true;
        }
        client_after(c);
        return true;
}

bool client_idle(const Client *c)
{
        return c->n_pending == 0 && (c->out.len == 0 || c->hung_up);
}

void client_check_peer(Client *c)
{
        if (c->closes || door_allows(c->app, &c->peer))
                return;
        client_refuse(
                c, "not-permitted", "this user may not hand in events any more (control.inject)");
        c->closes = true;
        answer_due(c);
        client_write(c);
        client_arm(c);
}

static const char *client_admit(Client *c)
{
        App *a = c->app;
        if (!door_allows(a, &c->peer))
                return "this user may not hand in events: name it, or a group of it as \"@group\", "
                       "in control.inject, then reload";
        if (a->n_clients > APP_CONNECTIONS)
                return "too many connections of all users, try again later";
        if (c->user->n_clients > (unsigned)a->options->connections)
                return "too many connections of this user (connections), try again later";
        return NULL;
}

void client_new(App *a, int fd)
{
        Client *c = calloc(1, sizeof(*c));
        if (!c) {
                (void)close(fd);
                return;
        }
        *c = (Client){.app = a,
                .fd = fd,
                .in = BUF_INIT(a->max_line + 2 * (size_t)APP_CHUNK),
                .out = BUF_INIT(APP_OUT + (size_t)APP_PENDING * (REASON_MAX * 6 + 64))};
        LIST_INSERT_HEAD(&a->clients, c, link);
        a->n_clients++;
        a->counts.connected++;
        int r = peer_get(fd, &c->peer);
        if (r >= 0) {
                c->user = user_get(a, c->peer.uid);
                r = c->user ? 0 : -ENOMEM;
        }
        if (r >= 0)
                r = sd_event_add_io(a->event, &c->io, fd, EPOLLIN, on_io, c);
        if (r >= 0)
                r = sd_event_add_defer(a->event, &c->turn, on_turn, c);
        if (r >= 0)
                r = sd_event_source_set_enabled(c->turn, SD_EVENT_OFF);
        if (r < 0) {
                client_free(c);
                return;
        }
        const char *refused = client_admit(c);
        if (refused) {
                a->counts.turned_away++;
                client_refuse(c, door_allows(a, &c->peer) ? "busy" : "not-permitted", refused);
                c->closes = true;
        }
        app_stats_soon(a);
        client_after(c);
}
