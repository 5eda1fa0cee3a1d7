// SPDX-License-Identifier: MIT
// The option tables that belong to no module: what every sink has, and the tables of the hub. Their
// prose is the manual.
#include "config/config.h"

#include "base/cleanup.h"

const char *const sink_methods[] = {"POST", "PUT", "PATCH", "GET", "DELETE", NULL};
static const char *const formats[] = {"cloudevents", "cloudevents-binary", "data", NULL};
static const char *const queue_full[] = {"pause", "dead", NULL};
static const char *const dead_full[] = {"pause", "drop-oldest", NULL};
static const char *const levels[] = {"err", "warning", "notice", "info", "debug", NULL};

#define POLICY(type, member) .offset = OPTION_MEMBER(SinkPolicy, type, member)
// Rows of a group: offsets count from the group's own struct.
#define INSIDE(group, type, member) \
        .offset = OPTION_MEMBER(SinkPolicy, type, group.member) - offsetof(SinkPolicy, group)

static const Option queue_rows[] = {
        {.name = "size",
                .type = OPTION_SIZE,
                INSIDE(queue, uint64_t, size),
                .flags = OPTION_RELOADABLE,
                .unit = "bytes",
                .min = "64K",
                .max = "1024G",
                .since = "0.1",
                .prose =
                        "The sink's share of the store. Without it the sink has an equal part, "
                        "together with the other sinks that name none, of what those that name one "
                        "leave of 50 % of *store.size*."},
        {.name = "on_full",
                .type = OPTION_ENUM,
                INSIDE(queue, int, on_full),
                .flags = OPTION_RELOADABLE,
                .unit = "",
                .values = queue_full,
                .since = "0.1",
                .prose =
                        "What happens when the share is used up: \"pause\" pauses the sources that "
                        "feed the sink until there is room, \"dead\" puts what comes among the "
                        "dead "
                        "letters."},
};

static const Option retry_rows[] = {
        {.name = "schedule",
                .type = OPTION_DURATION_LIST,
                INSIDE(retry, UsecList, schedule),
                .flags = OPTION_RELOADABLE,
                .unit = "s",
                .min = "0",
                .max = "30d",
                .def = "0s, 5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h",
                .since = "0.1",
                .prose =
                        "How long to wait before the first, second, third attempt and so on; after "
                        "the last one the delivery is a dead letter. Up to a tenth is added so "
                        "that "
                        "retries spread; never is one early."},
        {.name = "base",
                .type = OPTION_DURATION,
                INSIDE(retry, uint64_t, base_usec),
                .flags = OPTION_RELOADABLE,
                .unit = "s",
                .min = "100ms",
                .max = "1d",
                .since = "0.1",
                .prose = "In place of *schedule*: wait this long before the second attempt, and "
                         "twice as long before each further one."},
        {.name = "cap",
                .type = OPTION_DURATION,
                INSIDE(retry, uint64_t, cap_usec),
                .flags = OPTION_RELOADABLE,
                .unit = "s",
                .min = "1s",
                .max = "30d",
                .def = "1h",
                .since = "0.1",
                .prose = "With *base*: the longest wait."},
        {.name = "attempts",
                .type = OPTION_INT,
                INSIDE(retry, int64_t, attempts),
                .flags = OPTION_RELOADABLE,
                .unit = "",
                .min = "1",
                .max = "1000",
                .def = "10",
                .since = "0.1",
                .prose = "With *base*: how many attempts are made in all before the delivery is a "
                         "dead letter."},
};

