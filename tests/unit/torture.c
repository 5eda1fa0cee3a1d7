// SPDX-License-Identifier: MIT
// The wrapped allocators. Outside torture() they pass everything on. Not for threads.
#include "torture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { RUNS_MAX = 100000 }; // a function that needs more loops over its failures

static bool armed;
static bool failed;
static unsigned countdown;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
int __real_vasprintf(char **ret, const char *format, va_list ap) _printf_(2, 0);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_asprintf(char **ret, const char *format, ...) _printf_(2, 3);
int __wrap_vasprintf(char **ret, const char *format, va_list ap) _printf_(2, 0);
// What the two are called with _FORTIFY_SOURCE.
int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...) _printf_(3, 4);
int __wrap___vasprintf_chk(char **ret, int flag, const char *format, va_list ap) _printf_(3, 0);

static bool refuse(void)
{
        if (!armed || failed || --countdown > 0)
                return false;
        failed = true; // one failure a run: the way out of it needs memory that works
        errno = ENOMEM;
        return true;
}

void *__wrap_malloc(size_t n)
{
        return refuse() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
        return refuse() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
        return refuse() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
        return refuse() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
        return refuse() ? NULL : __real_strndup(s, n);
}

int __wrap_vasprintf(char **ret, const char *format, va_list ap)
{
        return refuse() ? -1 : __real_vasprintf(ret, format, ap);
}

int __wrap_asprintf(char **ret, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        int r = __wrap_vasprintf(ret, format, ap);
        va_end(ap);
        return r;
}

int __wrap___vasprintf_chk(char **ret, int flag, const char *format, va_list ap)
{
        return __wrap_vasprintf(ret, format, ap);
}

int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        int r = __wrap_vasprintf(ret, format, ap);
        va_end(ap);
        return r;
}

unsigned torture(int (*fn)(void *arg), void *arg)
{
        for (unsigned n = 1; n <= RUNS_MAX; n++) {
                countdown = n;
                failed = false;
                armed = true;
                int r = fn(arg);
                armed = false;
                if (failed)
                        continue;
                if (r < 0)
                        fail_msg("without any failing allocation: error %d (%s)", r, strerror(-r));
                return n - 1;
        }
        fail_msg("still failing after %d runs", RUNS_MAX);
        return 0;
}
