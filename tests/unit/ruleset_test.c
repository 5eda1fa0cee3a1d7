// SPDX-License-Identifier: MIT
// Rules over events: routes and their merging, templates, headers, counts, refusals with places.
// Configurations are made by hand: loading them is tested elsewhere.
#include "test.h"

#include "base/limits.h"
#include "base/wire.h"
#include "rule/escape.h"
#include "rule/ruleset.h"
#include "rule/template.h"
#include "rule_fixture.h"
#include "torture.h"
#include <errno.h>

// The configuration owns its strings; here they are literals, and nobody writes to them.
#ifdef __clang__
#pragma clang diagnostic ignored "-Wincompatible-pointer-types-discards-qualifiers"
#else
#pragma GCC diagnostic ignored "-Wdiscarded-qualifiers"
#endif

static const ModuleDescription module_uploads = {
        .name = "test", .types = fixture_types, .n_types = N_FIXTURE_TYPES};
static const ConfigModule config_module = {.description = (ModuleDescription *)&module_uploads};

static ConfigSource sources[] = {
        {.name = "uploads", .module = &config_module}, {.name = "shop", .module = &config_module}};
static ConfigSink sinks[] = {{.name = "ops"}, {.name = "slack"}, {.name = "audit"}};

static char *to_ops[] = {"ops", NULL}, *to_all[] = {"ops", "slack", NULL};
static char *to_slack[] = {"slack", NULL}, *from_shop[] = {"shop", NULL};

#define TEXT(s)                                               \
        {                                                     \
                .text = s, .place = { "belfry.conf", 20, 11 } \
        }
#define STRING(k, s)                                               \
        {                                                          \
                .kind = TEMPLATE_STRING, .key = k, .text = TEXT(s) \
        }

static void config_make(Config *c, ConfigRule *rules, size_t n)
{
        *c = (Config){.sources = sources,
                .n_sources = 2,
                .sinks = sinks,
                .n_sinks = 3,
                .rules = rules,
                .n_rules = n};
        for (size_t i = 0; i < n; i++) {
                if (!rules[i].name)
                        rules[i].name = "rule";
                rules[i].enabled = true;
                rules[i].place = (Place){"belfry.conf", 19, 5};
        }
}

typedef struct Run {
        Config config;
        Diagnostics d;
        RuleSet *set;
        Buf buf;
        Record record;
        RuleRoutes routes;
} Run;

static void refused(ConfigRule *rules, size_t n, const char *expected);

static void run_begin(Run *x, ConfigRule *rules, size_t n)
{
        *x = (Run){.buf = BUF_INIT(1 << 22)};
        config_make(&x->config, rules, n);
        int r = ruleset_new(&x->set, &x->config, &x->d);
        if (r < 0) {
                _cleanup_(buf_deinitp) Buf out = BUF_INIT(1 << 16);
                diagnostics_print(&x->d, &out);
                fail_msg("%s", buf_text(&out));
        }
}

static void run_event(Run *x, unsigned source, const char *type, const char *data, size_t max_body)
{
        buf_reset(&x->buf);
        assert_int_equal(fixture_record_of(&x->buf, &x->record, type, data), 0);
        assert_int_equal(ruleset_route(x->set, source, &x->record, max_body, &x->routes), 0);
}

static void run_end(Run *x)
{
        x->set = ruleset_free(x->set);
        buf_deinit(&x->buf);
        diagnostics_deinit(&x->d);
}

// A source whose events have types of their own: any but those of the families, with any field.
static void test_own_types(void **state)
{
        static const ModuleDescription own = {.name = "own", .own_types = true};
        static const ConfigModule module = {.description = (ModuleDescription *)&own};
        ConfigRule rules[] = {{.name = "a",
                                      .to = to_ops,
                                      .when = TEXT("type == 'order.paid' and data.total > 5")},
                {.name = "b", .to = to_slack, .when = TEXT("type startswith 'order.' and data.x")},
                {.name = "c", .to = to_all, .when = TEXT("type == 'file.created'")}};
        const ConfigModule *before = sources[0].module;
        sources[0].module = sources[1].module = &module;
        refused(rules, 3, "no source here has events of type 'file.created'");
        Run x;
        run_begin(&x, rules, 2);
        run_event(&x, 0, "order.paid", "{\"total\":7,\"x\":true}", 1000);
        assert_int_equal(x.routes.n, 2);
        run_event(&x, 0, "order.sent", "{\"total\":7}", 1000);
        assert_int_equal(x.routes.n, 0);
        run_end(&x);
        sources[0].module = sources[1].module = before;
}

