// SPDX-License-Identifier: MIT
// The option table of the lines source, and what it cannot judge. Its prose is the manual's option
// list.
#include "options.h"

#include "parse.h"

static const char *const start_values[] = {"end", "beginning", NULL};

#define AT(type, member) .offset = OPTION_MEMBER(LinesOptions, type, member)

const Option lines_options[] = {
        {.name = "paths",
                .type = OPTION_PATH_LIST,
                AT(char **, paths),
                .flags = OPTION_REQUIRED | OPTION_CAGE_READ | OPTION_REBASELINE,
                .unit = "",
                .since = "0.1",
                .prose =
                        "The files to follow, and shell patterns such as /var/log/app/*.log, which "
                        "are matched anew as files come and go. A path that does not exist yet is "
                        "waited for. Compressed files (.gz .bz2 .xz .zst .lz4 .Z .zip) are left "
                        "out."},
        {.name = "exclude",
                .type = OPTION_STRING_LIST,
                AT(char **, exclude),
                .flags = OPTION_REBASELINE,
                .unit = "",
                .since = "0.1",
                .prose = "Leave out files that one of these shell patterns matches: their whole "
                         "path "
                         "when the pattern has a slash, else their name."},
        {.name = "start",
                .type = OPTION_ENUM,
                AT(int, start),
                .unit = "",
                .values = start_values,
                .since = "0.1",
                .prose = "Where to begin in files that exist when they are looked at for the first "
                         "time: *end* reports only what is appended from then on, *beginning* all "
                         "they hold. A file that appears later is read from its beginning either "
                         "way."},
        {.name = "multiline",
                .type = OPTION_STRING,
                AT(char *, multiline),
                .unit = "",
                .since = "0.1",
                .prose = "A regular expression that matches the first line of an event: the lines "
                         "after it that do not match belong to it, as in a stack trace. Without it "
                         "each line is an event."},
        {.name = "multiline_wait",
                .type = OPTION_DURATION,
                AT(uint64_t, multiline_wait_usec),
                .unit = "s",
                .min = "100ms",
                .max = "1h",
                .def = "2s",
                .since = "0.1",
                .prose = "With *multiline*: how long the last lines of a file wait for others that "
                         "belong to them."},
        {.name = "parse",
                .type = OPTION_STRING,
                AT(char *, parse),
                .unit = "",
                .def = "none",
                .since = "0.1",
                .prose =
                        "How to take a line apart into data.fields: *none*; *json*, one object a "
                        "line; *logfmt*, as level=info msg=\"text here\"; or a regular expression "
                        "between slashes with named groups, as /^(?<ip>\\\\S+) (?<status>\\\\d+)/, "
                        "with letters of imsx behind it. A line that does not fit is reported "
                        "without data.fields."},
        {.name = "max_line",
                .type = OPTION_SIZE,
                AT(uint64_t, max_line),
                .unit = "bytes",
                .min = "256",
                .max = "512K",
                .def = "64K",
                .since = "0.1",
                .prose = "The longest line, or lines that belong together. Of a longer one the "
                         "beginning is reported, with data.cut = true."},
        {.name = "poll",
                .type = OPTION_DURATION,
                AT(uint64_t, poll_usec),
                .unit = "s",
                .min = "1s",
                .max = "1d",
                .def = "10s",
                .since = "0.1",
                .prose = "How often all files are looked at without notice from the kernel, which "
                         "network filesystems (NFS, CIFS, FUSE) never give."},
};
const size_t n_lines_options = N_ELEMENTS(lines_options);

void lines_check(const void *options, OptionFaults *f)
{
        const LinesOptions *o = options;
        Regex *start = NULL;
        Parser *p = NULL;
        Reason reason = {0};
        size_t at = 0;
        if (parser_new(&p, o->parse, &at, &reason) < 0)
                option_fault_at(f, "parse", at, "%s", reason.text);
        if (o->multiline &&
                parse_regex(&start, slice_of(o->multiline), SLICE_NULL, &at, &reason) < 0)
                option_fault_at(f, "multiline", at, "%s", reason.text);
        (void)parser_free(p);
        (void)regex_free(start);
}
