// SPDX-License-Identifier: MIT
// belfryd: arguments, configuration, store, the loop and the end. Everything that can refuse does so
// here, before READY=1: a wrong configuration, a locked or newer store, a runtime directory that
// cannot be written.
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "event/messages.h"
#include "hub/child.h"
#include "hub/commands.h"
#include "hub/commit.h"
#include "hub/control_methods.h"
#include "hub/dispatch.h"
#include "hub/doors.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "hub/reload.h"
#include "hub/status.h"
#include "module/cage.h"
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <signal.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

typedef struct Arguments {
        const char *config, *state_dir, *runtime_dir;
        bool list_failpoints;
} Arguments;

static void usage(FILE *f)
{
        (void)fputs(
                "belfryd [OPTIONS]\n\nWatches this host and rings webhooks.\n\n"
                "  -c, --config FILE      configuration (/etc/belfry/belfry.conf)\n"
                "      --state-dir DIR    the durable queue ($STATE_DIRECTORY, /var/lib/belfry)\n"
                "      --runtime-dir DIR  sockets ($RUNTIME_DIRECTORY, /run/belfry)\n"
                "      --list-failpoints  names of the points a test can kill it at\n"
                "  -h, --help\n  -V, --version\n\nSee belfryd(8). Check a configuration with: "
                "belfry check\n",
                f);
}

static int arguments_parse(Arguments *a, int argc, char **argv)
{
        enum { OPT_STATE = 256, OPT_RUNTIME, OPT_FAILPOINTS };
        static const struct option options[] = {
                {"config", required_argument, NULL, 'c'},
                {"state-dir", required_argument, NULL, OPT_STATE},
                {"runtime-dir", required_argument, NULL, OPT_RUNTIME},
                {"list-failpoints", no_argument, NULL, OPT_FAILPOINTS},
                {"help", no_argument, NULL, 'h'},
                {"version", no_argument, NULL, 'V'},
                {NULL, 0, NULL, 0},
        };
        const char *state = getenv("STATE_DIRECTORY"), *runtime = getenv("RUNTIME_DIRECTORY");
        *a = (Arguments){.config = "/etc/belfry/belfry.conf",
                .state_dir = state && state[0] ? state : "/var/lib/belfry",
                .runtime_dir = runtime && runtime[0] ? runtime : "/run/belfry"};
        for (int c; (c = getopt_long(argc, argv, "c:hV", options, NULL)) != -1;) {
                switch (c) {
                case 'c':
                        a->config = optarg;
                        break;
                case OPT_STATE:
                        a->state_dir = optarg;
                        break;
                case OPT_RUNTIME:
                        a->runtime_dir = optarg;
                        break;
                case OPT_FAILPOINTS:
                        a->list_failpoints = true;
                        break;
                case 'h':
                        usage(stdout);
                        exit(EXIT_SUCCESS);
                case 'V':
                        (void)puts("belfryd " BELFRY_VERSION);
                        exit(EXIT_SUCCESS);
                default:
                        usage(stderr);
                        return -EINVAL;
                }
        }
        if (optind < argc) {
                (void)fprintf(stderr, "belfryd: unexpected argument \"%s\"\n", argv[optind]);
                return -EINVAL;
        }
        return 0;
}

static void failpoint_print(const char *name, const char *where, void *u)
{
        (void)printf("%-28s %s\n", name, where);
}

static bool family_gone(Hub *h)
{
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                if (s->child.state != CHILD_DOWN)
                        return false;
        for (unsigned i = 0; i < POOL_MAX; i++)
                if (h->pool[i].state != CHILD_DOWN)
                        return false;
        return true;
}

// Sources first (what they hold is committed), then the attempts that are out, then the sinks.
static int stop_step(sd_event_source *e, uint64_t usec, void *userdata)
{
        Hub *h = userdata;
        batch_commit(h);
        bool sources_gone = true, out = false;
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                sources_gone &= s->child.state == CHILD_DOWN;
        HubSink *k;
        LIST_FOREACH (k, &h->sinks, link)
                out |= k->n_out > 0;
        for (unsigned i = 0; sources_gone && !out && i < POOL_MAX; i++)
                child_stop(&h->pool[i]);
        if (family_gone(h) || clock_boot_usec() >= h->config->limits.stop_usec + h->stop_began_boot)
                return sd_event_exit(h->event, 0);
        (void)sd_event_source_set_time_relative(h->stop_timer, 5 * USEC_PER_MSEC);
        return sd_event_source_set_enabled(h->stop_timer, SD_EVENT_ONESHOT);
}