static void test_merging(void **state)
{
        ConfigTemplate body[] = {STRING("t", "x")};
        ConfigRule rules[] = {
                {.name = "a", .to = to_ops, .when = TEXT("data.size > 10")},
                {.name = "b", .to = to_all},
                {.name = "own",
                        .to = to_all,
                        .has_body = true,
                        .body = {.kind = TEMPLATE_OBJECT, .children = body, .n_children = 1}},
                {.name = "c", .to = to_slack, .when = TEXT("type == 'file.moved'")},
                {.name = "d", .to = to_ops, .from = from_shop},
        };
        Run x;
        run_begin(&x, rules, N_ELEMENTS(rules));
        run_event(&x, 0, "file.created", FIXTURE_DATA, 1000);
        assert_int_equal(x.routes.n, 4);
        static const struct {
                unsigned sink, rule;
                bool own;
        } expected[] = {{0, 0, false}, {1, 1, false}, {0, 2, true}, {1, 2, true}};
        for (unsigned i = 0; i < 4; i++) {
                assert_int_equal(x.routes.list[i].sink, expected[i].sink);
                assert_int_equal(x.routes.list[i].rule, expected[i].rule);
                assert_true(x.routes.list[i].own_body == expected[i].own);
                assert_false(x.routes.list[i].own_headers);
                if (expected[i].own)
                        assert_slice(x.routes.list[i].body, "{\"t\":\"x\"}");
        }

        // Another source, another type: the first rule does not match, the last one's route is merged.
        run_event(&x, 1, "file.moved", "{\"size\":1}", 1000);
        assert_int_equal(x.routes.n, 4);
        assert_int_equal(x.routes.list[0].rule, 1);
        // A type nobody names, and one that no table has.
        run_event(&x, 0, "source.gap", "{\"reason\":\"x\"}", 1000);
        assert_int_equal(x.routes.n, 4);
        run_event(&x, 0, "unheard.of", "[]", 1000);
        assert_int_equal(x.routes.n, 4);

        RuleCounts a = ruleset_counts(x.set, 0), c = ruleset_counts(x.set, 3),
                   d = ruleset_counts(x.set, 4);
        assert_true(a.seen == 4 && a.matched == 1 && a.failed == 0);
        assert_true(c.seen == 4 && c.matched == 1);
        assert_true(d.seen == 1 && d.matched == 1);

        RuleSet *next = NULL;
        assert_int_equal(ruleset_new(&next, &x.config, &x.d), 0);
        ruleset_counts_carry(next, x.set);
        assert_true(ruleset_counts(next, 0).seen == 4 && ruleset_counts(next, 0).matched == 1);
        next = ruleset_free(next);
        run_end(&x);
}

// One string of a body against what it renders to.
static const struct {
        const char *text, *result;
} holes[] = {
        {"plain", "\"plain\""},
        {"", "\"\""},
        {"${data.size}", "20480"},
        {"${data.total}", "\"10.50\""},
        {"${data.new.big}", "123456789012345678901234567890.10"},
        {"${data.ready}", "true"},
        {"${data.owner}", "null"},
        {"${data.new.x}", "null"},
        {"${data.tags}", "[\"a\",\"b\\u00e4\",3]"},
        {"${data.new.items[0]}", "{\"sku\":\"x\"}"},
        {"${time}", "\"2026-11-23T09:33:00.000000Z\""},
        {"${5m}", "300"},
        {"${data.size} bytes", "\"20480 bytes\""},
        {"a ${data.size}${data.ready} b", "\"a 20480true b\""},
        {"[${data.owner}${data.new.x}]", "\"[]\""},
        {"${data.new.note}", "\"say \\\"hi\\\"\\n\""},
        {"x ${data.new.note} y", "\"x say \\\"hi\\\"\\n y\""},
        {"${data.old} y", "\"{\\\"total\\\":9} y\""},
        {"${split('a,b', ',')}", "[\"a\",\"b\"]"},
        {"${split('a,b', ',')}!", "\"[\\\"a\\\",\\\"b\\\"]!\""},
        {"$${data.size}", "\"${data.size}\""},
        {"$$${data.size}", "\"$${data.size}\""},
        {"5 $ and $x", "\"5 $ and $x\""},
        {"${'}'}", "\"}\""},
        {"${data.name =~ /a{2}/}", "false"},
        {"invoice ${$1} ${$kind}", "\"invoice 0042 pdf\""},
        {"${data.path =~ /^(.)/} ${$1}", "\"true 0042\""},
        {"quote \" and \\ and\ttab", "\"quote \\\" and \\\\ and\\ttab\""},
};

