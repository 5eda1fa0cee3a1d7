// SPDX-License-Identifier: MIT
// The births process: see spawn.h for why it exists. It sleeps in recvmsg; each request brings the
// program, the child's three descriptors and its two words, each answer the child's pidfd. It holds
// nothing else: every other descriptor is closed at its own birth.
// Between clone and exec the child is a copy of this small process and calls the kernel only.

#include "hub/spawn_births.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "module/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MODULE_DIR "/usr/libexec/belfry"

// Descriptors of a child are moved above this before they take their places.
enum { FD_LIFT = 16, BIRTH_WAIT_MSEC = 4000 };

typedef struct Births {
        int fd;
        pid_t hub;
        char dir[PATH_MAX];
        char *environment[5]; // tests alone pass sanitizer variables and a fail point
} Births;

static bool same_dir(const char *a, const char *b)
{
        struct stat x, y;

        return stat(a, &x) >= 0 && stat(b, &y) >= 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

// Only a module program, under its own name, from a module directory: a hub that was taken over
// cannot have something else executed outside its own cage. An upgrade may have replaced the file.
static int births_check(const Births *b, const BirthRequest *r, int program)
{
        static const char deleted[] = " (deleted)";
        char link[64], path[PATH_MAX];
        struct stat st;

        if (strncmp(r->argv0, "belfry-source-", 14) != 0 &&
                strncmp(r->argv0, "belfry-sink-", 12) != 0)
                return -EPERM;
        if (fstat(program, &st) < 0 || !S_ISREG(st.st_mode))
                return -EACCES;
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", program);
        ssize_t n = readlink(link, path, sizeof path - 1);
        if (n < 0)
                return -errno;
        path[n] = '\0';
        size_t tail = sizeof deleted - 1;
        if ((size_t)n > tail && strcmp(path + (size_t)n - tail, deleted) == 0)
                path[(size_t)n - tail] = '\0';
        char *slash = strrchr(path, '/');
        if (!slash || strcmp(slash + 1, r->argv0) != 0)
                return -EPERM;
        *slash = '\0';
        return same_dir(path, b->dir) || same_dir(path, MODULE_DIR) ? 0 : -EPERM;
}

static void child_reset_signals(void)
{
        sigset_t none;

        for (int i = 1; i < NSIG; i++)
                (void)signal(i, SIG_DFL);
        // Until module_main() says the same: a Ctrl-C is for the hub.
        (void)signal(SIGINT, SIG_IGN);
        (void)signal(SIGTERM, SIG_IGN);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_place(const int *fds, int n_fds, int *program)
{
        static const int places[] = {[BIRTH_LINK] = CHILD_FD_LINK,
                [BIRTH_CAGE] = CHILD_FD_CAGE,
                [BIRTH_FAMILY] = CHILD_FD_FAMILY,
                [BIRTH_DOOR_STREAM] = CHILD_FD_DOOR_STREAM,
                [BIRTH_DOOR_DATAGRAMS] = CHILD_FD_DOOR_DATAGRAMS};
        unsigned first_free = CHILD_FD_FIRST_FREE + (unsigned)(n_fds - BIRTH_FDS_WITHOUT_DOORS);
        int lifted[_BIRTH_FD_MAX];

        for (int i = 0; i < n_fds; i++) {
                lifted[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FD_LIFT);
                if (lifted[i] < 0)
                        return -errno;
        }
        for (int i = BIRTH_LINK; i < n_fds; i++)
                if (dup2(lifted[i], places[i]) < 0)
                        return -errno;
        if (syscall(SYS_close_range, first_free, ~0u, 4u /* CLOEXEC */) < 0)
                return -errno;
        *program = lifted[BIRTH_PROGRAM];
        return 0;
}

static _Noreturn void births_child(
        Births *b, const BirthRequest *r, const int *fds, int n_fds, int tell)
{
        char *argv[] = {(char *)(uintptr_t)r->argv0, (char *)(uintptr_t)r->instance, NULL};
        int program = -1, error = 0;

        tell = fcntl(tell, F_DUPFD_CLOEXEC, FD_LIFT);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != b->hub)
                _exit(127);
        child_reset_signals();
        if (!r->keep_ambient)
                (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        error = child_place(fds, n_fds, &program);
        if (error >= 0) {
                (void)prctl(PR_SET_NAME, r->argv0);
                (void)syscall(SYS_execveat, program, "", argv, b->environment, AT_EMPTY_PATH);
                error = -errno;
        }
        (void)!write(tell, &error, sizeof error);
        _exit(127);
}

// The child's word on a failed exec, or end of file when the program runs.
static int births_wait_exec(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int error = 0;
        ssize_t n;

        if (poll(&p, 1, BIRTH_WAIT_MSEC) == 0)
                return -ETIMEDOUT;
        do
                n = read(fd, &error, sizeof error);
        while (n < 0 && errno == EINTR);
        return n == (ssize_t)sizeof error ? error : 0;
}

static int births_birth(
        Births *b, const BirthRequest *r, const int *fds, int n_fds, BirthAnswer *ret)
{
        int tell[2], pidfd = -1;

        ret->error = births_check(b, r, fds[BIRTH_PROGRAM]);
        if (ret->error < 0) {
                (void)snprintf(ret->what, sizeof ret->what, "not a program of a module");
                return -1;
        }
        if (pipe2(tell, O_CLOEXEC) < 0) {
                ret->error = -errno;
                (void)snprintf(ret->what, sizeof ret->what, "pipe");
                return -1;
        }
        // As fork(), but with the hub as parent. glibc's wrappers do not offer it.
        long pid =
                syscall(SYS_clone, CLONE_PARENT | CLONE_PIDFD | SIGCHLD, NULL, &pidfd, NULL, NULL);
        if (pid == 0)
                births_child(b, r, fds, n_fds, tell[1]);
        (void)close(tell[1]);
        if (pid < 0) {
                ret->error = -errno;
                (void)snprintf(ret->what, sizeof ret->what, "clone");
                pidfd = -1;
        } else {
                ret->pid = (pid_t)pid;
                ret->error = births_wait_exec(tell[0]);
                (void)snprintf(ret->what, sizeof ret->what, "exec");
        }
        (void)close(tell[0]);
        return pidfd;
}

static void births_answer(const Births *b, const BirthAnswer *a, int pidfd)
{
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {0};
        struct iovec iov = {.iov_base = (void *)(uintptr_t)a, .iov_len = sizeof *a};
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

        if (pidfd >= 0) {
                m.msg_control = control.space;
                m.msg_controllen = sizeof control.space;
                struct cmsghdr *c = CMSG_FIRSTHDR(&m);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &pidfd, sizeof pidfd);
        }
        while (sendmsg(b->fd, &m, MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        _exit(EXIT_FAILURE);
}

static ssize_t births_receive(const Births *b, BirthRequest *r, int *fds, int *ret_n_fds)
{
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int) * _BIRTH_FD_MAX)];
        } control = {0};
        struct iovec iov = {.iov_base = r, .iov_len = sizeof *r};
        struct msghdr m = {.msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control.space,
                .msg_controllen = sizeof control.space};
        ssize_t n;

        do
                n = recvmsg(b->fd, &m, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
        if (!c || c->cmsg_type != SCM_RIGHTS ||
                (c->cmsg_len != CMSG_LEN(sizeof(int) * _BIRTH_FD_MAX) &&
                        c->cmsg_len != CMSG_LEN(sizeof(int) * BIRTH_FDS_WITHOUT_DOORS)))
                return n == 0 ? 0 : -EBADMSG;
        *ret_n_fds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), sizeof(int) * (size_t)*ret_n_fds);
        if (n != (ssize_t)sizeof *r)
                return -EBADMSG;
        r->argv0[sizeof r->argv0 - 1] = r->instance[sizeof r->instance - 1] = '\0';
        return n;
}

