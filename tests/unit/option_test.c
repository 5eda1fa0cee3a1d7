// SPDX-License-Identifier: MIT
// Option rows: values of every type into a struct and what is refused, defaults, differences,
// references and the secrets behind them, names, descriptions there and back, documents.
#include "test.h"

#include "base/clock.h"
#include "config/document.h"
#include "config/option_table.h"
#include "torture.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

typedef struct Inner {
        bool on;
        int64_t depth;
} Inner;

typedef struct Item {
        char *name;
        char **parts;
        int64_t level;
} Item;

typedef struct All {
        bool flag;
        int64_t number;
        uint64_t wait, bytes;
        char *text, *path, *url, *secret;
        int word;
        char **texts, **paths, **secrets;
        UsecList waits;
        StringMap map;
        Inner inner;
        GroupList groups;
} All;

static const char *const words[] = {"red", "green", NULL};
#define AT(type, member) .offset = OPTION_MEMBER(All, type, member)
#define AT_INNER(type, member) .offset = OPTION_MEMBER(Inner, type, member)
static const Option inner_rows[] = {
        {.name = "on", .type = OPTION_BOOL, AT_INNER(bool, on), .def = "true"},
        {.name = "depth", .type = OPTION_INT, AT_INNER(int64_t, depth), .def = "7", .min = "0"},
};
#define AT_ITEM(type, member) .offset = OPTION_MEMBER(Item, type, member)
static const Option item_rows[] = {
        {.name = "name", .type = OPTION_STRING, AT_ITEM(char *, name), .flags = OPTION_REQUIRED},
        {.name = "parts", .type = OPTION_STRING_LIST, AT_ITEM(char **, parts)},
        {.name = "level", .type = OPTION_INT, AT_ITEM(int64_t, level), .def = "2", .max = "5"},
};
static const Option rows[] = {
        {.name = "flag", .type = OPTION_BOOL, AT(bool, flag), .flags = OPTION_RELOADABLE},
        {.name = "number",
                .type = OPTION_INT,
                AT(int64_t, number),
                .min = "-3",
                .max = "9",
                .def = "4"},
        {.name = "wait",
                .type = OPTION_DURATION,
                AT(uint64_t, wait),
                .unit = "s",
                .min = "1s",
                .max = "1h",
                .def = "15s"},
        {.name = "bytes", .type = OPTION_SIZE, AT(uint64_t, bytes), .unit = "bytes", .def = "2K"},
        {.name = "text", .type = OPTION_STRING, AT(char *, text), .flags = OPTION_REQUIRED},
        {.name = "path", .type = OPTION_PATH, AT(char *, path)},
        {.name = "url", .type = OPTION_URL, AT(char *, url), .flags = OPTION_REFERENCE},
        {.name = "secret", .type = OPTION_SECRET, AT(char *, secret)},
        {.name = "word", .type = OPTION_ENUM, AT(int, word), .values = words, .def = "green"},
        {.name = "texts", .type = OPTION_STRING_LIST, AT(char **, texts), .def = "a, b"},
        {.name = "paths", .type = OPTION_PATH_LIST, AT(char **, paths)},
        {.name = "secrets", .type = OPTION_SECRET_LIST, AT(char **, secrets)},
        {.name = "waits",
                .type = OPTION_DURATION_LIST,
                AT(UsecList, waits),
                .unit = "s",
                .def = "0s, 5m"},
        {.name = "map",
                .type = OPTION_STRING_MAP,
                AT(StringMap, map),
                .flags = OPTION_HEADERS | OPTION_REFERENCE},
        {.name = "inner",
                .type = OPTION_GROUP,
                .offset = offsetof(All, inner),
                .rows = inner_rows,
                .n_rows = N_ELEMENTS(inner_rows),
                .flags = OPTION_RELOADABLE},
        {.name = "groups",
                .type = OPTION_GROUP_LIST,
                AT(GroupList, groups),
                .rows = item_rows,
                .n_rows = N_ELEMENTS(item_rows),
                .item_size = sizeof(Item)},
};
enum { N_ROWS = N_ELEMENTS(rows) };

static int fill(All *all, const char *json, Reason *reason)
{
        json_error_t error;
        json_t *j = json_loads(json, 0, &error);
        if (!j)
                return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EBADMSG;
        int r = option_fill(rows, N_ROWS, all, j, reason);
        json_decref(j);
        return r;
}

