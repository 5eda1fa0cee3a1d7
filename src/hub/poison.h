// SPDX-License-Identifier: MIT
// Events at which the hub itself dies. What it is working on stands in a small mapped file, which
// outlives the process; the next hub counts the death there, and at the third one sets the event
// aside, so that a bug of ours stops one event and not the host. Costs a copy of some bytes an event.
#pragma once

#include "base/reason.h"
#include "event/record.h"

typedef struct Hub Hub;
typedef struct PoisonMark PoisonMark;

enum {
        POISON_DEATHS = 3,
        POISON_KNOWN = 16, // events with deaths, the one without news for longest goes first
        POISON_LETTERS = 64,
};

typedef struct PoisonEvent {
        uint64_t seq;    // of a stored one, or
        char id[ID_HEX]; // of one that is on its way in (seq 0)
        unsigned deaths;
} PoisonEvent;

typedef struct Poison {
        PoisonMark *mark;
        PoisonEvent known[POISON_KNOWN];
        unsigned n_known;
        uint64_t letters[POISON_LETTERS]; // dead letters of what was set aside
        unsigned n_letters;
} Poison;

// After the store is open and before anything of it is touched: counts what the last hub died at and
// sets aside what it is the third time for. Only memory running out or the store are errors; without
// the file it goes on, and only learns nothing from a death.
int poison_start(Hub *h, Reason *reason) _must_use_;

// What the hub works on from here to poison_past(). No commit in between.
void poison_at_stored(Hub *h, uint64_t seq);
void poison_at_arriving(Hub *h, const RecordOrigin *o, Slice id_material);
void poison_at_event(Hub *h, Slice id);
void poison_past(Hub *h);

unsigned poison_deaths(Hub *h, Slice id); // at an event that is on its way in
void poison_forgive(Hub *h, Slice id);    // it gets another three
// An event that is on its way in becomes a dead letter, without any rule having seen it.
void poison_set_aside(Hub *h, uint32_t source, Slice record);
void poison_look(Hub *h); // forgets the letters that were retried or dropped
