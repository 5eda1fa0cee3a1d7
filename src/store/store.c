// SPDX-License-Identifier: MIT
// Opening and closing. An open store has passed: local file system, lock, format, and a check of
// everything when there is a cause for it (another boot, a mark left by an error, no witness,
// several starts in a row without a clean end). A mere kill is no cause: opening then costs the
// same whatever the backlog, because the commit row holds every counter.
#include "store/files.h"

#include "base/failpoint.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { STARTS_SUSPICIOUS = 4 }; // so many starts without 64 commits or a clean end between them
#define MAP_SLACK (UINT64_C(1) << 20)

static int store_create(const char *state_dir, const char *dir, uint64_t size, Reason *reason)
{
        _cleanup_(freep) char *fresh = path_join(state_dir, "store.new");
        if (!fresh)
                return -ENOMEM;
        int r = env_create(fresh, size, reason);
        if (r < 0)
                return r;
        FAILPOINT("store.create-before-rename");
        if (rename(fresh, dir) < 0)
                return reason_errno(reason, -errno, "%s", dir);
        r = file_sync_dir(state_dir);
        return r < 0 ? reason_errno(reason, r, "%s", state_dir) : 0;
}

// What the database says; -EUCLEAN or -EPROTO.
static int store_load(Store *s)
{
        MDB_txn *txn;
        int r = lmdb_error(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn));
        if (r < 0)
                return r;
        r = meta_format(s, txn);
        if (r == 0)
                r = store_read_counters(s, txn, &s->committed);
        if (r == 0)
                r = names_load(s, txn);
        if (r == 0)
                s->used = env_claimed(s, txn, &s->committed);
        mdb_txn_abort(txn);
        return r;
}

// The map is as large as configured, or as large as what it already holds.
static int store_fit(Store *s, const StoreOptions *o, Reason *reason)
{
        int fd;
        struct stat st;
        if (mdb_env_get_fd(s->env, &fd) != 0 || fstat(fd, &st) < 0)
                return reason_set(reason, -EIO, "cannot look at the store's file");
        if ((uint64_t)st.st_blocks * 512 > s->size + s->size / 8 && (uint64_t)st.st_size <= s->size)
                (void)!ftruncate(fd, st.st_size); // it was larger: what is only reserved goes back
        int r = env_allocate(fd, s->size, reason);
        if (r < 0)
                return r;
        if (s->size > o->size + s->page)
                (void)reason_set(reason, 0,
                        "the store has used %llu bytes already and stays that large (store.size is "
                        "%llu); to make it smaller, empty it and delete %s/store while stopped",
                        (unsigned long long)s->size, (unsigned long long)o->size, o->state_dir);
        return 0;
}

// What was ever used stays part of the map, and a little more: an end must copy pages before it can
// free any.
static uint64_t map_size(const char *dir, const StoreOptions *o)
{
        struct stat st;
        _cleanup_(freep) char *path = path_join(dir, "data.mdb");
        if (o->read_only || !path || stat(path, &st) < 0)
                return o->read_only ? 0 : o->size;
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size = (o->size + page - 1) / page * page;
        uint64_t used = (uint64_t)st.st_size;
        return used <= size ? size : used + MAP_SLACK;
}

static int store_attach(Store *s, const StoreOptions *o, const char *dir, Reason *reason)
{
        int r = env_open(s, dir, o->read_only ? MDB_RDONLY : 0, map_size(dir, o), reason);
        if (r < 0)
                return r;
        r = store_load(s);
        if (r == 0 && !o->read_only)
                return store_fit(s, o, reason);
        if (r < 0) {
                env_close(s);
                names_free(s);
                counters_deinit(&s->committed);
        }
        if (r == -EPROTO)
                return reason_set(reason, r,
                        "%s was written by a newer version of Belfry; install that version, or "
                        "move "
                        "the directory away to begin with an empty store",
                        dir);
        return r < 0 ? reason_errno(reason, r, "%s", dir) : 0;
}

static int store_check_and_attach(
        Store *s, const StoreOptions *o, const char *dir, const Witness *w, Reason *reason)
{
        _cleanup_(freep) char *mark = path_join(s->state_dir, "store.check");
        if (!mark)
                return -ENOMEM;
        bool must = access(mark, F_OK) == 0 || !w->known || strcmp(w->boot_id, s->boot_id) != 0 ||
                    w->starts >= STARTS_SUSPICIOUS;
        int damaged = head_check(dir, true, reason);
        if (damaged == 0 && must)
                damaged = check_in_child(dir, reason);
        if (damaged == -EPROTO)
                return reason_set(reason, -EPROTO,
                        "%s was written by a newer version of Belfry; install that version, or "
                        "move "
                        "the directory away to begin with an empty store",
                        dir);
        if (damaged < 0)
                return damaged;
        if (!damaged) {
                int r = store_attach(s, o, dir, reason);
                if (r != -EUCLEAN) {
                        if (r == 0 && must) {
                                s->starts = 0;
                                (void)unlink(mark);
                        }
                        return r < 0 ? r : STORE_EXISTED;
                }
        }
        int r = salvage(s->state_dir, o->size, reason);
        if (r < 0)
                return r;
        (void)unlink(mark);
        Reason told = *reason;
        r = store_attach(s, o, dir, reason);
        if (r < 0)
                return r;
        s->starts = 0;
        *reason = told;
        return STORE_SALVAGED;
}

