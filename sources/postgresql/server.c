// SPDX-License-Identifier: MIT
// libpq without blocking. The socket may change between two steps of connecting (several hosts), so
// its event source is made anew at each step; once up it stays. libpq's own connect_timeout does not
// work here, a timer of ours does. Errors while connecting carry no SQLSTATE in libpq's interface:
// they are asked for in verbose form and the state is read from the text.
// One limit: names are resolved by libpq in the call that begins to connect, and block for as long as
// the resolver takes; nothing else of the source runs at that time.
#include "server.h"

#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

// Role and database settings change what the stream looks like; what is asked for at startup wins.
#define SESSION_OPTIONS                                                                           \
        "-c datestyle=ISO -c intervalstyle=iso_8601 -c extra_float_digits=3 -c bytea_output=hex " \
        "-c timezone=UTC -c statement_timeout=0 -c idle_session_timeout=0 "                       \
        "-c idle_in_transaction_session_timeout=0 -c lock_timeout=0 -c search_path=pg_catalog"

struct Server {
        PGconn *pg;
        sd_event *loop;
        sd_event_source *io, *timer, *soon;
        const ServerHandlers *handlers;
        void *userdata;
        bool up, copying, reading;
        ServerAnswer answer; // set while a command is under way
        ServerRow row;       // of its rows one by one; may be NULL
        void *answer_userdata;
        PGresult *result; // what will be answered
        uint64_t connect_usec;
};

// ---- faults
FaultClass fault_class(const ServerFault *f)
{
        if (strcmp(f->state, "55006") == 0)
                return FAULT_BUSY;
        if (strncmp(f->state, "28", 2) == 0 || strncmp(f->state, "42", 2) == 0 ||
                strncmp(f->state, "3D", 2) == 0 || strncmp(f->state, "55", 2) == 0 ||
                strncmp(f->state, "22", 2) == 0 || strncmp(f->state, "0A", 2) == 0 ||
                strcmp(f->state, "08P01") == 0)
                return FAULT_SETTING;
        return FAULT_TRANSIENT;
}

// "... FATAL:  28P01: password authentication failed" -> state and the text without it.
static void take_state(char *text, char state[static 6])
{
        for (char *at = text; (at = strstr(at, ":  ")); at++) {
                char *code = at + 3;
                bool good = strlen(code) > 6 && code[5] == ':';
                for (size_t i = 0; good && i < 5; i++)
                        good = isdigit((unsigned char)code[i]) || isupper((unsigned char)code[i]);
                if (!good)
                        continue;
                memcpy(state, code, 5);
                state[5] = 0;
                memmove(at + 2, code + 6, strlen(code + 6) + 1);
                return;
        }
}

static bool is_noise(const char *line)
{
        return strncmp(line, "LOCATION:", 9) == 0 || strncmp(line, "CONTEXT:", 8) == 0 ||
               strncmp(line, "Is the server running", 21) == 0;
}

// The lines of a message as one sentence, without what is of no use to anybody here.
static void take_text(Reason *out, const char *message)
{
        size_t n = 0;
        for (const char *at = message; *at && n + 3 < sizeof out->text;) {
                at += strspn(at, " \t");
                size_t len = strcspn(at, "\n");
                if (len > 0 && !is_noise(at)) {
                        int w = snprintf(out->text + n, sizeof out->text - n, "%s%.*s",
                                n ? "; " : "", (int)len, at);
                        n = w < 0 || n + (size_t)w >= sizeof out->text ? sizeof out->text - 1
                                                                       : n + (size_t)w;
                }
                at += len;
                at += *at == '\n';
        }
        if (n == 0)
                (void)reason_set(out, 0, "the connection to the server was lost");
}

static void fault_of_connection(const PGconn *pg, ServerFault *f)
{
        char *text = strdup(pg ? PQerrorMessage(pg) : "out of memory");
        *f = (ServerFault){0};
        if (text)
                take_state(text, f->state);
        take_text(&f->reason, text ? text : "out of memory");
        free(text);
}

static void fault_of_result(const PGresult *result, ServerFault *f)
{
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
        *f = (ServerFault){0};
        (void)snprintf(f->state, sizeof f->state, "%s", state ? state : "");
        if (primary)
                (void)reason_set(
                        &f->reason, 0, "%s%s%s", primary, detail ? "; " : "", detail ? detail : "");
        else
                take_text(&f->reason, PQresultErrorMessage(result));
}

