// SPDX-License-Identifier: MIT
// The one table of fail points and the counter behind them. A name that is passed but not listed
// is a bug of ours (assert); a name that is listed but nowhere passed is found by the kill test,
// which demands that each is hit.
#include "base/failpoint.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

typedef struct FailPoint {
        const char *name;
        const char *where; // what has and what has not happened when it is passed
} FailPoint;

// Sorted by name. To add one: a row here, FAILPOINT("that.name") at the place, nothing else.
static const FailPoint fail_points[] = {
        {"births.child-cloned", "a child runs, the hub has not been told of it"},
        {"hub.attempt-built", "one attempt is read from the store and made, not yet handed out"},
        {"hub.attempts-sent", "attempts are on their way to the sink, no verdict is back"},
        {"hub.durable-told", "a transaction is durable, its sources have been told"},
        {"hub.event-arrived", "one event of a batch is about to get its envelope"},
        {"hub.event-routed", "rules have run over one event, nothing of it is stored"},
        {"hub.verdict-noted", "a verdict is in the open transaction, not yet durable"},
        {"link.written", "what was queued towards the other side of a link has left"},
        {"sink.answered", "an endpoint has answered, the hub has not been told"},
        {"sink.attempt-read", "an attempt has come, nothing of it has gone to the endpoint"},
        {"source.batch-built", "a batch is complete, the hub has not been sent it"},
        {"source.durable-heard", "a batch is durable, the source has not acted on that"},
        {"store.after-commit", "a transaction is durable, nobody has been told"},
        {"store.before-commit", "all rows of a transaction are put, nothing is durable"},
        {"store.create-before-rename", "a new store is complete but has not its name yet"},
        {"store.salvage-before-rename", "a salvaged store is complete, the corrupt one in place"},
        {"store.salvage-between-renames", "the corrupt store is moved aside, none in its place"},
};

bool failpoint_armed;
static const FailPoint *armed_point;
static unsigned long hits_left;

static const FailPoint *failpoint_find(const char *name, size_t len)
{
        for (size_t i = 0; i < N_ELEMENTS(fail_points); i++)
                if (strlen(fail_points[i].name) == len &&
                        memcmp(fail_points[i].name, name, len) == 0)
                        return &fail_points[i];
        return NULL;
}

void failpoint_hit(const char *name)
{
        const FailPoint *p = failpoint_find(name, strlen(name));
        assert(p);
        if (p != armed_point || --hits_left > 0)
                return;
        char line[96];
        int n = snprintf(line, sizeof line, "fail point %s reached in %s\n", p->name,
                program_invocation_short_name);
        if (n > 0)
                (void)!write(STDERR_FILENO, line, (size_t)n);
        (void)raise(SIGKILL); // not kill(): a caged module may signal its own thread alone
        for (;;)              // the signal is pending; nothing behind the fail point may run
                (void)pause();
}

static bool failpoint_is_here(const char *program, size_t len)
{
        return strlen(program_invocation_short_name) == len &&
               memcmp(program_invocation_short_name, program, len) == 0;
}

int failpoint_set(const char *spec)
{
        if (!spec || !*spec) {
                failpoint_armed = false;
                return 0;
        }
        const char *colon = strrchr(spec, ':');
        if (!colon || colon[1] < '0' || colon[1] > '9')
                return -EINVAL;
        char *end;
        errno = 0;
        unsigned long n = strtoul(colon + 1, &end, 10);
        if (*end || errno || n == 0)
                return -EINVAL;
        const char *at = strchr(spec, '@');
        const FailPoint *p = failpoint_find(spec, (size_t)((at ? at : colon) - spec));
        if (!p)
                return -ENOENT;
        if (at && !failpoint_is_here(at + 1, (size_t)(colon - at - 1))) {
                failpoint_armed = false;
                return 0;
        }
        armed_point = p;
        hits_left = n;
        failpoint_armed = true;
        return 0;
}

void failpoint_each(void (*each)(const char *name, const char *where, void *u), void *u)
{
        for (size_t i = 0; i < N_ELEMENTS(fail_points); i++)
                each(fail_points[i].name, fail_points[i].where, u);
}

__attribute__((constructor)) static void failpoint_from_environment(void)
{
        const char *spec = getenv("BELFRY_FAILPOINT");
        int r = failpoint_set(spec);
        if (r < 0) {
                (void)fprintf(stderr, "BELFRY_FAILPOINT=%s: %s\n", spec,
                        r == -ENOENT ? "no such fail point" : "expected NAME:N");
                _exit(2);
        }
}
