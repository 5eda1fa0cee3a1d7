// SPDX-License-Identifier: MIT
// What a lines source tells: one event type. The rule checker and the manual read it from here.
#include "options.h"

static const EventField appended_fields[] = {
        {"path", FIELD_STRING,
                "The file's absolute path, spelled as configured; where it was renamed since, the "
                "new "
                "one. Bytes that are no UTF-8 stand as U+FFFD."},
        {"name", FIELD_STRING, "The last component of the path."},
        {"line", FIELD_STRING,
                "The line without its end; lines that belong together with newlines between them. "
                "Bytes that are no UTF-8 stand as U+FFFD."},
        {"line_b64", FIELD_STRING, "The same bytes in base64; only when they are no UTF-8."},
        {"offset", FIELD_NUMBER, "Where in the file it begins, in bytes."},
        {"bytes", FIELD_NUMBER, "Bytes of the line, its end not counted."},
        {"lines", FIELD_NUMBER, "How many lines it is made of."},
        {"cut", FIELD_BOOL, "True when it was longer than max_line; absent else."},
        {"fields", FIELD_OBJECT, "What parse found in it; absent when it does not fit."},
};

const EventType lines_types[] = {
        {.name = "line.appended",
                .fields = appended_fields,
                .n_fields = N_ELEMENTS(appended_fields),
                .sample_subject = "/var/log/app.log",
                .sample = "{\"path\":\"/var/log/"
                          "app.log\",\"name\":\"app.log\",\"line\":\"level=error "
                          "msg=\\\"disk full\\\"\",\"offset\":18231,\"bytes\":31,\"lines\":1,"
                          "\"fields\":{\"level\":\"error\",\"msg\":\"disk full\"}}",
                .prose = "A line was appended to a file. Subject and key are the path, time is "
                         "when it "
                         "was read."},
};
const size_t n_lines_types = N_ELEMENTS(lines_types);
