// SPDX-License-Identifier: MIT
// A writer is killed with SIGKILL, at random and at the store's fail points; what a new process
// finds is exactly what was durable: the last confirmed step, or the one that was being committed.
// Nothing half, counters equal to a recount. `--power-loss` does the same with a loop-mounted ext4
// that is shut down under the writer, so that what was not synced is gone (needs root).
#include "store_fixture.h"

#include "base/failpoint.h"
#include "store_model.h"
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#define SIZE (UINT64_C(8) << 20)
#define EXT4_SHUTDOWN 0x8004587dUL // FS_IOC_SHUTDOWN; flag 2: without flushing anything
enum { SHUTDOWN_NOLOGFLUSH = 2, STEPS_A_LIFE = 150 };

#ifdef __SANITIZE_ADDRESS__
enum { KILLS = 60 };
#else
enum { KILLS = 200 };
#endif

typedef struct Said {
        char what; // 'o'pened, 'b'egins to commit, 'd'urable
        uint64_t step;
} Said;

static void say(int fd, char what, uint64_t step)
{
        Said said = {what, step};
        if (write(fd, &said, sizeof(said)) != sizeof(said))
                _exit(1);
}

static void child_live(const char *dir, Model *m, int fd, const char *failpoint)
{
        Store *s = NULL;
        Reason reason;
        StoreOptions o = {.state_dir = dir, .size = SIZE, .ledger_percent = 5};
        if (failpoint && failpoint_set(failpoint) < 0)
                _exit(2);
        if (store_open(&s, &o, &reason) < 0) {
                (void)dprintf(STDERR_FILENO, "child: %s\n", reason.text);
                _exit(3);
        }
        say(fd, 'o', m->step);
        for (int i = 0; i < STEPS_A_LIFE; i++) {
                StoreTxn *t = store_begin(s);
                if (m->step == 0)
                        model_intern(t);
                model_step(m, t);
                say(fd, 'b', m->step);
                if (store_commit(t, &reason) < 0) // the disk was taken away
                        (void)pause();
                say(fd, 'd', m->step);
        }
        _exit(0);
}

typedef struct Life {
        uint64_t begun, durable;
        bool opened;
} Life;

