// SPDX-License-Identifier: MIT
// The two kernel halves of the cage. Private to src/module.
#pragma once

#include "base/slice.h"
#include "module/cage.h"

// The one place where a sanitizer loosens the cage. AddressSanitizer's leak check at exit stops the
// process by a helper task of its own: it needs clone without CLONE_THREAD, ptrace, wait4, prctl and
// /proc/self. Nothing else is relaxed, and builds without it have none of that.
#if defined(__SANITIZE_ADDRESS__)
#define CAGE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CAGE_SANITIZER 1
#endif
#endif
#ifndef CAGE_SANITIZER
#define CAGE_SANITIZER 0
#endif

// Both: 0, or a negative errno with a reason. What the kernel does not offer is no error: words for
// it are appended to ret_missing, separated by ", ".
int cage_landlock(CageKind kind, Slice list, char *ret_missing, size_t missing_size,
        Reason *reason) _must_use_;
int cage_landlock_program(Reason *reason) _must_use_; // who it may signal
int cage_seccomp_offline(Reason *reason) _must_use_;  // no INET sockets
int cage_seccomp(CageKind kind, char *ret_missing, size_t missing_size, Reason *reason) _must_use_;
void cage_missing(char *missing, size_t size, const char *what);
