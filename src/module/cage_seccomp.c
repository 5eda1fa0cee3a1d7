// SPDX-License-Identifier: MIT
// seccomp: what a process may ask of the kernel. An allow-list in the spirit of @system-service, by
// kind; everything else is refused with EPERM (clone3 with ENOSYS: its flags cannot be read here,
// and libc then uses clone). Module processes are readers: no call that changes a file, a mode or an
// owner, none that starts a program, a process or a namespace, opens a door (bind, listen), or
// touches another process. One kind runs a program of the user's, which inherits the filter: that may
// do what programs do, within Landlock, but trace, mount, load or change its user. Refusals are not logged: resolvers probe for netlink on each look-up.
//
// Filters are inherited through fork and exec. So the hub's must not be above its sinks: whoever
// forks module processes does so from before cage_enter_hub() (src/hub/spawn.c).
// Numbers a system does not know are skipped, so one list serves all architectures.

#include "module/cage_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLONE_NAMESPACES                                                               \
        (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
                CLONE_NEWPID | CLONE_NEWNET | 0x80 /* CLONE_NEWTIME */)
#define OPEN_CHANGES (O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))

static const char *const calls_common[] = {
        // memory, threads, time, who am I
        "arch_prctl",
        "brk",
        "capget",
        "clock_getres",
        "clock_getres_time64",
        "clock_gettime",
        "clock_gettime64",
        "clock_nanosleep",
        "clock_nanosleep_time64",
        "exit",
        "exit_group",
        "futex",
        "futex_time64",
        "futex_waitv",
        "get_robust_list",
        "getcpu",
        "getegid",
        "getegid32",
        "geteuid",
        "geteuid32",
        "getgid",
        "getgid32",
        "getgroups",
        "getgroups32",
        "getpgid",
        "getpgrp",
        "getpid",
        "getppid",
        "getrandom",
        "getresgid",
        "getresgid32",
        "getresuid",
        "getresuid32",
        "getrlimit",
        "getrusage",
        "getsid",
        "gettid",
        "gettimeofday",
        "getuid",
        "getuid32",
        "madvise",
        "membarrier",
        "mmap",
        "mmap2",
        "mprotect",
        "mremap",
        "munmap",
        "nanosleep",
        "restart_syscall",
        "rseq",
        "sched_getaffinity",
        "sched_getparam",
        "sched_getscheduler",
        "sched_yield",
        "set_robust_list",
        "set_tid_address",
        "set_tls",
        "sysinfo",
        "time",
        "times",
        "ugetrlimit",
        "uname",
        // own signals
        "rt_sigaction",
        "rt_sigpending",
        "rt_sigprocmask",
        "rt_sigreturn",
        "rt_sigsuspend",
        "rt_sigtimedwait",
        "rt_sigtimedwait_time64",
        "sigaltstack",
        "signalfd",
        "signalfd4",
        "sigreturn",
        // descriptors
        "_llseek",
        "_newselect",
        "close",
        "close_range",
        "dup",
        "dup2",
        "dup3",
        "epoll_create",
        "epoll_create1",
        "epoll_ctl",
        "epoll_pwait",
        "epoll_pwait2",
        "epoll_wait",
        "eventfd",
        "eventfd2",
        "lseek",
        "memfd_create",
        "pipe",
        "pipe2",
        "poll",
        "ppoll",
        "ppoll_time64",
        "pread64",
        "preadv",
        "preadv2",
        "pselect6",
        "pselect6_time64",
        "read",
        "readv",
        "select",
        "timerfd_create",
        "timerfd_gettime",
        "timerfd_gettime64",
        "timerfd_settime",
        "timerfd_settime64",
        "write",
        "writev",
        // looking at files
        "access",
        "faccessat",
        "faccessat2",
        "fadvise64",
        "fadvise64_64",
        "fstat",
        "fstat64",
        "fstatat64",
        "fstatfs",
        "fstatfs64",
        "getcwd",
        "getdents",
        "getdents64",
        "inotify_add_watch",
        "inotify_init",
        "inotify_init1",
        "inotify_rm_watch",
        "lstat",
        "lstat64",
        "name_to_handle_at",
        "newfstatat",
        "openat2",
        "readahead",
        "readlink",
        "readlinkat",
        "stat",
        "stat64",
        "statfs",
        "statfs64",
        "statx",
        // sockets one has
        "accept",
        "accept4",
        "connect",
        "getpeername",
        "getsockname",
        "getsockopt",
        "recv",
        "recvfrom",
        "recvmmsg",
        "recvmmsg_time64",
        "recvmsg",
        "send",
        "sendmmsg",
        "sendmsg",
        "sendto",
        "setsockopt",
        "shutdown",
};

