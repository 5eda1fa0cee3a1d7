// SPDX-License-Identifier: MIT
// The gitignore matcher: patterns, one a line, until an empty line, the rest is a path. It must end,
// stay inside its buffers, and cover as a directory what it covers as a file.
#include "ignore.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *text = strndup((const char *)data, size), *lines[17] = {0};
        size_t n = 0;
        char *at = text;
        while (n < 16 && at && *at && *at != '\n') {
                lines[n++] = at;
                at = strchr(at, '\n');
                if (at)
                        *at++ = 0;
        }
        IgnoreList l;
        if (ignore_list_init(&l, lines, NULL) == 0) {
                Slice path = slice_of(at && *at == '\n' ? at + 1 : "a/b");
                // What is covered as a file is covered as a directory, unless a negation is for
                // directories only.
                bool negated = false;
                for (size_t i = 0; i < n; i++)
                        negated |= lines[i][0] == '!';
                if (ignore_covers(&l, path, false) && !negated && !ignore_covers(&l, path, true))
                        abort();
        }
        ignore_list_deinit(&l);
        free(text);
        return 0;
}
