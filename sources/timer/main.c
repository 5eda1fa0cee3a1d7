// SPDX-License-Identifier: MIT
// belfry-source-timer: the module table.
#include "timer.h"

static int start(Source *s, const void *options, Slice position, void **ret, Reason *reason)
{
        return timer_start(s, options, position, (Timer **)ret, reason);
}

static void pause_nothing(void *instance)
{
        // It looks whether it may send each time before it does.
        (void)instance;
}

static void resume(void *instance)
{
        timer_resume(instance);
}

static void stop(void *instance)
{
        timer_stop(instance);
}

static void free_instance(void *instance)
{
        timer_free(instance);
}

static void command(void *instance, uint64_t ticket, const char *verb, const json_t *arguments)
{
        (void)verb; // there is one
        timer_command_next(instance, ticket, arguments);
}

static const SourceCommand commands[] = {
        {.verb = "next",
                .argument = "[COUNT]",
                .prose = "Show the coming firings, and which local times are skipped or doubled.",
                .looks_only = true},
};

int main(int argc, char **argv)
{
        const SourceModule module = {
                .name = "timer",
                .summary = "Elapses at times of a calendar, in intervals, once, or at each boot.",
                .options = timer_options,
                .n_options = n_timer_options,
                .options_size = sizeof(TimerOptions),
                .types = timer_types,
                .n_types = n_timer_types,
                .check = timer_check,
                .commands = commands,
                .n_commands = N_ELEMENTS(commands),
                .start = start,
                .command = command,
                .pause = pause_nothing,
                .resume = resume,
                .stop = stop,
                .free = free_instance,
        };
        return source_main(&module, argc, argv);
}
