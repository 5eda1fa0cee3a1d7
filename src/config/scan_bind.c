// SPDX-License-Identifier: MIT
// libconfig meets the scanner: both have read the same text, and must have seen the same settings.
// The only file that includes libconfig.h. libconfig does not survive a failed allocation.
#include <errno.h>
#include <libconfig.h>

#include "config/scan_check.h"

static bool same_type(ScanKind kind, int type)
{
        switch (kind) {
        case SCAN_GROUP:
                return type == CONFIG_TYPE_GROUP;
        case SCAN_LIST:
                return type == CONFIG_TYPE_LIST;
        case SCAN_ARRAY:
                return type == CONFIG_TYPE_ARRAY;
        case SCAN_STRING:
                return type == CONFIG_TYPE_STRING;
        case SCAN_INTEGER:
                return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
        case SCAN_FLOAT:
                return type == CONFIG_TYPE_FLOAT;
        case SCAN_BOOL:
                return type == CONFIG_TYPE_BOOL;
        default:
                return false;
        }
}

static bool same_value(const ScanNode *n, const config_setting_t *setting)
{
        if (n->kind != SCAN_INTEGER || n->wrong)
                return true;
        return n->integer == (setting->type == CONFIG_TYPE_INT64 ? config_setting_get_int64(setting)
                                                                 : config_setting_get_int(setting));
}

// In order of the text: the parents are bound before their children.
static const ScanNode *bind_nodes(Scan *s)
{
        s->nodes[0].setting = config_root_setting(s->lib);
        for (uint32_t i = 0; i < s->n_nodes; i++) {
                ScanNode *n = &s->nodes[i];
                if (i > 0)
                        n->setting = config_setting_get_elem(
                                (config_setting_t *)s->nodes[n->parent].setting, n->index);
                const config_setting_t *setting = n->setting;
                if (!setting || !same_type(n->kind, setting->type) || !same_value(n, setting))
                        return n;
                if (n->name.data && !slice_eq_str(n->name, setting->name ? setting->name : ""))
                        return n;
                int length = n->kind <= SCAN_ARRAY ? config_setting_length(setting) : 0;
                if (length != (int)n->n)
                        return n;
        }
        return NULL;
}

int scan_bind(Scan *s, Diagnostics *d)
{
        s->lib = calloc(1, sizeof(*s->lib));
        if (!s->lib)
                return -ENOMEM;
        config_init(s->lib);
        // The text ends in a newline and a NUL: a comment on the last line needs the newline.
        if (!config_read_string(s->lib, s->lines.text.data)) {
                Place place = {.file = s->lines.file,
                        .line = (unsigned)config_error_line(s->lib),
                        .column = 1};
                diagnose(d, SEVERITY_ERROR, place, "", "libconfig: %s", config_error_text(s->lib));
                return -EINVAL;
        }
        const ScanNode *odd = bind_nodes(s);
        if (odd) {
                char *path = scan_path(s, odd, NULL);
                diagnose(d, SEVERITY_ERROR, scan_place(s, odd), path,
                        "libconfig reads this setting otherwise: write it in a simpler way");
                free(path);
                return -EINVAL;
        }
        return 0;
}

const char *scan_string(const ScanNode *n)
{
        const char *text = config_setting_get_string(n->setting);
        return text ? text : ""; // what libconfig makes of an empty string is NULL
}

bool scan_bool(const ScanNode *n)
{
        return config_setting_get_bool(n->setting);
}

double scan_float(const ScanNode *n)
{
        return config_setting_get_float(n->setting);
}

void scan_deinit(Scan *s)
{
        if (s->lib)
                config_destroy(s->lib);
        free(s->lib);
        free(s->nodes);
        lines_deinit(&s->lines);
        *s = (Scan){0};
}
