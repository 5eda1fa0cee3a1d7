// SPDX-License-Identifier: MIT
// Rows of the inotify source's snapshot as the store might hand them back: pairs of (u8 length, key,
// u8 length, value). Whatever they hold, the tree that comes of them can be taken apart again.
#include "parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Slice take(const uint8_t **at, const uint8_t *end)
{
        if (*at >= end)
                return SLICE_NULL;
        size_t n = *(*at)++;
        if (n > (size_t)(end - *at))
                n = (size_t)(end - *at);
        Slice s = slice_mem(*at, n);
        *at += n;
        return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Watcher w = {0};
        const uint8_t *end = data + size;
        int r = position_load(&w, take(&data, end));
        while (r >= 0 && data < end) {
                Slice key = take(&data, end);
                r = row_load(&w, key, take(&data, end));
        }
        for (Dir *d = w.tree.by_id, *next; d; d = next) {
                next = d->hh.next;
                if (d->self)
                        d->flags |= DIR_DETACHED;
        }
        tree_deinit(&w.tree);
        roots_deinit(&w);
        coverage_free(&w);
        return 0;
}
