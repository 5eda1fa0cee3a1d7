// SPDX-License-Identifier: MIT
// One attempt. What an endpoint sends is only counted: its head up to RESPONSE_HEAD_MAX, its body
// up to response_limit, both within the timeout; nothing but a status, a Retry-After and a few
// words of the head is kept. The class of the verdict is that of the status once a final head is
// complete, whatever happens to the connection afterwards.
//
// libcurl repeats, by itself and once, a request whose reused connection turned out dead before a
// byte came back; nothing is repeated here.

#include "transfer.h"

#include <errno.h>
#include <strings.h>

#include "base/clock.h"
#include "request.h"
#include "response.h"
#include "trace.h"

enum {
        DNS_CACHE_SEC = 60,
        CONNECTION_IDLE_SEC = 90,
        CONNECTION_LIFE_SEC = 3600,
};

static curl_socket_t on_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *address)
{
        Transfer *t = userdata;

        // A refused address ends the attempt; libcurl would try the next, so that is refused too.
        if (t->address_refused ||
                !egress_allows(&t->target->egress, &address->addr, address->addrlen)) {
                t->address_refused = true;
                return CURL_SOCKET_BAD;
        }
        int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                address->protocol);
        if (fd < 0)
                return CURL_SOCKET_BAD;
        if (pump_socket_opened(t->pump, fd) < 0) {
                (void)close(fd);
                return CURL_SOCKET_BAD;
        }
        return fd;
}

// Before each request, on new and on reused connections (which another endpoint may have opened).
static int on_prereq(void *userdata, char *peer, char *local, int peer_port, int local_port)
{
        Transfer *t = userdata;

        if (t->address_refused || !egress_allows_text(&t->target->egress, peer)) {
                t->address_refused = true;
                return CURL_PREREQFUNC_ABORT;
        }
        t->sending = true;
        return CURL_PREREQFUNC_OK;
}

static void note_set(Transfer *t, const char *prefix, Slice text)
{
        size_t at = strlen(t->note);

        for (size_t i = 0; prefix[i] && at + 1 < sizeof(t->note); i++)
                t->note[at++] = prefix[i];
        for (size_t i = 0; i < text.len && at + 1 < sizeof(t->note); i++) {
                unsigned char c = (unsigned char)text.data[i];
                if (c == '\r' || c == '\n')
                        break;
                t->note[at++] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
        }
        t->note[at] = '\0';
}

static bool line_is(Slice line, const char *name, Slice *ret_value)
{
        size_t n = strlen(name);

        if (line.len <= n || line.data[n] != ':' || strncasecmp(line.data, name, n) != 0)
                return false;
        *ret_value = slice_mem(line.data + n + 1, line.len - n - 1);
        while (ret_value->len > 0 && ret_value->data[0] == ' ')
                *ret_value = slice_mem(ret_value->data + 1, ret_value->len - 1);
        return true;
}

static void head_begins(Transfer *t, Slice line)
{
        t->status = response_status_parse(line);
        t->unparsable = t->status == 0;
        t->retry_after_usec = 0;
        t->note[0] = '\0';
        if (t->status < 200 || t->status > 299) {
                const char *blank = memchr(line.data, ' ', line.len);
                size_t skip = blank ? (size_t)(blank - line.data) + 1 : 0;
                note_set(t, "", slice_mem(line.data + skip, line.len - skip));
        }
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
        Transfer *t = userdata;
        Slice line = {data, size * n}, value;

        t->n_head += line.len;
        if (t->n_head > RESPONSE_HEAD_MAX)
                return 0;
        if (t->head_done) // trailers
                return line.len;
        if (slice_starts(line, SLICE_LIT("HTTP/"))) {
                head_begins(t, line);
                return t->unparsable ? 0 : line.len;
        }
        if (line.len <= 2 && (line.data[0] == '\r' || line.data[0] == '\n')) {
                if (t->status >= 100 && t->status <= 199 && t->status != 101)
                        return line.len; // provisional: another head follows
                t->head_done = true;
                t->head_usec = clock_mono_usec();
                return t->status == 101 ? 0 : line.len;
        }
        if (t->status > 299 && line_is(line, "retry-after", &value))
                t->retry_after_usec = retry_after_parse(value, clock_wall_usec());
        if (t->status >= 300 && t->status <= 399 && line_is(line, "location", &value))
                note_set(t, ", to ", value);
        return line.len;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
        Transfer *t = userdata;

        t->n_body += size * n;
        return t->n_body > t->target->response_limit ? 0 : size * n;
}

