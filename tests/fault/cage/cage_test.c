// SPDX-License-Identifier: MIT
// Each process kind tries each thing its cage forbids and fails, and does what it must and succeeds:
// real births, real kernel, a small hub of our own at the other end of the link. Also what the
// framework promises on that link: greeting, credit, pauses, state, stop, and every way to die.

#include "probe.h"

#include "base/clock.h"
#include "base/limits.h"
#include "hub/spawn.h"
#include "link/message.h"
#include "module/cage.h"
#include "module/cage_internal.h"
#include "module/verdict.h"

// cmocka wants these before it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { PATIENCE_SEC = 20 };

static char self_dir[PATH_MAX], work_dir[] = "/tmp/belfry-cage-XXXXXX";
static char inside[PATH_MAX], outside[PATH_MAX], abstract_name[64];
static int family_fd = -1, http_fd = -1, http_port;

// ---- a hub in small
typedef struct Frame {
        uint16_t type;
        Slice payload; // malloced
} Frame;

typedef struct FakeHub {
        sd_event *event;
        Link *link;
        SpawnedChild child;
        Frame frames[8192];
        unsigned n, read;
        bool closed;
} FakeHub;

static int on_frame(Link *l, uint16_t type, Slice payload, void *userdata)
{
        FakeHub *h = userdata;
        char *copy = malloc(payload.len + 1);

        if (!copy || h->n == N_ELEMENTS(h->frames))
                abort();
        if (payload.len)
                memcpy(copy, payload.data, payload.len);
        h->frames[h->n++] = (Frame){type, {copy, payload.len}};
        return 0;
}

static void on_closed(Link *l, int error, const char *reason, void *userdata)
{
        ((FakeHub *)userdata)->closed = true;
}

static void hub_say_hello(FakeHub *h, const char *build)
{
        message_put_hello(link_begin(h->link, MESSAGE_HELLO), slice_of(build), SLICE_NULL);
        assert_int_equal(link_end(h->link, true), 0);
}

static void hub_start(FakeHub *h, uint64_t credit, const char *options)
{
        const MessageStart m = {.credit = credit,
                .max_event = 64 * 1024,
                .options = slice_of(options),
                .credentials_dir = SLICE_LIT(""),
                .hostname = SLICE_LIT("host.example")};
        message_put_start(link_begin(h->link, MESSAGE_START), &m);
        assert_int_equal(link_end(h->link, true), 0);
}

static int program_open(const char *name)
{
        char path[PATH_MAX + 64];

        (void)snprintf(path, sizeof path, "%s/%s", self_dir, name);
        return open(path, O_PATH | O_CLOEXEC);
}

static int hub_birth(FakeHub *h, const char *name, ModuleKind kind, Reason *reason)
{
        static const LinkHandlers handlers = {.frame = on_frame, .closed = on_closed};
        const LinkOptions o = {.max_frame = 4u << 20, .max_queue = 64u << 20};
        const ModuleDescription d = {
                .kind = kind, .options = probe_options, .n_options = n_probe_options};
        CagePaths paths = {0};
        json_t *options = json_pack("{s:s}", "inside", inside);

        memset(h, 0, sizeof *h);
        h->child = (SpawnedChild){.pid = -1, .pidfd = -1, .link_fd = -1};
        assert_int_equal(cage_paths_from_options(&paths, &d, options, NULL, reason), 0);
        _cleanup_(closep) int program = program_open(name);
        int r = spawn_child(&(SpawnRequest){.program_fd = program,
                                    .argv0 = name,
                                    .instance = "test",
                                    .cage = &paths,
                                    .family_fd = family_fd},
                &h->child, reason);
        cage_paths_clear(&paths);
        json_decref(options);
        if (r < 0)
                return r;
        assert_true(sd_event_new(&h->event) >= 0);
        assert_true(link_new(&h->link, h->event, h->child.link_fd, &o, &handlers, h) >= 0);
        return 0;
}

