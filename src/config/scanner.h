// SPDX-License-Identifier: MIT
// Our own scanner over libconfig's syntax. libconfig parses the values; this one knows the place of
// every setting and finds what libconfig would swallow: truncated integers, octal-looking ones,
// strings joined by a forgotten comma, duplicates, \x, @include. One syntax error a file.
#pragma once

#include "config/config.h"
#include "config/lines.h"

struct config_t; // libconfig's
struct config_setting_t;

typedef enum ScanKind {
        SCAN_GROUP,
        SCAN_LIST,  // ( )
        SCAN_ARRAY, // [ ]
        SCAN_STRING,
        SCAN_INTEGER,
        SCAN_FLOAT,
        SCAN_BOOL,
        _SCAN_KIND_MAX,
} ScanKind;

typedef struct ScanNode {
        ScanKind kind;
        Slice name;      // data NULL: an element of a list
        Slice raw;       // the value's own bytes, quotes and brackets included
        uint32_t parent; // index of its node
        uint32_t next;   // index behind this node's subtree
        uint32_t index;  // among its siblings
        uint32_t n;      // children
        int64_t integer;
        bool wrong;                             // an integer already diagnosed
        const struct config_setting_t *setting; // libconfig's view of it
} ScanNode;

enum { SCAN_DEPTH_MAX = 32, SCAN_NODES_MAX = 1 << 18 };

typedef struct Scan {
        Lines lines;
        ScanNode *nodes; // in order of the text; [0] is the file as a group
        uint32_t n_nodes, cap;
        struct config_t *lib;
} Scan;

// `text` must be followed by a NUL and outlive the scan. -EINVAL: refused, said in d; -ENOMEM.
// Faults that do not keep it from being read are said in d with 0 returned.
int scan_init(Scan *s, const char *file, Slice text, Diagnostics *d) _must_use_;
void scan_deinit(Scan *s);

// Children: scan_first(), then scan_next() until NULL.
const ScanNode *scan_first(const Scan *s, const ScanNode *n);
const ScanNode *scan_next(const Scan *s, const ScanNode *n);
const ScanNode *scan_child(const Scan *s, const ScanNode *group, const char *name);

Place scan_place(const Scan *s, const ScanNode *n);      // of its value
Place scan_name_place(const Scan *s, const ScanNode *n); // of its name; of its value without one
// "rules[2].when", with ".more" behind it when `more` is given. NULL when out of memory.
char *scan_path(const Scan *s, const ScanNode *n, const char *more);
const char *scan_kind_prose(ScanKind k); // "a list"

// libconfig's value of a string or boolean node.
const char *scan_string(const ScanNode *n);
bool scan_bool(const ScanNode *n);
double scan_float(const ScanNode *n);
// A string with the places of its inside.
int scan_text(const Scan *s, const ScanNode *n, ConfigText *ret) _must_use_; // -ENOMEM

// A text under construction, with its jumps (also for body files).
typedef struct TextMaker {
        Buf out;
        ConfigJump *jumps;
        size_t n_jumps;
        bool failed;
} TextMaker;
void text_maker_jump(TextMaker *m, Place place);
int text_maker_end(TextMaker *m, Place first, ConfigText *ret) _must_use_; // -ENOMEM; empties m
void config_text_clear(ConfigText *t);
