// SPDX-License-Identifier: MIT
// The options of a journal source, as the table in options.c fills them, and its event types.
#pragma once

#include "config/option.h"
#include "event/schema.h"

typedef struct JournalOptions {
        char **match, **units, **identifiers;
        char **fields; // NULL: all
        char *priority, *boot, *since;
        char *log_namespace, *directory;
        bool exclude_self;
        uint64_t max_field; // bytes
} JournalOptions;

extern const Option journal_options[];
extern const size_t n_journal_options;
extern const EventType journal_types[];
extern const size_t n_journal_types;

void journal_check(const void *options, OptionFaults *f);
