// SPDX-License-Identifier: MIT
// Whole configurations: what a good one becomes, the table of bad ones (bad_config/*.conf, each
// beginning with the lines it must give), several files, templates, modules that misbehave, memory.
#include "test.h"

#include "config/config.h"
#include "config/print.h"
#include "torture.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"

static char module_dir[PATH_MAX]; // where this test stands: the test modules are built beside it
static char dir[] = "/tmp/belfry-config-XXXXXX";
static char main_file[64];

static void put(const char *name, const char *text)
{
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0 && file_write_all(fd, text, strlen(text)) == 0);
        (void)close(fd);
}

static int setup(void **state)
{
        char path[128];
        ssize_t n = readlink("/proc/self/exe", module_dir, sizeof(module_dir) - 1);
        if (n < 0 || !mkdtemp(dir))
                return -1;
        module_dir[n] = 0;
        *strrchr(module_dir, '/') = 0;
        (void)umask(022);
        (void)snprintf(main_file, sizeof(main_file), "%s/belfry.conf", dir);
        (void)snprintf(path, sizeof(path), "%s/conf.d", dir);
        return mkdir(path, 0755);
}

static void remove_all(const char *sub)
{
        char path[PATH_MAX];
        (void)snprintf(path, sizeof(path), "%s%s", dir, sub);
        DIR *d = opendir(path);
        struct dirent *e;
        while (d && (e = readdir(d)))
                if (e->d_type != DT_DIR)
                        (void)unlinkat(dirfd(d), e->d_name, 0);
        if (d)
                (void)closedir(d);
}

static int teardown(void **state)
{
        char path[128];
        remove_all("/conf.d");
        remove_all("");
        (void)snprintf(path, sizeof(path), "%s/conf.d", dir);
        (void)rmdir(path);
        return rmdir(dir);
}

// The faults as printed, without the directory.
static void print(const Diagnostics *d, Buf *out)
{
        _cleanup_(buf_deinitp) Buf all = BUF_INIT(1 << 20);
        diagnostics_print(d, &all);
        const char *text = buf_text(&all);
        for (const char *at; (at = strstr(text, dir)); text = at + strlen(dir) + 1)
                buf_add(out, text, (size_t)(at - text));
        buf_add_str(out, text);
}

static Config *load(const char *expected)
{
        Config *c = NULL;
        Diagnostics d = {0};
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 20);
        int r = config_load(&c, main_file, module_dir, &d);
        print(&d, &b);
        assert_string_equal(buf_text(&b), expected);
        assert_int_equal(r, d.n_errors ? -EINVAL : 0);
        assert_true((r == 0) == (c != NULL));
        diagnostics_deinit(&d);
        return c;
}

#define SINK "sinks = { out = { module = \"test\"; url = \"https://example.com/\"; }; };\n"
#define SOURCE "sources = { up = { module = \"test\"; paths = [ \"/srv\" ]; }; };\n"
#define RULE "rules = ( { name = \"all\"; to = \"out\"; } );\n"

static const char full[] =
        "sources = {\n"
        "  up = { module = \"test\"; paths = ( \"/srv/a\", \"/srv/b\" ); settle = 5; size = 2048; "
        "};\n"
        "  down = { module = \"test\"; paths = \"/srv\"; settle = \"500ms\"; mode = \"third\"; };\n"
        "};\n"
        "sinks = {\n"
        "  out = { module = \"test\"; url = \"credential:url\"; secret = \"file:/k\";\n"
        "          headers = { Authorization = \"credential:t\"; }; tls = { ca = \"/ca\"; };\n"
        "          queue = { size = \"100M\"; on_full = \"dead\"; }; max_age = \"1h\"; method = "
        "\"PUT\"; };\n"
        "  exp = { module = \"test\"; url = \"http://[::1]:8080/x\"; in_flight = 3;\n"
        "          retry = { base = \"1s\"; cap = \"10s\"; attempts = 4; }; format = \"data\"; };\n"
        "};\n"
        "rules = (\n"
        "  { name = \"first\"; from = [ \"up\" ]; to = [ \"out\", \"exp\" ];\n"
        "    when = \"type == 'x' and data.name =~ /^\\d/\";\n"
        "    headers = { X-Name = \"${data.name}\"; };\n"
        "    body = { text = \"a ${b}\"; n = 5; f = 1.5; t = true; l = ( 1, \"x\", { y = \"z\"; } "
        "); }; },\n"
        "  { name = \"second\"; to = \"exp\"; enabled = false; }\n"
        ");\n"
        "store = { size = \"512M\"; };\n"
        "limits = { event = \"2M\"; stop = 5; sink_processes = 2; };\n"
        "log = { level = \"debug\"; };\n"
        "control = { read = [ \"@adm\", \"joe\" ]; };\n";

