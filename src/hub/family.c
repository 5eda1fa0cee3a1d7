// SPDX-License-Identifier: MIT
// Births and deaths of the module processes, their first words and what they log. A child that died
// is born again at once the first time, with back-off from the second death within a minute; one
// that hangs or breaks the rules is killed, and its work is issued again only after it was reaped.
#include "hub/child.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "build_id.h"
#include "event/messages.h"
#include "hub/commands.h"
#include "hub/dispatch.h"
#include "hub/doors.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "hub/spawn.h"
#include "hub/status.h"
#include "link/message.h"
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { BACKOFF_FIRST_SEC = 1, BACKOFF_MAX_SEC = 60, STOP_SEC = 10, FAMILY_TICK_SEC = 10 };

static void child_died(HubChild *c, const siginfo_t *si);
static void child_timer(HubChild *c, uint64_t usec);

void child_init(HubChild *c, Hub *h, HubSource *source, int pool_index)
{
        *c = (HubChild){.hub = h, .source = source, .pool_index = pool_index, .pidfd = -1};
}

const char *child_title(const HubChild *c)
{
        static char title[64];
        if (c->source)
                (void)snprintf(title, sizeof(title), "source %s", c->source->name);
        else if (c->errand)
                (void)snprintf(
                        title, sizeof(title), "command for source %s", errand_source(c->errand));
        else
                (void)snprintf(title, sizeof(title), "sink process %d", c->pool_index + 1);
        return title;
}

const char *child_state_to_string(const HubChild *c)
{
        static const char *const names[] = {"down", "starting", "starting", "ready", "stopping"};
        return c->state == CHILD_DOWN && c->reason[0] ? "failed" : names[c->state];
}

static const ConfigModule *child_module(const HubChild *c)
{
        const Config *config = c->hub->config;
        if (c->errand)
                return errand_module(c->errand);
        return c->source ? config->sources[c->source->index].module : config->sinks[0].module;
}

static const char *child_instance(const HubChild *c)
{
        return c->source ? c->source->name : c->errand ? errand_source(c->errand) : "sinks";
}

static void child_log(const HubChild *c, int level, const char *message_id, const char *text)
{
        log_write(level, &(LogFields){.message_id = message_id, .instance = child_instance(c)},
                "%s: %s", child_title(c), text);
}

void child_kill(HubChild *c, const char *why)
{
        if (c->pidfd < 0)
                return;
        if (why) {
                (void)snprintf(c->reason, sizeof(c->reason), "killed: %s", why);
                c->explained = true;
                child_log(c, LOG_ERR, MESSAGE_ID_MODULE_DIED, c->reason);
        }
        (void)pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
}

void child_fall_back(HubChild *c)
{
        if (c->pidfd < 0)
                return;
        c->deaf = true;            // what it already sent builds on what is not there
        c->state = CHILD_STOPPING; // no crash: born again without back-off
        child_kill(c, NULL);
}

static int child_hello(HubChild *c, Slice payload)
{
        uint32_t protocol;
        Slice build, module;
        int r = message_get_hello(payload, &protocol, &build, &module);
        if (r < 0 || c->state != CHILD_BORN)
                return -EBADMSG;
        if (protocol != LINK_PROTOCOL || !slice_eq_str(build, BELFRY_BUILD)) {
                (void)snprintf(c->reason, sizeof(c->reason),
                        "it is of build %.*s and belfryd of " BELFRY_BUILD
                        ": restart belfryd after an upgrade",
                        SLICE_ARG(build));
                c->config_failure = c->explained = true;
                return -EPROTO;
        }
        c->state = CHILD_STARTED;
        c->restart_timer = sd_event_source_disable_unref(c->restart_timer);
        if (c->source)
                child_timer(c, LIMIT_QUIET_SEC * USEC_PER_SEC);
        if (c->source)
                return source_send_start(c->source);
        if (c->errand)
                return errand_send_start(c->errand);
        MessageStart m = {.credit = SLOTS_PER_PROCESS,
                .max_event = c->hub->config->limits.event,
                .options = SLICE_LIT("{}"),
                .credentials_dir = slice_of(c->hub->credentials_dir ? c->hub->credentials_dir : ""),
                .hostname = slice_of(c->hub->hostname)};
        message_put_start(link_begin(c->link, MESSAGE_START), &m);
        return link_end(c->link, true);
}

