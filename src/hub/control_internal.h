// SPDX-License-Identifier: MIT
// What the control server's files share; nobody else includes this.
#pragma once

#include "base/limits.h"
#include "base/peer.h"
#include "hub/control.h"
#include "hub/control_roles.h"
#include <sys/queue.h>

// A request, taken apart. Everything borrows from `root`.
typedef struct ControlRequest {
        json_t *root;
        const char *method;
        json_t *parameters; // an object or NULL
        bool more, oneway;
} ControlRequest;
// -EBADMSG with a reason: not a Varlink call.
int control_request_parse(ControlRequest *ret, Slice text, Reason *reason) _must_use_;
void control_request_deinit(ControlRequest *r);

typedef struct Client Client;

struct ControlCall {
        Client *client;
        const ControlMethod *method;
        ControlRequest request;
        uint64_t ticket;
        bool active;
        ControlStep step;
        void *state;
        void (*free_state)(void *state);
};

struct Client {
        Control *control;
        int fd;
        Peer peer;
        Buf in, out;
        ControlCall call;
        bool eof;    // the client has said all; it may still read
        bool closes; // once `out` is written
        bool broken; // to be freed in its next turn
        sd_event_source *io, *turn, *pause;
        uint64_t step_after; // CLOCK_MONOTONIC: the next step of a long call is not before it
        TAILQ_ENTRY(Client) entry;
};

struct Control {
        sd_event *event;
        ControlOptions options;
        char *path;
        int fd;
        sd_event_source *accept;
        ControlRoles roles;
        TAILQ_HEAD(ClientList, Client) clients;
        unsigned n_clients;
        uint64_t last_ticket;
        unsigned n_tails;             // calls of Tail under way
        unsigned tail_cost;           // of their filters, for each event
        char unknown[LIMIT_LOG_TEXT]; // names in the roles that do not exist; "" = none
};

// control_call.c: runs one request (its text without the NUL); the answer may come later.
void control_dispatch(Client *c, Slice text);
void control_call_end(ControlCall *c); // frees what it holds; silent
// control.c: something changed (output, a broken connection): look at the client soon.
void control_wake(Client *c);