// ---- conninfo
int conninfo_check(const char *conninfo, Reason *reason)
{
        char *message = NULL;
        int r = 0;
        PQconninfoOption *options = PQconninfoParse(conninfo, &message);
        if (!options) {
                char *line = message;
                r = reason_set(reason, -EINVAL, "%.*s",
                        (int)strcspn(line ? line : "no memory", "\n"), line ? line : "no memory");
                PQfreemem(message);
                return r;
        }
        for (PQconninfoOption *o = options; o->keyword && r == 0; o++)
                if (o->val && (strcmp(o->keyword, "password") == 0 ||
                                      strcmp(o->keyword, "sslpassword") == 0))
                        r = reason_set(reason, -EINVAL,
                                "a password does not belong into the configuration, which "
                                "others may read: put the line host:port:database:user:password "
                                "into "
                                "a file of mode 0600 and write passfile = \"file:/PATH\" or "
                                "\"credential:NAME\"");
        PQconninfoFree(options);
        return r;
}

// The user's own startup options stand before ours, so that ours win.
static char *session_options(const char *conninfo)
{
        char *out = NULL;
        const char *own = "";
        PQconninfoOption *options = strchr(conninfo, '=') ? PQconninfoParse(conninfo, NULL) : NULL;
        for (PQconninfoOption *o = options; o && o->keyword; o++)
                if (strcmp(o->keyword, "options") == 0 && o->val)
                        own = o->val;
        if (asprintf(&out, "%s %s", own, SESSION_OPTIONS) < 0)
                out = NULL;
        PQconninfoFree(options);
        return out;
}

// ---- events
static int on_io(sd_event_source *e, int fd, uint32_t revents, void *userdata);

static void server_listen(Server *s, uint32_t events)
{
        int fd = PQsocket(s->pg);
        s->io = sd_event_source_disable_unref(s->io);
        if (fd >= 0)
                (void)sd_event_add_io(s->loop, &s->io, fd, events, on_io, s);
}

static void server_down(Server *s, const ServerFault *fault)
{
        s->io = sd_event_source_disable_unref(s->io);
        s->timer = sd_event_source_disable_unref(s->timer);
        s->soon = sd_event_source_disable_unref(s->soon);
        s->up = s->copying = false;
        s->answer = NULL;
        s->handlers->down(s->userdata, fault);
}

static void server_lost(Server *s)
{
        ServerFault fault;
        fault_of_connection(s->pg, &fault);
        server_down(s, &fault);
}

// Interest in the socket once up.
static void server_interest(Server *s, bool writing)
{
        uint32_t events = (s->reading ? (uint32_t)EPOLLIN : 0) | (writing ? (uint32_t)EPOLLOUT : 0);
        if (s->io)
                (void)sd_event_source_set_io_events(s->io, events);
}

// -1: the connection is lost.
static int server_flush(Server *s)
{
        int r = PQflush(s->pg);
        if (r >= 0)
                server_interest(s, r == 1);
        return r;
}

static void server_connected(Server *s)
{
        s->timer = sd_event_source_disable_unref(s->timer);
        s->up = s->reading = true;
        (void)PQsetErrorVerbosity(s->pg, PQERRORS_DEFAULT);
        if (PQsetnonblocking(s->pg, 1) < 0) {
                server_lost(s);
                return;
        }
        server_listen(s, EPOLLIN);
        s->handlers->up(s->userdata);
}

static void server_connect_step(Server *s)
{
        s->io = sd_event_source_disable_unref(s->io);
        switch (PQconnectPoll(s->pg)) {
        case PGRES_POLLING_READING:
                server_listen(s, EPOLLIN);
                break;
        case PGRES_POLLING_WRITING:
                server_listen(s, EPOLLOUT);
                break;
        case PGRES_POLLING_OK:
                server_connected(s);
                return;
        default:
                server_lost(s);
                return;
        }
        if (!s->io) {
                const ServerFault fault = {.reason = {"cannot wait for the server: out of memory"}};
                server_down(s, &fault);
        }
}

