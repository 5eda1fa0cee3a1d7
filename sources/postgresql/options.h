// SPDX-License-Identifier: MIT
// The options of a postgresql source, as the table in options.c fills them, and what follows from
// them alone: operations, names of slot and publication.
#pragma once

#include "change.h"
#include "config/option.h"

typedef enum CreatePolicy { CREATE_AUTO, CREATE_NEVER } CreatePolicy;
typedef enum OnBudget { ON_BUDGET_ALERT, ON_BUDGET_DROP } OnBudget;
typedef enum OnGap { ON_GAP_STOP, ON_GAP_CONTINUE, ON_GAP_BACKFILL } OnGap;

typedef struct TableOption {
        char *name;     // schema.table, shell patterns
        char *where;    // SQL, or NULL
        char **columns; // or NULL: all
} TableOption;

typedef struct PostgresqlOptions {
        char *conninfo, *service_file, *passfile, *slot, *publication;
        char **files;
        GroupList tables; // of TableOption
        char **operations;
        int create;      // CreatePolicy
        int numeric;     // 1: numbers
        int transaction; // 1: one event a transaction
        bool backfill;
        uint64_t wal_budget;
        int on_budget; // OnBudget
        int on_gap;    // OnGap
} PostgresqlOptions;

extern const Option postgresql_options[];
extern const size_t n_postgresql_options;

// Judges what the table cannot: the conninfo, forms of names, what contradicts itself.
void postgresql_check(const void *options, OptionFaults *f);
// The operations as a set of ChangeOperation; unknown words are none.
unsigned options_operations(const PostgresqlOptions *o);
// The slot's name, from host and instance unless it is given: two hosts never share one.
void options_slot(const PostgresqlOptions *o, const char *host, const char *instance,
        char ret[static SLOT_NAME_MAX]);
