// SPDX-License-Identifier: MIT
// The cage, put together in the order that matters: first what ties the process to its hub (parent,
// family.lock), then what it holds (descriptors, capabilities), then what it may reach (Landlock),
// last what it may ask the kernel for (seccomp), since the steps before need calls that seccomp then
// forbids. Nothing here reads from the link. Calls are refused with EPERM and not by killing, so
// that a test, and a library that probes, sees the refusal and goes on.
// Landlock does not cover looking (stat, readlink) and watching (inotify) paths, nor named sockets:
// a caged process can learn that a path exists, not what is in it.

#include "module/cage.h"

#include "base/buf.h"
#include "base/limits.h"
#include "module/cage_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAGE_LIST_MAX ((size_t)LIMIT_CAGE_PATHS * 4098u)
#define CAGE_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

void cage_missing(char *missing, size_t size, const char *what)
{
        size_t n = strlen(missing);

        (void)snprintf(missing + n, size - n, "%s%s", n ? ", " : "", what);
}

int cage_list_new(char *const *entries, int *ret_fd)
{
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(CAGE_LIST_MAX);

        for (size_t i = 0; entries && entries[i]; i++)
                buf_add(&text, entries[i], strlen(entries[i]) + 1);
        if (text.error < 0)
                return text.error;

        _cleanup_(closep) int fd = memfd_create("belfry-cage", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        for (size_t done = 0; done < text.len;) {
                ssize_t n = pwrite(fd, text.data + done, text.len - done, (off_t)done);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n > 0)
                        done += (size_t)n;
        }
        if (fcntl(fd, F_ADD_SEALS, CAGE_SEALS) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int cage_list_read(int fd, Buf *ret, Reason *reason)
{
        struct stat st;

        if (fcntl(fd, F_GET_SEALS) != CAGE_SEALS)
                return reason_set(reason, -EPERM, "the list of paths is not sealed");
        if (fstat(fd, &st) < 0)
                return reason_errno(reason, -errno, "the list of paths");
        size_t size = (size_t)st.st_size;
        uint8_t *data = size ? buf_grow(ret, size) : NULL;
        if (size && !data)
                return reason_errno(reason, ret->error, "the list of paths");
        for (size_t done = 0; done < size;) {
                ssize_t n = pread(fd, data + done, size - done, (off_t)done);
                if (n == 0 || (n < 0 && errno != EINTR))
                        return reason_errno(reason, n < 0 ? -errno : -EIO, "the list of paths");
                if (n > 0)
                        done += (size_t)n;
        }
        if (size && data[size - 1] != '\0')
                return reason_set(reason, -EBADMSG, "the list of paths is cut short");
        return 0;
}

// No dumps, and no life after the hub: asked for before the check, so that a hub which dies between
// the two is noticed by one or the other.
static int cage_tie(pid_t parent, Reason *reason)
{
        const struct rlimit none = {0, 0};

        (void)umask(0077);
        if (setrlimit(RLIMIT_CORE, &none) < 0)
                return reason_errno(reason, -errno, "cannot forbid core dumps");
        if (prctl(PR_SET_DUMPABLE, 0) < 0)
                return reason_errno(reason, -errno, "cannot forbid dumps");
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return reason_errno(reason, -errno, "cannot tie this process to the hub");
        if (getppid() != parent)
                return reason_set(reason, -ESRCH, "the hub that started this process is gone");
        return 0;
}

static int cage_join_family(int fd, Reason *reason)
{
        struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

        if (fcntl(fd, F_SETLK, &lock) >= 0)
                return 0;
        if (errno == EAGAIN || errno == EACCES)
                return reason_set(reason, -EAGAIN, "family.lock is held by another hub");
        return reason_errno(reason, -errno, "cannot lock family.lock");
}

// Keeps only what is in the masks; asks the kernel only when that changes something, since the unit
// lets capset through only where there is a capability.
static int capabilities_keep(uint32_t effective, uint32_t rest, uint32_t above, Reason *reason)
{
        struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        if (syscall(SYS_capget, &head, data) < 0)
                return reason_errno(reason, -errno, "cannot read capabilities");
        uint32_t lost = 0;
        for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
                uint32_t e = i == 0 ? effective : above, r = i == 0 ? rest : above;
                lost |= (data[i].effective & ~e) | (data[i].permitted & ~r) |
                        (data[i].inheritable & ~r);
                data[i].effective &= e;
                data[i].permitted &= r;
                data[i].inheritable &= r;
        }
        if (lost && syscall(SYS_capset, &head, data) < 0)
                return reason_errno(reason, -errno, "cannot drop capabilities");
        return 0;
}

// What a process started by root still holds. Reading past permissions and leases are what file
// sources are for; below Landlock they reach no further than the list.
static int cage_drop_capabilities(CageKind kind, Reason *reason)
{
        const uint32_t keep =
                kind == CAGE_PROGRAM ? 0 : (1u << CAP_DAC_READ_SEARCH) | (1u << CAP_LEASE);

        return capabilities_keep(keep, keep, 0, reason);
}

int cage_lower_hub(Reason *reason)
{
        return capabilities_keep(~(1u << CAP_DAC_READ_SEARCH), ~0u, ~0u, reason);
}

// Where memory runs out a foreign program is to be ended before anything of the family. Whoever is
// forked from here inherits it; a kernel that refuses leaves the choice to the sizes.
static void cage_offer_memory(void)
{
        static const char score[] = "500";
        _cleanup_(closep) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd >= 0)
                (void)!write(fd, score, sizeof score - 1);
}

int cage_enter_program(bool network, Reason *reason)
{
        int r = cage_landlock_program(reason);

        return r < 0 || network ? r : cage_seccomp_offline(reason);
}

int cage_enter(CageKind kind, int list_fd, int family_fd, int first_free, pid_t parent,
        char *ret_missing, size_t missing_size, Reason *reason)
{
        _cleanup_(buf_deinitp) Buf list = BUF_INIT(CAGE_LIST_MAX);

        ret_missing[0] = '\0';
        int r = cage_tie(parent, reason);
        if (r >= 0)
                r = cage_join_family(family_fd, reason);
        if (r >= 0)
                r = cage_list_read(list_fd, &list, reason);
        if (r < 0)
                return r;
        (void)close(list_fd);
        if (kind == CAGE_PROGRAM)
                cage_offer_memory();
        if (syscall(SYS_close_range, (unsigned)first_free, ~0u, 0u) < 0)
                return reason_errno(reason, -errno, "cannot close what is left open");
        r = cage_drop_capabilities(kind, reason);
        if (r < 0)
                return r;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return reason_errno(reason, -errno, "cannot give up new privileges");
        r = cage_landlock(kind, buf_slice(&list), ret_missing, missing_size, reason);
        return r < 0 ? r : cage_seccomp(kind, ret_missing, missing_size, reason);
}

int cage_enter_hub(Reason *reason)
{
        char missing[64] = "";
        const struct rlimit none = {0, 0};

        (void)setrlimit(RLIMIT_CORE, &none);
        (void)prctl(PR_SET_DUMPABLE, 0);
        // The births process has its copy by now.
        int r = geteuid() == 0 ? 0 : capabilities_keep(0, 0, 0, reason);
        if (r < 0)
                return r;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return reason_errno(reason, -errno, "cannot give up new privileges");
        return cage_seccomp(CAGE_HUB, missing, sizeof missing, reason);
}
