// SPDX-License-Identifier: MIT
// The life of a module process: the command line, then as a child of the hub its cage, its greeting,
// its loop and its end. Invariants: not a byte is read from the link before the cage is closed; the
// first frame each way is HELLO and a hub of another build is refused; every end but the asked-for
// one is told to the hub first, and a hub that went away ends the process at once.
// SIGTERM and SIGINT are ignored: the hub stops its children by MESSAGE_STOP, so that a terminal's
// Ctrl-C or systemd's SIGTERM to the whole group cannot take a child before its hub is done.
// It does not know what sources and sinks say (source.c, sink.c).

#include "module/module_main.h"

#include "base/limits.h"
#include "build_id.h"
#include "module/module_usage.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <syslog.h>

// A frame of the hub: at most one body with its headers, or a page of state rows.
#define FRAME_FROM_HUB (LIMIT_EVENT_MAX + LIMIT_BATCH_BYTES)
// Towards the hub: all the credit there is, one frame over it, and small talk.
#define QUEUE_TO_HUB (LIMIT_SOURCE_CREDIT + LIMIT_EVENT_MAX + LIMIT_BATCH_BYTES)
// How long last words may take when the hub does not read.
enum { DRAIN_MSEC = 5000 };

// Writes out what is queued without going back to the loop; gives up when the hub does not read.
static void module_drain(Module *m)
{
        struct pollfd p = {.fd = CHILD_FD_LINK, .events = POLLOUT};

        while (m->link && link_queued(m->link) > 0) {
                if (link_flush(m->link) < 0)
                        return;
                if (link_queued(m->link) == 0)
                        return;
                int r = poll(&p, 1, DRAIN_MSEC);
                if (r == 0 || (r < 0 && errno != EINTR) || (p.revents & (POLLERR | POLLHUP)))
                        return;
        }
}

_Noreturn void module_fail(Module *m, FailureKind kind, const char *format, ...)
{
        char text[REASON_MAX];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        int r = -ENOTCONN;
        if (m->link) {
                MessageFailed failed = {.kind = (uint8_t)kind, .reason = slice_of(text)};
                message_put_failed(link_begin(m->link, MESSAGE_FAILED), &failed);
                r = link_end(m->link, true);
        }
        if (r >= 0)
                module_drain(m);
        else
                (void)fprintf(stderr, "%s[%s]: %s\n", m->name, m->instance, text);
        _exit(EXIT_FAILURE);
}

void module_end_frame(Module *m)
{
        int r = link_end(m->link, false);

        if (r == -ECONNRESET)
                _exit(EXIT_FAILURE);
        if (r < 0)
                module_fail(m, FAILURE_WORLD, "cannot tell the hub: %s", strerror(-r));
}

void module_end_frame_lossy(Module *m)
{
        // Over the queue's limit nothing was sent; a broken link is told by closed().
        (void)!link_end(m->link, false);
}

void module_log(Module *m, int level, const char *message_id, const char *format, va_list ap)
{
        char text[LIMIT_LOG_TEXT];

        if (vsnprintf(text, sizeof text, format, ap) < 0)
                return;
        MessageLog log = {
                .level = (uint8_t)level,
                .message_id = slice_of(message_id ? message_id : ""),
                .event_id = SLICE_LIT(""),
                .text = slice_of(text),
        };
        message_put_log(link_begin(m->link, MESSAGE_LOG), &log);
        module_end_frame_lossy(m);
}

void module_logf(Module *m, int level, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        module_log(m, level, NULL, format, ap);
        va_end(ap);
}

void module_stats(Module *m, const json_t *object)
{
        _cleanup_(freep) char *text = json_dumps(object, JSON_COMPACT);

        if (!text || strlen(text) > LIMIT_STATS) {
                module_logf(m, LOG_WARNING, "statistics dropped: too long or no memory");
                return;
        }
        message_put_bytes(link_begin(m->link, MESSAGE_STATS), slice_of(text));
        module_end_frame_lossy(m);
}

void module_must(Module *m, int r, FailureKind kind, const Reason *reason)
{
        if (r < 0)
                module_fail(m, kind, "%s", reason->text[0] ? reason->text : strerror(-r));
}

void module_stopped(Module *m)
{
        if (m->stopped)
                return;
        m->stopped = true;
        module_drain(m);
        (void)sd_event_exit(m->loop, EXIT_SUCCESS);
}

int module_get_start(Module *m, Slice payload, MessageStart *ret, json_t **ret_options)
{
        int r = message_get_start(payload, ret);
        if (r < 0)
                return r;
        json_error_t error;
        *ret_options = json_loadb(ret->options.data ? ret->options.data : "", ret->options.len,
                JSON_REJECT_DUPLICATES, &error);
        if (!*ret_options || !json_is_object(*ret_options))
                module_fail(m, FAILURE_CONFIG, "the hub sent options that are no JSON object");
        if (ret->credentials_dir.len == 0)
                return 0;
        m->credentials_dir = strndup(ret->credentials_dir.data, ret->credentials_dir.len);
        if (m->credentials_dir)
                return 0;
        json_decref(*ret_options);
        return -ENOMEM;
}

