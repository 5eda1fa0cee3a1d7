// SPDX-License-Identifier: MIT
// Schedules of any spelling. What is understood has firings that rise strictly.
#include "schedule.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char text[CALENDAR_TEXT_MAX];
        if (size >= sizeof(text) || memchr(data, 0, size))
                return 0;
        memcpy(text, data, size);
        text[size] = 0;
        for (unsigned policy = 0; policy < 4; policy++) {
                Schedule s = {.gap = (GapPolicy)(policy & 1), .fold = (FoldPolicy)(policy >> 1)};
                Reason reason = {0};
                Firing f = {.utc = 1774700000}; // the days before a transition
                if (schedule_parse(&s, text, NULL, "Europe/Berlin", &reason) < 0) {
                        assert(reason.text[0]);
                        return 0;
                }
                for (unsigned i = 0; i < 8; i++) {
                        int64_t last = f.utc;
                        if (!schedule_next(&s, last, &f))
                                break;
                        assert(f.utc > last);
                }
        }
        return 0;
}