static void test_holes(void **state)
{
        for (size_t i = 0; i < N_ELEMENTS(holes); i++) {
                ConfigRule rules[] = {{.to = to_ops,
                        .has_body = true,
                        .when = TEXT("data.name =~ /^INV-(\\d+)\\.(?<kind>.*)/i"),
                        .body = STRING(NULL, (char *)holes[i].text)}};
                Run x;
                run_begin(&x, rules, 1);
                run_event(&x, 0, "file.created", FIXTURE_DATA, 1000);
                assert_int_equal(x.routes.n, 1);
                assert_null(x.routes.list[0].failed);
                Slice body = x.routes.list[0].body;
                if (!slice_eq_str(body, holes[i].result))
                        fail_msg("%s gives %.*s", holes[i].text, SLICE_ARG(body));
                assert_int_equal(json_check(body, LIMIT_JSON_DEPTH, NULL), 0);
                run_end(&x);
        }
}

static void test_body(void **state)
{
        ConfigTemplate list[] = {{.kind = TEMPLATE_INT, .integer = -5}, {.kind = TEMPLATE_NULL},
                {.kind = TEMPLATE_FLOAT, .number = 0.1}, {.kind = TEMPLATE_FLOAT, .number = 2},
                {.kind = TEMPLATE_FLOAT, .number = 1e300}};
        ConfigTemplate body[] = {
                STRING("text", "invoice ${data.name}"),
                STRING("bytes", "${data.size}"),
                {.kind = TEMPLATE_BOOL, .key = "ok", .boolean = true},
                {.kind = TEMPLATE_LIST, .key = "li\"st", .children = list, .n_children = 5},
                {.kind = TEMPLATE_OBJECT, .key = "empty"},
        };
        ConfigRule rules[] = {{.to = to_ops,
                .has_body = true,
                .body = {.kind = TEMPLATE_OBJECT,
                        .children = body,
                        .n_children = N_ELEMENTS(body)}}};
        Run x;
        run_begin(&x, rules, 1);
        const char *rendered = "{\"text\":\"invoice INV-0042.pdf\",\"bytes\":20480,\"ok\":true,"
                               "\"li\\\"st\":[-5,null,0.1,2.0,1e+300],\"empty\":{}}";
        run_event(&x, 0, "file.created", FIXTURE_DATA, strlen(rendered));
        assert_slice(x.routes.list[0].body, rendered);
        assert_true(x.routes.list[0].own_body && !x.routes.list[0].own_headers);
        // One byte too many: dead letter, and the next event is well again.
        run_event(&x, 0, "file.created", FIXTURE_DATA, strlen(rendered) - 1);
        assert_string_equal(x.routes.list[0].failed, "the rendered body is over limits.body");
        assert_int_equal(x.routes.list[0].body.len, 0);
        assert_int_equal(ruleset_counts(x.set, 0).failed, 1);
        run_event(&x, 0, "file.created", FIXTURE_DATA, 1000);
        assert_null(x.routes.list[0].failed);
        run_end(&x);
}

// A rule that fails leaves the others alone.
static void test_failures_stay_alone(void **state)
{
        ConfigRule rules[] = {
                {.name = "bad",
                        .to = to_ops,
                        .when = TEXT("data.message =~ /^(a|a|aa)+$/ or data.ready")},
                {.name = "big",
                        .to = to_ops,
                        .has_body = true,
                        .body = STRING(NULL, "${upper(data.message)}")},
                {.name = "good", .to = to_slack, .when = TEXT("data.message contains 'aaa'")},
        };
        Run x;
        run_begin(&x, rules, 3);
        run_event(&x, 0, "file.created",
                "{\"ready\":true,\"message\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"}", 1000);
        assert_int_equal(x.routes.n, 2);
        assert_int_equal(x.routes.list[0].rule, 1);
        assert_int_equal(ruleset_counts(x.set, 0).failed, 1);
        _cleanup_(buf_deinitp) Buf data = BUF_INIT(1 << 20);
        buf_add_str(&data, "{\"message\":\"");
        for (int i = 0; i < 70000; i++)
                buf_add_char(&data, 'a');
        buf_add_str(&data, "\"}");
        run_event(&x, 0, "file.created", buf_text(&data), 1 << 20);
        assert_string_equal(x.routes.list[0].failed, "a computed value is over 64 KiB");
        assert_int_equal(x.routes.list[1].rule, 2);
        assert_null(x.routes.list[1].failed);
        run_end(&x);
}

