// SPDX-License-Identifier: MIT
// The journal's files as they lie on disk. sd_journal passes over a file it cannot read without a
// word; this finds out which, and why.
#pragma once

#include "options.h"

#include "base/reason.h"

typedef struct FilesReport {
        unsigned files;         // journal files that are there
        unsigned skipped;       // of them: not open in this process though they should be
        unsigned denied;        // files and directories that may not be read
        unsigned directories;   // that hold, or may hold, journal files
        bool unsettled;         // a file is too new to be judged: look again in a few seconds
        char first[REASON_MAX]; // the first skipped or denied one and its reason; "" = none
} FilesReport;

// Looks where sd_journal looks for these options. Allowed at any time; reads directories and the
// first bytes of files that are not open. -ENOMEM only: what cannot be looked at counts as denied.
int files_survey(const JournalOptions *o, FilesReport *ret) _must_use_;

// Why a file with this beginning and size is not read; NULL: nothing is wrong with its header.
enum { FILES_HEADER_SIZE = 208 };
const char *files_header_fault(const uint8_t *head, size_t n, uint64_t size);
