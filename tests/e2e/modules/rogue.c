// SPDX-License-Identifier: MIT
// belfry-source-rogue: a source for tests that does what no source may. Which of it, its instance name
// says, for some of it comes before there are options; a restart makes it no better. It stands where
// nobody configures it but a test that copies it beside a belfryd of its own.
#include "base/limits.h"
#include "link/message.h"
#include "module/cage.h"
#include "module/source.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

static const EventField fields[] = {
        {"text", FIELD_STRING, "Nothing of interest."},
};
static const EventType types[] = {
        {"rogue.happened", "It misbehaved.", fields, N_ELEMENTS(fields), "{\"text\":\"x\"}"},
};

typedef struct Rogue {
        Source *source;
        sd_event_source *later;
} Rogue;

// Past the framework, which would keep the rules.
static void write_raw(const void *data, size_t n)
{
        const char *at = data;
        while (n > 0) {
                ssize_t sent = send(CHILD_FD_LINK, at, n, MSG_NOSIGNAL);
                struct pollfd room = {.fd = CHILD_FD_LINK, .events = POLLOUT};
                if (sent < 0 && poll(&room, 1, -1) < 0)
                        _exit(EXIT_FAILURE);
                at += sent > 0 ? sent : 0;
                n -= sent > 0 ? (size_t)sent : 0;
        }
}

static void garbage(void)
{
        char bytes[4096];
        memset(bytes, 0xa5, sizeof bytes);
        write_raw(bytes, sizeof bytes);
        for (;;)
                (void)pause();
}

// Events without end: no look at credit, pause or stop.
static void flood(void)
{
        static const char data[] = "{\"text\":\"0123456789012345678901234567890123456789\"}";
        uint64_t number = (uint64_t)getpid() << 32;
        for (uint64_t batch = 1;; batch++) {
                Buf b = BUF_INIT(LIMIT_EVENT_DEFAULT);
                wire_put_u32(&b, 0);
                wire_put_u16(&b, MESSAGE_EVENTS);
                wire_put_u16(&b, 0);
                wire_put_u64(&b, batch);
                wire_put_u8(&b, 0);
                wire_put_bytes(&b, SLICE_NULL);
                wire_put_u32(&b, 100);
                for (unsigned i = 0; i < 100; i++, number++)
                        message_put_event(
                                &b, &(MessageEvent){.time_usec = 1,
                                            .type = slice_of(types[0].name),
                                            .subject = SLICE_LIT("flood"),
                                            .id_material = {(const char *)&number, sizeof number},
                                            .data = slice_of(data)});
                wire_put_u32(&b, 0);
                wire_set_u32(&b, 0, (uint32_t)b.len - 8);
                write_raw(b.data, b.len);
                buf_deinit(&b);
        }
}

static void eat(void)
{
        for (;;) {
                char *bite = malloc(1 << 20);
                if (!bite)
                        abort();
                memset(bite, 1, 1 << 20);
        }
}

static int on_later(sd_event_source *e, uint64_t usec, void *userdata)
{
        Rogue *r = userdata;
        const char *name = source_name(r->source);
        if (strcmp(name, "late-garbage") == 0)
                garbage();
        else if (strncmp(name, "flood", 5) == 0)
                flood();
        else if (strcmp(name, "hungry") == 0)
                eat();
        for (unsigned i = 0; i < 100; i++) // "chatty"
                source_log(r->source, LOG_WARNING, NULL, "so it goes, on and on");
        (void)sd_event_source_set_time_relative(e, 1000);
        return sd_event_source_set_enabled(e, SD_EVENT_ONESHOT);
}

static int start(Source *s, const void *values, Slice position, void **ret, Reason *reason)
{
        Rogue *r = calloc(1, sizeof(*r));
        if (!r)
                return -12;
        r->source = s;
        *ret = r;
        if (strcmp(source_name(s), "unready") == 0)
                return 0;
        source_ready(s);
        return sd_event_add_time_relative(
                source_loop(s), &r->later, CLOCK_MONOTONIC, 100000, 0, on_later, r);
}

static void stop(void *instance)
{
        source_stopped(((Rogue *)instance)->source);
}

int main(int argc, char **argv)
{
        const SourceModule m = {.name = "rogue",
                .summary = "Does what it may not; for tests.",
                .types = types,
                .n_types = N_ELEMENTS(types),
                .start = start,
                .stop = stop,
                .free = free};
        const char *name = argc > 1 ? argv[1] : "";
        if (strcmp(name, "exits") == 0)
                return 3;
        if (strcmp(name, "mute") == 0)
                for (;;)
                        (void)pause();
        if (strcmp(name, "garbage") == 0)
                garbage();
        return source_main(&m, argc, argv);
}
