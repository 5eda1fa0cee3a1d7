// SPDX-License-Identifier: MIT
// belfry-source-inotify: the module table and what must happen before the cage closes (the names of
// users and groups are read).
#include "start.h"

#include <signal.h>

static int inotify_start(Source *s, const void *options, Slice position, void **ret, Reason *reason)
{
        return watcher_start(s, options, position, (Watcher **)ret, reason);
}

static int inotify_state(void *instance, Slice key, Slice value)
{
        return watcher_state(instance, key, value);
}

static int inotify_state_end(void *instance, bool more)
{
        return watcher_state_end(instance, more);
}

static void inotify_pause(void *instance)
{
}

static void inotify_resume(void *instance)
{
        watcher_wake(instance);
}

static void inotify_stop(void *instance)
{
        watcher_stop(instance);
}

static void inotify_free(void *instance)
{
        watcher_free(instance);
}

int main(int argc, char **argv)
{
        const SourceModule module = {
                .name = "inotify",
                .summary = "Files and directories: created, modified, moved, deleted.",
                .options = inotify_options,
                .n_options = n_inotify_options,
                .options_size = sizeof(InotifyOptions),
                .types = inotify_types,
                .n_types = n_inotify_types,
                .check = inotify_check,
                .start = inotify_start,
                .state = inotify_state,
                .state_end = inotify_state_end,
                .pause = inotify_pause,
                .resume = inotify_resume,
                .stop = inotify_stop,
                .free = inotify_free,
        };
        (void)signal(SIGIO, SIG_IGN); // a lease broken in the moment we hold it
        if (argc > 1 && argv[1][0] != '-')
                accounts_preload();
        return source_main(&module, argc, argv);
}
