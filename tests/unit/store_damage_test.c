// SPDX-License-Identifier: MIT
// Damage: single flipped bits anywhere in the file, rows rewritten behind the store's back, an
// older copy put in its place, a salvage that is interrupted. Nothing wrong is ever returned as
// right, nothing is deleted, the process that opens never crashes.
#include "store_fixture.h"

#include "base/failpoint.h"
#include "store/envelope.h"
#include "store_model.h"
#include <glob.h>
#include <lmdb.h>
#include <signal.h>
#include <sys/resource.h>

#define SIZE (UINT64_C(4) << 20)

#ifdef __SANITIZE_ADDRESS__
enum { FLIPS = 25 }; // each is a dozen processes, and those are slow with a sanitizer
#else
enum { FLIPS = 150 };
#endif

static char dir[64];
static Model model, model_before; // before: one commit ago
static Buf image;

static void read_file(const char *path, Buf *out)
{
        *out = BUF_INIT(16 << 20);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        char part[65536];
        for (size_t n; (n = fread(part, 1, sizeof(part), f)) > 0;)
                buf_add(out, part, n);
        (void)fclose(f);
}

static void write_file(const char *path, const Buf *in)
{
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(in->data, 1, in->len, f), in->len);
        assert_int_equal(fclose(f), 0);
}