static void hub_open(FakeHub *h, const char *name, ModuleKind kind)
{
        Reason reason = {""};

        if (hub_birth(h, name, kind, &reason) < 0)
                fail_msg("%s", reason.text);
        hub_say_hello(h, BELFRY_BUILD);
}

// The next frame of this type, others skipped; waits for it.
static Slice hub_wait(FakeHub *h, uint16_t type)
{
        uint64_t end = clock_mono_usec() + PATIENCE_SEC * USEC_PER_SEC;

        for (;;) {
                while (h->read < h->n) {
                        const Frame *f = &h->frames[h->read++];
                        if (f->type == type)
                                return f->payload;
                        Slice reason;
                        if (f->type == MESSAGE_LOG)
                                continue;
                        if (f->type == MESSAGE_FAILED) {
                                MessageFailed m;
                                assert_int_equal(message_get_failed(f->payload, &m), 0);
                                fail_msg("failed: %.*s", SLICE_ARG(m.reason));
                        }
                        if (f->type == MESSAGE_DEGRADED)
                                assert_int_equal(message_get_bytes(f->payload, &reason), 0);
                }
                if (h->closed)
                        fail_msg("the child went away before message %u", type);
                if (clock_mono_usec() > end)
                        fail_msg("no message %u", type);
                assert_true(sd_event_run(h->event, 100000) >= 0);
        }
}

// All that comes until the link is quiet for a while.
static void hub_drain(FakeHub *h)
{
        while (sd_event_run(h->event, 200000) > 0)
                ;
}

static int hub_reap(FakeHub *h)
{
        siginfo_t si = {0};
        struct pollfd p = {.fd = h->child.pidfd, .events = POLLIN};

        if (poll(&p, 1, PATIENCE_SEC * 1000) != 1)
                fail_msg("process %d does not end", h->child.pid);
        assert_int_equal(waitid(P_PIDFD, (id_t)h->child.pidfd, &si, WEXITED), 0);
        assert_int_equal(si.si_pid, h->child.pid);
        return si.si_code == CLD_EXITED ? si.si_status : -si.si_status;
}

static void hub_close(FakeHub *h)
{
        h->link = link_free(h->link);
        h->event = sd_event_unref(h->event);
        for (unsigned i = 0; i < h->n; i++)
                free((char *)(uintptr_t)h->frames[i].payload.data);
        if (h->child.pidfd >= 0)
                (void)close(h->child.pidfd);
}

static void hub_stop(FakeHub *h)
{
        assert_int_equal(link_send(h->link, MESSAGE_STOP, SLICE_NULL), 0);
        while (!h->closed)
                assert_true(sd_event_run(h->event, 100000) >= 0);
        assert_int_equal(hub_reap(h), 0);
        hub_close(h);
}

static char *options_text(const char *mode)
{
        json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:i}", "inside", inside, "outside", outside,
                "abstract", abstract_name, "mode", mode, "port", http_port);
        char *text = json_dumps(j, 0);
        json_decref(j);
        return text;
}

static void durable(FakeHub *h, uint64_t batch)
{
        message_put_u64(link_begin(h->link, MESSAGE_DURABLE), batch);
        assert_int_equal(link_end(h->link, true), 0);
}

// ---- the walls
static void check_report(const json_t *report, const char *comm, int files)
{
        const char *name;
        json_t *value;
        unsigned wrong = 0, n = 0;

        json_object_foreach(json_object_get(report, "forbidden"), name, value)
        {
                json_int_t e = json_integer_value(value);
                n++;
                if (e == EPERM || e == EACCES)
                        continue;
                print_error("%s got past the cage: %s\n", name, e ? strerror((int)e) : "it worked");
                wrong++;
        }
        json_object_foreach(json_object_get(report, "allowed"), name, value)
        {
                n++;
                if (json_integer_value(value) == 0)
                        continue;
                print_error("%s should work: %s\n", name, strerror((int)json_integer_value(value)));
                wrong++;
        }
        assert_true(n > 100);
        assert_int_equal(wrong, 0);

        const json_t *facts = json_object_get(report, "facts"),
                     *fds = json_object_get(facts, "fds");
        assert_string_equal(json_string_value(json_object_get(facts, "comm")), comm);
        assert_int_equal(json_integer_value(json_object_get(facts, "core")), 0);
        assert_int_equal(json_integer_value(json_object_get(facts, "dumpable")), 0);
        assert_int_equal(json_integer_value(json_object_get(facts, "no_new_privs")), 1);
        assert_int_equal(json_integer_value(json_object_get(facts, "files")), files);
        if (!CAGE_SANITIZER)
                assert_int_equal(json_integer_value(json_object_get(facts, "environment")), 0);
        // 0-2, link, family.lock, and the loop's own epoll and timer descriptors: nothing of ours.
        assert_true(json_array_size(fds) >= 5 && json_array_size(fds) <= 10);
}

