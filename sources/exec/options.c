// SPDX-License-Identifier: MIT
// The option table of the exec source. Its prose is the manual's option list.
#include "options.h"

#define AT(type, member) .offset = OPTION_MEMBER(ExecOptions, type, member)

static const char *const replays[] = {[REPLAY_POSITION] = "position", [REPLAY_NONE] = "none", NULL};
static const char *const restarts[] = {[RESTART_ALWAYS] = "always",
        [RESTART_FAILURE] = "failure",
        [RESTART_NEVER] = "never",
        NULL};

const Option exec_options[] = {
        {.name = "program",
                .type = OPTION_PATH,
                AT(char *, program),
                .flags = OPTION_REQUIRED | OPTION_CAGE_EXECUTE,
                .since = "0.1",
                .prose = "The program, an absolute path. It is executed without a shell; a script "
                         "needs its #! line."},
        {.name = "arguments",
                .type = OPTION_STRING_LIST,
                AT(char **, arguments),
                .since = "0.1",
                .prose = "Its arguments, each as it stands: nothing is split or expanded."},
        {.name = "environment",
                .type = OPTION_STRING_MAP,
                AT(StringMap, environment),
                .flags = OPTION_REFERENCE,
                .since = "0.1",
                .prose = "Variables beside those that every program gets, { API_TOKEN = "
                         "\"credential:token\"; }. A value may be a secret reference."},
        {.name = "reads",
                .type = OPTION_PATH_LIST,
                AT(char **, reads),
                .flags = OPTION_CAGE_EXECUTE,
                .since = "0.1",
                .prose = "Files and directories that the program may read and execute, beside "
                         "itself and the system's programs and libraries in /usr."},
        {.name = "writes",
                .type = OPTION_PATH_LIST,
                AT(char **, writes),
                .flags = OPTION_CAGE_WRITE,
                .since = "0.1",
                .prose = "Files and directories that the program may read and change. The unit "
                         "must let them be written too (ReadWritePaths=)."},
        {.name = "network",
                .type = OPTION_BOOL,
                AT(bool, network),
                .def = "false",
                .since = "0.1",
                .prose = "Whether the program may open IPv4 and IPv6 sockets, to connect out."},
        {.name = "replay",
                .type = OPTION_ENUM,
                AT(int, replay),
                .values = replays,
                .since = "0.1",
                .prose = "*position*: started again, the program goes on behind the position it is "
                         "given, and a line that has no id needs a position, on it or before it. "
                         "*none*: it cannot go back; lines without either are taken, and what it "
                         "would have printed while it did not run, or had printed just before a "
                         "crash, is lost. status shows it."},
        {.name = "ids",
                .type = OPTION_INT,
                AT(int64_t, ids),
                .unit = "",
                .min = "0",
                .max = "1000000",
                .def = "10000",
                .since = "0.1",
                .prose =
                        "How many ids of lines are remembered, the last ones, over restarts too: a "
                        "line with one of them is not taken again. So a program may print all that "
                        "it finds each time. With 0 such a line is delivered again, under the same "
                        "id."},
        {.name = "acknowledge",
                .type = OPTION_BOOL,
                AT(bool, acknowledge),
                .def = "false",
                .since = "0.1",
                .prose = "Whether each position is written to the program's standard input, as a "
                         "line, once it is durable. Without it the input is empty."},
        {.name = "ready_timeout",
                .type = OPTION_DURATION,
                AT(uint64_t, ready_usec),
                .unit = "s",
                .min = "100ms",
                .max = "1h",
                .since = "0.1",
                .prose = "The program says by a line {\"ready\":true} that it is ready, and is "
                         "ended when it takes longer. Unset, it is ready once it runs."},
        {.name = "restart",
                .type = OPTION_ENUM,
                AT(int, restart),
                .values = restarts,
                .since = "0.1",
                .prose = "Whether it is started again when it ends: *always*, after a *failure* (a "
                         "status that is not 0, or a signal), or *never*."},
        {.name = "restart_wait",
                .type = OPTION_DURATION,
                AT(uint64_t, wait_usec),
                .unit = "s",
                .min = "10ms",
                .max = "7d",
                .def = "1s",
                .since = "0.1",
                .prose = "How long to wait before it is started again. So a program that ends each "
                         "time makes a poller. After failures in a row the wait doubles, up to one "
                         "minute."},
        {.name = "restarts",
                .type = OPTION_INT,
                AT(int64_t, restarts),
                .unit = "",
                .min = "1",
                .max = "600",
                .def = "10",
                .since = "0.1",
                .prose = "How often it may be started within one minute. Then the next start waits "
                         "until the minute is over, and status says so."},
        {.name = "stop_timeout",
                .type = OPTION_DURATION,
                AT(uint64_t, stop_usec),
                .unit = "s",
                .min = "10ms",
                .max = "8s",
                .def = "3s",
                .since = "0.1",
                .prose = "How long it may take to end after SIGTERM; then it is killed with all "
                         "that it started."},
        {.name = "rate",
                .type = OPTION_INT,
                AT(int64_t, rate),
                .unit = "",
                .min = "1",
                .max = "1000000",
                .def = "10000",
                .since = "0.1",
                .prose = "How many lines a second are taken, after a pause up to a second's worth "
                         "at once. Beyond it the program waits in its write; nothing is dropped."},
        {.name = "max_line",
                .type = OPTION_SIZE,
                AT(uint64_t, max_line),
                .unit = "bytes",
                .min = "1K",
                .max = "15M",
                .def = "256K",
                .since = "0.1",
                .prose = "The longest line that is taken. A longer one is refused. An event must "
                         "fit into limits.event as well."},
        {.name = "log_rate",
                .type = OPTION_INT,
                AT(int64_t, log_rate),
                .unit = "",
                .min = "0",
                .max = "6000",
                .def = "60",
                .since = "0.1",
                .prose = "How many lines of its standard error a minute go to the log, each cut at "
                         "1024 bytes. The rest is counted."},
        {.name = "memory",
                .type = OPTION_SIZE,
                AT(uint64_t, memory),
                .unit = "bytes",
                .min = "8M",
                .def = "256M",
                .since = "0.1",
                .prose = "How much memory each of its processes may allocate (RLIMIT_DATA)."},
};
const size_t n_exec_options = N_ELEMENTS(exec_options);
