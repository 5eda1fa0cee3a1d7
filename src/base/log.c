// SPDX-License-Identifier: MIT
// Log lines, to the journal with fields or to standard error as text. One line a call, one write a
// line; a line that cannot be written is dropped, since there is nobody left to tell. Nothing is
// allocated here, so that a lack of memory can be logged.
#define SD_JOURNAL_SUPPRESS_LOCATION // the code's own file and line are of no use to a user

#include "base/log.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

enum { FIELD_MAX = 128 };

static const char *log_ident = "belfry";
static int log_max_level = LOG_INFO;
static bool log_journal;

// systemd.exec(5): JOURNAL_STREAM is "device:inode" of the stream; a child that redirected its
// standard error keeps the variable, so both numbers are compared.
static bool stderr_is_journal(void)
{
        const char *text = getenv("JOURNAL_STREAM");
        struct stat st;
        uint64_t dev, ino;
        if (!text || sscanf(text, "%" SCNu64 ":%" SCNu64, &dev, &ino) != 2)
                return false;
        if (fstat(STDERR_FILENO, &st) < 0)
                return false;
        return (uint64_t)st.st_dev == dev && (uint64_t)st.st_ino == ino;
}

void log_init(const char *ident, int max_level)
{
        log_ident = ident;
        log_max_level = max_level;
        log_journal = stderr_is_journal();
}

void log_set_max_level(int max_level)
{
        log_max_level = max_level;
}

static void add_field(struct iovec *fields, int *n, char buf[static FIELD_MAX], const char *name,
        const char *value)
{
        if (!value)
                return;
        int len = snprintf(buf, FIELD_MAX, "%s=%s", name, value);
        if (len < 0)
                return;
        size_t used = len < FIELD_MAX ? (size_t)len : FIELD_MAX - 1;
        fields[(*n)++] = (struct iovec){.iov_base = buf, .iov_len = used};
}

static bool send_journal(int level, const LogFields *f, Slice message)
{
        char bufs[5][FIELD_MAX];
        const char priority[2] = {(char)('0' + level), 0};
        struct iovec fields[6];
        int n = 0;
        fields[n++] =
                (struct iovec){.iov_base = (void *)(uintptr_t)message.data, .iov_len = message.len};
        add_field(fields, &n, bufs[0], "PRIORITY", priority);
        add_field(fields, &n, bufs[1], "SYSLOG_IDENTIFIER", log_ident);
        if (f) {
                add_field(fields, &n, bufs[2], "MESSAGE_ID", f->message_id);
                add_field(fields, &n, bufs[3], "BELFRY_INSTANCE", f->instance);
                add_field(fields, &n, bufs[4], "BELFRY_EVENT_ID", f->event_id);
        }
        return sd_journal_sendv(fields, n) >= 0;
}

void log_write(int level, const LogFields *fields, const char *format, ...)
{
        if (level > log_max_level)
                return;
        level = level < LOG_EMERG ? LOG_EMERG : level > LOG_DEBUG ? LOG_DEBUG : level;
        int saved_errno = errno; // a log line between a failing call and its report is harmless
        char text[LIMIT_LOG_TEXT];
        va_list ap;
        va_start(ap, format);
        int len = vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (len < 0)
                len = 0;
        if ((size_t)len >= sizeof(text))
                len = (int)sizeof(text) - 1;

        uint8_t room[LIMIT_LOG_TEXT * 4 + FIELD_MAX]; // a Buf that is full before it would allocate
        Buf line = {.data = room, .cap = sizeof(room), .max = sizeof(room)};
        buf_add_str(&line, "MESSAGE=");
        text_add_escaped(&line, slice_mem(text, (size_t)len));
        if (!log_journal || !send_journal(level, fields, buf_slice(&line))) {
                buf_reset(&line);
                buf_addf(&line, "<%d>%s: ", level, log_ident);
                text_add_escaped(&line, slice_mem(text, (size_t)len));
                buf_add_char(&line, '\n');
                (void)!file_write_all(STDERR_FILENO, line.data, line.len);
        }
        errno = saved_errno;
}
