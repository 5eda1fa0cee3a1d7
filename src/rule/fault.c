// SPDX-License-Identifier: MIT
// Keeps the first fault of a text: what follows from it would only confuse.
#include "rule/fault.h"

#include <errno.h>
#include <stdarg.h>

int fault_set(Fault *f, size_t start, size_t end, const char *format, ...)
{
        if (f->message[0])
                return -EINVAL;
        f->start = start;
        f->end = end;
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(f->message, sizeof(f->message), format, ap);
        va_end(ap);
        return -EINVAL;
}
