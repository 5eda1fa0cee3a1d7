// SPDX-License-Identifier: MIT
// The loop of a timer. Its position is the last scheduled instant that was dealt with, committed
// with the event; everything else follows from it, the schedule and the clock. Invariants: an
// instant is reported at most once for each position behind it; nothing is dropped under
// back-pressure, since the position does not move; it waits on CLOCK_REALTIME, sees each jump of
// that clock (TFD_TIMER_CANCEL_ON_SET) and each sleep of the host (BOOTTIME running away from
// MONOTONIC), and never polls.
#include "timer.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/wire.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <syslog.h>
#include <time.h>

enum {
        LATE_SEC = 60,              // up to here an instant is late, beyond it is missed
        BACK_SEC = 3600,            // a clock set back by more begins anew
        MISSED_COUNT_MAX = 1000000, // instants looked at to count the missed ones
        POSITION_VERSION = 1,
        RUN_MAX = 64, // events of one loop turn
};

struct Timer {
        Source *source;
        const TimerOptions *options;
        Schedule schedule;
        int64_t last;  // scheduled instant dealt with, seconds
        char boot[37]; // of the last @reboot event; "" = none
        char boot_now[37], machine[33];
        sd_event_source *wait, *jump;
        int jump_fd;
        uint64_t awake_from;       // wall: since then nothing was missed
        int64_t wall_ahead, slept; // wall - boottime, boottime - monotonic when last looked at
        uint64_t fired, missed;
        bool stopping;
};

static int64_t now_sec(void)
{
        return (int64_t)(clock_wall_usec() / USEC_PER_SEC);
}

static void read_line(const char *path, char *ret, size_t size)
{
        FILE *f = fopen(path, "re");
        ret[0] = 0;
        if (f && fgets(ret, (int)size, f))
                ret[strcspn(ret, "\n")] = 0;
        if (f)
                (void)fclose(f);
}

// ---- position

static void position_put(Timer *t)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(128);
        wire_put_u8(&b, POSITION_VERSION);
        wire_put_u64(&b, (uint64_t)t->last);
        wire_put_bytes(&b, slice_of(t->boot));
        source_position(t->source, buf_slice(&b));
}

static int position_get(Timer *t, Slice position, Reason *reason)
{
        WireReader r = wire_reader(position);
        uint8_t version = wire_u8(&r);
        t->last = (int64_t)wire_u64(&r);
        Slice boot = wire_bytes(&r);
        if (version != POSITION_VERSION || !wire_end(&r) || boot.len >= sizeof(t->boot))
                return reason_set(reason, -EBADMSG, "the stored position is of another version");
        (void)snprintf(t->boot, sizeof(t->boot), "%.*s", SLICE_ARG(boot));
        return 0;
}

static void timer_failed(Timer *t, int r, const char *what)
{
        source_fail(t->source, false, "%s: %s", what, strerror(-r));
}

static void position_commit(Timer *t)
{
        source_begin(t->source);
        position_put(t);
        int r = source_commit(t->source, NULL);
        if (r < 0)
                timer_failed(t, r, "cannot hand over the position");
}

// ---- events

static void local_text(int64_t utc, char *ret, size_t size)
{
        time_t at = (time_t)utc;
        struct tm tm;
        char zone[8] = "";
        ret[0] = 0;
        if (!localtime_r(&at, &tm) || !strftime(ret, size, "%Y-%m-%dT%H:%M:%S", &tm))
                return;
        (void)strftime(zone, sizeof(zone), "%z", &tm);
        size_t n = strlen(ret);
        (void)snprintf(ret + n, size - n, "%.3s:%s", zone, zone + 3);
}

static uint64_t jitter_usec(const Timer *t, int64_t utc)
{
        uint8_t digest[SHA256_SIZE];
        uint64_t at = t->options->jitter_random ? (uint64_t)utc : 0, n;
        Slice parts[] = {
                slice_of(t->machine), slice_of(source_name(t->source)), slice_mem(&at, sizeof(at))};
        if (t->options->jitter_usec == 0 ||
                digest_sha256_parts(parts, N_ELEMENTS(parts), digest) < 0)
                return 0;
        memcpy(&n, digest, sizeof(n));
        return n % t->options->jitter_usec;
}

