// SPDX-License-Identifier: MIT
// What the option table cannot judge of an endpoint's options: the inside of a URL, networks, how
// many keys. What stands behind references is the world's and shows when the endpoint is used.
#include "endpoint.h"

#include <errno.h>
#include <stdio.h>

static void check_networks(char *const *texts, const char *option, OptionFaults *f)
{
        Network network;
        char path[32];

        for (size_t i = 0; texts && texts[i]; i++) {
                Reason reason = {0};
                (void)snprintf(path, sizeof(path), "%s[%zu]", option, i);
                if (network_parse(texts[i], &network, &reason) < 0)
                        option_fault(f, path, "%s", reason.text);
        }
}

void http_check(const void *options, OptionFaults *f)
{
        const HttpOptions *o = options;
        Reason reason = {0};
        CURLU *url = option_is_reference(slice_of(o->url)) ? NULL : curl_url();
        size_t n_keys = 0;

        if (url && url_check(url, o->url, false, &reason) == -EINVAL)
                option_fault(f, "url", "%s", reason.text);
        curl_url_cleanup(url);
        while (o->secret && o->secret[n_keys])
                n_keys++;
        if (n_keys > SIGNATURE_KEYS_MAX)
                option_fault(f, "secret", "%zu secrets; at most %d can sign at a time", n_keys,
                        SIGNATURE_KEYS_MAX);
        check_networks(o->allow, "allow", f);
        check_networks(o->deny, "deny", f);
}
