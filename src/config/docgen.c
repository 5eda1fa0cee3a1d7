// SPDX-License-Identifier: MIT
// belfry-docgen, a program of the build: prints parts of documents from option tables, those of a
// module's program or the hub's own ("common"). Not installed.
#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "config/config.h"
#include "config/document.h"

enum { OUT_MAX = 8 << 20 };

typedef struct Table {
        const char *name;
        const Option *rows;
        const size_t *n;
} Table;

static const Table tables[] = {
        {"store", store_options, &n_store_options},
        {"limits", limits_options, &n_limits_options},
        {"log", log_options, &n_log_options},
        {"control", control_options, &n_control_options},
        {"sinks", sink_policy_options, &n_sink_policy_options},
        {"rules", rule_options, &n_rule_options},
};

// The types that every source has.
static const ModuleDescription every_source = {
        .kind = MODULE_SOURCE, .name = "errors", .types = &event_type_gap, .n_types = 1};

static int usage(void)
{
        (void)fprintf(stderr,
                "usage: belfry-docgen man|sample|schema|events|catalogue PROGRAM\n"
                "       belfry-docgen man|sample|schema common [TABLE]\n"
                "       belfry-docgen catalogue common\n"
                "tables: store limits log control sinks rules (man and sample: all of them "
                "without)\n");
        return 2;
}

static int document(const char *what, const char *title, const Option *rows, size_t n, Buf *out)
{
        if (strcmp(what, "man") == 0)
                option_document_man(rows, n, out);
        else if (strcmp(what, "sample") == 0)
                option_document_sample(rows, n, out);
        else if (strcmp(what, "schema") == 0)
                return option_document_schema(rows, n, title, out);
        else
                return -EINVAL;
        return out->error;
}

static int common(const char *what, const char *table, Buf *out)
{
        int r = -EINVAL;
        if (strcmp(what, "catalogue") == 0 && !table) {
                event_document_catalogue(&every_source, out);
                return out->error;
        }
        for (size_t i = 0; i < N_ELEMENTS(tables); i++) {
                if (table && strcmp(table, tables[i].name) != 0)
                        continue;
                if (!table && strcmp(what, "man") == 0)
                        buf_addf(out, ".Ss %s\n", tables[i].name);
                else if (!table && strcmp(what, "sample") == 0)
                        buf_addf(out, "%s# ---- %s\n", i ? "\n" : "", tables[i].name);
                else if (!table)
                        return -EINVAL; // a schema is one document
                r = document(what, tables[i].name, tables[i].rows, *tables[i].n, out);
                if (r < 0)
                        return r;
        }
        return r;
}

static int of_program(const char *what, const char *path, Buf *out)
{
        Reason reason = {0};
        ModuleDescription *d = NULL;
        _cleanup_(closep) int fd = open(path, O_PATH | O_CLOEXEC);
        int r = fd < 0 ? reason_errno(&reason, -errno, "%s", path)
                       : module_program_describe(fd, path, &d, &reason);
        if (r < 0) {
                (void)fprintf(stderr, "belfry-docgen: %s\n", reason.text);
                return r;
        }
        if (strcmp(what, "events") == 0)
                event_document_man(d->types, d->n_types, out);
        else if (strcmp(what, "catalogue") == 0)
                event_document_catalogue(d, out);
        else
                r = document(what, d->name, d->options, d->n_options, out);
        (void)module_description_free(d);
        return r < 0 ? r : out->error;
}

int main(int argc, char **argv)
{
        _cleanup_(buf_deinitp) Buf out = BUF_INIT(OUT_MAX);
        if (argc < 3 || argc > 4)
                return usage();
        bool own = strcmp(argv[2], "common") == 0;
        if (!own && argc != 3)
                return usage();
        int r = own ? common(argv[1], argv[3], &out) : of_program(argv[1], argv[2], &out);
        if (r == -EINVAL)
                return usage();
        if (r < 0 || (out.len > 0 && fwrite(out.data, 1, out.len, stdout) != out.len) ||
                fflush(stdout) != 0)
                return 1;
        return 0;
}