static void elapsed_data(const Timer *t, Buf *b, int64_t utc, bool second, uint64_t missed)
{
        char scheduled[CLOCK_RFC3339_MAX], actual[CLOCK_RFC3339_MAX], local[40];
        const TimerOptions *o = t->options;
        JsonWriter w = json_writer(b);
        local_text(utc, local, sizeof(local));
        json_begin(&w, '{');
        json_key(&w, "scheduled");
        json_text(&w, clock_rfc3339((uint64_t)utc * USEC_PER_SEC, scheduled));
        json_key(&w, "local");
        json_text(&w, local);
        json_key(&w, "actual");
        json_text(&w, clock_rfc3339(clock_wall_usec(), actual));
        json_key(&w, "missed");
        json_u64(&w, missed);
        json_key(&w, "second");
        json_bool(&w, second);
        json_key(&w, "schedule");
        json_text(&w, o->schedule ? o->schedule : o->at);
        json_key(&w, "zone");
        json_text(&w, o->zone ? o->zone : "");
        json_end(&w, '}');
}

// The event and the position behind it, in one batch.
static void timer_emit(Timer *t, int64_t utc, bool second, uint64_t missed)
{
        _cleanup_(buf_deinitp) Buf data = BUF_INIT(LIMIT_STATS);
        char material[64];
        if (t->schedule.kind == SCHEDULE_REBOOT)
                (void)snprintf(material, sizeof(material), "boot:%s", t->boot);
        else
                (void)snprintf(material, sizeof(material), "at:%lld", (long long)utc);
        elapsed_data(t, &data, utc, second, missed);
        t->last = utc;
        source_begin(t->source);
        position_put(t);
        source_add(t->source, &(SourceEvent){.time_usec = (uint64_t)utc * USEC_PER_SEC,
                                      .type = "timer.elapsed",
                                      .subject = slice_of(source_name(t->source)),
                                      .id_material = slice_of(material),
                                      .data = buf_slice(&data)});
        int r = data.error ? data.error : source_commit(t->source, NULL);
        if (r < 0)
                timer_failed(t, r, "cannot hand over an event");
        t->fired++;
        t->missed += missed;
}

// ---- what is due

static bool is_missed(const Timer *t, int64_t utc)
{
        return (uint64_t)(utc + LATE_SEC) * USEC_PER_SEC + jitter_usec(t, utc) < t->awake_from;
}

// Passes over what was missed, as the policy says. *next: the first firing that is not missed, or one
// of the missed that is to be reported. Returns how many were left out before it.
static uint64_t pass_missed(Timer *t, Firing *next, bool *ret_any)
{
        const TimerOptions *o = t->options;
        Firing f = *next, last_missed = {0};
        uint64_t n = 0;
        bool more = true;
        while (more && is_missed(t, f.utc) && n < MISSED_COUNT_MAX) {
                last_missed = f;
                n++;
                more = schedule_next(&t->schedule, f.utc, &f);
        }
        if (more && is_missed(t, f.utc)) { // beyond counting: on from where nothing was missed
                more = schedule_next(
                        &t->schedule, (int64_t)(t->awake_from / USEC_PER_SEC) - LATE_SEC - 1, &f);
        }
        *ret_any = true;
        if (n == 0)
                return 0;
        if (o->missed == MISSED_ONCE || t->schedule.kind == SCHEDULE_AT) {
                *next = last_missed;
                return n - 1;
        }
        if (o->missed == MISSED_SKIP) {
                *next = f;
                *ret_any = more;
                return n;
        }
        uint64_t keep = (uint64_t)o->missed_max, left_out = n > keep ? n - keep : 0;
        for (uint64_t i = 0; i < left_out; i++)
                if (!schedule_next(&t->schedule, next->utc, next))
                        break;
        return left_out;
}

static void timer_wait(Timer *t, uint64_t until)
{
        int r = sd_event_source_set_time(t->wait, until);
        if (r >= 0)
                r = sd_event_source_set_enabled(t->wait, SD_EVENT_ONESHOT);
        if (r < 0)
                timer_failed(t, r, "cannot wait");
}