static void test_source_walls(void **state)
{
        FakeHub h;
        _cleanup_(freep) char *options = options_text("probe");
        MessageEvents m;
        MessageEvent e;
        MessageStateChange c;

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, LIMIT_SOURCE_CREDIT, options);
        Slice p = hub_wait(&h, MESSAGE_EVENTS);
        assert_int_equal(message_get_events(p, &m), 0);
        assert_int_equal(m.batch, 1);
        assert_true(m.has_position && slice_eq_str(m.position, "1"));
        assert_int_equal(m.n_events, 1);
        assert_int_equal(m.n_changes, 2);
        assert_true(message_next_event(&m, &e) >= 0);
        assert_true(slice_eq_str(e.type, "probe.result"));
        json_t *report = json_loadb(e.data.data, e.data.len, 0, NULL);
        assert_non_null(report);
        check_report(report, "belfry-source-p", 4096);
        json_decref(report);
        assert_true(message_next_change(&m, &c) >= 0);
        assert_true(c.put && slice_eq_str(c.key, "key"));
        assert_true(message_next_change(&m, &c) >= 0);
        assert_true(!c.put && slice_eq_str(c.key, "gone"));
        (void)hub_wait(&h, MESSAGE_READY);
        hub_stop(&h);
}

static void send_endpoint(FakeHub *h, uint32_t number, const char *options)
{
        const MessageEndpoint m = {.endpoint = number,
                .generation = 1,
                .name = SLICE_LIT("ops"),
                .options = slice_of(options)};
        message_put_endpoint(link_begin(h->link, MESSAGE_ENDPOINT), &m);
        assert_int_equal(link_end(h->link, true), 0);
}