static int child_failed(HubChild *c, Slice payload)
{
        MessageFailed m;
        int r = message_get_failed(payload, &m);
        if (r < 0)
                return r;
        (void)snprintf(c->reason, sizeof(c->reason), "%.*s", SLICE_ARG(m.reason));
        c->config_failure = m.kind == FAILURE_CONFIG;
        c->explained = true;
        child_log(c, LOG_ERR, MESSAGE_ID_MODULE_FAILED, c->reason);
        return 0;
}

// One that logs without end must not fill the journal.
static bool child_may_log(HubChild *c)
{
        uint64_t now = clock_boot_usec();
        if (now - c->log_since_boot >= LIMIT_LOG_SEC * USEC_PER_SEC) {
                c->log_since_boot = now;
                c->log_lines = 0;
        }
        if (c->log_lines++ < LIMIT_LOG_LINES)
                return true;
        if (c->log_lines == LIMIT_LOG_LINES + 1)
                log_write(LOG_WARNING,
                        &(LogFields){.message_id = MESSAGE_ID_MODULE_FAILED,
                                .instance = child_instance(c)},
                        "%s: it logs more than %u lines in %u s: the rest is dropped",
                        child_title(c), LIMIT_LOG_LINES, LIMIT_LOG_SEC);
        c->log_dropped++;
        return false;
}

static int child_told(HubChild *c, uint16_t type, Slice payload)
{
        MessageLog log;
        Slice text;
        int r = 0;
        switch (type) {
        case MESSAGE_HELLO:
                return child_hello(c, payload);
        case MESSAGE_READY:
                c->state = CHILD_READY;
                c->reason[0] = 0;
                c->restart_timer = sd_event_source_disable_unref(c->restart_timer);
                if (!c->source && !c->errand)
                        pool_ready(c);
                hub_notify(c->hub);
                return 0;
        case MESSAGE_LOG:
                r = message_get_log(payload, &log);
                if (r >= 0 && child_may_log(c)) {
                        char id[33] = "";
                        (void)snprintf(id, sizeof(id), "%.*s", SLICE_ARG(log.message_id));
                        log_write(log.level & LOG_PRIMASK,
                                &(LogFields){.message_id = id[0] ? id : NULL,
                                        .instance = child_instance(c)},
                                "%s: %.*s", child_title(c), SLICE_ARG(log.text));
                }
                return r;
        case MESSAGE_STATS:
                r = message_get_bytes(payload, &text);
                if (r < 0 || text.len > LIMIT_STATS)
                        return -EBADMSG;
                json_t *stats = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
                if (!json_is_object(stats)) {
                        json_decref(stats);
                        return -EBADMSG;
                }
                json_decref(c->stats);
                c->stats = stats;
                return 0;
        case MESSAGE_FAILED:
                return child_failed(c, payload);
        default:
                if (c->errand)
                        return errand_frame(c->errand, type, payload);
                return c->source ? source_frame(c, type, payload) : pool_frame(c, type, payload);
        }
}

static int child_frame(Link *l, uint16_t type, Slice payload, void *userdata)
{
        HubChild *c = userdata;
        c->heard = true;
        if (c->deaf)
                return 0;
        if (c->state < CHILD_STARTED && type != MESSAGE_HELLO && type != MESSAGE_FAILED &&
                type != MESSAGE_LOG)
                return -EBADMSG;
        return child_told(c, type, payload);
}

// The link is gone: the process is of no use without it. It is reaped by child_on_exit.
static void child_link_closed(Link *l, int error, const char *reason, void *userdata)
{
        HubChild *c = userdata;
        if (error != -ECONNRESET && c->state != CHILD_STOPPING && !c->explained) {
                c->explained = true;
                (void)snprintf(c->reason, sizeof(c->reason), "it broke the protocol: %s", reason);
        }
        child_kill(c, NULL);
}

static int child_on_exit(sd_event_source *e, const siginfo_t *si, void *userdata)
{
        child_died(userdata, si);
        return 0;
}

static int child_on_restart(sd_event_source *e, uint64_t usec, void *userdata);

