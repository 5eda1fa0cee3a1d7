// SPDX-License-Identifier: MIT
// One postgresql source: what its parts share. stream.c owns the state machine (load, connect, back
// off, stop), attach.c the way from a connection to a running stream, pump.c the stream itself,
// health.c the side connection, doctor.c what an operator asks.
//
//   loading -> connecting -> attaching -> [beginning] -> running | halted
//                  ^  any failure: back-off, with its reason in `status`
#pragma once

#include "backfill.h"
#include "change.h"
#include "continuity.h"
#include "options.h"
#include "preflight.h"
#include "publication.h"
#include "server.h"

typedef enum StreamState {
        STREAM_LOADING, // state rows are read back
        STREAM_CONNECTING,
        STREAM_ATTACHING,
        STREAM_BEGINNING, // a new start and its gap wait for credit
        STREAM_RUNNING,
        STREAM_HALTED, // behind a gap, until the operator says go on
        STREAM_BACKOFF,
        STREAM_STOPPED,
} StreamState;

enum {
        SENT_MAX = 4096,          // batches not durable yet
        BATCH_BYTES = 256 * 1024, // at which a batch is closed
        BATCH_EVENTS = 2000,
        TURN_BATCHES = 4, // of one turn of the loop
        CONNECT_SEC = 15,
        IDLE_WAL =
                16 * 1024 * 1024, // of others' WAL, at which the position is stored at the latest
        HEALTH_SEC = 10,
        REFRESH_SEC = 60, // between two looks for tables that a pattern matches
};

typedef struct Sent {
        uint64_t batch, lsn;
} Sent;

struct Stream {
        Source *source;
        const PostgresqlOptions *options;
        char slot[SLOT_NAME_MAX], publication[SLOT_NAME_MAX], application[80];
        char *passfile;
        StreamState state;
        bool ready;

        // stream.c
        Server *main;
        sd_event_source *timer; // back-off; a slot that is slow in coming
        uint64_t backoff_usec;
        Reason trouble, publication_trouble, budget_trouble, backfill_trouble; // why it is degraded
        bool told_trouble;
        bool failed, stuck; // the server refused to go on at `failed_lsn`; more than once
        uint64_t failed_lsn;
        char *state_from; // where reading of state rows goes on
        size_t state_from_len;

        // attach.c
        Preflight preflight;
        Publication *publishing;
        ServerFacts server_facts;
        SlotFacts slot_facts;
        Continuity continuity;
        uint64_t start_lsn;
        bool republished; // the last stream said so
        char halt[512];   // the row that keeps it halted, "" = none

        // pump.c
        Change *change;
        char *payload; // of libpq; lives until nothing of it waits
        sd_event_source *again, *status;
        uint64_t status_usec;
        uint64_t idle_lsn;     // everything before it is here, outside of transactions
        uint64_t received_lsn; // on this connection
        uint64_t saved_lsn;    // of the last batch
        uint64_t flush_lsn;    // durable
        uint64_t told_lsn;     // confirmed to the server
        uint64_t saved_usec, heard_usec, event_usec;
        Sent sent[SENT_MAX];
        unsigned first_sent, n_sent;
        bool asked; // the server waits for an answer with the durable position

        // health.c
        Server *side;
        sd_event_source *health;
        Publication *refreshing;
        uint64_t refresh_usec, side_usec;
        bool questioned, dropping, leaving, side_up;
        json_t *slot_stats;
        bool told_half;

        Backfill *backfill;
        uint64_t backfill_lsn; // rows are passed on when the stream is there; UINT64_MAX: none wait
};

// stream.c
int stream_new(Source *s, const PostgresqlOptions *o, Slice position, Stream **ret,
        Reason *reason) _must_use_;
Stream *stream_free(Stream *s);
int stream_state(Stream *s, Slice key, Slice value) _must_use_;
int stream_state_end(Stream *s, bool more) _must_use_;
void stream_stop(Stream *s);
void stream_connect(Stream *s);
// Drops the connection, says why and tries again later.
void stream_retry(Stream *s, const ServerFault *fault);
void stream_retry_text(Stream *s, FaultClass c, const char *format, ...) _printf_(3, 4);
void stream_tell_trouble(Stream *s); // what is degraded, composed
void stream_well(Stream *s);         // it streams, and comes forward
int stream_login(const Stream *s, bool replication, const ServerHandlers *handlers, void *userdata,
        Server **ret, Reason *reason) _must_use_;
void stream_alarm(Stream *s, uint64_t usec, sd_event_time_handler_t handler);

// attach.c
void attach_begin(Stream *s);    // the connection is up
void attach_go_on(Stream *s);    // credit is there: a beginning that waited
void attach_continue(Stream *s); // the operator accepts the gap

// pump.c
int pump_init(Stream *s) _must_use_;
void pump_deinit(Stream *s);
void pump_start(Stream *s); // the server entered copy mode
void pump_stop(Stream *s);  // the connection goes
void pump(Stream *s);
void pump_durable(Stream *s, uint64_t batch);
void pump_confirm(Stream *s); // tells the server what is durable
void pump_goodbye(Stream *s); // what is ready, and a last word to the server; may end the stream
bool pump_has_credit(const Stream *s);
Position pump_position(const Stream *s);
int pump_commit(Stream *s, const Position *p) _must_use_; // closes the open batch with it

// health.c
void health_start(Stream *s);
void health_stop(Stream *s);
void health_question(Stream *s); // change_question() waits
void stream_stats(Stream *s);

// doctor.c
extern const SourceCommand postgresql_commands[];
extern const size_t n_postgresql_commands;
void doctor_command(Stream *s, uint64_t ticket, const char *verb, const json_t *arguments);
