// SPDX-License-Identifier: MIT
// The list of faults that a module's check() fills: kept as the JSON in which it is told.
#include "config/option_table.h"

#include <stdarg.h>

static void keep(OptionFaults *f, const char *option, json_t *at, const char *format, va_list ap)
        __attribute__((format(printf, 4, 0)));

static void keep(OptionFaults *f, const char *option, json_t *at, const char *format, va_list ap)
{
        char text[REASON_MAX];
        (void)vsnprintf(text, sizeof(text), format, ap);
        json_t *one = json_pack("{s:s, s:s, s:o*}", "option", option, "message", text, "at", at);
        if (f->list && one && json_array_append_new(f->list, one) == 0)
                return;
        if (!f->list)
                json_decref(one);
        json_decref(f->list);
        f->list = NULL;
}

void option_fault(OptionFaults *f, const char *option, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        keep(f, option, NULL, format, ap);
        va_end(ap);
}

void option_fault_at(OptionFaults *f, const char *option, size_t at, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        keep(f, option, json_integer((json_int_t)at), format, ap);
        va_end(ap);
}
