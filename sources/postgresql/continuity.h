// SPDX-License-Identifier: MIT
// Does what the server has join what we have? Decided on every connect, from the stored position and
// the slot as it is. Pure.
//
// The rule behind it: the slot's confirmed position is never beyond ours, because only what is stored
// here is ever confirmed. Where it is beyond, somebody else made or moved the slot, or our state is an
// old copy; what lies between was never seen.
#pragma once

#include "position.h"

typedef struct SlotFacts {
        bool exists, logical, ours; // ours: plugin pgoutput and this database
        bool lost;                  // invalidated: the server no longer has what it needs
        uint64_t confirmed;         // confirmed_flush_lsn; 0 = none
        char plugin[64], database[64];
        char why[128];              // of a lost one, as far as the server says
} SlotFacts;

typedef struct ServerFacts {
        uint64_t system_id;
        uint32_t timeline;
        uint64_t now;         // the end of its log
        const char *slot;     // the name that is configured
        bool branch_known;    // the stored timeline is in its history ...
        uint64_t branch;      // ... which left it at this LSN
        bool in_recovery;     // a standby
        bool republished;     // the publication is younger than what the slot wants to send
} ServerFacts;

typedef enum ContinuityAction {
        CONTINUITY_GO,       // start at `start`
        CONTINUITY_CREATE,   // the slot is missing
        CONTINUITY_RECREATE, // it is of no use any more: drop it first
        CONTINUITY_WAIT,     // a standby that has not come to where we were: `detail` says so
        CONTINUITY_REFUSE,   // it belongs to somebody else: `detail` says so
} ContinuityAction;

typedef struct Continuity {
        ContinuityAction action;
        uint64_t start;  // of CONTINUITY_GO
        bool gap;
        const char *reason; // a word
        uint64_t from, to;  // to = 0: where the new slot begins
        char detail[384];
} Continuity;

// p->system_id = 0: nothing is stored yet, so nothing can be missing.
void continuity_judge(const Position *p, const ServerFacts *server, const SlotFacts *slot, Continuity *ret);
// Where `timeline` was left, from the text of a history file. False: it is not in there.
bool timeline_branch(Slice history, uint32_t timeline, uint64_t *ret);