const Option sink_policy_options[] = {
        {.name = "queue",
                .type = OPTION_GROUP,
                .offset = offsetof(SinkPolicy, queue),
                .flags = OPTION_RELOADABLE,
                .unit = "",
                .rows = queue_rows,
                .n_rows = N_ELEMENTS(queue_rows),
                .since = "0.1",
                .prose = "The sink's share of the store, and what happens when it is full."},
        {.name = "retry",
                .type = OPTION_GROUP,
                .offset = offsetof(SinkPolicy, retry),
                .flags = OPTION_RELOADABLE,
                .unit = "",
                .rows = retry_rows,
                .n_rows = N_ELEMENTS(retry_rows),
                .since = "0.1",
                .prose = "When a failed delivery is attempted again: by *schedule*, or by *base*, "
                         "*cap* and *attempts*."},
        {.name = "max_age",
                .type = OPTION_DURATION,
                POLICY(uint64_t, max_age_usec),
                .flags = OPTION_RELOADABLE,
                .unit = "s",
                .min = "1s",
                .max = "365d",
                .def = "4d",
                .since = "0.1",
                .prose = "A delivery older than this is not attempted again and becomes a dead "
                         "letter."},
        {.name = "in_flight",
                .type = OPTION_INT,
                POLICY(int64_t, in_flight),
                .flags = OPTION_RELOADABLE,
                .unit = "",
                .min = "1",
                .max = "1024",
                .def = "16",
                .since = "0.1",
                .prose = "How many requests may be under way to this sink at a time. One counts "
                         "until its answer is on the disk, so that is also how many may come "
                         "twice after a crash."},
        {.name = "method",
                .type = OPTION_ENUM,
                POLICY(int, method),
                .flags = OPTION_RELOADABLE | OPTION_STORED,
                .unit = "",
                .values = sink_methods,
                .since = "0.1",
                .prose = "The request's method. It is stored with each delivery: a change counts "
                         "for "
                         "new events only."},
        {.name = "format",
                .type = OPTION_ENUM,
                POLICY(int, format),
                .flags = OPTION_RELOADABLE | OPTION_STORED,
                .unit = "",
                .values = formats,
                .since = "0.1",
                .prose = "What the body is when the rule gives none: \"cloudevents\", the whole "
                         "event "
                         "as one CloudEvents JSON object; \"cloudevents-binary\", its data alone "
                         "with "
                         "the rest in ce-* headers; \"data\", its data alone. Stored with each "
                         "delivery."},
};
const size_t n_sink_policy_options = N_ELEMENTS(sink_policy_options);

#define STORE(type, member) .offset = OPTION_MEMBER(struct ConfigStore, type, member)
const Option store_options[] = {
        {.name = "size",
                .type = OPTION_SIZE,
                STORE(uint64_t, size),
                .unit = "bytes",
                .min = "4M",
                .max = "1024G",
                .def = "1G",
                .since = "0.1",
                .prose =
                        "The size of the store on disk, all of it allocated when the store is "
                        "made. "
                        "Sinks share 50 % of it, dead letters have 10 %, the state of sources 20 "
                        "%, "
                        "the ledger 5 %; 15 % stay free so that a full store can still record what "
                        "became of deliveries."},
        {.name = "dead_full",
                .type = OPTION_ENUM,
                STORE(int, dead_full),
                .flags = OPTION_RELOADABLE,
                .unit = "",
                .values = dead_full,
                .since = "0.1",
                .prose =
                        "When the dead letters fill their share: \"pause\" keeps what would be the "
                        "next one in its queue, \"drop-oldest\" removes the oldest."},
};
const size_t n_store_options = N_ELEMENTS(store_options);

