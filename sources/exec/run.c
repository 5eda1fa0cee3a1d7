// SPDX-License-Identifier: MIT
// One run of the program after the other. A run begins with a keeper and ends when the keeper is gone
// (then nothing of the program lives), what was printed is taken, and all of it is durable; only then
// the next one may begin, behind the last position. What goes wrong in a run is told in words and
// forgiven once the program has run for a while.
#include "exec.h"

#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>

#define MINUTE_USEC (60 * USEC_PER_SEC)
enum { SETTLED_SEC = 10, FIXED_VARIABLES = 5, ACCURACY_USEC = 1000 };

const char *run_state_to_string(const Exec *x)
{
        static const char *const words[] = {[RUN_DOWN] = "ended",
                [RUN_WAITS] = "waits",
                [RUN_UP] = "runs",
                [RUN_DRAINS] = "ends"};
        return words[x->run];
}

static void run_timer(Exec *x, uint64_t usec)
{
        (void)sd_event_source_set_time_relative(x->timer, usec);
        (void)sd_event_source_set_enabled(x->timer, SD_EVENT_ONESHOT);
}

static void run_order(Exec *x, char order)
{
        // A keeper that does not read is about to end.
        (void)!send(x->news_fd, &order, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void run_kill(Exec *x, const char *why)
{
        if (!x->why[0])
                (void)snprintf(x->why, sizeof(x->why), "%s", why);
        run_order(x, KEEPER_KILL);
}

void run_ready(Exec *x)
{
        if (x->run_ready || x->stopping)
                return;
        x->run_ready = true;
        (void)sd_event_source_set_enabled(x->timer, SD_EVENT_OFF);
        if (!x->ready)
                source_ready(x->source);
        x->ready = true;
        exec_stats_soon(x);
}

static int on_settle(sd_event_source *e, uint64_t usec, void *userdata)
{
        Exec *x = userdata;
        if (x->run != RUN_UP)
                return 0;
        x->failures_in_row = 0;
        source_degraded(x->source, NULL);
        return 0;
}

static int on_timer(sd_event_source *e, uint64_t usec, void *userdata)
{
        Exec *x = userdata;
        char span[TEXT_QUANTITY_MAX], why[96];
        if (x->run == RUN_WAITS) {
                run_begin(x);
        } else if (x->run == RUN_UP && x->stopping) {
                run_kill(x, "it did not end when it was asked to");
        } else if (x->run == RUN_UP && !x->run_ready) {
                (void)snprintf(why, sizeof(why), "it was not ready within %s",
                        text_duration(x->options->ready_usec, span));
                run_kill(x, why);
        }
        return 0;
}

// ---- the end

// In words, behind "the program". Returns whether it was a failure.
static bool run_verdict(const Exec *x, char *text, size_t size)
{
        const KeeperNews *end = &x->end;
        if (x->why[0])
                (void)snprintf(text, size, "was ended: %s", x->why);
        else if (!x->ended)
                (void)snprintf(text, size, "was ended: its keeper was killed");
        else if (end->code == CLD_EXITED)
                (void)snprintf(text, size, "ended with status %d", end->status);
        else
                (void)snprintf(text, size, "was killed by signal %d (%s)", end->status,
                        strsignal(end->status));
        return x->why[0] || !x->ended || end->code != CLD_EXITED || end->status != 0;
}

// When the minute's starts are used up: how long until the next one is due.
static uint64_t run_limit(const Exec *x)
{
        unsigned max = (unsigned)x->options->restarts;
        if (x->n_started < max)
                return 0;
        uint64_t at = x->started[(x->n_started - max) % EXEC_STARTS] + MINUTE_USEC;
        uint64_t now = clock_boot_usec();
        return at > now ? at - now : 0;
}

static uint64_t run_wait(const Exec *x)
{
        uint64_t wait = x->options->wait_usec;
        for (unsigned i = 1; i < x->failures_in_row && wait < MINUTE_USEC; i++)
                wait = 2 * wait < MINUTE_USEC ? 2 * wait : MINUTE_USEC;
        return wait;
}

static void run_schedule(Exec *x, const char *verdict, bool failed)
{
        char span[TEXT_QUANTITY_MAX];
        uint64_t wait = run_wait(x), limit = run_limit(x);
        x->run = RUN_WAITS;
        if (limit > wait) {
                wait = limit;
                source_degraded(x->source,
                        "the program %s; it was started %d times within a minute, next in %s",
                        verdict, (int)x->options->restarts, text_duration_short(wait, span));
        } else if (failed) {
                source_degraded(x->source, "the program %s; started again in %s", verdict,
                        text_duration_short(wait, span));
        } else {
                source_degraded(x->source, NULL);
        }
        run_timer(x, wait);
}

static void run_over(Exec *x)
{
        char verdict[160];
        bool failed = run_verdict(x, verdict, sizeof(verdict));
        bool again = x->options->restart == RESTART_ALWAYS ||
                     (x->options->restart == RESTART_FAILURE && failed);
        output_close(x);
        input_close(x);
        x->run = RUN_DOWN;
        (void)snprintf(x->last_end, sizeof(x->last_end), "%s", verdict);
        exec_stats_soon(x);
        if (x->stopping) {
                if (x->why[0])
                        source_log(x->source, LOG_WARNING, NULL, "the program %s", verdict);
                return;
        }
        source_log(x->source, failed ? LOG_WARNING : LOG_INFO, NULL, "the program %s", verdict);
        x->failures_in_row = failed ? x->failures_in_row + 1 : 0;
        x->counts.failures += failed;
        if (again)
                run_schedule(x, verdict, failed);
        else if (failed)
                source_degraded(x->source, "the program %s and is not started again", verdict);
        else
                source_degraded(x->source, NULL);
}

void run_look(Exec *x)
{
        if (x->run != RUN_DRAINS)
                return;
        // Stopped while there is no room: what is not taken will be printed again.
        if (!output_is_over(x) && !(x->stopping && !exec_may_take(x)))
                return;
        exec_commit(x);
        if (!exec_all_durable(x))
                return;
        run_over(x);
        exec_maybe_stopped(x);
}

// The keeper's socket is closed: nothing of the run lives but what that keeper, killed, left to us.
static void run_gone(Exec *x)
{
        x->news = sd_event_source_disable_unref(x->news);
        (void)close(x->news_fd);
        x->news_fd = -1;
        keeper_end_all(x->program);
        (void)sd_event_source_set_enabled(x->settle, SD_EVENT_OFF);
        (void)sd_event_source_set_enabled(x->timer, SD_EVENT_OFF);
        x->run = RUN_DRAINS;
        output_look(x);
        run_look(x);
}

// ---- the beginning

static void run_started(Exec *x, const KeeperNews *news)
{
        x->program = news->pid;
        if (news->error < 0) {
                (void)snprintf(x->why, sizeof(x->why), "%.*s", (int)sizeof(news->what), news->what);
                return;
        }
        (void)sd_event_source_set_time_relative(x->settle, SETTLED_SEC * USEC_PER_SEC);
        (void)sd_event_source_set_enabled(x->settle, SD_EVENT_ONESHOT);
        exec_stats_soon(x);
        if (x->stopping)
                run_order(x, KEEPER_TERMINATE);
        else if (!x->options->ready_usec)
                run_ready(x);
}

static int on_news(sd_event_source *e, int fd, uint32_t revents, void *userdata)
{
        Exec *x = userdata;
        KeeperNews news = {0};
        ssize_t n = recv(fd, &news, sizeof(news), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n != (ssize_t)sizeof(news)) {
                run_gone(x);
        } else if (news.word == KEEPER_STARTED) {
                run_started(x, &news);
        } else {
                x->end = news;
                x->ended = true;
        }
        return 0;
}

static int run_events(Exec *x)
{
        int r = 0;
        if (x->timer)
                return 0;
        r = sd_event_add_time(x->event, &x->timer, CLOCK_BOOTTIME, 0, ACCURACY_USEC, on_timer, x);
        if (r >= 0)
                r = sd_event_source_set_enabled(x->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(
                        x->event, &x->settle, CLOCK_BOOTTIME, 0, USEC_PER_SEC, on_settle, x);
        return r < 0 ? r : sd_event_source_set_enabled(x->settle, SD_EVENT_OFF);
}

typedef struct Pipes {
        int in[2], out[2], err[2];
} Pipes;

static void pipes_close(Pipes *p)
{
        int *const all[] = {&p->in[0], &p->in[1], &p->out[0], &p->out[1], &p->err[0], &p->err[1]};
        for (size_t i = 0; i < N_ELEMENTS(all); i++) {
                if (*all[i] >= 0)
                        (void)close(*all[i]);
                *all[i] = -1;
        }
}

// Our ends do not block; the program's are as any program expects them.
static int pipes_open(Pipes *p, bool input)
{
        if (pipe2(p->out, O_CLOEXEC) < 0 || pipe2(p->err, O_CLOEXEC) < 0 ||
                (input && pipe2(p->in, O_CLOEXEC) < 0))
                return -errno;
        if (fcntl(p->out[0], F_SETFL, O_NONBLOCK) < 0 ||
                fcntl(p->err[0], F_SETFL, O_NONBLOCK) < 0 ||
                (input && fcntl(p->in[1], F_SETFL, O_NONBLOCK) < 0))
                return -errno;
        return 0;
}

static bool is_given(const Exec *x, const char *variable)
{
        const StringMap *own = &x->options->environment;
        size_t n = strcspn(variable, "=");
        for (size_t i = 0; i < own->n; i++)
                if (strlen(own->names[i]) == n && strncmp(own->names[i], variable, n) == 0)
                        return true;
        return false;
}

static int run_fork(Exec *x, const Pipes *p, Reason *reason)
{
        static const char *const common[] = {
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                "HOME=/"};
        char source[64], position[32 + EVENT_LINE_POSITION_MAX];
        size_t n_arguments = 0, n_own = x->options->environment.n, n = 0;
        while (x->options->arguments && x->options->arguments[n_arguments])
                n_arguments++;
        _cleanup_(freep) char **argv = calloc(n_arguments + 2, sizeof(*argv));
        _cleanup_(freep) char **envp = calloc(n_own + FIXED_VARIABLES + 1, sizeof(*envp));
        if (!argv || !envp)
                return reason_set(reason, -ENOMEM, "out of memory");
        argv[0] = x->options->program;
        for (size_t i = 0; i < n_arguments; i++)
                argv[i + 1] = x->options->arguments[i];
        for (; n < n_own; n++)
                envp[n] = x->environment[n];
        for (size_t i = 0; i < N_ELEMENTS(common); i++)
                if (!is_given(x, common[i]))
                        envp[n++] = (char *)(uintptr_t)common[i];
        (void)snprintf(source, sizeof(source), "BELFRY_SOURCE=%s", source_name(x->source));
        envp[n++] = source;
        (void)snprintf(position, sizeof(position), "BELFRY_POSITION=%s", x->place.position);
        if (x->place.position[0])
                envp[n++] = position;
        const KeeperRequest request = {.program = x->options->program,
                .argv = argv,
                .envp = envp,
                .in = p->in[0] >= 0 ? p->in[0] : STDIN_FILENO,
                .out = p->out[1],
                .err = p->err[1],
                .network = x->options->network,
                .memory = x->options->memory};
        return keeper_start(&request, &x->news_fd, &x->keeper, reason);
}

static int run_try(Exec *x, Reason *reason)
{
        Pipes p = {{-1, -1}, {-1, -1}, {-1, -1}};
        int r = run_events(x);
        if (r >= 0)
                r = pipes_open(&p, x->options->acknowledge);
        if (r < 0)
                (void)reason_errno(reason, r, "cannot set up a run");
        if (r >= 0)
                r = run_fork(x, &p, reason);
        if (r >= 0) {
                x->run = RUN_UP;
                r = sd_event_add_io(x->event, &x->news, x->news_fd, EPOLLIN, on_news, x);
                if (r >= 0)
                        r = output_open(x, TAKE_FD(p.out[0]), TAKE_FD(p.err[0]));
                if (r >= 0)
                        r = input_open(x, TAKE_FD(p.in[1]));
                if (r < 0)
                        (void)reason_errno(reason, r, "cannot watch the program");
        }
        pipes_close(&p);
        return r;
}

void run_begin(Exec *x)
{
        Reason reason = {0};
        x->why[0] = 0;
        x->end = (KeeperNews){0};
        x->ended = x->run_ready = false;
        x->program = 0;
        x->repeat = x->options->replay == REPLAY_NONE ? 0 : x->place.index;
        x->place.index = 0;
        x->started[x->n_started++ % EXEC_STARTS] = clock_boot_usec();
        x->counts.starts++;
        // Without descriptors or processes this source is of no use: the hub starts it anew, later.
        if (run_try(x, &reason) < 0)
                source_fail(x->source, false, "%s", reason.text);
        if (x->options->ready_usec)
                run_timer(x, x->options->ready_usec);
        exec_stats_soon(x);
}

void run_stop(Exec *x)
{
        input_close(x);
        if (x->run == RUN_UP) {
                if (x->program > 0)
                        run_order(x, KEEPER_TERMINATE);
                run_timer(x, x->options->stop_usec);
        } else if (x->run == RUN_WAITS) {
                (void)sd_event_source_set_enabled(x->timer, SD_EVENT_OFF);
                x->run = RUN_DOWN;
        }
        run_look(x);
}

void run_clear(Exec *x)
{
        output_close(x);
        input_close(x);
        sd_event_source_disable_unref(x->news);
        sd_event_source_disable_unref(x->timer);
        sd_event_source_disable_unref(x->settle);
        if (x->news_fd >= 0)
                (void)close(x->news_fd);
}
