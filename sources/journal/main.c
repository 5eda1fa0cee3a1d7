// SPDX-License-Identifier: MIT
// belfry-source-journal: the module table.
#include "follow.h"

static int start(Source *s, const void *options, Slice position, void **ret, Reason *reason)
{
        return follow_start(s, options, position, (Follow **)ret, reason);
}

static void pause_nothing(void *instance)
{
        // It looks whether it may send each time before it does.
        (void)instance;
}

static void resume(void *instance)
{
        follow_resume(instance);
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
        // What is read beside the files that an option names; and which unit this is.
        static const char *const reads[] = {
                "/var/log/journal", "/run/log/journal", "/proc/self/cgroup", NULL};
        const SourceModule module = {
                .name = "journal",
                .summary = "Follows the systemd journal of this host.",
                .options = journal_options,
                .n_options = n_journal_options,
                .options_size = sizeof(JournalOptions),
                .types = journal_types,
                .n_types = n_journal_types,
                .reads = reads,
                .check = journal_check,
                .start = start,
                .pause = pause_nothing,
                .resume = resume,
                .stop = stop,
                .free = free_instance,
        };
        return source_main(&module, argc, argv);
}