// What every handle carries, whatever its target.
static int options_base(Transfer *t)
{
        CURL *e = t->easy;
        bool ok = true;
#define SET(option, value) (ok = curl_easy_setopt(e, CURLOPT_##option, value) == CURLE_OK && ok)
        SET(PRIVATE, t);
        SET(NOSIGNAL, 1L);
        SET(NOPROGRESS, 1L);
        SET(ERRORBUFFER, t->error);
        SET(USERAGENT, "belfry/" BELFRY_VERSION);
        SET(PROXY, "");
        SET(NETRC, (long)CURL_NETRC_IGNORED);
        SET(PROTOCOLS_STR, "http,https");
        SET(FOLLOWLOCATION, 0L);
        SET(HTTP_CONTENT_DECODING, 0L);
        SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        SET(DNS_CACHE_TIMEOUT, (long)DNS_CACHE_SEC);
        SET(MAXAGE_CONN, (long)CONNECTION_IDLE_SEC);
        SET(MAXLIFETIME_CONN, (long)CONNECTION_LIFE_SEC);
        SET(QUICK_EXIT,
                1L); // else giving up on a name waits for the resolver's thread, here, blocking
        SET(OPENSOCKETFUNCTION, on_open);
        SET(OPENSOCKETDATA, t);
        SET(CLOSESOCKETFUNCTION, pump_socket_close);
        SET(CLOSESOCKETDATA, t->pump);
        SET(PREREQFUNCTION, on_prereq);
        SET(PREREQDATA, t);
        SET(HEADERFUNCTION, on_header);
        SET(HEADERDATA, t);
        SET(WRITEFUNCTION, on_body);
        SET(WRITEDATA, t);
        return ok ? 0 : -ENOMEM;
}

static int options_target(Transfer *t)
{
        const Target *target = t->target;
        CURL *e = t->easy;

        if (t->applied == target->serial)
                return 0;
        if (t->applied != 0)
                curl_easy_reset(e);
        t->applied = 0;
        bool ok = options_base(t) == 0;
        SET(CURLU, target->url);
        SET(TIMEOUT_MS, (long)(target->timeout_usec / USEC_PER_MSEC));
        SET(CONNECTTIMEOUT_MS, (long)(target->connect_timeout_usec / USEC_PER_MSEC));
        SET(HTTP_VERSION, target->http_version);
        // Wait for a connection under way to tell whether it can carry several requests.
        SET(PIPEWAIT, target->http_version == CURL_HTTP_VERSION_1_1 ? 0L : 1L);
        SET(SSL_VERIFYPEER, target->verify ? 1L : 0L);
        SET(SSL_VERIFYHOST, target->verify ? 2L : 0L);
        if (target->ca)
                SET(CAINFO, target->ca);
#undef SET
        if (!ok)
                return -ENOMEM;
        t->applied = target->serial;
        return 0;
}

int transfer_init(Transfer *t, Pump *pump)
{
        *t = (Transfer){
                .pump = pump, .body = BUF_INIT(1), .text = BUF_INIT(1), .exchange = BUF_INIT(1)};
        t->easy = curl_easy_init();
        return t->easy ? 0 : -ENOMEM;
}

void transfer_deinit(Transfer *t)
{
        curl_easy_cleanup(t->easy);
        target_unref(t->target);
        buf_deinit(&t->body);
        buf_deinit(&t->text);
        buf_deinit(&t->exchange);
        free(t->nodes);
        *t = (Transfer){0};
}