static void test_headers(void **state)
{
        char *names[] = {"Content-Type", "X-Name", "X-Note"};
        ConfigText values[] = {TEXT("application/json"), TEXT("n=${data.name}; s=${data.size}"),
                TEXT("${data.message}")};
        ConfigRule rules[] = {
                {.to = to_all, .header_names = names, .header_values = values, .n_headers = 3}};
        Run x;
        run_begin(&x, rules, 1);
        run_event(&x, 0, "file.created", "{\"name\":\"a.pdf\",\"size\":5,\"message\":\"\xc3\xa4\"}",
                1000);
        assert_int_equal(x.routes.n, 2);
        for (unsigned i = 0; i < 2; i++) {
                const RuleRoute *route = &x.routes.list[i];
                assert_true(route->own_headers && !route->own_body && !route->failed);
                WireReader w = wire_reader(route->headers);
                assert_slice(wire_bytes(&w), "Content-Type");
                assert_slice(wire_bytes(&w), "application/json");
                assert_slice(wire_bytes(&w), "X-Name");
                assert_slice(wire_bytes(&w), "n=a.pdf; s=5");
                assert_slice(wire_bytes(&w), "X-Note");
                assert_slice(wire_bytes(&w), "\xc3\xa4");
                assert_true(wire_end(&w));
        }
        static const char *const evil[] = {
                "a\\r\\nX: y", "a\\u0000b", "\\u007f", "\\u0085", "\\u001b[0m"};
        for (size_t i = 0; i < N_ELEMENTS(evil); i++) {
                char data[100];
                (void)snprintf(data, sizeof(data), "{\"message\":\"%s\"}", evil[i]);
                run_event(&x, 0, "file.created", data, 1000);
                assert_non_null(strstr(x.routes.list[0].failed, "control character"));
                assert_int_equal(x.routes.list[0].headers.len, 0);
        }
        _cleanup_(buf_deinitp) Buf data = BUF_INIT(1 << 20);
        buf_add_str(&data, "{\"message\":\"");
        for (unsigned i = 0; i < LIMIT_HEADER_VALUE; i++)
                buf_add_char(&data, 'a');
        size_t len = data.len;
        buf_add_str(&data, "\"}");
        run_event(&x, 0, "file.created", buf_text(&data), 1000);
        assert_null(x.routes.list[0].failed);
        data.len = len;
        buf_add_str(&data, "a\"}");
        run_event(&x, 0, "file.created", buf_text(&data), 1000);
        assert_non_null(strstr(x.routes.list[0].failed, "longer than 4096 bytes"));
        run_end(&x);
}

static unsigned count_errors(ConfigRule *rules, size_t n)
{
        Config c;
        Diagnostics d = {0};
        RuleSet *s = NULL;
        config_make(&c, rules, n);
        assert_int_equal(ruleset_new(&s, &c, &d), -EINVAL);
        unsigned errors = d.n_errors;
        diagnostics_deinit(&d);
        return errors;
}

static void refused(ConfigRule *rules, size_t n, const char *expected)
{
        Config c;
        Diagnostics d = {0};
        RuleSet *s = NULL;
        _cleanup_(buf_deinitp) Buf out = BUF_INIT(1 << 16);
        config_make(&c, rules, n);
        assert_int_equal(ruleset_new(&s, &c, &d), -EINVAL);
        assert_null(s);
        diagnostics_print(&d, &out);
        if (!strstr(buf_text(&out), expected))
                fail_msg("%s\nis not in\n%s", expected, buf_text(&out));
        diagnostics_deinit(&d);
}

