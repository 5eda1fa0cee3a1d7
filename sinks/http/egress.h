// SPDX-License-Identifier: MIT
// Which addresses an endpoint may connect to. Judged on the address of the actual socket, at each
// connection and again at each reuse: a check of a name or at load time would be none, since DNS
// can answer differently a second later.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/reason.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Network {
        struct in6_addr address; // IPv4 as ::ffff:a.b.c.d
        uint8_t bits;            // 0 to 128
} Network;

typedef struct Egress {
        Network *allow, *deny;
        size_t n_allow, n_deny;
} Egress;

// "10.0.0.0/8", "fe80::/10"; without /BITS one address. Bits set behind the prefix are refused.
int network_parse(const char *text, Network *ret, Reason *reason) _must_use_;

// The lists are NULL-terminated texts, or NULL.
int egress_init(Egress *e, char *const *allow, char *const *deny, Reason *reason) _must_use_;
void egress_deinit(Egress *e);

// IPv4 inside IPv6 (mapped, compatible, NAT64, 6to4) is judged as the IPv4 address it leads to.
// Anything but IPv4 and IPv6 is refused.
bool egress_allows(const Egress *e, const struct sockaddr *address, size_t len);
bool egress_allows_text(const Egress *e, const char *address); // "127.0.0.1", "::1", "fe80::1%eth0"
