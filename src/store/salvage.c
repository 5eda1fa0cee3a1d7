// SPDX-License-Identifier: MIT
// A damaged store is never deleted: what is valid goes into a new one, the old one is moved aside
// as store.corrupt-<time>. Children read it, each table forwards and, where that breaks off,
// backwards, and send the rows; this process believes only those whose checksum is right. The new
// store is complete and durable before anything is renamed, and a crash between the two renames is
// finished at the next start.
#include "store/files.h"

#include "base/failpoint.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

enum {
        BATCH_ROWS = 1000,
        BATCH_BYTES = 4 * 1024 * 1024,
        VALUE_MAX = 1024 * 1024, // no row is longer than a chunk or a state value by far
};

typedef struct ReadTask {
        const char *dir;
        Table table;
        bool backwards;
} ReadTask;

static int read_main(int out_fd, void *u)
{
        const ReadTask *task = u;
        Store s = {.lock_fd = -1};
        Reason ignored;
        MDB_txn *txn;
        MDB_cursor *cursor;
        if (env_open(&s, task->dir, MDB_RDONLY | MDB_NOLOCK, env_file_size(task->dir), &ignored) <
                        0 ||
                mdb_txn_begin(s.env, NULL, MDB_RDONLY, &txn) != 0 ||
                mdb_cursor_open(txn, s.dbi[task->table], &cursor) != 0)
                return 1;
        _cleanup_(fclosep) FILE *out = fdopen(out_fd, "w");
        if (!out)
                return 1;
        MDB_val key, row;
        int rc;
        while ((rc = mdb_cursor_get(cursor, &key, &row, task->backwards ? MDB_PREV : MDB_NEXT)) ==
                0) {
                uint32_t head[2] = {(uint32_t)key.mv_size, (uint32_t)row.mv_size};
                if (key.mv_size > KEY_MAX || row.mv_size > VALUE_MAX)
                        continue;
                if (fwrite(head, sizeof(head), 1, out) != 1 ||
                        fwrite(key.mv_data, key.mv_size, 1, out) != 1 ||
                        (row.mv_size && fwrite(row.mv_data, row.mv_size, 1, out) != 1))
                        return 1;
        }
        if (fflush(out) != 0)
                return 1;
        return rc == MDB_NOTFOUND ? 0 : 1;
}

typedef struct Salvage {
        Store s; // the new one
        const char *dir;
        MDB_txn *txn;
        unsigned batch_rows;
        size_t batch_bytes;
        uint64_t kept[_TABLE_MAX], bad[_TABLE_MAX];
        bool broken[_TABLE_MAX]; // LMDB could not walk it to the end
} Salvage;

static int batch_end(Salvage *v)
{
        int rc = v->txn ? mdb_txn_commit(v->txn) : 0;
        v->txn = NULL;
        v->batch_rows = 0;
        v->batch_bytes = 0;
        return lmdb_error(rc);
}

static int take_row(Salvage *v, Table table, Slice key, Slice row)
{
        Slice body;
        if ((table_is_integer(table) && key.len != sizeof(uint64_t)) ||
                envelope_open(table, key, row, &body) < 0) {
                v->bad[table]++;
                return 0;
        }
        int rc = v->txn ? 0 : mdb_txn_begin(v->s.env, NULL, 0, &v->txn);
        MDB_val k = val_of(key), val = val_of(row);
        if (rc == 0) // a new store has a commit row and a format row of its own
                rc = mdb_put(v->txn, v->s.dbi[table], &k, &val,
                        table == TABLE_META ? 0 : MDB_NOOVERWRITE);
        if (rc == MDB_KEYEXIST) // forwards brought it already
                return 0;
        if (rc)
                return lmdb_error(rc);
        v->kept[table]++;
        v->batch_bytes += row.len;
        if (++v->batch_rows < BATCH_ROWS && v->batch_bytes < BATCH_BYTES)
                return 0;
        return batch_end(v);
}

