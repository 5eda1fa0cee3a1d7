// SPDX-License-Identifier: MIT
// The texts of the options, understood. The rules are journalctl's: those of matches are
// sd_journal_add_match(3)'s, those of unit names systemctl(1)'s and systemd.unit(5)'s.
#include "filter.h"

#include "base/clock.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define UNIT_CHARS LETTERS DIGITS ":-_.\\@"
#define GLOB_CHARS "*?[]!"

static const char *const unit_suffixes[] = {".service", ".socket", ".target", ".device", ".mount",
        ".automount", ".swap", ".timer", ".path", ".slice", ".scope"};
static const char *const priority_names[] = {
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};

static bool chars_are_of(const char *text, const char *set)
{
        return text[strspn(text, set)] == '\0';
}

// ---- matches

static bool field_name_char(char c)
{
        return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static int term_check(const char *term, Reason *reason)
{
        size_t n = 0;
        if (term[0] == '/')
                return reason_set(reason, -EINVAL,
                        "expected FIELD=value; for what a program logs write _EXE=%.64s", term);
        while (field_name_char(term[n]))
                n++;
        if (term[n] == '=' && n > 0) {
                if (strncmp(term, "__", 2) == 0)
                        return reason_set(reason, -EINVAL,
                                "%.*s is no field of the entry: it cannot be matched", (int)n,
                                term);
                return n <= FIELD_NAME_MAX ? 0
                                           : reason_set(reason, -EINVAL,
                                                     "a field's name has at most %d characters",
                                                     FIELD_NAME_MAX);
        }
        if (n > 0 && !term[n])
                return reason_set(reason, -EINVAL, "expected %.*s=value", (int)n, term);
        return reason_set(reason, -EINVAL,
                "expected FIELD=value, with the field's name in capital letters, digits and _");
}

int match_check(char *const *terms, size_t *ret_at, Reason *reason)
{
        bool have_term = false;
        size_t i = 0;
        for (; terms && terms[i]; i++) {
                *ret_at = i;
                if (strcmp(terms[i], "+") == 0) {
                        if (!have_term)
                                return reason_set(reason, -EINVAL, "+ stands between two terms");
                        have_term = false;
                        continue;
                }
                int r = term_check(terms[i], reason);
                if (r < 0)
                        return r;
                have_term = true;
        }
        if (i > 0 && !have_term)
                return reason_set(reason, -EINVAL, "+ stands between two terms");
        return 0;
}

// ---- priorities

static int priority_level(Slice s)
{
        if (s.len == 1 && s.data[0] >= '0' && s.data[0] <= '7')
                return s.data[0] - '0';
        for (size_t i = 0; i < N_ELEMENTS(priority_names); i++)
                if (slice_eq_str(s, priority_names[i]))
                        return (int)i;
        return -EINVAL;
}

int priority_parse(const char *text, unsigned *ret, Reason *reason)
{
        const char *dots = strstr(text, "..");
        Slice low = {text, dots ? (size_t)(dots - text) : strlen(text)};
        int a = dots ? priority_level(low) : 0;
        int b = priority_level(dots ? slice_of(dots + 2) : low);
        if (a < 0 || b < 0) {
                Slice word = a < 0 || !dots ? low : slice_of(dots + 2);
                const char *near = text_nearest(word, priority_names, N_ELEMENTS(priority_names));
                return reason_set(reason, -EINVAL,
                        "expected emerg, alert, crit, err, warning, notice, info, debug, 0 to 7, "
                        "or two of them as in warning..emerg%s%s%s",
                        near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
        }
        *ret = 0;
        for (int i = a < b ? a : b; i <= (a < b ? b : a); i++)
                *ret |= 1u << i;
        return 0;
}

// ---- units

static bool unit_suffix_known(const char *name)
{
        const char *dot = strrchr(name, '.');
        for (size_t i = 0; dot && i < N_ELEMENTS(unit_suffixes); i++)
                if (strcmp(dot, unit_suffixes[i]) == 0)
                        return true;
        return false;
}

static bool unit_name_valid(const char *name)
{
        return strlen(name) < UNIT_NAME_SIZE && unit_suffix_known(name) && name[0] != '.' &&
               name[0] != '@' && chars_are_of(name, UNIT_CHARS);
}

bool unit_is_pattern(const char *name)
{
        return strpbrk(name, "*?[") != NULL;
}

static void add_escaped_char(Buf *b, char c)
{
        buf_addf(b, "\\x%02x", (unsigned char)c);
}

// A path as the name of a mount or device unit: systemd-escape --path.
static void add_escaped_path(Buf *b, const char *path)
{
        size_t start = b->len;
        for (const char *at = path + strspn(path, "/"); *at;) {
                size_t n = strcspn(at, "/");
                if (n == 1 && at[0] == '.')
                        n = 0;
                else if (b->len > start)
                        buf_add_char(b, '-');
                for (size_t i = 0; i < n; i++) {
                        char c = at[i];
                        bool plain = c && strchr(LETTERS DIGITS ":_.", c);
                        if (!plain || (c == '.' && i == 0 && b->len == start))
                                add_escaped_char(b, c);
                        else
                                buf_add_char(b, c);
                }
                at += strcspn(at, "/");
                at += strspn(at, "/");
        }
        if (b->len == start)
                buf_add_char(b, '-');
}

int unit_mangle(const char *text, char ret[static UNIT_NAME_SIZE], Reason *reason)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(UNIT_NAME_SIZE - 1);
        if (!text[0])
                return reason_set(reason, -EINVAL, "expected the name of a unit");
        bool pattern = unit_is_pattern(text);
        if (unit_name_valid(text) || (pattern && chars_are_of(text, UNIT_CHARS GLOB_CHARS))) {
                buf_add_str(&b, text);
        } else if (text[0] == '/' && !pattern) {
                bool device = strncmp(text, "/dev/", 5) == 0 || strncmp(text, "/sys/", 5) == 0;
                add_escaped_path(&b, text);
                buf_add_str(&b, device ? ".device" : ".mount");
        } else {
                for (const char *s = text; *s; s++) {
                        if (*s == '/')
                                buf_add_char(&b, '-');
                        else if (!strchr(UNIT_CHARS GLOB_CHARS, *s) ||
                                 (!pattern && strchr(GLOB_CHARS, *s)))
                                add_escaped_char(&b, *s);
                        else
                                buf_add_char(&b, *s);
                }
                if (!pattern && !unit_suffix_known(text))
                        buf_add_str(&b, ".service");
        }
        if (b.error == -ENOMEM)
                return reason_set(reason, -ENOMEM, "out of memory");
        const char *name = buf_text(&b);
        if (b.error < 0 || b.len == 0 || (!pattern && !unit_name_valid(name)))
                return reason_set(reason, -EINVAL,
                        "expected the name of a unit, such as \"ssh.service\", at most %d bytes",
                        UNIT_NAME_SIZE - 1);
        (void)snprintf(ret, UNIT_NAME_SIZE, "%s", name);
        return 0;
}

int unit_check(const char *text, Reason *reason)
{
        char name[UNIT_NAME_SIZE];
        return unit_mangle(text, name, reason);
}

// ---- fields, boots, namespaces

int field_pattern_check(const char *text, Reason *reason)
{
        size_t n = 0;
        while (field_name_char(text[n]))
                n++;
        bool star = text[n] == '*' && !text[n + 1];
        if ((text[n] && !star) || (n == 0 && !star) || n > FIELD_NAME_MAX)
                return reason_set(reason, -EINVAL,
                        "expected a field's name in capital letters, digits and _, or its "
                        "beginning and *");
        return 0;
}

bool field_pattern_matches(const char *pattern, Slice name)
{
        size_t n = strlen(pattern);
        if (n > 0 && pattern[n - 1] == '*')
                return slice_starts(name, (Slice){pattern, n - 1});
        return slice_eq(name, (Slice){pattern, n});
}

int boot_check(const char *text, Reason *reason)
{
        if (strcmp(text, "all") == 0 || strcmp(text, "current") == 0)
                return 0;
        size_t digits = 0;
        for (const char *s = text; *s; s++) {
                if (isxdigit((unsigned char)*s))
                        digits++;
                else if (*s != '-' || strlen(text) != 36 ||
                         (s - text != 8 && s - text != 13 && s - text != 18 && s - text != 23))
                        digits = 99;
        }
        if (digits == 32)
                return 0;
        return reason_set(reason, -EINVAL,
                "expected all, current, or a boot id of 32 hexadecimal digits (journalctl "
                "--list-boots)");
}

int namespace_check(const char *text, Reason *reason)
{
        if (strcmp(text, "*") == 0)
                return 0;
        const char *name = text + (text[0] == '+');
        if (!name[0] || name[0] == '.' || strlen(name) > NAME_MAX - 64 ||
                !chars_are_of(name, UNIT_CHARS))
                return reason_set(reason, -EINVAL,
                        "expected a namespace's name, +NAME for it and the default one, or *");
        return 0;
}

// ---- times

static int since_local(const char *text, uint64_t *ret)
{
        static const char *const forms[] = {
                "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"};
        for (size_t i = 0; i < N_ELEMENTS(forms); i++) {
                struct tm tm = {.tm_isdst = -1}, kept;
                const char *end = strptime(text, forms[i], &tm);
                if (!end || *end)
                        continue;
                kept = tm;
                time_t at = mktime(&tm);
                // strptime lets 31 February pass, mktime moves it into March.
                if (at == (time_t)-1 || at < 0 || tm.tm_mday != kept.tm_mday)
                        return -EINVAL;
                *ret = (uint64_t)at * USEC_PER_SEC;
                return 0;
        }
        return -EINVAL;
}

static int since_midnight(uint64_t now_usec, int days_back, uint64_t *ret)
{
        time_t now = (time_t)(now_usec / USEC_PER_SEC);
        struct tm tm;
        if (!localtime_r(&now, &tm))
                return -EINVAL;
        tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
        tm.tm_mday -= days_back;
        tm.tm_isdst = -1;
        time_t at = mktime(&tm);
        if (at < 0)
                return -EINVAL;
        *ret = (uint64_t)at * USEC_PER_SEC;
        return 0;
}

int since_parse(const char *text, uint64_t now_usec, uint64_t *ret, Reason *reason)
{
        uint64_t back;
        *ret = 0;
        if (strcmp(text, "now") == 0) {
                *ret = SINCE_NOW;
                return 0;
        }
        if (strcmp(text, "beginning") == 0)
                return 0;
        if (text[0] == '-' && text_parse_duration(slice_of(text + 1), 0, &back) == 0) {
                *ret = back < now_usec ? now_usec - back : 0;
                return 0;
        }
        int r = -EINVAL;
        if (strcmp(text, "today") == 0 || strcmp(text, "yesterday") == 0)
                r = since_midnight(now_usec, text[0] == 'y', ret);
        if (r < 0)
                r = clock_parse_rfc3339(text, strlen(text), ret);
        if (r < 0)
                r = since_local(text, ret);
        if (r < 0)
                return reason_set(reason, -EINVAL,
                        "expected now, beginning, today, yesterday, a time such as \"2026-11-23 "
                        "09:00\" or \"2026-11-23T09:00:00Z\", or how long ago, such as \"-2h\"");
        return 0;
}
