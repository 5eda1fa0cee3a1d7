// SPDX-License-Identifier: MIT
// The module's own judgement of its options: for a START or an endpoint the first fault is enough;
// PROGRAM --check reads a line {name, options} for each instance and prints a line {name, option,
// message, at} for each fault. It looks at nothing of the world and runs outside the cage, as the
// user who loads the configuration.
#include "config/option_table.h"
#include "module/module_main.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int module_check(const ModuleProgram *p, const void *options, Reason *reason)
{
        if (!p->check)
                return 0;
        OptionFaults faults = {.list = json_array()};
        p->check(options, &faults);
        const json_t *first = json_array_get(faults.list, 0);
        int r = faults.list ? 0 : -ENOMEM;
        if (first)
                r = reason_set(reason, -EINVAL, "%s: %s",
                        json_string_value(json_object_get(first, "option")),
                        json_string_value(json_object_get(first, "message")));
        json_decref(faults.list);
        return r;
}

void *module_options_free(const ModuleProgram *p, void *options)
{
        if (options)
                option_clear(p->description.options, p->description.n_options, options);
        free(options);
        return NULL;
}

static int options_new(const ModuleProgram *p, const json_t *values, void **ret, Reason *reason)
{
        void *options = calloc(1, p->options_size ? p->options_size : 1);
        if (!options)
                return -ENOMEM;
        int r = option_fill(
                p->description.options, p->description.n_options, options, values, reason);
        if (r < 0) {
                (void)module_options_free(p, options);
                return r;
        }
        *ret = options;
        return 0;
}

int module_options(const ModuleProgram *p, const json_t *values, void **ret, Reason *reason)
{
        void *options = NULL;

        if (!json_is_object(values))
                return -EBADMSG;
        int r = options_new(p, values, &options, reason);
        if (r >= 0)
                r = module_check(p, options, reason);
        if (r < 0)
                (void)module_options_free(p, options);
        else
                *ret = options;
        return r;
}

// Options that do not fit the table are a fault too: of the whole instance.
static void judge(const ModuleProgram *p, const json_t *values, OptionFaults *f)
{
        Reason reason = {0};
        void *options = NULL;
        int r = options_new(p, values, &options, &reason);
        if (r == -EINVAL)
                option_fault(f, "", "%s", reason.text);
        if (r == 0) {
                p->check(options, f);
                (void)module_options_free(p, options);
        } else if (r != -EINVAL) {
                json_decref(f->list);
                f->list = NULL;
        }
}

static int answer(const ModuleProgram *p, const char *line, size_t len)
{
        size_t i;
        json_t *one;
        json_t *question = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
        const json_t *name = json_object_get(question, "name");
        const json_t *values = json_object_get(question, "options");
        int r = json_is_string(name) && json_is_object(values) ? 0 : -1;
        OptionFaults faults = {.list = r == 0 ? json_array() : NULL};
        if (r == 0)
                judge(p, values, &faults);
        json_array_foreach(faults.list, i, one)
        {
                if (json_object_set(one, "name", (json_t *)name) < 0 ||
                        json_dumpf(one, stdout, JSON_COMPACT) < 0 || putchar('\n') < 0)
                        r = -1;
        }
        if (!faults.list)
                r = -1;
        json_decref(faults.list);
        json_decref(question);
        return r;
}

int module_check_main(const ModuleProgram *p, const char *name)
{
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;
        ssize_t n;
        if (!p->check)
                return EXIT_SUCCESS; // what the table says is all there is
        while ((n = getline(&line, &size, stdin)) > 0)
                if (answer(p, line, (size_t)n) < 0) {
                        (void)fprintf(stderr,
                                "%s: --check reads lines {\"name\": ..., \"options\": {...}}\n",
                                name);
                        return EXIT_FAILURE;
                }
        return ferror(stdin) ? EXIT_FAILURE : EXIT_SUCCESS;
}
