// SPDX-License-Identifier: MIT
// The database file: opened with MDB_NOTLS alone (both disk barriers of every commit stay), in a
// 0700 directory, with its whole size allocated so that a full disk cannot fail a commit. A new
// database is made complete and durable before anybody sees it. Decides nothing about damage.
#include "store/files.h"

#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

enum { READERS_MAX = 16 };
#define SIZE_LEAST (UINT64_C(1) << 20)

int lmdb_error(int rc)
{
        switch (rc) {
        case 0:
                return 0;
        case MDB_NOTFOUND:
                return -ENOENT;
        case MDB_MAP_FULL:
        case MDB_TXN_FULL:
                return -ENOSPC;
        case MDB_VERSION_MISMATCH:
                return -EPROTO;
        case MDB_READERS_FULL:
                return -EUSERS;
        case MDB_BAD_VALSIZE:
                return -EINVAL;
        default:
                break;
        }
        if (rc > 0)
                return rc == ENOSPC ? -EIO : -rc; // -ENOSPC means a full map, never a full disk
        return -EUCLEAN; // MDB_BAD_TXN too: a read that met damage answers nothing more
}

char *path_join(const char *dir, const char *name)
{
        char *path;
        return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

// LMDB found its own structures impossible. Nothing in memory can be trusted to end cleanly.
static void env_assert(MDB_env *env, const char *text)
{
        static const char say[] = "belfry store: LMDB assertion failed: ";
        (void)!write(STDERR_FILENO, say, sizeof(say) - 1);
        (void)!write(STDERR_FILENO, text, strlen(text));
        (void)!write(STDERR_FILENO, "\n", 1);
        _exit(EXIT_LMDB_ASSERTION);
}

int env_check_filesystem(const char *dir, Reason *reason)
{
        static const struct {
                unsigned long magic;
                const char *name;
                bool refused;
        } kinds[] = {
                {NFS_SUPER_MAGIC, "NFS", true},
                {SMB_SUPER_MAGIC, "SMB", true},
                {0xff534d42, "CIFS", true},
                {0xfe534d42, "SMB2", true},
                {0x65735546, "FUSE", true},
                {V9FS_MAGIC, "9p", true},
                {AFS_SUPER_MAGIC, "AFS", true},
                {CODA_SUPER_MAGIC, "Coda", true},
                {0x00c36400, "Ceph", true},
                {BTRFS_SUPER_MAGIC, "btrfs", false},
                {0x2fc12fc1, "ZFS", false},
                {0xca451a4e, "bcachefs", false},
        };
        struct statfs fs;
        if (statfs(dir, &fs) < 0)
                return reason_errno(reason, -errno, "%s", dir);
        for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
                if ((uint32_t)fs.f_type != (uint32_t)kinds[i].magic)
                        continue;
                if (kinds[i].refused)
                        return reason_set(reason, -EMEDIUMTYPE,
                                "%s is on %s; the store needs a local file system (its commits "
                                "must "
                                "reach a disk, its locks and memory maps must work)",
                                dir, kinds[i].name);
                (void)reason_set(reason, 0,
                        "%s is on %s, which copies on write: the space of the store cannot be "
                        "reserved there, a full disk can fail a commit",
                        dir, kinds[i].name);
                return 1;
        }
        return 0;
}

int env_allocate(int fd, uint64_t size, Reason *reason)
{
        if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) == 0)
                return 0;
        if (errno == EOPNOTSUPP) {
                (void)reason_set(reason, 0,
                        "the file system cannot reserve the store's space: a full disk can fail a "
                        "commit");
                return 1;
        }
        return reason_errno(reason, -errno,
                "cannot reserve %llu bytes for the store (option store.size)",
                (unsigned long long)size);
}

// The least map that shows everything: what the head page asks for is not to be trusted yet.
uint64_t env_file_size(const char *dir)
{
        struct stat st;
        _cleanup_(freep) char *path = path_join(dir, "data.mdb");
        return path && stat(path, &st) == 0 && (uint64_t)st.st_size > SIZE_LEAST
                       ? (uint64_t)st.st_size
                       : SIZE_LEAST;
}

static int env_open_tables(Store *s, unsigned flags)
{
        MDB_txn *txn;
        int rc = mdb_txn_begin(s->env, NULL, flags & MDB_RDONLY, &txn);
        if (rc)
                return lmdb_error(rc);
        for (Table i = 0; i < _TABLE_MAX && !rc; i++) {
                unsigned f = table_is_integer(i) ? MDB_INTEGERKEY : 0;
                rc = mdb_dbi_open(
                        txn, table_name(i), flags & MDB_RDONLY ? f : f | MDB_CREATE, &s->dbi[i]);
        }
        if (rc) {
                mdb_txn_abort(txn);
                return rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE ? -EUCLEAN : lmdb_error(rc);
        }
        MDB_stat stat;
        rc = mdb_stat(txn, s->dbi[TABLE_META], &stat);
        if (rc) {
                mdb_txn_abort(txn);
                return lmdb_error(rc);
        }
        s->page = stat.ms_psize;
        return lmdb_error(mdb_txn_commit(txn)); // writes only if a table is new
}

// LMDB writes its lock file through a map: a page of it that the full disk has no room for would be
// SIGBUS. Once it is there it stays.
static int env_reserve_lock(const char *dir, Reason *reason)
{
        _cleanup_(freep) char *path = path_join(dir, "lock.mdb");
        if (!path)
                return -ENOMEM;
        _cleanup_(closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return reason_errno(reason, -errno, "%s", path);
        if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, sysconf(_SC_PAGESIZE)) < 0 && errno != EOPNOTSUPP)
                return reason_errno(reason, -errno, "cannot reserve a page for %s", path);
        return 0;
}