static void module_greeted(Module *m, Slice payload)
{
        uint32_t protocol;
        Slice build, name;

        if (message_get_hello(payload, &protocol, &build, &name) < 0)
                module_fail(
                        m, FAILURE_CONFIG, "the hub's greeting cannot be read: another version?");
        if (protocol != LINK_PROTOCOL)
                module_fail(m, FAILURE_CONFIG,
                        "the hub speaks protocol %u, this program %u: restart belfryd", protocol,
                        LINK_PROTOCOL);
        if (!slice_eq_str(build, BELFRY_BUILD))
                module_fail(m, FAILURE_CONFIG,
                        "the hub is build %.*s, this program %s: restart belfryd", SLICE_ARG(build),
                        BELFRY_BUILD);
        m->greeted = true;
}

static int module_frame(Module *m, uint16_t type, Slice payload)
{
        const ModuleProgram *p = m->program;

        if (m->stopped)
                return 0;
        if (type == MESSAGE_START)
                return m->started ? -EBADMSG : p->start(m->owner, payload);
        if (type != MESSAGE_STOP)
                return m->started ? p->frame(m->owner, type, payload) : -EBADMSG;
        bool first = !m->stopping;
        m->stopping = true;
        if (!m->started)
                module_stopped(m);
        else if (first)
                p->stop(m->owner);
        return 0;
}

static int on_frame(Link *l, uint16_t type, Slice payload, void *userdata)
{
        Module *m = userdata;

        if (m->greeted == (type == MESSAGE_HELLO))
                module_fail(m, FAILURE_WORLD, "the hub sent message %u out of turn", type);
        if (type == MESSAGE_HELLO) {
                module_greeted(m, payload);
                return 0;
        }
        int r = module_frame(m, type, payload);
        if (r < 0)
                module_fail(m, FAILURE_WORLD, "message %u of the hub: %s", type, strerror(-r));
        return 0;
}

static void on_closed(Link *l, int error, const char *reason, void *userdata)
{
        Module *m = userdata;

        m->hub_gone = true;
        (void)sd_event_exit(m->loop, EXIT_FAILURE);
}

static int module_greet(Module *m)
{
        static const LinkHandlers handlers = {.frame = on_frame, .closed = on_closed};
        const LinkOptions options = {.max_frame = FRAME_FROM_HUB, .max_queue = QUEUE_TO_HUB};

        int r = sd_event_new(&m->loop);
        if (r < 0)
                return r;
        r = link_new(&m->link, m->loop, CHILD_FD_LINK, &options, &handlers, m);
        if (r < 0)
                return r;
        message_put_hello(link_begin(m->link, MESSAGE_HELLO), slice_of(BELFRY_BUILD),
                slice_of(m->program->description.name));
        return link_end(m->link, true);
}

// A sanitizer's shadow memory would count, all of it.
static void module_limit_memory(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        const struct rlimit limit = {LIMIT_MODULE_MEMORY, LIMIT_MODULE_MEMORY};

        (void)setrlimit(RLIMIT_DATA, &limit);
#endif
}

static void module_limit_files(uint64_t n)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > n)
                limit.rlim_max = n;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
}

// The hub's pid as the kernel wrote it into the socketpair: true even if the hub is dead by now.
static pid_t module_parent(void)
{
        struct ucred peer;
        socklen_t size = sizeof peer;

        if (getsockopt(CHILD_FD_LINK, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 0)
                return -1;
        return peer.pid;
}

static int module_child(Module *m)
{
        char missing[256];
        Reason reason = {""};

        (void)signal(SIGTERM, SIG_IGN);
        (void)signal(SIGINT, SIG_IGN);
        (void)signal(SIGPIPE, SIG_IGN);
        (void)prctl(PR_SET_NAME, m->name);
        module_limit_files(m->program->n_files);
        module_limit_memory();
        int first_free =
                CHILD_FD_FIRST_FREE + (m->program->description.doors ? (int)CHILD_DOORS : 0);
        int caged = cage_enter(m->program->cage, CHILD_FD_CAGE, CHILD_FD_FAMILY, first_free,
                module_parent(), missing, sizeof missing, &reason);
        int r = module_greet(m);
        if (r < 0)
                module_fail(m, FAILURE_WORLD, "cannot speak to the hub: %s", strerror(-r));
        if (caged < 0)
                module_fail(m, FAILURE_WORLD, "cannot close the cage: %s", reason.text);
        if (missing[0])
                module_logf(m, LOG_NOTICE, "the kernel lacks parts of the cage: %s", missing);

        r = sd_event_loop(m->loop);
        if (m->hub_gone)
                _exit(EXIT_FAILURE);
        if (r < 0)
                module_fail(m, FAILURE_WORLD, "the event loop failed: %s", strerror(-r));
        m->program->free(m->owner);
        free(m->credentials_dir);
        m->link = link_free(m->link);
        m->loop = sd_event_unref(m->loop);
        return r;
}

int module_main(Module *m, const ModuleProgram *program, void *owner, int argc, char **argv)
{
        *m = (Module){.program = program, .owner = owner, .instance = argc > 1 ? argv[1] : ""};
        (void)snprintf(m->name, sizeof m->name, "belfry-%s-%s",
                program->description.kind == MODULE_SOURCE ? "source" : "sink",
                program->description.name);

        int r = module_usage(program, m->name, argc, argv);
        if (r >= 0)
                return r;
        if (module_parent() < 0) {
                (void)fprintf(stderr, "%s: belfryd starts this program; see %s --help\n", m->name,
                        m->name);
                return 2;
        }
        return module_child(m);
}