// Standard error stays; the rest is the null device, the socket and nothing.
static int births_descriptors(int *fd)
{
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
                return -errno;
        if (*fd != 3 && dup3(*fd, 3, O_CLOEXEC) < 0)
                return -errno;
        *fd = 3;
        return syscall(SYS_close_range, 4u, ~0u, 0u) < 0 ? -errno : 0;
}

static void births_environment(Births *b)
{
        static const char *const names[] = {
                "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS", "BELFRY_FAILPOINT"};
        size_t n = 0;

        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                const char *value = getenv(names[i]);
                if (value && asprintf(&b->environment[n], "%s=%s", names[i], value) > 0)
                        n++;
        }
        b->environment[n] = NULL;
}

_Noreturn void births_main(int fd, pid_t hub, const char *module_dir)
{
        static Births b;

        b.hub = hub;
        (void)prctl(PR_SET_NAME, "belfry-births");
        (void)prctl(PR_SET_DUMPABLE, 0);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != hub)
                _exit(EXIT_FAILURE);
        (void)signal(SIGINT, SIG_IGN);
        (void)signal(SIGTERM, SIG_IGN);
        (void)signal(SIGHUP, SIG_IGN);
        (void)snprintf(b.dir, sizeof b.dir, "%s", module_dir);
        births_environment(&b);
        if (births_descriptors(&fd) < 0 || cage_enter_births() < 0)
                _exit(EXIT_FAILURE);
        b.fd = fd;
        for (;;) {
                BirthRequest r = {0};
                BirthAnswer a = {0};
                int fds[_BIRTH_FD_MAX], n_fds = 0;

                ssize_t n = births_receive(&b, &r, fds, &n_fds);
                if (n <= 0)
                        _exit(n == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
                int pidfd = births_birth(&b, &r, fds, n_fds, &a);
                FAILPOINT("births.child-cloned");
                births_answer(&b, &a, pidfd);
                if (pidfd >= 0)
                        (void)close(pidfd);
                for (int i = 0; i < n_fds; i++)
                        (void)close(fds[i]);
        }
}
