// SPDX-License-Identifier: MIT
// The cage of the births process. Filters are inherited through fork and exec, so this one is above
// every module process and below none of their own: it may refuse only what no program of the family
// ever needs, its start by the dynamic loader and its own way into its cage included. Hence a list of
// what is refused, unlike the allow-lists of cage_seccomp.c that come on top in each child.

#include "module/cage_internal.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>

static const char *const refused[] = {
        // the kernel and the machine
        "acct",
        "adjtimex",
        "bpf",
        "clock_adjtime",
        "clock_settime",
        "clock_settime64",
        "delete_module",
        "finit_module",
        "init_module",
        "io_uring_enter",
        "io_uring_register",
        "io_uring_setup",
        "ioperm",
        "iopl",
        "kexec_file_load",
        "kexec_load",
        "perf_event_open",
        "quotactl",
        "quotactl_fd",
        "reboot",
        "setdomainname",
        "sethostname",
        "settimeofday",
        "swapoff",
        "swapon",
        "syslog",
        "userfaultfd",
        "vhangup",
        // other processes, other users
        "kcmp",
        "process_madvise",
        "process_vm_readv",
        "process_vm_writev",
        "setfsgid",
        "setfsgid32",
        "setfsuid",
        "setfsuid32",
        "setgid",
        "setgid32",
        "setgroups",
        "setgroups32",
        "setregid",
        "setregid32",
        "setresgid",
        "setresgid32",
        "setresuid",
        "setresuid32",
        "setreuid",
        "setreuid32",
        "setuid",
        "setuid32",
        // keys, mounts, namespaces, devices
        "add_key",
        "chroot",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "keyctl",
        "mknod",
        "mknodat",
        "mount",
        "mount_setattr",
        "move_mount",
        "open_tree",
        "pivot_root",
        "request_key",
        "setns",
        "umount",
        "umount2",
        "unshare",
};

static int refuse(scmp_filter_ctx f, const char *name, const struct scmp_arg_cmp *when)
{
        int nr = seccomp_syscall_resolve_name(name);
        if (nr == __NR_SCMP_ERROR)
                return 0;
        int r = seccomp_rule_add_array(f, SCMP_ACT_ERRNO(EPERM), nr, when ? 1 : 0, when);
        return r == -EDOM || r == -EOPNOTSUPP ? 0 : r; // not on this architecture
}

// Packets past the kernel's own protocols, and the families nobody here speaks.
static int refuse_sockets(scmp_filter_ctx f)
{
        const struct scmp_arg_cmp raw = SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xf, SOCK_RAW),
                                  beyond = SCMP_A0_64(SCMP_CMP_GT, AF_NETLINK);
        int r = refuse(f, "socket", &beyond);

        for (scmp_datum_t i = AF_INET + 1; r >= 0 && i < AF_NETLINK; i++) {
                const struct scmp_arg_cmp other = SCMP_A0_64(SCMP_CMP_EQ, i);
                if (i != AF_INET6)
                        r = refuse(f, "socket", &other);
        }
        return r < 0 ? r : refuse(f, "socket", &raw);
}

// A clone into any new namespace; clone3's flags cannot be read, libc then uses clone.
static int refuse_namespaces(scmp_filter_ctx f)
{
        static const scmp_datum_t flags[] = {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS,
                CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET};
        int r = 0;

        for (size_t i = 0; r >= 0 && i < N_ELEMENTS(flags); i++) {
                const struct scmp_arg_cmp set = SCMP_A0_64(SCMP_CMP_MASKED_EQ, flags[i], flags[i]);
                r = refuse(f, "clone", &set);
        }
        int nr = seccomp_syscall_resolve_name("clone3");
        return r < 0 || nr == __NR_SCMP_ERROR ? r
                                              : seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
}

static int births_fill(scmp_filter_ctx f)
{
        int r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));

        for (size_t i = 0; r >= 0 && i < N_ELEMENTS(refused); i++)
                r = refuse(f, refused[i], NULL);
        if (r >= 0 && !CAGE_SANITIZER)
                r = refuse(f, "ptrace", NULL);
        if (r >= 0)
                r = refuse_sockets(f);
        if (r >= 0)
                r = refuse_namespaces(f);
        if (r >= 0)
                (void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        return r;
}

int cage_enter_births(void)
{
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        if (prctl(PR_GET_SECCOMP) < 0 && errno == EINVAL)
                return 0; // each child says what its kernel lacks
        scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
        if (!f)
                return -ENOMEM;
        int r = births_fill(f);
        if (r >= 0)
                r = seccomp_load(f);
        seccomp_release(f);
        return r;
}
