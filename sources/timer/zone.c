// SPDX-License-Identifier: MIT
// See zone.h. The C library takes a zone it cannot find for UTC without a word, so the file is
// looked for first, and a name that leaves the database is refused.
#include "zone.h"

#include "base/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ZONE_DIR "/usr/share/zoneinfo/"

int zone_set(const char *name, Reason *reason)
{
        _cleanup_(buf_deinitp) Buf path = BUF_INIT(256), value = BUF_INIT(256);
        size_t n = strlen(name);
        if (n == 0) {
                (void)unsetenv("TZ");
                tzset();
                return 0;
        }
        if (n > 128 || name[0] == '/' || strstr(name, "..") || strpbrk(name, " :,\n"))
                return reason_set(reason, -ENOENT, "\"%.64s\" is no name of a time zone", name);
        buf_add_str(&path, ZONE_DIR);
        buf_add_str(&path, name);
        if (strcmp(name, "UTC") != 0 && access(buf_text(&path), R_OK) < 0)
                return reason_set(reason, -ENOENT,
                        "there is no time zone \"%.64s\" in " ZONE_DIR
                        " (package tzdata; names such as "
                        "Europe/Berlin, see: timedatectl list-timezones)",
                        name);
        buf_add_str(&value, ":");
        buf_add_str(&value, name);
        if (setenv("TZ", buf_text(&value), 1) < 0)
                return reason_errno(reason, -errno, "cannot set the time zone");
        tzset();
        return 0;
}

int64_t zone_offset(int64_t utc)
{
        time_t at = (time_t)utc;
        struct tm t;
        return localtime_r(&at, &t) ? t.tm_gmtoff : 0;
}

int64_t zone_transition(int64_t utc, int64_t until)
{
        int64_t offset = zone_offset(utc);
        for (int64_t low = utc; low < until;) {
                int64_t high = until - low > ZONE_STEP ? low + ZONE_STEP : until;
                if (zone_offset(high) == offset) {
                        low = high;
                        continue;
                }
                while (high - low > 1) {
                        int64_t middle = low + (high - low) / 2;
                        if (zone_offset(middle) == offset)
                                low = middle;
                        else
                                high = middle;
                }
                return high;
        }
        return INT64_MAX;
}
