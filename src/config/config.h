// SPDX-License-Identifier: MIT
// The configuration as one immutable value: every file parsed, every option typed and checked, every
// default filled in. Loading has no side effect but running modules with --describe; the daemon,
// belfry check and the tests share it. Rule expressions are kept as text with their place here;
// rule/ruleset.h compiles them.
#pragma once

#include "config/describe.h"
#include "config/diagnostic.h"

typedef struct ConfigModule { // loaded once for each module named in the configuration
        ModuleDescription *description;
        int program_fd; // O_PATH
        char *program_path;
} ConfigModule;

typedef struct ConfigSource {
        char *name;
        const ConfigModule *module;
        json_t *options; // canonical, see option.h
        Place place;
} ConfigSource;

typedef enum QueueFull { QUEUE_FULL_PAUSE, QUEUE_FULL_DEAD } QueueFull;

// What every sink has, whatever its module (table: config/tables.c).
typedef struct SinkPolicy {
        struct {
                uint64_t size; // bytes; 0 = its part of 50 % of the store
                int on_full;   // QueueFull
        } queue;
        struct {
                UsecList schedule; // waits before attempt 1, 2, ...: default 0, 5s, 5m, 30m, 2h ...
                uint64_t base_usec, cap_usec; // or exponential, when base is set
                int64_t attempts;             // in all; with base only
        } retry;
        uint64_t max_age_usec;
        int64_t in_flight;
        int method; // index into sink_methods: stored with each route
        int format; // BodyFormat but BODY_RENDERED
} SinkPolicy;
extern const Option sink_policy_options[];
extern const size_t n_sink_policy_options;
extern const char *const sink_methods[]; // "POST", "PUT", "PATCH", "GET", "DELETE"

typedef struct ConfigSink {
        char *name;
        const ConfigModule *module;
        json_t *options; // the module's own options, canonical
        SinkPolicy policy;
        json_t *policy_json;
        Place place;
} ConfigSink;

// A text in the configuration whose inside has places of its own (expressions, templates). Escapes,
// newlines and joined strings ("a" "b" outside of lists) make place and offset drift apart: a jump
// says where the byte at `offset` stands.
typedef struct ConfigJump {
        size_t offset;
        unsigned line, column;
} ConfigJump;
typedef struct ConfigText {
        char *text;  // NULL when the setting is absent
        Place place; // of the first character inside the quotes
        ConfigJump *jumps;
        size_t n_jumps;
} ConfigText;
Place config_text_place(const ConfigText *t, size_t byte_offset);

// A template value as libconfig has it: scalar, list or group, each string with its place.
typedef enum TemplateKind {
        TEMPLATE_STRING,
        TEMPLATE_INT,
        TEMPLATE_FLOAT,
        TEMPLATE_BOOL,
        TEMPLATE_NULL,
        TEMPLATE_LIST,
        TEMPLATE_OBJECT,
} TemplateKind;
typedef struct ConfigTemplate {
        TemplateKind kind;
        char *key;       // inside an object
        ConfigText text; // strings
        int64_t integer;
        double number;
        bool boolean;
        struct ConfigTemplate *children;
        size_t n_children;
} ConfigTemplate;

typedef struct ConfigRule {
        char *name;
        char **from; // source names; NULL-terminated; empty = all
        char **to;   // sink names
        ConfigText when;
        bool has_body;
        ConfigTemplate body; // from body = or body_file =
        char *body_file;     // NULL: body =, or none
        char **header_names;
        ConfigText *header_values;
        size_t n_headers;
        bool enabled;
        Place place;
} ConfigRule;

typedef struct Config {
        ConfigModule *modules;
        size_t n_modules;
        ConfigSource *sources;
        size_t n_sources;
        ConfigSink *sinks;
        size_t n_sinks;
        ConfigRule *rules;
        size_t n_rules;
        struct ConfigStore {
                uint64_t size; // default 1G
                int dead_full; // 0 pause, 1 drop-oldest
        } store;
        struct ConfigLimits {
                uint64_t event, body; // bytes
                uint64_t stop_usec;   // SIGTERM drains within this: 10 s
                int64_t sink_processes;
        } limits;
        struct ConfigLog {
                int level; // index: err warning notice info debug
        } log;
        struct ConfigControl {
                char **read, **inject, **admin;             // users and @groups; inject may be NULL
                bool read_given, inject_given, admin_given; // configured: a missing group degrades
        } control;
        char **files; // read, in order; NULL-terminated; Place.file points into it
} Config;
extern const Option store_options[], limits_options[], log_options[], control_options[];
extern const size_t n_store_options, n_limits_options, n_log_options, n_control_options;
extern const Option rule_options[]; // for documents; their values are a ConfigRule
extern const size_t n_rule_options;

// Reads `path` and then conf.d/*.conf beside it, in order of name. Never returns a half-made
// configuration: on errors (d->n_errors > 0) *ret is NULL and -EINVAL is returned. module_dir is
// where programs are looked for first.
int config_load(Config **ret, const char *path, const char *module_dir, Diagnostics *d) _must_use_;
Config *config_free(Config *c);
DEFINE_CLEANUP(Config, config_free)
