// SPDX-License-Identifier: MIT
// The next firing. Between two transitions of the zone the local clock and UTC differ by a constant,
// so the calendar is asked there in local seconds; at a transition the walk starts anew with the new
// offset. Clock forward: the local times passed over belong to the gap. Clock back: local times come
// a second time, which is recognised by looking for the same local time under the earlier offset.
#include "schedule.h"

#include "base/clock.h"
#include "base/text.h"
#include "zone.h"

#include <errno.h>
#include <time.h>

enum { DAY = 86400 };

// Did this local second already occur before `utc`?
static bool occurred_before(int64_t utc, int64_t offset)
{
        for (int64_t back = ZONE_STEP; back <= DAY; back += ZONE_STEP) {
                int64_t earlier = zone_offset(utc - back);
                if (earlier > offset && zone_offset(utc + offset - earlier) == earlier)
                        return true;
        }
        return false;
}

// What the calendar wants between the last second of the old offset and the first of the new one.
static int64_t gap_match(const Schedule *s, int64_t transition, int64_t before, int64_t now)
{
        if (now <= before)
                return CALENDAR_NEVER;
        int64_t local = calendar_next(&s->calendar, transition + before);
        return local < transition + now ? local : CALENDAR_NEVER;
}

static bool calendar_firing(const Schedule *s, int64_t after, Firing *ret)
{
        *ret = (Firing){.skipped = CALENDAR_NEVER};
        for (int64_t from = after + 1;;) {
                int64_t offset = zone_offset(from), before = zone_offset(from - 1);
                if (before != offset) {
                        int64_t lost = gap_match(s, from, before, offset);
                        if (lost != CALENDAR_NEVER && s->gap == GAP_NEXT_VALID) {
                                ret->utc = from;
                                ret->moved =
                                        calendar_next(&s->calendar, from + offset) != from + offset;
                                return true;
                        }
                        if (lost != CALENDAR_NEVER && ret->skipped == CALENDAR_NEVER)
                                ret->skipped = lost;
                }
                int64_t local = calendar_next(&s->calendar, from + offset);
                // When the calendar has ended its last times may still come a second time.
                int64_t until = local == CALENDAR_NEVER ? from + 2 * DAY : local - offset;
                int64_t transition = zone_transition(from, until);
                if (transition <= until) {
                        from = transition;
                        continue;
                }
                if (local == CALENDAR_NEVER)
                        return false;
                bool second = occurred_before(local - offset, offset);
                if (second && s->fold == FOLD_FIRST) {
                        from = local - offset + 1;
                        continue;
                }
                ret->utc = local - offset;
                ret->second_time = second;
                return true;
        }
}

bool schedule_next(const Schedule *s, int64_t after, Firing *ret)
{
        *ret = (Firing){.skipped = CALENDAR_NEVER};
        switch (s->kind) {
        case SCHEDULE_CALENDAR:
                return calendar_firing(s, after, ret);
        case SCHEDULE_EVERY:
                ret->utc = (after / s->every + 1) * s->every;
                return true;
        case SCHEDULE_AT:
                ret->utc = s->at;
                return s->at > after;
        case SCHEDULE_REBOOT:
        default:
                return false;
        }
}

// A local time of the one form that people write without thinking; with 'Z' or an offset it is
// RFC 3339.
static int at_parse(const char *text, int64_t *ret, Reason *reason)
{
        uint64_t usec;
        char rfc[64];
        struct tm t = {.tm_isdst = -1};
        size_t n = strlen(text);
        if (n < sizeof(rfc)) {
                memcpy(rfc, text, n + 1);
                if (n > 10 && rfc[10] == ' ')
                        rfc[10] = 'T';
                if (clock_parse_rfc3339(rfc, n, &usec) == 0) {
                        *ret = (int64_t)(usec / USEC_PER_SEC);
                        return 0;
                }
        }
        const char *end = strptime(text, "%Y-%m-%d %H:%M", &t);
        if (end && *end == ':')
                end = strptime(end, ":%S", &t);
        if (!end || *end || t.tm_year < 70)
                return reason_set(reason, -EINVAL,
                        "\"%.40s\" is no time: expected 2026-12-01 03:00, 2026-12-01 03:00:00 (in "
                        "the "
                        "timer's zone) or 2026-12-01T03:00:00+01:00",
                        text);
        struct tm asked = t;
        time_t at = mktime(&t);
        if (t.tm_mday != asked.tm_mday || t.tm_hour != asked.tm_hour || t.tm_min != asked.tm_min)
                return reason_set(reason, -EINVAL, "\"%.40s\" does not exist in that zone", text);
        *ret = (int64_t)at;
        return 0;
}

static int every_parse(const char *text, int64_t *ret, Reason *reason)
{
        uint64_t usec;
        text += strspn(text, " ");
        if (text_parse_duration(slice_of(text), USEC_PER_SEC, &usec) < 0 || usec < USEC_PER_SEC ||
                usec % USEC_PER_SEC || usec / USEC_PER_SEC > 366 * DAY)
                return reason_set(reason, -EINVAL,
                        "@every needs whole seconds from 1s to 366d, such as \"@every 90s\", not "
                        "\"%.40s\"",
                        text);
        *ret = (int64_t)(usec / USEC_PER_SEC);
        return 0;
}

// Five words without a colon are cron's, so is "@" and a word; the rest is OnCalendar's.
static bool is_cron(const char *text)
{
        unsigned words = 0;
        if (*text == '@')
                return true;
        for (const char *p = text; *(p += strspn(p, " \t")); p += strcspn(p, " \t"))
                words++;
        return words >= 5 && !strchr(text, ':');
}

static int spelling_parse(Schedule *s, const char *text, const char **zone, Reason *reason)
{
        Slice own_zone;
        text += strspn(text, " \t");
        if (strcmp(text, "@reboot") == 0) {
                s->kind = SCHEDULE_REBOOT;
                return 0;
        }
        if (strncmp(text, "@every", 6) == 0 && (text[6] == ' ' || text[6] == 0)) {
                s->kind = SCHEDULE_EVERY;
                return every_parse(text + 6, &s->every, reason);
        }
        s->kind = SCHEDULE_CALENDAR;
        if (is_cron(text))
                return calendar_parse_cron(text, &s->calendar, reason);
        int r = calendar_parse_on(text, &s->calendar, &own_zone, reason);
        if (r < 0 || own_zone.len == 0)
                return r;
        if (*zone && **zone && !slice_eq_str(own_zone, *zone))
                return reason_set(reason, -EINVAL,
                        "the expression ends in \"%.*s\", but zone is \"%s\": name it once",
                        SLICE_ARG(own_zone), *zone);
        *zone = own_zone.data; // the rest of the text: it ends with it
        return 0;
}

int schedule_parse(
        Schedule *ret, const char *schedule, const char *at, const char *zone, Reason *reason)
{
        Schedule s = {.gap = ret->gap, .fold = ret->fold};
        Firing first;
        int r = schedule ? spelling_parse(&s, schedule, &zone, reason) : 0;
        if (r >= 0)
                r = zone_set(zone ? zone : "", reason);
        if (r >= 0 && at) {
                s.kind = SCHEDULE_AT;
                r = at_parse(at, &s.at, reason);
        }
        if (r < 0)
                return r;
        if (s.kind == SCHEDULE_CALENDAR &&
                !schedule_next(&s, (int64_t)(clock_wall_usec() / USEC_PER_SEC), &first))
                return reason_set(reason, -EINVAL, "this date never comes");
        *ret = s;
        return 0;
}
