// SPDX-License-Identifier: MIT
// What the journal source tells: one event type. The rule checker and the manual read it from here.
#include "options.h"

static const EventField entry_fields[] = {
        {"message", FIELD_STRING, "What was logged (MESSAGE=)."},
        {"priority", FIELD_NUMBER, "0 (emerg) to 7 (debug), as in syslog (PRIORITY=)."},
        {"unit", FIELD_STRING,
                "The unit that it is about: that of systemd's and of core dumps' messages, else "
                "the one that logged it (_SYSTEMD_UNIT=)."},
        {"identifier", FIELD_STRING, "The syslog identifier (SYSLOG_IDENTIFIER=)."},
        {"pid", FIELD_NUMBER, "The process that logged it (_PID=)."},
        {"uid", FIELD_NUMBER, "Its user (_UID=)."},
        {"hostname", FIELD_STRING, "The host (_HOSTNAME=)."},
        {"boot", FIELD_STRING, "The boot of the host (_BOOT_ID=)."},
        {"transport", FIELD_STRING,
                "How it came into the journal: journal, syslog, stdout, kernel, driver, audit "
                "(_TRANSPORT=)."},
        {"cursor", FIELD_STRING, "Where it stands in the journal, for journalctl --cursor=."},
        {"fields", FIELD_OBJECT,
                "The other fields by their names in the journal. A field that occurs several "
                "times is a list."},
        {"binary", FIELD_LIST, "Names of the fields whose values are no text: they are in base64."},
        {"cut", FIELD_LIST,
                "Names of the fields whose values were longer than max_field and are cut, or were "
                "left out because the entry is too large."},
};

const EventType journal_types[] = {
        {.name = "journal.entry",
                .fields = entry_fields,
                .n_fields = N_ELEMENTS(entry_fields),
                .sample_subject = "nginx.service",
                .sample = "{\"message\":\"Failed to start nginx.service - A high performance web "
                          "server.\","
                          "\"priority\":3,\"unit\":\"nginx.service\",\"identifier\":\"systemd\","
                          "\"pid\":1,\"uid\":0,\"hostname\":\"web1\","
                          "\"boot\":\"7c1d1c2f7c0b4b0c9a7a4d0f3d0a3b9e\",\"transport\":\"journal\","
                          "\"cursor\":\"s=5b4f2f3d0c7e4a52a9f1b0d1c2e3f405;i=1f2e;b="
                          "7c1d1c2f7c0b4b0c9a7a4d0f3d0a3b9e;m=5d21dba00;t=641a8d1c31f40;x="
                          "a1b2c3d4e5f60718\","
                          "\"fields\":{\"JOB_TYPE\":\"start\",\"JOB_RESULT\":\"failed\","
                          "\"_SYSTEMD_UNIT\":\"init.scope\"}}",
                .prose = "An entry of the journal. Subject is the unit, else the identifier; time "
                         "is when it was logged."},
};
const size_t n_journal_types = N_ELEMENTS(journal_types);