static void test_fill(void **state)
{
        All all = {0};
        Reason why = {0};
        const char *full =
                "{\"flag\":true,\"number\":-3,\"wait\":1000000,\"bytes\":5,\"text\":\"t\","
                "\"path\":\"/p\",\"url\":\"credential:u\",\"secret\":\"file:/s\","
                "\"word\":\"red\",\"texts\":[],\"paths\":[\"/a\",\"/b\"],"
                "\"secrets\":[\"credential:x\"],\"waits\":[1,2,3],"
                "\"map\":{\"X-A\":\"1\",\"X-B\":\"credential:b\"},"
                "\"inner\":{\"on\":false,\"depth\":0},"
                "\"groups\":[{\"name\":\"a\"},{\"name\":\"b\",\"parts\":[\"x\"],\"level\":5}]}";
        assert_int_equal(fill(&all, full, &why), 0);
        assert_true(all.flag && all.number == -3 && all.wait == USEC_PER_SEC && all.bytes == 5);
        assert_string_equal(all.text, "t");
        assert_string_equal(all.path, "/p");
        assert_string_equal(all.url, "credential:u");
        assert_string_equal(all.secret, "file:/s");
        assert_int_equal(all.word, 0);
        assert_true(all.texts && !all.texts[0]);
        assert_string_equal(all.paths[1], "/b");
        assert_null(all.paths[2]);
        assert_string_equal(all.secrets[0], "credential:x");
        assert_true(all.waits.n == 3 && all.waits.usec[2] == 3);
        assert_int_equal(all.map.n, 2);
        assert_string_equal(all.map.names[1], "X-B");
        assert_string_equal(all.map.values[1], "credential:b");
        assert_true(!all.inner.on && all.inner.depth == 0);
        assert_int_equal(all.groups.n, 2);
        const Item *items = all.groups.items;
        assert_true(!items[0].parts && items[0].level == 2 && items[1].level == 5);
        assert_string_equal(items[1].parts[0], "x");
        option_clear(rows, N_ROWS, &all);
        All zero = {0};
        assert_memory_equal(&all, &zero, sizeof(all));
}

static void test_defaults(void **state)
{
        All all = {0};
        Reason why = {0};
        assert_int_equal(fill(&all, "{\"text\":\"t\"}", &why), 0);
        assert_true(!all.flag && all.number == 4 && all.wait == 15 * USEC_PER_SEC);
        assert_true(all.bytes == 2048 && all.word == 1 && all.inner.on && all.inner.depth == 7);
        assert_string_equal(all.texts[1], "b");
        assert_null(all.texts[2]);
        assert_true(!all.paths && !all.secrets && !all.path && !all.url);
        assert_true(all.waits.n == 2 && all.waits.usec[0] == 0);
        assert_true(all.waits.usec[1] == 300 * USEC_PER_SEC);
        option_clear(rows, N_ROWS, &all);
}

