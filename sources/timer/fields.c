// SPDX-License-Identifier: MIT
// What a timer tells: one event type. The rule checker and the manual read it from here.
#include "options.h"

static const EventField elapsed_fields[] = {
        {"scheduled", FIELD_TIME, "When it was to elapse, in UTC."},
        {"local", FIELD_STRING, "The same on the clock of the zone, with its offset from UTC."},
        {"actual", FIELD_TIME, "When the event was made."},
        {"missed", FIELD_NUMBER,
                "How many times before it were left out because they were missed."},
        {"second", FIELD_BOOL, "This local time occurred for the second time (clock put back)."},
        {"schedule", FIELD_STRING, "The schedule as configured, or the time of at."},
        {"zone", FIELD_STRING, "The zone as configured, empty: the host's."},
};

const EventType timer_types[] = {
        {.name = "timer.elapsed",
                .fields = elapsed_fields,
                .n_fields = N_ELEMENTS(elapsed_fields),
                .sample_subject = "nightly",
                .sample =
                        "{\"scheduled\":\"2026-11-27T02:30:00.000000Z\",\"local\":\"2026-11-27T03:"
                        "30:00+01:00\","
                        "\"actual\":\"2026-11-27T02:30:00.000412Z\",\"missed\":0,\"second\":false,"
                        "\"schedule\":\"Mon..Fri 03:30\",\"zone\":\"Europe/Berlin\"}",
                .prose = "The time has come. Subject is the name of the source, time the scheduled "
                         "time."},
};
const size_t n_timer_types = N_ELEMENTS(timer_types);
