// SPDX-License-Identifier: MIT
// What change.c (the order of things), change_write.c (an event's data) and change_ask.c (what the
// catalogue must say) share.
#pragma once

#include "base/buf.h"
#include "change.h"
#include "pgoutput.h"
#include "relation.h"
#include "watch.h"

// What becomes true once the waiting item is in the batch.
typedef enum ChangeEffect {
        EFFECT_NONE,
        EFFECT_ORDINAL, // the change is taken
        EFFECT_PART,    // the part is taken, the transaction goes on
        EFFECT_END,     // the last part is taken: the transaction is whole
        EFFECT_MESSAGE, // the non-transactional message is taken
} ChangeEffect;

typedef struct Transaction {
        bool open, skipped; // skipped: whole, since it is in the position already
        uint64_t commit_lsn, end_lsn, ordinal, skip_until, time_usec;
        uint32_t xid;
        size_t id_len;      // of Change.id: "SYSTEM:LSN:"
} Transaction;

typedef struct Part {
        Buf json;              // a `transaction` event's data, open behind the last change
        unsigned rows;
        uint64_t first, last;  // ordinals
        uint32_t number;       // of the one being filled, from 1
} Part;

struct Change {
        ChangeOptions options;
        Relations relations;
        Position position;
        Transaction tx;
        Part part;
        size_t data_max;

        // The message being worked on: its payload is the caller's until `busy` ends.
        PgMessage message;
        Slice payload;
        bool busy, counted, carry; // carry: `data` is a change that goes into the next part
        unsigned step;
        Relation *relation, *before; // of R; before is owned
        bool news;
        PgValue old_values[PG_COLUMNS_MAX], new_values[PG_COLUMNS_MAX];

        // What waits.
        bool waits;
        ChangeEffect effect;
        ChangeItem item;
        SourceEvent event;
        Buf data, tx_json, id, key, subject, state_key, state_value;

        // What is asked.
        Relation *asking; // NULL: nothing
        Buf question;
        uint32_t asked[64];
        unsigned n_asked;

        Watch *watch; // not owned; may be NULL
        ChangeStats stats;
};

typedef enum ChangeOp {
        OP_INSERT,
        OP_UPDATE,
        OP_DELETE,
        OP_TRUNCATE,
        OP_MESSAGE,
        OP_READ,
        _OP_MAX,
} ChangeOp;

// change_write.c: each leaves one JSON object in `data`, or a stand-in if that would exceed data_max;
// with transaction = "group" it is one of the list and has no transaction of its own.
int change_write_row(Change *c, const Relation *r, ChangeOp op) _must_use_;
int change_write_truncate(Change *c, const Relation *r) _must_use_;
int change_write_message(Change *c) _must_use_;
int change_write_schema(Change *c, const Relation *before, const Relation *after) _must_use_;
void change_write_tx(Change *c); // tx_json, once a transaction
void change_part_begin(Change *c);
void change_part_end(Change *c, bool last);
// The event's key in `key`; old: of the row as it was. False: a part of it was not sent.
bool change_write_key(Change *c, const Relation *r, bool old);

// change_ask.c: 1: a row of r cannot be told before `question` is answered; 0: it can; -ENOMEM.
int change_ask(Change *c, Relation *r) _must_use_;

// change_read.c: a row is about to be told, its values are there.
void change_watch_row(Change *c, const Relation *r, ChangeOp op);

// change.c: the values of a row; false: it has another number of columns.
bool change_values(PgTuple t, const Relation *r, PgValue *out) _must_use_;
// Works on until something waits or the message is done.
int change_go(Change *c, Reason *reason) _must_use_;
