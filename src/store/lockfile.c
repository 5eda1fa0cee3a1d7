// SPDX-License-Identifier: MIT
// state_dir/lock: held (an open file description lock) as long as the store is open, and beside
// that a witness of one line, rewritten after each commit without a disk barrier:
//   pid=123 boot=<boot id> commit=42 chain=<hex> starts=1
// After a mere kill it is exact, so a database that comes back older than its witness was rolled
// back. After a power cut it may be older than the database, which says nothing, but then the boot
// id differs and everything is checked. Not the store's truth: that is its own commit row.
#include "store/files.h"

#include "base/digest.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

enum { LINE_SIZE = 200, LOCK_TRIES = 30, LOCK_PAUSE_NSEC = 10 * 1000 * 1000 };

int boot_id_read(char out[static BOOT_ID_SIZE + 1])
{
        _cleanup_(closep) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        ssize_t n = read(fd, out, BOOT_ID_SIZE);
        if (n != BOOT_ID_SIZE)
                return n < 0 ? -errno : -EIO;
        out[BOOT_ID_SIZE] = 0;
        return 0;
}

static void witness_parse(const char *line, long *ret_pid, Witness *ret)
{
        Witness w = {0};
        unsigned long long commit;
        *ret_pid = 0;
        (void)sscanf(line, "pid=%ld", ret_pid);
        w.known = sscanf(line, "pid=%*d boot=%36s commit=%llu chain=%32s starts=%u", w.boot_id,
                          &commit, w.chain, &w.starts) == 4;
        w.commit = w.known ? commit : 0;
        *ret = w;
}

// A process that was killed may have left one that is dying with it and holds the same open file:
// a child that checked the store, or one between fork and exec. Hence not refused at once.
static int lock_take(int fd)
{
        int r = -EAGAIN;
        for (int i = 0; r == -EAGAIN && i < LOCK_TRIES; i++) {
                struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
                if (i > 0)
                        (void)nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NSEC}, NULL);
                r = fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno == EACCES ? -EAGAIN : -errno;
        }
        return r;
}

int lockfile_open(const char *state_dir, Witness *ret, Reason *reason)
{
        _cleanup_(freep) char *path = path_join(state_dir, "lock");
        if (!path)
                return -ENOMEM;
        _cleanup_(closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return reason_errno(reason, -errno, "%s", path);
        int r = lock_take(fd);
        char line[LINE_SIZE + 1] = "";
        (void)!pread(fd, line, LINE_SIZE, 0);
        long pid;
        witness_parse(line, &pid, ret);
        if (r == -EAGAIN)
                return reason_set(reason, -EAGAIN,
                        "%s is in use by another belfryd (process %ld); stop that one or give this "
                        "one a state directory of its own",
                        state_dir, pid);
        if (r < 0)
                return reason_errno(reason, r, "%s", path);
        return TAKE_FD(fd);
}

void lockfile_peek(const char *state_dir, Witness *ret)
{
        char line[LINE_SIZE + 1] = "";
        long pid;
        _cleanup_(freep) char *path = path_join(state_dir, "lock");
        _cleanup_(closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
        if (fd >= 0)
                (void)!pread(fd, line, LINE_SIZE, 0);
        witness_parse(line, &pid, ret);
}

// Best effort: a witness that is older than the database accuses nobody.
void lockfile_write(const Store *s)
{
        if (s->lock_fd < 0)
                return;
        char chain[2 * CHAIN_SIZE + 1] = "", line[LINE_SIZE + 1];
        digest_hex(s->committed.chain, CHAIN_SIZE, chain);
        chain[2 * CHAIN_SIZE] = 0;
        // Fixed width, so that a shorter line needs no truncation.
        int n = snprintf(line, sizeof(line),
                "pid=%-10d boot=%s commit=%-20llu chain=%s starts=%-10u\n", (int)getpid(),
                s->boot_id, (unsigned long long)s->committed.commit, chain, s->starts);
        if (n > 0 && n < (int)sizeof(line))
                (void)!pwrite(s->lock_fd, line, (size_t)n, 0);
}

void store_suspect(Store *s)
{
        if (s->suspect || !s->state_dir || s->read_only)
                return;
        s->suspect = true;
        _cleanup_(freep) char *path = path_join(s->state_dir, "store.check");
        if (!path)
                return;
        _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0)
                (void)fsync(fd);
        (void)!file_sync_dir(s->state_dir);
}
