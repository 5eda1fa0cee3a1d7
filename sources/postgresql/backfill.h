// SPDX-License-Identifier: MIT
// Rows that are there already, as row.read events, consistent with the stream and without a write to
// the database. This is the part's whole face to the stream; it has a connection of its own
// (stream_login()), its progress in state rows whose keys begin with "backfill", and asks for nothing
// while the stream is down.
//
// How it stays consistent: a chunk, read in a REPEATABLE READ transaction, is held until the stream has
// passed the log's end as it was just after the snapshot. Of what the stream has told since before the
// snapshot, by transactions that it does not see, the chunk's rows of the same key are left out. A
// snapshot that does not see a transaction that was streamed before is taken again.
//
// What the stream offers (stream.h): pump_position() and pump_commit() close a batch with the position
// as it is, at any point between two turns; pump_has_credit() says whether one may be begun; the
// batch holds rows and progress together. The stream never begins a batch inside backfill's.
#pragma once

#include "base/cleanup.h"
#include "base/slice.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Stream Stream;
typedef struct Backfill Backfill;

int backfill_new(Stream *s, Backfill **ret) _must_use_;
Backfill *backfill_free(Backfill *b);

// At the start, state rows one by one: 0; 1: not a row of this part; -EBADMSG, -ENOMEM.
int backfill_load(Backfill *b, Slice key, Slice value) _must_use_;

// Inside a batch that the caller closes (a first start, the other side of a gap): all tables are asked
// for, durable with the batch.
void backfill_request_all(Backfill *b);
// The stream runs (again), with preflight and publication known; it is gone: the chunk is forgotten.
void backfill_running(Backfill *b);
void backfill_interrupted(Backfill *b);
// After each turn of the stream, and when credit came back: no batch is open. Passes on what is ready.
void backfill_work(Backfill *b);

// A chunk is being read for which the stream must stand still: nothing is fed meanwhile.
bool backfill_stalls(const Backfill *b);

// belfry source backfill NAME [TABLE]; answers with source_answer().
void backfill_command(Stream *s, uint64_t ticket, const json_t *arguments);
// belfry source backfill-cancel NAME [TABLE], likewise.
void backfill_cancel_command(Stream *s, uint64_t ticket, const json_t *arguments);
json_t *backfill_stats(const Backfill *b); // a new reference; NULL: nothing to say