// Results of the command under way, as far as they are there.
static void server_collect(Server *s)
{
        bool lost = PQstatus(s->pg) == CONNECTION_BAD;
        while (s->answer && (lost || !PQisBusy(s->pg))) {
                PGresult *result = PQgetResult(s->pg);
                if (!result)
                        break;
                ExecStatusType status = PQresultStatus(result);
                if (status == PGRES_SINGLE_TUPLE) {
                        s->row(s->answer_userdata, result);
                        PQclear(result);
                        continue;
                }
                bool kept = s->result && PQresultStatus(s->result) == PGRES_FATAL_ERROR;
                if (!kept) {
                        PQclear(s->result);
                        s->result = result;
                } else {
                        PQclear(result);
                }
                s->copying = status == PGRES_COPY_BOTH;
                if (s->copying)
                        break;
        }
        if (!lost && !s->copying && PQisBusy(s->pg))
                return;
        ServerAnswer answer = s->answer;
        PGresult *result = s->result;
        s->answer = NULL;
        s->result = NULL;
        ServerFault fault = {0};
        bool refused = !result || PQresultStatus(result) == PGRES_FATAL_ERROR ||
                       PQresultStatus(result) == PGRES_BAD_RESPONSE;
        if (refused && result)
                fault_of_result(result, &fault);
        if (!result)
                fault_of_connection(s->pg, &fault);
        if (lost || PQstatus(s->pg) == CONNECTION_BAD)
                server_down(s, &fault);
        else
                answer(s->answer_userdata, refused ? NULL : result, refused ? &fault : NULL);
        PQclear(result);
}

static int on_io(sd_event_source *e, int fd, uint32_t revents, void *userdata)
{
        Server *s = userdata;
        if (!s->up) {
                server_connect_step(s);
                return 0;
        }
        if ((revents & EPOLLOUT) && server_flush(s) < 0) {
                server_lost(s);
                return 0;
        }
        bool hung = revents & (EPOLLERR | EPOLLHUP);
        if (!(revents & EPOLLIN) && !hung)
                return 0;
        // A failure shows in what is read next. While reading is off only a hang-up comes here.
        (void)!PQconsumeInput(s->pg);
        // A socket that libpq closed: its number may be another's in a moment.
        if (PQsocket(s->pg) < 0)
                s->io = sd_event_source_disable_unref(s->io);
        if (s->copying)
                s->handlers->copy(s->userdata);
        else if (s->answer)
                server_collect(s);
        else if (PQstatus(s->pg) == CONNECTION_BAD)
                server_lost(s);
        return 0;
}

static int on_timeout(sd_event_source *e, uint64_t usec, void *userdata)
{
        Server *s = userdata;
        ServerFault fault = {0};
        const char *host = PQhost(s->pg), *port = PQport(s->pg);
        (void)reason_set(&fault.reason, 0, "no connection to %s port %s within %" PRIu64 " s",
                host && host[0] ? host : "the server", port && port[0] ? port : "5432",
                s->connect_usec / USEC_PER_SEC);
        server_down(s, &fault);
        return 0;
}

// The first step waits for the loop, so that no handler is called from server_connect().
static int on_soon(sd_event_source *e, void *userdata)
{
        Server *s = userdata;
        s->soon = sd_event_source_disable_unref(s->soon);
        if (PQstatus(s->pg) == CONNECTION_BAD)
                server_lost(s);
        else
                server_listen(s, EPOLLOUT);
        return 0;
}

static void ignore_notice(void *arg, const PGresult *result)
{
}

