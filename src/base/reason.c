// SPDX-License-Identifier: MIT
// One sentence about a failure. Text is cut at a character's border when it does not fit.
// Does not log and does not allocate, so that it works when memory is what failed.
#include "base/reason.h"

#include "base/text.h"
#include <errno.h>
#include <stdarg.h>

// Removes a UTF-8 sequence that the end of the buffer cut in two.
static void trim(char *text)
{
        size_t len = strlen(text);
        if (len < REASON_MAX - 1)
                return;
        size_t at = len;
        while (at > 0 && len - at < 4 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
                at--;
        if (at > 0 && (unsigned char)text[at - 1] >= 0xc0 &&
                text_utf8_len(slice_mem(text + at - 1, len - at + 1)) == 0)
                text[at - 1] = 0;
}

int reason_set(Reason *r, int error, const char *format, ...)
{
        if (!r)
                return error;
        char text[REASON_MAX]; // the arguments may point into r->text
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        memcpy(r->text, text, sizeof(text));
        trim(r->text);
        return error;
}

int reason_errno(Reason *r, int error, const char *format, ...)
{
        if (!r)
                return error;
        char text[REASON_MAX];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        const char *words = strerrordesc_np(error < 0 ? -error : error);
        if (words)
                return reason_set(r, error, "%s: %s", text, words);
        return reason_set(r, error, "%s: error %d", text, error);
}

int reason_prefix(Reason *r, int error, const char *format, ...)
{
        if (!r)
                return error;
        char prefix[REASON_MAX];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(prefix, sizeof(prefix), format, ap);
        va_end(ap);
        return reason_set(r, error, "%s: %s", prefix, r->text);
}