static void test_refusals(void **state)
{
        ConfigRule when[] = {{.to = to_ops, .when = TEXT("data.ready and data.szie > 5")}};
        refused(when, 1,
                "belfry.conf:20:31: rules[0].when: the events here have no field data.szie (did "
                "you "
                "mean data.size?)\n"
                "  data.ready and data.szie > 5\n"
                "                      ^~~~");
        static const struct {
                const char *text, *message;
        } bodies[] = {
                {"ab ${data.size",
                        "belfry.conf:20:25: rules[0].body: this hole has no closing '}'"},
                {"${data.size", "belfry.conf:20:22: rules[0].body: this hole has no closing '}'"},
                {"${data.size} ${data.szie}",
                        "belfry.conf:20:31: rules[0].body: the events here have no"},
                {"ab ${}", "belfry.conf:20:16: rules[0].body: a value is expected here, not }"},
                {"${data.size data.size}", "belfry.conf:20:23: rules[0].body: '}' or an operator"},
                {"${$1}", "belfry.conf:20:13: rules[0].body: there is no =~ before $1"},
        };
        for (size_t i = 0; i < N_ELEMENTS(bodies); i++) {
                ConfigRule rules[] = {{.to = to_ops,
                        .has_body = true,
                        .body = STRING(NULL, (char *)bodies[i].text)}};
                refused(rules, 1, bodies[i].message);
        }
        static const struct {
                const char *name, *value, *message;
        } headers[] = {
                {"Host", "x", "rules[0].headers.Host: this header belongs to the HTTP connection"},
                {"webhook-ID", "x",
                        "headers that begin with proxy-, webhook- or ce- cannot be set"},
                {"CE-type", "x", "headers that begin with proxy-"},
                {"Proxy-Authorization", "x", "headers that begin with proxy-"},
                {"transfer-encoding", "x", "belongs to the HTTP connection"},
                {"X Y", "x", "a header's name consists of"},
                {"", "x", "a header needs a name"},
                {"X-A", "a\r\nb", "a line break or another control character"},
                {"x-one", "x", "this header is there twice"},
                {"X-A", "${nope}",
                        "belfry.conf:20:13: rules[0].headers.X-A: there is no field nope"},
        };
        for (size_t i = 0; i < N_ELEMENTS(headers); i++) {
                char *names[] = {"X-One", (char *)headers[i].name};
                ConfigText values[] = {TEXT("x"), TEXT((char *)headers[i].value)};
                ConfigRule rules[] = {{.to = to_ops,
                        .header_names = names,
                        .header_values = values,
                        .n_headers = 2}};
                refused(rules, 1, headers[i].message);
        }
        // A wrong filter does not make its captures wrong too; another fault in the body is told.
        ConfigRule wrong[] = {{.to = to_ops,
                .when = TEXT("data.nmae =~ /(a)/"),
                .has_body = true,
                .body = STRING(NULL, "${$1}")}};
        assert_int_equal(count_errors(wrong, 1), 1);
        wrong[0].body.text.text = "${$1} ${data.szie}";
        assert_int_equal(count_errors(wrong, 1), 2);
        // Both rules are wrong, both are told.
        ConfigRule both[] = {{.name = "a", .to = to_ops, .when = TEXT("tyep == 'x'")},
                {.name = "b", .to = to_ops, .when = TEXT("lenn(data.name) > 5")}};
        refused(both, 2, "rules[1].when: there is no function lenn() (did you mean len?)");
}

// Names with the same hash cannot tell their deliveries apart: found by search, then refused.
static void random_name(uint32_t index, char out[static 16])
{
        uint64_t x = (index + 1) * UINT64_C(0x9e3779b97f4a7c15);
        for (int i = 0; i < 12; i++, x = (x ^ (x >> 29)) * UINT64_C(0xbf58476d1ce4e5b9))
                out[i] = (char)('a' + (x >> 40) % 26);
        out[12] = '\0';
}

static void test_hash_collision(void **state)
{
        enum { NAMES = 400000, SLOTS = 1 << 20 };
        uint32_t *slots = calloc(SLOTS, sizeof(*slots)); // index + 1, by the hash's low bits
        assert_non_null(slots);
        char a[16] = "", b[16] = "";
        bool found = false;
        for (uint32_t i = 0; i < NAMES && !found; i++) {
                random_name(i, b);
                uint32_t at = rule_hash(b) % SLOTS;
                for (; slots[at] && !found; at = (at + 1) % SLOTS) {
                        random_name(slots[at] - 1, a);
                        found = rule_hash(a) == rule_hash(b) && strcmp(a, b) != 0;
                }
                slots[at] = i + 1;
        }
        free(slots);
        assert_true(found); // 400,000 names have about 18 such pairs
        ConfigRule rules[] = {{.name = a, .to = to_ops}, {.name = b, .to = to_ops}};
        refused(rules, 2, "have the same hash");
}