int server_connect(Server **ret, sd_event *loop, const ServerLogin *login,
        const ServerHandlers *handlers, void *userdata, Reason *reason)
{
        _cleanup_(freep) char *options = session_options(login->conninfo);
        Server *s = calloc(1, sizeof *s);
        const char *words[12], *values[12];
        size_t n = 0;
        const struct {
                const char *word, *value;
        } all[] = {{"keepalives_idle", "30"}, {"keepalives_interval", "10"},
                {"keepalives_count", "3"}, {"tcp_user_timeout", "60000"},
                {"dbname", login->conninfo}, {"options", options}, {"client_encoding", "UTF8"},
                {"fallback_application_name", login->application}, {"passfile", login->passfile},
                {"replication", login->replication ? "database" : NULL}};

        for (size_t i = 0; i < N_ELEMENTS(all); i++)
                if (all[i].value) {
                        words[n] = all[i].word;
                        values[n++] = all[i].value;
                }
        words[n] = values[n] = NULL;
        if (s && options)
                s->pg = PQconnectStartParams(words, values, 1);
        if (!s || !s->pg) {
                free(s);
                return reason_set(reason, -ENOMEM, "out of memory");
        }
        *s = (Server){.pg = s->pg,
                .loop = loop,
                .handlers = handlers,
                .userdata = userdata,
                .connect_usec = login->connect_usec};
        (void)PQsetErrorVerbosity(s->pg, PQERRORS_VERBOSE);
        (void)PQsetNoticeReceiver(s->pg, ignore_notice, NULL);
        int r = sd_event_add_defer(loop, &s->soon, on_soon, s);
        if (r >= 0)
                r = sd_event_add_time_relative(
                        loop, &s->timer, CLOCK_MONOTONIC, login->connect_usec, 0, on_timeout, s);
        if (r < 0) {
                (void)server_free(s);
                return reason_errno(reason, r, "cannot connect");
        }
        *ret = s;
        return 0;
}

Server *server_free(Server *s)
{
        if (!s)
                return NULL;
        s->io = sd_event_source_disable_unref(s->io);
        s->timer = sd_event_source_disable_unref(s->timer);
        s->soon = sd_event_source_disable_unref(s->soon);
        PQclear(s->result);
        PQfinish(s->pg);
        free(s);
        return NULL;
}

bool server_is_up(const Server *s)
{
        return s && s->up;
}

bool server_is_busy(const Server *s)
{
        return s->answer != NULL || s->copying;
}

int server_query(Server *s, const char *sql, ServerAnswer answer, void *userdata)
{
        return server_query_rows(s, sql, NULL, answer, userdata);
}

int server_query_rows(
        Server *s, const char *sql, ServerRow row, ServerAnswer answer, void *userdata)
{
        if (!s->up || server_is_busy(s))
                return -EBUSY;
        if (!PQsendQuery(s->pg, sql))
                return -EPIPE;
        if (row)
                (void)PQsetSingleRowMode(s->pg);
        if (server_flush(s) < 0)
                return -EPIPE;
        s->row = row;
        s->answer = answer;
        s->answer_userdata = userdata;
        return 0;
}

int server_copy(Server *s, char **ret, size_t *ret_len, ServerFault *ret_fault)
{
        int n = PQgetCopyData(s->pg, ret, 1);
        if (n > 0) {
                *ret_len = (size_t)n;
                return 1;
        }
        if (n == 0 && PQstatus(s->pg) != CONNECTION_BAD)
                return 0;
        PGresult *result = n == -1 ? PQgetResult(s->pg) : NULL;
        if (result && PQresultStatus(result) == PGRES_FATAL_ERROR)
                fault_of_result(result, ret_fault);
        else
                fault_of_connection(s->pg, ret_fault);
        if (n == -1 && (!result || PQresultStatus(result) != PGRES_FATAL_ERROR))
                (void)reason_set(&ret_fault->reason, 0, "the server ended the stream");
        PQclear(result);
        return -EPIPE;
}

int server_copy_put(Server *s, const void *data, size_t len)
{
        if (PQputCopyData(s->pg, data, (int)len) < 0 || server_flush(s) < 0)
                return -EPIPE;
        return 0;
}

void server_copy_read(Server *s, bool on)
{
        if (s->reading == on)
                return;
        s->reading = on;
        (void)server_flush(s);
}

const char *server_user(const Server *s)
{
        const char *user = s ? PQuser(s->pg) : NULL;
        return user ? user : "";
}

bool server_is_ascii(const Server *s)
{
        const char *encoding = PQparameterStatus(s->pg, "server_encoding");
        return encoding && strcmp(encoding, "SQL_ASCII") == 0;
}

int server_version(const Server *s)
{
        return PQserverVersion(s->pg);
}

static char *quoted(char *from_libpq)
{
        char *copy = from_libpq ? strdup(from_libpq) : NULL;
        PQfreemem(from_libpq);
        return copy;
}

char *server_quote_name(const Server *s, const char *name)
{
        return quoted(PQescapeIdentifier(s->pg, name, strlen(name)));
}

char *server_quote_text(const Server *s, const char *text)
{
        return quoted(PQescapeLiteral(s->pg, text, strlen(text)));
}
