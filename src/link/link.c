// SPDX-License-Identifier: MIT
// One framed connection on an sd-event loop.
//
// Out: frames are built at the end of `out`; what the socket has taken is the prefix up to
// out_start, which is dropped when it is at least half, so a byte is moved once at most. Frames
// that nobody flushed leave with the next loop turn; EPOLLOUT is asked for only while the socket is
// full.
// In: `in` holds what was read and not yet handed on from in_start. The socket is read only when no
// whole frame is there, the buffer grows as a frame's bytes really arrive, and it shrinks again.
//
// A callback hands on a bounded number of frames and lets the loop go round before the rest. The
// end of a link is noted where it is found and reported by closed() from the loop, behind all
// frames that arrived before it; pausing delays it with them. link_free() within a callback only
// marks the Link; the callback's own frame at the bottom of the stack frees it.
#include "link/link.h"

#include "base/failpoint.h"
#include "base/wire.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
        HEADER = 8,
        READ_SIZE = 64 * 1024,   // one read, and what an idle link may keep
        FLUSH_AT = 64 * 1024,    // queued bytes that are written without waiting for the turn
        OUT_KEEP = 128 * 1024,   // memory an empty queue keeps
        TURN_FRAMES = 64,        // handed on in one callback ...
        TURN_BYTES = 256 * 1024, // ... or this many bytes, also the most written in one
};

struct Link {
        sd_event *event;
        sd_event_source *io;
        sd_event_source *turn; // one-shot: unflushed frames, buffered frames, an end to report
        int fd;
        LinkOptions options;
        LinkHandlers handlers;
        void *userdata;

        Buf out;
        size_t out_start;
        size_t frame_start; // of the frame being built
        bool building;
        bool blocked; // the socket is full: EPOLLOUT will tell

        Buf in;
        size_t in_start;
        bool paused;

        bool write_failed; // the peer reads no more; its last words may still be in the socket
        bool reported;
        bool freed;
        unsigned depth; // callbacks of ours on the stack
        int error;      // why the link has ended; < 0 for good
        Reason reason;
};

static void arm_turn(Link *l)
{
        // Only a loop that has finished refuses, and it will not turn again anyway.
        if (l->turn)
                (void)sd_event_source_set_enabled(l->turn, SD_EVENT_ONESHOT);
}

static void drop_queue(Link *l)
{
        buf_shrink(&l->out, 0);
        l->out_start = 0;
        l->blocked = false;
}

static void end_link(Link *l, int error, const char *format, ...) _printf_(3, 4);

// Notes the end and gives the socket up, so that the peer sees it too.
static void end_link(Link *l, int error, const char *format, ...)
{
        if (l->error < 0)
                return;
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(l->reason.text, sizeof(l->reason.text), format, ap);
        va_end(ap);
        l->error = error;
        l->io = sd_event_source_disable_unref(l->io);
        (void)close(l->fd);
        l->fd = -1;
        if (!l->building)
                drop_queue(l);
        arm_turn(l);
}

// Asks epoll for what is wanted now. Without any wish the source is off: epoll would go on
// reporting a peer that hung up, and the loop would spin.
static void update_io(Link *l)
{
        if (l->error < 0)
                return;
        uint32_t want = (l->paused ? 0 : EPOLLIN) | (l->blocked ? EPOLLOUT : 0);
        int r = 0;
        if (want)
                r = sd_event_source_set_io_events(l->io, want);
        if (r >= 0)
                r = sd_event_source_set_enabled(l->io, want ? SD_EVENT_ON : SD_EVENT_OFF);
        if (r < 0)
                end_link(l, r, "cannot watch the link's socket");
}

static void set_blocked(Link *l, bool blocked)
{
        if (l->blocked == blocked)
                return;
        l->blocked = blocked;
        update_io(l);
}

// Writes at most TURN_BYTES; a peer that reads as fast as we write must not hold the loop.
static int write_out(Link *l)
{
        size_t budget = TURN_BYTES;
        while (l->out_start < l->out.len && budget > 0) {
                size_t n = l->out.len - l->out_start;
                ssize_t put = send(l->fd, l->out.data + l->out_start, n < budget ? n : budget,
                        MSG_DONTWAIT | MSG_NOSIGNAL);
                if (put < 0 && errno == EINTR)
                        continue;
                if (put < 0 && errno == EAGAIN) {
                        set_blocked(l, true);
                        return 0;
                }
                if (put < 0) {
                        l->write_failed = true;
                        drop_queue(l);
                        update_io(l);
                        arm_turn(l); // reads what the peer left, then reports the end
                        return -ECONNRESET;
                }
                l->out_start += (size_t)put;
                budget -= (size_t)put;
        }
        if (l->out_start < l->out.len) {
                set_blocked(l, true);
                return 0;
        }
        if (l->out.len > 0)
                FAILPOINT("link.written");
        buf_shrink(&l->out, OUT_KEEP);
        l->out_start = 0;
        set_blocked(l, false);
        return 0;
}

