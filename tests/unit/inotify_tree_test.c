// SPDX-License-Identifier: MIT
// The tree of nodes and tables, the names that wait, the rows as they are read back.
#include "test.h"

#include "base/wire.h"
#include "parts.h"

#include <errno.h>
#include <stdlib.h>

static FileStat file_at(uint64_t id, uint32_t mode)
{
        return (FileStat){.id = {.a = id, .b = 7}, .size = id, .mode = mode, .nlink = 1};
}

static Dir *child(Tree *t, Dir *parent, const char *name, uint64_t id)
{
        FileStat s = file_at(id, 0040755);
        Entry *e = entry_new(name, strlen(name), &s);
        if (!e)
                return NULL;
        if (dir_insert(t, parent, e) < 0) {
                free(e);
                return NULL;
        }
        Dir *d = tree_dir_new(t, 0, parent, e, parent->root, s.id);
        if (!d) {
                dir_remove(t, parent, e);
                free(e);
        }
        return d;
}

static void test_table(void **state)
{
        Tree t = {0};
        Root root = {.path = (char[]){"/srv"}};
        Dir *top = tree_dir_new(&t, 0, NULL, NULL, &root, (FileId){1, 1});
        char name[300];
        for (unsigned i = 0; i < 5000; i++) {
                FileStat s = file_at(i, 0100644);
                int n = snprintf(name, sizeof name, "file %u", i);
                assert_int_equal(dir_insert(&t, top, entry_new(name, (size_t)n, &s)), 0);
        }
        assert_int_equal(t.n_files, 5000);
        for (unsigned i = 0; i < 5000; i += 3) {
                int n = snprintf(name, sizeof name, "file %u", i);
                Entry *e = dir_find(top, name, (size_t)n);
                assert_non_null(e);
                dir_remove(&t, top, e);
                free(e);
        }
        for (unsigned i = 0; i < 5000; i++) {
                int n = snprintf(name, sizeof name, "file %u", i);
                const Entry *e = dir_find(top, name, (size_t)n);
                assert_int_equal(!e, i % 3 == 0);
                assert_true(!e || e->size == i);
        }
        tree_deinit(&t);
}

static void test_paths_follow_a_move(void **state)
{
        Tree t = {0};
        Root root = {.path = (char[]){"/srv"}};
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(4096);
        Dir *top = tree_dir_new(&t, 0, NULL, NULL, &root, (FileId){1, 1});
        Dir *a = child(&t, top, "a", 2), *c = child(&t, a, "b", 3), *x = child(&t, top, "x", 4);
        dir_path(c, &b);
        assert_slice(buf_slice(&b), "/srv/a/b");
        Entry *self = a->self;
        dir_remove(&t, top, self);
        assert_int_equal(dir_insert(&t, x, self), 0);
        a->parent = x;
        a->depth = x->depth + 1;
        tree_dir_settle(a);
        buf_reset(&b);
        dir_path(c, &b);
        assert_slice(buf_slice(&b), "/srv/x/a/b");
        buf_reset(&b);
        dir_relative_path(c, &b);
        assert_slice(buf_slice(&b), "x/a/b");
        assert_int_equal(c->depth, 3);
        assert_true(dir_is_below(c, x) && !dir_is_below(x, c));
        assert_ptr_equal(tree_dir_by_identity(&t, (FileId){3, 7}), c);
        assert_ptr_equal(tree_dir(&t, a->id), a);
        tree_deinit(&t);
}

static void test_pending_order(void **state)
{
        Pendings ps = {0};
        unsigned seed = 3;
        char name[32];
        for (unsigned i = 0; i < 2000; i++) {
                int n = snprintf(name, sizeof name, "%u", i % 1500);
                Pending *p = pending_get(&ps, 1 + i % 2, slice_mem(name, (size_t)n));
                pending_schedule(&ps, p, (uint64_t)rand_r(&seed) % 500);
        }
        assert_int_equal(ps.n, 1500);
        uint64_t due = 0, sequence = 0;
        for (Pending *p; (p = pending_first(&ps)); pending_drop(&ps, p)) {
                assert_true(p->due > due || (p->due == due && p->sequence > sequence));
                assert_ptr_equal(
                        pending_find(&ps, p->key.dir, slice_mem(p->key.name, p->name_len)), p);
                due = p->due;
                sequence = p->sequence;
        }
        for (unsigned i = 0; i < PENDING_MAX + 10; i++) {
                int n = snprintf(name, sizeof name, "%u", i);
                Pending *p = pending_get(&ps, 1, slice_mem(name, (size_t)n));
                assert_int_equal(!p, i >= PENDING_MAX);
                if (p)
                        pending_schedule(&ps, p, i);
        }
        pendings_deinit(&ps);
}

static void test_rows_that_are_not_ours(void **state)
{
        Watcher w = {0};
        uint8_t key[300] = "f", value[200] = {1};
        static const char dir[] = "d\0\0\0\0\0\0\0\1";
        assert_int_equal(row_load(&w, SLICE_LIT(""), SLICE_LIT("")), -EBADMSG);
        assert_int_equal(row_load(&w, SLICE_LIT("d1"), SLICE_LIT("")), -EBADMSG);
        assert_int_equal(row_load(&w, SLICE_LIT("x12345678"), SLICE_LIT("")), -EBADMSG);
        for (size_t n = 0; n < sizeof value; n++) {
                assert_int_equal(row_load(&w, slice_mem(key, 12), slice_mem(value, n)), -EBADMSG);
                bool taken = row_load(&w, slice_mem(dir, 9), slice_mem(value, n)) >= 0;
                assert_false(taken);
        }
        assert_int_equal(position_load(&w, SLICE_LIT("\1\1")), -EBADMSG);
        roots_deinit(&w);
        tree_deinit(&w.tree);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_paths_follow_a_move),
                cmocka_unit_test(test_pending_order),
                cmocka_unit_test(test_rows_that_are_not_ours),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