static void test_refused(void **state)
{
        static const char *const cases[][2] = {
                {"{}", "option text is missing"},
                {"[]", "the options are not a JSON object"},
                {"{\"text\":\"t\",\"odd\":1}", "unknown option odd"},
                {"{\"text\":1}", "option text: expected a string in double quotes"},
                {"{\"text\":\"a\\u0000b\"}", NULL},
                {"{\"text\":\"t\",\"flag\":1}", "option flag: expected true or false"},
                {"{\"text\":\"t\",\"number\":10}", "option number: the maximum is 9"},
                {"{\"text\":\"t\",\"number\":-4}", "option number: the minimum is -3"},
                {"{\"text\":\"t\",\"number\":1.5}", "option number: expected an integer such as 8"},
                {"{\"text\":\"t\",\"wait\":10}", "option wait: the minimum is 1s"},
                {"{\"text\":\"t\",\"bytes\":-1}", "option bytes: expected a size such as \"10M\""},
                {"{\"text\":\"t\",\"word\":\"blue\"}",
                        "option word: expected a word in double quotes"},
                {"{\"text\":\"t\",\"path\":\"p\"}", NULL},
                {"{\"text\":\"t\",\"path\":\"/a/../b\"}",
                        "option path: a path may not contain \"..\""},
                {"{\"text\":\"t\",\"paths\":\"/a\"}", NULL},
                {"{\"text\":\"t\",\"paths\":[\"/a\",\"b\"]}", NULL},
                {"{\"text\":\"t\",\"secret\":\"hunter2\"}", NULL},
                {"{\"text\":\"t\",\"map\":{\"Host\":\"x\"}}",
                        "this header is set by Belfry itself"},
                {"{\"text\":\"t\",\"map\":{\"X-A\":\"a\\nb\"}}", NULL},
                {"{\"text\":\"t\",\"waits\":[-1]}", NULL},
                {"{\"text\":\"t\",\"inner\":{\"depth\":-1}}",
                        "inner: option depth: the minimum is 0"},
                {"{\"text\":\"t\",\"groups\":[{\"name\":\"a\"},{}]}",
                        "groups: option name is missing"},
                {"{\"text\":\"t\",\"groups\":[{\"name\":\"a\",\"level\":6}]}",
                        "groups: option level: the maximum is 5"},
                {"{\"text\":\"t\",\"groups\":[\"a\"]}", NULL},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                All all = {0}, zero = {0};
                Reason why = {0};
                json_t *j = json_loads(cases[i][0], JSON_ALLOW_NUL, NULL);
                assert_non_null(j);
                assert_int_equal(option_fill(rows, N_ROWS, &all, j, &why), -EINVAL);
                json_decref(j);
                assert_memory_equal(&all, &zero, sizeof(all));
                assert_true(why.text[0]);
                if (cases[i][1])
                        assert_string_equal(why.text, cases[i][1]);
                assert_null(strstr(why.text, "hunter2")); // no reason repeats what may be secret
        }
}

