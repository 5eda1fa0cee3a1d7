// SPDX-License-Identifier: MIT
// Settings of a file to canonical values, by the rows of a table (internal to src/config).
#pragma once

#include "config/option_table.h"
#include "config/scanner.h"

typedef struct Reader {
        const Scan *scan;
        Diagnostics *d;
        int error; // -ENOMEM, sticky
} Reader;

// Says a fault about a setting. `more` is put behind its path, `near` (may be NULL) after the text.
void reader_fault(Reader *r, Severity s, Place place, const ScanNode *n, const char *more,
        const char *near, const char *format, ...) _printf_(7, 8);

// The canonical value, or NULL: said in d, or r->error is set.
json_t *value_read(Reader *r, const Option *row, const ScanNode *n);
// All rows of a group into `out` (an object), defaults filled in, faults said. Names that are in no
// row are not looked at: see group_check_names.
void group_read(Reader *r, const Option *rows, size_t n_rows, const ScanNode *group, json_t *out);

typedef struct RowSet {
        const Option *rows;
        size_t n;
} RowSet;
// Says each setting of the group that is in none of the sets, nor equal to `also` (may be NULL).
void group_check_names(
        Reader *r, const ScanNode *group, const RowSet *sets, size_t n_sets, const char *also);
// Is it a group? Says so if not.
bool group_expect(Reader *r, const ScanNode *n, const char *example);