static void *http_server(void *arg)
{
        static const char answer[] = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        char sink[4096];

        for (;;) {
                int fd = accept(http_fd, NULL, NULL);
                if (fd < 0)
                        return NULL;
                if (recv(fd, sink, sizeof sink, 0) > 0)
                        (void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
                (void)close(fd);
        }
}

static void test_sink_walls(void **state)
{
        FakeHub h;
        _cleanup_(freep) char *options = options_text("probe");
        MessageEndpointState s;
        Slice stats;

        hub_open(&h, "belfry-sink-probe", MODULE_SINK);
        hub_start(&h, 64, "{}");
        (void)hub_wait(&h, MESSAGE_READY);
        send_endpoint(&h, 1, options);
        assert_int_equal(message_get_bytes(hub_wait(&h, MESSAGE_STATS), &stats), 0);
        json_t *report = json_loadb(stats.data, stats.len, 0, NULL);
        assert_non_null(report);
        check_report(report, "belfry-sink-pro", 8192);
        assert_non_null(json_object_get(json_object_get(report, "allowed"), "curl"));
        json_decref(report);
        assert_int_equal(message_get_endpoint_state(hub_wait(&h, MESSAGE_ENDPOINT_STATE), &s), 0);
        assert_true(s.endpoint == 1 && s.reason.len == 0);
        hub_stop(&h);
}

// What the hub may not, in a child of its own: 0 refused, else a name on standard error.
static int hub_tries(void)
{
        static const int families[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};
        static const long calls[] = {SYS_mount, SYS_ptrace, SYS_bpf, SYS_io_uring_setup, SYS_chroot,
                SYS_process_vm_readv, SYS_setns, SYS_unshare, SYS_add_key, SYS_open_by_handle_at,
                SYS_userfaultfd, SYS_setuid, SYS_init_module, SYS_seccomp, SYS_personality};
        Reason reason = {""};
        int wrong = 0;

        if (cage_enter_hub(&reason) < 0) {
                print_error("%s\n", reason.text);
                return 99;
        }
        for (size_t i = 0; i < N_ELEMENTS(families); i++)
                if (socket(families[i], SOCK_DGRAM, 0) >= 0 || errno != EPERM)
                        wrong++;
        for (size_t i = 0; i < N_ELEMENTS(calls); i++) {
                if (CAGE_SANITIZER && calls[i] == SYS_ptrace)
                        continue;
                if (syscall(calls[i], -1, 0, 0, 0, 0) >= 0 || errno != EPERM) {
                        print_error("call %ld got past: %s\n", calls[i], strerror(errno));
                        wrong++;
                }
        }
        // And what it needs: files, a socket of its own, a child that executes, signals to it.
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/hub", work_dir);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), status = -1;
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        (void)snprintf(a.sun_path, sizeof a.sun_path, "%s/control", work_dir);
        int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || fallocate(fd, 0, 0, 4096) < 0 || fdatasync(fd) < 0 || s < 0 ||
                bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 1) < 0 ||
                chmod(a.sun_path, 0660) < 0 || unlink(a.sun_path) < 0 || unlink(path) < 0)
                wrong += 100;
        pid_t pid = fork();
        if (pid == 0) {
                (void)execl("/bin/true", "true", NULL);
                _exit(1);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
                wrong += 50;
        return wrong > 250 ? 250 : wrong;
}

static void test_hub_walls(void **state)
{
        int status = -1;
        pid_t pid = fork();

        if (pid == 0)
                _exit(hub_tries());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

// The reason why births happen elsewhere: a caged hub has sinks that reach the network.
static int caged_hub_births(void)
{
        FakeHub h;
        Reason reason = {""};
        _cleanup_(freep) char *options = options_text("probe");

        spawn_stop();
        if (spawn_start(self_dir, &reason) < 0 || cage_enter_hub(&reason) < 0)
                return 98;
        hub_open(&h, "belfry-sink-probe", MODULE_SINK);
        hub_start(&h, 64, "{}");
        send_endpoint(&h, 1, options);
        Slice stats;
        if (message_get_bytes(hub_wait(&h, MESSAGE_STATS), &stats) < 0)
                return 97;
        json_t *report = json_loadb(stats.data, stats.len, 0, NULL);
        check_report(report, "belfry-sink-pro", 8192);
        json_decref(report);
        hub_stop(&h);
        return 0;
}

static void test_birth_from_cage(void **state)
{
        int status = -1;
        pid_t pid = fork();

        if (pid == 0)
                _exit(caged_hub_births());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// ---- the link
static uint64_t count_batches(FakeHub *h, uint64_t *bytes)
{
        uint64_t n = 0;

        hub_drain(h);
        for (; h->read < h->n; h->read++)
                if (h->frames[h->read].type == MESSAGE_EVENTS) {
                        n++;
                        *bytes += h->frames[h->read].payload.len;
                }
        return n;
}

static void test_credit(void **state)
{
        enum { CREDIT = 1 << 20 };
        FakeHub h;
        _cleanup_(freep) char *options = options_text("flood");
        uint64_t bytes = 0, more = 0;

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, CREDIT, options);
        uint64_t n = count_batches(&h, &bytes);
        assert_true(n > 10 && bytes <= CREDIT);
        durable(&h, n / 4); // less than half: it stays silent
        assert_int_equal(count_batches(&h, &more), 0);
        durable(&h, n);
        assert_true(count_batches(&h, &more) >= n - 1);
        // While paused credit alone wakes nobody; afterwards it does.
        assert_int_equal(link_send(h.link, MESSAGE_PAUSE, SLICE_NULL), 0);
        durable(&h, n + 5);
        more = 0;
        assert_int_equal(count_batches(&h, &more), 0);
        durable(&h, n + n);
        assert_int_equal(count_batches(&h, &more), 0);
        assert_int_equal(link_send(h.link, MESSAGE_RESUME, SLICE_NULL), 0);
        assert_true(count_batches(&h, &more) > 10);
        hub_stop(&h);
}

// One batch over the credit, when nothing is outstanding; and an event that cannot cross.
static void test_oversized(void **state)
{
        FakeHub h;
        _cleanup_(freep) char *options = options_text("big");
        MessageEvents m;
        MessageEvent e;
        Slice from;
        uint32_t max;

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, 10, options);
        assert_int_equal(message_get_events(hub_wait(&h, MESSAGE_EVENTS), &m), 0);
        assert_true(message_next_event(&m, &e) >= 0);
        json_t *j = json_loadb(e.data.data, e.data.len, 0, NULL);
        assert_true(json_is_true(json_object_get(j, "oversized")));
        assert_int_equal(json_integer_value(json_object_get(j, "bytes")), 64 * 1024 + 10);
        assert_int_equal(strlen(json_string_value(json_object_get(j, "sha256"))), 64);
        json_decref(j);

        assert_int_equal(message_get_state_get(hub_wait(&h, MESSAGE_STATE_GET), &from, &max), 0);
        assert_true(from.len == 0 && max == 4096);
        Buf *b = link_begin(h.link, MESSAGE_STATE);
        wire_put_u8(b, false);
        for (int i = 0; i < 2; i++) {
                wire_put_bytes(b, SLICE_LIT("key"));
                wire_put_bytes(b, SLICE_LIT("value"));
        }
        assert_int_equal(link_end(h.link, true), 0);
        (void)hub_wait(&h, MESSAGE_READY);
        hub_stop(&h);
}

