// SPDX-License-Identifier: MIT
// Framed messages between the hub and one module over a stream socketpair, on an sd-event loop.
// Frame: u32 payload length, u16 type, u16 zero, payload (all little-endian). Nobody ever blocks:
// what the socket does not take is queued here, bounded by max_queue; a peer that breaks the
// framing, sends an over-long frame or goes away ends the link with a reason, once.
// Knows nothing of what the messages mean: that is link/message.h.
#pragma once

#include "base/buf.h"
#include "base/reason.h"
#include <systemd/sd-event.h>

typedef struct Link Link;

typedef struct LinkHandlers {
        // One whole frame; payload is valid during the call. A negative return ends the link.
        int (*frame)(Link *l, uint16_t type, Slice payload, void *userdata);
        // Called once, from the loop, when the peer is gone or broke the rules; error < 0
        // (-ECONNRESET for a plain end of file, -EBADMSG and -EMSGSIZE for a broken or over-long
        // frame, what frame() returned). After it nothing is called. Both may call link_free().
        void (*closed)(Link *l, int error, const char *reason, void *userdata);
} LinkHandlers;

typedef struct LinkOptions {
        size_t max_frame;  // payload bytes accepted from the peer
        size_t max_queue;  // bytes queued towards the peer; more is -ENOBUFS for the sender
        int64_t priority;  // sd-event priority of the reading side
} LinkOptions;

// Takes fd (made non-blocking) even on failure.
int link_new(Link **ret, sd_event *event, int fd, const LinkOptions *options,
             const LinkHandlers *handlers, void *userdata) _must_use_;
Link *link_free(Link *l); // silent: closed() is not called; NULL is fine
DEFINE_CLEANUP(Link, link_free)

// A frame is built in place: begin, fill the Buf (with wire_put_*), end. One at a time.
// link_end: -ENOBUFS over max_queue (nothing was sent), -ENOMEM, -ECONNRESET. It writes at once
// what the socket takes only when `flush` is true; else with the next flush or loop turn, so that
// a burst of small frames becomes one write.
Buf *link_begin(Link *l, uint16_t type);
int link_end(Link *l, bool flush) _must_use_;
void link_cancel(Link *l); // instead of link_end: forgets the frame begun
int link_send(Link *l, uint16_t type, Slice payload) _must_use_; // begin, fill, end(flush)
int link_flush(Link *l) _must_use_;

size_t link_queued(const Link *l);  // bytes not yet taken by the socket
// Frames stay in the socket (and at most one read's worth here), and so does the end of the link:
// closed() waits for the resume, behind the frames that were sent before it.
void link_pause_read(Link *l);
void link_resume_read(Link *l);
