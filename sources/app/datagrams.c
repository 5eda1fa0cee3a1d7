// SPDX-License-Identifier: MIT
// Datagrams: one event each, and nobody waits for an answer. While events cannot be taken they wait in
// the kernel's queue and whoever sends waits with them, but not for long: after PATIENCE they are read
// and dropped. So are those over their user's rate, which cannot wait without holding up the others,
// and those that are no event. What is dropped is counted, and a source.gap tells it.
//
// A datagram that was read is gone from the kernel. If this process or the hub dies before the commit,
// nobody knows of it; so a row in the store, durable before the first one is read and taken away when
// none has come for a while, makes the next process tell that some may be missing.
#include "app.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
        TURN = 64,
        PATIENCE_USEC = 1000 * 1000,
        IDLE_USEC = 10 * 1000 * 1000,
        GATHER_USEC = 1000 * 1000,    // from the first loss to the gap that tells it
        TELL_USEC = 60 * 1000 * 1000, // from one gap to the next, at least
        STOP_MAX = 4096,              // taken at the end
        ROW_VERSION = 1,
};

const char datagrams_row[] = "dgram";

static const char *const drop_words[_DROP_MAX] = {
        [DROP_INVALID] = "no event an application may hand in",
        [DROP_LONG] = "longer than max_line",
        [DROP_RATE] = "over the rate of their user",
        [DROP_FULL] = "while the queue was full",
};

// ---- the row

static void row_put(App *a)
{
        _cleanup_(buf_deinitp) Buf value = BUF_INIT(32);
        wire_put_u8(&value, ROW_VERSION);
        wire_put_u64(&value, clock_wall_usec());
        if (value.error)
                source_fail(a->source, false, "out of memory");
        source_state_put(a->source, slice_of(datagrams_row), buf_slice(&value));
}

int datagrams_load(App *a, Slice value)
{
        WireReader r = wire_reader(value);
        uint8_t version = wire_u8(&r);
        a->datagrams.died_wall = wire_u64(&r);
        return version == ROW_VERSION && wire_end(&r) ? 0 : -EBADMSG;
}

void datagrams_write(App *a)
{
        Datagrams *d = &a->datagrams;
        if (d->in_batch)
                row_put(a);
        d->in_batch = false;
}

static void row_del(App *a)
{
        app_begin(a);
        source_state_del(a->source, slice_of(datagrams_row));
        a->datagrams.marked = a->datagrams.in_batch = false;
}

// ---- what is lost

static void drop(App *a, Drop why)
{
        Datagrams *d = &a->datagrams;
        d->untold_to = clock_wall_usec();
        if (d->untold_from == 0) {
                d->untold_from = d->untold_to;
                d->untold_boot = clock_boot_usec();
        }
        d->dropped[why]++;
        d->untold[why]++;
        app_stats_soon(a);
}

static void gap_add(App *a, const char *why, uint64_t from, uint64_t to, Slice detail)
{
        _cleanup_(buf_deinitp) Buf data = BUF_INIT(4 * LIMIT_LOG_TEXT);
        char material[96], text[CLOCK_RFC3339_MAX];
        (void)snprintf(material, sizeof(material), "%s:%s:%" PRIu64 ":%" PRIu64, datagrams_row, why,
                from, to);
        JsonWriter w = json_writer(&data);
        json_begin(&w, '{');
        json_key(&w, "reason");
        json_text(&w, why);
        json_key(&w, "from");
        json_text(&w, clock_rfc3339(from, text));
        json_key(&w, "to");
        json_text(&w, clock_rfc3339(to, text));
        json_key(&w, "detail");
        json_add_string(&w, detail);
        json_end(&w, '}');
        if (data.error)
                source_fail(a->source, false, "cannot tell a gap: out of memory");
        app_begin(a);
        source_add(a->source, &(SourceEvent){.type = "source.gap",
                                      .subject = SLICE_LIT("events.dgram"),
                                      .id_material = slice_of(material),
                                      .data = buf_slice(&data)});
}