static void send_attempt(FakeHub *h, uint64_t ticket, uint32_t endpoint, const char *method)
{
        const MessageAttempt a = {.ticket = ticket,
                .endpoint = endpoint,
                .generation = 1,
                .method = slice_of(method),
                .id = SLICE_LIT("id"),
                .body = SLICE_LIT("{}")};
        message_put_attempt(link_begin(h->link, MESSAGE_ATTEMPT), &a);
        assert_int_equal(link_end(h->link, false), 0);
}

static void test_attempts(void **state)
{
        enum { N = 4000 };
        FakeHub h;
        _cleanup_(freep) char *quick = options_text("quick");
        _cleanup_(freep) char *refuse = options_text("refuse");
        MessageEndpointState s;
        MessageVerdict v;
        uint64_t ticket;
        uint32_t wrong_type = 0;

        hub_open(&h, "belfry-sink-probe", MODULE_SINK);
        hub_start(&h, N, "{}");
        send_endpoint(&h, 1, quick);
        assert_int_equal(message_get_endpoint_state(hub_wait(&h, MESSAGE_ENDPOINT_STATE), &s), 0);
        assert_int_equal(s.reason.len, 0);
        send_endpoint(&h, 2, refuse);
        assert_int_equal(message_get_endpoint_state(hub_wait(&h, MESSAGE_ENDPOINT_STATE), &s), 0);
        assert_true(s.endpoint == 2 && slice_eq_str(s.reason, "no credential"));
        send_endpoint(&h, 3, "{\"port\": \"no number\"}");
        assert_int_equal(message_get_endpoint_state(hub_wait(&h, MESSAGE_ENDPOINT_STATE), &s), 0);
        assert_true(s.endpoint == 3 && s.reason.len > 0);

        uint64_t begin = clock_mono_usec();
        for (uint64_t i = 1; i <= N; i++)
                send_attempt(&h, i, 1, "POST");
        for (uint64_t i = 1; i <= N; i++) {
                assert_int_equal(message_get_verdict(hub_wait(&h, MESSAGE_VERDICT), &v), 0);
                wrong_type += v.ticket != i || v.class != VERDICT_DELIVERED;
        }
        print_message("%d attempts answered in %llu us\n", N,
                (unsigned long long)(clock_mono_usec() - begin));
        assert_int_equal(wrong_type, 0);

        send_attempt(&h, N + 1, 2, "POST");
        assert_int_equal(message_get_verdict(hub_wait(&h, MESSAGE_VERDICT), &v), 0);
        assert_true(v.ticket == N + 1 && v.class == VERDICT_ENDPOINT);
        assert_true(slice_eq_str(v.detail, "no credential"));
        send_attempt(&h, N + 2, 1, "UNSENT");
        assert_int_equal(message_get_u64(hub_wait(&h, MESSAGE_UNSENT), &ticket), 0);
        assert_int_equal(ticket, N + 2);
        message_put_u64(link_begin(h.link, MESSAGE_CANCEL), N + 3);
        assert_int_equal(link_end(h.link, true), 0);
        assert_int_equal(message_get_u64(hub_wait(&h, MESSAGE_UNSENT), &ticket), 0);
        assert_int_equal(ticket, N + 3);
        message_put_u32(link_begin(h.link, MESSAGE_FORGET), 2);
        assert_int_equal(link_end(h.link, true), 0);
        hub_stop(&h);
}

