// SPDX-License-Identifier: MIT
// Commands to sources (commands.c) and the processes born for one of them (errand.c): what the rest
// of the hub needs of them.
#pragma once

#include "hub/hub.h"

// At apply, in the open transaction: the options each source has, for verbs after its removal.
void commands_keep_options(Hub *h, const Config *c);
void commands_forget_options(Hub *h, const char *source);

int commands_answer(HubChild *c, Slice payload) _must_use_; // MESSAGE_ANSWER
void commands_child_gone(HubChild *c, const char *why);     // what it was asked fails
void commands_stop(Hub *h);                                 // all fail, all errands end now

// ---- a process born for one command. It is no source: it commits nothing.
// kept: {"module": name, "options": canonical}. Nothing is born yet.
int errand_new(Hub *h, const char *source, const json_t *kept, Errand **ret, Reason *reason) _must_use_;
int errand_start(Errand *e) _must_use_;
void errand_stop(Errand *e); // asks it to end (kills it after a while) and frees it once it has
void errands_clear(Hub *h);  // kills and frees all
HubChild *errand_child(Errand *e);
const ModuleDescription *errand_description(const Errand *e);

// family.c asks:
const ConfigModule *errand_module(const Errand *e);
const char *errand_source(const Errand *e);
const json_t *errand_options(const Errand *e);
int errand_send_start(Errand *e) _must_use_;
int errand_frame(Errand *e, uint16_t type, Slice payload) _must_use_;
void errand_died(Errand *e); // frees it
int commands_errand_started(HubChild *c) _must_use_; // START is out: the command follows