static void tell_death(App *a)
{
        Datagrams *d = &a->datagrams;
        gap_add(a, "died", d->died_wall, clock_wall_usec(),
                SLICE_LIT("Belfry ended without warning while datagrams came in: those that it had "
                          "read and not yet stored are lost."));
        d->died_wall = 0;
        row_del(a);
}

static void tell_dropped(App *a)
{
        Datagrams *d = &a->datagrams;
        _cleanup_(buf_deinitp) Buf detail = BUF_INIT(LIMIT_LOG_TEXT);
        uint64_t all = 0;
        for (int i = 0; i < _DROP_MAX; i++)
                all += d->untold[i];
        buf_addf(&detail, "%" PRIu64 " datagram%s dropped", all, all == 1 ? " was" : "s were");
        for (int i = 0, n = 0; i < _DROP_MAX; i++) {
                if (d->untold[i] == 0)
                        continue;
                buf_addf(
                        &detail, "%s %" PRIu64 " %s", n++ ? "," : ":", d->untold[i], drop_words[i]);
                if (i == DROP_INVALID)
                        buf_addf(&detail, " (the last: %s)", d->last);
        }
        gap_add(a, "dropped", d->untold_from, d->untold_to, buf_slice(&detail));
        memset(d->untold, 0, sizeof(d->untold));
        d->untold_from = d->untold_to = 0;
        d->told_boot = clock_boot_usec();
}

// ---- in

// False: it is kept, to be taken later.
static bool take(App *a, uid_t uid, size_t len)
{
        Datagrams *d = &a->datagrams;
        AppTaken taken;
        Reason reason = {0};
        User *u = user_get(a, uid);
        if (!u || !user_has(a, u)) {
                drop(a, u ? DROP_RATE : DROP_FULL);
                if (u)
                        user_put(u);
                return true;
        }
        int r = app_take(a, uid, slice_mem(d->bytes, len), &taken, &reason);
        if (r != -EAGAIN)
                user_take(u);
        user_put(u);
        if (r == -EAGAIN)
                return false;
        d->in_batch |= r >= 0 && a->begun;
        if (r < 0) {
                drop(a, r == -ENOMEM ? DROP_FULL : DROP_INVALID);
                (void)snprintf(d->last, sizeof(d->last), "%s", reason.text);
        }
        return true;
}

// -EAGAIN: there is none. 0: it is in d->bytes with its sender and length, or dropped (length 0).
static int receive(App *a, uid_t *ret_uid, size_t *ret_len)
{
        Datagrams *d = &a->datagrams;
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(struct ucred))];
        } control;
        struct iovec iov = {.iov_base = d->bytes, .iov_len = a->max_line + 1};
        struct msghdr m = {.msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control.space,
                .msg_controllen = sizeof(control.space)};
        struct ucred who = {.uid = (uid_t)-1};
        ssize_t n = recvmsg(source_door_datagrams(a->source), &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return -EAGAIN;
        d->received++;
        d->read_boot = clock_boot_usec();
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
                        memcpy(&who, CMSG_DATA(c), sizeof(who));
        *ret_uid = who.uid;
        *ret_len = (size_t)n;
        if ((m.msg_flags & MSG_TRUNC) || (size_t)n > a->max_line)
                drop(a, DROP_LONG);
        else if (d->drops)
                drop(a, DROP_FULL);
        else if (n == 0 || who.uid == (uid_t)-1)
                drop(a, DROP_INVALID);
        else
                return 0;
        if (!d->drops && n == 0)
                (void)snprintf(d->last, sizeof(d->last), "it is empty");
        *ret_len = 0;
        return 0;
}

static bool take_held(App *a)
{
        Datagrams *d = &a->datagrams;
        if (d->held > 0 && take(a, d->held_uid, d->held))
                d->held = 0;
        return d->held == 0;
}

