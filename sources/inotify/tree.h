// SPDX-License-Identifier: MIT
// The tree of watched directories and what is known of each name in them: the snapshot, in memory.
// A directory is a parent-pointer node with an id of its own that stays when it moves, so moving a
// directory of a million files changes one node and one stored row. About 110 bytes a file.
#pragma once

#include "base/buf.h"
#include "base/identity.h"
#include "memory.h"

#include <uthash.h>

typedef struct Dir Dir;
typedef struct Root Root;

// One known name. For a directory, `dir` is its node and self == this entry.
typedef struct Entry {
        FileId id;
        union {
                uint64_t size;
                Dir *dir;
        };
        int64_t mtime_ns, ctime_ns;
        uint32_t mode, uid, gid, nlink;
        uint32_t hash;
        uint8_t name_len;
        bool seen; // by the comparison that is under way
        char name[];
} Entry;

typedef struct Table { // open addressing, by name
        Entry **slots;
        uint32_t n, cap; // cap: 0 or a power of two
} Table;

enum {
        DIR_DIRTY = 1,      // is to be compared
        DIR_HAS_NEW = 2,    // the comparison saw names it does not know
        DIR_LEAF = 4,       // known, but neither watched nor read (depth, other filesystem, loop)
        DIR_INCLUDED = 8,   // matched by an include pattern, and so is all below
        DIR_UNWATCHED = 16, // no watch to be had: polled
        DIR_UNREADABLE = 32,
        DIR_DETACHED = 64, // no longer in its parent's table; waits for its end or a new place
        DIR_RETRIED = 128,
        DIR_QUEUED = 256,    // stands in the scanner's list
        DIR_REMOTE = 512,    // on a filesystem that does not notify
        DIR_REMOVING = 1024, // stands, or will, in the list of removals
        DIR_SILENT = 2048,   // and is removed without events
};

struct Dir {
        uint64_t id;
        FileId identity;
        Dir *parent; // NULL: the top of a root
        Entry *self; // NULL: the top of a root. Owned by the parent's table, or by us when detached
        Root *root;
        Table entries;
        Dir *next_same_watch;
        int wd; // -1: none
        uint32_t depth, flags;
        uint64_t load_parent; // while rows are being read
        uint64_t dev;         // 0: not known yet; never compared across starts
        UT_hash_handle hh, hh_identity;
};

typedef struct Tree {
        Dir *by_id, *by_identity;
        uint64_t next_id;
        size_t n_dirs, n_files;
} Tree;

void tree_deinit(Tree *t);
// id 0: the next free one. self becomes the node's entry (not put into any table). NULL: no memory.
Dir *tree_dir_new(Tree *t, uint64_t id, Dir *parent, Entry *self, Root *root, FileId identity);
// Frees the node and its entries; it has no child directories any more. Its own entry is left alone.
void tree_dir_free(Tree *t, Dir *d);
Dir *tree_dir(const Tree *t, uint64_t id);
Dir *tree_dir_by_identity(const Tree *t, FileId id); // one that is being removed only if no other
void tree_dir_set_identity(Tree *t, Dir *d, FileId id);
// Gives all nodes below d the root and depth they have now.
void tree_dir_settle(Dir *d);

Entry *entry_new(const char *name, size_t len, const FileStat *s); // NULL: no memory
void entry_set(Entry *e, const FileStat *s); // all but the name and a directory's node
static inline bool entry_is_dir(const Entry *e)
{
        return (e->mode & 0170000) == 0040000;
}

Entry *dir_find(const Dir *d, const char *name, size_t len);
int dir_insert(Tree *t, Dir *d, Entry *e) _must_use_; // -ENOMEM; e is then still the caller's
void dir_remove(Tree *t, Dir *d, Entry *e);           // e is the caller's again

// Appends. The relative path of a root's top is empty; dir_path ends without a slash.
void dir_relative_path(const Dir *d, Buf *out);
void dir_path(const Dir *d, Buf *out);
bool dir_is_below(const Dir *d, const Dir *ancestor); // or the same
