// SPDX-License-Identifier: MIT
// Landlock: what a module process may open. Everything the kernel's version knows is handled, and
// thereby denied; then reading is allowed below the listed paths. Entries of the list are NUL-ended:
// "r PATH" read files and directories below, "d PATH" list directories only, "x PATH" read and
// execute, "w PATH" read and change. A path that is not there, or that this process may not even look up, is skipped: what it
// would have allowed stays denied.
// Structures and numbers beyond ABI 1 stand here because the system's header may be older than the
// kernel. (linux/landlock.h, man 7 landlock.)

#include "module/cage_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct LandlockRuleset {
        uint64_t fs;     // ABI 1
        uint64_t net;    // ABI 4
        uint64_t scoped; // ABI 6
} LandlockRuleset;

enum {
        FS_ABI_1 = (1 << 13) - 1, // EXECUTE .. MAKE_SYM
        FS_REFER = 1 << 13,       // ABI 2
        FS_TRUNCATE = 1 << 14,    // ABI 3
        FS_IOCTL_DEV = 1 << 15,   // ABI 5
        NET_BIND_TCP = 1 << 0,    // ABI 4
        NET_CONNECT_TCP = 1 << 1,
        SCOPE_ABSTRACT_UNIX = 1 << 0, // ABI 6
        SCOPE_SIGNAL = 1 << 1,
};

static LandlockRuleset ruleset_for(CageKind kind, long abi)
{
        LandlockRuleset set = {.fs = FS_ABI_1};

        if (abi >= 2)
                set.fs |= FS_REFER;
        if (abi >= 3)
                set.fs |= FS_TRUNCATE;
        if (abi >= 5)
                set.fs |= FS_IOCTL_DEV;
        if (abi >= 4)
                set.net = NET_BIND_TCP | (kind == CAGE_LOCAL ? NET_CONNECT_TCP : 0);
        if (abi >= 6)
                set.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
        return set;
}

static size_t ruleset_size(long abi)
{
        if (abi < 4)
                return offsetof(LandlockRuleset, net);
        return abi < 6 ? offsetof(LandlockRuleset, scoped) : sizeof(LandlockRuleset);
}

// What may be done below, as far as the kernel knows of it, and to what the path itself is.
static uint64_t rights_of(char mode, bool directory, uint64_t handled)
{
        uint64_t rights = directory ? LANDLOCK_ACCESS_FS_READ_DIR : 0;

        if (mode != 'd')
                rights |= LANDLOCK_ACCESS_FS_READ_FILE;
        if (mode == 'x')
                rights |= LANDLOCK_ACCESS_FS_EXECUTE;
        if (mode == 'w')
                rights |= LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
        if (mode == 'w' && directory)
                rights |= LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                          LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                          LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                          LANDLOCK_ACCESS_FS_MAKE_SYM | FS_REFER;
        return rights & handled;
}

static int landlock_allow(
        int ruleset, uint64_t handled, char mode, const char *path, Reason *reason)
{
        struct stat st;

        _cleanup_(closep) int fd = open(path, O_PATH | O_CLOEXEC);
        if (fd < 0) {
                if (errno == ENOMEM || errno == EMFILE || errno == ENFILE)
                        return reason_errno(reason, -errno, "cannot look at %s", path);
                return 0;
        }
        if (fstat(fd, &st) < 0)
                return 0;
        struct landlock_path_beneath_attr rule = {
                .parent_fd = fd, .allowed_access = rights_of(mode, S_ISDIR(st.st_mode), handled)};
        if (rule.allowed_access == 0)
                return 0;
        if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0) {
                // Files of filesystems inside the kernel (a pipe's, a socket's) cannot be listed.
                if (errno == EBADFD)
                        return 0;
                return reason_errno(reason, -errno, "cannot allow %s", path);
        }
        return 0;
}

static int landlock_allow_list(int ruleset, uint64_t handled, Slice list, Reason *reason)
{
        const char *at = list.data, *end = list.data + list.len;

        // cage_list_read() has seen to it that the last entry ends in NUL.
        while (at < end) {
                size_t n = strlen(at);
                if (n < 3 || !strchr("rdxw", at[0]) || at[1] != ' ' || at[2] != '/')
                        return reason_set(reason, -EBADMSG, "the list of paths is malformed");
                int r = landlock_allow(ruleset, handled, at[0], at + 2, reason);
                if (r < 0)
                        return r;
                at += n + 1;
        }
        return CAGE_SANITIZER ? landlock_allow(ruleset, handled, 'r', "/proc/self", reason) : 0;
}

int cage_landlock(CageKind kind, Slice list, char *ret_missing, size_t missing_size, Reason *reason)
{
        long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

        if (abi < 0) {
                // EPERM here comes from the filter of a container around us: no more can be had.
                if (errno != ENOSYS && errno != EOPNOTSUPP && errno != EPERM)
                        return reason_errno(reason, -errno, "Landlock");
                cage_missing(ret_missing, missing_size, "landlock");
                return 0;
        }
        if (abi < 4 && kind == CAGE_LOCAL)
                cage_missing(ret_missing, missing_size, "landlock for the network");
        if (abi < 6)
                cage_missing(ret_missing, missing_size, "landlock for signals");

        LandlockRuleset set = ruleset_for(kind, abi);
        _cleanup_(closep) int ruleset =
                (int)syscall(SYS_landlock_create_ruleset, &set, ruleset_size(abi), 0);
        if (ruleset < 0)
                return reason_errno(reason, -errno, "Landlock");
        int r = landlock_allow_list(ruleset, set.fs, list, reason);
        if (r < 0)
                return r;
        if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
                return reason_errno(reason, -errno, "Landlock");
        return 0;
}

// A domain of its own below that of whoever starts it: signals and abstract sockets end at its border.
// Without it, in an older kernel, it can signal what runs under the same user.
int cage_landlock_program(Reason *reason)
{
        long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

        if (abi < 6)
                return 0; // said when the cage was entered
        const LandlockRuleset set = {.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL};
        _cleanup_(closep) int ruleset =
                (int)syscall(SYS_landlock_create_ruleset, &set, ruleset_size(abi), 0);
        if (ruleset < 0 || syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
                return reason_errno(reason, -errno, "Landlock");
        return 0;
}
