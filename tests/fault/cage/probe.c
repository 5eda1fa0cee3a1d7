// SPDX-License-Identifier: MIT
// The attempts. Each is harmless where it succeeds (bad arguments, signal 0, own files), so that a
// broken cage gives a failed test and not a broken machine. A call that got past the cage fails with
// some other errno (EINVAL, EBADF, EFAULT ...) or works: the test tells the two apart by EPERM and
// EACCES. What a sanitizer needs (module/cage_internal.h) is left out in such builds.

#include "probe_internal.h"

#include "config/option.h"
#include "module/cage_internal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define ROW(m, t, f, ...)                                                           \
        {                                                                           \
                .name = #m, .type = t, .offset = OPTION_MEMBER(ProbeOptions, f, m), \
                .since = "0.1", .prose = "For tests.", __VA_ARGS__                  \
        }
const Option probe_options[] = {
        ROW(inside, OPTION_PATH, char *, .flags = OPTION_CAGE_READ),
        ROW(outside, OPTION_PATH, char *),
        ROW(abstract, OPTION_STRING, char *),
        ROW(mode, OPTION_STRING, char *, .def = "probe"),
        ROW(port, OPTION_INT, int64_t, .min = "0", .max = "65535", .def = "0"),
};
const size_t n_probe_options = N_ELEMENTS(probe_options);

// ---- system calls that nobody may make, whatever the arguments
typedef struct ForbiddenCall {
        const char *name;
        long number;
        long arguments[5];
} ForbiddenCall;

#define CALL(n, ...)                                                        \
        {                                                                   \
                .name = #n, .number = SYS_##n, .arguments = { __VA_ARGS__ } \
        }
static const ForbiddenCall calls[] = {
        CALL(execve, 0, 0, 0),
        CALL(execveat, -1, 0, 0, 0, 0),
        CALL(process_vm_readv, 1, 0, 0, 0, 0),
        CALL(process_vm_writev, 1, 0, 0, 0, 0),
        CALL(mount, 0, 0, 0, 0, 0),
        CALL(umount2, 0, 0),
        CALL(pivot_root, 0, 0),
        CALL(chroot, 0),
        CALL(unshare, 0x10000000),
        CALL(setns, -1, 0),
        CALL(bpf, 0, 0, 0),
        CALL(io_uring_setup, 1, 0),
        CALL(io_uring_enter, -1, 0, 0, 0, 0),
        CALL(userfaultfd, 1),
        CALL(perf_event_open, 0, 0, -1, -1, 0),
        CALL(add_key, 0, 0, 0, 0, 0),
        CALL(keyctl, 0, 0, 0, 0, 0),
        CALL(request_key, 0, 0, 0, 0),
        CALL(open_by_handle_at, -1, 0, 0),
        CALL(fanotify_init, 0, 0),
        CALL(setuid, 0),
        CALL(setgid, 0),
        CALL(setreuid, -1, -1),
        CALL(setresuid, -1, -1, -1),
        CALL(setresgid, -1, -1, -1),
        CALL(setgroups, 0, 0),
        CALL(setfsuid, 0),
        CALL(capset, 0, 0),
        CALL(personality, 0xffffffff),
        CALL(acct, 0),
        CALL(swapon, 0, 0),
        CALL(reboot, 0, 0, 0, 0),
        CALL(kexec_load, 0, 0, 0, -1),
        CALL(init_module, 0, 0, 0),
        CALL(finit_module, -1, 0, 0),
        CALL(delete_module, 0, 0),
        CALL(clock_settime, -1, 0),
        CALL(settimeofday, 0, 0),
        CALL(sethostname, 0, 0),
        CALL(syslog, 3, 0, 0),
        CALL(quotactl, 0, 0, 0, 0),
        CALL(pidfd_open, 1, 0),
        CALL(pidfd_send_signal, -1, 0, 0, 0),
        CALL(pidfd_getfd, -1, 0, 0),
        CALL(tkill, 1, 0),
        CALL(rt_sigqueueinfo, 1, 0, 0),
        CALL(kcmp, 1, 1, 0, 0, 0),
        CALL(seccomp, 99, 0, 0),
        CALL(landlock_create_ruleset, 0, 0, 1),
        CALL(bind, -1, 0, 0),
        CALL(listen, -1, 0),
        CALL(shmget, 0, 1, 0),
        CALL(msgget, 0, 0),
        CALL(mq_open, 0, 0, 0, 0),
        CALL(setpriority, 0, 0, 0),
        CALL(sched_setscheduler, 0, 0, 0),
        CALL(sched_setaffinity, 0, 0, 0),
        CALL(mlockall, 0),
        CALL(setsid),
        CALL(setpgid, 0, 0),
        CALL(umask, 077),
        CALL(chdir, 0),
        CALL(sync),
        CALL(ftruncate, -1, 0),
        CALL(fchmod, -1, 0),
        CALL(fchown, -1, -1, -1),
        CALL(fsetxattr, -1, 0, 0, 0, 0),
        CALL(fallocate, -1, 0, 0, 0),
        CALL(pwrite64, -1, 0, 0, 0),
        CALL(mknodat, -1, 0, 0, 0),
        CALL(setrlimit, 7, 0),
        CALL(vmsplice, -1, 0, 0, 0),
        CALL(move_pages, 0, 0, 0, 0, 0),
#ifdef SYS_iopl
        CALL(iopl, 0),
        CALL(ioperm, 0, 0, 0),
        CALL(modify_ldt, 0, 0, 0),
#endif
#if !CAGE_SANITIZER
        CALL(ptrace, 0x4206 /* SEIZE */, 1, 0, 0),
        CALL(wait4, -1, 0, 1, 0),
#endif
};

