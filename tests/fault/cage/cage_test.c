// SPDX-License-Identifier: MIT
// Each process kind tries each thing its cage forbids and fails, and does what it must and succeeds:
// real births, real kernel. And what ties a family together: who is born, who is not, who is reaped,
// and that nobody outlives the hub.

#include "fake_hub.h"

#include "module/cage.h"
#include "module/cage_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
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

// What the births process may not, and with it whatever it executes: 0 refused.
static int births_try(void)
{
        static const int families[] = {AF_PACKET, AF_ALG, AF_VSOCK, AF_X25, AF_BLUETOOTH};
        static const long calls[] = {SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_setns,
                SYS_unshare, SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_mknodat, SYS_bpf,
                SYS_io_uring_setup, SYS_perf_event_open, SYS_userfaultfd, SYS_init_module,
                SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_reboot, SYS_swapon,
                SYS_settimeofday, SYS_clock_settime, SYS_sethostname, SYS_syslog, SYS_acct,
                SYS_quotactl, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp,
                SYS_setuid, SYS_setgid, SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_add_key,
                SYS_keyctl, SYS_request_key};
        static const unsigned long namespaces[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET,
                CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP};
        int wrong = 0, status = -1;

        if (cage_enter_births() < 0)
                return 99;
        for (size_t i = 0; i < N_ELEMENTS(families); i++)
                wrong += socket(families[i], SOCK_DGRAM, 0) >= 0 || errno != EPERM;
        wrong += socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP) >= 0 || errno != EPERM;
        for (size_t i = 0; i < N_ELEMENTS(calls); i++) {
                if (CAGE_SANITIZER && calls[i] == SYS_ptrace)
                        continue;
                if (syscall(calls[i], -1, 0, 0, 0, 0) >= 0 || errno != EPERM) {
                        print_error("call %ld got past: %s\n", calls[i], strerror(errno));
                        wrong++;
                }
        }
        for (size_t i = 0; i < N_ELEMENTS(namespaces); i++) {
                long pid = syscall(SYS_clone, namespaces[i] | SIGCHLD, NULL, NULL, NULL, NULL);
                if (pid == 0)
                        _exit(0);
                wrong += pid >= 0 || errno != EPERM;
        }
        wrong += syscall(SYS_clone3, NULL, 0) >= 0 || errno != ENOSYS;
        // And what its children need: a birth, an execution, sockets, their own cage on top.
        int inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        pid_t pid = fork();
        if (pid == 0) {
                (void)execl("/bin/true", "true", NULL);
                _exit(1);
        }
        if (inet < 0 || pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
                wrong += 100;
        Reason reason = {""};
        if (cage_enter_hub(&reason) < 0)
                wrong += 50;
        return wrong;
}

static void test_births_walls(void **state)
{
        int status = -1;
        pid_t pid = fork();

        if (pid == 0)
                _exit(births_try());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);

        // And the one that is there is in it: the only child this process has now.
        char path[PATH_MAX], line[128], *end;
        (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        FILE *f = fopen(path, "re");
        assert_non_null(f);
        assert_non_null(fgets(line, sizeof line, f));
        (void)fclose(f);
        (void)snprintf(path, sizeof path, "/proc/%ld/status", strtol(line, &end, 10));
        f = fopen(path, "re");
        assert_non_null(f);
        bool births = false, filtered = false, nothing_new = false;
        while (fgets(line, sizeof line, f)) {
                births |= strcmp(line, "Name:\tbelfry-births\n") == 0;
                filtered |= strcmp(line, "Seccomp:\t2\n") == 0;
                nothing_new |= strcmp(line, "NoNewPrivs:\t1\n") == 0;
        }
        (void)fclose(f);
        assert_true(births && filtered && nothing_new);
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

static void test_no_birth(void **state)
{
        char path[PATH_MAX + 64];
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
        (void)snprintf(path, sizeof path, "%s/belfry-source-broken", self_dir);
        write_file(path, 0700);
        _cleanup_(closep) int broken = program_open("belfry-source-broken");
        r.program_fd = broken;
        r.argv0 = "belfry-source-broken";
        assert_int_equal(spawn_child(&r, &c, &reason), -ENOEXEC);
        assert_non_null(strstr(reason.text, "belfry-source-broken"));
        assert_int_equal(c.pid, -7);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(waitid(P_ALL, 0, &(siginfo_t){0}, WEXITED | WNOHANG), 0);
}

// Without its births process a hub is told so, at once and by name.
static int births_die(void)
{
        char path[64];
        int pid = 0, status;
        SpawnedChild c;
        Reason reason = {""};
        SpawnRequest r = {.argv0 = "belfry-source-probe", .instance = "x", .family_fd = family_fd};

        spawn_stop();
        if (spawn_child(&r, &c, &reason) != -EPIPE || spawn_start(self_dir, &reason) < 0)
                return 1;
        (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
        _cleanup_(fclosep) FILE *f = fopen(path, "re");
        if (!f || fscanf(f, "%d", &pid) != 1 || kill(pid, SIGKILL) < 0)
                return 2;
        struct pollfd p = {.fd = spawn_watch(), .events = POLLIN};
        if (poll(&p, 1, PATIENCE_SEC * 1000) != 1 || waitpid(pid, &status, 0) != pid)
                return 3;
        _cleanup_(closep) int program = program_open("belfry-source-probe");
        r.program_fd = program;
        return spawn_child(&r, &c, &reason) == -EPIPE && strstr(reason.text, "births") ? 0 : 4;
}

static void test_births_die(void **state)
{
        int status = -1;
        pid_t pid = fork();

        if (pid == 0)
                _exit(births_die());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
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
        assert_true(clock_mono_usec() - begin < 2 * USEC_PER_SEC);

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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_source_walls),
                cmocka_unit_test(test_sink_walls),
                cmocka_unit_test(test_hub_walls),
                cmocka_unit_test(test_birth_from_cage),
                cmocka_unit_test(test_no_birth),
                cmocka_unit_test(test_births_walls),
                cmocka_unit_test(test_births_die),
                cmocka_unit_test(test_orphans),
                cmocka_unit_test(test_no_orphan),
        };
        return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
