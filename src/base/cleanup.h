// SPDX-License-Identifier: MIT
// Scope-bound ownership: _cleanup_ frees a local when it goes out of scope, TAKE_* moves it away.
// Not a place for helpers that do anything else.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _must_use_ __attribute__((warn_unused_result))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))

#define TAKE_PTR(p)                                                                                \
        ({                                                                                         \
                __typeof__(p) *_take = &(p);                                                       \
                __typeof__(p) _taken = *_take;                                                     \
                *_take = NULL;                                                                     \
                _taken;                                                                            \
        })

#define TAKE_FD(fd)                                                                                \
        ({                                                                                         \
                int *_take = &(fd);                                                                \
                int _taken = *_take;                                                               \
                *_take = -1;                                                                       \
                _taken;                                                                            \
        })

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

static inline void freep(void *p)
{
        free(*(void **)p);
}

static inline void closep(const int *fd)
{
        if (*fd >= 0)
                (void)close(*fd);
}

static inline void fclosep(FILE **f)
{
        if (*f)
                (void)fclose(*f);
}

// DEFINE_CLEANUP(Link, link_free) gives link_freep() for _cleanup_(link_freep) Link *l = NULL.
#define DEFINE_CLEANUP(type, func)                                                                 \
        static inline void func##p(type **p)                                                       \
        {                                                                                          \
                if (*p)                                                                            \
                        (void)func(*p);                                                            \
        }