// ---- ends
static Slice expect_failure(FakeHub *h, uint8_t kind)
{
        MessageFailed m;

        while (!h->closed)
                assert_true(sd_event_run(h->event, 100000) >= 0);
        for (unsigned i = 0; i < h->n; i++)
                if (h->frames[i].type == MESSAGE_FAILED) {
                        assert_int_equal(message_get_failed(h->frames[i].payload, &m), 0);
                        assert_int_equal(m.kind, kind);
                        assert_int_equal(hub_reap(h), 1);
                        return m.reason;
                }
        fail_msg("no reason was given");
        return SLICE_NULL;
}

static void test_other_build(void **state)
{
        FakeHub h;
        Reason reason = {""};

        assert_int_equal(hub_birth(&h, "belfry-source-probe", MODULE_SOURCE, &reason), 0);
        hub_say_hello(&h, "another-build");
        Slice why = expect_failure(&h, FAILURE_CONFIG);
        assert_non_null(memmem(why.data, why.len, "another-build", 13));
        hub_close(&h);
}

static void test_start_fails(void **state)
{
        FakeHub h;
        _cleanup_(freep) char *options = options_text("fail");

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, 1000, options);
        assert_true(slice_eq_str(expect_failure(&h, FAILURE_WORLD), "the world is not ready"));
        hub_close(&h);

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, 1000, "{\"port\": \"no number\"}");
        assert_true(expect_failure(&h, FAILURE_CONFIG).len > 0);
        hub_close(&h);
}

static void test_hub_gone(void **state)
{
        FakeHub h;
        _cleanup_(freep) char *options = options_text("hang");

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, 1000000, options);
        (void)hub_wait(&h, MESSAGE_READY);
        assert_int_equal(pidfd_send_signal(h.child.pidfd, SIGTERM, NULL, 0), 0);
        assert_int_equal(pidfd_send_signal(h.child.pidfd, SIGINT, NULL, 0), 0);
        // Stopped while it hangs, it lives on: the signals above did nothing either.
        assert_int_equal(link_send(h.link, MESSAGE_STOP, SLICE_NULL), 0);
        hub_drain(&h);
        assert_false(h.closed);
        h.link = link_free(h.link);
        assert_int_equal(hub_reap(&h), 1);
        hub_close(&h);
}

static void test_abort(void **state)
{
        FakeHub h;
        _cleanup_(freep) char *options = options_text("crash");

        hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
        hub_start(&h, 1000, options);
        int status = hub_reap(&h); // a sanitizer turns the signal into an exit status
        assert_true(status == -SIGABRT || (CAGE_SANITIZER && status != 0));
        hub_close(&h);
}

