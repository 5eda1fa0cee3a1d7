// SPDX-License-Identifier: MIT
// What the parts of the backfill share: backfill.c (which tables, the face, the clock), backfill_list.c
// (the catalogue's list of tables), backfill_read.c (one table: window, description, chunk) and
// backfill_tell.c (a chunk's rows into batches).
//
//   list -> name -> window (lock, snapshot, description) -> [types] -> chunk -> hold -> tell -> ...
//
// A window is one REPEATABLE READ transaction, kept open for at most WINDOW_SEC: its lock keeps the
// table's form, its snapshot serves several chunks. A chunk is held until the stream has told all
// that the snapshot may see. Careful: the stream waits while a chunk is read, so that what changes
// all the time settles too; only after a chunk that had to be read again.
#pragma once

#include "backfill_table.h"
#include "base/clock.h"
#include "pgoutput.h"
#include "stream.h"
#include "watch.h"

enum {
        WINDOW_SEC = 2,
        CHUNK_ROWS_MIN = 16,
        CHUNK_ROWS_MAX = 4000,
        CHUNK_BYTES = 512 * 1024,
        CHUNK_MAX = 1 << 30, // one row of any size fits
        BACKFILL_SQL_MAX = 1 << 20,
        LIST_SEC = 60,    // between two looks for tables that are new
        TROUBLE_SEC = 30, // until a table that could not be read is tried again
        LOCKED_SEC = 3,   // the same, when somebody else holds it
        BACKFILL_RECONNECT_SEC = 5,
        HOLD_MSEC = 250, // between two looks while a chunk is held
};

typedef enum BackfillState {
        BACKFILL_OFF,     // the stream does not run
        BACKFILL_IDLE,    // also while the connection is being made
        BACKFILL_ASKING,  // a question is under way, whose answer goes on
        BACKFILL_HOLDING, // a chunk waits for the stream, or for credit
} BackfillState;

typedef struct BackfillColumns {
        Buf published, keys; // lists for SELECT; keys also behind it, for the cursor
        Buf types[BACKFILL_KEYS_MAX];
        Buf path;   // schemas of the keys' types, where their operators are
        Buf filter; // the publication's, or empty
        unsigned n_published, n_keys;
} BackfillColumns;

struct Backfill {
        Stream *stream;
        Watch *watch;
        Change *rows; // writes the events
        Server *server;
        sd_event_source *timer;
        BackfillState state;

        BackfillTable **tables;
        size_t n_tables, cap_tables;
        uint64_t all_run; // all are asked for; 0 = no
        bool all_listed;  // ... and known; the row goes
        bool first;       // no table was ever listed
        bool relist;      // the list is wanted now
        uint64_t list_usec;
        char *asked; // an operator's table, "" = all; NULL: nobody asks
        uint64_t ticket;
        size_t n_asked; // found for him

        // The window.
        BackfillTable *current;
        bool open, careful, stalls, root; // stalls: the stream waits for us; root: partitioned
        char *told_sql, *read_sql;        // quoted names
        uint64_t window_usec, ask_usec, lsn;
        BackfillColumns columns;
        Buf sql, describe;

        // The chunk: u32 length, message I, u32 n times bytes of the cursor, a row; or the mark alone.
        Buf chunk, value, id;
        size_t chunk_at;
        unsigned n_rows, n_kept, limit, blocks;
        bool cut, last; // cut: more came than is kept; last: nothing is behind it
        uint32_t next_block;

        uint64_t rate_usec, rate_rows; // since when, and how many
        uint64_t stats_usec;           // told last
};

// backfill.c
void backfill_step(Backfill *b); // what is next; nothing is under way
void backfill_arm(Backfill *b, uint64_t usec);
void backfill_ask(Backfill *b, ServerAnswer answer); // sends b->sql
void backfill_ask_rows(Backfill *b, ServerRow row, ServerAnswer answer);
// The table cannot be read now: says why, goes on with the next over a connection of its own.
void backfill_trouble(Backfill *b, const ServerFault *fault);
void backfill_drop(Backfill *b, BackfillTable *t); // it is no longer there; its row goes
BackfillTable *backfill_find(Backfill *b, uint32_t oid);
int backfill_add(Backfill *b, BackfillTable *t) _must_use_; // consumed; -ENOMEM -ENOSPC
// backfill_status.c; to the operator that waits, if one does
void backfill_answer(Backfill *b, bool ok, const char *format, ...) _printf_(3, 4);
void backfill_tell_trouble(Backfill *b); // what of it is degraded
void backfill_save(Backfill *b);         // rows that are not as stored; as far as there is credit

// Reads no further what the pattern says ("" = all); returns how many tables.
size_t backfill_cancel(Backfill *b, const char *pattern);

// backfill_list.c
void backfill_list(Backfill *b);

// backfill_read.c
void backfill_window(Backfill *b);  // opens one for `current`
void backfill_chunk(Backfill *b);   // reads the next one
void backfill_close(Backfill *b);   // ends the transaction
void backfill_release(Backfill *b); // the chunk
void backfill_forget(Backfill *b);  // and what was noted for it
void backfill_columns_clear(BackfillColumns *c);

// backfill_tell.c
bool backfill_is_due(const Backfill *b);
void backfill_tell(Backfill *b);
