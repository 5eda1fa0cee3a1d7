// SPDX-License-Identifier: MIT
// The events of the inotify source and the fields of their data. The rule checker, the manual and
// the samples come from here.
#include "options.h"

#define COMMON                                                                               \
        {"path", FIELD_STRING,                                                               \
                "The absolute path, spelled as the configured path; symbolic links are "     \
                "not resolved. Bytes that are no UTF-8 stand as U+FFFD."},                   \
                {"path_b64", FIELD_STRING,                                                   \
                        "The path's bytes in base64; only when they are no UTF-8."},         \
                {"name", FIELD_STRING, "The last component of the path."},                   \
                {"dir", FIELD_STRING, "The path without its last component."},               \
                {"size", FIELD_NUMBER, "Bytes."},                                            \
                {"mode", FIELD_STRING, "Permission bits in octal, as \"0644\"."},            \
                {"uid", FIELD_NUMBER, "Owner, as a number."},                                \
                {"gid", FIELD_NUMBER, "Group, as a number."},                                \
                {"owner", FIELD_STRING, "Owner by name, when /etc/passwd knows one."},       \
                {"group", FIELD_STRING, "Group by name, when /etc/group knows one."},        \
                {"mtime", FIELD_TIME, "Time of the last change of content."},                \
                {"dev", FIELD_NUMBER, "Device number (st_dev); may differ after a reboot."}, \
        {                                                                                    \
                "ino", FIELD_NUMBER, "Inode number."                                         \
        }

static const EventField plain_fields[] = {COMMON};
static const EventField content_fields[] = {COMMON,
        {"hash", FIELD_STRING, "\"sha256:\" and the hash of the content, with hash = \"sha256\"."}};
static const EventField moved_fields[] = {COMMON,
        {"old_path", FIELD_STRING, "The path before the move."},
        {"old_path_b64", FIELD_STRING, "Its bytes in base64; only when they are no UTF-8."}};

#define SAMPLE_FILE                                                                              \
        "\"size\":18231,\"mode\":\"0644\",\"uid\":33,\"gid\":33,\"owner\":\"www-data\","         \
        "\"group\":\"www-data\",\"mtime\":\"2026-11-23T09:33:00.123456Z\",\"dev\":2049,\"ino\":" \
        "918273}"
#define SAMPLE_DIR                                                                               \
        "\"size\":4096,\"mode\":\"0755\",\"uid\":33,\"gid\":33,\"owner\":\"www-data\","          \
        "\"group\":\"www-data\",\"mtime\":\"2026-11-23T09:33:00.123456Z\",\"dev\":2049,\"ino\":" \
        "918270}"
#define SAMPLE_NAME "{\"path\":\"/srv/uploads/a.pdf\",\"name\":\"a.pdf\",\"dir\":\"/srv/uploads\","
#define SAMPLE_GONE                                                                      \
        SAMPLE_NAME                                                                      \
        "\"size\":18231,\"mode\":\"0644\",\"uid\":33,\"gid\":33,\"owner\":\"www-data\"," \
        "\"group\":\"www-data\",\"mtime\":\"2026-11-23T09:33:00.123456Z\"}"
#define SAMPLE_DIR_NAME "{\"path\":\"/srv/uploads/new\",\"name\":\"new\",\"dir\":\"/srv/uploads\","

#define FIELDS(list) .fields = list, .n_fields = sizeof(list) / sizeof *(list)

const EventType inotify_types[] = {
        {.name = "file.created",
                FIELDS(content_fields),
                .sample_subject = "/srv/uploads/a.pdf",
                .sample = SAMPLE_NAME SAMPLE_FILE,
                .prose = "A file is there that was not: written and closed, linked, moved in."},
        {.name = "file.modified",
                FIELDS(content_fields),
                .sample_subject = "/srv/uploads/a.pdf",
                .sample = SAMPLE_NAME SAMPLE_FILE,
                .prose = "Its content changed (size or time of modification differ), or another "
                         "file "
                         "took its place under the same name."},
        {.name = "file.moved",
                FIELDS(moved_fields),
                .sample_subject = "/srv/uploads/a.pdf",
                .sample = SAMPLE_NAME "\"old_path\":\"/srv/uploads/a.part\"," SAMPLE_FILE,
                .prose = "The same file has another path. When its content changed too a "
                         "file.modified "
                         "follows."},
        {.name = "file.deleted",
                FIELDS(plain_fields),
                .sample_subject = "/srv/uploads/a.pdf",
                .sample = SAMPLE_GONE,
                .prose = "It is no longer there: removed, moved out, or renamed over another file "
                         "(which "
                         "is then modified). What is told of it is what was last known."},
        {.name = "file.attributes",
                FIELDS(plain_fields),
                .sample_subject = "/srv/uploads/a.pdf",
                .sample = SAMPLE_NAME SAMPLE_FILE,
                .prose = "Mode, owner or group changed."},
        {.name = "dir.created",
                FIELDS(plain_fields),
                .sample_subject = "/srv/uploads/new",
                .sample = SAMPLE_DIR_NAME SAMPLE_DIR,
                .prose = "A directory is there that was not."},
        {.name = "dir.moved",
                FIELDS(moved_fields),
                .sample_subject = "/srv/uploads/new",
                .sample = SAMPLE_DIR_NAME "\"old_path\":\"/srv/uploads/old\"," SAMPLE_DIR,
                .prose = "A directory has another path; there is no event for what is inside."},
        {.name = "dir.deleted",
                FIELDS(plain_fields),
                .sample_subject = "/srv/uploads/new",
                .sample = SAMPLE_DIR_NAME SAMPLE_DIR,
                .prose = "A directory is no longer there; what was inside has been reported before "
                         "it."},
        {.name = "dir.attributes",
                FIELDS(plain_fields),
                .sample_subject = "/srv/uploads/new",
                .sample = SAMPLE_DIR_NAME SAMPLE_DIR,
                .prose = "Mode, owner or group of a directory changed."},
};
const size_t n_inotify_types = sizeof inotify_types / sizeof *inotify_types;
