// SPDX-License-Identifier: MIT
// LMDB's two head ("meta") pages, which carry no checksum and decide everything: looked at as bytes
// before LMDB maps the file. The commits they name are neighbours in a healthy database; a flipped
// bit there would otherwise roll back a commit in silence, or ask for an absurd map. Layout: lmdb
// 0.9's MDB_meta behind the 16 byte page head; its data version is 1.
#include "store/files.h"

#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum {
        PAGE = 4096,
        FLAGS_AT = 10,
        FLAG_META = 8,
        MAGIC_AT = 16,
        MAP_SIZE_AT = 32,
        PAGE_SIZE_AT = 40,
        FREE_ROOT_AT = 80,
        MAIN_ROOT_AT = 128,
        LAST_PAGE_AT = 136,
        COMMIT_AT = 144,
        LMDB_VERSION = 1,
};
#define LMDB_MAGIC 0xBEEFC0DEu
#define MAP_MOST (UINT64_C(1) << 46)

typedef struct Head {
        uint8_t page[PAGE];
        uint64_t commit;
        bool newer, sane;
} Head;

static uint32_t u32_at(const Head *h, size_t at)
{
        uint32_t v;
        memcpy(&v, h->page + at, sizeof(v));
        return v;
}

static uint64_t u64_at(const Head *h, size_t at)
{
        uint64_t v;
        memcpy(&v, h->page + at, sizeof(v));
        return v;
}

static bool root_is_sane(uint64_t root, uint64_t last_page)
{
        return root == UINT64_MAX || (root > 1 && root <= last_page);
}

static void head_judge(Head *h)
{
        uint64_t map = u64_at(h, MAP_SIZE_AT), last = u64_at(h, LAST_PAGE_AT);
        uint32_t version = u32_at(h, MAGIC_AT + 4);
        bool magic = u32_at(h, MAGIC_AT) == LMDB_MAGIC;
        h->commit = u64_at(h, COMMIT_AT);
        h->newer = magic && version > LMDB_VERSION && version < 1000;
        h->sane = magic && version == LMDB_VERSION && h->page[FLAGS_AT] & FLAG_META &&
                  u32_at(h, PAGE_SIZE_AT) == PAGE && map >= 2 * PAGE && map <= MAP_MOST &&
                  last >= 1 && last <= map / PAGE && root_is_sane(u64_at(h, FREE_ROOT_AT), last) &&
                  root_is_sane(u64_at(h, MAIN_ROOT_AT), last);
}

static int heads_read(const char *dir, int flags, int *ret_fd, Head heads[static 2])
{
        _cleanup_(freep) char *path = path_join(dir, "data.mdb");
        _cleanup_(closep) int fd = path ? open(path, flags | O_CLOEXEC) : -1;
        if (fd < 0)
                return path ? -errno : -ENOMEM;
        for (int i = 0; i < 2; i++) {
                if (pread(fd, heads[i].page, PAGE, (off_t)i * PAGE) != PAGE)
                        memset(heads[i].page, 0, PAGE);
                head_judge(&heads[i]);
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int head_check(const char *dir, bool quiet_writer, Reason *reason)
{
        Head heads[2];
        _cleanup_(closep) int fd = -1;
        int r = heads_read(dir, O_RDONLY, &fd, heads);
        if (r < 0)
                return r == -ENOENT ? 1 : reason_errno(reason, r, "%s", dir);
        if (sysconf(_SC_PAGESIZE) != PAGE) // LMDB's pages are the machine's; nothing is known here
                return 0;
        if (heads[0].newer && heads[1].newer)
                return -EPROTO;
        bool sane = heads[0].sane && heads[1].sane;
        uint64_t a = heads[0].commit, b = heads[1].commit;
        bool neighbours = a == b ? a == 0 : a > b ? a - b == 1 : b - a == 1;
        if (sane && (neighbours || !quiet_writer))
                return 0;
        (void)reason_set(reason, 0,
                "a head page of the database is damaged, its last commit may be "
                "missing; ");
        return 1;
}

// LMDB opens nothing unless both look right. The bad one's bytes are kept in head.bad; the good one
// is the same commit or the one before.
void head_repair(const char *dir)
{
        Head heads[2];
        _cleanup_(closep) int fd = -1;
        if (heads_read(dir, O_RDWR, &fd, heads) < 0 || heads[0].sane == heads[1].sane)
                return;
        int bad = heads[0].sane ? 1 : 0;
        _cleanup_(freep) char *aside = path_join(dir, "head.bad");
        _cleanup_(closep) int out =
                aside ? open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
        if (out < 0 || file_write_all(out, heads[bad].page, PAGE) < 0)
                return;
        // All but the page's own number.
        (void)!pwrite(fd, heads[!bad].page + 8, PAGE - 8, (off_t)bad * PAGE + 8);
}