int env_open(Store *s, const char *dir, unsigned flags, uint64_t size, Reason *reason)
{
        int r = flags & (MDB_RDONLY | MDB_NOLOCK) ? 0 : env_reserve_lock(dir, reason);
        if (r < 0)
                return r;
        int rc = mdb_env_create(&s->env);
        if (rc)
                return reason_set(reason, lmdb_error(rc), "%s: %s", dir, mdb_strerror(rc));
        (void)mdb_env_set_assert(s->env, env_assert);
        (void)mdb_env_set_maxdbs(s->env, _TABLE_MAX);
        (void)mdb_env_set_maxreaders(s->env, READERS_MAX);
        if (size)
                (void)mdb_env_set_mapsize(s->env, size);
        rc = mdb_env_open(s->env, dir, flags | MDB_NOTLS, 0600);
        if (rc) {
                env_close(s);
                return reason_set(reason, lmdb_error(rc), "%s: %s", dir, mdb_strerror(rc));
        }
        int fd;
        if (mdb_env_get_fd(s->env, &fd) == 0)
                (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (!(flags & MDB_NOLOCK))
                (void)mdb_reader_check(s->env, NULL);
        r = env_open_tables(s, flags);
        if (r < 0) {
                env_close(s);
                return reason_errno(reason, r, "%s: its tables", dir);
        }
        MDB_envinfo info;
        (void)mdb_env_info(s->env, &info);
        s->size = info.me_mapsize;
        return 0;
}

void env_close(Store *s)
{
        if (s->read)
                mdb_txn_abort(s->read);
        s->read = NULL;
        if (s->env)
                mdb_env_close(s->env);
        s->env = NULL;
}

uint64_t env_pages(Store *s, MDB_txn *txn, Table table)
{
        MDB_stat stat;
        if (mdb_stat(txn, s->dbi[table], &stat) != 0)
                return 0;
        return stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

// Pages in use, from the numbers LMDB keeps for each tree: exact, and as cheap as the tables are
// few. (Last page minus the sum of the freelist says the same and costs a walk.)
uint64_t env_used(Store *s, MDB_txn *txn)
{
        uint64_t pages = 2; // the meta pages
        MDB_stat stat;
        for (MDB_dbi i = 0; i < 2; i++) // LMDB's own freelist and directory of tables
                if (mdb_stat(txn, i, &stat) == 0)
                        pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
        for (Table i = 0; i < _TABLE_MAX; i++)
                pages += env_pages(s, txn, i);
        return pages * s->page;
}

// Every delivery that is taken in may have to wait one day, all of them at once when a receiver
// says 429 to each: the rows for that are set aside at intake, or a full store could not be told
// that an attempt failed.
uint64_t env_claimed(Store *s, MDB_txn *txn, const Counters *c)
{
        uint64_t need = 0,
                 have = (env_pages(s, txn, TABLE_OWED) + env_pages(s, txn, TABLE_DUE)) * s->page;
        for (uint32_t i = 0; i < c->n_sinks; i++)
                need += c->sinks[i].deliveries * DEFER_COST;
        return env_used(s, txn) + (need > have ? need - have : 0);
}

int env_remove(const char *dir)
{
        DIR *d = opendir(dir);
        if (!d)
                return errno == ENOENT ? 0 : -errno;
        int r = 0;
        for (struct dirent *e; (e = readdir(d));) {
                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                        continue;
                if (unlinkat(dirfd(d), e->d_name, 0) < 0)
                        r = -errno;
        }
        (void)closedir(d);
        if (r == 0 && rmdir(dir) < 0)
                r = -errno;
        return r;
}

static int env_first_rows(Store *s)
{
        Reason ignored;
        StoreTxn *t = store_begin(s);
        Buf b = BUF_INIT(64);
        wire_put_u32(&b, 1);
        txn_put(t, TABLE_META, SLICE_LIT("format"), buf_slice(&b));
        buf_deinit(&b);
        return store_commit(t, &ignored);
}

int env_create(const char *dir, uint64_t size, Reason *reason)
{
        int r = env_remove(dir);
        if (r == 0 && mkdir(dir, 0700) < 0)
                r = -errno;
        if (r < 0)
                return reason_errno(reason, r, "%s", dir);
        if (size < SIZE_LEAST)
                size = SIZE_LEAST;
        Store s = {
                .lock_fd = -1, .ledger_percent = 5, .committed = {.next_seq = 1, .next_dead = 1}};
        r = env_open(&s, dir, 0, size, reason);
        if (r < 0)
                return r;
        int fd = -1;
        (void)mdb_env_get_fd(s.env, &fd);
        r = env_allocate(fd, size, reason);
        if (r >= 0) {
                r = env_first_rows(&s);
                if (r == 0 && fsync(fd) < 0)
                        r = -errno;
                if (r < 0)
                        (void)reason_errno(reason, r, "%s", dir);
        }
        counters_deinit(&s.committed);
        counters_deinit(&s.txn.c);
        buf_deinit(&s.txn.ledger);
        buf_deinit(&s.txn.tmp);
        env_close(&s);
        if (r == 0)
                r = file_sync_dir(dir);
        if (r < 0)
                (void)!env_remove(dir);
        return r;
}