static json_t *option(json_t *options, const char *name)
{
        json_t *j = json_object_get(options, name);
        if (!j)
                fail_msg("no %s", name);
        return j;
}

static void check_endpoints(const Config *c)
{
        assert_int_equal(c->n_modules, 2);
        assert_int_equal(c->n_sources, 2);
        assert_true(c->sources[0].module == c->sources[1].module);
        assert_string_equal(c->sources[0].module->description->name, "test");
        json_t *up = c->sources[0].options, *down = c->sources[1].options;
        assert_int_equal(json_array_size(option(up, "paths")), 2);
        assert_int_equal(json_integer_value(option(up, "settle")), 5 * USEC_PER_SEC);
        assert_int_equal(json_integer_value(option(up, "size")), 2048);
        assert_int_equal(json_integer_value(option(up, "depth")), 10); // defaults are filled in
        assert_string_equal(json_string_value(option(up, "mode")), "first");
        assert_null(json_object_get(up, "note")); // without a default: absent
        assert_null(json_object_get(up, "module"));
        assert_string_equal(json_string_value(json_array_get(option(down, "paths"), 0)), "/srv");
        assert_int_equal(json_integer_value(option(down, "settle")), 500 * USEC_PER_MSEC);
        const ConfigSink *out = &c->sinks[0], *exp = &c->sinks[1];
        assert_true(out->place.line == 6 && out->place.column == 3);
        assert_true(json_is_true(option(option(out->options, "tls"), "verify")));
        assert_null(json_object_get(out->options, "queue"));
        assert_int_equal(json_array_size(option(out->options, "waits")), 2);
        assert_true(out->policy.queue.size == 100 << 20);
        assert_int_equal(out->policy.queue.on_full, QUEUE_FULL_DEAD);
        assert_int_equal(out->policy.max_age_usec, 3600 * USEC_PER_SEC);
        assert_string_equal(sink_methods[out->policy.method], "PUT");
        assert_int_equal(out->policy.retry.schedule.n, 10);
        assert_int_equal(out->policy.retry.schedule.usec[1], 5 * USEC_PER_SEC);
        assert_int_equal(out->policy.in_flight, 16);
        // What the first leaves of the half of 512M.
        uint64_t rest = (256u << 20) - (100u << 20);
        assert_true(exp->policy.queue.size == rest);
        assert_int_equal(
                json_integer_value(option(option(exp->policy_json, "queue"), "size")), rest);
        assert_int_equal(exp->policy.retry.base_usec, USEC_PER_SEC);
        assert_int_equal(exp->policy.retry.attempts, 4);
        assert_int_equal(exp->policy.format, 2);
        assert_true(exp->policy.max_age_usec == 4 * 24 * 3600 * USEC_PER_SEC);
}

static void check_rules(const Config *c)
{
        assert_int_equal(c->n_rules, 2);
        const ConfigRule *r = &c->rules[0];
        assert_string_equal(r->from[0], "up");
        assert_null(r->from[1]);
        assert_string_equal(r->to[1], "exp");
        assert_string_equal(r->when.text, "type == 'x' and data.name =~ /^\\d/");
        assert_true(r->when.place.line == 14 && r->when.place.column == 13);
        assert_string_equal(r->when.place.file, main_file);
        assert_int_equal(r->n_headers, 1);
        assert_string_equal(r->header_names[0], "X-Name");
        assert_int_equal(r->header_values[0].place.column, 27);
        assert_true(r->has_body && r->enabled && r->body.kind == TEMPLATE_OBJECT);
        assert_int_equal(r->body.n_children, 5);
        const ConfigTemplate *t = r->body.children;
        assert_string_equal(t[0].key, "text");
        assert_string_equal(t[0].text.text, "a ${b}");
        assert_int_equal(t[0].text.place.column, 22);
        assert_true(t[1].kind == TEMPLATE_INT && t[1].integer == 5);
        assert_true(t[2].kind == TEMPLATE_FLOAT && t[2].number == 1.5);
        assert_true(t[3].kind == TEMPLATE_BOOL && t[3].boolean);
        assert_true(t[4].kind == TEMPLATE_LIST && t[4].n_children == 3);
        assert_string_equal(t[4].children[2].children[0].text.text, "z");
        assert_false(c->rules[1].enabled);
        assert_true(c->rules[1].from && !c->rules[1].from[0]);
        assert_null(c->rules[1].when.text);
}