static void test_too_many_routes(void **state)
{
        ConfigRule rules[LIMIT_ROUTES / 2 + 1];
        char names[LIMIT_ROUTES / 2 + 1][16];
        memset(rules, 0, sizeof(rules));
        for (unsigned i = 0; i < N_ELEMENTS(rules); i++) {
                (void)snprintf(names[i], sizeof(names[i]), "r%u", i);
                rules[i] = (ConfigRule){.name = names[i],
                        .to = to_all,
                        .has_body = true,
                        .body = {.kind = TEMPLATE_NULL}};
        }
        refused(rules, N_ELEMENTS(rules), "may need over 256 deliveries");
        Run x;
        run_begin(&x, rules, N_ELEMENTS(rules) - 1);
        run_event(&x, 0, "file.created", "{}", 1000);
        assert_int_equal(x.routes.n, LIMIT_ROUTES);
        run_end(&x);
}

static void test_escapes(void **state)
{
        static const struct {
                Escape how;
                const char *in, *out;
        } cases[] = {
                {ESCAPE_NONE, "a\"b", "a\"b"},
                {ESCAPE_JSON, "a\"\\\n\x01", "a\\\"\\\\\\n\\u0001"},
                {ESCAPE_URL, "a b+~/?\xc3\xa4", "a%20b%2B~%2F%3F%C3%A4"},
                {ESCAPE_FORM, "a b+~*", "a+b%2B%7E*"},
                {ESCAPE_XML, "<a b='\"&'>\n\x01\xef\xbf\xbf",
                        "&lt;a b=&#39;&quot;&amp;&#39;&gt;&#10;\xef\xbf\xbd\xef\xbf\xbd"},
        };
        bool seen[_ESCAPE_MAX] = {0};
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(buf_deinitp) Buf out = BUF_INIT(1000);
                escape_add(&out, cases[i].how, slice_of(cases[i].in));
                assert_string_equal(buf_text(&out), cases[i].out);
                seen[cases[i].how] = true;
        }
        for (int i = 0; i < _ESCAPE_MAX; i++)
                assert_true(seen[i]);
}

static int torture_work(void *arg)
{
        char *names[] = {"X-Name"};
        ConfigText values[] = {TEXT("${upper(data.name)}")};
        ConfigTemplate body[] = {STRING("a", "x ${$1} ${join(data.tags, ',')}")};
        ConfigRule rules[] = {
                {.name = "a",
                        .to = to_ops,
                        .when = TEXT("type in ['file.created', 'file.moved'] and data.size > 1")},
                {.name = "b",
                        .to = to_all,
                        .has_body = true,
                        .header_names = names,
                        .header_values = values,
                        .n_headers = 1,
                        .when = TEXT("data.name =~ /(\\d+)/"),
                        .body = {.kind = TEMPLATE_OBJECT, .children = body, .n_children = 1}},
                {.name = "c", .to = to_slack},
        };
        Config c;
        config_make(&c, rules, N_ELEMENTS(rules));
        Diagnostics d = {0};
        RuleSet *s = NULL;
        Record record;
        RuleRoutes routes;
        _cleanup_(buf_deinitp) Buf buf = BUF_INIT(1 << 20);
        int r = fixture_record_of(&buf, &record, "file.created", FIXTURE_DATA);
        if (r == 0)
                r = ruleset_new(&s, &c, &d);
        for (int i = 0; i < 2 && r == 0; i++)
                r = ruleset_route(s, 0, &record, 1000, &routes);
        if (r == 0 && routes.n != 4)
                r = -EIO;
        s = ruleset_free(s);
        diagnostics_deinit(&d);
        return r;
}

static void test_torture(void **state)
{
        assert_true(torture(torture_work, NULL) > 10);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_merging),
                cmocka_unit_test(test_own_types),
                cmocka_unit_test(test_holes),
                cmocka_unit_test(test_body),
                cmocka_unit_test(test_failures_stay_alone),
                cmocka_unit_test(test_headers),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_hash_collision),
                cmocka_unit_test(test_too_many_routes),
                cmocka_unit_test(test_escapes),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