// LMDB falls back to the commit before when the newest cannot be read; only the witness notices.
static int store_ask_witness(const Store *s, const Witness *w, int opened, Reason *reason)
{
        if (opened != STORE_EXISTED || !w->known || w->commit <= s->committed.commit)
                return opened;
        (void)reason_set(reason, 0,
                "the store is older than what was last committed: commit %llu is there, %llu was "
                "written; what came between is lost (or an older copy was put in its place)",
                (unsigned long long)s->committed.commit, (unsigned long long)w->commit);
        return STORE_SALVAGED;
}

static int store_open_writer(Store *s, const StoreOptions *o, const char *dir, Reason *reason)
{
        Witness w;
        int r = boot_id_read(s->boot_id);
        if (r < 0)
                return reason_errno(reason, r, "boot id");
        s->lock_fd = lockfile_open(o->state_dir, &w, reason);
        if (s->lock_fd < 0)
                return s->lock_fd;
        r = salvage_finish(o->state_dir, reason);
        if (r < 0)
                return r;
        bool finished = r > 0;
        s->starts = w.starts;
        int opened;
        if (access(dir, F_OK) < 0) {
                r = store_create(o->state_dir, dir, o->size, reason);
                if (r == 0)
                        r = store_attach(s, o, dir, reason);
                opened = r < 0 ? r : STORE_CREATED;
        } else {
                opened = store_check_and_attach(s, o, dir, &w, reason);
                opened = store_ask_witness(s, &w, opened, reason);
        }
        if (opened == STORE_EXISTED && finished) {
                (void)reason_set(reason, 0,
                        "the store was damaged; salvaging it was finished now, "
                        "the damaged one is kept beside it as store.corrupt-*");
                opened = STORE_SALVAGED;
        }
        if (opened < 0)
                return opened;
        s->starts++;
        lockfile_write(s);
        return opened;
}

// Another process may be writing: what it had committed before this one looked is there, or the
// database is damaged.
static int store_open_reader(Store *s, const StoreOptions *o, const char *dir, Reason *reason)
{
        Witness w;
        lockfile_peek(o->state_dir, &w);
        int r = head_check(dir, false, reason);
        if (r == 1)
                r = reason_set(reason, -EUCLEAN, "%s: a head page of the database is damaged", dir);
        if (r == 0)
                r = store_attach(s, o, dir, reason);
        if (r == 0)
                r = boot_id_read(s->boot_id);
        if (r == 0 && w.known && strcmp(w.boot_id, s->boot_id) == 0 &&
                s->committed.commit < w.commit)
                r = reason_set(reason, -EUCLEAN, "%s is older than what was last committed", dir);
        return r;
}

int store_open(Store **ret, const StoreOptions *o, Reason *reason)
{
        Reason unasked;
        reason = reason ? reason : &unasked;
        reason->text[0] = 0;
        _cleanup_(store_closep) Store *s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->lock_fd = -1;
        s->read_only = o->read_only;
        s->ledger_percent = o->ledger_percent;
        s->state_dir = strdup(o->state_dir);
        _cleanup_(freep) char *dir = path_join(o->state_dir, "store");
        if (!s->state_dir || !dir)
                return -ENOMEM;
        int r = o->read_only ? 0 : file_mkdir_private(o->state_dir, 0700);
        if (r < 0)
                return reason_errno(reason, r, "%s", o->state_dir);
        r = env_check_filesystem(o->state_dir, reason);
        if (r < 0)
                return r;
        int opened = o->read_only ? store_open_reader(s, o, dir, reason)
                                  : store_open_writer(s, o, dir, reason);
        if (opened < 0)
                return opened;
        *ret = TAKE_PTR(s);
        return opened;
}

Store *store_close(Store *s)
{
        if (!s)
                return NULL;
        if (s->in_txn)
                (void)store_abort(&s->txn);
        store_read_end(s);
        bool was_open = s->env != NULL;
        env_close(s);
        if (s->lock_fd >= 0) {
                if (was_open && !s->failed) {
                        s->starts = 0; // a clean end
                        lockfile_write(s);
                }
                (void)close(s->lock_fd);
        }
        scratch_free(s, NULL);
        names_free(s);
        counters_deinit(&s->committed);
        counters_deinit(&s->txn.c);
        buf_deinit(&s->txn.ledger);
        buf_deinit(&s->txn.tmp);
        free(s->state_dir);
        free(s);
        return NULL;
}
