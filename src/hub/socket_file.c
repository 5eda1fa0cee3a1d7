// SPDX-License-Identifier: MIT
// See socket_file.h. The umask is the process's: it is changed for the bind alone, there is one
// thread.
#include "hub/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

// Long directories (tests, user mode) do not fit sun_path: go through a descriptor of the directory.
static int address_of(const char *path, struct sockaddr_un *ret, int *ret_dir)
{
        *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
        const char *slash = strrchr(path, '/');
        if (strlen(path) < sizeof(ret->sun_path) || !slash) {
                int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s", path);
                return n < (int)sizeof(ret->sun_path) ? 0 : -ENAMETOOLONG;
        }
        _cleanup_(freep) char *dir = strndup(path, (size_t)(slash - path));
        if (!dir)
                return -ENOMEM;
        int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_dir = fd;
        int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d%s", fd, slash);
        return n < (int)sizeof(ret->sun_path) ? 0 : -ENAMETOOLONG;
}

static bool is_answered(const struct sockaddr_un *address, int type)
{
        _cleanup_(closep) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
                                  errno == EAGAIN);
}

int socket_file_new(const char *path, int type, int *ret_fd)
{
        struct sockaddr_un address;
        _cleanup_(closep) int dir = -1;
        int r = address_of(path, &address, &dir);
        if (r < 0)
                return r;
        _cleanup_(closep) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        mode_t mask = umask(0177);
        r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        if (r == -EADDRINUSE && !is_answered(&address, type) && unlink(address.sun_path) == 0)
                r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        (void)umask(mask);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int socket_file_open_to_group(const char *path)
{
        struct group gr, *found = NULL;
        char names[4096];
        int left = 0;
        if (getgrnam_r("belfry", &gr, names, sizeof(names), &found) == 0 && found)
                left = chown(path, (uid_t)-1, found->gr_gid);
        (void)left; // not root and not of that group: it stays with ours
        return chmod(path, 0660) < 0 ? -errno : 0;
}