#define LIMITS(type, member) .offset = OPTION_MEMBER(struct ConfigLimits, type, member)
const Option limits_options[] = {
        {.name = "event",
                .type = OPTION_SIZE,
                LIMITS(uint64_t, event),
                .flags = OPTION_RELOADABLE,
                .unit = "bytes",
                .min = "4K",
                .max = "16M",
                .def = "1M",
                .since = "0.1",
                .prose = "The largest event. The data of a larger one is replaced by its size and "
                         "hash, with the same id and type."},
        {.name = "body",
                .type = OPTION_SIZE,
                LIMITS(uint64_t, body),
                .flags = OPTION_RELOADABLE,
                .unit = "bytes",
                .min = "1K",
                .max = "16M",
                .def = "1M",
                .since = "0.1",
                .prose = "The largest body that a rule may render; a larger one makes the delivery "
                         "a "
                         "dead letter."},
        {.name = "stop",
                .type = OPTION_DURATION,
                LIMITS(uint64_t, stop_usec),
                .flags = OPTION_RELOADABLE,
                .unit = "s",
                .min = "1s",
                .max = "10m",
                .def = "10s",
                .since = "0.1",
                .prose = "How long requests under way may take to end when Belfry is stopped. What "
                         "has not ended stays in the queue."},
        {.name = "sink_processes",
                .type = OPTION_INT,
                LIMITS(int64_t, sink_processes),
                .unit = "",
                .min = "1",
                .max = "16",
                .def = "1",
                .since = "0.1",
                .prose =
                        "How many processes deliver. One keeps a fast network busy; more help when "
                        "TLS or slow name servers cost."},
};
const size_t n_limits_options = N_ELEMENTS(limits_options);

const Option log_options[] = {
        {.name = "level",
                .type = OPTION_ENUM,
                .offset = OPTION_MEMBER(struct ConfigLog, int, level),
                .flags = OPTION_RELOADABLE,
                .unit = "",
                .values = levels,
                .def = "info",
                .since = "0.1",
                .prose = "What is logged: this level and the graver ones."},
};
const size_t n_log_options = N_ELEMENTS(log_options);

#define CONTROL(member)                                                 \
        .type = OPTION_STRING_LIST,                                     \
        .offset = OPTION_MEMBER(struct ConfigControl, char **, member), \
        .flags = OPTION_RELOADABLE, .unit = "", .since = "0.1"
const Option control_options[] = {
        {.name = "read",
                CONTROL(read),
                .def = "@belfry",
                .prose = "Who may look: status, lists, tail, why. Users, and groups as \"@group\". "
                         "The group belfry is passed over where it does not exist."},
        {.name = "inject",
                CONTROL(inject),
                .prose = "Who may hand in events. Users, and groups as \"@group\"."},
        {.name = "admin",
                CONTROL(admin),
                .def = "root",
                .prose = "Who may change: pause, retry, drop, forget, reload. Users, and groups as "
                         "\"@group\"."},
};
const size_t n_control_options = N_ELEMENTS(control_options);

// Values of rules are read by config/rules.c: their strings have places of their own.
#define RULE(row_name, row_type) \
        .name = row_name, .type = row_type, .offset = SIZE_MAX, .unit = "", .since = "0.1"
const Option rule_options[] = {
        {RULE("name", OPTION_STRING), .flags = OPTION_REQUIRED,
                .prose = "The rule's name, of a-z, 0-9 and -, unique among the rules. Ids of what "
                         "the "
                         "rule renders are made with it."},
        {RULE("from", OPTION_STRING_LIST),
                .prose = "The sources whose events it takes; without it, of all."},
        {RULE("when", OPTION_STRING),
                .prose = "The condition an event must meet, in the language of filters; without it "
                         "every event does. A long one may be written as several strings in a "
                         "row, which are joined."},
        {RULE("to", OPTION_STRING_LIST), .flags = OPTION_REQUIRED,
                .prose = "The sinks that get the event."},
        {RULE("body", OPTION_TEMPLATE), .prose = "The body to send in place of the event: a group "
                                                 "that becomes a JSON object, "
                                                 "with holes ${expression} in its strings."},
        {RULE("body_file", OPTION_STRING),
                .prose = "A JSON file with such holes, in place of *body*; a relative path counts "
                         "from the directory of the configuration file."},
        {RULE("headers", OPTION_STRING_MAP), .flags = OPTION_HEADERS,
                .prose = "Headers to send, each a string that may have holes."},
        {RULE("enabled", OPTION_BOOL), .def = "true",
                .prose = "Whether the rule is used at all; a rule switched off is still checked."},
};
const size_t n_rule_options = N_ELEMENTS(rule_options);
