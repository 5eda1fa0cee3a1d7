// SPDX-License-Identifier: MIT
// The journal's files as they lie on disk. sd_journal passes over a file it cannot read without a
// word; this finds out which, and why.
#pragma once

#include "options.h"
#include "position.h"

#include "base/reason.h"

enum { FILES_SKIPPED_MAX = 64 };

// A journal file that is not open in this process though it should be, or of which less is read than
// it says it holds.
typedef struct SkippedFile {
        FileId id;
        uint64_t changed_usec; // wall: nothing came into it after that
        int error;             // why it cannot be opened; 0: it can
        bool whole;            // its header tells of no damage
        char what[REASON_MAX]; // its path and the reason
} SkippedFile;

typedef struct FilesReport {
        unsigned files;        // journal files that are there
        unsigned open;         // of them: open in this process
        unsigned skipped;      // of them: not open; the first ones stand in `list`
        unsigned directories;  // that hold, or may hold, journal files
        unsigned roots_absent; // directories in which they may come to lie, and which are not there
        bool split;            // users have files of their own
        unsigned denied;       // files and directories that may not be read
        bool group_missing;    // one of them is read by a group of which this process is no member
        char first_denied[REASON_MAX];
        SkippedFile list[FILES_SKIPPED_MAX];
        unsigned n_list;
} FilesReport;

// The number of the newest entry seen of each sequence, told by their cursors.
enum { SEQUENCES_MAX = 64, SEQUENCE_ID_LEN = 32 };
typedef struct Sequences {
        struct {
                char id[SEQUENCE_ID_LEN];
                uint64_t last;
        } list[SEQUENCES_MAX];
        unsigned n, current; // n over SEQUENCES_MAX: some are not known any more
} Sequences;

void sequences_saw(Sequences *s, const char *cursor);

// What was read: of a file whose header tells of an entry between the two times that is newer than the
// newest seen of its sequence, the end is damaged.
typedef struct FilesSeen {
        const Sequences *sequences;
        uint64_t from_usec, to_usec;
} FilesSeen;

// Looks where sd_journal looks for these options; `seen` may be NULL. Allowed at any time; reads directories and the
// first bytes of files. -ENOMEM only: what cannot be looked at counts as denied.
int files_survey(const JournalOptions *o, const FilesSeen *seen, FilesReport *ret) _must_use_;

// Of the directories in which journal files may come to lie, how many are not there.
unsigned files_roots_absent(const JournalOptions *o);

// Why a file with this beginning and size is not read; NULL: nothing is wrong with its header.
enum { FILES_HEADER_SIZE = 208 };
const char *files_header_fault(const uint8_t *head, size_t n, uint64_t size);