static int on_stop(sd_event_source *e, const struct signalfd_siginfo *si, void *userdata)
{
        Hub *h = userdata;
        if (h->state == HUB_STOPPING)
                return 0;
        log_notice("stopping: sources first, then what is in flight");
        (void)sd_notifyf(0, "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=%llu",
                (unsigned long long)(h->config->limits.stop_usec + 2 * USEC_PER_SEC));
        h->state = HUB_STOPPING;
        commands_stop(h);
        h->stop_began_boot = clock_boot_usec() -
                             (h->config->limits.stop_usec > USEC_PER_SEC ? USEC_PER_SEC / 2 : 0);
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                child_stop(&s->child);
        return sd_event_add_time_relative(
                h->event, &h->stop_timer, CLOCK_BOOTTIME, 0, 1, stop_step, h);
}

static int on_reload(sd_event_source *e, const struct signalfd_siginfo *si, void *userdata)
{
        Hub *h = userdata;
        Diagnostics d = {0};
        Reason reason = {0};
        (void)sd_notifyf(
                0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_mono_usec());
        bool refused = hub_reload(h, &(ReloadOptions){0}, &d, &reason) < 0;
        if (refused)
                log_write(LOG_ERR, &(LogFields){.message_id = MESSAGE_ID_CONFIG_REFUSED},
                        "reload refused: %s", reason.text);
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(LIMIT_CONTROL_CLIENT);
        diagnostics_print(&d, &text);
        for (char *line = strtok((char *)buf_text(&text), "\n"); line; line = strtok(NULL, "\n"))
                log_write(refused ? LOG_ERR : LOG_WARNING, &(LogFields){0}, "%s", line);
        diagnostics_deinit(&d);
        (void)sd_notify(0, "READY=1");
        return 0;
}

static int hub_loop_init(Hub *h)
{
        sigset_t mask;
        (void)sigemptyset(&mask);
        (void)sigaddset(&mask, SIGTERM);
        (void)sigaddset(&mask, SIGINT);
        (void)sigaddset(&mask, SIGHUP);
        (void)sigaddset(&mask, SIGCHLD);
        (void)sigprocmask(SIG_BLOCK, &mask, NULL);
        (void)signal(SIGPIPE, SIG_IGN);
        int r = sd_event_new(&h->event);
        static const int stops[] = {SIGTERM, SIGINT};
        for (unsigned i = 0; r >= 0 && i < N_ELEMENTS(stops); i++)
                r = sd_event_add_signal(h->event, NULL, stops[i], on_stop, h);
        if (r >= 0)
                r = sd_event_add_signal(h->event, NULL, SIGHUP, on_reload, h);
        if (r >= 0)
                r = sd_event_set_watchdog(h->event, true);
        if (r >= 0)
                r = batch_init(h);
        return r < 0 ? r : dispatch_init(h);
}

static int hub_load(Hub *h, Config **ret_config, RuleSet **ret_rules)
{
        Diagnostics d = {0};
        int r = config_load(ret_config, h->config_path, h->module_dir, &d);
        if (r >= 0)
                r = ruleset_new(ret_rules, *ret_config, &d);
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(LIMIT_CONTROL_CLIENT);
        diagnostics_print(&d, &text);
        (void)fputs(buf_text(&text), stderr);
        diagnostics_deinit(&d);
        return r;
}

static int hub_dirs(Hub *h, const Arguments *a, Reason *reason)
{
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        if (n < 0)
                return reason_errno(reason, -errno, "cannot read /proc/self/exe");
        self[n] = 0;
        const char *credentials = getenv("CREDENTIALS_DIRECTORY");
        h->module_dir = strdup(dirname(self));
        h->state_dir = strdup(a->state_dir);
        h->runtime_dir = strdup(a->runtime_dir);
        h->credentials_dir = credentials && credentials[0] ? strdup(credentials) : NULL;
        if (!h->module_dir || !h->state_dir || !h->runtime_dir ||
                gethostname(h->hostname, sizeof(h->hostname) - 1) < 0)
                return reason_set(reason, -ENOMEM, "out of memory");
        int r = file_mkdir_private(h->state_dir, 0700);
        if (r < 0)
                return reason_errno(
                        reason, r, "cannot use the state directory %s (--state-dir)", h->state_dir);
        r = file_mkdir_private(h->runtime_dir, 0755);
        if (r < 0)
                return reason_errno(reason, r,
                        "cannot use the runtime directory %s (--runtime-dir)", h->runtime_dir);
        return 0;
}