static void test_no_birth(void **state)
{
        SpawnedChild c = {.pid = -7};
        Reason reason = {""};
        SpawnRequest r = {.argv0 = "belfry-source-probe", .instance = "x", .family_fd = family_fd};

        // Another program, another name, another directory: refused before anything is executed.
        _cleanup_(closep) int other = open("/bin/true", O_PATH | O_CLOEXEC);
        r.program_fd = other;
        assert_int_equal(spawn_child(&r, &c, &reason), -EPERM);
        _cleanup_(closep) int sink = program_open("belfry-sink-probe");
        r.program_fd = sink;
        assert_int_equal(spawn_child(&r, &c, &reason), -EPERM);
        r.argv0 = "true";
        assert_int_equal(spawn_child(&r, &c, &reason), -EPERM);
        // A program that cannot be executed: its errno, and no zombie.
        _cleanup_(closep) int broken = program_open("belfry-source-broken");
        r.program_fd = broken;
        r.argv0 = "belfry-source-broken";
        assert_int_equal(spawn_child(&r, &c, &reason), -ENOEXEC);
        assert_non_null(strstr(reason.text, "belfry-source-broken"));
        assert_int_equal(c.pid, -7);
        assert_int_equal(waitid(P_ALL, 0, &(siginfo_t){0}, WEXITED | WNOHANG), 0);
}

// ---- the family
static pid_t holder(bool stubborn)
{
        int ready[2];
        char c;

        assert_int_equal(pipe(ready), 0);
        pid_t pid = fork();
        if (pid == 0) {
                struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
                (void)fcntl(family_fd, F_SETLK, &l);
                (void)!write(ready[1], "x", 1);
                if (stubborn)
                        for (;;)
                                (void)pause();
                (void)poll(NULL, 0, 300);
                _exit(0);
        }
        assert_int_equal(read(ready[0], &c, 1), 1);
        (void)close(ready[0]);
        (void)close(ready[1]);
        return pid;
}

static void test_orphans(void **state)
{
        Reason reason = {""};
        int status;

        uint64_t begin = clock_mono_usec();
        assert_int_equal(family_lock_reap_orphans(family_fd, &reason), 0);
        assert_true(clock_mono_usec() - begin < USEC_PER_SEC);

        pid_t leaves = holder(false);
        begin = clock_mono_usec();
        assert_int_equal(family_lock_reap_orphans(family_fd, &reason), 0);
        assert_true(clock_mono_usec() - begin < 2 * USEC_PER_SEC);
        assert_int_equal(waitpid(leaves, &status, 0), leaves);
        assert_true(WIFEXITED(status));

        pid_t a = holder(true), b = holder(true);
        begin = clock_mono_usec();
        assert_int_equal(family_lock_reap_orphans(family_fd, &reason), 0);
        uint64_t took = clock_mono_usec() - begin;
        assert_true(took >= 2 * USEC_PER_SEC && took < 10 * USEC_PER_SEC);
        assert_int_equal(waitpid(a, &status, 0), a);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(waitpid(b, &status, 0), b);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

// The hub dies by kill -9: its child dies with it, though it hangs and reads nothing.
static void test_no_orphan(void **state)
{
        int tell[2], status;
        pid_t child = -1;

        assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
        assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
        pid_t hub = fork();
        if (hub == 0) {
                FakeHub h;
                Reason reason = {""};
                _cleanup_(freep) char *options = options_text("hang");
                spawn_stop();
                if (spawn_start(self_dir, &reason) < 0)
                        _exit(1);
                hub_open(&h, "belfry-source-probe", MODULE_SOURCE);
                hub_start(&h, 1000000, options);
                (void)hub_wait(&h, MESSAGE_READY);
                (void)!write(tell[1], &h.child.pid, sizeof h.child.pid);
                for (;;)
                        (void)pause();
        }
        assert_int_equal(read(tell[0], &child, sizeof child), sizeof child);
        _cleanup_(closep) int pidfd = pidfd_open(child, 0);
        assert_true(pidfd >= 0);
        // The child holds the family's lock, and the lock names it.
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        assert_int_equal(fcntl(family_fd, F_GETLK, &l), 0);
        assert_int_equal(l.l_type, F_RDLCK);
        assert_int_equal(l.l_pid, child);
        assert_int_equal(kill(hub, SIGKILL), 0);
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE_SEC * 1000), 1);
        assert_int_equal(waitpid(hub, &status, 0), hub);
        assert_int_equal(waitpid(child, &status, 0), child);
        // The hub's births process too; ours is the only child left alive.
        assert_true(waitpid(-1, &status, 0) > 0);
        assert_true(WIFSIGNALED(status) || WIFEXITED(status));
        assert_int_equal(waitpid(-1, &status, WNOHANG), 0);
        (void)close(tell[0]);
        (void)close(tell[1]);
}