static int take_rows(Salvage *v, Table table, FILE *in)
{
        _cleanup_(freep) uint8_t *row = malloc(VALUE_MAX);
        uint8_t key[KEY_MAX + 1];
        uint32_t head[2];
        if (!row)
                return -ENOMEM;
        while (fread(head, sizeof(head), 1, in) == 1) {
                if (head[0] == 0 || head[0] > KEY_MAX || head[1] > VALUE_MAX ||
                        fread(key, head[0], 1, in) != 1 ||
                        (head[1] && fread(row, head[1], 1, in) != 1))
                        break; // the child died in the middle of a row
                int r = take_row(v, table, slice_mem(key, head[0]), slice_mem(row, head[1]));
                if (r < 0)
                        return r;
        }
        return 0;
}

// 0: the child came to the end; 1: it did not.
static int salvage_pass(Salvage *v, Table table, bool backwards)
{
        ReadTask task = {v->dir, table, backwards};
        int fd;
        pid_t pid = child_start(read_main, &task, &fd);
        if (pid < 0)
                return (int)pid;
        FILE *in = fdopen(fd, "r");
        int r = in ? take_rows(v, table, in) : -errno;
        if (in)
                (void)fclose(in); // a child that still writes gets SIGPIPE
        else
                (void)close(fd);
        int status = child_wait(pid);
        return r < 0 ? r : status != 0;
}

static int salvage_rows(Salvage *v)
{
        for (Table i = 0; i < _TABLE_MAX; i++) {
                if (i == TABLE_DUE) // made anew from the owed rows
                        continue;
                uint64_t bad = v->bad[i];
                int r = salvage_pass(v, i, false);
                if (r == 1) {
                        v->broken[i] = true;
                        bad = v->bad[i];
                        r = salvage_pass(v, i, true);
                        v->bad[i] = bad; // seen from both sides, counted once
                }
                if (r < 0)
                        return r;
        }
        return batch_end(v);
}

static int aside_name(const char *state_dir, char **ret)
{
        time_t now = time(NULL);
        struct tm tm;
        char text[32];
        (void)gmtime_r(&now, &tm);
        (void)strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &tm);
        for (int i = 0; i < 1000; i++) {
                char *path;
                if ((i == 0 ? asprintf(&path, "%s/store.corrupt-%s", state_dir, text)
                            : asprintf(&path, "%s/store.corrupt-%s-%d", state_dir, text, i)) < 0)
                        return -ENOMEM;
                if (access(path, F_OK) < 0) {
                        *ret = path;
                        return 0;
                }
                free(path);
        }
        return -EEXIST;
}

static int salvage_rename(const char *state_dir, char **ret_aside)
{
        _cleanup_(freep) char *dir = path_join(state_dir, "store"),
                              *fresh = path_join(state_dir, "store.salvaged");
        char *aside = NULL;
        int r = dir && fresh ? aside_name(state_dir, &aside) : -ENOMEM;
        if (r < 0)
                return r;
        FAILPOINT("store.salvage-before-rename");
        if (rename(dir, aside) < 0) {
                r = -errno;
                free(aside);
                return r;
        }
        *ret_aside = aside;
        r = file_sync_dir(state_dir);
        if (r < 0)
                return r;
        FAILPOINT("store.salvage-between-renames");
        if (rename(fresh, dir) < 0)
                return -errno;
        return file_sync_dir(state_dir);
}

// A crash left a complete salvaged store without its name, or an incomplete one.
int salvage_finish(const char *state_dir, Reason *reason)
{
        _cleanup_(freep) char *dir = path_join(state_dir, "store");
        _cleanup_(freep) char *fresh = path_join(state_dir, "store.salvaged");
        _cleanup_(freep) char *half = path_join(state_dir, "store.salvage");
        _cleanup_(freep) char *created = path_join(state_dir, "store.new");
        if (!dir || !fresh || !half || !created)
                return -ENOMEM;
        int r = 0, finished = 0;
        if (access(fresh, F_OK) == 0 && access(dir, F_OK) < 0) {
                if (rename(fresh, dir) < 0)
                        r = -errno;
                finished = 1;
        } else {
                r = env_remove(fresh); // the damaged one is still in place: salvage again
        }
        if (r == 0)
                r = env_remove(half);
        if (r == 0)
                r = env_remove(created);
        if (r == 0)
                r = file_sync_dir(state_dir);
        return r < 0 ? reason_errno(reason, r, "%s: leftovers of an interrupted start", state_dir)
                     : finished;
}

