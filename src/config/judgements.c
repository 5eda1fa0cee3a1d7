// SPDX-License-Identifier: MIT
// What only a module can judge about its options (a schedule, a pattern of its own) it judges itself:
// PROGRAM --check is run once for all instances of the module that its table found good. It reads a
// line {name, options} for each and prints a line {name, option, message, at} for each fault, which
// is told here at the place of that setting. The program may be foreign: nothing it says is trusted.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/file.h"
#include "config/load.h"

typedef struct Instance {
        const char *name;
        const ConfigModule *module;
        const json_t *options;
        bool good;
} Instance;

static Instance instance(const Loader *l, ModuleKind kind, size_t i)
{
        const Config *c = l->config;
        if (kind == MODULE_SOURCE)
                return (Instance){c->sources[i].name, c->sources[i].module, c->sources[i].options,
                        l->good_sources[i]};
        return (Instance){
                c->sinks[i].name, c->sinks[i].module, c->sinks[i].options, l->good_sinks[i]};
}

static size_t n_instances(const Loader *l, ModuleKind kind)
{
        return kind == MODULE_SOURCE ? l->config->n_sources : l->config->n_sinks;
}

static const char *section(ModuleKind kind)
{
        return kind == MODULE_SOURCE ? "sources" : "sinks";
}

static int write_line(int fd, const Instance *one)
{
        json_t *o = json_pack("{s:s, s:O}", "name", one->name, "options", one->options);
        _cleanup_(freep) char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
        json_decref(o);
        int r = text ? file_write_all(fd, text, strlen(text)) : -ENOMEM;
        return r < 0 ? r : file_write_all(fd, "\n", 1);
}

// The questions as a file, so that neither side ever waits for the other. 0: there are none.
static int questions(const Loader *l, ModuleKind kind, const ConfigModule *m, int *ret_fd)
{
        unsigned n = 0;
        _cleanup_(closep) int fd = memfd_create("belfry-check", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        for (size_t i = 0; i < n_instances(l, kind); i++) {
                Instance one = instance(l, kind, i);
                if (!one.good || one.module != m)
                        continue;
                int r = write_line(fd, &one);
                if (r < 0)
                        return r;
                n++;
        }
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return n > 0;
}

// "tables[2].where" within an instance; NULL when the text does not name it (a default, say). Of a
// list that was written as one value, [0] is the value.
static const ScanNode *walk(const Scan *s, const ScanNode *n, const char *path)
{
        while (n && *path) {
                size_t len = strcspn(path, ".[");
                char name[128], *end;
                if (*path == '[') {
                        unsigned long index = strtoul(path + 1, &end, 10);
                        path = end + (*end == ']');
                        if (n->kind != SCAN_LIST && n->kind != SCAN_ARRAY)
                                continue;
                        for (n = scan_first(s, n); n && index > 0; index--)
                                n = scan_next(s, n);
                        continue;
                }
                (void)snprintf(name, sizeof(name), "%.*s", (int)len, path);
                if (n->kind != SCAN_GROUP)
                        return NULL;
                n = scan_child(s, n, name);
                path += len;
                path += *path == '.';
        }
        return n;
}

// Inside a string the place is that of its byte `at`.
static Place place_at(Reader *r, const ScanNode *n, const json_t *at)
{
        ConfigText text = {0};
        Place place = scan_place(r->scan, n);
        if (n->kind != SCAN_STRING || !json_is_integer(at) || json_integer_value(at) < 0)
                return place;
        if (scan_text(r->scan, n, &text) < 0) {
                r->error = -ENOMEM;
                return place;
        }
        size_t offset = (size_t)json_integer_value(at), len = strlen(text.text);
        place = config_text_place(&text, offset < len ? offset : len);
        config_text_clear(&text);
        return place;
}

static int tell(Loader *l, ModuleKind kind, const json_t *fault)
{
        const ConfigFile *f;
        const char *name = json_string_value(json_object_get(fault, "name"));
        const char *option = json_string_value(json_object_get(fault, "option"));
        const char *message = json_string_value(json_object_get(fault, "message"));
        const ScanNode *n = name ? loader_find(l, section(kind), slice_of(name), &f) : NULL;
        if (!n || !option || !message)
                return -EBADMSG;
        Reader r = loader_reader(l, f);
        const ScanNode *set = walk(&f->scan, n, option);
        if (set && set != n)
                reader_fault(&r, SEVERITY_ERROR, place_at(&r, set, json_object_get(fault, "at")),
                        set, NULL, NULL, "%s", message);
        else
                reader_fault(&r, SEVERITY_ERROR, scan_name_place(&f->scan, n), n,
                        option[0] ? option : NULL, NULL, "%s", message);
        loader_merge(l, &r);
        return 0;
}

static int tell_all(Loader *l, ModuleKind kind, Slice answer)
{
        while (answer.len > 0) {
                json_error_t error;
                const char *newline = memchr(answer.data, '\n', answer.len);
                size_t len = newline ? (size_t)(newline - answer.data) : answer.len;
                json_t *fault = json_loadb(answer.data, len, JSON_REJECT_DUPLICATES, &error);
                int r = fault                                                 ? tell(l, kind, fault)
                        : json_error_code(&error) == json_error_out_of_memory ? -ENOMEM
                                                                              : -EBADMSG;
                json_decref(fault);
                if (r < 0)
                        return r;
                len += newline != NULL;
                answer = (Slice){answer.data + len, answer.len - len};
        }
        return 0;
}

static int ask(Loader *l, ModuleKind kind, const ConfigModule *m, Reason *reason)
{
        _cleanup_(closep) int fd = -1;
        _cleanup_(buf_deinitp) Buf answer = BUF_INIT(LIMIT_DESCRIBE);
        int r = questions(l, kind, m, &fd);
        if (r == 0)
                return 0;
        if (r < 0)
                return reason_errno(reason, r, "cannot ask %s", m->program_path);
        r = module_program_run(m->program_fd, m->program_path, "--check", fd, &answer, reason);
        if (r < 0)
                return r;
        r = tell_all(l, kind, buf_slice(&answer));
        return r == -EBADMSG ? reason_set(reason, r,
                                       "%s: its --check prints what is no fault of an option",
                                       m->program_path)
                             : r;
}

// The module itself is at fault: said where it is named first.
static void say_broken(Loader *l, ModuleKind kind, const ConfigModule *m, const char *why)
{
        for (size_t i = 0; i < n_instances(l, kind); i++) {
                const ConfigFile *f;
                Instance one = instance(l, kind, i);
                const ScanNode *n = one.good && one.module == m
                                            ? loader_find(l, section(kind), slice_of(one.name), &f)
                                            : NULL;
                const ScanNode *set = n ? scan_child(&f->scan, n, "module") : NULL;
                if (!set)
                        continue;
                Reader r = loader_reader(l, f);
                reader_fault(
                        &r, SEVERITY_ERROR, scan_place(&f->scan, set), set, NULL, NULL, "%s", why);
                return;
        }
}

void load_judgements(Loader *l, ModuleKind kind)
{
        for (size_t i = 0; i < l->config->n_modules && l->error == 0; i++) {
                Reason reason = {0};
                const ConfigModule *m = &l->config->modules[i];
                if (!m->description || m->description->kind != kind || !m->description->checks)
                        continue;
                int r = ask(l, kind, m, &reason);
                if (r == -ENOMEM)
                        l->error = r;
                else if (r < 0)
                        say_broken(l, kind, m, reason.text);
        }
}