static void write_file(const char *path, mode_t mode)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "not a program", 13), 13);
        (void)close(fd);
}

static int setup(void **state)
{
        char exe[PATH_MAX], path[PATH_MAX + 64];
        Reason reason = {""};
        pthread_t t;
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct sockaddr_un u = {.sun_family = AF_UNIX};
        socklen_t size = sizeof a;

        ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
        exe[n] = '\0';
        (void)snprintf(self_dir, sizeof self_dir, "%s", dirname(exe));
        assert_non_null(mkdtemp(work_dir));
        (void)snprintf(inside, sizeof inside, "%s/inside", work_dir);
        (void)snprintf(outside, sizeof outside, "%s/outside", work_dir);
        assert_int_equal(mkdir(inside, 0700), 0);
        write_file(outside, 0600);
        (void)snprintf(path, sizeof path, "%s/file", inside);
        write_file(path, 0600);
        (void)snprintf(path, sizeof path, "%s/belfry-source-broken", self_dir);
        write_file(path, 0700);
        assert_int_equal(spawn_start(self_dir, &reason), 0);
        assert_int_equal(family_lock_open(work_dir, &family_fd, &reason), 0);

        http_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(http_fd, (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(listen(http_fd, 16), 0);
        assert_int_equal(getsockname(http_fd, (struct sockaddr *)&a, &size), 0);
        http_port = ntohs(a.sin_port);
        assert_int_equal(pthread_create(&t, NULL, http_server, NULL), 0);
        (void)pthread_detach(t);

        (void)snprintf(abstract_name, sizeof abstract_name, "belfry-cage-%d", getpid());
        memcpy(u.sun_path + 1, abstract_name, strlen(abstract_name));
        static int abstract_fd;
        abstract_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        return bind(abstract_fd, (struct sockaddr *)&u,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                                   strlen(abstract_name))) < 0 ||
               listen(abstract_fd, 4) < 0;
}

static int teardown(void **state)
{
        char path[PATH_MAX + 64];
        static const char *const files[] = {"inside/file", "outside", "family.lock"};

        for (size_t i = 0; i < N_ELEMENTS(files); i++) {
                (void)snprintf(path, sizeof path, "%s/%s", work_dir, files[i]);
                (void)unlink(path);
        }
        (void)rmdir(inside);
        (void)snprintf(path, sizeof path, "%s/belfry-source-broken", self_dir);
        (void)unlink(path);
        spawn_stop();
        return rmdir(work_dir);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_source_walls),
                cmocka_unit_test(test_sink_walls),
                cmocka_unit_test(test_hub_walls),
                cmocka_unit_test(test_birth_from_cage),
                cmocka_unit_test(test_credit),
                cmocka_unit_test(test_oversized),
                cmocka_unit_test(test_attempts),
                cmocka_unit_test(test_other_build),
                cmocka_unit_test(test_start_fails),
                cmocka_unit_test(test_hub_gone),
                cmocka_unit_test(test_abort),
                cmocka_unit_test(test_no_birth),
                cmocka_unit_test(test_orphans),
                cmocka_unit_test(test_no_orphan),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