static void timer_stats(Timer *t, const Firing *next, bool any)
{
        char at[CLOCK_RFC3339_MAX];
        const TimerOptions *o = t->options;
        json_t *stats = json_pack("{s:s, s:s, s:I, s:I}", "schedule",
                o->schedule ? o->schedule : o->at, "zone", o->zone ? o->zone : "", "elapsed",
                (json_int_t)t->fired, "missed", (json_int_t)t->missed);
        (void)json_object_set_new(stats, "next",
                any ? json_string(clock_rfc3339((uint64_t)next->utc * USEC_PER_SEC, at))
                    : json_null());
        source_stats(t->source, stats);
        json_decref(stats);
}

// A clock far behind what was already dealt with was wrong then or is wrong now: to wait until it
// catches up could take years.
static void check_back(Timer *t)
{
        int64_t now = now_sec();
        if (t->schedule.kind == SCHEDULE_AT || t->schedule.kind == SCHEDULE_REBOOT ||
                t->last <= now + BACK_SEC + (int64_t)(t->options->jitter_usec / USEC_PER_SEC))
                return;
        source_log(t->source, LOG_WARNING, NULL,
                "the clock is %lld s before the last time this timer elapsed: it goes on from now",
                (long long)(t->last - now));
        t->last = now;
        position_commit(t);
}

// Since when nothing was missed: moved on when the clock was put forward or the host has slept.
static void check_awake(Timer *t)
{
        int64_t wall = (int64_t)clock_wall_usec(), boot = (int64_t)clock_boot_usec(),
                mono = (int64_t)clock_mono_usec();
        int64_t ahead = wall - boot, slept = boot - mono, second = (int64_t)USEC_PER_SEC;
        if (ahead > t->wall_ahead + 2 * second || slept > t->slept + second)
                t->awake_from = (uint64_t)wall;
        t->wall_ahead = ahead;
        t->slept = slept;
}

static void timer_run(Timer *t)
{
        Firing next;
        if (t->stopping || source_for_command(t->source))
                return;
        check_awake(t);
        if (source_may_send(t->source))
                check_back(t);
        if (t->schedule.kind == SCHEDULE_REBOOT) {
                if (source_may_send(t->source) && strcmp(t->boot, t->boot_now) != 0) {
                        memcpy(t->boot, t->boot_now, sizeof(t->boot));
                        timer_emit(t, now_sec(), false, 0);
                }
                timer_stats(t, NULL, false);
                return;
        }
        bool any = schedule_next(&t->schedule, t->last, &next);
        for (unsigned i = 0; any && source_may_send(t->source); i++) {
                uint64_t missed = pass_missed(t, &next, &any);
                if (!any)
                        break;
                uint64_t due = (uint64_t)next.utc * USEC_PER_SEC + jitter_usec(t, next.utc);
                if (due > clock_wall_usec()) {
                        timer_wait(t, due);
                        break;
                }
                if (i == RUN_MAX) { // others have their turn
                        timer_wait(t, 1);
                        break;
                }
                timer_emit(t, next.utc, next.second_time, missed);
                any = schedule_next(&t->schedule, t->last, &next);
        }
        timer_stats(t, &next, any);
}

static int on_wait(sd_event_source *e, uint64_t usec, void *userdata)
{
        timer_run(userdata);
        return 0;
}

static int jump_arm(Timer *t)
{
        struct itimerspec far = {.it_value.tv_sec = now_sec() + 10 * 365 * INT64_C(86400)};
        int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
        return timerfd_settime(t->jump_fd, flags, &far, NULL) < 0 && errno != ECANCELED ? -errno
                                                                                        : 0;
}

static int on_jump(sd_event_source *e, int fd, uint32_t events, void *userdata)
{
        Timer *t = userdata;
        uint64_t n;
        if (read(fd, &n, sizeof(n)) < 0 && errno == EAGAIN)
                return 0;
        int r = jump_arm(t);
        if (r < 0)
                timer_failed(t, r, "cannot watch the clock");
        timer_run(t);
        return 0;
}

static int timer_arm(Timer *t)
{
        t->jump_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
        if (t->jump_fd < 0)
                return -errno;
        int r = jump_arm(t);
        if (r >= 0)
                r = sd_event_add_io(
                        source_loop(t->source), &t->jump, t->jump_fd, EPOLLIN, on_jump, t);
        if (r >= 0)
                r = sd_event_add_time(
                        source_loop(t->source), &t->wait, CLOCK_REALTIME, 1, 1, on_wait, t);
        return r;
}

