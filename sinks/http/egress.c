// SPDX-License-Identifier: MIT
// Address policy of one endpoint. Order: the endpoint's deny list, its allow list, what is denied
// to everyone, else allowed (an endpoint written by root in /etc may reach loopback and private
// networks). All comparison is on 128-bit addresses, IPv4 mapped into them.

#include "egress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define V4(a, b, c, d)                                                               \
        {                                                                            \
                {                                                                    \
                        {                                                            \
                                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d \
                        }                                                            \
                }                                                                    \
        }

static const Network denied_always[] = {
        {V4(0, 0, 0, 0), 96 + 8},      // "this host": connects to loopback on Linux, never meant
        {V4(169, 254, 0, 0), 96 + 16}, // link-local, and cloud metadata
        {V4(224, 0, 0, 0), 96 + 4},    // multicast
        {V4(255, 255, 255, 255), 128}, {{{{0}}}, 128},                                 // ::
        {{{{0xfe, 0x80}}}, 10},                                                        // link-local
        {{{{0xff}}}, 8},                                                               // multicast
        {{{{0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54}}}, 128}, // metadata
};

static bool network_contains(const Network *n, const struct in6_addr *a)
{
        size_t whole = n->bits / 8;
        uint8_t mask = (uint8_t)(0xff00u >> (n->bits % 8));

        if (memcmp(n->address.s6_addr, a->s6_addr, whole) != 0)
                return false;
        return whole == sizeof(a->s6_addr) ||
               ((n->address.s6_addr[whole] ^ a->s6_addr[whole]) & mask) == 0;
}

static bool any_contains(const Network *list, size_t n, const struct in6_addr *a)
{
        for (size_t i = 0; i < n; i++)
                if (network_contains(&list[i], a))
                        return true;
        return false;
}

static void map_v4(struct in6_addr *ret, const void *v4)
{
        *ret = (struct in6_addr)V4(0, 0, 0, 0);
        memcpy(&ret->s6_addr[12], v4, 4);
}

int network_parse(const char *text, Network *ret, Reason *reason)
{
        char address[INET6_ADDRSTRLEN];
        const char *slash = strchr(text, '/');
        size_t n = slash ? (size_t)(slash - text) : strlen(text);
        struct in_addr v4;
        Network net;
        unsigned long bits, max;

        if (n >= sizeof(address))
                return reason_set(
                        reason, -EINVAL, "'%.64s' is not a network (expected ADDRESS/BITS)", text);
        memcpy(address, text, n);
        address[n] = '\0';
        if (inet_pton(AF_INET, address, &v4) == 1) {
                map_v4(&net.address, &v4);
                max = 32;
        } else if (inet_pton(AF_INET6, address, &net.address) == 1)
                max = 128;
        else
                return reason_set(
                        reason, -EINVAL, "'%.64s' is not a network (expected ADDRESS/BITS)", text);
        bits = max;
        if (slash) {
                char *end;
                bits = slash[1] >= '0' && slash[1] <= '9' ? strtoul(slash + 1, &end, 10) : max + 1;
                if (bits > max || *end)
                        return reason_set(
                                reason, -EINVAL, "'%.64s': bits must be 0 to %lu", text, max);
        }
        net.bits = (uint8_t)(bits + (128 - max));
        for (unsigned i = net.bits; i < 128; i++)
                if (net.address.s6_addr[i / 8] & (0x80u >> (i % 8)))
                        return reason_set(reason, -EINVAL,
                                "'%.64s' has bits set behind its prefix (did you mean a shorter "
                                "address or "
                                "more bits?)",
                                text);
        *ret = net;
        return 0;
}

static int list_parse(
        char *const *texts, const char *option, Network **ret, size_t *ret_n, Reason *reason)
{
        size_t n = 0;

        while (texts && texts[n])
                n++;
        Network *list = calloc(n ? n : 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                int r = network_parse(texts[i], &list[i], reason);
                if (r < 0) {
                        free(list);
                        return reason_prefix(reason, r, "%s", option);
                }
        }
        *ret = list;
        *ret_n = n;
        return 0;
}

int egress_init(Egress *e, char *const *allow, char *const *deny, Reason *reason)
{
        *e = (Egress){0};
        int r = list_parse(allow, "allow", &e->allow, &e->n_allow, reason);
        if (r == 0)
                r = list_parse(deny, "deny", &e->deny, &e->n_deny, reason);
        if (r < 0)
                egress_deinit(e);
        return r;
}

void egress_deinit(Egress *e)
{
        free(e->allow);
        free(e->deny);
        *e = (Egress){0};
}

// An IPv6 address that only carries an IPv4 one to somewhere is judged as that one.
static struct in6_addr unwrap(const struct in6_addr *a)
{
        static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
        static const uint8_t zero[12] = {0};
        struct in6_addr inner = *a;
        const uint8_t *b = a->s6_addr;

        if (memcmp(b, nat64, sizeof(nat64)) == 0)
                map_v4(&inner, b + 12);
        else if (b[0] == 0x20 && b[1] == 0x02) // 6to4
                map_v4(&inner, b + 2);
        else if (memcmp(b, zero, sizeof(zero)) == 0 &&
                 (b[12] || b[13] || b[14])) // compatible; not :: or ::1
                map_v4(&inner, b + 12);
        return inner;
}

static bool allows(const Egress *e, const struct in6_addr *outer)
{
        struct in6_addr a = unwrap(outer);

        if (any_contains(e->deny, e->n_deny, &a) || any_contains(e->deny, e->n_deny, outer))
                return false;
        if (any_contains(e->allow, e->n_allow, &a))
                return true;
        return !any_contains(denied_always, sizeof(denied_always) / sizeof(denied_always[0]), &a);
}

bool egress_allows(const Egress *e, const struct sockaddr *address, size_t len)
{
        struct in6_addr a;

        if (address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in))
                map_v4(&a, &((const struct sockaddr_in *)(const void *)address)->sin_addr);
        else if (address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6))
                a = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        else
                return false;
        return allows(e, &a);
}

bool egress_allows_text(const Egress *e, const char *address)
{
        char plain[INET6_ADDRSTRLEN];
        struct in_addr v4;
        struct in6_addr a;
        size_t n = strcspn(address, "%"); // a zone id

        if (n >= sizeof(plain))
                return false;
        memcpy(plain, address, n);
        plain[n] = '\0';
        if (inet_pton(AF_INET, plain, &v4) == 1)
                map_v4(&a, &v4);
        else if (inet_pton(AF_INET6, plain, &a) != 1)
                return false;
        return allows(e, &a);
}
