// SPDX-License-Identifier: MIT
// The exec source as one object, shared by the files of this folder. Who does what:
//   exec.c    its life: what the hub says, batches, what is durable
//   run.c     one run of the program after the other: start, ready, end, the wait between them
//   output.c  its standard output: bytes to lines, at a rate; its standard error to the log
//   take.c    one line to an event: its id, its position, what is refused
//   input.c   durable positions to its standard input
//   keeper.c  the process that holds the program
#pragma once

#include "event/keys.h"
#include "event/line.h"
#include "event/record.h"
#include "keeper.h"
#include "module/source.h"
#include "options.h"
#include "place.h"
#include "rate.h"
#include <sys/queue.h>

enum {
        EXEC_BATCH_EVENTS = 512, // a batch is handed over at this many
        EXEC_STARTS = 600,       // the largest value of `restarts`
        EXEC_ERROR_LINE = 1024,
        EXEC_CHUNK = 64 * 1024, // read at once
};

typedef enum RunState {
        RUN_DOWN,   // not started yet, or for good
        RUN_WAITS,  // for its next start
        RUN_UP,     // the keeper lives
        RUN_DRAINS, // the keeper and all it held are gone; what they printed is still taken
} RunState;

typedef struct ExecCounts {
        uint64_t starts, failures;
        uint64_t accepted, refused, repeated; // lines
        uint64_t errors, unlogged;            // lines of standard error, those not logged
} ExecCounts;

// A position on its way to being durable, for acknowledge.
typedef struct Ack {
        uint64_t batch;
        char *position;
        TAILQ_ENTRY(Ack) link;
} Ack;

typedef struct Exec {
        Source *source;
        const ExecOptions *options;
        sd_event *event;
        EventParser parser;

        // the run
        RunState run;
        pid_t keeper, program;
        int news_fd, out_fd, err_fd, in_fd;
        sd_event_source *news, *out, *err, *in;
        sd_event_source *timer;  // the next start, the end of patience with a start or a stop
        sd_event_source *settle; // it has run for a while: what was is forgiven
        KeeperNews end;
        bool ended; // `end` is there
        bool run_ready, ready, stopping;
        unsigned failures_in_row;
        uint64_t started[EXEC_STARTS]; // BOOTTIME of the last ones, a ring
        unsigned n_started;
        char why[128];      // the program was ended by us: why
        char **environment; // what the user gave: NAME=value, with secrets

        // output
        Buf lines, errors;
        size_t scanned; // of `lines`: no line feed before it
        bool skipping;  // within a line that is too long
        bool out_over, err_over;
        bool err_skipping; // of a line of standard error that is in the log already
        Rate rate, log_rate;
        sd_event_source *turn, *refill;

        // events
        Place place;     // of the next line
        uint64_t repeat; // so many lines without an id since its position are durable already
        Keys ids;        // of lines that had one
        Buf last_row;    // of the state, while it is read
        RecordOrigin origin;
        char nonce[33]; // of this process, for lines that say nothing of themselves
        uint64_t n_nameless;
        bool begun;
        unsigned n_batch;
        uint64_t batch, durable; // the number that the batch being filled gets; durable up to
        sd_event_source *commit, *stats;
        char last_end[160];
        uint64_t gap_usec; // BOOTTIME of the last source.gap; 0: none yet
        ExecCounts counts;

        // input
        TAILQ_HEAD(AckList, Ack) acks;
        unsigned n_acks;
        Buf input;
} Exec;

// exec.c
int exec_start(Source *s, const void *options, Slice position, void **ret_instance,
        Reason *reason) _must_use_;
int exec_state(void *instance, Slice key, Slice value);
int exec_state_end(void *instance, bool more);
void exec_durable(void *instance, uint64_t batch);
void exec_pause(void *instance);
void exec_resume(void *instance);
void exec_stop(void *instance);
void exec_free(void *instance);
bool exec_may_take(const Exec *x);
bool exec_all_durable(const Exec *x);
// Room for an event of so many bytes in the batch, if need be in the next one. False: not now.
bool exec_make_room(Exec *x, size_t bytes);
void exec_begin(Exec *x); // source_begin(), unless it is begun
void exec_commit(Exec *x);
void exec_stats_soon(Exec *x);
void exec_maybe_stopped(Exec *x);
_printf_(3, 4) void exec_failed(Exec *x, int error, const char *format, ...);

// run.c
void run_begin(Exec *x);
void run_ready(Exec *x); // the program says so
void run_stop(Exec *x);  // of the source
void run_look(Exec *x);  // is the run over, now that something changed?
void run_clear(Exec *x); // at the end of the process
const char *run_state_to_string(const Exec *x);

// output.c
int output_open(Exec *x, int out, int err) _must_use_; // takes both
void output_close(Exec *x);
void output_look(Exec *x); // something changed: may more be taken?
bool output_is_over(const Exec *x);

// take.c
typedef enum Taken { TAKE_DONE, TAKE_LATER } Taken;
Taken take_line(Exec *x, Slice line);
Taken take_refuse(Exec *x, const char *why); // a line, or what should have been one

// input.c
int input_open(Exec *x, int fd) _must_use_; // takes it; -1: it gets none
void input_close(Exec *x);
void input_note(Exec *x, Slice position); // it is part of the batch being filled
void input_durable(Exec *x);