static void child_timer(HubChild *c, uint64_t usec)
{
        c->restart_timer = sd_event_source_disable_unref(c->restart_timer);
        if (sd_event_add_time_relative(c->hub->event, &c->restart_timer, CLOCK_BOOTTIME, usec, 1000,
                    child_on_restart, c) < 0)
                log_error("%s: no timer: it stays down until a reload", child_title(c));
}

// To be armed and to have looked at everything may take long, but not without a word. It is left
// alone: perhaps what it waits for comes.
static void child_look_whether_quiet(HubChild *c)
{
        if (!c->heard && !c->source->paused) {
                (void)snprintf(c->reason, sizeof(c->reason),
                        "not ready, and it has said nothing for %u s", LIMIT_QUIET_SEC);
                child_log(c, LOG_WARNING, MESSAGE_ID_MODULE_FAILED, c->reason);
                hub_notify(c->hub);
                return;
        }
        c->heard = false;
        child_timer(c, LIMIT_QUIET_SEC * USEC_PER_SEC);
}

static int child_on_restart(sd_event_source *e, uint64_t usec, void *userdata)
{
        HubChild *c = userdata;
        c->restart_timer = sd_event_source_disable_unref(c->restart_timer);
        char why[64];
        (void)snprintf(why, sizeof(why), "it did not greet within %u s", LIMIT_GREETING_SEC);
        if (c->state == CHILD_DOWN)
                child_birth(c);
        else if (c->state == CHILD_STARTED)
                child_look_whether_quiet(c);
        else
                child_kill(c, c->state == CHILD_STOPPING ? "it does not stop" : why);
        return 0;
}

// The paths the process may read, from the options it will get.
static int child_cage(HubChild *c, CagePaths *paths, Reason *reason)
{
        Hub *h = c->hub;
        const ModuleDescription *module = child_module(c)->description;
        int r = 0;
        if (c->source || c->errand) {
                const json_t *options = c->errand ? errand_options(c->errand)
                                                  : h->config->sources[c->source->index].options;
                r = cage_paths_from_options(paths, module, options, h->credentials_dir, reason);
                return r < 0 ? r : spawn_roots_check(paths, h->state_dir, reason);
        }
        for (size_t i = 0; r >= 0 && i < h->config->n_sinks; i++)
                r = cage_paths_from_options(
                        paths, module, h->config->sinks[i].options, h->credentials_dir, reason);
        return r;
}

// Does the configuration, or the world, now ask for paths its cage does not show? Then it has to be
// born again.
void child_check_cage(HubChild *c)
{
        if (c->state < CHILD_STARTED || c->state == CHILD_STOPPING)
                return;
        CagePaths now = {0};
        Reason reason = {0};
        bool good = child_cage(c, &now, &reason) >= 0 && cage_paths_cover(&c->cage, &now) &&
                    cage_paths_stamp(&c->cage) == c->cage_stamp;
        cage_paths_clear(&now);
        if (good)
                return;
        log_info("%s: started anew, for paths that its cage does not show", child_title(c));
        child_stop(c);
}

static int family_on_tick(sd_event_source *e, uint64_t usec, void *userdata)
{
        Hub *h = userdata;
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                if (!s->removed)
                        child_check_cage(&s->child);
        for (unsigned i = 0; i < h->n_pool && h->config->n_sinks; i++)
                child_check_cage(&h->pool[i]);
        dispatch_check_hung(h);
        (void)sd_event_source_set_time_relative(e, FAMILY_TICK_SEC * USEC_PER_SEC);
        return sd_event_source_set_enabled(e, SD_EVENT_ONESHOT);
}

