// SPDX-License-Identifier: MIT
// family.lock: every child holds a shared record lock on it, so that a new hub can tell whether
// children of an earlier one are alive, which ones, and be sure that they are gone. Record locks
// (not OFD locks) since F_GETLK then names the holder. Invariant: what is killed held the lock at a
// moment after its pidfd was opened, so a reused pid is never killed. The file is never unlinked.
// It waits, blocking: it runs once, before the loop.

#include "hub/spawn.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>

#define ORPHAN_GRACE_USEC (2 * USEC_PER_SEC)
#define ORPHAN_LIMIT_USEC (30 * USEC_PER_SEC)

int family_lock_open(const char *runtime_dir, int *ret_fd, Reason *reason)
{
        char path[PATH_MAX];

        int n = snprintf(path, sizeof path, "%s/family.lock", runtime_dir);
        if (n < 0 || (size_t)n >= sizeof path)
                return reason_set(reason, -ENAMETOOLONG, "%s: name too long", runtime_dir);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (fd < 0)
                return reason_errno(reason, -errno, "cannot open %s", path);
        *ret_fd = fd;
        return 0;
}

// 0 = had it, and let it go again; 1 = held by ret_pid; negative errno.
static int family_probe(int fd, pid_t *ret_pid)
{
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

        if (fcntl(fd, F_SETLK, &lock) >= 0) {
                lock.l_type = F_UNLCK;
                return fcntl(fd, F_SETLK, &lock) < 0 ? -errno : 0;
        }
        if (errno != EAGAIN && errno != EACCES)
                return -errno;
        lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(fd, F_GETLK, &lock) < 0)
                return -errno;
        *ret_pid = lock.l_type == F_UNLCK ? 0 : lock.l_pid;
        return 1;
}

// Waits for the process to be gone; false when it is still there at the deadline.
static bool family_wait(int pidfd, uint64_t deadline)
{
        struct pollfd p = {.fd = pidfd, .events = POLLIN};

        for (;;) {
                uint64_t now = clock_boot_usec();
                int msec = now < deadline ? (int)((deadline - now) / USEC_PER_MSEC) + 1 : 0;
                int r = poll(&p, 1, msec);
                if (r > 0)
                        return true;
                if (r == 0)
                        return false;
        }
}

// One holder: grace until `deadline`, then SIGKILL if it holds the lock still.
static int family_reap(int fd, pid_t pid, uint64_t deadline, Reason *reason)
{
        pid_t again;

        _cleanup_(closep) int pidfd = pidfd_open(pid, 0);
        if (pidfd < 0)
                return errno == ESRCH
                               ? 0
                               : reason_errno(reason, -errno, "cannot look at the orphan %d", pid);
        if (family_wait(pidfd, deadline))
                return 0;
        int r = family_probe(fd, &again);
        if (r < 0)
                return reason_errno(reason, r, "family.lock");
        if (r == 0 || again != pid)
                return 0; // another one holds it now, or nobody
        if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
                return reason_errno(reason, -errno,
                        "process %d of an earlier hub holds family.lock and cannot be killed", pid);
        if (!family_wait(pidfd, clock_boot_usec() + ORPHAN_LIMIT_USEC))
                return reason_set(reason, -ETIMEDOUT,
                        "process %d of an earlier hub does not die (stuck in the kernel?)", pid);
        return 0;
}

int family_lock_reap_orphans(int fd, Reason *reason)
{
        uint64_t start = clock_boot_usec();

        for (;;) {
                pid_t pid = 0;
                int r = family_probe(fd, &pid);
                if (r == 0)
                        return 0;
                if (r < 0)
                        return reason_errno(reason, r, "family.lock");
                if (pid < 0)
                        return reason_set(reason, -EBUSY,
                                "family.lock is held by a lock that names no process");
                if (clock_boot_usec() - start > ORPHAN_LIMIT_USEC)
                        return reason_set(reason, -ETIMEDOUT,
                                "family.lock is still held after 30 s, by process %d", pid);
                // A pid of 0: freed between the two calls, or a holder in another pid namespace.
                if (pid == 0) {
                        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
                        continue;
                }
                r = family_reap(fd, pid, start + ORPHAN_GRACE_USEC, reason);
                if (r < 0)
                        return r;
        }
}
