// SPDX-License-Identifier: MIT
// The option table of the timer source. Its prose is the manual's option list.
#include "options.h"

#include "base/clock.h"

#include <errno.h>

static const char *const gap_values[] = {"skip", "next-valid", NULL};
static const char *const fold_values[] = {"first", "both", NULL};
static const char *const missed_values[] = {"skip", "once", "all", NULL};

#define AT(type, member) .offset = OPTION_MEMBER(TimerOptions, type, member)

const Option timer_options[] = {
        {.name = "schedule",
                .type = OPTION_STRING,
                AT(char *, schedule),
                .unit = "",
                .since = "0.1",
                .prose = "When it elapses, in one of three spellings: cron's five fields (30 2 * * "
                         "mon-fri; also @hourly, @daily, @weekly, @monthly, @yearly), systemd's "
                         "calendar expressions (Mon..Fri 02:30, *:0/15, *-02~01), or @every with a "
                         "duration (@every 90s, the multiples of it since 1970 in UTC). @reboot "
                         "elapses once for each boot of the host. Either *schedule* or *at*."},
        {.name = "at",
                .type = OPTION_STRING,
                AT(char *, at),
                .unit = "",
                .since = "0.1",
                .prose = "Elapses once, at this time: 2026-12-01 03:00 in the timer's zone, or "
                         "with an "
                         "offset of its own, 2026-12-01T03:00:00+01:00."},
        {.name = "zone",
                .type = OPTION_STRING,
                AT(char *, zone),
                .unit = "",
                .since = "0.1",
                .prose = "The time zone the schedule is read in, a name such as Europe/Berlin or "
                         "UTC. "
                         "The host's own unless given."},
        {.name = "gap",
                .type = OPTION_ENUM,
                AT(int, gap),
                .unit = "",
                .values = gap_values,
                .since = "0.1",
                .prose =
                        "What becomes of a local time that does not exist because the clock is put "
                        "forward: *skip* leaves it out, *next-valid* elapses at the first moment "
                        "after the gap, once however many times lie in it."},
        {.name = "fold",
                .type = OPTION_ENUM,
                AT(int, fold),
                .unit = "",
                .values = fold_values,
                .since = "0.1",
                .prose = "What becomes of a local time that exists twice because the clock is put "
                         "back: "
                         "*first* elapses the first time only, *both* elapses both times."},
        {.name = "missed",
                .type = OPTION_ENUM,
                AT(int, missed),
                .unit = "",
                .values = missed_values,
                .since = "0.1",
                .prose =
                        "What becomes of times at which the daemon did not run, the host slept, or "
                        "over "
                        "which the clock was put forward, by more than a minute: *skip* leaves "
                        "them "
                        "out (the next event tells how many), *once* reports the last of them, "
                        "*all* "
                        "reports each, the newest *missed_max* of them. What is less than a minute "
                        "late is never missed, nor is what came due while the queue was full. An "
                        "*at* "
                        "that was missed is always reported."},
        {.name = "missed_max",
                .type = OPTION_INT,
                AT(int64_t, missed_max),
                .unit = "",
                .min = "1",
                .max = "100000",
                .def = "100",
                .since = "0.1",
                .prose = "With *missed* = all: at most so many."},
        {.name = "jitter",
                .type = OPTION_DURATION,
                AT(uint64_t, jitter_usec),
                .unit = "s",
                .min = "0s",
                .max = "7d",
                .def = "0s",
                .since = "0.1",
                .prose = "Elapse up to that much later, so that many hosts do not act in the same "
                         "second. "
                         "The delay is the same each time; it follows from the host's machine-id "
                         "and the "
                         "name of the source. The event tells the scheduled time as without it."},
        {.name = "jitter_random",
                .type = OPTION_BOOL,
                AT(bool, jitter_random),
                .unit = "",
                .def = "false",
                .since = "0.1",
                .prose = "With *jitter*: another delay each time."},
};
const size_t n_timer_options = N_ELEMENTS(timer_options);

void timer_check(const void *options, OptionFaults *f)
{
        Schedule s;
        Reason reason = {0};
        const char *option;
        if (timer_options_parse(options, &s, &option, &reason) < 0)
                option_fault(f, option, "%s", reason.text);
}

int timer_options_parse(
        const TimerOptions *o, Schedule *ret, const char **ret_option, Reason *reason)
{
        const char *unused;
        ret_option = ret_option ? ret_option : &unused;
        *ret_option = o->at && !o->schedule ? "at" : "schedule";
        if (!o->schedule == !o->at)
                return reason_set(reason, -EINVAL,
                        o->at ? "schedule and at exclude each other"
                              : "schedule or at must be given");
        *ret = (Schedule){.gap = (GapPolicy)o->gap, .fold = (FoldPolicy)o->fold};
        int r = schedule_parse(ret, o->schedule, o->at, o->zone, reason);
        if (r == -ENOENT && o->zone)
                *ret_option = "zone";
        return r;
}
