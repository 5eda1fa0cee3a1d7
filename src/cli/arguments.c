// SPDX-License-Identifier: MIT
// The command line, by the table: words choose the row, options may stand anywhere, "--" ends them.
// Whatever does not fit is named, with the nearest thing that would.
#include "cli/command.h"

#include "base/clock.h"
#include "base/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const CommandOption *find_option(const CommandOption *table, Slice name)
{
        for (; table && table->name; table++)
                if (slice_eq_str(name, table->name))
                        return table;
        return NULL;
}

const char *option_nth(const Context *c, const char *name, unsigned n)
{
        for (unsigned i = 0; i < c->n_values; i++)
                if (strcmp(c->values[i].option->name, name) == 0 && n-- == 0)
                        return c->values[i].value;
        return NULL;
}

const char *option_value(const Context *c, const char *name)
{
        for (unsigned i = c->n_values; i-- > 0;)
                if (strcmp(c->values[i].option->name, name) == 0)
                        return c->values[i].value;
        return NULL;
}

bool option_given(const Context *c, const char *name)
{
        return option_value(c, name) != NULL;
}

ExitStatus option_number(const Context *c, const char *name, uint64_t max, uint64_t *ret)
{
        const char *text = option_value(c, name);
        if (!text)
                return STATUS_OK;
        char *end = NULL;
        errno = 0;
        unsigned long long v = strtoull(text, &end, 10);
        if (*text < '0' || *text > '9' || *end || errno || v > max) {
                (void)fprintf(stderr, "belfry: --%s: \"%s\" is not a number from 0 to %llu\n", name,
                        text, (unsigned long long)max);
                return STATUS_USAGE;
        }
        *ret = v;
        return STATUS_OK;
}

ExitStatus option_duration(const Context *c, const char *name, uint64_t *ret_usec)
{
        const char *text = option_value(c, name);
        if (!text || text_parse_duration(slice_of(text), USEC_PER_SEC, ret_usec) >= 0)
                return STATUS_OK;
        (void)fprintf(stderr, "belfry: --%s: \"%s\" is no duration (500ms, 15s, 5m)\n", name, text);
        return STATUS_USAGE;
}

// ---- help

static void print_options(const CommandOption *o)
{
        for (; o && o->name; o++) {
                char left[64];
                (void)snprintf(left, sizeof(left), "--%s%s%s", o->name, o->argument ? " " : "",
                        o->argument ? o->argument : "");
                (void)printf("  %-22s %s\n", left, o->prose);
        }
}

void print_help(const Command *command)
{
        if (command) {
                (void)printf("Usage: belfry %s%s%s%s\n\n%s.\n", command->words,
                        *command->arguments ? " " : "", command->arguments,
                        command->options ? " [OPTIONS]" : "", command->summary);
                if (command->options) {
                        (void)printf("\nOptions:\n");
                        print_options(command->options);
                }
                (void)printf("\nEverywhere:\n");
                print_options(global_options);
                return;
        }
        (void)printf("Usage: belfry [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands belfryd, the watcher "
                     "that rings webhooks.\n\nCommands:\n");
        for (size_t i = 0; i < n_commands; i++) {
                char left[64];
                (void)snprintf(
                        left, sizeof(left), "%s %s", commands[i].words, commands[i].arguments);
                (void)printf("  %-26s %s\n", left, commands[i].summary);
        }
        (void)printf("\nOptions:\n");
        print_options(global_options);
        (void)printf(
                "\nSee belfry(1), belfry.conf(5). Help of one command: belfry COMMAND --help\n");
}

// ---- words

// The row whose words are the first arguments, the longest that fits; *ret_used: how many words.
static const Command *find_command(const Context *c, unsigned *ret_used)
{
        const Command *best = NULL;
        *ret_used = 0;
        for (size_t i = 0; i < n_commands; i++) {
                unsigned used = 0;
                const char *w = commands[i].words;
                bool fits = true;
                while (*w && fits) {
                        size_t len = strcspn(w, " ");
                        fits = used < c->n_arguments && strlen(c->arguments[used]) == len &&
                               strncmp(c->arguments[used], w, len) == 0;
                        used++;
                        w += len + (w[len] == ' ');
                }
                if (fits && used > *ret_used) {
                        best = &commands[i];
                        *ret_used = used;
                }
        }
        return best;
}