static void test_full(void **state)
{
        put("belfry.conf", full);
        Config *c =
                load("belfry.conf:3:3: warning: sources.down: no rule takes from this source\n");
        check_endpoints(c);
        check_rules(c);
        assert_true(c->store.size == 512u << 20 && c->store.dead_full == 0);
        assert_true(c->limits.event == 2u << 20 && c->limits.body == 1u << 20);
        assert_int_equal(c->limits.stop_usec, 5 * USEC_PER_SEC);
        assert_int_equal(c->limits.sink_processes, 2);
        assert_int_equal(c->log.level, 4);
        assert_string_equal(c->control.read[1], "joe");
        assert_true(c->control.read_given && !c->control.admin_given);
        assert_string_equal(c->control.admin[0], "root");
        assert_null(c->control.inject);
        assert_string_equal(c->files[0], main_file);
        assert_null(c->files[1]);
        (void)config_free(c);
}

static void test_empty(void **state)
{
        put("belfry.conf", "# nothing yet"); // a comment without a newline behind it
        Config *c = load("");
        assert_true(c->n_sources == 0 && c->n_sinks == 0 && c->n_rules == 0 && c->n_modules == 0);
        assert_true(c->store.size == 1u << 30 && c->limits.stop_usec == 10 * USEC_PER_SEC);
        assert_int_equal(c->log.level, 3);
        assert_string_equal(c->control.read[0], "@belfry");
        assert_false(c->control.read_given);
        (void)config_free(c);
        (void)unlink(main_file);
        assert_null(load("belfry.conf: cannot be read: No such file or directory\n"));
}

// ---- several files
static void test_fragments(void **state)
{
        put("belfry.conf", "log = { level = \"err\"; };\n" RULE);
        put("conf.d/10-b.conf", SOURCE "rules = ( { name = \"b\"; to = \"out\"; } );\n");
        put("conf.d/20-a.conf", SINK "store = { size = \"64M\"; };\nstore_x = 1;\n");
        put("conf.d/.hidden.conf", "this is not read");
        put("conf.d/readme", "nor this");
        assert_null(load("conf.d/20-a.conf:3:1: store_x: unknown table; known are: sources, sinks, "
                         "rules, store, limits, log, control (did you mean \"store\"?)\n"));
        put("conf.d/20-a.conf", SINK "store = { size = \"64M\"; };\n");
        Config *c = load("");
        assert_int_equal(c->n_rules, 2);
        assert_string_equal(c->rules[0].name, "all");
        assert_string_equal(c->rules[1].name, "b");
        assert_true(c->store.size == 64u << 20 && c->log.level == 0);
        assert_non_null(strstr(c->files[2], "20-a.conf"));
        (void)config_free(c);
        // The same again in another file: both places are named. A broken file hides no names.
        put("conf.d/30-c.conf",
                SINK SOURCE RULE "store = { size = \"1G\"; dead_full = \"pause\"; };\n");
        char expected[1024];
        (void)snprintf(expected, sizeof(expected),
                "conf.d/30-c.conf:1:11: sinks.out: \"out\" is defined twice (first at "
                "conf.d/20-a.conf:1:11)\n"
                "conf.d/30-c.conf:2:13: sources.up: \"up\" is defined twice (first at "
                "conf.d/10-b.conf:1:13)\n"
                "conf.d/30-c.conf:3:20: rules[0].name: \"all\" is defined twice (first at "
                "belfry.conf:2:20)\n"
                "conf.d/30-c.conf:4:11: store.size: given twice (first at "
                "conf.d/20-a.conf:2:11)\n");
        assert_null(load(expected));
        put("conf.d/20-a.conf", "sinks = { out = { module = \"test\" url = \"https://x\"; };\n");
        put("conf.d/30-c.conf", "limits = { evnt = 1; };\n");
        assert_null(
                load("conf.d/20-a.conf:1:56: sinks: the file ends inside this group: the \"}\" for "
                     "the \"{\" at 1:9 is missing\n"
                     "conf.d/30-c.conf:1:12: limits.evnt: unknown option (did you mean "
                     "\"event\"?)\n"));
        remove_all("/conf.d");
}