// 1: a whole frame stands at in_start; 0: not yet (*ret_need bytes make it whole); < 0: ended.
static int peek_frame(Link *l, uint16_t *ret_type, Slice *ret_payload, size_t *ret_need)
{
        WireReader r = wire_reader(slice_mem(l->in.data + l->in_start, l->in.len - l->in_start));
        *ret_need = HEADER;
        if (r.left < HEADER)
                return 0;
        uint32_t len = wire_u32(&r);
        uint16_t type = wire_u16(&r), zero = wire_u16(&r);
        if (zero != 0) {
                end_link(l, -EBADMSG, "the peer sent something that is no frame");
                return -EBADMSG;
        }
        if (len > l->options.max_frame) {
                end_link(l, -EMSGSIZE, "the peer sent a frame of %u bytes, at most %zu are allowed",
                        len, l->options.max_frame);
                return -EMSGSIZE;
        }
        *ret_need = HEADER + (size_t)len;
        *ret_type = type;
        *ret_payload = wire_raw(&r, len);
        return r.bad ? 0 : 1;
}

// Hands on buffered frames within the turn's bounds.
static void hand_on_frames(Link *l)
{
        size_t bytes = 0;
        for (unsigned n = 0;; n++) {
                uint16_t type;
                Slice payload;
                size_t need;
                if (l->freed || l->error < 0 || l->paused ||
                        peek_frame(l, &type, &payload, &need) <= 0)
                        return;
                if (n == TURN_FRAMES || bytes >= TURN_BYTES) {
                        arm_turn(l);
                        return;
                }
                l->in_start += need;
                bytes += need;
                int r = l->handlers.frame(l, type, payload, l->userdata);
                if (r < 0 && !l->freed)
                        end_link(l, r, "a frame of type %u was refused: %s", type, strerror(-r));
        }
}

static void hand_on(Link *l)
{
        hand_on_frames(l);
        if (l->in_start < l->in.len)
                return;
        buf_shrink(&l->in, READ_SIZE); // a large frame's memory is not kept for the next one
        l->in_start = 0;
}

// Room for the next read. Only a partial frame can stand in the buffer here.
static uint8_t *make_room(Link *l, size_t need, size_t *ret_room)
{
        size_t have = l->in.len - l->in_start;
        buf_consume(&l->in, l->in_start);
        l->in_start = 0;
        size_t missing = need - have;
        // A whole read, or the rest of a large frame, but never ahead of what has arrived by more
        // than as much again: an announced length is not believed before its bytes are here.
        size_t room = missing > have ? have : missing;
        *ret_room = room < READ_SIZE ? READ_SIZE : room;
        return buf_grow(&l->in, *ret_room);
}

static void read_in(Link *l)
{
        uint16_t type;
        Slice payload;
        size_t need, room;
        if (peek_frame(l, &type, &payload, &need) != 0)
                return; // buffered frames go first
        uint8_t *at = make_room(l, need, &room);
        if (!at) {
                end_link(l, l->in.error, "no memory for a frame of %zu bytes", need);
                return;
        }
        ssize_t got = recv(l->fd, at, room, MSG_DONTWAIT);
        int e = errno;
        l->in.len -= room - (got > 0 ? (size_t)got : 0);
        if (got > 0)
                return;
        if (got < 0 && (e == EINTR || (e == EAGAIN && !l->write_failed)))
                return;
        if (got < 0 && e != ECONNRESET && e != EAGAIN)
                end_link(l, -e, "cannot read from the link: %s", strerror(e));
        else if (l->in.len > l->in_start)
                end_link(l, -ECONNRESET, "the peer closed the link in the middle of a frame");
        else
                end_link(l, -ECONNRESET, "the peer closed the link");
}

static void enter(Link *l)
{
        l->depth++;
}

// The end of each loop callback: reports an end, frees what was freed meanwhile.
static int leave(Link *l)
{
        if (!l->freed && l->error < 0 && !l->reported) {
                l->reported = true;
                l->turn = sd_event_source_disable_unref(l->turn);
                l->handlers.closed(l, l->error, l->reason.text, l->userdata);
        }
        if (--l->depth == 0 && l->freed) {
                buf_deinit(&l->in);
                buf_deinit(&l->out);
                free(l);
        }
        return 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        Link *l = userdata;
        enter(l);
        if (l->blocked)
                (void)write_out(l);
        if (l->error == 0 && !l->paused && (revents & ~(uint32_t)EPOLLOUT)) {
                read_in(l);
                hand_on(l);
        }
        return leave(l);
}

