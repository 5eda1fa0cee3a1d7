// SPDX-License-Identifier: MIT
// Looking at a database that may be damaged happens in a child process with an environment of its
// own: LMDB trusts its pages, and a wrong one can end the process that reads it. The child has a
// limit of processor time, dies with its parent, and says what it found through a pipe.
#include "store/files.h"

#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum {
        CPU_SECONDS = 600,
        EXIT_CLEAN = 0,
        EXIT_DAMAGED = 3,
        EXIT_NEWER = 4,
        EXIT_UNABLE = 5,
        FAULTS_TOLD = 3,
};

static void child_setup(pid_t parent)
{
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(EXIT_UNABLE);
        // A crash here is an answer, not an accident: no core, no handler's report.
        static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGPIPE};
        for (size_t i = 0; i < N_ELEMENTS(fatal); i++)
                (void)signal(fatal[i], SIG_DFL);
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        (void)setrlimit(RLIMIT_CPU, &(struct rlimit){CPU_SECONDS, CPU_SECONDS});
}

pid_t child_start(ChildMain run, void *u, int *ret_fd)
{
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        pid_t parent = getpid(), pid = fork();
        if (pid < 0) {
                int r = -errno;
                (void)close(fds[0]);
                (void)close(fds[1]);
                return r;
        }
        if (pid == 0) {
                (void)close(fds[0]);
                child_setup(parent);
                _exit(run(fds[1], u));
        }
        (void)close(fds[1]);
        *ret_fd = fds[0];
        return pid;
}

int child_wait(pid_t pid)
{
        int status;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

typedef struct CheckOut {
        int fd;
        unsigned n;
} CheckOut;

static void check_tell(const char *text, void *u)
{
        CheckOut *out = u;
        if (out->n++ < FAULTS_TOLD) {
                (void)!file_write_all(out->fd, text, strlen(text));
                (void)!file_write_all(out->fd, "; ", 2);
        }
}

static int check_main(int out_fd, void *u)
{
        const char *dir = u;
        CheckOut out = {.fd = out_fd};
        Store s = {.lock_fd = -1};
        Reason reason;
        int r = env_open(&s, dir, MDB_RDONLY | MDB_NOLOCK, env_file_size(dir), &reason);
        if (r < 0) {
                check_tell(reason.text, &out);
                // No memory or no permission says nothing about the database.
                return r == -ENOMEM || r == -EACCES || r == -EMFILE ? EXIT_UNABLE : EXIT_DAMAGED;
        }
        MDB_txn *txn;
        int rc = mdb_txn_begin(s.env, NULL, MDB_RDONLY, &txn);
        if (rc)
                return EXIT_DAMAGED;
        r = meta_format(&s, txn);
        if (r == -EPROTO)
                return EXIT_NEWER;
        if (r < 0)
                check_tell("the row of its format is missing or damaged", &out);
        else
                r = scrub_txn(&s, txn, check_tell, &out);
        return r == 0 ? EXIT_CLEAN : r == -ENOMEM ? EXIT_UNABLE : EXIT_DAMAGED;
}

int check_in_child(const char *dir, Reason *reason)
{
        _cleanup_(closep) int fd = -1;
        pid_t pid = child_start(check_main, (void *)(uintptr_t)dir, &fd);
        if (pid < 0)
                return reason_errno(reason, (int)pid, "cannot check the store");
        char text[REASON_MAX / 2];
        size_t n = 0;
        for (ssize_t got; n < sizeof(text) - 1; n += (size_t)got) {
                got = read(fd, text + n, sizeof(text) - 1 - n);
                if (got < 0 && errno == EINTR)
                        got = 0;
                else if (got <= 0)
                        break;
        }
        text[n] = 0;
        int status = child_wait(pid);
        switch (status) {
        case EXIT_CLEAN:
                return 0;
        case EXIT_NEWER:
                return -EPROTO;
        case EXIT_DAMAGED:
                (void)reason_set(reason, 0, "%s", text);
                return 1;
        case EXIT_UNABLE:
                return reason_set(reason, -EIO, "cannot check the store: %s", text);
        case EXIT_LMDB_ASSERTION:
                (void)reason_set(reason, 0, "%sLMDB finds its own pages impossible", text);
                return 1;
        case 256 + SIGKILL: // somebody else's doing, as when memory is short; says nothing
                return reason_set(reason, -EIO, "checking the store was killed");
        default:
                if (status < 256)
                        return reason_set(
                                reason, -EIO, "checking the store ended with status %d", status);
                (void)reason_set(
                        reason, 0, "%sreading it ended with signal %d", text, status - 256);
                return 1;
        }
}
