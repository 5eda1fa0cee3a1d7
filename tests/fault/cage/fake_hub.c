// SPDX-License-Identifier: MIT
// See fake_hub.h.

#include "fake_hub.h"

#include "build_id.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

char self_dir[PATH_MAX], work_dir[] = "/tmp/belfry-cage-XXXXXX";
char inside[PATH_MAX], outside[PATH_MAX];
int family_fd = -1;
static char abstract_name[64];
static int http_fd = -1, http_port;

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

void hub_say_hello(FakeHub *h, const char *build)
{
        message_put_hello(link_begin(h->link, MESSAGE_HELLO), slice_of(build), SLICE_NULL);
        assert_int_equal(link_end(h->link, true), 0);
}

void hub_start(FakeHub *h, uint64_t credit, const char *options)
{
        const MessageStart m = {.credit = credit,
                .max_event = 64 * 1024,
                .options = slice_of(options),
                .credentials_dir = SLICE_LIT(""),
                .hostname = SLICE_LIT("host.example")};
        message_put_start(link_begin(h->link, MESSAGE_START), &m);
        assert_int_equal(link_end(h->link, true), 0);
}

int program_open(const char *name)
{
        char path[PATH_MAX + 64];

        (void)snprintf(path, sizeof path, "%s/%s", self_dir, name);
        return open(path, O_PATH | O_CLOEXEC);
}

int hub_birth(FakeHub *h, const char *name, ModuleKind kind, Reason *reason)
{
        static const LinkHandlers handlers = {.frame = on_frame, .closed = on_closed};
        const LinkOptions o = {.max_frame = 4u << 20, .max_queue = 64u << 20};
        const ModuleDescription d = {.kind = kind,
                .options = probe_options,
                .n_options = n_probe_options,
                .network = kind == MODULE_SINK};
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

void hub_open(FakeHub *h, const char *name, ModuleKind kind)
{
        Reason reason = {""};

        if (hub_birth(h, name, kind, &reason) < 0)
                fail_msg("%s", reason.text);
        hub_say_hello(h, BELFRY_BUILD);
}

// The next frame of this type, others skipped; waits for it.
Slice hub_wait(FakeHub *h, uint16_t type)
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
void hub_drain(FakeHub *h)
{
        while (sd_event_run(h->event, 200000) > 0)
                ;
}

int hub_reap(FakeHub *h)
{
        siginfo_t si = {0};
        struct pollfd p = {.fd = h->child.pidfd, .events = POLLIN};

        if (poll(&p, 1, PATIENCE_SEC * 1000) != 1)
                fail_msg("process %d does not end", h->child.pid);
        assert_int_equal(waitid(P_PIDFD, (id_t)h->child.pidfd, &si, WEXITED), 0);
        assert_int_equal(si.si_pid, h->child.pid);
        return si.si_code == CLD_EXITED ? si.si_status : -si.si_status;
}

void hub_close(FakeHub *h)
{
        h->link = link_free(h->link);
        h->event = sd_event_unref(h->event);
        for (unsigned i = 0; i < h->n; i++)
                free((char *)(uintptr_t)h->frames[i].payload.data);
        if (h->child.pidfd >= 0)
                (void)close(h->child.pidfd);
}

void hub_stop(FakeHub *h)
{
        assert_int_equal(link_send(h->link, MESSAGE_STOP, SLICE_NULL), 0);
        while (!h->closed)
                assert_true(sd_event_run(h->event, 100000) >= 0);
        assert_int_equal(hub_reap(h), 0);
        hub_close(h);
}

char *options_text(const char *mode)
{
        json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:i}", "inside", inside, "outside", outside,
                "abstract", abstract_name, "mode", mode, "port", http_port);
        char *text = json_dumps(j, 0);
        json_decref(j);
        return text;
}

void send_endpoint(FakeHub *h, uint32_t number, const char *options)
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

void write_file(const char *path, mode_t mode)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "not a program", 13), 13);
        (void)close(fd);
}

int fixture_setup(void **state)
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

int fixture_teardown(void **state)
{
        char path[PATH_MAX + 64];
        static const char *const files[] = {"inside/file", "outside", "family.lock"};

        for (size_t i = 0; i < N_ELEMENTS(files); i++) {
                (void)snprintf(path, sizeof path, "%s/%s", work_dir, files[i]);
                (void)unlink(path);
        }
        (void)rmdir(inside);
        spawn_stop();
        return rmdir(work_dir);
}
