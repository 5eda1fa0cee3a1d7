// SPDX-License-Identifier: MIT
// One connection to the server through libpq, on the source's loop and never blocking it: connect,
// one SQL command at a time, and the copy mode of replication. What fails is told once, with its
// SQLSTATE and words for a person.
//
// Every handler is the last thing its caller does, so it may free the connection.
#pragma once

#include "base/reason.h"
#include "base/slice.h"
#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct Server Server;
typedef struct pg_result PGresult; // libpq's

typedef enum FaultClass {
        FAULT_TRANSIENT, // goes away by itself: try again
        FAULT_BUSY,      // the slot is still in use, seen right after a disconnect: again very soon
        FAULT_SETTING,   // somebody must change something: again, but slowly
} FaultClass;

typedef struct ServerFault {
        char state[6]; // SQLSTATE; "" when the server did not say it (it is not reachable)
        Reason reason;
} ServerFault;

FaultClass fault_class(const ServerFault *f);

typedef struct ServerHandlers {
        void (*up)(void *userdata);
        // Could not be connected, or the connection is lost: server_free() it.
        void (*down)(void *userdata, const ServerFault *fault);
        // In copy mode: something was read; also when the copy ended (server_copy() says so).
        void (*copy)(void *userdata);
} ServerHandlers;

// A result, or (NULL, fault) for a command that the server refused. When the connection is lost
// down() is called instead.
typedef void (*ServerAnswer)(void *userdata, const PGresult *result, const ServerFault *fault);

typedef struct ServerLogin {
        const char *conninfo;    // of the configuration
        const char *passfile;    // a path, or NULL
        const char *application; // how it shows in pg_stat_activity
        bool replication;
        uint64_t connect_usec;
} ServerLogin;

// Starts to connect; handlers come from the loop, never from within. -EINVAL: the conninfo is wrong.
int server_connect(Server **ret, sd_event *loop, const ServerLogin *login,
        const ServerHandlers *handlers, void *userdata, Reason *reason) _must_use_;
Server *server_free(Server *s);

bool server_is_up(const Server *s);   // NULL: no
bool server_is_busy(const Server *s); // a command is under way
// One row of a result that is not kept. It must leave the connection alone.
typedef void (*ServerRow)(void *userdata, const PGresult *row);
// One or several commands in one text; the answer is the first refusal, else the last result. Only
// when up and not busy.
int server_query(Server *s, const char *sql, ServerAnswer answer, void *userdata) _must_use_;
// Each row is handed over as it comes; then the answer, without rows. row == NULL: as server_query().
int server_query_rows(Server *s, const char *sql, ServerRow row, ServerAnswer answer,
        void *userdata) _must_use_;

// In copy mode: 1: a message, which the caller ends with PQfreemem(); 0: none now; -EPIPE: the copy
// ended or the connection is lost, *ret_fault says why.
int server_copy(Server *s, char **ret, size_t *ret_len, ServerFault *ret_fault) _must_use_;
int server_copy_put(Server *s, const void *data, size_t len) _must_use_; // -EPIPE
void server_copy_read(Server *s, bool on); // back-pressure: the socket is left alone
// The database has no encoding (SQL_ASCII): its text is whatever bytes it was given.
bool server_is_ascii(const Server *s);
int server_version(const Server *s);      // 150018
const char *server_user(const Server *s); // the role, also of a connection that failed; NULL: ""
// A name or a text for SQL, quoted; the caller frees it. NULL: no memory.
char *server_quote_name(const Server *s, const char *name) _must_use_;
char *server_quote_text(const Server *s, const char *text) _must_use_;

// What of a conninfo is wrong or refused: its form, a password in it. -EINVAL. The reason never
// repeats a value.
int conninfo_check(const char *conninfo, Reason *reason) _must_use_;
