// SPDX-License-Identifier: MIT
// One offset a line, looked up by halving. A tab is one column: what it shows as is the editor's
// business.
#include "config/lines.h"

#include <errno.h>

int lines_init(Lines *l, const char *file, Slice text)
{
        uint32_t n = 1;
        for (size_t i = 0; i < text.len; i++)
                n += text.data[i] == '\n';
        *l = (Lines){.file = file, .text = text, .starts = calloc(n, sizeof(*l->starts))};
        if (!l->starts)
                return -ENOMEM;
        l->n = 1;
        for (size_t i = 0; i < text.len; i++)
                if (text.data[i] == '\n')
                        l->starts[l->n++] = (uint32_t)i + 1;
        return 0;
}

void lines_deinit(Lines *l)
{
        free(l->starts);
        *l = (Lines){0};
}

Place lines_place(const Lines *l, const char *at)
{
        size_t offset = (size_t)(at - l->text.data);
        uint32_t low = 0, high = l->n;
        while (high - low > 1) {
                uint32_t middle = low + (high - low) / 2;
                if (l->starts[middle] <= offset)
                        low = middle;
                else
                        high = middle;
        }
        unsigned column = 1;
        for (const char *p = l->text.data + l->starts[low]; p < at; p++)
                column += ((unsigned char)*p & 0xc0) != 0x80;
        return (Place){.file = l->file, .line = low + 1, .column = column};
}
