// SPDX-License-Identifier: MIT
// What a caged process must be able to do: what file sources, resolvers and libraries ask for.

#include "probe_internal.h"

#include "module/cage_internal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

// ---- what must work
static int can_read_file(const Probe *p)
{
        char c;
        int fd = open(p->file, O_RDONLY | O_CLOEXEC);
        int e = fd < 0 ? errno : read(fd, &c, 1) == 1 ? 0 : EIO;
        if (fd >= 0)
                (void)close(fd);
        return e;
}

static int can_list(const Probe *p)
{
        DIR *d = opendir(p->o->inside);
        if (!d)
                return errno;
        int n = 0;
        while (readdir(d))
                n++;
        (void)closedir(d);
        return n >= 3 ? 0 : EIO;
}

static int can_open_beneath(const Probe *p)
{
        struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
        int dir = open(p->o->inside, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int e = close_result((int)syscall(SYS_openat2, dir, "file", &how, sizeof how));
        (void)close(dir);
        return e;
}

static int can_lease(const Probe *p)
{
        int fd = open(p->file, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return errno;
        int e = result(fcntl(fd, F_SETSIG, SIGRTMIN));
        if (!e)
                e = result(fcntl(fd, F_SETLEASE, F_RDLCK));
        if (!e && fcntl(fd, F_GETLEASE) != F_RDLCK)
                e = EIO;
        if (!e)
                e = result(fcntl(fd, F_SETLEASE, F_UNLCK));
        (void)close(fd);
        return e;
}

static int can_handle(const Probe *p)
{
        union {
                struct file_handle h;
                char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
        } u = {.h.handle_bytes = MAX_HANDLE_SZ};
        int mount;
        return result(name_to_handle_at(AT_FDCWD, p->file, &u.h, &mount, 0));
}

static int can_inotify(const Probe *p)
{
        int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), pending;
        int e = fd < 0 ? errno : result(inotify_add_watch(fd, p->o->inside, IN_CREATE));
        if (!e)
                e = result(ioctl(fd, FIONREAD, &pending));
        if (fd >= 0)
                (void)close(fd);
        return e;
}

static int can_statx(const Probe *p)
{
        struct statx st;
        return result(statx(AT_FDCWD, p->file, 0, STATX_BASIC_STATS | STATX_BTIME, &st));
}

static int can_names(const Probe *p)
{
        struct passwd *u = getpwuid(0);
        struct group *g = getgrgid(0);
        return u && g && strcmp(u->pw_name, "root") == 0 ? 0 : EIO;
}

static int can_see_mounts(const Probe *p)
{
        return close_result(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
}

static int can_descriptors(const Probe *p)
{
        sigset_t none;
        (void)sigemptyset(&none);
        int e = close_result(eventfd(0, EFD_CLOEXEC));
        if (!e)
                e = close_result(epoll_create1(EPOLL_CLOEXEC));
        if (!e)
                e = close_result(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC));
        return e ? e : close_result(signalfd(-1, &none, SFD_CLOEXEC));
}

static void *thread(void *arg)
{
        return arg;
}

static int can_thread(const Probe *p)
{
        pthread_t t;
        int e = pthread_create(&t, NULL, thread, NULL);
        return e ? e : pthread_join(t, NULL);
}

static int can_signal_self(const Probe *p)
{
        return result(syscall(SYS_tgkill, getpid(), getpid(), 0));
}

static int can_allocate(const Probe *p)
{
        void *m = malloc(64u << 20);
        if (!m)
                return ENOMEM;
        memset(m, 1, 64u << 20);
        free(m);
        return 0;
}

static int can_connect(const Probe *p)
{
        struct sockaddr_in a = {.sin_family = AF_INET,
                .sin_port = htons((uint16_t)p->o->port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int e = fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&a, sizeof a));
        if (fd >= 0)
                (void)close(fd);
        return e;
}

static int can_resolve(const Probe *p)
{
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
        int r = getaddrinfo("localhost", "80", &hints, &list);
        if (r == 0)
                freeaddrinfo(list);
        return r == 0 ? 0 : EIO;
}

const Attempt probe_allowed[] = {CAN(read_file), CAN(list), CAN(open_beneath), CAN(lease),
        CAN(handle), CAN(inotify), CAN(statx), CAN(see_mounts), CAN(names), CAN(descriptors),
        CAN(thread), CAN(signal_self), CAN(allocate)};
const Attempt probe_allowed_network[] = {CAN(connect), CAN(resolve),
        {"inet_stream", try_inet_stream}, {"inet_datagram", try_inet_datagram}};
const size_t n_probe_allowed = N_ELEMENTS(probe_allowed);
const size_t n_probe_allowed_network = N_ELEMENTS(probe_allowed_network);
