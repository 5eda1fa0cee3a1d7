// SPDX-License-Identifier: MIT
// Laying out one request. Header lines stand in one buffer, the list nodes that libcurl wants point
// into it and end in the endpoint's static list, so a request allocates nothing once buffers have
// grown. Body bytes are copied and sent as they are; they are never parsed here.
//
// Order: Content-Type, webhook-id, webhook-timestamp, webhook-signature, the rule's headers, the
// endpoint's. A header of the rule takes the place of the endpoint's of the same name.

#include "request.h"

#include <errno.h>
#include <strings.h>

#include "base/limits.h"
#include "base/wire.h"

// id, timestamp, type, signatures and the headers of a rule
enum { HEADERS_TEXT_MAX = 4 * 1024 * 1024 };

static const char *content_type(const MessageAttempt *a)
{
        return a->format == BODY_CLOUDEVENTS ? "application/cloudevents+json; charset=UTF-8"
                                             : "application/json";
}

static bool has_header(Slice headers, Slice name)
{
        WireReader r = wire_reader(headers);

        while (r.left > 0 && !r.bad) {
                Slice n = wire_bytes(&r);
                (void)wire_bytes(&r);
                if (n.len == name.len && strncasecmp(n.data, name.data, n.len) == 0)
                        return true;
        }
        return false;
}

// The hub has checked these when it rendered them; they are checked again here, next to the socket.
static int rule_headers_add(Transfer *t, const MessageAttempt *a, size_t *n_lines, Reason *reason)
{
        WireReader r = wire_reader(a->headers);

        while (r.left > 0) {
                Slice name = wire_bytes(&r), value = wire_bytes(&r);
                bool event = name.len > 3 && strncasecmp(name.data, "ce-", 3) == 0;
                if (r.bad || !header_name_is_token(name) || !header_value_is_clean(value) ||
                        (header_is_reserved(name) &&
                                !(event && a->format == BODY_CLOUDEVENTS_BINARY)))
                        return reason_set(reason, -EINVAL,
                                "header '%.*s' of the rule cannot be sent",
                                name.len > 64 ? 64 : (int)name.len, name.data ? name.data : "");
                buf_add_slice(&t->text, name);
                if (value.len > 0) {
                        buf_add_str(&t->text, ": ");
                        buf_add_slice(&t->text, value);
                } else
                        buf_add_char(&t->text, ';'); // libcurl's spelling of an empty value
                buf_add_char(&t->text, '\0');
                (*n_lines)++;
        }
        return 0;
}

static int lines_add(
        Transfer *t, const MessageAttempt *a, uint64_t now_sec, size_t *n_lines, Reason *reason)
{
        Buf *b = &t->text;
        const Slice type = SLICE_LIT("content-type");

        if (!t->target->sets_content_type &&
                (a->headers.len == 0 || !has_header(a->headers, type)) &&
                (a->body.len > 0 || !slice_eq(a->method, SLICE_LIT("GET")))) {
                buf_add_str(b, "Content-Type: ");
                buf_add_str(b, content_type(a));
                buf_add_char(b, '\0');
                (*n_lines)++;
        }
        buf_add_str(b, "webhook-id: ");
        buf_add_slice(b, a->id);
        buf_add(b, "\0webhook-timestamp: ", 20);
        buf_add_u64(b, now_sec);
        buf_add_char(b, '\0');
        *n_lines += 2;
        if (t->target->n_keys > 0) {
                buf_add_str(b, "webhook-signature: ");
                int r = signature_sign(
                        t->target->keys, t->target->n_keys, a->id, now_sec, a->body, b);
                if (r < 0)
                        return r == -EINVAL ? reason_set(reason, r, "an id that cannot be signed")
                                            : -ENOMEM;
                buf_add_char(b, '\0');
                (*n_lines)++;
        }
        return rule_headers_add(t, a, n_lines, reason);
}

static bool line_overridden(const char *line, Slice headers)
{
        size_t n = strcspn(line, ":;");

        return has_header(headers, slice_mem(line, n));
}

static int nodes_link(Transfer *t, const MessageAttempt *a, size_t n_lines)
{
        struct curl_slist *fixed = t->target->headers;
        size_t n = n_lines;

        if (a->headers.len >
                0) // then the endpoint's list is copied, without what the rule replaces
                for (const struct curl_slist *h = fixed; h; h = h->next)
                        n++;
        if (n > t->n_nodes) {
                struct curl_slist *grown = reallocarray(t->nodes, n, sizeof(*grown));
                if (!grown)
                        return -ENOMEM;
                t->nodes = grown;
                t->n_nodes = n;
        }
        char *line = (char *)t->text.data;
        for (size_t i = 0; i < n_lines; i++) {
                t->nodes[i] = (struct curl_slist){.data = line, .next = &t->nodes[i + 1]};
                line += strlen(line) + 1;
        }
        size_t last = n_lines - 1; // there are two lines at least
        if (a->headers.len == 0)
                t->nodes[last].next = fixed;
        else {
                for (const struct curl_slist *h = fixed; h; h = h->next) {
                        if (line_overridden(h->data, a->headers))
                                continue;
                        last++;
                        t->nodes[last] =
                                (struct curl_slist){.data = h->data, .next = &t->nodes[last + 1]};
                }
                t->nodes[last].next = NULL;
        }
        return 0;
}

static int options_set(Transfer *t, const MessageAttempt *a)
{
        bool get = a->body.len == 0 && slice_eq(a->method, SLICE_LIT("GET"));
        const char *custom = slice_eq(a->method, SLICE_LIT("POST")) || get ? NULL : t->method;

        if (get) {
                if (curl_easy_setopt(t->easy, CURLOPT_HTTPGET, 1L) != CURLE_OK)
                        return -ENOMEM;
        } else if (curl_easy_setopt(t->easy, CURLOPT_POST, 1L) != CURLE_OK ||
                   curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, (const char *)t->body.data) !=
                           CURLE_OK ||
                   curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                           (curl_off_t)t->body.len) != CURLE_OK)
                return -ENOMEM;
        return curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, custom) == CURLE_OK &&
                               curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->nodes) == CURLE_OK
                       ? 0
                       : -ENOMEM;
}

int request_build(Transfer *t, const MessageAttempt *a, uint64_t now_sec, Reason *reason)
{
        size_t n_lines = 0;

        if (!header_name_is_token(a->method) || a->method.len >= sizeof(t->method))
                return reason_set(reason, -EINVAL, "not a method: '%.*s'", 16, a->method.data);
        if (!header_value_is_clean(a->id) || a->id.len == 0)
                return reason_set(reason, -EINVAL, "an id that cannot be sent");
        memcpy(t->method, a->method.data, a->method.len);
        t->method[a->method.len] = '\0';
        t->text.max = HEADERS_TEXT_MAX;
        t->body.max = a->body.len + 1;
        buf_reset(&t->text);
        buf_reset(&t->body);
        buf_add_slice(&t->body, a->body);
        buf_add_char(&t->body, '\0'); // so that an empty body has an address too
        if (t->body.error)
                return t->body.error;
        t->body.len--;
        int r = lines_add(t, a, now_sec, &n_lines, reason);
        if (r == 0)
                r = t->text.error;
        if (r == 0)
                r = nodes_link(t, a, n_lines);
        if (r == 0)
                r = options_set(t, a);
        return r == -ENOBUFS ? reason_set(reason, -EINVAL, "the headers are too long") : r;
}
