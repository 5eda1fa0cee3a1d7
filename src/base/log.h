// SPDX-License-Identifier: MIT
// Where a program's own log lines go: to the journal with fields when standard error is connected
// to it (JOURNAL_STREAM), else to standard error as "<level>ident: message". Library layers are
// silent; only daemon, modules and command log, each error once. Bytes that could steer a terminal
// are escaped. Secrets never get here.
#pragma once

#include "base/cleanup.h"
#include <syslog.h>

typedef struct LogFields {
        const char *message_id; // 32 hex digits from event/messages.h, or NULL
        const char *instance;   // source or sink name, or NULL
        const char *event_id;   // or NULL
} LogFields;

void log_init(const char *ident, int max_level); // LOG_ERR .. LOG_DEBUG
void log_set_max_level(int max_level);
void log_write(int level, const LogFields *fields, const char *format, ...) _printf_(3, 4);

#define log_error(...) log_write(LOG_ERR, NULL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, NULL, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, NULL, __VA_ARGS__)