static int child_spawn(HubChild *c, Reason *reason)
{
        Hub *h = c->hub;
        const ConfigModule *module = child_module(c);
        char argv0[96], instance[LIMIT_NAME + 1];
        bool source = c->source || c->errand;
        (void)snprintf(argv0, sizeof(argv0), "belfry-%s-%s", source ? "source" : "sink",
                module->description->name);
        if (source)
                (void)snprintf(instance, sizeof(instance), "%s", child_instance(c));
        else
                (void)snprintf(instance, sizeof(instance), "%d", c->pool_index + 1);
        CagePaths paths = {0};
        cage_paths_clear(&c->cage);
        int r = child_cage(c, &paths, reason);
        SpawnedChild born = {.pid = -1};
        if (r >= 0) {
                SpawnRequest request = {.program_fd = module->program_fd,
                        .argv0 = argv0,
                        .instance = instance,
                        .cage = &paths,
                        .keep_ambient = source && strcmp(module->description->name, "inotify") == 0,
                        .family_fd = h->family_fd};
                if (source && module->description->doors)
                        r = doors_get(h, &request.doors, reason);
                if (r >= 0)
                        r = spawn_child(&request, &born, reason);
        }
        if (r < 0) {
                cage_paths_clear(&paths);
                return r;
        }
        c->cage = paths;
        c->cage_stamp = cage_paths_stamp(&c->cage);
        c->pid = born.pid;
        c->pidfd = born.pidfd;
        LinkOptions options = {.max_frame = LIMIT_EVENT_MAX + LIMIT_STATE_BATCH + LIMIT_FRAME_SLACK,
                .max_queue = 64u * 1024 * 1024,
                .priority = source ? PRIORITY_INTAKE : PRIORITY_VERDICT};
        static const LinkHandlers handlers = {.frame = child_frame, .closed = child_link_closed};
        r = link_new(&c->link, h->event, born.link_fd, &options, &handlers, c);
        if (r >= 0)
                r = sd_event_add_child_pidfd(
                        h->event, &c->exit_event, c->pidfd, WEXITED, child_on_exit, c);
        if (r >= 0) {
                // After the link: what it still said is read before its death is acted on.
                (void)sd_event_source_set_priority(c->exit_event, PRIORITY_DISPATCH);
                message_put_hello(
                        link_begin(c->link, MESSAGE_HELLO), SLICE_LIT(BELFRY_BUILD), SLICE_NULL);
                r = link_end(c->link, true);
        }
        return r < 0 ? reason_errno(reason, r, "cannot talk to it") : 0;
}

static void child_schedule_restart(HubChild *c)
{
        uint64_t now = clock_boot_usec();
        c->deaths_in_row = c->deaths && now - c->last_death_boot < 60 * USEC_PER_SEC
                                   ? c->deaths_in_row + 1
                                   : 1;
        c->deaths++;
        c->last_death_boot = now;
        if (c->config_failure)
                return; // a reload starts it again
        if (c->deaths_in_row == 1) {
                child_birth(c);
                return;
        }
        uint64_t wait = BACKOFF_FIRST_SEC;
        for (unsigned i = 2; i < c->deaths_in_row && wait < BACKOFF_MAX_SEC; i++)
                wait *= 2;
        wait = wait < BACKOFF_MAX_SEC ? wait : BACKOFF_MAX_SEC;
        size_t n = strlen(c->reason);
        (void)snprintf(c->reason + n, sizeof(c->reason) - n,
                "; death %u in a row, the next start waits %llu s (at most %d)", c->deaths_in_row,
                (unsigned long long)wait, BACKOFF_MAX_SEC);
        child_timer(c, wait * USEC_PER_SEC);
}

void child_birth(HubChild *c)
{
        if (c->hub->state == HUB_STOPPING || c->state != CHILD_DOWN)
                return;
        Reason reason = {0};
        c->restart_timer = sd_event_source_disable_unref(c->restart_timer);
        c->born_boot = clock_boot_usec();
        c->state = CHILD_BORN;
        c->explained = c->heard = false;
        int r = child_spawn(c, &reason);
        if (r >= 0) {
                child_timer(c, LIMIT_GREETING_SEC * USEC_PER_SEC);
                return;
        }
        (void)snprintf(c->reason, sizeof(c->reason), "%s", reason.text);
        child_log(c, LOG_ERR, MESSAGE_ID_MODULE_FAILED, c->reason);
        if (c->exit_event) {
                child_kill(c, NULL);
                return;
        }
        c->state = CHILD_DOWN;
        c->link = link_free(c->link);
        if (c->errand)
                return; // who wanted it is told
        child_timer(c, 5 * USEC_PER_SEC);
        hub_notify(c->hub);
}

void child_stop(HubChild *c)
{
        if (c->state == CHILD_DOWN) {
                c->restart_timer = sd_event_source_disable_unref(c->restart_timer);
                return;
        }
        if (c->state == CHILD_STOPPING)
                return;
        c->state = CHILD_STOPPING;
        if (!c->link || link_send(c->link, MESSAGE_STOP, SLICE_NULL) < 0)
                child_kill(c, NULL);
        child_timer(c, STOP_SEC * USEC_PER_SEC);
}