// "sink", or "sink" and something that is no verb of it: says what can be done, else false.
static bool noun_alone(const Context *c)
{
        _cleanup_(buf_deinitp) Buf verbs = BUF_INIT(1024);
        size_t len = strlen(c->arguments[0]);
        for (size_t i = 0; i < n_commands; i++) {
                const char *w = commands[i].words;
                if (strncmp(w, c->arguments[0], len) == 0 && w[len] == ' ')
                        buf_addf(&verbs, "%s%s", verbs.len ? ", " : "", w + len + 1);
        }
        if (verbs.len == 0)
                return false;
        if (c->n_arguments == 1)
                (void)fprintf(stderr, "belfry: %s: what shall it do? One of: %s\n", c->arguments[0],
                        buf_text(&verbs));
        else
                (void)fprintf(stderr, "belfry: %s: there is no \"%s\"; there is: %s\n",
                        c->arguments[0], c->arguments[1], buf_text(&verbs));
        return true;
}

static ExitStatus unknown_command(const Context *c)
{
        char typed[128];
        const char *second = c->n_arguments > 1 ? c->arguments[1] : NULL;
        const char *words[128];
        size_t n = 0;
        for (size_t i = 0; i < n_commands && n < N_ELEMENTS(words); i++)
                words[n++] = commands[i].words;
        (void)snprintf(typed, sizeof(typed), "%s%s%s", c->arguments[0], second ? " " : "",
                second ? second : "");
        if (noun_alone(c))
                return STATUS_USAGE;
        const char *near = NULL;
        if (!near)
                near = text_nearest(slice_of(c->arguments[0]), words, n);
        if (!near)
                near = text_nearest(slice_of(typed), words, n);
        (void)fprintf(stderr, "belfry: there is no command \"%s\"", c->arguments[0]);
        if (near)
                (void)fprintf(stderr, " (did you mean \"%s\"?)", near);
        (void)fprintf(stderr, "; see: belfry --help\n");
        return STATUS_USAGE;
}

// ---- options

// The options of the command are known only once its words are: they are looked up in all rows
// whose first word fits what was seen.
static const CommandOption *any_option(const Context *c, Slice name)
{
        const CommandOption *o = find_option(global_options, name);
        unsigned used;
        const Command *command = find_command(c, &used);
        if (!o && command)
                o = find_option(command->options, name);
        // "belfry --all dead retry": before the words, any command's will do; checked at the end.
        for (size_t i = 0; !o && !command && i < n_commands; i++)
                o = find_option(commands[i].options, name);
        return o;
}

static ExitStatus unknown_option(const Context *c, const char *typed)
{
        const char *names[64];
        size_t n = 0;
        unsigned used;
        const Command *command = find_command(c, &used);
        for (const CommandOption *o = command ? command->options : NULL; o && o->name; o++)
                names[n++] = o->name;
        for (const CommandOption *o = global_options; o->name; o++)
                names[n++] = o->name;
        const char *near = text_nearest((Slice){typed + 2, strcspn(typed + 2, "=")}, names, n);
        (void)fprintf(stderr, "belfry: unknown option %s%s%s%s; see: belfry %s%s--help\n", typed,
                near ? " (did you mean --" : "", near ? near : "", near ? "?)" : "",
                command ? command->words : "", command ? " " : "");
        return STATUS_USAGE;
}

static ExitStatus take_option(Context *c, int argc, char **argv, int *i)
{
        const char *typed = argv[*i];
        if (strcmp(typed, "-h") == 0)
                typed = "--help";
        if (strcmp(typed, "-V") == 0)
                typed = "--version";
        const char *equals = strchr(typed, '=');
        Slice name = {typed + 2, equals ? (size_t)(equals - typed) - 2 : strlen(typed) - 2};
        const CommandOption *o = typed[1] == '-' ? any_option(c, name) : NULL;
        if (!o)
                return unknown_option(c, typed);
        const char *value = equals ? equals + 1 : NULL;
        if (!o->argument && value) {
                (void)fprintf(stderr, "belfry: --%s takes no value\n", o->name);
                return STATUS_USAGE;
        }
        if (o->argument && !value) {
                if (*i + 1 >= argc) {
                        (void)fprintf(
                                stderr, "belfry: --%s needs a value (%s)\n", o->name, o->argument);
                        return STATUS_USAGE;
                }
                value = argv[++*i];
        }
        if (c->n_values == VALUES_MAX) {
                (void)fprintf(stderr, "belfry: too many options\n");
                return STATUS_USAGE;
        }
        c->values[c->n_values].option = o;
        c->values[c->n_values++].value = value ? value : "";
        return STATUS_OK;
}

