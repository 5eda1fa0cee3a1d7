// SPDX-License-Identifier: MIT
// What ping shows. libcurl hands over each piece as it was sent or received; pieces are collected
// raw, at most TRANSFER_TRACE_MAX bytes, and masked as a whole at the end, so that a secret which
// arrives in two pieces is found too. Masks are sought longest first, anywhere: a receiver that
// echoes its request shows nothing either.

#include "trace.h"

#include <strings.h>

static const char masked[] = "****";

static int on_debug(CURL *easy, curl_infotype type, char *data, size_t size, void *userdata)
{
        Transfer *t = userdata;

        if (type == CURLINFO_TEXT || type == CURLINFO_SSL_DATA_IN || type == CURLINFO_SSL_DATA_OUT)
                return 0;
        size_t room = t->exchange.max - t->exchange.len;
        buf_add(&t->exchange, data, size < room ? size : room);
        return 0;
}

void trace_start(Transfer *t)
{
        t->exchange.max = TRANSFER_TRACE_MAX;
        (void)curl_easy_setopt(t->easy, CURLOPT_DEBUGFUNCTION, on_debug);
        (void)curl_easy_setopt(t->easy, CURLOPT_DEBUGDATA, t);
        (void)curl_easy_setopt(t->easy, CURLOPT_VERBOSE, 1L);
}

static const TargetMask *mask_at(const Target *target, Slice rest)
{
        const TargetMask *best = NULL;

        for (size_t i = 0; i < target->n_masks; i++) {
                const TargetMask *m = &target->masks[i];
                if ((!best || m->len > best->len) && slice_starts(rest, slice_mem(m->text, m->len)))
                        best = m;
        }
        return best;
}

// Length of "Authorization:" and the like at the start of a line; 0 otherwise.
static size_t private_header(Slice line)
{
        static const char *const names[] = {
                "authorization:", "proxy-authorization:", "cookie:", "set-cookie:"};

        for (size_t i = 0; i < N_ELEMENTS(names); i++)
                if (line.len >= strlen(names[i]) &&
                        strncasecmp(line.data, names[i], strlen(names[i])) == 0)
                        return strlen(names[i]);
        return 0;
}

void trace_mask(const Target *target, Slice text, Buf *out)
{
        for (size_t i = 0; i < text.len;) {
                Slice rest = slice_mem(text.data + i, text.len - i);
                size_t name = i == 0 || text.data[i - 1] == '\n' ? private_header(rest) : 0;
                const TargetMask *m = mask_at(target, rest);
                if (name > 0) {
                        const char *end = memchr(rest.data, '\r', rest.len);
                        buf_add(out, rest.data, name);
                        buf_add_char(out, ' ');
                        buf_add_str(out, masked);
                        i += end ? (size_t)(end - rest.data) : rest.len;
                } else if (m) {
                        buf_add_str(out, masked);
                        i += m->len;
                } else
                        buf_add_char(out, text.data[i++]);
        }
}