static void test_trust(void **state)
{
        char path[128], link[128];
        put("belfry.conf", "");
        assert_int_equal(chmod(main_file, 0646), 0);
        assert_null(load("belfry.conf: everybody may write it: refused (chmod o-w it)\n"));
        assert_int_equal(chmod(main_file, 0644), 0);
        (void)config_free(load(""));
        if (geteuid() != 0)
                return; // the rest needs other owners
        assert_int_equal(chown(main_file, 4242, 4242), 0);
        (void)config_free(load("belfry.conf: warning: belongs to user 4242, who may change it\n"));
        assert_int_equal(chown(main_file, 0, 0), 0);
        (void)snprintf(path, sizeof(path), "%s/target", dir);
        (void)snprintf(link, sizeof(link), "%s/conf.d/l.conf", dir);
        put("target", "");
        assert_int_equal(symlink(path, link), 0);
        (void)config_free(load(""));
        assert_int_equal(lchown(link, 4242, 4242), 0);
        assert_null(load("conf.d/l.conf: is a symbolic link that belongs to user 4242: refused\n"));
        remove_all("/conf.d");
        (void)snprintf(path, sizeof(path), "%s/conf.d", dir);
        put("conf.d/x.conf", "");
        assert_int_equal(chmod(path, 0777), 0);
        assert_null(load("conf.d: everybody may put files here: refused (chmod o-w it)\n"));
        assert_int_equal(chmod(path, 0755), 0);
        remove_all("/conf.d");
}

// ---- the table of bad configurations
static void check_bad(const char *name)
{
        char path[PATH_MAX];
        Config *c = NULL;
        Diagnostics d = {0};
        _cleanup_(buf_deinitp) Buf text = BUF_INIT(1 << 20), expected = BUF_INIT(1 << 20);
        _cleanup_(buf_deinitp) Buf printed = BUF_INIT(1 << 20), found = BUF_INIT(1 << 20);
        (void)snprintf(path, sizeof(path), "%s/%s", BAD_CONFIG_DIR, name);
        assert_int_equal(file_read(AT_FDCWD, path, &text), 0);
        for (const char *at = buf_text(&text); strncmp(at, "# ", 2) == 0;) {
                size_t n = strcspn(at, "\n") + 1;
                buf_add(&expected, at + 2, n - 2);
                at += n;
        }
        if (config_load(&c, path, module_dir, &d) >= 0) {
                (void)config_free(c);
                fail_msg("%s: loads", name);
        }
        diagnostics_print(&d, &printed);
        // The file's own name is left out, in front and where a place in it is named; of files
        // beside it the directory is.
        const char *at = buf_text(&printed);
        for (const char *next; (next = strstr(at, BAD_CONFIG_DIR "/"));) {
                buf_add(&found, at, (size_t)(next - at));
                bool own = strncmp(next, path, strlen(path)) == 0;
                at = next + (own ? strlen(path) + 1 : strlen(BAD_CONFIG_DIR "/"));
        }
        buf_add_str(&found, at);
        diagnostics_deinit(&d);
        if (strcmp(buf_text(&found), buf_text(&expected)) != 0)
                fail_msg("%s: expected\n%sfound\n%s", name, buf_text(&expected), buf_text(&found));
}

