// SPDX-License-Identifier: MIT
// The table of commands. The manual page and the completion are checked against it by a test.
#include "cli/command.h"

const CommandOption global_options[] = {
        {"runtime-dir", "DIR", "where the daemon's sockets are ($RUNTIME_DIRECTORY, /run/belfry)"},
        {"json", NULL, "print JSON"},
        {"no-color", NULL, "no colours (also: NO_COLOR, or not a terminal)"},
        {"help", NULL, "help; after a command: of that command"},
        {"version", NULL, "print the version"},
        {0},
};

static const CommandOption dead_filters[] = {
        {"sink", "NAME", "only those of this sink"},
        {"rule", "NAME", "only those of this rule"},
        {"reason", "WORD", "only those with this reason"},
        {0},
};

static const CommandOption dead_actions[] = {
        {"all", NULL, "all of them (those the filters leave)"},
        {"sink", "NAME", "only those of this sink"},
        {"rule", "NAME", "only those of this rule"},
        {"reason", "WORD", "only those with this reason"},
        {0},
};

static const CommandOption reload_options[] = {
        {"force", NULL, "even if something that works now would then be degraded"},
        {"park", NULL, "keep what is owed to a removed sink until the sink is back"},
        {"drop", NULL, "discard what is owed to a removed sink"},
        {0},
};

static const CommandOption timers_options[] = {
        {"next", "N", "so many of each (5, at most 1000)"},
        {0},
};

static const CommandOption check_options[] = {
        {"print", NULL, "print it as it is understood: all files merged, defaults as comments"},
        {"live", NULL, "ask the running daemon: its files, its rights, its world"},
        {0},
};

static const CommandOption listen_options[] = {
        {"port", "N", "port to listen on (8080); 0 takes a free one"},
        {"bind", "ADDRESS", "address to listen on (127.0.0.1)"},
        {"secret", "SECRET",
                "verify with this: file:PATH, credential:NAME or the value; may be repeated "
                "($BELFRY_SECRET)"},
        {"status", "CODE", "answer with this status (200)"},
        {"delay", "DURATION", "answer that much later (0s)"},
        {"fail", "N", "answer the first N requests with 500"},
        {"count", "N", "end after N requests"},
        {"save", "DIR", "write each body to a file in DIR, named by a counter"},
        {"tls", NULL, "TLS, with a certificate made on the spot unless --cert is given"},
        {"cert", "FILE", "TLS with this certificate chain (PEM)"},
        {"key", "FILE", "its private key (PEM)"},
        {"write-cert", "FILE", "with --tls: write the certificate made, for the sink's ca option"},
        {0},
};

static const CommandOption sign_options[] = {
        {"secret", "SECRET",
                "file:PATH, credential:NAME or the value; may be repeated ($BELFRY_SECRET)"},
        {"id", "ID", "webhook-id (a random one)"},
        {"timestamp", "SECONDS", "webhook-timestamp (now)"},
        {0},
};

static const CommandOption emit_options[] = {
        {"id", "KEY", "the event's key: with the same one it is taken once, whoever tries again"},
        {"subject", "TEXT", "what it is about"},
        {"time", "TIME", "when it happened (now), as 2026-11-23T09:33:00Z"},
        {"timeout", "DURATION", "how long to wait for an answer (30s); 0s: for ever"},
        {0},
};

static const CommandOption tail_options[] = {
        {"filter", "EXPR", "only events that fit this expression, as the when of a rule has it"},
        {0},
};

static const CommandOption verify_options[] = {
        {"secret", "SECRET",
                "file:PATH, credential:NAME or the value; may be repeated ($BELFRY_SECRET)"},
        {"headers", "FILE", "take id, timestamp and signature from header lines in FILE"},
        {"id", "ID", "webhook-id"},
        {"timestamp", "SECONDS", "webhook-timestamp"},
        {"signature", "TEXT", "webhook-signature"},
        {"tolerance", "DURATION", "how far the timestamp may be away (5m); 0s: any"},
        {0},
};

const Command commands[] = {
        {"status", "", 0, 0, "how it is: sources, sinks, rules, queue", NULL, command_status,
                false},
        {"sources", "[ls]", 0, 0, "list the sources", NULL, command_sources, true},
        {"sinks", "[ls]", 0, 0, "list the sinks", NULL, command_sinks, true},
        {"rules", "[ls]", 0, 0, "list the rules", NULL, command_rules, true},
        {"timers", "[ls]", 0, 0, "list the timers and when they elapse next", timers_options,
                command_timers, true},
        {"modules", "[ls] [NAME]", 0, 1,
                "list the modules; of one: its events, their fields, samples", NULL,
                command_modules, true},
        {"tail", "", 0, 0, "show events as they come in", tail_options, command_tail, false},
        {"why", "ID", 1, 1, "tell the story of an event", NULL, command_why, false},
        {"dead", "[ls]", 0, 0, "list the dead letters", dead_filters, command_dead, true},
        {"dead show", "ID", 1, 1, "show a dead letter: headers and body", NULL, command_dead_show,
                false},
        {"dead retry", "ID... | --all", 0, ARGUMENTS_MAX, "put dead letters back into the queue",
                dead_actions, command_dead_retry, false},
        {"dead drop", "ID... | --all", 0, ARGUMENTS_MAX, "remove dead letters for good",
                dead_actions, command_dead_drop, false},
        {"gaps", "[ls]", 0, 0, "list what may have gone unreported", NULL, command_gaps, true},
        {"gaps ack", "[ID...]", 0, ARGUMENTS_MAX, "acknowledge gaps (all when none is named)", NULL,
                command_gaps_ack, false},
        {"source", "VERB NAME [ARGUMENT]", 2, 3,
                "ask a source; its module's verbs: belfry source --help", NULL, command_source,
                false, help_source},
        {"source forget", "NAME", 1, 1, "forget position and state of a removed source", NULL,
                command_source_forget, false},
        {"sink pause", "NAME", 1, 1, "stop delivering to a sink; its queue is kept", NULL,
                command_sink_pause, false},
        {"sink resume", "NAME", 1, 1, "go on delivering; ends a hold and a 410", NULL,
                command_sink_resume, false},
        {"sink ping", "NAME", 1, 1, "send a test event; show request, answer and class", NULL,
                command_sink_ping, false},
        {"pause", "NAME", 1, 1, "short for: sink pause", NULL, command_sink_pause, false},
        {"resume", "NAME", 1, 1, "short for: sink resume", NULL, command_sink_resume, false},
        {"ping", "NAME", 1, 1, "short for: sink ping", NULL, command_sink_ping, false},
        {"emit", "TYPE [JSON | -] | -", 1, 2, "hand in events; ends when they are durable",
                emit_options, command_emit, false, help_emit},
        {"reload", "", 0, 0, "read the configuration again", reload_options, command_reload, false},
        {"check", "[FILE]", 0, 1, "check a configuration without the daemon", check_options,
                command_check, false},
        {"listen", "", 0, 0, "receive webhooks and show them", listen_options, command_listen,
                false},
        {"sign", "", 0, 0, "print the signature headers of a body on standard input", sign_options,
                command_sign, false},
        {"verify", "", 0, 0, "check the signature of a body on standard input", verify_options,
                command_verify, false},
};
const size_t n_commands = N_ELEMENTS(commands);
