// SPDX-License-Identifier: MIT
// cron's spelling of a calendar: five fields of numbers, names, lists, ranges and steps, with cron's
// rule for the days: when both day fields are restricted (neither starts with "*"), either suffices.
// Minutes are its finest unit. It does not take seconds fields, "L", "W", "#" or "?".
#include "calendar.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

typedef struct CronField {
        const char *name;
        int first, last;
        const char *const *words; // for first, first + 1, ...; NULL-terminated
} CronField;

static const char *const month_words[] = {
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const day_words[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
enum { FIELD_MINUTE, FIELD_HOUR, FIELD_DAY, FIELD_MONTH, FIELD_WEEKDAY, N_CRON_FIELDS };
static const CronField cron_fields[N_CRON_FIELDS] = {
        [FIELD_MINUTE] = {"minute", 0, 59, NULL},
        [FIELD_HOUR] = {"hour", 0, 23, NULL},
        [FIELD_DAY] = {"day of the month", 1, 31, NULL},
        [FIELD_MONTH] = {"month", 1, 12, month_words},
        [FIELD_WEEKDAY] = {"day of the week", 0, 7, day_words},
};

static int field_refuse(const CronField *f, Slice part, Reason *reason)
{
        return reason_set(reason, -EINVAL,
                "the %s field has \"%.*s\": expected %d to %d%s, a range such as %d-%d, or a step "
                "such as */2",
                f->name, SLICE_ARG(part), f->first, f->last, f->words ? " or a name" : "", f->first,
                f->last);
}

// A number or a name at *p; moves *p behind it. -1: neither.
static int value_at(const CronField *f, const char **p)
{
        if (isdigit((unsigned char)**p)) {
                char *end;
                long n = strtol(*p, &end, 10);
                if (end - *p > 4)
                        return -1;
                *p = end;
                return (int)n;
        }
        for (int i = 0; f->words && f->words[i]; i++)
                if (strncasecmp(*p, f->words[i], 3) == 0 && !isalpha((unsigned char)(*p)[3])) {
                        *p += 3;
                        return f->first + i;
                }
        return -1;
}

// One element of a list: "*", "*/n", "a", "a-b", "a-b/n".
static int element_parse(const CronField *f, Slice part, uint64_t *bits, Reason *reason)
{
        char text[64];
        if (part.len == 0 || part.len >= sizeof(text))
                return field_refuse(f, part, reason);
        memcpy(text, part.data, part.len);
        text[part.len] = 0;
        const char *p = text;
        int first = f->first, last = f->last, step = 1;
        bool range = true;
        if (*p == '*') {
                p++;
                last -= f->last == 7; // Sunday once
        } else {
                first = last = value_at(f, &p);
                range = first >= 0 && *p == '-';
                if (range) {
                        p++;
                        last = value_at(f, &p);
                }
        }
        if (*p == '/' && range) {
                char *end;
                long n = strtol(++p, &end, 10);
                step = end > p && n > 0 && n <= f->last ? (int)n : -1;
                p = end;
        } else if (*p == '/' && first >= 0) {
                return reason_set(reason, -EINVAL,
                        "the %s field has \"%s\": a step needs a range, write %d-%d%s", f->name,
                        text, first, f->last, p);
        }
        if (*p || first < f->first || last > f->last || step < 0)
                return field_refuse(f, part, reason);
        if (last < first)
                return reason_set(reason, -EINVAL,
                        "the %s field has \"%s\", a range that ends before it begins; write two",
                        f->name, text);
        for (int i = first; i <= last; i += step)
                *bits |= UINT64_C(1) << i;
        return 0;
}

static int field_parse(const CronField *f, Slice field, uint64_t *ret, Reason *reason)
{
        *ret = 0;
        while (field.data) {
                const char *comma = memchr(field.data, ',', field.len);
                Slice part = {field.data, comma ? (size_t)(comma - field.data) : field.len};
                int r = element_parse(f, part, ret, reason);
                if (r < 0)
                        return r;
                field = comma ? (Slice){comma + 1, field.len - part.len - 1} : SLICE_NULL;
        }
        return 0;
}

static const char *macro_text(const char *text)
{
        static const char *const macros[][2] = {
                {"@yearly", "0 0 1 1 *"},
                {"@annually", "0 0 1 1 *"},
                {"@monthly", "0 0 1 * *"},
                {"@weekly", "0 0 * * 0"},
                {"@daily", "0 0 * * *"},
                {"@midnight", "0 0 * * *"},
                {"@hourly", "0 * * * *"},
        };
        for (size_t i = 0; i < N_ELEMENTS(macros); i++)
                if (strcmp(text, macros[i][0]) == 0)
                        return macros[i][1];
        return NULL;
}

int calendar_parse_cron(const char *text, Calendar *ret, Reason *reason)
{
        uint64_t bits[N_CRON_FIELDS];
        bool star[N_CRON_FIELDS];
        if (*text == '@') {
                const char *macro = macro_text(text);
                if (!macro)
                        return reason_set(reason, -EINVAL,
                                "\"%.40s\" is not one of @hourly @daily @weekly @monthly @yearly "
                                "@every "
                                "@reboot",
                                text);
                text = macro;
        }
        unsigned n = 0;
        for (const char *p = text; *(p += strspn(p, " \t"));) {
                Slice field = {p, strcspn(p, " \t")};
                if (n == N_CRON_FIELDS)
                        return reason_set(reason, -EINVAL,
                                "cron's spelling has five fields (minute hour day month weekday); "
                                "for "
                                "seconds or years write an OnCalendar expression such as *-*-* "
                                "02:30:00");
                star[n] = *p == '*';
                int r = field_parse(&cron_fields[n], field, &bits[n], reason);
                if (r < 0)
                        return r;
                n++;
                p += field.len;
        }
        if (n < N_CRON_FIELDS)
                return reason_set(reason, -EINVAL,
                        "cron's spelling has five fields (minute hour day month weekday), here are "
                        "%u",
                        n);
        *ret = (Calendar){
                .seconds = 1,
                .minutes = bits[FIELD_MINUTE],
                .hours = (uint32_t)bits[FIELD_HOUR],
                .days = (uint32_t)bits[FIELD_DAY],
                .months = (uint16_t)bits[FIELD_MONTH],
                .weekdays = (uint8_t)((bits[FIELD_WEEKDAY] | bits[FIELD_WEEKDAY] >> 7) & 0x7f),
                .day_or = !star[FIELD_DAY] && !star[FIELD_WEEKDAY],
        };
        return 0;
}