// What is printed loads, means the same, and is printed the same again.
static void test_print(void **state)
{
        _cleanup_(buf_deinitp) Buf first = BUF_INIT(1 << 20), second = BUF_INIT(1 << 20);
        put("belfry.conf", full);
        put("conf.d/more.conf",
                "rules = ( { name = \"third\"; to = \"exp\"; body_file = \"b.json\"; },\n"
                "  { name = \"odd\"; from = \"down\"; to = \"exp\"; when = \"type == "
                "'\\\"\\\\\\t'\";\n"
                "    body = ( 1e300, 2.0, -5000000000L, \"a\\nb\" ); } );\n");
        put("conf.d/b.json", "{\"no name of libconfig\": null, \"x\": \"${id}\"}");
        Config *a = load("");
        assert_int_equal(config_print(a, &first), 0);
        remove_all("/conf.d");
        put("belfry.conf", buf_text(&first));
        put("conf.d/b.json", "{\"no name of libconfig\": null, \"x\": \"${id}\"}");
        Config *b = load("");
        assert_int_equal(config_print(b, &second), 0);
        assert_string_equal(buf_text(&first), buf_text(&second));
        assert_int_equal(a->n_sources, b->n_sources);
        for (size_t i = 0; i < a->n_sources; i++)
                assert_true(json_equal(a->sources[i].options, b->sources[i].options));
        assert_int_equal(a->n_sinks, b->n_sinks);
        for (size_t i = 0; i < a->n_sinks; i++) {
                assert_true(json_equal(a->sinks[i].options, b->sinks[i].options));
                assert_true(json_equal(a->sinks[i].policy_json, b->sinks[i].policy_json));
        }
        assert_int_equal(a->n_rules, 4);
        assert_int_equal(b->n_rules, 4);
        assert_string_equal(b->rules[3].when.text, "type == '\"\\\t'");
        assert_false(b->rules[1].enabled);
        assert_true(b->limits.event == 2 << 20 && b->log.level == a->log.level);
        assert_non_null(strstr(buf_text(&first), "settle = \"5s\";"));
        assert_non_null(strstr(buf_text(&first), "size = \"2K\";"));
        assert_non_null(strstr(buf_text(&first), "# body = "));
        (void)config_free(a);
        (void)config_free(b);
        remove_all("/conf.d");
        Buf small = BUF_INIT(100);
        put("belfry.conf", full);
        a = load("belfry.conf:3:3: warning: sources.down: no rule takes from this source\n");
        assert_true(config_print(a, &small) < 0);
        buf_deinit(&small);
        (void)config_free(a);
}

static void test_bad(void **state)
{
        DIR *d = opendir(BAD_CONFIG_DIR);
        struct dirent *e;
        unsigned n = 0;
        assert_non_null(d);
        while ((e = readdir(d))) {
                size_t len = strlen(e->d_name);
                if (len < 6 || strcmp(e->d_name + len - 5, ".conf") != 0)
                        continue;
                check_bad(e->d_name);
                n++;
        }
        (void)closedir(d);
        assert_true(n >= 60);
}

// ---- body files
static void test_body_file(void **state)
{
        put("belfry.conf", SOURCE SINK
                "rules = ( { name = \"a\"; to = \"out\"; body_file = \"body.json\"; } );\n");
        put("body.json", "{\n  \"te\\u0078t\": \"\\\"é\\ud83d\\ude00 ${x}\",\n"
                         "  \"list\": [1, 2.5, 12345678901234567890, true, null, {}]\n}\n");
        Config *c = load("");
        const ConfigTemplate *t = &c->rules[0].body;
        assert_true(c->rules[0].has_body && t->kind == TEMPLATE_OBJECT && t->n_children == 2);
        assert_string_equal(t->children[0].key, "text");
        const ConfigText *text = &t->children[0].text;
        assert_string_equal(text->text, "\"é😀 ${x}");
        assert_non_null(strstr(text->place.file, "/body.json"));
        assert_true(text->place.line == 2 && text->place.column == 17);
        Place hole = config_text_place(text, (size_t)(strchr(text->text, '$') - text->text));
        assert_true(hole.line == 2 && hole.column == 33);
        const ConfigTemplate *list = t->children[1].children;
        assert_true(list[0].kind == TEMPLATE_INT && list[0].integer == 1);
        assert_true(list[1].kind == TEMPLATE_FLOAT && list[1].number == 2.5);
        assert_int_equal(list[2].kind, TEMPLATE_FLOAT);
        assert_true(list[3].boolean && list[4].kind == TEMPLATE_NULL);
        assert_true(list[5].kind == TEMPLATE_OBJECT && list[5].n_children == 0);
        (void)config_free(c);
        put("body.json", "{\n  \"a\": tru }\n");
        assert_null(load("body.json:2:8: this is not JSON\n"));
        put("body.json", "");
        assert_null(load("body.json:1:1: this is not JSON: the file is empty\n"));
}

