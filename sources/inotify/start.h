// SPDX-License-Identifier: MIT
// The inotify source from outside: what main.c puts into the module table.
#pragma once

#include "watcher.h"

int watcher_start(Source *source, const InotifyOptions *options, Slice position, Watcher **ret,
        Reason *reason) _must_use_;
int watcher_state(Watcher *w, Slice key, Slice value) _must_use_;
int watcher_state_end(Watcher *w, bool more) _must_use_;
void watcher_stop(Watcher *w);
void watcher_free(Watcher *w);