static void test_urls(void **state)
{
        static const Option row = {.name = "url", .type = OPTION_URL};
        static const char *const good[] = {"http://a", "https://a.b:8443/x?y#z", "HTTPS://[::1]:1/",
                "http://127.0.0.1/a@b", "https://a?u=x@y"};
        static const char *const bad[] = {"", "a.b", "ftp://a", "http://", "http:///x",
                "http://:80", "http://u@a", "http://u:p@a/", "http://a b", "http://a\n",
                "http://a:0", "http://a:x", "http://a:65536", "http://a:", "http://[]",
                "http://[::1", "http://[::1]x", "credential:u"};
        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                assert_int_equal(option_check_text(&row, good[i], NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                Reason why = {0};
                assert_int_equal(option_check_text(&row, bad[i], &why), -EINVAL);
                assert_true(why.text[0]);
        }
}

static void test_references(void **state)
{
        static const char *const good[] = {
                "credential:a", "credential:A.b_c-9", "file:/a", "file:/a b"};
        static const char *const bad[] = {"", "credential:", "credential:a/b", "credential:..",
                "credential:.a", "credential:a b", "file:", "file:a", "file:/", "file:/a\nb",
                "hunter2", "Credential:a", "env:A"};
        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                assert_true(option_is_reference(slice_of(good[i])));
        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_false(option_is_reference(slice_of(bad[i])));
        assert_false(option_is_reference(SLICE_NULL));
        assert_false(option_is_reference(SLICE_LIT("credential:a\0b")));
}

// ---- secrets
static char dir[] = "/tmp/belfry-option-XXXXXX";

static int make_dir(void **state)
{
        return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
        static const char *const names[] = {"key", "open", "empty", "nul", "long"};
        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                char path[128];
                (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
                (void)unlink(path);
        }
        return rmdir(dir);
}

static const char *put(const char *name, const char *data, size_t n, mode_t mode)
{
        static char path[128];
        (void)snprintf(path, sizeof(path), "file:%s/%s", dir, name);
        int fd = open(path + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0 && write(fd, data, n) == (ssize_t)n && fchmod(fd, mode) == 0);
        (void)close(fd);
        return path;
}

static void check_secret(
        const char *reference, const char *credentials, int error, const char *expected)
{
        char *secret = NULL;
        size_t len = 0;
        Reason why = {0};
        assert_int_equal(option_secret_read(reference, credentials, &secret, &len, &why), error);
        if (error == 0) {
                assert_string_equal(secret, expected);
                assert_int_equal(len, strlen(expected));
        } else {
                assert_null(secret);
                assert_non_null(strstr(why.text, expected));
        }
        option_secret_wipe(secret, len);
        // A look says the same, but for what only its bytes tell.
        if (error == -EINVAL)
                return;
        why.text[0] = 0;
        assert_int_equal(option_secret_look(reference, credentials, true, &why), error);
        assert_true(error == 0 || strstr(why.text, expected));
}

static void test_secrets(void **state)
{
        check_secret(put("key", "s3cret\n", 7, 0600), NULL, 0, "s3cret");
        check_secret("credential:key", dir, 0, "s3cret");
        check_secret(put("key", "s3cret\r\n", 8, 0400), NULL, 0, "s3cret");
        check_secret(put("key", "two\nlines\n\n", 11, 0600), NULL, 0, "two\nlines\n");
        check_secret("credential:key", NULL, -ENOENT, "LoadCredential=key:PATH");
        check_secret("credential:absent", dir, -ENOENT, "LoadCredential=absent:PATH");
        check_secret("file:/nonexistent/x", NULL, -ENOENT, "file:/nonexistent/x: No such file");
        check_secret(put("open", "s3cret", 6, 0644), NULL, -EPERM, "chmod 0600");
        check_secret("credential:open", dir, 0, "s3cret"); // systemd's access list shows as 0440
        check_secret(put("empty", "\n", 1, 0600), NULL, -EINVAL, "is empty");
        check_secret(put("nul", "a\0b", 3, 0600), NULL, -EINVAL, "NUL");
        check_secret("s3cret", NULL, -EINVAL, "a literal secret is refused");
        char *big = calloc(1, 65537);
        assert_non_null(big);
        memset(big, 'x', 65536);
        check_secret(put("long", big, 65536, 0600), NULL, 0, big);
        memset(big, 'x', 65537);
        check_secret(put("long", big, 65537, 0600), NULL, -EFBIG, "is over 65536 bytes");
        free(big);
        option_secret_wipe(NULL, 0);
        Reason why = {0};
        assert_int_equal(option_secret_look(put("empty", "", 0, 0600), NULL, false, &why), -EINVAL);
        assert_non_null(strstr(why.text, "is empty"));
}

static void test_differs(void **state)
{
        json_t *a = json_pack("{sbsis{sb}}", "flag", 1, "number", 1, "inner", "on", 1);
        json_t *b = json_pack("{sbsis{sb}}", "flag", 1, "number", 2, "inner", "on", 1);
        json_t *c = json_pack("{sbsis{sb}}", "flag", 1, "number", 1, "inner", "on", 0);
        assert_false(option_differs(rows, N_ROWS, a, a, OPTION_RELOADABLE, true));
        assert_true(option_differs(rows, N_ROWS, a, b, OPTION_RELOADABLE, true));
        assert_false(option_differs(rows, N_ROWS, a, b, OPTION_RELOADABLE, false));
        assert_false(option_differs(rows, N_ROWS, a, c, OPTION_RELOADABLE, true));
        assert_true(
                option_differs(rows, N_ROWS, a, c, OPTION_RELOADABLE, false)); // the group's flag
        assert_true(option_differs(rows, N_ROWS, a, NULL, OPTION_RELOADABLE, false));
        assert_false(option_differs(rows, N_ROWS, NULL, NULL, OPTION_RELOADABLE, false));
        json_decref(a);
        json_decref(b);
        json_decref(c);
}

static void test_names(void **state)
{
        for (int t = 0; t < _OPTION_TYPE_MAX; t++) {
                Option row = {.type = (OptionType)t};
                assert_non_null(option_type_to_string((OptionType)t));
                assert_int_equal(option_type_from_string(option_type_to_string((OptionType)t)), t);
                assert_non_null(option_type_expected(&row));
        }
        assert_null(option_type_to_string(_OPTION_TYPE_MAX));
        assert_null(option_type_to_string(_OPTION_TYPE_INVALID));
        assert_int_equal(option_type_from_string("nothing"), _OPTION_TYPE_INVALID);
        assert_int_equal(option_type_from_string(NULL), _OPTION_TYPE_INVALID);
        for (unsigned bit = 0; bit < OPTION_FLAG_BITS; bit++)
                assert_non_null(option_flag_name(bit));
        assert_null(option_flag_name(OPTION_FLAG_BITS));
}

static void test_tables(void **state)
{
        static const Option wrong[] = {
                {.name = "Upper", .type = OPTION_INT},
                {.name = "a", .type = _OPTION_TYPE_MAX},
                {.name = "a", .type = OPTION_INT, .min = "x"},
                {.name = "a", .type = OPTION_DURATION, .max = "1y"},
                {.name = "a", .type = OPTION_BOOL, .def = "yes"},
                {.name = "a", .type = OPTION_SIZE, .def = "1T"},
                {.name = "a", .type = OPTION_ENUM},
                {.name = "a", .type = OPTION_ENUM, .values = words, .def = "blue"},
                {.name = "a", .type = OPTION_STRING_MAP, .def = "x"},
                {.name = "a", .type = OPTION_GROUP_LIST},
        };
        Reason why = {0};
        assert_int_equal(option_check_rows(rows, N_ROWS, 0, &why), 0);
        for (size_t i = 0; i < N_ELEMENTS(wrong); i++)
                assert_int_equal(option_check_rows(&wrong[i], 1, 0, &why), -EINVAL);
        const Option twice[] = {rows[0], rows[0]};
        assert_int_equal(option_check_rows(twice, 2, 0, &why), -EINVAL);
}

// ---- descriptions
static const EventField fields[] = {{"size", FIELD_NUMBER, "Bytes."}};
static const EventType types[] = {{"a.b", "It was.", fields, 1, "{\"size\":1}"}};
static const SourceCommand commands[] = {
        {"doctor", NULL, "Says how it is.", true}, {"backfill", "[TABLE]", "Begins.", false}};
static const ModuleDescription description = {
        "name", MODULE_SOURCE, "1", "2", "Sums up.", rows, N_ROWS, types, 1, true, commands, 2};

static int describe_and_parse(void *arg)
{
        ModuleDescription *d = NULL;
        Reason why = {0};
        json_t *j = module_describe(&description), *again = NULL;
        int r = j ? module_description_parse(j, &d, &why) : -ENOMEM;
        if (r == 0) {
                again = module_describe(d);
                r = !again ? -ENOMEM : json_equal(j, again) ? 0 : -EBADMSG;
        }
        (void)module_description_free(d);
        json_decref(j);
        json_decref(again);
        return r;
}

static void test_describe(void **state)
{
        assert_int_equal(describe_and_parse(NULL), 0);
        assert_true(torture(describe_and_parse, NULL) > 20);
}

static int fill_defaults(void *arg)
{
        All all = {0};
        int r = fill(&all,
                "{\"text\":\"t\",\"paths\":[\"/a\",\"/"
                "b\"],\"map\":{\"X\":\"y\"},\"secret\":\"file:/x\","
                "\"groups\":[{\"name\":\"a\"}]}",
                NULL);
        if (r == 0)
                option_clear(rows, N_ROWS, &all);
        return r;
}

static void test_fill_memory(void **state)
{
        assert_true(torture(fill_defaults, NULL) > 10);
}

static void test_foreign_descriptions(void **state)
{
        static const char *const cases[] = {
                "[]",
                "{}",
                "{\"describe\":2,\"kind\":\"sink\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\"}",
                "{\"describe\":1,\"kind\":\"odd\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\"}",
                "{\"describe\":1,\"kind\":\"sink\",\"name\":\"A/"
                "\",\"version\":\"1\",\"build\":\"1\"}",
                "{\"describe\":1,\"kind\":\"sink\",\"name\":1,\"version\":\"1\",\"build\":\"1\"}",
                "{\"describe\":1,\"kind\":\"sink\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\","
                "\"options\":1}",
                "{\"describe\":1,\"kind\":\"sink\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\","
                "\"options\":[{\"name\":\"x\",\"type\":\"odd\"}]}",
                "{\"describe\":1,\"kind\":\"sink\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\","
                "\"options\":[{\"name\":\"x\",\"type\":\"group\"}]}",
                "{\"describe\":1,\"kind\":\"sink\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\","
                "\"options\":[{\"name\":\"x\",\"type\":\"integer\",\"max\":\"y\"}]}",
                "{\"describe\":1,\"kind\":\"sink\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\","
                "\"options\":[],\"types\":[{\"name\":\"x\"}]}",
                "{\"describe\":1,\"kind\":\"source\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\",\"options\":[],\"own_types\":1}",
                "{\"describe\":1,\"kind\":\"source\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\",\"options\":[],\"commands\":{}}",
                "{\"describe\":1,\"kind\":\"source\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\",\"options\":[],\"commands\":[{\"verb\":\"forget\",\"prose\":\"x\"}]}",
                "{\"describe\":1,\"kind\":\"source\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\",\"options\":[],\"commands\":[{\"verb\":\"a\",\"prose\":\"x\"},"
                "{\"verb\":\"a\",\"prose\":\"x\"}]}",
                "{\"describe\":1,\"kind\":\"source\",\"name\":\"a\",\"version\":\"1\",\"build\":"
                "\"1\",\"options\":[],\"commands\":[{\"verb\":\"a b\",\"prose\":\"x\"}]}",
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                ModuleDescription *d = NULL;
                Reason why = {0};
                json_t *j = json_loads(cases[i], 0, NULL);
                assert_non_null(j);
                assert_int_equal(module_description_parse(j, &d, &why), -EINVAL);
                assert_null(d);
                assert_true(why.text[0]);
                json_decref(j);
        }
}

// ---- documents
static void test_documents(void **state)
{
        static const Option one[] = {{.name = "wait",
                .type = OPTION_DURATION,
                .unit = "s",
                .min = "1s",
                .max = "1h",
                .def = "15s",
                .prose = "The *wait*. It \\ counts * x-*, y-*."}};
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(1 << 20);
        option_document_man(one, 1, &b);
        assert_string_equal(buf_text(&b),
                ".Bl -tag -width Ds\n.It Cm \"wait\" No = Ar \"duration\"\n"
                "The \\fBwait\\fP.\nIt \\e counts * x-*, y-*.\nDefault: \"15s\".\nFrom 1s to "
                "1h.\n.El\n");
        buf_reset(&b);
        option_document_sample(one, 1, &b);
        assert_string_equal(
                buf_text(&b), "# The wait. It \\ counts * x-*, y-*.\n#wait = \"15s\";\n");
        buf_reset(&b);
        event_document_man(types, 1, &b);
        assert_string_equal(buf_text(&b),
                ".Bl -tag -width Ds\n.It Sy \"a.b\"\nIt was.\n.Bl -tag -width Ds -compact\n"
                ".It Va \"size\" Pq number\nBytes.\n.El\n.El\n");
        buf_reset(&b);
        const ModuleDescription module = {.name = "m", .types = types, .n_types = 1};
        event_document_catalogue(&module, &b);
        assert_string_equal(buf_text(&b),
                ".Ss \"a.b\"\nIt was.\nVersion 1, schema\n.Li urn:belfry:event:a.b:1 .\n"
                ".Bl -tag -width Ds -compact\n.It Va \"size\" Pq number\nBytes.\n.El\n"
                ".Bd -literal -offset indent\n{\n \"specversion\": \"1.0\",\n"
                " \"id\": \"5f0c6bd2a1f94c0e8b7d3a1e6c2f9b04\",\n"
                " \"source\": \"/belfry/web1/m\",\n \"type\": \"a.b\",\n"
                " \"time\": \"2026-11-23T09:33:00.123456Z\",\n"
                " \"dataschema\": \"urn:belfry:event:a.b:1\",\n"
                " \"datacontenttype\": \"application/json\",\n \"data\": {\n  \"size\": 1\n }\n}\n"
                ".Ed\n");
        buf_reset(&b);
        assert_int_equal(option_document_schema(rows, N_ROWS, "all", &b), 0);
        json_t *j = json_loadb((const char *)b.data, b.len, 0, NULL);
        assert_non_null(j);
        json_t *properties = json_object_get(j, "properties");
        assert_int_equal(json_object_size(properties), N_ROWS);
        assert_int_equal(json_array_size(json_object_get(j, "required")), 1);
        json_t *number = json_object_get(properties, "number");
        assert_int_equal(json_integer_value(json_object_get(number, "minimum")), -3);
        assert_int_equal(json_integer_value(json_object_get(number, "default")), 4);
        json_decref(j);
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
                cmocka_unit_test(test_fill),
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_urls),
                cmocka_unit_test(test_references),
                cmocka_unit_test(test_secrets),
                cmocka_unit_test(test_differs),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_tables),
                cmocka_unit_test(test_describe),
                cmocka_unit_test(test_fill_memory),
                cmocka_unit_test(test_foreign_descriptions),
                cmocka_unit_test(test_documents),
        };
        return cmocka_run_group_tests_name("option", tests, make_dir, remove_dir);
}
