// SPDX-License-Identifier: MIT
// A configured path against the filesystem as it is now: what it names, and where to look for it
// when it is not there. Shell patterns may stand in any component; a leading dot is matched by a
// dot only.
#pragma once

#include <stdbool.h>

typedef enum ExpandWhat {
        EXPAND_DIR,
        EXPAND_FILE,
        EXPAND_MISSING, // dir exists, name in it does not
        EXPAND_GUARD,   // names in dir were matched by a pattern: it must be watched for more
} ExpandWhat;

typedef struct ExpandFound {
        ExpandWhat what;
        const char *path;       // without a slash at the end; "" is the root directory
        const char *dir, *name; // its parent and last component, or the missing one
        bool literal;           // no pattern led here
        bool link;              // path itself is a symbolic link
        bool last;              // EXPAND_MISSING: nothing would follow
} ExpandFound;

void expand_path(
        const char *path, void (*found)(void *userdata, const ExpandFound *f), void *userdata);
