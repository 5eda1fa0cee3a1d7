// SPDX-License-Identifier: MIT
// What people see: aligned tables, colours, ages, JSON. Every text that came from outside goes
// through an escape, so that a file name cannot steer the terminal.
#pragma once

#include "cli/command.h"
#include <stdio.h>

typedef enum Colour {
        COLOUR_NONE,
        COLOUR_GOOD,
        COLOUR_WARN,
        COLOUR_BAD,
        COLOUR_DIM,
        COLOUR_BOLD
} Colour;

const char *colour_on(const Context *c, Colour colour); // "" without colours
const char *colour_off(const Context *c, Colour colour);
Colour colour_of_state(const char *state);

void print_json(const json_t *value);  // one value and a line feed; indented on a terminal
void print_error(const char *message); // "belfry: message", escaped
void print_diagnostics(FILE *f, const json_t *list); // file:line:column: path: message
void print_escaped(Slice s);
// Each line is escaped by itself, so that it still reads as one.
void print_lines(const char *text);

// Of an answer's object; absent and null read as "" and 0.
const char *get_text(const json_t *o, const char *key);
int64_t get_int(const json_t *o, const char *key);
bool get_time(const json_t *o, const char *key, uint64_t *ret_usec);
// "3s ago", "never"; "2h 5min" without `ago`.
const char *get_age(const json_t *o, const char *key, bool ago, char out[static 64]);
// In local time: "10:31:07.123", with the date when it is not today's.
const char *local_time(uint64_t usec, char out[static 64]);

// A table is filled cell by cell and printed at the end, columns as wide as needed.
enum { TABLE_COLUMNS_MAX = 12 };
typedef struct Table {
        const char *heads[TABLE_COLUMNS_MAX];
        unsigned n_columns;
        struct Cell {
                char *text;
                Colour colour;
        } * cells;
        size_t n_cells, cap;
} Table;
void table_init(Table *t, const char *const *heads); // NULL-terminated
void table_add(Table *t, Colour colour, const char *format, ...) _printf_(3, 4);
void table_print(Table *t, const Context *c, const char *indent); // and frees it