static int hub_open_store(Hub *h, const Config *c, Reason *reason)
{
        StoreOptions options = {
                .state_dir = h->state_dir, .size = c->store.size, .ledger_percent = 5};
        int r = store_open(&h->store, &options, reason);
        if (r >= 0 && reason->text[0])
                log_write(LOG_WARNING, &(LogFields){.message_id = MESSAGE_ID_STORE}, "%s",
                        reason->text);
        return r;
}

// After a salvage something may be missing: every source says so.
static void hub_salvaged(Hub *h, const char *what)
{
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                intake_gap(s, "store-salvaged", NULL, NULL, what);
        batch_commit(h);
}

// *ret_about: the MESSAGE_ID of what it fails at, where there is one.
static int hub_start(Hub *h, const Arguments *a, const char **ret_about, Reason *reason)
{
        Config *c = NULL;
        RuleSet *rules = NULL;
        h->config_path = a->config;
        h->started_wall = clock_wall_usec();
        h->records = BUF_INIT(2 * (size_t)LIMIT_EVENT_MAX + LIMIT_STATE_BATCH);
        h->lengths = BUF_INIT(LIMIT_EVENT_MAX);
        h->record = BUF_INIT(LIMIT_EVENT_MAX);
        h->body = BUF_INIT(LIMIT_EVENT_MAX);
        int r = cage_lower_hub(reason);
        if (r < 0)
                return r;
        r = hub_dirs(h, a, reason);
        if (r < 0)
                return r;
        *ret_about = MESSAGE_ID_CONFIG_REFUSED;
        r = hub_load(h, &c, &rules);
        if (r < 0)
                return reason_set(reason, r, "the configuration has faults");
        *ret_about = NULL;
        r = hub_loop_init(h);
        if (r < 0)
                return reason_errno(reason, r, "cannot set up the event loop");
        *ret_about = MESSAGE_ID_STORE;
        int opened = hub_open_store(h, c, reason);
        if (opened < 0)
                return opened;
        *ret_about = NULL;
        char salvage[REASON_MAX];
        memcpy(salvage, reason->text, sizeof(salvage));
        reason->text[0] = 0;
        r = poison_start(h, reason);
        if (r >= 0)
                r = family_start(h, reason);
        if (r >= 0)
                r = hub_apply(h, c, rules, reason);
        if (r >= 0 && opened == STORE_SALVAGED)
                hub_salvaged(h, salvage);
        if (r >= 0)
                r = control_start(h, reason);
        if (r >= 0)
                r = cage_enter_hub(reason);
        return r;
}

static void hub_end(Hub *h)
{
        commands_stop(h);
        control_stop(h);
        doors_close(h);
        for (unsigned i = 0; i < POOL_MAX; i++)
                child_clear(&h->pool[i]);
        HubSource *s;
        LIST_FOREACH (s, &h->sources, link)
                child_clear(&s->child);
        batch_commit(h);
        h->store = store_close(h->store);
        spawn_stop();
}

int main(int argc, char **argv)
{
        static Hub hub; // large, and alone
        Arguments a;
        Reason reason = {0};
        log_init("belfryd", LOG_INFO);
        if (arguments_parse(&a, argc, argv) < 0)
                return 2;
        if (a.list_failpoints) {
                failpoint_each(failpoint_print, NULL);
                return EXIT_SUCCESS;
        }
        const char *about = NULL;
        int r = hub_start(&hub, &a, &about, &reason);
        if (r < 0) {
                log_write(LOG_ERR, &(LogFields){.message_id = about}, "cannot start: %s",
                        reason.text);
                return EXIT_FAILURE;
        }
        hub.state = HUB_RUNNING;
        log_write(LOG_NOTICE, &(LogFields){.message_id = MESSAGE_ID_STARTED},
                "belfryd " BELFRY_VERSION " is up: %zu source%s, %zu sink%s, %zu rule%s",
                hub.config->n_sources, hub.config->n_sources == 1 ? "" : "s", hub.config->n_sinks,
                hub.config->n_sinks == 1 ? "" : "s", hub.config->n_rules,
                hub.config->n_rules == 1 ? "" : "s");
        (void)sd_notify(0, "READY=1");
        hub_notify(&hub);
        r = sd_event_loop(hub.event);
        hub_end(&hub);
        log_write(LOG_NOTICE, &(LogFields){.message_id = MESSAGE_ID_STOPPED}, "belfryd ended");
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
