// SPDX-License-Identifier: MIT
// The option table: one row an option, from which come parsing, validation, --help, the manual's
// option list, the sample file and JSON Schema. A row's member is checked while compiling, so a
// bool row cannot fill an int. Bounds and defaults stand as text in the user's own units; the prose
// in the row IS the manual (plain text, *bold* for option names, one paragraph).
#pragma once

#include "base/reason.h"
#include "base/slice.h"
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

typedef enum OptionType {
        OPTION_BOOL,          // bool
        OPTION_INT,           // int64_t
        OPTION_DURATION,      // uint64_t microseconds; a bare integer counts the row's unit (ms s m h d)
        OPTION_SIZE,          // uint64_t bytes
        OPTION_STRING,        // char *
        OPTION_ENUM,          // int: index into values
        OPTION_PATH,          // char *: absolute path
        OPTION_STRING_LIST,   // char **: NULL-terminated; of every list: one value is a list of one
        OPTION_PATH_LIST,     // char **: absolute paths, globs where the prose says so
        OPTION_DURATION_LIST, // UsecList
        OPTION_URL,           // char *: http:// or https://, a host, no user:password@
        OPTION_SECRET,        // char *: a reference only, "credential:NAME" or "file:/PATH"
        OPTION_SECRET_LIST,   // char **: one reference or several
        OPTION_STRING_MAP,    // StringMap: name = value, each value a string or a reference
        OPTION_GROUP,         // an embedded struct with a table of its own (rows, n_rows)
        OPTION_GROUP_LIST,    // GroupList; a string stands for a group that sets only the first row
        OPTION_TEMPLATE,      // only in the table of rules (a ConfigTemplate); option_fill refuses it
        _OPTION_TYPE_MAX,
        _OPTION_TYPE_INVALID = -22,
} OptionType;

typedef enum OptionFlags {
        OPTION_REQUIRED = 1,
        OPTION_RELOADABLE = 2,  // a reload changes it without restarting the module
        OPTION_REFERENCE = 4,   // a string that may also be a secret reference
        OPTION_CAGE_READ = 8,   // the module may read below this path (hub puts it on the cage list)
        OPTION_REBASELINE = 16, // changing it makes the source take stock anew
        OPTION_STORED = 32,     // its value is fixed in what is queued (method, format)
        OPTION_HEADERS = 64,    // a map whose names are HTTP header fields that a user may set
        OPTION_CAGE_FILES = 128, // the very files named may be read: a path, or name=/path in a text
        OPTION_CAGE_EXECUTE = 256, // the module may read and execute what this path is or holds
        OPTION_CAGE_WRITE = 512,   // ... and read and change it
} OptionFlags;

typedef struct UsecList {
        uint64_t *usec;
        size_t n;
} UsecList;

typedef struct StringMap {
        char **names, **values; // n each
        size_t n;
} StringMap;

typedef struct GroupList {
        void *items; // n structs of the row's item_size
        size_t n;
} GroupList;

typedef struct Option {
        const char *name;
        OptionType type;
        size_t offset;             // into the module's struct; SIZE_MAX in tables read from --describe
        unsigned flags;            // OptionFlags
        const char *unit;          // of a bare integer: "s", "bytes"; "" when none
        const char *min, *max;     // as a user would write them; NULL = none
        const char *def;           // default as a user would write it; NULL = unset; lists: "a, b"
        const char *const *values; // OPTION_ENUM: NULL-terminated, the first is the default unless def
        const struct Option *rows; // OPTION_GROUP, OPTION_GROUP_LIST: offsets are into one item
        size_t n_rows;
        size_t item_size;          // OPTION_GROUP_LIST
        const char *since;         // "0.1"
        const char *prose;
} Option;

#define OPTION_MEMBER(ctype, member_type, member)                                                  \
        (offsetof(ctype, member) + 0 * sizeof(_Generic(&((ctype *)0)->member, member_type *: (char)0)))

// Rows are written with designated initialisers:
//   { .name = "timeout", .type = OPTION_DURATION, .offset = OPTION_MEMBER(HttpOptions, uint64_t, timeout_usec),
//     .unit = "s", .min = "1s", .max = "10m", .def = "15s", .flags = OPTION_RELOADABLE, .since = "0.1",
//     .prose = "..." },

// The canonical JSON form of values (what config produces and START/ENDPOINT carry): bool, integer,
// durations as integer microseconds, sizes as integer bytes, strings, enums as their word, lists,
// maps and groups as objects. Every default is filled in; unset options are absent.
// Fills `dst` (zeroed by the caller) from it: -EINVAL with a reason when it does not fit the table.
// An absent option gets the row's default; without one its member stays zero (a list stays NULL).
// On failure dst is cleared again.
int option_fill(const Option *rows, size_t n, void *dst, const json_t *values, Reason *reason) _must_use_;
void option_clear(const Option *rows, size_t n, void *dst); // frees what option_fill allocated

// Is this text a secret reference (of good form)? "credential:NAME" or "file:/PATH".
bool option_is_reference(Slice text);
// Reads the secret behind a reference, without a trailing newline, into a buffer that the caller
// wipes with option_secret_wipe(). credentials_dir may be NULL. The reason never holds the value.
int option_secret_read(const char *reference, const char *credentials_dir, char **ret, size_t *ret_len,
                       Reason *reason) _must_use_;
void option_secret_wipe(char *secret, size_t len); // explicit_bzero and free; NULL is fine

// What a module finds wrong with values that its table let pass, because only it can judge them: an
// expression of its own, options that exclude each other. `option` is the path within the instance
// as a user writes it, "settle" or "tables[2].where"; the message says what was expected. With
// option_fault_at() the fault is at this byte of the value, a string. Never fails: what does not
// fit into memory makes the whole check fail.
typedef struct OptionFaults OptionFaults;
void option_fault(OptionFaults *f, const char *option, const char *format, ...) _printf_(3, 4);
void option_fault_at(OptionFaults *f, const char *option, size_t at, const char *format, ...) _printf_(4, 5);

// Do two canonical values differ in any row carrying (any of) `flags`, or lacking it when invert?
bool option_differs(const Option *rows, size_t n, const json_t *a, const json_t *b, unsigned flags, bool invert);
