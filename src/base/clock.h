// SPDX-License-Identifier: MIT
// The clocks, in microseconds. Wall time is what a stored instant means; BOOTTIME measures waits
// (it runs through suspend); nothing here is ever compared across the two.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_INFINITY UINT64_MAX

uint64_t clock_wall_usec(void); // CLOCK_REALTIME since the epoch
uint64_t clock_boot_usec(void); // CLOCK_BOOTTIME
uint64_t clock_mono_usec(void); // CLOCK_MONOTONIC

// "2026-11-23T09:33:00.123456Z" (UTC, always 6 decimals): 27 characters and the NUL.
enum { CLOCK_RFC3339_MAX = 28 };
const char *clock_rfc3339(uint64_t wall_usec, char out[static CLOCK_RFC3339_MAX]);
// Accepts RFC 3339 with 'Z' or a numeric offset and 0 to 9 decimals (cut to 6). -EINVAL otherwise.
int clock_parse_rfc3339(const char *text, size_t len, uint64_t *ret_wall_usec);