// ---- attempts with arguments that matter
static int try_read_outside(const Probe *p)
{
        return close_result(open(p->o->outside, O_RDONLY | O_CLOEXEC));
}

static int try_read_root_dir(const Probe *p)
{
        return close_result(open("/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int try_write_inside(const Probe *p)
{
        return close_result(open(p->file, O_WRONLY | O_CLOEXEC));
}

static int try_write_openat2(const Probe *p)
{
        struct open_how how = {.flags = O_RDWR | O_CLOEXEC};
        return close_result((int)syscall(SYS_openat2, AT_FDCWD, p->file, &how, sizeof how));
}

static int try_truncate_openat2(const Probe *p)
{
        struct open_how how = {.flags = O_TRUNC | O_RDONLY | O_CLOEXEC};
        return close_result((int)syscall(SYS_openat2, AT_FDCWD, p->file, &how, sizeof how));
}

static int try_create(const Probe *p)
{
        return close_result(open(p->fresh, O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int try_create_openat2(const Probe *p)
{
        struct open_how how = {.flags = O_CREAT | O_RDONLY | O_CLOEXEC, .mode = 0600};
        return close_result((int)syscall(SYS_openat2, AT_FDCWD, p->fresh, &how, sizeof how));
}

static int try_tmpfile(const Probe *p)
{
        return close_result(open(p->o->inside, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

static int try_mkdir(const Probe *p)
{
        return result(mkdir(p->fresh, 0700));
}

static int try_unlink(const Probe *p)
{
        return result(unlink(p->file));
}

static int try_rename(const Probe *p)
{
        return result(rename(p->file, p->fresh));
}

static int try_link(const Probe *p)
{
        return result(link(p->file, p->fresh));
}

static int try_symlink(const Probe *p)
{
        return result(symlink("file", p->fresh));
}

static int try_chmod(const Probe *p)
{
        return result(chmod(p->file, 0644));
}

static int try_chown(const Probe *p)
{
        return result(chown(p->file, (uid_t)-1, (gid_t)-1));
}

static int try_utimens(const Probe *p)
{
        return result(utimensat(AT_FDCWD, p->file, NULL, 0));
}

static int try_kill_parent(const Probe *p)
{
        return result(kill(getppid(), 0));
}

static int try_kill_self(const Probe *p)
{
        return result(kill(getpid(), 0));
}

static int try_tgkill_parent(const Probe *p)
{
        return result(syscall(SYS_tgkill, getppid(), getppid(), 0));
}

static int try_setown_parent(const Probe *p)
{
        return result(fcntl(STDIN_FILENO, F_SETOWN, getppid()));
}

static int try_raise_files(const Probe *p)
{
        struct rlimit l = {1u << 20, 1u << 20};
        return result(prlimit(0, RLIMIT_NOFILE, &l, NULL));
}

static int try_cores(const Probe *p)
{
        struct rlimit l = {1, 1};
        return result(prlimit(0, RLIMIT_CORE, &l, NULL));
}

static int try_userns(const Probe *p)
{
        long r = syscall(SYS_clone, 0x10000000L | SIGCHLD, 0, 0, 0, 0);
        if (r == 0)
                _exit(0);
        return result(r);
}

static int try_terminal_input(const Probe *p)
{
        return result(ioctl(STDERR_FILENO, TIOCSTI, "x"));
}

static int try_netlink(const Probe *p)
{
        return close_result(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int try_packet(const Probe *p)
{
        return close_result(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static int try_vsock(const Probe *p)
{
        return close_result(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int try_raw(const Probe *p)
{
        return close_result(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
}

static int try_abstract(const Probe *p)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        size_t n = strlen(p->o->abstract);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        memcpy(a.sun_path + 1, p->o->abstract, n);
        int e = result(connect(fd, (struct sockaddr *)&a,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)));
        (void)close(fd);
        return e;
}

int try_inet_stream(const Probe *p)
{
        return close_result(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

int try_inet_datagram(const Probe *p)
{
        return close_result(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static int try_inet6(const Probe *p)
{
        return close_result(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

#if !CAGE_SANITIZER
static int try_read_status(const Probe *p)
{
        return close_result(open("/proc/self/environ", O_RDONLY | O_CLOEXEC));
}

static int try_fork(const Probe *p)
{
        pid_t pid = fork();
        if (pid == 0)
                _exit(0);
        return result(pid);
}

static int try_drop_deathsig(const Probe *p)
{
        return result(prctl(PR_SET_PDEATHSIG, 0));
}

static int try_dumpable(const Probe *p)
{
        return result(prctl(PR_SET_DUMPABLE, 1));
}
#endif

#if defined(__x86_64__)
// A kernel built without the 32-bit entry answers the instruction with a fault: it is stepped over,
// and counts as refused: that wall the kernel has built.
static void on_no_entry(int signal, siginfo_t *si, void *context)
{
        ucontext_t *c = context;
        c->uc_mcontext.gregs[REG_RIP] += 2;
        c->uc_mcontext.gregs[REG_RAX] = -EACCES;
}

// getpid by the 32-bit entry: another architecture to the filter.
static int try_int80(const Probe *p)
{
        long r;
        struct sigaction old, step = {.sa_sigaction = on_no_entry, .sa_flags = SA_SIGINFO};
        if (sigaction(SIGSEGV, &step, &old) < 0)
                return errno;
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
        (void)sigaction(SIGSEGV, &old, NULL);
        return r < 0 ? (int)-r : 0;
}
#endif

static const Attempt forbidden[] = {
        TRY(read_outside),
        TRY(read_root_dir),
        TRY(write_inside),
        TRY(write_openat2),
        TRY(truncate_openat2),
        TRY(create),
        TRY(create_openat2),
        TRY(tmpfile),
        TRY(mkdir),
        TRY(unlink),
        TRY(rename),
        TRY(link),
        TRY(symlink),
        TRY(chmod),
        TRY(chown),
        TRY(utimens),
        TRY(kill_parent),
        TRY(kill_self),
        TRY(tgkill_parent),
        TRY(setown_parent),
        TRY(raise_files),
        TRY(cores),
        TRY(userns),
        TRY(terminal_input),
        TRY(netlink),
        TRY(packet),
        TRY(vsock),
        TRY(raw),
        TRY(abstract),
#if !CAGE_SANITIZER
        TRY(read_status),
        TRY(fork),
        TRY(drop_deathsig),
        TRY(dumpable),
#endif
#if defined(__x86_64__)
        TRY(int80),
#endif
};
static const Attempt forbidden_local[] = {TRY(inet_stream), TRY(inet_datagram), TRY(inet6)};
static void run(json_t *out, const Probe *p, const Attempt *list, size_t n)
{
        for (size_t i = 0; i < n; i++)
                (void)json_object_set_new(out, list[i].name, json_integer(list[i].run(p)));
}

static json_t *facts(void)
{
        extern char **environ;
        char comm[32] = "";
        struct rlimit core, files;
        json_t *fds = json_array();

        for (int i = 0; i < 256; i++)
                if (fcntl(i, F_GETFD) >= 0)
                        (void)json_array_append_new(fds, json_integer(i));
        (void)prctl(PR_GET_NAME, comm);
        (void)getrlimit(RLIMIT_CORE, &core);
        (void)getrlimit(RLIMIT_NOFILE, &files);
        return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:o}", "comm", comm, "environment",
                environ && environ[0] ? 1 : 0, "core", (int)core.rlim_max, "files",
                (int)files.rlim_max, "dumpable", prctl(PR_GET_DUMPABLE), "no_new_privs",
                prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), "fds", fds);
}

json_t *probe_run(const ProbeOptions *o, bool network)
{
        Probe p = {.o = o};
        json_t *no = json_object(), *yes = json_object();

        (void)snprintf(p.file, sizeof p.file, "%s/file", o->inside);
        (void)snprintf(p.fresh, sizeof p.fresh, "%s/new", o->inside);
        for (size_t i = 0; i < N_ELEMENTS(calls); i++) {
                const long *a = calls[i].arguments;
                long r = syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4]);
                (void)json_object_set_new(no, calls[i].name, json_integer(result(r)));
        }
        run(no, &p, forbidden, N_ELEMENTS(forbidden));
        run(yes, &p, probe_allowed, n_probe_allowed);
        if (network)
                run(yes, &p, probe_allowed_network, n_probe_allowed_network);
        else
                run(no, &p, forbidden_local, N_ELEMENTS(forbidden_local));
        return json_pack("{s:o, s:o, s:o}", "forbidden", no, "allowed", yes, "facts", facts());
}
