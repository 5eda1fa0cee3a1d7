// SPDX-License-Identifier: MIT
// The policy table: one row a class, and nothing else decides what the hub does about a verdict.
// Invariants: every class has a row, a name is unique, a class that disables or delivers is never
// retried. It does not look at a status code (the sink did) and knows no clock (the schedule does).

#include "module/verdict.h"

#include "base/cleanup.h"

#include <assert.h>
#include <string.h>

static const VerdictPolicy policies[_VERDICT_CLASS_MAX] = {
        [VERDICT_DELIVERED] = {.name = "delivered", .spends_attempt = true, .advice = ""},
        [VERDICT_NETWORK] = {.name = "network",
                .retry = true,
                .counts_for_hold = true,
                .spends_attempt = true,
                .advice = "check that the host name resolves and that the endpoint listens there"},
        [VERDICT_TIMEOUT] = {.name = "timeout",
                .retry = true,
                .counts_for_hold = true,
                .spends_attempt = true,
                .advice = "the endpoint should answer first and work later; or raise the timeout"},
        [VERDICT_TLS] = {.name = "tls",
                .retry = true,
                .counts_for_hold = true,
                .spends_attempt = true,
                .advice = "check the endpoint's certificate, its name and its issuer"},
        [VERDICT_SERVER] = {.name = "server",
                .retry = true,
                .counts_for_hold = true,
                .spends_attempt = true,
                .advice = "the endpoint failed by its own account; look at its logs"},
        [VERDICT_THROTTLED] = {.name = "throttled",
                .retry = true,
                .holds_at_once = true,
                .spends_attempt = true,
                .advice = "the endpoint asks for a slower pace; lower in_flight"},
        [VERDICT_PROTOCOL] = {.name = "protocol",
                .retry = true,
                .spends_attempt = true,
                .advice = "the answer is no valid final HTTP response; check what listens there"},
        [VERDICT_CLIENT] = {.name = "client",
                .retry = true,
                .max_attempts = 4,
                .spends_attempt = true,
                .advice = "check the URL and the credentials of the endpoint"},
        [VERDICT_REJECTED] = {.name = "rejected",
                .spends_attempt = true,
                .advice = "the endpoint refuses this request; check body, headers and method"},
        [VERDICT_REDIRECT] = {.name = "redirect",
                .spends_attempt = true,
                .advice = "redirects are not followed: update the URL"},
        [VERDICT_GONE] = {.name = "gone",
                .disables = true,
                .spends_attempt = true,
                .advice = "the endpoint says it is gone for good: update the URL, then resume the "
                          "sink"},
        [VERDICT_FORBIDDEN] = {.name = "forbidden",
                .spends_attempt = true,
                .advice = "the address is link-local or a metadata service, where nothing is sent"},
        [VERDICT_ENDPOINT] = {.name = "endpoint",
                .retry = true,
                .holds_at_once = true,
                .advice = "supply what the endpoint lacks; deliveries wait and lose no attempt"},
};

const VerdictPolicy *verdict_policy(VerdictClass c)
{
        assert((int)c >= 0 && c < _VERDICT_CLASS_MAX);
        return &policies[c];
}

const char *verdict_class_to_string(VerdictClass c)
{
        if ((int)c < 0 || c >= _VERDICT_CLASS_MAX)
                return NULL;
        return policies[c].name;
}

VerdictClass verdict_class_from_string(const char *s)
{
        for (size_t i = 0; s && i < N_ELEMENTS(policies); i++)
                if (strcmp(policies[i].name, s) == 0)
                        return (VerdictClass)i;
        return _VERDICT_CLASS_INVALID;
}
