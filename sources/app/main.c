// SPDX-License-Identifier: MIT
// belfry-source-app: the module table.
#include "app.h"

int main(int argc, char **argv)
{
        const SourceModule module = {
                .name = "app",
                .summary = "Takes events from applications on this host and says when each is "
                           "durable.",
                .options = app_options,
                .n_options = n_app_options,
                .options_size = sizeof(AppOptions),
                .own_types = true,
                .doors = true,
                .peers = app_peers,
                .start = app_start,
                .state = app_state,
                .state_end = app_state_end,
                .durable = app_durable,
                .pause = app_pause,
                .resume = app_resume,
                .stop = app_stop,
                .free = app_free,
        };
        return source_main(&module, argc, argv);
}
