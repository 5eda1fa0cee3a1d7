// SPDX-License-Identifier: MIT
// What a row of an option table means, as text and as canonical JSON: names of types and flags,
// quantities, bounds, defaults, the form of strings. Shared by loader, filler, description and
// documents; modules need config/option.h only.
#pragma once

#include "config/option.h"

const char *option_type_to_string(OptionType t); // "duration-list"; NULL when out of range
OptionType option_type_from_string(const char *s);
const char *option_flag_name(unsigned bit); // "reloadable" of OPTION_RELOADABLE; NULL when unknown
enum { OPTION_FLAG_BITS = 10 };

// What a value of this type looks like, for "expected ...": "a duration such as \"15s\"".
const char *option_type_expected(const Option *row);
// The row of one element of a list row (or of a map's value); the row itself for others.
Option option_element(const Option *row);
bool option_is_list(OptionType t);
bool option_has_rows(OptionType t); // a group, or a list of them
bool option_is_text(OptionType t); // its value, or its elements, are strings (enums too)

// A scalar quantity as a user writes it: integers, durations (in microseconds) and sizes (bytes).
// -EINVAL: not of that form; -ERANGE: does not fit.
int option_parse_quantity(const Option *row, Slice text, int64_t *ret) _must_use_;
// -1 below the minimum, 1 over the maximum, 0 within; *ret_bound is that bound's text.
int option_compare_bounds(const Option *row, int64_t value, const char **ret_bound);
// The microseconds of the row's unit; 0 when it has none (then a bare integer is refused).
uint64_t option_unit_usec(const Option *row);

// Index of an enum's word, or -EINVAL.
int option_enum_index(const Option *row, const char *word);
size_t option_n_values(const Option *row);

// The default in canonical form; *ret = NULL when the row has none. -EINVAL: the table is wrong.
int option_default(const Option *row, json_t **ret) _must_use_;

// Is this text good for the row (path, URL, reference ...)? -EINVAL with what it should be. The
// reason never repeats the text.
int option_check_text(const Option *row, const char *text, Reason *reason) _must_use_;
int option_check_reference(const char *text, Reason *reason) _must_use_;
// Could option_secret_read() read it? A look at the file, not into it; its rights count as_myself only.
int option_secret_look(const char *reference, const char *credentials_dir, bool as_myself, Reason *reason) _must_use_;
// May a user set this HTTP header? -EINVAL with the reason.
int option_check_header_name(const char *name, Reason *reason) _must_use_;

// Is the table itself well-formed (names, bounds, defaults)? For tables of foreign modules.
int option_check_rows(const Option *rows, size_t n, unsigned depth, Reason *reason) _must_use_;
enum { OPTION_ROWS_MAX = 256, OPTION_GROUP_DEPTH = 4 };

// The faults one check() found: a list of {option, message, at (or none)}; NULL when memory ran out.
struct OptionFaults {
        json_t *list;
};

const Option *option_find(const Option *rows, size_t n, const char *name);
