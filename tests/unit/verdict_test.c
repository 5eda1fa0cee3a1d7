// SPDX-License-Identifier: MIT
// The policy table, row by row against belfry-http(5)'s.

#include "test.h"

#include "module/verdict.h"

#include <errno.h>
#include <string.h>

typedef struct Case {
        VerdictClass class;
        const char *name;
        bool retry, counts, holds, disables, spends;
        unsigned max_attempts;
} Case;

static const Case cases[] = {
        {VERDICT_DELIVERED, "delivered", false, false, false, false, true, 0},
        {VERDICT_NETWORK, "network", true, true, false, false, true, 0},
        {VERDICT_TIMEOUT, "timeout", true, true, false, false, true, 0},
        {VERDICT_TLS, "tls", true, true, false, false, true, 0},
        {VERDICT_SERVER, "server", true, true, false, false, true, 0},
        {VERDICT_THROTTLED, "throttled", true, false, true, false, true, 0},
        {VERDICT_PROTOCOL, "protocol", true, false, false, false, true, 0},
        {VERDICT_CLIENT, "client", true, false, false, false, true, 4},
        {VERDICT_REJECTED, "rejected", false, false, false, false, true, 0},
        {VERDICT_REDIRECT, "redirect", false, false, false, false, true, 0},
        {VERDICT_GONE, "gone", false, false, false, true, true, 0},
        {VERDICT_FORBIDDEN, "forbidden", false, false, false, false, true, 0},
        {VERDICT_ENDPOINT, "endpoint", true, false, true, false, false, 0},
};

static void test_rows(void **state)
{
        assert_int_equal(sizeof cases / sizeof cases[0], _VERDICT_CLASS_MAX);
        for (int i = 0; i < _VERDICT_CLASS_MAX; i++) {
                const Case *c = &cases[i];
                assert_int_equal(c->class, i);
                const VerdictPolicy *p = verdict_policy(c->class);
                assert_string_equal(p->name, c->name);
                assert_int_equal(p->retry, c->retry);
                assert_int_equal(p->counts_for_hold, c->counts);
                assert_int_equal(p->holds_at_once, c->holds);
                assert_int_equal(p->disables, c->disables);
                assert_int_equal(p->spends_attempt, c->spends);
                assert_int_equal(p->max_attempts, c->max_attempts);
                assert_true(c->class == VERDICT_DELIVERED || strlen(p->advice) > 20);
        }
}

static void test_names(void **state)
{
        for (int i = 0; i < _VERDICT_CLASS_MAX; i++) {
                const char *name = verdict_class_to_string((VerdictClass)i);
                assert_non_null(name);
                assert_int_equal(verdict_class_from_string(name), i);
        }
        assert_null(verdict_class_to_string(_VERDICT_CLASS_MAX));
        assert_null(verdict_class_to_string(_VERDICT_CLASS_INVALID));
        assert_int_equal(verdict_class_from_string("nothing"), -EINVAL);
        assert_int_equal(verdict_class_from_string(""), -EINVAL);
        assert_int_equal(verdict_class_from_string(NULL), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_rows),
                cmocka_unit_test(test_names),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
