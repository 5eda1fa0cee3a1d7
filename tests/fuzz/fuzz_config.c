// SPDX-License-Identifier: MIT
// One configuration file. The scanner never crashes; what it accepts libconfig has read the same way
// (scan_init() compares the trees); what libconfig alone refuses is a finding. Lines of named
// settings and texts of strings agree, and every byte of a string has a place inside the file.
// Then the file goes through the whole loader.
#include "base/file.h"
#include "config/scanner.h"

#include <assert.h>
#include <errno.h>
#include <libconfig.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_node(const Scan *s, const ScanNode *n)
{
        Place name = scan_name_place(s, n);
        assert(name.line >= 1 && name.line <= s->lines.n && name.column >= 1);
        if (n->name.data)
                assert(config_setting_source_line(n->setting) == name.line);
        char *path = scan_path(s, n, NULL);
        assert(path && path[0]);
        free(path);
        if (n->kind != SCAN_STRING)
                return;
        ConfigText t;
        assert(scan_text(s, n, &t) == 0);
        if (!memmem(n->raw.data, n->raw.len, "\\x", 2) &&
                !memmem(n->raw.data, n->raw.len, "\\X", 2))
                assert(strcmp(t.text, scan_string(n)) == 0);
        Place last = t.place;
        for (size_t i = 0; i <= strlen(t.text) && i < 4096; i++) {
                Place p = config_text_place(&t, i);
                assert(p.line > last.line || (p.line == last.line && p.column >= last.column));
                last = p;
        }
        config_text_clear(&t);
}

static void scan(Slice text)
{
        Scan s;
        Diagnostics d = {0};
        int r = scan_init(&s, "f", text, &d);
        assert(r == 0 || (r == -EINVAL && d.n_errors > 0));
        for (unsigned i = 0; i < d.n; i++)
                if (strncmp(d.list[i].message, "libconfig", 9) == 0)
                        assert(!"scanner and libconfig disagree");
        for (uint32_t i = 1; r == 0 && i < s.n_nodes; i++)
                check_node(&s, &s.nodes[i]);
        scan_deinit(&s);
        diagnostics_deinit(&d);
}

static void load(Slice text)
{
        char path[64];
        Config *c = NULL;
        Diagnostics d = {0};
        int fd = memfd_create("fuzz", MFD_CLOEXEC);
        assert(fd >= 0 && file_write_all(fd, text.data, text.len) == 0);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int r = config_load(&c, path, "/nonexistent", &d);
        assert((r == 0) == (c != NULL) && (r == 0 || d.n_errors > 0));
        _cleanup_(buf_deinitp) Buf out = BUF_INIT(8 << 20);
        diagnostics_print(&d, &out);
        (void)config_free(c);
        diagnostics_deinit(&d);
        (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *text = malloc(size + 2); // as the loader hands it over: a newline and a NUL behind it
        if (!text || size > 65536) {
                free(text);
                return 0;
        }
        memcpy(text, data, size);
        memcpy(text + size, "\n", 2);
        scan(slice_mem(text, size + 1));
        load(slice_mem(text, size));
        free(text);
        return 0;
}