// Each option given must be the command's own (the name decides: tables share rows).
static ExitStatus check_options(const Context *c)
{
        for (unsigned i = 0; i < c->n_values; i++) {
                Slice name = slice_of(c->values[i].option->name);
                if (find_option(global_options, name) || find_option(c->command->options, name))
                        continue;
                (void)fprintf(stderr, "belfry: %s has no option --%s; see: belfry %s --help\n",
                        c->command->words, c->values[i].option->name, c->command->words);
                return STATUS_USAGE;
        }
        return STATUS_OK;
}

static ExitStatus choose_command(Context *c)
{
        unsigned used;
        c->command = find_command(c, &used);
        if (!c->command)
                return unknown_command(c);
        if (c->command->lists && c->n_arguments > used && strcmp(c->arguments[used], "ls") == 0)
                used++;
        c->n_arguments -= used;
        memmove(c->arguments, c->arguments + used, c->n_arguments * sizeof(c->arguments[0]));
        return STATUS_OK;
}

static ExitStatus check_arguments(const Context *c)
{
        if (c->n_arguments >= c->command->min && c->n_arguments <= c->command->max)
                return STATUS_OK;
        if (c->command->lists && c->n_arguments > 0)
                (void)fprintf(stderr,
                        "belfry: %s: \"%s\" is nothing it can do; see: belfry --help\n",
                        c->command->words, c->arguments[0]);
        else if (c->command->max == 0)
                (void)fprintf(stderr,
                        "belfry: %s takes no argument such as \"%s\"; see: belfry %s --help\n",
                        c->command->words, c->arguments[0], c->command->words);
        else
                (void)fprintf(stderr, "belfry: %s; usage: belfry %s %s\n",
                        c->n_arguments < c->command->min ? "an argument is missing"
                                                         : "too many arguments",
                        c->command->words, c->command->arguments);
        return STATUS_USAGE;
}

ExitStatus arguments_parse(Context *c, int argc, char **argv, bool *ret_done)
{
        *ret_done = true;
        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--") == 0) {
                        while (++i < argc && c->n_arguments < ARGUMENTS_MAX)
                                c->arguments[c->n_arguments++] = argv[i];
                        break;
                }
                if (argv[i][0] == '-' && argv[i][1]) {
                        ExitStatus r = take_option(c, argc, argv, &i);
                        if (r != STATUS_OK)
                                return r;
                        continue;
                }
                if (c->n_arguments == ARGUMENTS_MAX) {
                        (void)fprintf(stderr, "belfry: more than %d arguments\n", ARGUMENTS_MAX);
                        return STATUS_USAGE;
                }
                c->arguments[c->n_arguments++] = argv[i];
        }
        if (option_given(c, "version")) {
                (void)puts("belfry " BELFRY_VERSION);
                return STATUS_OK;
        }
        if (c->n_arguments == 0) {
                bool asked = option_given(c, "help");
                if (!asked)
                        (void)fprintf(stderr, "belfry: what shall it do? See: belfry --help\n");
                else
                        print_help(NULL);
                return asked ? STATUS_OK : STATUS_USAGE;
        }
        const char *runtime = option_value(c, "runtime-dir"), *env = getenv("RUNTIME_DIRECTORY");
        c->runtime_dir = runtime ? runtime : env && *env ? env : "/run/belfry";
        ExitStatus r = choose_command(c);
        if (r != STATUS_OK)
                return r;
        if (option_given(c, "help")) {
                print_help(c->command);
                if (c->command->help)
                        c->command->help(c);
                return STATUS_OK;
        }
        r = check_options(c);
        if (r == STATUS_OK)
                r = check_arguments(c);
        *ret_done = r != STATUS_OK;
        return r;
}