int transfer_begin(Transfer *t, Target *target, const MessageAttempt *a, Reason *reason)
{
        t->target = target_ref(target);
        t->ticket = a->ticket;
        t->endpoint = a->endpoint;
        t->trace = a->trace;
        t->status = 0;
        t->head_done = t->unparsable = t->address_refused = t->sending = false;
        t->n_head = t->n_body = 0;
        t->retry_after_usec = t->head_usec = 0;
        t->note[0] = t->error[0] = '\0';
        int r = options_target(t);
        if (r == 0)
                r = request_build(t, a, clock_wall_usec() / USEC_PER_SEC, reason);
        if (r == 0 && t->trace)
                trace_start(t);
        if (r == 0) {
                t->running = true;
                r = pump_add(t->pump, t->easy);
        }
        if (r < 0)
                transfer_end(t);
        return r;
}

static VerdictClass class_of(const Transfer *t, CURLcode result)
{
        if (t->address_refused)
                return VERDICT_FORBIDDEN;
        if (t->head_done)
                return response_class(t->status);
        if (t->unparsable || t->n_head > RESPONSE_HEAD_MAX)
                return VERDICT_PROTOCOL;
        VerdictClass k = response_error_class(result);
        // Provisional answers and then nothing.
        return k == VERDICT_NETWORK && t->status >= 100 && t->status <= 199 ? VERDICT_PROTOCOL : k;
}

static Slice detail_of(Transfer *t, VerdictClass k, CURLcode result)
{
        char words[TRANSFER_DETAIL_MAX];
        _cleanup_(buf_deinitp) Buf shown = BUF_INIT(4 * TRANSFER_DETAIL_MAX);

        if (k == VERDICT_DELIVERED)
                return SLICE_LIT("");
        bool own = k == VERDICT_FORBIDDEN || k == VERDICT_PROTOCOL || t->target->private_url ||
                   !*t->error;
        if (t->head_done)
                (void)snprintf(words, sizeof(words), "%s", t->note);
        else
                (void)snprintf(words, sizeof(words), "%s",
                        own ? response_error_words(k, result) : t->error);
        trace_mask(t->target, slice_of(words), &shown);
        (void)snprintf(
                t->note, sizeof(t->note), "%.*s", (int)(sizeof(t->note) - 1), buf_text(&shown));
        return slice_of(t->note);
}

static uint64_t time_of(const Transfer *t, CURLINFO info)
{
        curl_off_t usec = 0;

        (void)curl_easy_getinfo(t->easy, info, &usec);
        return usec > 0 ? (uint64_t)usec : 0;
}

void transfer_verdict(Transfer *t, CURLcode result, MessageVerdict *ret)
{
        VerdictClass k = class_of(t, result);

        *ret = (MessageVerdict){
                .ticket = t->ticket,
                .class = (uint8_t)k,
                .status = (uint16_t)(t->head_done ? t->status : 0),
                .retry_after_usec = t->head_done ? t->retry_after_usec : 0,
                .total_usec = time_of(t, CURLINFO_TOTAL_TIME_T),
                .connect_usec = time_of(t, CURLINFO_CONNECT_TIME_T),
                .first_byte_usec = time_of(t, CURLINFO_STARTTRANSFER_TIME_T),
        };
        ret->detail = detail_of(t, k, result);
        if (!t->trace)
                return;
        _cleanup_(buf_deinitp) Buf shown = BUF_INIT(TRANSFER_TRACE_MAX);
        trace_mask(t->target, buf_slice(&t->exchange), &shown);
        buf_reset(&t->exchange);
        t->exchange.max = TRANSFER_TRACE_MAX;
        buf_add(&t->exchange, shown.data, shown.len);
        ret->trace = buf_slice(&t->exchange);
}

void transfer_end(Transfer *t)
{
        if (t->trace) {
                (void)curl_easy_setopt(t->easy, CURLOPT_VERBOSE, 0L);
                buf_shrink(&t->exchange, 0);
        }
        buf_shrink(&t->body, TRANSFER_KEEP);
        buf_shrink(&t->text, TRANSFER_KEEP);
        t->target = target_unref(t->target);
        t->running = t->trace = t->lingering = false;
}