// Lets a child live until it has said `words` words, or ends by itself at its fail point.
static Life live(
        const char *dir, Model *m, const char *failpoint, unsigned words, void (*before_kill)(void))
{
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                child_live(dir, m, fds[1], failpoint);
        (void)close(fds[1]);
        Life l = {m->step, m->step, false};
        Said said;
        bool killed = false;
        if (words == 0) // during opening
                (void)kill(pid, SIGKILL);
        for (unsigned n = 1; read(fds[0], &said, sizeof(said)) == sizeof(said); n++) {
                l.opened |= said.what == 'o';
                if (said.what == 'b')
                        l.begun = said.step;
                if (said.what == 'd')
                        l.durable = said.step;
                if (n >= words && !killed) {
                        if (before_kill)
                                before_kill();
                        (void)kill(pid, SIGKILL);
                        killed = true;
                }
        }
        (void)close(fds[0]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
                fail_msg("the writer ended with status %d", WEXITSTATUS(status));
        return l;
}

static uint64_t step_of(Store *s)
{
        Slice text;
        uint64_t step = 0;
        assert_int_equal(store_read_begin(s), 0);
        int r = store_get_meta(s, "step", &text);
        if (r == 0) {
                char digits[32];
                (void)snprintf(digits, sizeof(digits), "%.*s", SLICE_ARG(text));
                step = strtoull(digits, NULL, 10);
        } else {
                assert_int_equal(r, -ENOENT);
        }
        store_read_end(s);
        return step;
}

// The oracle.
static void look(const char *dir, Model *m, Life l)
{
        Store *s = NULL;
        Reason reason;
        StoreOptions o = {.state_dir = dir, .size = SIZE, .ledger_percent = 5};
        int r = store_open(&s, &o, &reason);
        if (r != STORE_EXISTED && r != STORE_CREATED)
                fail_msg("after a kill: %d: %s", r, reason.text);
        uint64_t step = step_of(s);
        if (step < l.durable || step > l.begun)
                fail_msg("step %" PRIu64 " is there; %" PRIu64 " was durable, %" PRIu64 " begun",
                        step, l.durable, l.begun);
        while (m->step < step)
                model_step(m, NULL);
        const char *fault = model_compare(m, s);
        if (fault)
                fail_msg("step %" PRIu64 ": %s", step, fault);
        assert_int_equal(store_scrub(s, fixture_fault, NULL), 0);
        store_close(s);
}

static void test_kills(void **state)
{
        char dir[64], spec[64];
        fixture_dir(dir);
        uint64_t rng = fixture_seed();
        Model m;
        model_init(&m, rng, 40 * 1000);
        const char *cycles = getenv("BELFRY_KILLS");
        unsigned n = cycles ? (unsigned)strtoul(cycles, NULL, 10) : KILLS, between = 0;
        for (unsigned i = 0; i < n; i++) {
                const char *failpoint = NULL;
                if (i % 2) {
                        (void)snprintf(spec, sizeof(spec), "store.%s-commit:%" PRIu64,
                                i % 4 == 1 ? "before" : "after", 1 + model_random(&rng) % 20);
                        failpoint = spec;
                }
                Life l = live(dir, &m, failpoint,
                        failpoint ? UINT32_MAX : (unsigned)(model_random(&rng) % 40), NULL);
                between += l.begun > l.durable;
                look(dir, &m, l);
        }
        print_message(
                "%u kills, %u of them inside a commit, %" PRIu64 " steps\n", n, between, m.step);
        assert_true(n < 20 || between > n / 4);
        model_deinit(&m);
        fixture_remove(dir);
}

// ---- power loss

static char mount_dir[64], image_path[80];

static void run(const char *command)
{
        pid_t pid = fork();
        if (pid == 0) {
                (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
                _exit(127);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0)
                fail_msg("%s: status %d", command, status);
}

static void run_mount(void)
{
        char command[300];
        (void)snprintf(command, sizeof(command), "mount -o loop '%s' '%s'", image_path, mount_dir);
        run(command);
}

static void cut_power(void)
{
        int fd = open(mount_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        uint32_t flag = SHUTDOWN_NOLOGFLUSH;
        if (fd < 0 || ioctl(fd, EXT4_SHUTDOWN, &flag) < 0)
                fail_msg("shutdown of the file system: %s", strerror(errno));
        (void)close(fd);
}

static void test_power_loss(void **state)
{
        if (geteuid() != 0) {
                print_message("skipped: mounting a loop device needs root\n");
                skip();
        }
        char command[300], dir[80];
        (void)snprintf(mount_dir, sizeof(mount_dir), "/tmp/belfry-power-XXXXXX");
        assert_non_null(mkdtemp(mount_dir));
        (void)snprintf(image_path, sizeof(image_path), "%s.img", mount_dir);
        (void)snprintf(command, sizeof(command), "truncate -s 64M '%s' && mkfs.ext4 -qF '%s'",
                image_path, image_path);
        run(command);
        (void)snprintf(command, sizeof(command), "mount -o loop '%s' '%s' && umount '%s'",
                image_path, mount_dir, mount_dir);
        if (system(command) != 0) {
                print_message("skipped: this machine cannot mount a loop device\n");
                (void)unlink(image_path);
                (void)rmdir(mount_dir);
                skip();
        }
        (void)snprintf(dir, sizeof(dir), "%s/state", mount_dir);
        uint64_t rng = fixture_seed();
        Model m;
        model_init(&m, rng, 40 * 1000);
        for (int i = 0; i < 10; i++) {
                run_mount();
                Life l = live(dir, &m, NULL, 2 + (unsigned)(model_random(&rng) % 60), cut_power);
                assert_int_equal(umount(mount_dir), 0);
                run_mount();
                (void)snprintf(
                        command, sizeof(command), "%s/store.check", dir); // as after another boot
                (void)close(open(command, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
                look(dir, &m, l);
                assert_int_equal(umount(mount_dir), 0);
        }
        print_message("10 power losses, %" PRIu64 " steps\n", m.step);
        model_deinit(&m);
        (void)unlink(image_path);
        (void)rmdir(mount_dir);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest kills[] = {cmocka_unit_test(test_kills)};
        const struct CMUnitTest power[] = {cmocka_unit_test(test_power_loss)};
        if (argc > 1 && strcmp(argv[1], "--power-loss") == 0)
                return cmocka_run_group_tests(power, NULL, NULL);
        return cmocka_run_group_tests(kills, NULL, NULL);
}
