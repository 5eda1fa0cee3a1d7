// SPDX-License-Identifier: MIT
// The control socket (RUNTIME_DIR/control): Varlink's wire form, one interface io.belfry.Control.
// This header is what method bodies and the hub need; how clients are herded is control.c, how a
// request is read and answered is control_call.c, who may do what is control_roles.c.
//
// Bounds: LIMIT_CONTROL_CLIENTS connections, half of them for any one user but root; a request of at
// most LIMIT_CONTROL_REQUEST; unread answers of one client of at most LIMIT_CONTROL_CLIENT. A client
// has one call at a time (what it sends meanwhile waits in its socket); a loop turn reads one
// buffer, runs one request or one step of one client. Nothing here blocks.
#pragma once

#include "base/buf.h"
#include "base/reason.h"
#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#define CONTROL_INTERFACE "io.belfry.Control"

typedef enum ControlRole {
        CONTROL_READ,   // look
        CONTROL_INJECT, // emit events at the doors of applications (hub/doors.c)
        CONTROL_ADMIN,  // change; includes the other two
        _CONTROL_ROLE_MAX,
        _CONTROL_ROLE_INVALID = -22,
} ControlRole;
const char *control_role_to_string(ControlRole r);
ControlRole control_role_from_string(const char *s);

typedef struct Control Control;
typedef struct ControlCall ControlCall; // one request, until answered or its client is gone

typedef enum ControlType { CONTROL_BOOL, CONTROL_INT, CONTROL_STRING } ControlType;

typedef struct ControlParameter {
        const char *name; // NULL ends the table
        ControlType type;
        bool required;
} ControlParameter;

typedef struct ControlMethod {
        const char *name; // "Status": below CONTROL_INTERFACE
        ControlRole role;
        bool streams; // answers in several pieces: the client must ask with "more"
        const ControlParameter *parameters; // NULL = none; anything else is refused before run()
        // Answers now, or keeps the call for later: by step, or by ticket. Return < 0: the call is
        // answered with io.belfry.Control.Failed and errno's words, unless it was answered already.
        int (*run)(ControlCall *c, void *userdata);
} ControlMethod;

typedef struct ControlOptions {
        const char *path;
        const ControlMethod *methods;
        size_t n_methods;
        void *userdata; // for run()
        int64_t priority;
} ControlOptions;

// Binds (an old socket file that nobody listens on is replaced; -EADDRINUSE if somebody does).
int control_new(Control **ret, sd_event *event, const ControlOptions *o, Reason *reason) _must_use_;
Control *control_free(Control *c); // waiting calls end with their connections; NULL is fine
DEFINE_CLEANUP(Control, control_free)

// Users and @groups of each role, NULL-terminated lists (NULL = empty), resolved now. Names that do
// not exist are skipped and written to ret_unknown, comma-separated ("" = none), but for the
// defaults "root" and "@belfry". On failure the old roles stay. Calls under way go on.
int control_set_roles(
        Control *c, char *const *const lists[_CONTROL_ROLE_MAX], Buf *ret_unknown) _must_use_;

// ---- for method bodies
// Parameters, checked against the method's table already; absent: the default given.
const char *control_get_string(const ControlCall *c, const char *name, const char *def);
int64_t control_get_int(const ControlCall *c, const char *name, int64_t def);
bool control_get_bool(const ControlCall *c, const char *name, bool def);
uid_t control_uid(const ControlCall *c);
// For methods whose parameters decide which role they need beyond the table's.
bool control_call_may(const ControlCall *c, ControlRole role);
int control_refuse_role(ControlCall *c, ControlRole role); // answers NotPermitted

// The last (or only) answer; the call is over and `c` must not be used again. `values` is an object,
// consumed in every case; NULL = {}. One answer over LIMIT_CONTROL_CLIENT becomes an error.
int control_reply(ControlCall *c, json_t *values);
// One of several. -ENOBUFS: no room, nothing was added (control_room() says how much there is; a
// piece always fits when nothing else is unread). -EPIPE: the client is gone.
int control_continue(ControlCall *c, json_t *values) _must_use_;
int control_continue_raw(ControlCall *c, Slice json_object) _must_use_; // already JSON
size_t control_room(const ControlCall *c);
// The call failed: io.belfry.Control.<error> with {message}. Over, as after control_reply.
int control_fail(ControlCall *c, const char *error, const char *format, ...) _printf_(3, 4);
// The same with values of its own.
int control_fail_with(ControlCall *c, const char *error, json_t *values);

// Work in pieces: step runs once a loop turn while less than half the room is taken, until the call
// is over. Negative: as in run(). free (may be NULL) is called once when the call ends, however.
typedef int (*ControlStep)(ControlCall *c, void *state);
void control_set_step(
        ControlCall *c, ControlStep step, void *state, void (*free_state)(void *state));
void control_forget_state(ControlCall *c); // its state is gone: free is not called any more
// Answer later: keep the ticket, not the call. NULL when it is over.
uint64_t control_ticket(const ControlCall *c);
ControlCall *control_find(Control *c, uint64_t ticket);

extern const char control_idl[]; // src/hub/io.belfry.Control.varlink
