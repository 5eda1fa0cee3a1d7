// SPDX-License-Identifier: MIT
// The faults of a configuration: each with file, line, column, the path of the setting and what to
// do about it. Collected, sorted, printed once: "file:line:column: path: message (did you mean x?)".
#pragma once

#include "base/buf.h"

typedef struct Place {
        const char *file; // owned by the Diagnostics or Config it came with; NULL = none
        unsigned line, column; // from 1; 0 = unknown
} Place;

typedef enum Severity { SEVERITY_ERROR, SEVERITY_WARNING } Severity;

typedef struct Diagnostic {
        Severity severity;
        Place place;
        char *path;    // "rules[2].when", may be ""
        char *message;
} Diagnostic;

// Zero-initialise. File names are copied, so diagnostics outlive the configuration they speak of.
typedef struct Diagnostics {
        Diagnostic *list;
        char **files; // in the order they were read or first named
        unsigned n_files;
        unsigned n, n_errors, n_warnings;
        unsigned dropped; // over LIMIT_DIAGNOSTICS
} Diagnostics;

void diagnostics_deinit(Diagnostics *d);
// Remembers the name's rank in the order of files; returns the copy, NULL when out of memory.
const char *diagnostics_file(Diagnostics *d, const char *name);
// Never fails: what cannot be kept (memory, LIMIT_DIAGNOSTICS) is still counted, and in `dropped`.
void diagnose(Diagnostics *d, Severity s, Place place, const char *path, const char *format, ...) _printf_(5, 6);
void diagnostics_sort(Diagnostics *d); // by file order, line, column
void diagnostics_print(const Diagnostics *d, Buf *out);
