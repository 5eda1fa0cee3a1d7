// SPDX-License-Identifier: MIT
// The option table of the inotify source, and what it cannot judge. Its prose is the manual's
// option list.
#include "options.h"

#include "ignore.h"

#include "base/clock.h"
#include "base/text.h"

#include <errno.h>

static const char *const initial_values[] = {"ignore", "report", NULL};
static const char *const hash_values[] = {"none", "sha256", NULL};

#define AT(type, member) .offset = OPTION_MEMBER(InotifyOptions, type, member)

const Option inotify_options[] = {
        {.name = "paths",
                .type = OPTION_PATH_LIST,
                AT(char **, paths),
                .flags = OPTION_REQUIRED | OPTION_CAGE_READ | OPTION_REBASELINE,
                .unit = "",
                .since = "0.1",
                .prose = "What to watch: directories, single files, and shell patterns such as "
                         "/home/*/in, which are matched anew as directories come and go. A path "
                         "that "
                         "does not exist yet is waited for."},
        {.name = "recursive",
                .type = OPTION_BOOL,
                AT(bool, recursive),
                .flags = OPTION_REBASELINE,
                .unit = "",
                .def = "true",
                .since = "0.1",
                .prose = "Watch the directories below each path too, those made later included."},
        {.name = "max_depth",
                .type = OPTION_INT,
                AT(int64_t, max_depth),
                .flags = OPTION_REBASELINE,
                .unit = "",
                .min = "0",
                .max = "4096",
                .def = "0",
                .since = "0.1",
                .prose = "How deep to look, counted as find(1) does: 1 is what lies in the path "
                         "itself. "
                         "0 sets no limit."},
        {.name = "one_filesystem",
                .type = OPTION_BOOL,
                AT(bool, one_filesystem),
                .flags = OPTION_REBASELINE,
                .unit = "",
                .def = "false",
                .since = "0.1",
                .prose = "Do not enter directories on which another filesystem is mounted."},
        {.name = "include",
                .type = OPTION_STRING_LIST,
                AT(char **, include),
                .flags = OPTION_REBASELINE,
                .unit = "",
                .since = "0.1",
                .prose =
                        "Report only what these patterns match, in the syntax of gitignore(5), "
                        "relative "
                        "to the watched path. Without patterns everything is reported. Directories "
                        "are entered whether they match or not; one that matches brings all below "
                        "it."},
        {.name = "exclude",
                .type = OPTION_STRING_LIST,
                AT(char **, exclude),
                .flags = OPTION_REBASELINE,
                .unit = "",
                .since = "0.1",
                .prose =
                        "Do not report what these patterns match, in the same syntax; it wins over "
                        "*include*. An excluded directory is not entered."},
        {.name = "settle",
                .type = OPTION_STRING,
                AT(char *, settle),
                .unit = "",
                .def = "close",
                .since = "0.1",
                .prose = "When a new or changed file is reported. \"close\": when its writer "
                         "closes it; at "
                         "once when nobody has it open for writing; after 5 s without writes when "
                         "it "
                         "stays open. A duration such as \"2s\": after that long without any event "
                         "on "
                         "it, at most ten times that under constant writing."},
        {.name = "initial",
                .type = OPTION_ENUM,
                AT(int, initial),
                .unit = "",
                .values = initial_values,
                .since = "0.1",
                .prose =
                        "What becomes of files that exist when a path is watched for the first "
                        "time: "
                        "\"ignore\" takes them as known, \"report\" reports each as file.created."},
        {.name = "hash",
                .type = OPTION_ENUM,
                AT(int, hash),
                .unit = "",
                .values = hash_values,
                .since = "0.1",
                .prose = "Read each created or changed file and put the hash of its content into "
                         "data.hash. The file is read once more for it; while one is read others "
                         "wait."},
        {.name = "follow_symlinks",
                .type = OPTION_BOOL,
                AT(bool, follow_symlinks),
                .flags = OPTION_REBASELINE,
                .unit = "",
                .def = "false",
                .since = "0.1",
                .prose = "Enter symbolic links to directories and report what links point to. "
                         "Without it "
                         "a link is reported as itself. A path in *paths* may be a link either "
                         "way."},
        {.name = "poll",
                .type = OPTION_DURATION,
                AT(uint64_t, poll_usec),
                .unit = "s",
                .min = "1s",
                .max = "1d",
                .def = "10s",
                .since = "0.1",
                .prose = "How often directories are compared that the kernel cannot watch: on "
                         "network "
                         "filesystems (NFS, CIFS, FUSE) and over the limit of watches."},
};
const size_t n_inotify_options = sizeof inotify_options / sizeof *inotify_options;

int inotify_settle_parse(const char *text, uint64_t *ret_usec)
{
        uint64_t usec;
        if (!text || strcmp(text, "close") == 0) {
                *ret_usec = 0;
                return 0;
        }
        if (text_parse_duration(slice_of(text), USEC_PER_SEC, &usec) < 0 || usec < USEC_PER_MSEC ||
                usec > 3600 * USEC_PER_SEC)
                return -EINVAL;
        *ret_usec = usec;
        return 0;
}

static void check_patterns(char *const *patterns, const char *option, OptionFaults *f)
{
        char path[32];
        for (size_t i = 0; patterns && patterns[i]; i++) {
                (void)snprintf(path, sizeof path, "%s[%zu]", option, i);
                if (strlen(patterns[i]) > IGNORE_PATTERN_MAX)
                        option_fault(
                                f, path, "the pattern is longer than %d bytes", IGNORE_PATTERN_MAX);
        }
}

void inotify_check(const void *options, OptionFaults *f)
{
        const InotifyOptions *o = options;
        uint64_t usec;
        if (inotify_settle_parse(o->settle, &usec) < 0)
                option_fault(f, "settle",
                        "expected \"close\" or a duration from 1ms to 1h such as \"2s\", not "
                        "\"%.40s\"",
                        o->settle);
        check_patterns(o->include, "include", f);
        check_patterns(o->exclude, "exclude", f);
}
