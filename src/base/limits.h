// SPDX-License-Identifier: MIT
// Every fixed limit of Belfry in one place, with its unit and why it is that number. What a user
// may change is an option row instead, and its default stands there.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Sizes, bytes.
#define LIMIT_EVENT_DEFAULT (1024u * 1024u) // one event's record; option limits.event
#define LIMIT_FRAME_SLACK 4096u             // a frame may exceed limits.event by its envelope
#define LIMIT_EVENT_MAX (16u * 1024u * 1024u)
#define LIMIT_BODY_DEFAULT (1024u * 1024u)  // one rendered body; option limits.body
#define LIMIT_STATE_KEY 500u                // LMDB keys are 511 at most, an instance prefix fits in front
#define LIMIT_STATE_VALUE (64u * 1024u)
#define LIMIT_POSITION (64u * 1024u)
#define LIMIT_STATE_BATCH (1024u * 1024u)   // state changes in one transaction
#define LIMIT_SUBJECT (16u * 1024u)         // event subject: 4 x PATH_MAX, room for U+FFFD
#define LIMIT_KEY 1024u                     // event key
#define LIMIT_ID_MATERIAL 8192u
#define LIMIT_CONFIG_FILE (1024u * 1024u)
#define LIMIT_SECRET_FILE (64u * 1024u)
#define LIMIT_BODY_TEMPLATE (256u * 1024u)
#define LIMIT_CONTROL_REQUEST (256u * 1024u)
#define LIMIT_CONTROL_CLIENT (1024u * 1024u) // unread answer bytes of one client, tail included
#define LIMIT_DESCRIBE (1024u * 1024u)       // what PROGRAM --describe may print
#define LIMIT_HEADER_VALUE 4096u
#define LIMIT_HEADER_NAME 128u
#define LIMIT_LOG_TEXT 2048u
#define LIMIT_STATS 65536u                   // one stats message of a module

// Counts.
#define LIMIT_JSON_DEPTH 64u     // nesting of event data and control messages
#define LIMIT_SOURCES 256u
#define LIMIT_SINKS 256u
#define LIMIT_RULES 4096u
#define LIMIT_ROUTES 256u        // of one event: sinks x rules with bodies of their own
#define LIMIT_LIST 4096u         // elements of one list option
#define LIMIT_CONF_FILES 1024u
#define LIMIT_DIAGNOSTICS 200u   // faults printed for one configuration
#define LIMIT_HEADERS 64u        // of one rule or endpoint
#define LIMIT_CONTROL_CLIENTS 64u
#define LIMIT_CAGE_PATHS 1024u
#define LIMIT_EXPR_NODES 2048u   // of one expression
#define LIMIT_EXPR_DEPTH 64u
#define LIMIT_NAME 32u           // instance, sink and rule names, [a-z][a-z0-9-]*

// One module process. Half of what the unit lets the whole family have, so that one that eats memory
// dies alone; the largest honest ones (a million watches, 8,192 connections) stay far below.
#define LIMIT_MODULE_MEMORY (512u * 1024u * 1024u)
#define LIMIT_LOG_LINES 200u    // of one process in ...
#define LIMIT_LOG_SEC 10u       // ... so long; more are dropped and counted
#define LIMIT_GREETING_SEC 15u  // from its birth to its first word, else it is killed
#define LIMIT_QUIET_SEC 30u     // not ready and no word for so long: status says so

// Credit: unconfirmed bytes a source may have under way; one frame may exceed it when nothing is.
#define LIMIT_SOURCE_CREDIT (4u * 1024u * 1024u)
#define LIMIT_WINDOW 1024u       // deliveries of one sink held in memory, the rest is on disk
#define LIMIT_BATCH_BYTES (1024u * 1024u)  // a commit is forced at this size ...
#define LIMIT_BATCH_USEC 5000u             // ... or at this age
