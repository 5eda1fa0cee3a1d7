// SPDX-License-Identifier: MIT
// Verdicts in: retry, hold, probe, dead letter (judge.c).
#pragma once

#include "hub/queue.h"
#include "link/message.h"
#include "store/store.h"

void judge_verdict(Delivery *d, const MessageVerdict *v);
void judge_crashed(Delivery *d); // its process died while it was out
void judge_bury(Delivery *d, const char *reason, const StoreVerdict *v);
bool judge_expired(Delivery *d); // over max_age: buried; true when so
void hold_begin(HubSink *k, uint64_t until_boot, bool at_once);
void hold_end(HubSink *k, const char *why);
void sink_set_paused(HubSink *k, bool paused);
void sink_resume(HubSink *k); // out of paused and disabled, hold ended
void sink_load_flags(HubSink *k);