static const char *const calls_hub[] = {
        // the store, the sockets' files
        "bind",
        "chdir",
        "chmod",
        "chown",
        "chown32",
        "copy_file_range",
        "fallocate",
        "fchdir",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "fchown",
        "fchown32",
        "fchownat",
        "fdatasync",
        "flock",
        "fsync",
        "ftruncate",
        "ftruncate64",
        "futimens",
        "link",
        "linkat",
        "listen",
        "mincore",
        "mkdir",
        "mkdirat",
        "msync",
        "open",
        "openat",
        "pwrite64",
        "pwritev",
        "pwritev2",
        "rename",
        "renameat",
        "renameat2",
        "rmdir",
        "sendfile",
        "sendfile64",
        "setxattr", // the access list of the control socket
        "symlink",
        "symlinkat",
        "sync_file_range",
        "syncfs",
        "truncate",
        "truncate64",
        "umask",
        "unlink",
        "unlinkat",
        "utimensat",
        "utimensat_time64",
        // its children
        "execve",
        "execveat",
        "fcntl",
        "fcntl64",
        "fork",
        "ioctl",
        "kill",
        "pidfd_open",
        "pidfd_send_signal",
        "prlimit64",
        "setpgid",
        "setrlimit",
        "setsid",
        "vfork",
        "wait4",
        "waitid",
        "waitpid",
};

// Beside calls_hub, for foreign programs: timers, extended attributes, signals, limits of their own.
static const char *const calls_program[] = {"alarm", "fgetxattr", "flistxattr", "getitimer",
        "getpriority", "getxattr", "landlock_add_rule", "landlock_create_ruleset",
        "landlock_restrict_self", "lgetxattr", "listxattr", "llistxattr", "pause", "prctl",
        "sched_get_priority_max", "sched_get_priority_min", "seccomp", "setitimer", "splice", "tee",
        "tgkill", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
        "timer_gettime64", "timer_settime", "timer_settime64", "tkill"};

// Locks, flags, leases with their signal, seals; not F_SETOWN_EX, and F_SETOWN to oneself only:
// through them a process could have signals sent to others.
static const int fcntl_commands[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL,
        F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GETOWN, F_GETSIG,
        F_SETSIG, F_SETLEASE, F_GETLEASE, F_GETPIPE_SZ, F_SETPIPE_SZ, F_GET_SEALS, F_ADD_SEALS};

static const unsigned ioctl_requests[] = {FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TCGETS};

static const int prctl_options[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_GET_PDEATHSIG,
        PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP, PR_CAPBSET_READ, 0x53564d41 /* PR_SET_VMA */};

static int allow_number(scmp_filter_ctx f, int nr)
{
        int r = seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 0);

        return r == -EDOM || r == -EOPNOTSUPP ? 0 : r; // not on this architecture
}

static int allow_names(scmp_filter_ctx f, const char *const *names, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                int nr = seccomp_syscall_resolve_name(names[i]);
                if (nr == __NR_SCMP_ERROR)
                        continue;
                int r = allow_number(f, nr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int allow_when(scmp_filter_ctx f, const char *name, struct scmp_arg_cmp condition)
{
        int nr = seccomp_syscall_resolve_name(name);
        if (nr == __NR_SCMP_ERROR)
                return 0;
        int r = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, nr, 1, &condition);

        return r == -EDOM || r == -EOPNOTSUPP ? 0 : r;
}

static int allow_sockets(scmp_filter_ctx f, CageKind kind)
{
        static const int inet[] = {AF_INET, AF_INET6}, types[] = {SOCK_STREAM, SOCK_DGRAM};
        int nr = seccomp_syscall_resolve_name("socket");

        int r = allow_when(f, "socket", SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX));
        if (r >= 0)
                r = allow_when(f, "socketpair", SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX));
        if (kind != CAGE_NETWORK && kind != CAGE_PROGRAM)
                return r;
        // No raw and no packet sockets: the lower four bits are the type, above are flags.
        for (size_t i = 0; r >= 0 && i < 4; i++) {
                const struct scmp_arg_cmp both[] = {
                        SCMP_A0_64(SCMP_CMP_EQ, (scmp_datum_t)inet[i / 2]),
                        SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xf, (scmp_datum_t)types[i % 2])};
                r = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, nr, 2, both);
        }
        return r;
}

static int allow_prctl(scmp_filter_ctx f, CageKind kind)
{
        static const int hub[] = {
                PR_SET_DUMPABLE, PR_SET_PDEATHSIG, PR_CAP_AMBIENT, PR_SET_NO_NEW_PRIVS};
        int r = 0;

        for (size_t i = 0; r >= 0 && i < N_ELEMENTS(prctl_options); i++)
                r = allow_when(f, "prctl", SCMP_A0_64(SCMP_CMP_EQ, (scmp_datum_t)prctl_options[i]));
        for (size_t i = 0; kind == CAGE_HUB && r >= 0 && i < N_ELEMENTS(hub); i++)
                r = allow_when(f, "prctl", SCMP_A0_64(SCMP_CMP_EQ, (scmp_datum_t)hub[i]));
        return r;
}

