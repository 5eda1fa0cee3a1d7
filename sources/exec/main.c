// SPDX-License-Identifier: MIT
// belfry-source-exec: the module table.
#include "exec.h"

static void exec_check(const void *options, OptionFaults *f)
{
        const ExecOptions *o = options;
        for (size_t i = 0; i < o->environment.n; i++) {
                char path[160];
                (void)snprintf(path, sizeof(path), "environment.%s", o->environment.names[i]);
                if (strncmp(o->environment.names[i], "BELFRY_", 7) == 0)
                        option_fault(f, path,
                                "expected another name: those that begin with BELFRY_ are set for "
                                "the program");
        }
}

int main(int argc, char **argv)
{
        const SourceModule module = {
                .name = "exec",
                .summary = "Runs a program and takes the JSON lines that it prints for events.",
                .options = exec_options,
                .n_options = n_exec_options,
                .options_size = sizeof(ExecOptions),
                .own_types = true,
                .needs_network = true,
                .runs_programs = true,
                .check = exec_check,
                .start = exec_start,
                .state = exec_state,
                .state_end = exec_state_end,
                .durable = exec_durable,
                .pause = exec_pause,
                .resume = exec_resume,
                .stop = exec_stop,
                .free = exec_free,
        };
        return source_main(&module, argc, argv);
}