static void child_gone(HubChild *c)
{
        c->exit_event = sd_event_source_disable_unref(c->exit_event);
        c->restart_timer = sd_event_source_disable_unref(c->restart_timer);
        c->link = link_free(c->link);
        if (c->pidfd >= 0)
                (void)close(c->pidfd);
        c->pidfd = -1;
        c->pid = 0;
        c->deaf = false;
        c->state = CHILD_DOWN;
}

// The most memory a process had that is dead and not yet reaped.
static uint64_t child_peak(const HubChild *c)
{
        siginfo_t si = {};
        struct rusage usage = {};
        if (syscall(SYS_waitid, P_PIDFD, c->pidfd, &si, WEXITED | WNOHANG | WNOWAIT, &usage) < 0)
                return 0;
        return (uint64_t)usage.ru_maxrss * 1024;
}

static void child_died(HubChild *c, const siginfo_t *si)
{
        Hub *h = c->hub;
        bool asked = c->state == CHILD_STOPPING;
        if (!asked) {
                char how[192];
                if (si->si_code == CLD_EXITED)
                        (void)snprintf(how, sizeof(how), "ended with status %d", si->si_status);
                else
                        (void)snprintf(how, sizeof(how), "was killed by signal %d (%s)",
                                si->si_status, strsignal(si->si_status));
                size_t n = strlen(how);
                uint64_t peak = child_peak(c);
                if (peak > LIMIT_MODULE_MEMORY / 10 * 9)
                        (void)snprintf(how + n, sizeof(how) - n,
                                "; it had %llu MiB of memory, a module may have %u",
                                (unsigned long long)(peak >> 20), LIMIT_MODULE_MEMORY >> 20);
                if (!c->explained)
                        (void)snprintf(c->reason, sizeof(c->reason), "%s", how);
                memcpy(c->last_death, c->reason, sizeof(c->last_death));
                child_log(c, LOG_WARNING, MESSAGE_ID_MODULE_DIED, how);
        }
        child_gone(c);
        if (c->errand) {
                errand_died(c->errand);
                return;
        }
        if (c->source) {
                c->source->confirm_pending = false;
                commands_child_gone(c, asked ? "it was stopped" : c->reason);
        } else {
                pool_died(c);
        }
        if (h->state == HUB_STOPPING)
                return; // main.c looks whether that was the last
        bool isolation = !c->source && c->pool_index == (int)h->n_pool;
        if (c->source && c->source->removed)
                return; // reload.c's sweep frees it
        if (!c->source && (h->config->n_sinks == 0 || (isolation && asked)))
                return;
        if (isolation && TAILQ_EMPTY(&h->alone))
                return;
        if (asked)
                child_birth(c);
        else
                child_schedule_restart(c);
        hub_notify(h);
}

void child_clear(HubChild *c)
{
        if (c->pidfd >= 0) {
                (void)pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
                siginfo_t si;
                (void)waitid(P_PIDFD, (id_t)c->pidfd, &si, WEXITED);
        }
        child_gone(c);
        json_decref(c->stats);
        c->stats = NULL;
        cage_paths_clear(&c->cage);
}

// Without it nobody can be born any more, and a hub in its cage cannot make another (spawn.h).
static int family_on_births_gone(sd_event_source *e, int fd, uint32_t revents, void *userdata)
{
        Hub *h = userdata;
        log_error("the process that makes births is gone: ending, to be started anew");
        return sd_event_exit(h->event, -EPIPE);
}

int family_start(Hub *h, Reason *reason)
{
        int r = spawn_start(h->module_dir, reason);
        if (r >= 0)
                r = sd_event_add_io(
                        h->event, NULL, spawn_watch(), EPOLLIN, family_on_births_gone, h);
        if (r >= 0)
                r = family_lock_open(h->runtime_dir, &h->family_fd, reason);
        if (r >= 0)
                r = family_lock_reap_orphans(h->family_fd, reason);
        for (unsigned i = 0; i < POOL_MAX; i++)
                child_init(&h->pool[i], h, NULL, (int)i);
        if (r >= 0)
                r = sd_event_add_time_relative(h->event, NULL, CLOCK_BOOTTIME,
                        FAMILY_TICK_SEC * USEC_PER_SEC, USEC_PER_SEC, family_on_tick, h);
        return r;
}