// Up to that many; true: there may be more.
static bool take_some(App *a, unsigned max)
{
        Datagrams *d = &a->datagrams;
        if (!d->drops && !take_held(a))
                return true;
        for (unsigned i = 0; i < max; i++) {
                uid_t uid;
                size_t len;
                if (!d->drops && !app_may_take(a))
                        return true;
                if (receive(a, &uid, &len) < 0)
                        return false;
                if (len > 0 && !take(a, uid, len)) {
                        d->held = len;
                        d->held_uid = uid;
                        return true;
                }
        }
        return true;
}

// ---- turns

static int on_datagrams(sd_event_source *e, int fd, uint32_t events, void *userdata)
{
        App *a = userdata;
        Datagrams *d = &a->datagrams;
        if (!d->bytes && !(d->bytes = malloc(a->max_line + 1)))
                source_fail(a->source, false, "out of memory");
        if (d->drops || (d->marked && app_may_take(a))) {
                (void)take_some(a, TURN);
        } else if (app_may_take(a)) {
                app_begin(a);
                d->in_batch = true;
                d->marking = true;
                d->mark_batch = a->batch;
                d->read_boot = clock_boot_usec();
        } else if (d->blocked_boot == 0) {
                d->blocked_boot = clock_boot_usec();
        }
        datagrams_look(a);
        return 0;
}

// While none can be taken.
static bool look_blocked(App *a, uint64_t now)
{
        Datagrams *d = &a->datagrams;
        if (d->blocked_boot == 0 && d->held > 0)
                d->blocked_boot = now;
        if (d->blocked_boot == 0)
                return true; // none has come: to hear when one does
        if (now - d->blocked_boot < PATIENCE_USEC) {
                app_tick(a, d->blocked_boot + PATIENCE_USEC - now);
                return false;
        }
        if (d->held > 0)
                drop(a, DROP_FULL);
        d->held = 0;
        d->drops = true;
        return true;
}

static bool look_free(App *a, uint64_t now)
{
        Datagrams *d = &a->datagrams;
        d->blocked_boot = 0;
        d->drops = false;
        if (d->died_wall && app_flush(a))
                tell_death(a);
        if (!take_held(a)) {
                d->blocked_boot = now;
                return false;
        }
        uint64_t due = d->untold_boot + GATHER_USEC;
        if (d->told_boot && d->told_boot + TELL_USEC > due)
                due = d->told_boot + TELL_USEC;
        if (d->untold_from && now < due)
                app_tick(a, due - now);
        else if (d->untold_from && app_flush(a))
                tell_dropped(a);
        if (d->marked && now - d->read_boot >= IDLE_USEC)
                row_del(a);
        else if (d->marked)
                app_tick(a, d->read_boot + IDLE_USEC - now);
        return true;
}

void datagrams_look(App *a)
{
        Datagrams *d = &a->datagrams;
        uint64_t now = clock_boot_usec();
        if (!d->io || a->stopping)
                return;
        if (d->marking && a->durable >= d->mark_batch) {
                d->marking = false;
                d->marked = true;
        }
        bool on = app_may_take(a) ? look_free(a, now) : look_blocked(a, now);
        int enabled = on && !d->marking ? SD_EVENT_ON : SD_EVENT_OFF;
        int r = sd_event_source_set_enabled(d->io, enabled);
        if (r < 0)
                source_fail(a->source, false, "cannot watch events.dgram: %s", strerror(-r));
}

int datagrams_open(App *a)
{
        return sd_event_add_io(a->event, &a->datagrams.io, source_door_datagrams(a->source),
                EPOLLIN, on_datagrams, a);
}

void datagrams_close(App *a)
{
        sd_event_source_disable_unref(a->datagrams.io);
        free(a->datagrams.bytes);
}

// The row goes only if nothing is left that somebody sent.
void datagrams_stop(App *a)
{
        Datagrams *d = &a->datagrams;
        if (!d->io)
                return;
        (void)sd_event_source_set_enabled(d->io, SD_EVENT_OFF);
        if (!d->marked || !app_may_take(a))
                return;
        bool left = !take_held(a) || take_some(a, STOP_MAX);
        if (d->untold_from && app_flush(a))
                tell_dropped(a);
        if (!left && !d->untold_from && app_may_take(a)) {
                row_del(a);
        }
}