static int on_turn(sd_event_source *s, void *userdata)
{
        Link *l = userdata;
        enter(l);
        if (l->error == 0 && !l->blocked && !l->write_failed)
                (void)write_out(l);
        if (l->error == 0 && !l->paused && l->write_failed)
                read_in(l);
        hand_on(l);
        if (!l->freed && l->error == 0 && !l->paused && l->write_failed)
                arm_turn(l); // until the socket is empty
        return leave(l);
}

int link_new(Link **ret, sd_event *event, int fd, const LinkOptions *options,
        const LinkHandlers *handlers, void *userdata)
{
        assert(handlers->frame && handlers->closed && options->max_frame <= UINT32_MAX);
        Link *l = calloc(1, sizeof(*l));
        if (!l) {
                (void)close(fd);
                return -ENOMEM;
        }
        l->fd = fd;
        l->options = *options;
        l->handlers = *handlers;
        l->userdata = userdata;
        l->event = sd_event_ref(event);
        l->in = BUF_INIT(options->max_frame + HEADER + READ_SIZE);
        l->out = BUF_INIT(options->max_queue);
        int flags = fcntl(fd, F_GETFL);
        int r = flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
        if (r >= 0)
                r = sd_event_add_io(event, &l->io, fd, EPOLLIN, on_io, l);
        if (r >= 0)
                r = sd_event_add_defer(event, &l->turn, on_turn, l);
        if (r >= 0)
                r = sd_event_source_set_priority(l->io, options->priority);
        if (r >= 0)
                r = sd_event_source_set_priority(l->turn, options->priority);
        if (r >= 0)
                r = sd_event_source_set_enabled(l->turn, SD_EVENT_OFF);
        if (r >= 0 && l->paused)
                r = sd_event_source_set_enabled(l->io, SD_EVENT_OFF);
        if (r < 0) {
                (void)link_free(l);
                return r;
        }
        *ret = l;
        return 0;
}

Link *link_free(Link *l)
{
        if (!l || l->freed)
                return NULL;
        l->freed = true;
        l->io = sd_event_source_disable_unref(l->io);
        l->turn = sd_event_source_disable_unref(l->turn);
        l->event = sd_event_unref(l->event);
        if (l->fd >= 0)
                (void)close(l->fd);
        l->fd = -1;
        if (l->depth > 0) // a payload may still be read by the handler that called us
                return NULL;
        buf_deinit(&l->in);
        buf_deinit(&l->out);
        free(l);
        return NULL;
}

Buf *link_begin(Link *l, uint16_t type)
{
        assert(!l->building);
        l->building = true;
        if (l->out_start > 0 && l->out_start >= l->out.len - l->out_start) {
                buf_consume(&l->out, l->out_start);
                l->out_start = 0;
        }
        l->out.max = l->out_start + l->options.max_queue;
        l->frame_start = l->out.len;
        wire_put_u32(&l->out, 0);
        wire_put_u16(&l->out, type);
        wire_put_u16(&l->out, 0);
        return &l->out;
}

void link_cancel(Link *l)
{
        assert(l->building);
        l->building = false;
        l->out.len = l->frame_start;
        l->out.error = 0;
        if (l->error < 0 || l->write_failed)
                drop_queue(l);
}

int link_end(Link *l, bool flush)
{
        assert(l->building);
        int r = l->error < 0 || l->write_failed ? -ECONNRESET : l->out.error;
        if (r < 0) {
                link_cancel(l);
                return r;
        }
        l->building = false;
        wire_set_u32(&l->out, l->frame_start, (uint32_t)(l->out.len - l->frame_start - HEADER));
        if (flush || l->out.len - l->out_start >= FLUSH_AT)
                return link_flush(l);
        arm_turn(l);
        return 0;
}

int link_send(Link *l, uint16_t type, Slice payload)
{
        buf_add_slice(link_begin(l, type), payload);
        return link_end(l, true);
}

int link_flush(Link *l)
{
        assert(!l->building);
        if (l->error < 0 || l->write_failed)
                return -ECONNRESET;
        return l->blocked ? 0 : write_out(l);
}

size_t link_queued(const Link *l)
{
        return (l->building ? l->frame_start : l->out.len) - l->out_start;
}

void link_pause_read(Link *l)
{
        if (l->paused)
                return;
        l->paused = true;
        update_io(l);
}

void link_resume_read(Link *l)
{
        if (!l->paused)
                return;
        l->paused = false;
        update_io(l);
        arm_turn(l); // for frames that were read before the pause
}
