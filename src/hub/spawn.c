// SPDX-License-Identifier: MIT
// The hub's side of a birth: make the socketpair and the sealed list, hand them over, take the
// child's pidfd. Invariants: on failure nothing is left, neither descriptor nor zombie; no other
// descriptor of the hub reaches a child. Who forks, and why it is another process: spawn.h.

#include "hub/spawn.h"

#include "hub/spawn_births.h"
#include "module/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { SPAWN_WAIT_MSEC = 5000 };

// One to a process, as there is one hub to a process.
static struct {
        int fd;
        pid_t pid;
} births = {.fd = -1, .pid = -1};

int spawn_start(const char *module_dir, Reason *reason)
{
        int pair[2];

        if (births.fd >= 0)
                return 0;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return reason_errno(reason, -errno, "cannot make the births process");
        pid_t hub = getpid(), pid = fork();
        if (pid == 0)
                births_main(pair[1], hub, module_dir);
        (void)close(pair[1]);
        if (pid < 0) {
                int error = -errno;
                (void)close(pair[0]);
                return reason_errno(reason, error, "cannot make the births process");
        }
        births.fd = pair[0];
        births.pid = pid;
        return 0;
}

int spawn_watch(void)
{
        return births.fd;
}

void spawn_stop(void)
{
        if (births.fd < 0)
                return;
        (void)close(births.fd);
        births.fd = -1;
        // End of file ends it; it holds nothing that could make it wait.
        while (waitpid(births.pid, NULL, 0) < 0 && errno == EINTR)
                ;
        births.pid = -1;
}

static int spawn_ask(const SpawnRequest *r, const int *fds, Reason *reason)
{
        size_t fds_size =
                sizeof(int) * (r->doors ? (size_t)_BIRTH_FD_MAX : (size_t)BIRTH_FDS_WITHOUT_DOORS);
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int) * _BIRTH_FD_MAX)];
        } control = {0};
        BirthRequest request = {.keep_ambient = r->keep_ambient};
        struct iovec iov = {.iov_base = &request, .iov_len = sizeof request};
        struct msghdr m = {.msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control.space,
                .msg_controllen = CMSG_SPACE(fds_size)};

        if (strlen(r->argv0) >= sizeof request.argv0 ||
                strlen(r->instance) >= sizeof request.instance)
                return reason_set(reason, -ENAMETOOLONG, "%s: name too long", r->argv0);
        memcpy(request.argv0, r->argv0, strlen(r->argv0));
        memcpy(request.instance, r->instance, strlen(r->instance));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fds_size);
        memcpy(CMSG_DATA(c), fds, fds_size);
        while (sendmsg(births.fd, &m, MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        return reason_errno(reason, -errno, "the births process is gone");
        return 0;
}

static int spawn_answer(BirthAnswer *ret, int *ret_pidfd, Reason *reason)
{
        union {
                struct cmsghdr head;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {0};
        struct iovec iov = {.iov_base = ret, .iov_len = sizeof *ret};
        struct msghdr m = {.msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control.space,
                .msg_controllen = sizeof control.space};
        struct pollfd p = {.fd = births.fd, .events = POLLIN};
        ssize_t n;

        while ((n = poll(&p, 1, SPAWN_WAIT_MSEC)) < 0 && errno == EINTR)
                ;
        if (n > 0)
                while ((n = recvmsg(births.fd, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
                        ;
        if (n != (ssize_t)sizeof *ret) {
                // Out of step for good: an answer that comes later would be taken for the next.
                (void)kill(births.pid, SIGKILL);
                return reason_set(reason, -EPIPE, "the births process is gone or hangs");
        }
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
                memcpy(ret_pidfd, CMSG_DATA(c), sizeof(int));
        return 0;
}

// A child that could not be executed ends by itself at once; one that never answered is killed.
static void spawn_reap(int pidfd)
{
        siginfo_t si;

        if (pidfd < 0)
                return;
        (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
        while (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED) < 0 && errno == EINTR)
                ;
}

int spawn_child(const SpawnRequest *r, SpawnedChild *ret, Reason *reason)
{
        _cleanup_(closep) int ours = -1, theirs = -1, list = -1, pidfd = -1;
        BirthAnswer answer = {0};
        int pair[2];

        if (births.fd < 0)
                return reason_set(reason, -EPIPE, "the births process was not started");
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return reason_errno(reason, -errno, "%s[%s]: link", r->argv0, r->instance);
        ours = pair[0];
        theirs = pair[1];
        if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
                return reason_errno(reason, -errno, "%s[%s]: link", r->argv0, r->instance);
        int q = cage_list_new(r->cage ? r->cage->list : NULL, &list);
        if (q < 0)
                return reason_errno(reason, q, "%s[%s]: list of paths", r->argv0, r->instance);

        const int fds[_BIRTH_FD_MAX] = {[BIRTH_PROGRAM] = r->program_fd,
                [BIRTH_LINK] = theirs,
                [BIRTH_CAGE] = list,
                [BIRTH_FAMILY] = r->family_fd,
                [BIRTH_DOOR_STREAM] = r->doors ? r->doors[0] : -1,
                [BIRTH_DOOR_DATAGRAMS] = r->doors ? r->doors[1] : -1};
        q = spawn_ask(r, fds, reason);
        if (q >= 0)
                q = spawn_answer(&answer, &pidfd, reason);
        if (q < 0)
                return q;
        if (answer.error < 0 || pidfd < 0) {
                spawn_reap(pidfd);
                answer.what[sizeof answer.what - 1] = '\0';
                return reason_errno(reason, answer.error < 0 ? answer.error : -EPIPE,
                        "cannot start %s[%s]: %s", r->argv0, r->instance, answer.what);
        }
        *ret = (SpawnedChild){.pid = answer.pid, .pidfd = TAKE_FD(pidfd), .link_fd = TAKE_FD(ours)};
        return 0;
}
