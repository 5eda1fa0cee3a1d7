// SPDX-License-Identifier: MIT
// A hub in small, for tests of module processes: real births and a real link, what comes is kept
// until asked for. One fixture for all: a directory that is listed, a file that is not, an HTTP
// server on loopback, an abstract socket, family.lock.
#pragma once

// cmocka wants these before it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe.h"

#include "base/clock.h"
#include "base/limits.h"
#include "hub/spawn.h"
#include "link/message.h"

enum { PATIENCE_SEC = 20 };

extern char self_dir[], work_dir[], inside[], outside[];
extern int family_fd;

typedef struct Frame {
        uint16_t type;
        Slice payload; // malloced
} Frame;

typedef struct FakeHub {
        sd_event *event;
        Link *link;
        SpawnedChild child;
        Frame frames[8192];
        unsigned n, read;
        bool closed;
} FakeHub;

int program_open(const char *name); // beside this test; O_PATH
int hub_birth(FakeHub *h, const char *name, ModuleKind kind, Reason *reason);
void hub_say_hello(FakeHub *h, const char *build);
void hub_open(FakeHub *h, const char *name, ModuleKind kind); // both of the above
void hub_start(FakeHub *h, uint64_t credit, const char *options);
void send_endpoint(FakeHub *h, uint32_t number, const char *options);
// The next frame of this type, others skipped; waits for it.
Slice hub_wait(FakeHub *h, uint16_t type);
void hub_drain(FakeHub *h); // all that comes until the link is quiet for a while
int hub_reap(FakeHub *h);   // exit status, or minus the signal
void hub_close(FakeHub *h);
void hub_stop(FakeHub *h);  // in good order
char *options_text(const char *mode); // malloced

void write_file(const char *path, mode_t mode); // that is no program
int fixture_setup(void **state);
int fixture_teardown(void **state);
