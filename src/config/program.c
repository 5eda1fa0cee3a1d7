// SPDX-License-Identifier: MIT
// Finding a module's program and asking it something: for its description, or for its judgement of
// options. The descriptor that was opened is the one executed, so that an upgrade in between changes
// nothing. The child gets no environment, no descriptors but its input and output, and 2 s.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/text.h"
#include "config/describe.h"

#define ANSWER_USEC (5 * USEC_PER_SEC)
#define LIBEXEC_DIR "/usr/libexec/belfry"

static int open_program(const char *path)
{
        struct stat st;
        int fd = open(path, O_PATH | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        int r = fstat(fd, &st) < 0 ? -errno : 0;
        if (r == 0 && !S_ISREG(st.st_mode))
                r = -EACCES;
        if (r == 0 && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
                r = -errno;
        if (r < 0) {
                (void)close(fd);
                return r;
        }
        return fd;
}

int module_program_open(const char *self_dir, ModuleKind kind, const char *name, char **ret_path)
{
        const char *dirs[] = {self_dir, LIBEXEC_DIR};
        int error = -ENOENT;
        if (!text_is_name(slice_of(name)))
                return -ENOENT; // a name never becomes a path of its own making
        for (size_t i = 0; i < N_ELEMENTS(dirs); i++) {
                char *path = NULL;
                if (!dirs[i])
                        continue;
                if (asprintf(&path, "%s/belfry-%s-%s", dirs[i],
                            kind == MODULE_SOURCE ? "source" : "sink", name) < 0)
                        return -ENOMEM;
                int fd = open_program(path);
                if (fd >= 0) {
                        *ret_path = path;
                        return fd;
                }
                free(path);
                if (fd != -ENOENT)
                        error = fd;
        }
        return error;
}

static size_t collect(const char *dir, const char *prefix, char **list, size_t n, size_t max)
{
        DIR *d = dir ? opendir(dir) : NULL;
        struct dirent *e;
        while (d && (e = readdir(d)) && n < max) {
                const char *name = e->d_name + strlen(prefix);
                bool known = strncmp(e->d_name, prefix, strlen(prefix)) != 0 ||
                             !text_is_name(slice_of(name));
                for (size_t i = 0; i < n && !known; i++)
                        known = strcmp(list[i], name) == 0;
                char *copy = known ? NULL : strdup(name);
                if (copy)
                        list[n++] = copy;
        }
        if (d)
                (void)closedir(d);
        return n;
}

static int by_name(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

// The order of a directory is nobody's: sorted, so that a message is the same everywhere.
size_t module_program_names(const char *self_dir, ModuleKind kind, char **ret, size_t max)
{
        const char *prefix = kind == MODULE_SOURCE ? "belfry-source-" : "belfry-sink-";
        size_t n = collect(self_dir, prefix, ret, 0, max);
        n = collect(LIBEXEC_DIR, prefix, ret, n, max);
        qsort(ret, n, sizeof(*ret), by_name);
        return n;
}

typedef struct Run {
        int program_fd, in_fd, out_fd;
        const char *path, *argument;
} Run;

// Between vfork() and exec: the parent waits and its memory is ours, so nothing of it is changed.
static void child_run(const Run *run)
{
        sigset_t none;
        char *const argv[] = {(char *)basename(run->path), (char *)run->argument, NULL};
        char *const envp[] = {NULL};
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGPIPE, SIG_DFL);
        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null_fd < 0 || dup2(run->in_fd >= 0 ? run->in_fd : null_fd, 0) < 0 ||
                dup2(run->out_fd, 1) < 0 || dup2(null_fd, 2) < 0)
                _exit(126);
        (void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
        (void)fexecve(run->program_fd, argv, envp);
        _exit(127);
}

static pid_t start_child(const Run *run)
{
        pid_t pid = vfork(); // the child only calls the kernel and executes; nothing is copied
        if (pid == 0)
                child_run(run);
        return pid;
}

static int read_answer(int fd, const char *argument, Buf *out, Reason *reason)
{
        uint64_t end = clock_mono_usec() + ANSWER_USEC;
        for (;;) {
                uint64_t now = clock_mono_usec();
                struct pollfd p = {.fd = fd, .events = POLLIN};
                int n = now < end ? poll(&p, 1, (int)((end - now) / USEC_PER_MSEC) + 1) : 0;
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return reason_errno(reason, -errno, "poll");
                if (n == 0)
                        return reason_set(
                                reason, -ETIMEDOUT, "its %s took longer than 5 s", argument);
                char some[16384];
                ssize_t got = read(fd, some, sizeof(some));
                if (got == 0)
                        return 0;
                if (got < 0 && errno != EINTR)
                        return reason_errno(reason, -errno, "reading from its %s", argument);
                if (got > 0)
                        buf_add(out, some, (size_t)got);
                if (out->error == -ENOBUFS)
                        return reason_set(
                                reason, -EFBIG, "its %s prints over %zu bytes", argument, out->max);
                if (out->error < 0)
                        return reason_set(reason, out->error, "out of memory");
        }
}

static int check_end(int status, const char *argument, Reason *reason)
{
        if (WIFSIGNALED(status))
                return reason_set(
                        reason, -EPROTO, "its %s died by signal %d", argument, WTERMSIG(status));
        int code = WEXITSTATUS(status);
        if (code == 127 || code == 126)
                return reason_set(reason, -ENOEXEC, "it cannot be executed");
        if (code != 0)
                return reason_set(
                        reason, -EPROTO, "its %s ended with exit status %d", argument, code);
        return 0;
}

// Ends the child in any case; it has closed its output, or had its time.
static int end_child(pid_t pid, const char *argument, int r, Reason *reason)
{
        int status = 0;
        uint64_t end = clock_mono_usec() + ANSWER_USEC;
        pid_t done = 0;
        while (r == 0 && done == 0 && clock_mono_usec() < end) {
                done = waitpid(pid, &status, WNOHANG);
                if (done == 0)
                        (void)poll(NULL, 0, 1); // it closed its output and is on its way out
        }
        if (done == 0) {
                (void)kill(pid, SIGKILL);
                while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                        ;
                return r < 0 ? r
                             : reason_set(reason, -ETIMEDOUT,
                                       "its %s answered but did not end within 5 s", argument);
        }
        return done < 0 ? reason_errno(reason, -errno, "waiting for it")
                        : check_end(status, argument, reason);
}

static int parse_answer(Buf *answer, ModuleDescription **ret, Reason *reason)
{
        json_error_t error;
        json_t *j =
                json_loadb((const char *)answer->data, answer->len, JSON_REJECT_DUPLICATES, &error);
        if (!j && json_error_code(&error) == json_error_out_of_memory)
                return reason_set(reason, -ENOMEM, "out of memory");
        if (!j)
                return reason_set(reason, -EBADMSG, "its description is not JSON: %s", error.text);
        int r = module_description_parse(j, ret, reason);
        json_decref(j);
        return r;
}

int module_program_run(int program_fd, const char *path, const char *argument, int in_fd,
        Buf *answer, Reason *reason)
{
        int pipes[2];
        if (pipe2(pipes, O_CLOEXEC) < 0)
                return reason_errno(reason, -errno, "%s", path);
        const Run run = {program_fd, in_fd, pipes[1], path, argument};
        pid_t pid = start_child(&run);
        int r = pid < 0 ? reason_errno(reason, -errno, "cannot start a process") : 0;
        (void)close(pipes[1]);
        if (r == 0)
                r = end_child(
                        pid, argument, read_answer(pipes[0], argument, answer, reason), reason);
        (void)close(pipes[0]);
        return r < 0 ? reason_prefix(reason, r, "%s", path) : 0;
}

int module_program_describe(
        int program_fd, const char *path, ModuleDescription **ret, Reason *reason)
{
        _cleanup_(buf_deinitp) Buf answer = BUF_INIT(LIMIT_DESCRIBE);
        int r = module_program_run(program_fd, path, "--describe", -1, &answer, reason);
        if (r < 0)
                return r;
        r = parse_answer(&answer, ret, reason);
        return r < 0 ? reason_prefix(reason, r, "%s", path) : 0;
}
