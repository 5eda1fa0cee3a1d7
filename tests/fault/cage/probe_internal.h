// SPDX-License-Identifier: MIT
// What the probe's two halves share: attempts that must fail, attempts that must work.
#pragma once

#include "probe.h"

#include <errno.h>
#include <unistd.h>

typedef struct Probe {
        const ProbeOptions *o;
        char file[512];  // inside/file
        char fresh[512]; // inside/new
} Probe;

static inline int result(long r)
{
        return r < 0 ? errno : 0;
}

static inline int close_result(int fd)
{
        int e = fd < 0 ? errno : 0;
        if (fd >= 0)
                (void)close(fd);
        return e;
}

typedef struct Attempt {
        const char *name;
        int (*run)(const Probe *p);
} Attempt;
#define TRY(n)              \
        {                   \
#n, try_##n \
        }
#define CAN(n)              \
        {                   \
#n, can_##n \
        }


extern const Attempt probe_allowed[], probe_allowed_network[];
extern const size_t n_probe_allowed, n_probe_allowed_network;
int try_inet_stream(const Probe *p);
int try_inet_datagram(const Probe *p);