int timer_start(Source *s, const TimerOptions *o, Slice position, Timer **ret, Reason *reason)
{
        Timer *t = calloc(1, sizeof(*t));
        if (!t)
                return reason_set(reason, -ENOMEM, "out of memory");
        *ret = t;
        t->source = s;
        t->options = o;
        t->jump_fd = -1;
        const char *option;
        int r = timer_options_parse(o, &t->schedule, &option, reason);
        if (r < 0)
                source_fail(s, true, "%s: %s", option, reason->text);
        read_line("/proc/sys/kernel/random/boot_id", t->boot_now, sizeof(t->boot_now));
        read_line("/etc/machine-id", t->machine, sizeof(t->machine));
        if (source_for_command(s))
                return 0;
        t->awake_from = clock_wall_usec();
        t->wall_ahead = (int64_t)t->awake_from - (int64_t)clock_boot_usec();
        t->slept = (int64_t)clock_boot_usec() - (int64_t)clock_mono_usec();
        if (position.data) {
                r = position_get(t, position, reason);
                if (r < 0)
                        return r;
        } else {
                t->last = now_sec();
                position_commit(t);
        }
        r = timer_arm(t);
        if (r < 0)
                return reason_errno(reason, r, "cannot watch the clock");
        source_ready(s);
        return 0;
}

void timer_resume(Timer *t)
{
        timer_run(t);
}

void timer_stop(Timer *t)
{
        t->stopping = true;
        source_stopped(t->source);
}

void timer_free(Timer *t)
{
        if (!t)
                return;
        sd_event_source_disable_unref(t->wait);
        sd_event_source_disable_unref(t->jump);
        if (t->jump_fd >= 0)
                (void)close(t->jump_fd);
        free(t);
}

// ---- belfry timers

static json_t *firing_json(const Firing *f)
{
        char utc[CLOCK_RFC3339_MAX], local[40], note[160] = "";
        struct tm tm;
        local_text(f->utc, local, sizeof(local));
        if (f->second_time)
                (void)snprintf(note, sizeof(note),
                        "the clock is put back: this local time for the second time");
        if (f->moved)
                (void)snprintf(note, sizeof(note),
                        "the clock is put forward: its local time does not exist");
        time_t skipped = (time_t)f->skipped;
        if (f->skipped != CALENDAR_NEVER && gmtime_r(&skipped, &tm)) {
                size_t n = strftime(note, sizeof(note), "%Y-%m-%d %H:%M:%S", &tm);
                (void)snprintf(
                        note + n, sizeof(note) - n, " does not exist and was skipped before it");
        }
        json_t *j = json_pack("{s:s, s:s, s:s}", "scheduled",
                clock_rfc3339((uint64_t)f->utc * USEC_PER_SEC, utc), "local", local, "note", note);
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(512);
        buf_addf(&text, "%s%s%s", local, note[0] ? "  " : "", note);
        (void)json_object_set_new(j, "text", json_string(buf_text(&text)));
        return j;
}

void timer_command_next(Timer *t, uint64_t ticket, const json_t *arguments)
{
        const char *argument = json_string_value(json_object_get(arguments, "argument"));
        long n = argument ? strtol(argument, NULL, 10) : 10;
        Firing f = {.utc = now_sec()};
        json_t *end;
        if (n < 1 || n > 1000) {
                end = json_pack("{s:b, s:s}", "ok", 0, "text", "how many: 1 to 1000");
        } else {
                unsigned shown = 0;
                for (; n > 0 && schedule_next(&t->schedule, f.utc, &f); n--, shown++) {
                        json_t *piece = firing_json(&f);
                        source_answer(t->source, ticket, false, piece);
                        json_decref(piece);
                }
                end = json_pack("{s:b}", "ok", 1);
                if (t->schedule.kind == SCHEDULE_REBOOT)
                        (void)json_object_set_new(
                                end, "text", json_string("at the next boot of the host"));
                else if (shown == 0)
                        (void)json_object_set_new(end, "text", json_string("never again"));
        }
        source_answer(t->source, ticket, true, end);
        json_decref(end);
}
