// SPDX-License-Identifier: MIT
// What the control server's files share; nobody else includes this.
#pragma once

#include "base/limits.h"
#include "hub/control.h"
#include <sys/queue.h>

typedef struct ControlRoles {
        struct ControlRoleMembers {
                uid_t *uids;
                gid_t *gids;
                size_t n_uids, n_gids;
                char *spelled; // as configured, for the line a refusal proposes: "root", "@belfry"
        } of[_CONTROL_ROLE_MAX];
} ControlRoles;

// So that who has a role can open the socket: an access list beside its mode. Best effort.
void control_roles_open(const ControlRoles *r, const char *path);
int control_roles_init(
        ControlRoles *r, char *const *const lists[_CONTROL_ROLE_MAX], Buf *ret_unknown) _must_use_;
void control_roles_deinit(ControlRoles *r);
bool control_roles_allow(
        const ControlRoles *r, ControlRole role, uid_t uid, const gid_t *gids, size_t n_gids);
// uid and all groups of the other end; *ret_gids is malloced.
int control_peer(int fd, uid_t *ret_uid, gid_t **ret_gids, size_t *ret_n) _must_use_;

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
        uid_t uid;
        gid_t *gids;
        size_t n_gids;
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
