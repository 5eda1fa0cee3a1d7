// SPDX-License-Identifier: MIT
// See keeper.h. Between fork and exec both processes are copies of a process with one thread, and
// nothing of the source's (link, loop) is touched: descriptors are closed first.
// Who ends whom: the program has PDEATHSIG on the keeper; the keeper sees the end of the source by its
// socket; the source has PDEATHSIG on the hub. What a program leaves behind becomes the child of the
// nearest subreaper, keeper or source, and is killed there.
#include "keeper.h"

#include "module/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { LIFT = 64, PROGRAM_FILES = 1024, CHILDREN_TEXT = 4096 };

// ---- the program's side of its birth

static void program_limits(const KeeperRequest *r)
{
        const struct rlimit data = {r->memory, r->memory};
        const struct rlimit files = {PROGRAM_FILES, PROGRAM_FILES};

        (void)setrlimit(RLIMIT_DATA, &data);
        (void)setrlimit(RLIMIT_NOFILE, &files);
}

static void program_signals(void)
{
        sigset_t none;

        for (int i = 1; i < NSIG; i++)
                (void)signal(i, SIG_DFL);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int program_become(const KeeperRequest *r, pid_t keeper, Reason *reason)
{
        if (setsid() < 0)
                return reason_errno(reason, -errno, "session");
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != keeper)
                return reason_set(reason, -ESRCH, "the keeper is gone");
        if (dup2(r->in, STDIN_FILENO) < 0 || dup2(r->out, STDOUT_FILENO) < 0 ||
                dup2(r->err, STDERR_FILENO) < 0)
                return reason_errno(reason, -errno, "descriptors");
        if (chdir("/") < 0)
                return reason_errno(reason, -errno, "/");
        program_signals();
        int q = cage_enter_program(r->network, reason);
        if (q < 0)
                return q;
        program_limits(r); // last: they are the program's, what is above needs memory of its own
        (void)execve(r->program, r->argv, r->envp);
        return reason_errno(reason, -errno, "%s", r->program);
}

static _Noreturn void program_main(const KeeperRequest *r, pid_t keeper, int tell)
{
        KeeperNews news = {.word = KEEPER_STARTED};
        Reason reason = {""};

        // Both leave with the exec.
        (void)syscall(SYS_close_range, 3u, ~0u, 4u /* CLOEXEC */);
        news.error = program_become(r, keeper, &reason);
        (void)snprintf(news.what, sizeof news.what, "%s", reason.text);
        (void)!write(tell, &news, sizeof news);
        _exit(127);
}

// ---- the keeper

// The children of this process, as numbers in a text; no more than fit are killed in one round.
static bool kill_children(void)
{
        char path[64], text[CHILDREN_TEXT], *at = text, *end;

        (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (n <= 0)
                return false;
        text[n] = '\0';
        // The last one may be cut: it has its turn in the next round.
        for (long pid; (pid = strtol(at, &end, 10)) > 0 && *end == ' '; at = end)
                (void)kill((pid_t)pid, SIGKILL);
        return true;
}

void keeper_end_all(pid_t group)
{
        if (group > 0)
                (void)kill(-group, SIGKILL);
        // Each that dies may hand its own children over, so look again until nobody is left. Whoever
        // cannot be seen is not waited for.
        bool seen;
        do
                seen = kill_children();
        while (waitpid(-1, NULL, seen ? 0 : WNOHANG) > 0 || (seen && errno == EINTR));
}

// Keeps family.lock, as every process of the family does, and of the rest only what it needs.
static int keeper_descriptors(KeeperRequest *r, int *sock)
{
        struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
        int *const keep[] = {sock, &r->in, &r->out, &r->err};
        int at = LIFT;

        for (size_t i = 0; i < N_ELEMENTS(keep); i++) {
                *keep[i] = fcntl(*keep[i], F_DUPFD_CLOEXEC, at);
                if (*keep[i] < 0)
                        return -errno;
                for (; at < *keep[i]; at++)
                        (void)close(at);
                at++;
        }
        for (int fd = 3; fd < LIFT; fd++)
                if (fd != CHILD_FD_FAMILY)
                        (void)close(fd);
        if (syscall(SYS_close_range, (unsigned)at, ~0u, 0u) < 0)
                return -errno;
        return fcntl(CHILD_FD_FAMILY, F_SETLK, &lock) < 0 ? -errno : 0;
}

// Returns the program's pid, or a negative errno that was told.
static pid_t keeper_birth(KeeperRequest *r, int sock)
{
        KeeperNews news = {.word = KEEPER_STARTED};
        int tell[2];
        pid_t self = getpid();
        ssize_t n;

        if (pipe2(tell, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid == 0)
                program_main(r, self, tell[1]);
        (void)close(tell[1]);
        (void)close(r->in);
        (void)close(r->out);
        (void)close(r->err);
        if (pid < 0) {
                news.error = -errno;
                (void)snprintf(news.what, sizeof news.what, "cannot start a process");
        } else {
                while ((n = read(tell[0], &news, sizeof news)) < 0 && errno == EINTR)
                        ;
        }
        (void)close(tell[0]);
        news.pid = pid;
        (void)!send(sock, &news, sizeof news, MSG_NOSIGNAL);
        return news.error < 0 ? (pid_t)news.error : pid;
}

// Until the program ends or is to be killed; then its end is told.
static void keeper_watch(int sock, pid_t pid)
{
        KeeperNews news = {.word = KEEPER_ENDED};
        siginfo_t si = {0};
        _cleanup_(closep) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0u);
        struct pollfd p[] = {{.fd = sock, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};

        for (bool on = pidfd >= 0; on;) {
                char order = KEEPER_KILL;
                if (poll(p, N_ELEMENTS(p), -1) < 0 && errno != EINTR)
                        break;
                if (p[1].revents)
                        break;
                if (!p[0].revents || (recv(sock, &order, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN))
                        continue;
                on = order == KEEPER_TERMINATE;
                (void)kill(-pid, on ? SIGTERM : SIGKILL);
        }
        (void)kill(-pid, SIGKILL);
        while (waitid(P_PID, (id_t)pid, &si, WEXITED) < 0 && errno == EINTR)
                ;
        news.code = si.si_code;
        news.status = si.si_status;
        (void)!send(sock, &news, sizeof news, MSG_NOSIGNAL);
}

static _Noreturn void keeper_main(const KeeperRequest *request, int sock)
{
        KeeperRequest r = *request;
        pid_t pid = -1;

        (void)prctl(PR_SET_NAME, "belfry-keeper");
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (keeper_descriptors(&r, &sock) >= 0)
                pid = keeper_birth(&r, sock);
        if (pid > 0)
                keeper_watch(sock, pid);
        keeper_end_all(pid);
        _exit(pid > 0 ? 0 : 1);
}

int keeper_start(const KeeperRequest *r, int *ret_fd, pid_t *ret_pid, Reason *reason)
{
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return reason_errno(reason, -errno, "cannot start a process");
        pid_t pid = fork();
        if (pid == 0)
                keeper_main(r, pair[1]);
        (void)close(pair[1]);
        if (pid < 0) {
                int error = -errno;
                (void)close(pair[0]);
                return reason_errno(reason, error, "cannot start a process");
        }
        *ret_fd = pair[0];
        *ret_pid = pid;
        return 0;
}
