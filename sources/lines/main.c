// SPDX-License-Identifier: MIT
// belfry-source-lines: the module table.
#include "follow.h"

static int start(Source *s, const void *options, Slice position, void **ret, Reason *reason)
{
        return follow_start(s, options, position, (Follow **)ret, reason);
}

static int state(void *instance, Slice key, Slice value)
{
        return follow_state(instance, key, value);
}

static int state_end(void *instance, bool more)
{
        return follow_state_end(instance, more);
}

static void pause_nothing(void *instance)
{
        // It looks whether it may send each time before it does.
        (void)instance;
}

static void resume(void *instance)
{
        follow_wake(instance);
}

static void stop(void *instance)
{
        follow_stop(instance);
}

static void free_instance(void *instance)
{
        follow_free(instance);
}

int main(int argc, char **argv)
{
        const SourceModule module = {
                .name = "lines",
                .summary = "Lines appended to files, over rotation and restarts.",
                .options = lines_options,
                .n_options = n_lines_options,
                .options_size = sizeof(LinesOptions),
                .types = lines_types,
                .n_types = n_lines_types,
                .check = lines_check,
                .start = start,
                .state = state,
                .state_end = state_end,
                .pause = pause_nothing,
                .resume = resume,
                .stop = stop,
                .free = free_instance,
        };
        return source_main(&module, argc, argv);
}
