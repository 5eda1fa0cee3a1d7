// SPDX-License-Identifier: MIT
// From the options of an endpoint to its target: references, headers, query, address policy, and
// what must not be shown. Files are real ones in a temporary directory.
#include "test.h"

#include "endpoint.h"
#include "torture.h"
#include "trace.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

static char directory[] = "/tmp/http_endpoint_test.XXXXXX";

static void put(const char *name, const char *text, mode_t mode)
{
        char path[256];

        (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
        int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        assert_int_equal(fchmod(fd, mode), 0);
        assert_int_equal(close(fd), 0);
}

static int make_errno(Target **ret, const char *json, Reason *reason)
{
        HttpOptions o = {0};
        json_t *values = json_loads(json, 0, NULL);

        int r = values ? option_fill(http_options, n_http_options, &o, values, reason) : -ENOMEM;
        if (r == 0)
                r = target_new(ret, &o, directory, reason);
        option_clear(http_options, n_http_options, &o);
        json_decref(values);
        return r;
}

static Target *make(const char *json)
{
        Target *t = NULL;
        Reason reason = {""};

        if (make_errno(&t, json, &reason) < 0)
                fail_msg("%s: %s", json, reason.text);
        return t;
}

static void assert_refused(const char *json, int error, const char *words)
{
        Target *t = NULL;
        Reason reason = {""};
        int r = make_errno(&t, json, &reason);

        if (r != error || !strstr(reason.text, words))
                fail_msg("%s: %d, %s", json, r, reason.text);
        assert_null(t);
}

static char *url_of(const Target *t)
{
        char *url = NULL;

        assert_int_equal(curl_url_get(t->url, CURLUPART_URL, &url, 0), CURLUE_OK);
        return url;
}

static void test_url_and_query(void **state)
{
        static const struct {
                const char *json, *url;
        } cases[] = {
                {"{\"url\":\"http://a/b\"}", "http://a/b"},
                {"{\"url\":\"https://a/b?x=1\",\"query\":{\"q\":\"a b&c\"}}",
                        "https://a/b?x=1&q=a%20b%26c"},
                {"{\"url\":\"https://a/\",\"query\":{\"k "
                 "e\":\"\\u20ac\",\"t\":\"credential:token\"}}",
                        "https://a/?k%20e=%e2%82%ac&t=s3cret"},
                {"{\"url\":\"credential:url\"}", "https://u:p@hooks.example.com/T1/B2"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Target *t = make(cases[i].json);
                char *url = url_of(t);
                assert_string_equal(url, cases[i].url);
                curl_free(url);
                target_unref(t);
        }
}

static void test_refused(void **state)
{
        static const struct {
                const char *json;
                int error;
                const char *words;
        } cases[] = {
                {"{\"url\":\"http://a/#frag\"}", -EINVAL, "fragment"},
                {"{\"url\":\"http://u:p@a/\"}", -EINVAL, "reference"},
                {"{\"url\":\"credential:ftp\"}", -EINVAL, "http://"},
                {"{\"url\":\"credential:none\"}", -ENOENT, "none"},
                {"{\"url\":\"http://a\",\"headers\":{\"webhook-id\":\"x\"}}", -EINVAL,
                        "Belfry itself"},
                {"{\"url\":\"http://a\",\"headers\":{\"HOST\":\"x\"}}", -EINVAL, "Belfry itself"},
                {"{\"url\":\"http://a\",\"headers\":{\"Proxy-Authorization\":\"x\"}}", -EINVAL,
                        "Belfry itself"},
                {"{\"url\":\"http://a\",\"headers\":{\"a b\":\"x\"}}", -EINVAL,
                        "header"},
                {"{\"url\":\"http://a\",\"headers\":{\"X\":\"a\\r\\nY: b\"}}", -EINVAL,
                        "control"},
                {"{\"url\":\"http://a\",\"headers\":{\"X\":\"credential:lines\"}}", -EINVAL,
                        "line break"},
                {"{\"url\":\"http://a\",\"headers\":{\"X\":\"1\",\"x\":\"2\"}}", -EINVAL, "twice"},
                {"{\"url\":\"http://a\",\"headers\":{\"X\":\"credential:none\"}}", -ENOENT, "none"},
                {"{\"url\":\"http://a\",\"query\":{\"X\":\"credential:none\"}}", -ENOENT, "query"},
                {"{\"url\":\"http://a\",\"secret\":[\"credential:none\"]}", -ENOENT, "secret"},
                {"{\"url\":\"http://a\",\"secret\":[\"credential:token\"]}", -EINVAL, "whsec_"},
                {"{\"url\":\"http://a\",\"secret\":[\"credential:public\"]}", -EINVAL,
                        "cannot sign"},
                {"{\"url\":\"http://a\",\"ca\":\"/nonexistent/ca.pem\"}", -ENOENT,
                        "/nonexistent/ca.pem"},
                {"{\"url\":\"http://a\",\"allow\":[\"10.0.0.1/8\"]}", -EINVAL, "allow"},
                {"{\"url\":\"http://a\",\"deny\":[\"nowhere\"]}", -EINVAL, "deny"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_refused(cases[i].json, cases[i].error, cases[i].words);
}

static void test_private_files(void **state)
{
        char json[512];

        put("open", "s3cret\n", 0644);
        (void)snprintf(json, sizeof(json),
                "{\"url\":\"http://a\",\"headers\":{\"X\":\"file:%s/open\"}}", directory);
        assert_refused(json, -EPERM, "0600");
        put("open", "s3cret\n", 0600);
        Target *t = make(json);
        bool found = false;
        for (const struct curl_slist *h = t->headers; h; h = h->next)
                found |= strcmp(h->data, "X: s3cret") == 0;
        assert_true(found);
        target_unref(t);
}

static void test_stamp(void **state)
{
        HttpOptions o = {.url = (char[300]){""}};

        (void)snprintf(o.url, 300, "file:%s/stamp", directory);
        put("stamp", "http://a/1", 0600);
        uint64_t first = target_files_stamp(&o);
        assert_true(first == target_files_stamp(&o));
        put("stamp", "http://a/long", 0600);
        assert_true(first != target_files_stamp(&o));
}

static void test_masks(void **state)
{
        Target *t =
                make("{\"url\":\"credential:url\",\"headers\":{\"X-Token\":\"credential:token\"},"
                     "\"query\":{\"k\":\"credential:spaced\"}}");
        _cleanup_(buf_deinitp) Buf out = BUF_INIT(4096);

        trace_mask(t,
                SLICE_LIT("POST /T1/B2?k=a%20b HTTP/1.1\r\nHost: hooks.example.com\r\nX-Token: "
                          "s3cret\r\n"
                          "authorization: Basic dTpw\r\nX-Other: shown\r\n\r\nbody s3cret"),
                &out);
        assert_slice(buf_slice(&out), "POST ****?k=**** HTTP/1.1\r\nHost: ****\r\nX-Token: "
                                      "****\r\nauthorization: ****\r\n"
                                      "X-Other: shown\r\n\r\nbody ****");
        target_unref(t);
}

static void test_addresses(void **state)
{
        static const struct {
                const char *address;
                bool plain, tuned;
        } cases[] = {
                {"127.0.0.1", true, true},
                {"10.1.2.3", true, false}, // denied below
                {"192.168.1.1", true, true},
                {"8.8.8.8", true, true},
                {"0.0.0.0", false, false},
                {"0.1.2.3", false, false},
                {"169.254.169.254", false, true}, // allowed below
                {"169.254.169.253", false, false},
                {"169.253.255.255", true, true},
                {"224.0.0.1", false, false},
                {"239.255.255.255", false, false},
                {"255.255.255.255", false, false},
                {"::1", true, true},
                {"::", false, false},
                {"fe80::1", false, false},
                {"fe80::1%eth0", false, false},
                {"febf::1", false, false},
                {"fec0::1", true, true},
                {"fd00:ec2::254", false, false},
                {"fd00:ec2::255", true, true},
                {"2001:4860:4860::8888", true, true},
                {"ff02::1", false, false},
                {"::ffff:169.254.169.254", false, true},
                {"::ffff:169.254.1.1", false, false},
                {"::ffff:127.0.0.1", true, true},
                {"::169.254.1.1", false, false},
                {"64:ff9b::169.254.1.1", false, false},
                {"64:ff9b::10.0.0.1", true, false},
                {"2002:a9fe:0101::1", false, false},
                {"not an address", false, false},
                {"", false, false},
        };
        char *allow[] = {(char[]){"169.254.169.254"}, NULL},
             *deny[] = {(char[]){"10.0.0.0/8"}, NULL};
        Egress plain, tuned;

        assert_int_equal(egress_init(&plain, NULL, NULL, NULL), 0);
        assert_int_equal(egress_init(&tuned, allow, deny, NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                const char *text = cases[i].address;
                if (egress_allows_text(&plain, text) != cases[i].plain ||
                        egress_allows_text(&tuned, text) != cases[i].tuned)
                        fail_msg("%s", text);
                struct sockaddr_in v4 = {.sin_family = AF_INET};
                struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
                if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
                        assert_int_equal(egress_allows(&plain, (struct sockaddr *)&v4, sizeof(v4)),
                                cases[i].plain);
                else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
                        assert_int_equal(egress_allows(&plain, (struct sockaddr *)&v6, sizeof(v6)),
                                cases[i].plain);
        }
        struct sockaddr_un local = {.sun_family = AF_UNIX};
        assert_false(egress_allows(&plain, (struct sockaddr *)&local, sizeof(local)));
        egress_deinit(&plain);
        egress_deinit(&tuned);
}

static void test_networks(void **state)
{
        static const struct {
                const char *text;
                int r, bits;
        } cases[] = {
                {"10.0.0.0/8", 0, 104},
                {"10.0.0.1", 0, 128},
                {"0.0.0.0/0", 0, 96},
                {"fe80::/10", 0, 10},
                {"::/0", 0, 0},
                {"::1", 0, 128},
                {"10.0.0.0/33", -EINVAL, 0},
                {"10.0.0.0/", -EINVAL, 0},
                {"10.0.0.0/8x", -EINVAL, 0},
                {"10.0.0.0/-1", -EINVAL, 0},
                {"10.0.0.1/8", -EINVAL, 0},
                {"10.0/8", -EINVAL, 0},
                {"fe80::/129", -EINVAL, 0},
                {"example.com", -EINVAL, 0},
                {"", -EINVAL, 0},
                {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb/8", -EINVAL, 0},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Network n = {0};
                int r = network_parse(cases[i].text, &n, NULL);
                if (r != cases[i].r || (r == 0 && n.bits != cases[i].bits))
                        fail_msg("%s: %d, %u bits", cases[i].text, r, n.bits);
        }
}

static int work(void *arg)
{
        Target *t = NULL;
        Reason reason = {""};
        int r = make_errno(&t,
                "{\"url\":\"credential:url\",\"headers\":{\"X\":\"credential:token\",\"Y\":\"\"},"
                "\"query\":{\"k\":\"credential:spaced\"},\"secret\":[\"credential:key\"],"
                "\"allow\":[\"10.0.0.0/8\"],\"ca\":\"/dev/null\"}",
                &reason);
        target_unref(t);
        return r;
}

static void test_torture(void **state)
{
        assert_true(torture(work, NULL) > 0);
}

static int setup(void **state)
{
        if (!mkdtemp(directory))
                return -1;
        put("url", "https://u:p@hooks.example.com/T1/B2\n", 0600);
        put("ftp", "ftp://example.com/\n", 0600);
        put("token", "s3cret\n", 0600);
        put("spaced", "a b", 0600);
        put("lines", "a\nb\n", 0600);
        put("key", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n", 0600);
        put("public", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", 0600);
        return 0;
}

static int teardown(void **state)
{
        static const char *const names[] = {
                "url", "ftp", "token", "spaced", "lines", "key", "public", "open", "stamp"};

        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                char path[256];
                (void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
                (void)unlink(path);
        }
        return rmdir(directory);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_url_and_query),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_private_files),
                cmocka_unit_test(test_stamp),
                cmocka_unit_test(test_masks),
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_networks),
                cmocka_unit_test(test_torture),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