// clone's flags: children of the framework may start threads; the hub and whoever runs a foreign
// program may also fork.
static int allow_clone(scmp_filter_ctx f, CageKind kind)
{
        bool forks = kind == CAGE_HUB || kind == CAGE_PROGRAM || CAGE_SANITIZER;
        scmp_datum_t mask = CLONE_NAMESPACES | (forks ? 0 : CLONE_THREAD);

        int r = allow_when(
                f, "clone", SCMP_A0_64(SCMP_CMP_MASKED_EQ, mask, forks ? 0 : CLONE_THREAD));
        if (r < 0)
                return r;
        int nr = seccomp_syscall_resolve_name("clone3");
        return nr == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
}

static int allow_reader(scmp_filter_ctx f)
{
        static const struct {
                const char *name;
                unsigned argument;
        } opens[] = {{"open", 1}, {"openat", 2}};
        int r = 0;

        for (size_t i = 0; r >= 0 && i < N_ELEMENTS(opens); i++)
                r = allow_when(f, opens[i].name,
                        SCMP_CMP64(opens[i].argument, SCMP_CMP_MASKED_EQ, OPEN_CHANGES, 0));
        for (size_t i = 0; r >= 0 && i < N_ELEMENTS(fcntl_commands); i++) {
                struct scmp_arg_cmp c = SCMP_A1_64(SCMP_CMP_EQ, (scmp_datum_t)fcntl_commands[i]);
                r = allow_when(f, "fcntl", c);
                if (r >= 0)
                        r = allow_when(f, "fcntl64", c);
        }
        for (size_t i = 0; r >= 0 && i < N_ELEMENTS(ioctl_requests); i++)
                r = allow_when(f, "ioctl", SCMP_A1_64(SCMP_CMP_EQ, ioctl_requests[i]));
        if (r < 0)
                return r;
        const struct scmp_arg_cmp own[] = {
                SCMP_A1_64(SCMP_CMP_EQ, F_SETOWN), SCMP_A2_64(SCMP_CMP_EQ, (scmp_datum_t)getpid())};
        r = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 2, own);
        if (r < 0)
                return r;
        // Limits are read, never set: pid 0, no new value.
        const struct scmp_arg_cmp look[] = {SCMP_A0_64(SCMP_CMP_EQ, 0), SCMP_A2_64(SCMP_CMP_EQ, 0)};
        return seccomp_rule_add_array(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, look);
}

static int allow_sanitizer(scmp_filter_ctx f)
{
        static const char *const names[] = {"ptrace", "wait4", "prctl"};

        return CAGE_SANITIZER ? allow_names(f, names, N_ELEMENTS(names)) : 0;
}

static int allow_kind(scmp_filter_ctx f, CageKind kind)
{
        if (kind != CAGE_HUB && kind != CAGE_PROGRAM)
                return allow_reader(f);
        int r = allow_names(f, calls_hub, N_ELEMENTS(calls_hub));
        return r < 0 || kind == CAGE_HUB ? r
                                         : allow_names(f, calls_program, N_ELEMENTS(calls_program));
}

static int filter_fill(scmp_filter_ctx f, CageKind kind)
{
        // A foreign calling convention (i386, x32 on amd64) is refused like the rest.
        int r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
        if (r >= 0)
                r = allow_names(f, calls_common, N_ELEMENTS(calls_common));
        if (r >= 0)
                r = allow_sockets(f, kind);
        if (r >= 0)
                r = allow_clone(f, kind);
        if (r >= 0 && !CAGE_SANITIZER && kind != CAGE_PROGRAM)
                r = allow_prctl(f, kind);
        if (r >= 0)
                r = allow_kind(f, kind);
        // abort() and raise() signal the own process.
        if (r >= 0 && kind != CAGE_PROGRAM)
                r = allow_when(f, "tgkill", SCMP_A0_64(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
        if (r >= 0)
                r = allow_sanitizer(f);
        // A binary tree instead of a chain; older libraries do without.
        if (r >= 0)
                (void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        return r;
}

int cage_seccomp(CageKind kind, char *ret_missing, size_t missing_size, Reason *reason)
{
        if (prctl(PR_GET_SECCOMP) < 0 && errno == EINVAL) {
                cage_missing(ret_missing, missing_size, "seccomp");
                return 0;
        }
        scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        if (!f)
                return reason_set(reason, -ENOMEM, "seccomp: no memory");
        int r = filter_fill(f, kind);
        if (r >= 0)
                r = seccomp_load(f);
        seccomp_release(f);
        return r < 0 ? reason_errno(reason, r, "seccomp") : 0;
}

// One more filter on top of what the process has: the stricter of all answers counts.
int cage_seccomp_offline(Reason *reason)
{
        static const int inet[] = {AF_INET, AF_INET6};
        int r = 0;

        if (prctl(PR_GET_SECCOMP) < 0 && errno == EINVAL)
                return 0; // said when the cage was entered
        scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
        if (!f)
                return reason_set(reason, -ENOMEM, "seccomp: no memory");
        for (size_t i = 0; r >= 0 && i < N_ELEMENTS(inet); i++)
                r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1,
                        SCMP_A0_64(SCMP_CMP_EQ, (scmp_datum_t)inet[i]));
        if (r >= 0)
                r = seccomp_load(f);
        seccomp_release(f);
        return r < 0 ? reason_errno(reason, r, "seccomp") : 0;
}
