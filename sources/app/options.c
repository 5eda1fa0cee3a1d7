// SPDX-License-Identifier: MIT
// The option table of the app source. Its prose is the manual's option list.
#include "options.h"

#define AT(type, member) .offset = OPTION_MEMBER(AppOptions, type, member)

const Option app_options[] = {
        {.name = "max_line",
                .type = OPTION_SIZE,
                AT(uint64_t, max_line),
                .unit = "bytes",
                .min = "1K",
                .max = "15M",
                .def = "256K",
                .since = "0.1",
                .prose = "The longest line that is taken. A longer line is refused "
                         "and its connection closed. An event must fit into limits.event as well."},
        {.name = "rate",
                .type = OPTION_INT,
                AT(int64_t, rate),
                .unit = "",
                .min = "1",
                .max = "1000000",
                .def = "10000",
                .since = "0.1",
                .prose = "How many lines a second are taken from one user, over all of its "
                         "connections; after a pause up to a second's worth at once. Beyond it the "
                         "connections are read more slowly, so that whoever writes waits."},
        {.name = "connections",
                .type = OPTION_INT,
                AT(int64_t, connections),
                .unit = "",
                .min = "1",
                .max = "1024",
                .def = "64",
                .since = "0.1",
                .prose = "How many connections one user may have at a time. One more is told so "
                         "and closed. All users together have 1024."},
        {.name = "line_timeout",
                .type = OPTION_DURATION,
                AT(uint64_t, line_usec),
                .unit = "s",
                .min = "1s",
                .max = "1h",
                .def = "30s",
                .since = "0.1",
                .prose = "A line that began and is not over within this time is refused and its "
                         "connection closed; so is a connection whose answers nobody reads for so "
                         "long. Between lines a connection may be silent for ever."},
        {.name = "key_window",
                .type = OPTION_DURATION,
                AT(uint64_t, key_usec),
                .unit = "s",
                .min = "1s",
                .max = "30d",
                .def = "24h",
                .since = "0.1",
                .prose = "How long the id of a line is remembered. Within this time the same id of "
                         "the same user gets the answer it got before and makes no second event; "
                         "a restart or a crash forgets none."},
        {.name = "keys",
                .type = OPTION_INT,
                AT(int64_t, keys),
                .unit = "",
                .min = "1",
                .max = "1000000",
                .def = "1000000",
                .since = "0.1",
                .prose = "How many ids are remembered, of all users together. Beyond it the oldest "
                         "are forgotten before their time, which status counts (forgotten_early). "
                         "Each takes about 30 bytes of memory and 25 of the source's share of the "
                         "store."},
};
const size_t n_app_options = N_ELEMENTS(app_options);
