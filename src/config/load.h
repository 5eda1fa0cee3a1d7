// SPDX-License-Identifier: MIT
// One loading of a configuration, shared by the files that do its parts (internal to src/config):
// load.c reads files, sections.c the tables, modules.c descriptions, endpoints.c sources and sinks,
// judgements.c what their modules find in them,
// rules.c rules, cross.c what concerns several of them.
#pragma once

#include "base/limits.h"
#include "config/value.h"

typedef struct ConfigFile {
        Buf text;
        Scan scan;
        bool good; // it could be read as a whole
} ConfigFile;

typedef struct Loader {
        Config *config;
        Diagnostics *d;
        const char *module_dir;
        ConfigFile *files;
        size_t n_files;
        bool good_sources[LIMIT_SOURCES],
                good_sinks[LIMIT_SINKS]; // by index: no fault by the table
        bool incomplete; // a file is missing from view: nothing is said about unknown names
        int error;       // -ENOMEM, sticky
} Loader;

Reader loader_reader(Loader *l, const ConfigFile *f);
void loader_merge(Loader *l, const Reader *r); // takes over the reader's error
// A file's top-level setting; NULL when it has none or is not good.
const ScanNode *loader_section(const ConfigFile *f, const char *name);
const char *loader_add_file(Loader *l, const char *name); // into config->files; NULL: no memory

void load_sections(Loader *l); // store, limits, log, control; unknown names at the top
void load_sources(Loader *l);
void load_sinks(Loader *l);
void load_rules(Loader *l);
void load_cross_checks(Loader *l); // shares, unused

// The nth source or sink (by name) of all files: where it was first named. NULL when unknown.
const ScanNode *loader_find(
        const Loader *l, const char *section, Slice name, const ConfigFile **ret_file);
// Says `unknown SECTION "x" (did you mean ...)` unless it is known or the view incomplete.
void loader_check_name(Loader *l, Reader *r, const char *section, const ScanNode *n);
// Is the name well-formed and new? Says so if not.
bool loader_new_name(Loader *l, Reader *r, const char *section, const ScanNode *n, Place place,
        const char *name);

// The module's description, loaded at its first mention; NULL: said in d, or l->error.
const ConfigModule *load_module(Loader *l, Reader *r, ModuleKind kind, const ScanNode *n);

// Modules that judge values beyond their table are asked about their good instances of a kind.
void load_judgements(Loader *l, ModuleKind kind);

// Templates: a setting, or a JSON file (name as given in setting n, relative to its file).
int template_from_setting(Reader *r, const ScanNode *n, ConfigTemplate *ret) _must_use_;
// *ret_path: the file, to be freed.
int template_from_file(
        Loader *l, Reader *r, const ScanNode *n, ConfigTemplate *ret, char **ret_path) _must_use_;
void template_clear(ConfigTemplate *t);
