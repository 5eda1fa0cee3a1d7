// SPDX-License-Identifier: MIT
// A second, simple store in plain memory: what src/store must agree with after any sequence of
// operations. A step is made from a number alone, so that a process that was killed and the one
// that looks afterwards make the same steps.
#pragma once

#include "base/buf.h"
#include "store/read.h"
#include "store/store.h"

enum { MODEL_SINKS = 4, MODEL_SOURCES = 3, MODEL_ROUTES = 3 };

typedef struct ModelRoute {
        StoreRoute route;
        char *headers, *body;
        bool ended, has_owed;
        StoreOwed owed;
} ModelRoute;

typedef struct ModelEvent {
        uint64_t seq;
        uint32_t source;
        char *record;
        size_t record_len;
        uint16_t n_routes;
        ModelRoute routes[MODEL_ROUTES];
        struct ModelEvent *next;
} ModelEvent;

typedef struct ModelDead {
        uint64_t id;
        uint32_t source;
        char *record;
        size_t record_len;
        ModelRoute route;
        struct ModelDead *next;
} ModelDead;

typedef struct ModelState {
        uint32_t source;
        char key[32];
        char *value;
        size_t len;
        struct ModelState *next;
} ModelState;

typedef struct ModelGap {
        uint64_t seq;
        struct ModelGap *next;
} ModelGap;

typedef struct Model {
        uint64_t seed, step, next_seq, next_dead, rng;
        ModelEvent *events;
        ModelDead *dead;
        ModelState *state;
        ModelGap *gaps;
        char position[MODEL_SOURCES + 1][64];
        uint64_t ledger; // entries ever written
        size_t largest;  // bytes of the longest record
} Model;

void model_init(Model *m, uint64_t seed, size_t largest);
void model_deinit(Model *m);
// Makes step number m->step + 1 in the transaction (which may be NULL) and in the model.
void model_step(Model *m, StoreTxn *t);
void model_intern(StoreTxn *t); // the names behind the numbers
// 0, or a text that says what differs. Reads everything that can be read.
const char *model_compare(const Model *m, Store *s);
// As above for a store that was damaged: what it returns must be right, much may be missing.
const char *model_compare_damaged(const Model *m, Store *s);
uint64_t model_random(uint64_t *state);