// ---- modules
static void test_programs(void **state)
{
        static const char *const cases[][2] = {
                {"garbage", "its description is not JSON: '[' or '{' expected near 'this'"},
                {"empty", "it does not answer with a description"},
                {"endless", "its --describe prints over 1048576 bytes"},
                {"crash", "its --describe died by signal 6"},
                {"failing", "its --describe ended with exit status 3"},
                {"slow", "its --describe took longer than 5 s"},
                {"liar", "it says it is the source module \"other\""},
                {"check-garbage", "its --check prints what is no fault of an option"},
                {"check-failing", "its --check ended with exit status 3"},
                {"text", "it cannot be executed"},
        };
        char target[PATH_MAX + 32], link[128], conf[256], expected[512];
        (void)snprintf(target, sizeof(target), "%s/belfry-source-test", module_dir);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Config *c = NULL;
                Diagnostics d = {0};
                const char *name = cases[i][0];
                (void)snprintf(link, sizeof(link), "%s/belfry-source-%s", dir, name);
                if (strcmp(name, "text") == 0) {
                        put("belfry-source-text", "no program");
                        assert_int_equal(chmod(link, 0755), 0);
                } else {
                        assert_int_equal(symlink(target, link), 0);
                }
                (void)snprintf(conf, sizeof(conf),
                        "sources = { a = { module = \"%s\"; paths = \"/\"; }; };\n", name);
                put("belfry.conf", conf);
                assert_int_equal(config_load(&c, main_file, dir, &d), -EINVAL);
                assert_int_equal(d.n_errors, 1);
                (void)snprintf(expected, sizeof(expected), "%s: %s", link, cases[i][1]);
                assert_string_equal(d.list[0].message, expected);
                assert_true(d.list[0].place.line == 1 && d.list[0].place.column == 28);
                diagnostics_deinit(&d);
        }
        remove_all("");
        char *path = NULL;
        assert_int_equal(module_program_open(dir, MODULE_SINK, "absent", &path), -ENOENT);
        assert_int_equal(module_program_open(module_dir, MODULE_SOURCE, "../x", &path), -ENOENT);
        put("belfry-source-plain", "x"); // not executable
        assert_int_equal(module_program_open(dir, MODULE_SOURCE, "plain", &path), -EACCES);
        assert_null(path);
}

// ---- memory
static int load_once(void *arg)
{
        Config *c = NULL;
        Diagnostics d = {0};
        int r = config_load(&c, main_file, module_dir, &d);
        (void)config_free(c);
        diagnostics_deinit(&d);
        return r;
}

// A file like any other, with the modules that start fastest.
static const char normal[] =
        "sources = { up = { module = \"plain\"; paths = [ \"/srv/a\", \"/srv/b\" ]; mode = \"b\"; "
        "}; };\n"
        "sinks = { out = { module = \"plain\"; url = \"https://example.com/\"; headers = { A = "
        "\"b\"; };\n"
        "                  queue = { on_full = \"dead\"; }; retry = { schedule = [ \"0s\", \"1m\" "
        "]; }; }; };\n"
        "rules = ( { name = \"first\"; from = \"up\"; to = [ \"out\" ]; when = \"a == "
        "\\\"b\\\"\";\n"
        "            headers = { X-A = \"${a}\"; }; body = { a = ( 1, \"x\" ); }; } );\n"
        "store = { size = \"512M\"; };\n"
        "control = { read = [ \"@adm\", \"joe\" ]; };\n";

static void test_memory(void **state)
{
        put("belfry.conf", normal);
        put("conf.d/x.conf",
                "rules = ( { name = \"f\"; to = \"out\"; body_file = \"../body.json\"; } );\n");
        put("body.json", "{ \"a\": [ \"\\\"x\", { \"b\": 1 } ] }");
        assert_true(torture(load_once, NULL) > 200);
        remove_all("/conf.d");
}

static void *counted_malloc(size_t n)
{
        return malloc(n);
}

static void counted_free(void *p)
{
        free(p);
}

int main(void)
{
        json_set_alloc_funcs(counted_malloc, counted_free); // jansson's allocations fail too
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_full),
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_fragments),
                cmocka_unit_test(test_trust),
                cmocka_unit_test(test_bad),
                cmocka_unit_test(test_print),
                cmocka_unit_test(test_body_file),
                cmocka_unit_test(test_programs),
                cmocka_unit_test(test_memory),
        };
        return cmocka_run_group_tests_name("config", tests, setup, teardown);
}