static void salvage_report(
        const Salvage *v, const char *what, const Buf *lost, const char *aside, Reason *reason)
{
        Buf b = BUF_INIT(2 * REASON_MAX);
        for (Table i = 0; i < _TABLE_MAX; i++) {
                if (v->bad[i] == 0 && !v->broken[i])
                        continue;
                buf_addf(&b, "%s%" PRIu64 "%s lost in %s", b.len ? ", " : "", v->bad[i],
                        v->broken[i] ? " or more rows" : " rows", table_name(i));
        }
        if (lost->len)
                buf_addf(&b, "%s%.*s", b.len ? ", " : "", SLICE_ARG(buf_slice(lost)));
        char found[REASON_MAX];
        (void)snprintf(found, sizeof(found), "%s", what);
        (void)reason_set(reason, 0,
                "the store was damaged (%.150s): %.150s; %" PRIu64
                " events kept; the damaged one is kept as %s",
                found, b.len ? buf_text(&b) : "no row lost", v->s.committed.events, aside);
        buf_deinit(&b);
}

// What it has beyond its end is only reserved; the new store needs the space.
static void release_reserved(const char *dir)
{
        _cleanup_(freep) char *path = path_join(dir, "data.mdb");
        _cleanup_(closep) int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
        struct stat st;
        if (fd >= 0 && fstat(fd, &st) == 0)
                (void)!ftruncate(fd, st.st_size);
}

static int salvage_fill(
        Salvage *v, const char *half, const char *fresh, uint64_t size, Buf *lost, Reason *reason)
{
        int r = env_create(half, size, reason);
        if (r < 0)
                return r;
        v->s = (Store){.lock_fd = -1, .ledger_percent = 5};
        r = env_open(&v->s, half, 0, size, reason);
        if (r < 0)
                return r;
        r = salvage_rows(v);
        if (v->txn)
                mdb_txn_abort(v->txn);
        v->txn = NULL;
        if (r == 0)
                r = mend(&v->s, lost);
        int fd;
        if (r == 0 && mdb_env_get_fd(v->s.env, &fd) == 0 && fsync(fd) < 0)
                r = -errno;
        env_close(&v->s);
        if (r == 0)
                r = file_sync_dir(half);
        if (r == 0 && rename(half, fresh) < 0)
                r = -errno;
        return r < 0 ? reason_errno(reason, r, "cannot salvage the store") : 0;
}

int salvage(const char *state_dir, uint64_t size, Reason *reason)
{
        _cleanup_(freep) char *dir = path_join(state_dir, "store");
        _cleanup_(freep) char *half = path_join(state_dir, "store.salvage");
        _cleanup_(freep) char *fresh = path_join(state_dir, "store.salvaged");
        _cleanup_(freep) char *aside = NULL;
        if (!dir || !half || !fresh)
                return -ENOMEM;
        char what[REASON_MAX];
        (void)snprintf(what, sizeof(what), "%s", reason->text);
        Salvage *v = calloc(1, sizeof(*v));
        if (!v)
                return -ENOMEM;
        v->dir = dir;
        Buf lost = BUF_INIT(1024);
        head_repair(dir);
        release_reserved(dir);
        struct stat st;
        _cleanup_(freep) char *data = path_join(dir, "data.mdb");
        if (data && stat(data, &st) == 0 && (uint64_t)st.st_size > size)
                size = (uint64_t)st.st_size + (1 << 20); // everything that was there must fit
        int r = salvage_fill(v, half, fresh, size, &lost, reason);
        if (r == 0) {
                r = salvage_rename(state_dir, &aside);
                if (r < 0)
                        (void)reason_errno(reason, r, "cannot put the salvaged store in place");
        }
        if (r == 0)
                salvage_report(v, what, &lost, aside, reason);
        counters_deinit(&v->s.committed);
        counters_deinit(&v->s.txn.c);
        buf_deinit(&v->s.txn.ledger);
        buf_deinit(&v->s.txn.tmp);
        buf_deinit(&lost);
        free(v);
        return r;
}