static const char *in_dir(const char *name)
{
        static char path[200];
        (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
        return path;
}

static void mark(void)
{
        (void)close(open(in_dir("store.check"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static char witness[200]; // the lock file that belongs to the image

static int setup(void **state)
{
        fixture_dir(dir);
        model_init(&model, 42, 60 * 1000);
        Store *s = fixture_open_as(dir, SIZE, STORE_CREATED);
        StoreTxn *t = store_begin(s);
        model_intern(t);
        fixture_commit(t);
        model_init(&model_before, 42, 60 * 1000);
        for (int i = 0; i < 119; i++)
                model_step(&model_before, NULL);
        for (int i = 0; i < 120; i++) {
                t = store_begin(s);
                model_step(&model, t);
                fixture_commit(t);
        }
        assert_null(model_compare(&model, s));
        store_close(s);
        read_file(in_dir("store/data.mdb"), &image);
        Buf line;
        read_file(in_dir("lock"), &line);
        (void)snprintf(witness, sizeof(witness), "%s", buf_text(&line));
        buf_deinit(&line);
        return 0;
}

static int teardown(void **state)
{
        model_deinit(&model);
        model_deinit(&model_before);
        buf_deinit(&image);
        fixture_remove(dir);
        return 0;
}

// A fresh copy of the good store.
static void restore(void)
{
        char other[64];
        memcpy(other, dir, sizeof(other));
        fixture_remove(other);
        assert_int_equal(mkdir(dir, 0700), 0);
        assert_int_equal(mkdir(in_dir("store"), 0700), 0);
        write_file(in_dir("store/data.mdb"), &image);
}

static void flip(uint64_t bit)
{
        image.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

static unsigned corrupt_copies(void)
{
        glob_t g;
        (void)glob(in_dir("store.corrupt-*"), 0, NULL, &g);
        unsigned n = (unsigned)g.gl_pathc;
        globfree(&g);
        return n;
}

// Every fifth in one of the two head pages, which decide everything and are a small target.
static uint64_t some_bit(uint64_t *rng, int i)
{
        if (i % 5)
                return model_random(rng) % (image.len * 8);
        return (uint64_t)(i % 2) * 4096 * 8 + model_random(rng) % (152 * 8);
}

// With a check at open: this process never crashes, afterwards the store is whole and right.
static void test_flips_are_found(void **state)
{
        uint64_t rng = fixture_seed();
        unsigned salvaged = 0, refused = 0;
        for (int i = 0; i < FLIPS; i++) {
                uint64_t bit = some_bit(&rng, i);
                flip(bit);
                restore(); // no lock file, no witness: opening checks everything
                flip(bit);
                Store *s = NULL;
                Reason reason;
                StoreOptions o = {.state_dir = dir, .size = SIZE, .ledger_percent = 5};
                int r = store_open(&s, &o, &reason);
                if (r == -EPROTO) {
                        refused++;
                        continue;
                }
                if (r < 0)
                        fail_msg("bit %" PRIu64 ": %d: %s", bit, r, reason.text);
                const char *fault = r == STORE_EXISTED ? model_compare(&model, s)
                                                       : model_compare_damaged(&model, s);
                if (fault &&
                        r == STORE_SALVAGED) // a head page: it says so, and is one commit older
                        fault = model_compare_damaged(&model_before, s);
                if (fault)
                        fail_msg("bit %" PRIu64 ", opened %d: %s (%s)", bit, r, fault, reason.text);
                assert_int_equal(store_scrub(s, fixture_fault, NULL), 0);
                if (r == STORE_SALVAGED) {
                        salvaged++;
                        assert_int_equal(corrupt_copies(), 1);
                        assert_true(strlen(reason.text) > 20);
                        StoreTxn *t = store_begin(s); // it works on
                        StoreRoute route = {.sink = 1, .method = "POST"};
                        (void)store_put_event(t, 1, SLICE_LIT("next"), &route, 1);
                        fixture_commit(t);
                }
                store_close(s);
        }
        print_message("%d flips: %u salvaged, %u refused, the others harmless\n", FLIPS, salvaged,
                refused);
        assert_true(salvaged > FLIPS / 8);
}

static int read_unchecked(void)
{
        static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT};
        for (size_t i = 0; i < N_ELEMENTS(fatal); i++)
                (void)signal(fatal[i], SIG_DFL);
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        (void)alarm(20);
        Store *s = NULL;
        StoreOptions o = {.state_dir = dir, .size = SIZE, .read_only = true};
        if (store_open(&s, &o, NULL) < 0)
                return 2;
        const char *fault = model_compare_damaged(&model, s);
        if (fault)
                (void)dprintf(STDERR_FILENO, "%s\n", fault);
        return fault ? 1 : store_scrub(s, NULL, NULL) > 0 ? 3 : 0;
}

// Without a check: the reader may die, but whatever it returns is right.
static void test_flips_are_never_returned(void **state)
{
        uint64_t rng = fixture_seed() + 1;
        unsigned died = 0, told = 0;
        for (int i = 0; i < FLIPS; i++) {
                uint64_t bit = some_bit(&rng, i);
                flip(bit);
                restore();
                flip(bit);
                Buf line = BUF_INIT(sizeof(witness));
                buf_add_str(&line, witness);
                write_file(in_dir("lock"), &line);
                buf_deinit(&line);
                pid_t pid = fork();
                assert_true(pid >= 0);
                if (pid == 0)
                        _exit(read_unchecked());
                int status;
                assert_int_equal(waitpid(pid, &status, 0), pid);
                died += WIFSIGNALED(status);
                if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
                        fail_msg("bit %" PRIu64 ": wrong bytes", bit);
                told += WIFEXITED(status) && WEXITSTATUS(status) != 0;
        }
        print_message(
                "%d flips: %u told, %u ended the reader, the others harmless\n", FLIPS, told, died);
        assert_true(told > FLIPS / 8);
}

// Changes one value through LMDB itself, as a stray writer would: the first row (-1), or so many
// before the last.
static void rewrite(const char *table, int from_end, void (*change)(MDB_val *row))
{
        MDB_env *env;
        MDB_txn *txn;
        MDB_dbi dbi;
        MDB_cursor *c;
        MDB_val key, row, copy;
        assert_int_equal(mdb_env_create(&env), 0);
        (void)mdb_env_set_maxdbs(env, 20);
        assert_int_equal(mdb_env_open(env, in_dir("store"), 0, 0600), 0);
        assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
        assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
        assert_int_equal(mdb_cursor_open(txn, dbi, &c), 0);
        assert_int_equal(mdb_cursor_get(c, &key, &row, from_end < 0 ? MDB_FIRST : MDB_LAST), 0);
        for (int i = 0; i < from_end; i++)
                assert_int_equal(mdb_cursor_get(c, &key, &row, MDB_PREV), 0);
        copy = (MDB_val){.mv_size = row.mv_size, .mv_data = malloc(row.mv_size)};
        assert_non_null(copy.mv_data);
        memcpy(copy.mv_data, row.mv_data, row.mv_size);
        change(&copy);
        assert_int_equal(mdb_cursor_put(c, &key, &copy, MDB_CURRENT), 0);
        mdb_cursor_close(c);
        assert_int_equal(mdb_txn_commit(txn), 0);
        mdb_env_close(env);
        free(copy.mv_data);
}

static void change_last_byte(MDB_val *row)
{
        ((uint8_t *)row->mv_data)[row->mv_size - 1] ^= 0x10;
}

static void test_a_bad_event_goes_to_quarantine(void **state)
{
        restore();
        store_close(fixture_open_as(dir, SIZE, STORE_EXISTED)); // a witness: no check at the next
        rewrite("events", -1, change_last_byte);
        Store *s = fixture_open_as(dir, SIZE, STORE_EXISTED);
        const ModelEvent *first = model.events;
        uint16_t sink = first->routes[0].route.sink;
        StoreEvent e;
        DeliveryKey keys[300];
        uint64_t cursor = 0;
        unsigned n;
        assert_int_equal(store_read_begin(s), 0);
        assert_int_equal(store_get_event(s, first->seq, &e), -EUCLEAN);
        assert_int_equal(store_scan_fresh(s, sink, &cursor, 1000, keys, NULL, 300, &n), -EUCLEAN);
        assert_int_equal(cursor, first->seq);
        store_read_end(s);
        assert_int_equal(
                access(in_dir("store.check"), F_OK), 0); // the next open looks at everything
        assert_true(store_scrub(s, NULL, NULL) > 0);
        StoreTxn *t = store_begin(s);
        store_quarantine(t, cursor);
        fixture_commit(t);
        StoreUsage usage;
        store_usage(s, &usage);
        assert_true(usage.quarantined >= 1);
        assert_int_equal(
                store_scrub(s, fixture_fault, NULL), 0); // counters and references are mended
        assert_int_equal(store_read_begin(s), 0);
        assert_int_equal(store_scan_fresh(s, sink, &cursor, 1000, keys, NULL, 300, &n), 0);
        store_read_end(s);
        assert_null(model_compare_damaged(&model, s));
        store_close(s);
        store_close(fixture_open_as(dir, SIZE, STORE_EXISTED));
        assert_int_not_equal(access(in_dir("store.check"), F_OK), 0);
}

static void test_a_bad_end_does_not_stick(void **state)
{
        restore();
        store_close(fixture_open_as(dir, SIZE, STORE_EXISTED));
        rewrite("events", -1, change_last_byte);
        Store *s = fixture_open_as(dir, SIZE, STORE_EXISTED);
        StoreTxn *t = store_begin(s); // its attempt ended before anybody read the row again
        store_end(t, (DeliveryKey){model.events->seq, 0}, END_DELIVERED, NULL);
        fixture_commit(t);
        assert_int_equal(store_scrub(s, fixture_fault, NULL), 0);
        store_close(s);
}

static void damage_newest(MDB_val *row)
{
        assert_non_null(memmem(row->mv_data, row->mv_size, "newest", 6));
        change_last_byte(row);
}

static void test_a_bad_position_leaves_the_one_before(void **state)
{
        restore();
        Store *s = fixture_open_as(dir, SIZE, STORE_EXISTED);
        static const char *const positions[] = {"long ago", "one before", "newest"};
        StoreUsage usage;
        for (size_t i = 0; i < N_ELEMENTS(positions); i++) {
                StoreTxn *t = store_begin(s);
                store_put_position(t, MODEL_SOURCES + 1, slice_of(positions[i]));
                fixture_commit(t);
        }
        store_usage(s, &usage);
        store_close(s);
        rewrite("positions", 1, damage_newest); // slots in turn: the third went to the first again
        Slice position;
        for (int opened = STORE_EXISTED; opened >= 0;
                opened = opened == STORE_EXISTED ? STORE_SALVAGED : -1) {
                s = fixture_open_as(dir, SIZE, opened); // the second time because of the mark
                assert_int_equal(store_read_begin(s), 0);
                assert_int_equal(store_get_position(s, MODEL_SOURCES + 1, &position), 0);
                assert_slice(position, "one before");
                store_read_end(s);
                store_close(s);
        }
}

static void test_an_older_copy_is_noticed(void **state)
{
        restore();
        Store *s = fixture_open_as(dir, SIZE, STORE_EXISTED);
        StoreTxn *t = store_begin(s);
        store_put_meta(t, "x", SLICE_LIT("y"));
        fixture_commit(t);
        store_close(s);
        write_file(in_dir("store/data.mdb"), &image);
        Reason reason;
        StoreOptions o = {.state_dir = dir, .size = SIZE, .ledger_percent = 5};
        assert_int_equal(store_open(&s, &o, &reason), STORE_SALVAGED);
        assert_non_null(strstr(reason.text, "older"));
        assert_null(model_compare(&model, s));
        store_close(s);
        store_close(fixture_open_as(dir, SIZE, STORE_EXISTED)); // said once
}

static void change_format(MDB_val *row)
{
        uint8_t *p = row->mv_data;
        p[ENVELOPE_SIZE] = 2;
        envelope_seal(TABLE_META, SLICE_LIT("format"), p, row->mv_size);
}

static void rewrite_format(MDB_val *row)
{
        assert_int_equal(row->mv_size, ENVELOPE_SIZE + 4);
        change_format(row);
}

static void test_a_newer_store_is_refused(void **state)
{
        char other[64];
        memcpy(other, dir, sizeof(other));
        fixture_remove(other);
        assert_int_equal(mkdir(dir, 0700), 0);
        store_close(fixture_open_as(dir, SIZE, STORE_CREATED)); // meta: commit, format
        rewrite("meta", 0, rewrite_format);
        Store *s = NULL;
        Reason reason;
        StoreOptions o = {.state_dir = dir, .size = SIZE};
        assert_int_equal(store_open(&s, &o, &reason), -EPROTO);
        assert_non_null(strstr(reason.text, "newer version"));
        mark();
        assert_int_equal(store_open(&s, &o, &reason), -EPROTO);
        assert_int_equal(corrupt_copies(), 0); // never "repaired"
}

static void open_and_die(const char *failpoint)
{
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                Store *s = NULL;
                StoreOptions o = {.state_dir = dir, .size = SIZE, .ledger_percent = 5};
                if (failpoint_set(failpoint) == 0)
                        (void)!store_open(&s, &o, NULL);
                _exit(1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_an_interrupted_salvage_is_finished(void **state)
{
        static const char *const points[] = {"store.before-commit:1", "store.before-commit:2",
                "store.salvage-before-rename:1", "store.salvage-between-renames:1"};
        for (size_t i = 0; i < N_ELEMENTS(points); i++) {
                restore();
                rewrite("events", -1, change_last_byte);
                open_and_die(points[i]);
                Store *s = fixture_open_as(dir, SIZE, STORE_SALVAGED);
                StoreUsage usage;
                store_usage(s, &usage);
                assert_true(usage.events > 3);
                assert_null(model_compare_damaged(&model, s));
                assert_int_equal(store_scrub(s, fixture_fault, NULL), 0);
                assert_int_equal(corrupt_copies(), 1);
                store_close(s);
                store_close(fixture_open_as(dir, SIZE, STORE_EXISTED));
        }
}

static void test_an_interrupted_creation_is_repeated(void **state)
{
        char other[64];
        memcpy(other, dir, sizeof(other));
        fixture_remove(other);
        open_and_die("store.create-before-rename:1");
        store_close(fixture_open_as(dir, SIZE, STORE_CREATED));
        store_close(fixture_open_as(dir, SIZE, STORE_EXISTED));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_flips_are_found, setup, teardown),
                cmocka_unit_test_setup_teardown(test_flips_are_never_returned, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        test_a_bad_event_goes_to_quarantine, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_bad_end_does_not_stick, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        test_a_bad_position_leaves_the_one_before, setup, teardown),
                cmocka_unit_test_setup_teardown(test_an_older_copy_is_noticed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_newer_store_is_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        test_an_interrupted_salvage_is_finished, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        test_an_interrupted_creation_is_repeated, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
