// SPDX-License-Identifier: MIT
// The command line of a module program: --describe and --check answer the hub in JSON, --help
// and --version speak to people. The option list is the option table, so it cannot drift from what
// is parsed. It starts nothing and reads no file.

#include "module/module_usage.h"

#include "base/cleanup.h"
#include "build_id.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_WIDTH = 79, HELP_INDENT = 8 };

static const char *const type_words[_OPTION_TYPE_MAX] = {
        [OPTION_BOOL] = "true | false",
        [OPTION_INT] = "number",
        [OPTION_DURATION] = "duration",
        [OPTION_SIZE] = "size",
        [OPTION_STRING] = "string",
        [OPTION_ENUM] = "word",
        [OPTION_PATH] = "path",
        [OPTION_STRING_LIST] = "list of strings",
        [OPTION_PATH_LIST] = "list of paths",
        [OPTION_DURATION_LIST] = "list of durations",
        [OPTION_SECRET] = "secret reference",
        [OPTION_SECRET_LIST] = "list of secret references",
        [OPTION_STRING_MAP] = "group of strings",
        [OPTION_GROUP] = "group",
        [OPTION_GROUP_LIST] = "list of strings or groups",
        [OPTION_URL] = "URL",
        [OPTION_TEMPLATE] = "template",
};

static void print_wrapped(const char *text)
{
        size_t column = 0;

        while (text && *text) {
                size_t word = strcspn(text, " ");
                if (column > 0 && column + 1 + word > HELP_WIDTH) {
                        (void)putchar('\n');
                        column = 0;
                }
                if (column == 0)
                        column = (size_t)printf("%*s", HELP_INDENT, "");
                else
                        column += (size_t)printf(" ");
                column += (size_t)printf("%.*s", (int)word, text);
                text += word;
                text += strspn(text, " ");
        }
        (void)putchar('\n');
}

static void print_values(const Option *o)
{
        if (o->type == OPTION_ENUM && o->values)
                for (size_t i = 0; o->values[i]; i++)
                        (void)printf("%s%s", i ? " | " : "", o->values[i]);
        else
                (void)printf("%s", type_words[o->type]);
}

// Groups nest one inside the other at most as deep as the tables are written.
static void print_options(const Option *rows, size_t n, const char *prefix)
{
        for (size_t i = 0; i < n; i++) {
                const Option *o = &rows[i];
                if (o->type == OPTION_GROUP) {
                        char inner[256];
                        (void)snprintf(inner, sizeof inner, "%s%s.", prefix, o->name);
                        print_options(o->rows, o->n_rows, inner);
                        continue;
                }
                (void)printf("  %s%s = ", prefix, o->name);
                print_values(o);
                if (o->flags & OPTION_REQUIRED)
                        (void)printf("  (required)");
                else if (o->def)
                        (void)printf("  (default %s)", o->def);
                (void)putchar('\n');
                print_wrapped(o->prose);
                if (o->type == OPTION_GROUP_LIST) {
                        char inner[256];
                        (void)snprintf(inner, sizeof inner, "%s%s[].", prefix, o->name);
                        print_options(o->rows, o->n_rows, inner);
                }
        }
}

static int print_help(const ModuleDescription *d, const char *program)
{
        (void)printf(
                "%s: %s\n\n"
                "belfryd starts this program for each %s with module = \"%s\"; by hand it only\n"
                "tells about itself:\n"
                "  --describe  print options and event types as JSON\n"
                "  --check     judge options: JSON lines in, faults as JSON lines out\n"
                "  --help      print this\n"
                "  --version   print version and build\n\nOptions in belfry.conf:\n",
                program, d->summary, d->kind == MODULE_SOURCE ? "source" : "sink", d->name);
        print_options(d->options, d->n_options, "");
        return EXIT_SUCCESS;
}

static int print_description(const ModuleDescription *d, const char *program)
{
        json_t *j = module_describe(d);
        _cleanup_(freep) char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

        json_decref(j);
        if (!text) {
                (void)fprintf(stderr, "%s: no memory\n", program);
                return EXIT_FAILURE;
        }
        return puts(text) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool is_known(const char *argument)
{
        static const char *const known[] = {"--describe", "--check", "--help", "--version"};
        bool found = argument[0] != '-';
        for (size_t i = 0; i < N_ELEMENTS(known); i++)
                found = found || strcmp(argument, known[i]) == 0;
        return found;
}

int module_usage(const ModuleProgram *p, const char *program, int argc, char **argv)
{
        const ModuleDescription *d = &p->description;
        int r;

        if (argc != 2 || !is_known(argv[1])) {
                (void)fprintf(stderr, "%s: wrong use; see %s --help\n", program, program);
                return 2;
        }
        if (strcmp(argv[1], "--describe") == 0)
                r = print_description(d, program);
        else if (strcmp(argv[1], "--check") == 0)
                r = module_check_main(p, program);
        else if (strcmp(argv[1], "--help") == 0)
                r = print_help(d, program);
        else if (strcmp(argv[1], "--version") == 0) {
                (void)printf("%s %s (build %s)\n", program, BELFRY_VERSION, BELFRY_BUILD);
                r = EXIT_SUCCESS;
        } else
                return -EAGAIN;
        return fflush(stdout) == 0 ? r : EXIT_FAILURE;
}
