// SPDX-License-Identifier: MIT
// A module that is nothing but its description. As belfry-source-test and belfry-sink-test it
// describes one option of each kind, and judges some values as no table could; under other names it
// misbehaves as the name says.
#include "base/cleanup.h"
#include "build_id.h"
#include "config/describe.h"
#include <string.h>

static const char *const modes[] = {"first", "second", "third", NULL};

#define ROW(row_name, row_type) .name = row_name, .type = row_type, .offset = SIZE_MAX, .unit = ""
static const Option source_options[] = {
        {ROW("paths", OPTION_PATH_LIST), .flags = OPTION_REQUIRED | OPTION_CAGE_READ,
                .prose = "Paths."},
        {ROW("include", OPTION_STRING_LIST), .prose = "Patterns."},
        {ROW("recursive", OPTION_BOOL), .def = "true", .prose = "Below too."},
        {ROW("depth", OPTION_INT), .min = "-5", .max = "100", .def = "10", .prose = "How deep."},
        {.name = "settle",
                .type = OPTION_DURATION,
                .offset = SIZE_MAX,
                .unit = "s",
                .min = "100ms",
                .max = "1h",
                .def = "2s",
                .prose = "How long."},
        {ROW("pause", OPTION_DURATION), .prose = "A duration that needs its unit."},
        {ROW("size", OPTION_SIZE), .min = "1K", .max = "1G", .def = "64K", .prose = "How much."},
        {ROW("mode", OPTION_ENUM), .values = modes, .prose = "Which."},
        {ROW("note", OPTION_STRING), .prose = "Anything."},
};

static const Option tls_options[] = {
        {ROW("verify", OPTION_BOOL), .def = "true", .prose = "Verify."},
        {ROW("ca", OPTION_PATH), .prose = "Authorities."},
};
static const Option sink_options[] = {
        {ROW("url", OPTION_URL), .flags = OPTION_REQUIRED | OPTION_REFERENCE,
                .prose = "Where *to*."},
        {ROW("secret", OPTION_SECRET_LIST), .prose = "Keys."},
        {ROW("password", OPTION_SECRET), .prose = "One key."},
        {ROW("headers", OPTION_STRING_MAP), .flags = OPTION_REFERENCE | OPTION_HEADERS,
                .prose = "More."},
        {ROW("waits", OPTION_DURATION_LIST), .def = "1s, 2s", .prose = "Waits."},
        {ROW("tls", OPTION_GROUP), .rows = tls_options, .n_rows = N_ELEMENTS(tls_options),
                .prose = "TLS."},
};

static const EventField fields[] = {
        {"size", FIELD_NUMBER, "Bytes."},
        {"name", FIELD_STRING, "Its name."},
};
static const EventType types[] = {
        {"test.happened", "Something happened.", fields, N_ELEMENTS(fields), "{\"size\":1}"},
};

// The tests start this program some thousand times; that describing leaks nothing is tested in
// option_test.c. (The name is AddressSanitizer's; without it nobody calls this.)
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
        return "detect_leaks=0";
}

static int print(ModuleKind kind, const char *name)
{
        ModuleDescription d = {.name = name,
                .kind = kind,
                .version = BELFRY_VERSION,
                .build = BELFRY_BUILD,
                .summary = "Describes itself.",
                .checks = true};
        if (kind == MODULE_SOURCE) {
                d.options = source_options;
                d.n_options = N_ELEMENTS(source_options);
                d.types = types;
                d.n_types = N_ELEMENTS(types);
        } else {
                d.options = sink_options;
                d.n_options = N_ELEMENTS(sink_options);
        }
        json_t *j = module_describe(&d);
        int r = j ? json_dumpf(j, stdout, JSON_COMPACT) : -1;
        json_decref(j);
        return r == 0 && fflush(stdout) == 0 ? 0 : 1;
}

static void say(const json_t *question, const char *option, const char *at, const char *text)
{
        const char *message = "expected no exclamation mark";
        json_t *o = json_pack("{s:O, s:s, s:s}", "name", json_object_get(question, "name"),
                "option", option, "message", text ? text : message);
        if (at)
                (void)json_object_set_new(o, "at", json_integer(strtol(at, NULL, 10)));
        (void)json_dumpf(o, stdout, JSON_COMPACT);
        (void)putchar('\n');
        json_decref(o);
}

static void judge(const json_t *question)
{
        size_t i;
        char path[32];
        json_t *one;
        const json_t *o = json_object_get(question, "options");
        const char *note = json_string_value(json_object_get(o, "note"));
        if (note && strchr(note, '!')) {
                char at[24];
                (void)snprintf(at, sizeof(at), "%td", strchr(note, '!') - note);
                say(question, "note", at, NULL);
        }
        json_array_foreach(json_object_get(o, "include"), i, one)
        {
                (void)snprintf(path, sizeof(path), "include[%zu]", i);
                if (strchr(json_string_value(one), '!'))
                        say(question, path, NULL, NULL);
        }
        if (json_integer_value(json_object_get(o, "depth")) == 99)
                say(question, "pause", NULL, "is missing: depth 99 needs one");
        const char *ca = json_string_value(json_object_get(json_object_get(o, "tls"), "ca"));
        if (ca && strstr(ca, "untrusted"))
                say(question, "tls.ca", NULL, "is not trusted");
        if (json_integer_value(json_object_get(o, "depth")) == 98)
                say(question, "", NULL, "is no good as a whole");
}

static int check(const char *name)
{
        if (strcmp(name, "check-garbage") == 0)
                return puts("{\"option\": 1}") < 0;
        if (strcmp(name, "check-failing") == 0)
                return 3;
        for (;;) {
                json_t *question = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, NULL);
                if (!question)
                        return fflush(stdout) != 0;
                judge(question);
                json_decref(question);
        }
}

int main(int argc, char **argv)
{
        const char *self = basename(argv[0]);
        bool sink = strncmp(self, "belfry-sink-", 12) == 0;
        const char *name = self + strlen(sink ? "belfry-sink-" : "belfry-source-");
        if (argc == 2 && strcmp(argv[1], "--check") == 0 && !*environ)
                return check(name);
        if (argc != 2 || strcmp(argv[1], "--describe") != 0 || *environ)
                return 9; // how it is asked is part of the contract
        if (strcmp(name, "garbage") == 0)
                return puts("this is not JSON") < 0;
        if (strcmp(name, "empty") == 0)
                return puts("{}") < 0;
        if (strcmp(name, "endless") == 0)
                for (;;)
                        if (fputs("                                ", stdout) < 0)
                                return 1;
        if (strcmp(name, "crash") == 0)
                abort();
        if (strcmp(name, "failing") == 0)
                return 3;
        if (strcmp(name, "slow") == 0)
                for (;;)
                        (void)pause();
        if (strcmp(name, "liar") == 0)
                return print(MODULE_SOURCE, "other");
        return print(sink ? MODULE_SINK : MODULE_SOURCE, name);
}
