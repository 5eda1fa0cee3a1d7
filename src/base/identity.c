// SPDX-License-Identifier: MIT
// Identity of files by file handle. name_to_handle_at needs no privilege, only its counterpart
// does; ext4, XFS and tmpfs handles (inode and generation) fit into the sixteen bytes as they are.
// st_dev never enters: it may change at a reboot.
#include "base/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

enum { RAW_MAX = 14, TAG_HASHED = 0xff, TAG_INODE = 0xfe };

static uint64_t mix(uint64_t h, const uint8_t *p, size_t n)
{
        for (size_t i = 0; i < n; i++)
                h = (h ^ p[i]) * UINT64_C(0x100000001b3);
        h ^= h >> 33;
        h *= UINT64_C(0xff51afd7ed558ccd);
        return h ^ (h >> 33);
}

static FileId id_pack(uint8_t type, uint8_t tag, const uint8_t *bytes, size_t n)
{
        uint8_t raw[16] = {type, tag};
        FileId id;
        memcpy(raw + 2, bytes, n);
        memcpy(&id, raw, sizeof id);
        return id;
}

static FileId id_hash(uint8_t type, uint8_t tag, const uint8_t *bytes, size_t n)
{
        uint64_t h[2] = {mix(UINT64_C(0xcbf29ce484222325), bytes, n),
                mix(UINT64_C(0x84222325cbf29ce4) ^ n, bytes, n)};
        return id_pack(type, tag, (const uint8_t *)h, RAW_MAX);
}

static int id_of_handle(int fd, const char *name, int flags, FileId *ret)
{
        union {
                struct file_handle head;
                uint8_t space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
        } h = {.head.handle_bytes = MAX_HANDLE_SZ};
        int mount_id;
        if (name_to_handle_at(fd, name, &h.head, &mount_id, flags) < 0)
                return -errno;
        uint8_t type = (uint8_t)h.head.handle_type;
        if (h.head.handle_bytes <= RAW_MAX)
                *ret = id_pack(
                        type, (uint8_t)h.head.handle_bytes, h.head.f_handle, h.head.handle_bytes);
        else
                *ret = id_hash(type, TAG_HASHED, h.head.f_handle, h.head.handle_bytes);
        return 0;
}

static FileId id_of_inode(const struct statx *x)
{
        uint64_t parts[3] = {x->stx_ino, (uint64_t)x->stx_btime.tv_sec, x->stx_btime.tv_nsec};
        if (!(x->stx_mask & STATX_BTIME))
                parts[1] = parts[2] = 0;
        return id_hash(0, TAG_INODE, (const uint8_t *)parts, sizeof parts);
}

static bool handles_missing(int error)
{
        return error == -EOPNOTSUPP || error == -ENOSYS || error == -EPERM || error == -EOVERFLOW;
}

static int64_t nanoseconds(struct statx_timestamp t)
{
        return (int64_t)((uint64_t)t.tv_sec * UINT64_C(1000000000) + t.tv_nsec);
}

static int stat_once(int dir_fd, const char *name, bool follow, FileStat *ret)
{
        struct statx x;
        FileId id;
        int empty = *name ? 0 : AT_EMPTY_PATH;
        if (statx(dir_fd, name, (follow ? 0 : AT_SYMLINK_NOFOLLOW) | AT_NO_AUTOMOUNT | empty,
                    STATX_BASIC_STATS | STATX_BTIME, &x) < 0)
                return -errno;
        int r = id_of_handle(dir_fd, name, (follow ? AT_SYMLINK_FOLLOW : 0) | empty, &id);
        if (handles_missing(r))
                id = id_of_inode(&x);
        else if (r < 0)
                return r;
        *ret = (FileStat){.id = id,
                .size = x.stx_size,
                .mtime_ns = nanoseconds(x.stx_mtime),
                .ctime_ns = nanoseconds(x.stx_ctime),
                .mode = x.stx_mode,
                .uid = x.stx_uid,
                .gid = x.stx_gid,
                .nlink = x.stx_nlink,
                .ino = x.stx_ino,
                .dev = (uint64_t)x.stx_dev_major << 32 | x.stx_dev_minor};
        return 0;
}

int file_stat(int dir_fd, const char *name, bool follow, FileStat *ret)
{
        int r = stat_once(dir_fd, name, follow && *name, ret);
        if (follow && *name && (r == -ENOENT || r == -ELOOP)) // a dangling link is itself an object
                r = stat_once(dir_fd, name, false, ret);
        return r;
}

int file_identity(int fd, FileId *ret)
{
        int r = id_of_handle(fd, "", AT_EMPTY_PATH, ret);
        if (!handles_missing(r))
                return r;
        FileStat s;
        r = file_stat(fd, "", false, &s);
        if (r == 0)
                *ret = s.id;
        return r;
}

int filesystem_of(int fd, Filesystem *ret)
{
        struct statfs s;
        if (fstatfs(fd, &s) < 0)
                return -errno;
        ret->type = (uint64_t)s.f_type;
        memcpy(&ret->id, &s.f_fsid, sizeof ret->id);
        return 0;
}

bool filesystem_is_remote(uint64_t type)
{
        switch (type) {
        case NFS_SUPER_MAGIC:
        case SMB_SUPER_MAGIC:
        case SMB2_SUPER_MAGIC:
        case CIFS_SUPER_MAGIC:
        case FUSE_SUPER_MAGIC:
        case AFS_SUPER_MAGIC:
        case CODA_SUPER_MAGIC:
        case V9FS_MAGIC:
        case CEPH_SUPER_MAGIC:
                return true;
        default:
                return false;
        }
}

bool filesystem_is_volatile(uint64_t type)
{
        return type == TMPFS_MAGIC || type == RAMFS_MAGIC;
}
