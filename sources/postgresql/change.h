// SPDX-License-Identifier: MIT
// The stream's messages, in order, become events: the state of the transaction, the ordinals, what
// is skipped after a restart, and the data of each event. Pure: no socket, no clock, no link.
//
// The caller's loop, which can stop at any point for want of credit and go on later:
//
//   change_feed(c, payload)                 only when nothing waits (change_waits() is false)
//   while ((item = change_item(c)))         put it into the batch, then change_taken(c)
//   if (change_question(c)) ...             ask the catalogue, change_answer() each row, then
//                                           change_answered(); items may wait at the same time
//
// The payload must live until nothing waits. Any item may be the last of a batch: change_position()
// covers exactly what was taken, so a transaction of a million rows goes out in many batches and
// is never held in memory. Errors end the connection, not the process: then change_disconnected(),
// a new connection, change_connected(); the position and the known tables stay.
#pragma once

#include "base/reason.h"
#include "event/schema.h"
#include "module/source.h"
#include "position.h"

typedef enum ChangeOperation {
        CHANGE_INSERT = 1 << 0,
        CHANGE_UPDATE = 1 << 1,
        CHANGE_DELETE = 1 << 2,
        CHANGE_TRUNCATE = 1 << 3,
        CHANGE_MESSAGE = 1 << 4,
        CHANGE_ALL = (1 << 5) - 1,
} ChangeOperation;

typedef struct ChangeOptions {
        unsigned operations; // which become events; all are counted
        bool numbers;        // numeric = "number"
        bool group;          // transaction = "group"
        size_t event_max;    // bytes of one event's data; above it a stand-in (source_batch_max())
} ChangeOptions;

enum {
        CHANGE_PART_ROWS = 1000,         // of one part of a `transaction` event
        CHANGE_PART_BYTES = 256 * 1024,  // at which a part is closed; less when event_max is small
        CHANGE_MESSAGE_SUBJECT = 1024,   // bytes of a message's prefix in the subject
};

// One step towards a batch: a state change, an event, or both; they go into the same batch.
typedef struct ChangeItem {
        const SourceEvent *event; // NULL: none
        Slice state_key;          // absent: none
        Slice state_value;        // absent: delete the row
} ChangeItem;

typedef struct Change Change;
Change *change_new(const ChangeOptions *o); // NULL: no memory
Change *change_free(Change *c);

// State rows at the start, one by one: 0; 1: not a row of this part; -EBADMSG, -ENOMEM.
int change_load(Change *c, Slice key, Slice value) _must_use_;
// At the start, from the stored position. Transactions that ended at or before its end LSN, the
// first `ordinal` changes of the one at its commit LSN, and messages up to its message LSN are
// skipped when they come again.
void change_set_position(Change *c, const Position *p);
// Where things stand, of all that was taken.
const Position *change_position(const Change *c);

// A connection is about to stream. Also says whose system, timeline and slot the position is.
void change_connected(Change *c, uint64_t system_id, uint32_t timeline, const char *slot);
// What waits and what was begun is forgotten; it comes again.
void change_disconnected(Change *c);

// One pgoutput payload (behind the 25 bytes of 'w'). 0; -EBADMSG: not what the protocol says;
// -ENOSPC: too many tables for one connection, connect anew; -ENOMEM. The reason says it in words.
int change_feed(Change *c, Slice payload, Reason *reason) _must_use_;
bool change_waits(const Change *c); // an item or a question

const ChangeItem *change_item(const Change *c); // NULL: none waits
int change_taken(Change *c, Reason *reason) _must_use_; // errors as change_feed()

// What must be asked of the catalogue (any connection to the same database) before more is fed: one
// SQL command, NULL when there is none. Each row has CHANGE_ANSWER_FIELDS texts (NULL as empty).
// A server that cannot answer now is asked again later; nothing is fed meanwhile.
enum { CHANGE_ANSWER_FIELDS = 5 };
const char *change_question(const Change *c);
int change_answer(Change *c, const Slice fields[static CHANGE_ANSWER_FIELDS]) _must_use_; // -EBADMSG -ENOMEM
int change_answered(Change *c, Reason *reason) _must_use_; // a further question may follow

bool change_in_transaction(const Change *c); // between B and C

typedef struct ChangeStats {
        uint64_t transactions, rows, messages, skipped; // seen; skipped: of rows, taken before
} ChangeStats;
const ChangeStats *change_stats(const Change *c);

// The stream says there what it tells; NULL: nowhere. Not owned.
typedef struct Watch Watch;
void change_watch(Change *c, Watch *w);

// Rows that are read beside the stream (change_read.c), by a Change of its own without a group, which
// is fed nothing else. First the table as a message R would describe it; then, until it returns 0,
// change_read_ask() and the answer to change_question(); then each row as a message I. The event
// lives until the next call. ordinal: the how-manieth row.
int change_read_table(Change *c, Slice message, uint64_t lsn, Reason *reason) _must_use_;
int change_read_ask(Change *c) _must_use_; // 1, 0, -ENOMEM
int change_read_row(Change *c, Slice message, uint64_t ordinal, SourceEvent *ret, Reason *reason) _must_use_;

// fields.c
extern const EventType postgresql_types[];
extern const size_t n_postgresql_types;
