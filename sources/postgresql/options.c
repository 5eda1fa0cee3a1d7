// SPDX-License-Identifier: MIT
// The option table of the postgresql source. Its prose is the manual's option list.
#include "options.h"

#include "base/digest.h"
#include "server.h"

#include <ctype.h>

static const char *const create_values[] = {"auto", "never", NULL};
static const char *const numeric_values[] = {"string", "number", NULL};
static const char *const transaction_values[] = {"off", "group", NULL};
static const char *const budget_values[] = {"alert", "drop", NULL};
static const char *const gap_values[] = {"stop", "continue", "backfill", NULL};

#define AT(type, member) .offset = OPTION_MEMBER(PostgresqlOptions, type, member)
#define AT_TABLE(type, member) .offset = OPTION_MEMBER(TableOption, type, member)

static const Option table_rows[] = {
        {.name = "name",
                .type = OPTION_STRING,
                AT_TABLE(char *, name),
                .flags = OPTION_REQUIRED,
                .unit = "",
                .since = "0.1",
                .prose = "The table, as schema.table; both halves may be shell patterns."},
        {.name = "where",
                .type = OPTION_STRING,
                AT_TABLE(char *, where),
                .unit = "",
                .since = "0.1",
                .prose = "An SQL condition that rows must meet, such as \"status = 'paid'\". The "
                         "server "
                         "applies it: an update that crosses it becomes an insert or a delete. "
                         "Needs "
                         "PostgreSQL 15."},
        {.name = "columns",
                .type = OPTION_STRING_LIST,
                AT_TABLE(char **, columns),
                .unit = "",
                .since = "0.1",
                .prose = "Only these columns leave the server; the key must be among them. Needs "
                         "PostgreSQL 15."},
};

const Option postgresql_options[] = {
        {.name = "conninfo",
                .type = OPTION_STRING,
                AT(char *, conninfo),
                .flags = OPTION_REQUIRED | OPTION_CAGE_FILES,
                .unit = "",
                .since = "0.1",
                .prose = "How to reach the server, in libpq's words: \"service=shop\", \"host=db "
                         "dbname=shop user=belfry sslmode=verify-full "
                         "sslrootcert=/etc/belfry/ca.pem\", "
                         "a postgresql:// URI, several hosts. Directly, not through a pooler. A "
                         "password in it is refused: see *passfile*."},
        {.name = "passfile",
                .type = OPTION_SECRET,
                AT(char *, passfile),
                .unit = "",
                .since = "0.1",
                .prose = "A password file as libpq reads it, lines of "
                         "host:port:database:user:password, "
                         "of mode 0600."},
        {.name = "service_file",
                .type = OPTION_PATH,
                AT(char *, service_file),
                .flags = OPTION_CAGE_FILES,
                .unit = "",
                .def = "/etc/postgresql-common/pg_service.conf",
                .since = "0.1",
                .prose = "Where the services that *conninfo* may name are defined."},
        {.name = "files",
                .type = OPTION_PATH_LIST,
                AT(char **, files),
                .flags = OPTION_CAGE_FILES,
                .unit = "",
                .since = "0.1",
                .prose = "Further files that the connection needs, such as certificates named in "
                         "the "
                         "service file. What *conninfo* names itself needs no mention."},
        {.name = "tables",
                .type = OPTION_GROUP_LIST,
                AT(GroupList, tables),
                .unit = "",
                .since = "0.1",
                .rows = table_rows,
                .n_rows = sizeof table_rows / sizeof *table_rows,
                .item_size = sizeof(TableOption),
                .prose =
                        "What to watch: \"public.orders\", patterns as \"public.*\", or groups "
                        "with "
                        "*where* and *columns*. Tables made later that a pattern matches are added "
                        "within a minute. An empty list watches messages only. Without this option "
                        "*publication* must exist and says it all."},
        {.name = "operations",
                .type = OPTION_STRING_LIST,
                AT(char **, operations),
                .unit = "",
                .def = "insert, update, delete, truncate, message",
                .since = "0.1",
                .prose = "What becomes an event: insert, update, delete, truncate, message."},
        {.name = "slot",
                .type = OPTION_STRING,
                AT(char *, slot),
                .unit = "",
                .since = "0.1",
                .prose = "The replication slot. By default its name is made of the host's and the "
                         "source's, so that two hosts never share one."},
        {.name = "publication",
                .type = OPTION_STRING,
                AT(char *, publication),
                .unit = "",
                .since = "0.1",
                .prose = "The publication; by default it is named like the slot. One that Belfry "
                         "did not "
                         "make is used as it is and never changed."},
        {.name = "create",
                .type = OPTION_ENUM,
                AT(int, create),
                .unit = "",
                .values = create_values,
                .since = "0.1",
                .prose = "\"auto\": what is missing of publication and slot is made, and the "
                         "publication "
                         "follows *tables*. \"never\": what is missing is said, with the SQL that "
                         "makes "
                         "it."},
        {.name = "numeric",
                .type = OPTION_ENUM,
                AT(int, numeric),
                .unit = "",
                .values = numeric_values,
                .since = "0.1",
                .prose = "How bigint and numeric stand in JSON: as strings, since many readers "
                         "round "
                         "large numbers, or as numbers of exactly the same digits."},
        {.name = "transaction",
                .type = OPTION_ENUM,
                AT(int, transaction),
                .unit = "",
                .values = transaction_values,
                .since = "0.1",
                .prose = "\"off\": an event for each change. \"group\": one event of type "
                         "transaction for "
                         "all changes of a transaction, in parts when it is large."},
        {.name = "backfill",
                .type = OPTION_BOOL,
                AT(bool, backfill),
                .unit = "",
                .def = "false",
                .since = "0.1",
                .prose = "Rows that are there when a table is first watched are told too, once, as "
                         "row.read events, beside the stream and consistent with it. Needs SELECT "
                         "on the tables. Tables that a pattern finds later are read as well. To "
                         "read again: `belfry source backfill NAME [TABLE]`."},
        {.name = "wal_budget",
                .type = OPTION_SIZE,
                AT(uint64_t, wal_budget),
                .unit = "bytes",
                .min = "64M",
                .since = "0.1",
                .prose =
                        "How much of its log the server may keep for the slot. Half of it is a "
                        "warning; "
                        "what happens beyond it says *on_budget*. Without it only the server's own "
                        "max_slot_wal_keep_size counts."},
        {.name = "on_budget",
                .type = OPTION_ENUM,
                AT(int, on_budget),
                .unit = "",
                .values = budget_values,
                .since = "0.1",
                .prose = "\"alert\": the source is degraded and goes on. \"drop\": the slot is "
                         "dropped to "
                         "save the server's disk; what was not read becomes a gap."},
        {.name = "on_gap",
                .type = OPTION_ENUM,
                AT(int, on_gap),
                .unit = "",
                .values = gap_values,
                .since = "0.1",
                .prose = "What follows a source.gap event. \"stop\": nothing is delivered until "
                         "`belfry source continue NAME`; the slot is made anew meanwhile, so that "
                         "the "
                         "gap does not grow. \"continue\": go on behind the gap. \"backfill\": "
                         "go on, and read all rows of the tables as row.read events, so that the "
                         "receiver has what the gap hid, but for deletions."},
};
const size_t n_postgresql_options = sizeof postgresql_options / sizeof *postgresql_options;

static const char *const operation_words[] = {"insert", "update", "delete", "truncate", "message"};

static unsigned operation_of(const char *word)
{
        for (size_t i = 0; i < N_ELEMENTS(operation_words); i++)
                if (strcmp(operation_words[i], word) == 0)
                        return 1u << i;
        return 0;
}

unsigned options_operations(const PostgresqlOptions *o)
{
        unsigned set = 0;
        for (char *const *w = o->operations; w && *w; w++)
                set |= operation_of(*w);
        return set;
}

static void check_table(const TableOption *t, size_t i, OptionFaults *f)
{
        char option[64];
        const char *dot = strchr(t->name, '.');
        (void)snprintf(option, sizeof option, "tables[%zu].name", i);
        if (!dot && t->name[0])
                option_fault(f, option, "names no schema: write \"public.%.80s\"", t->name);
        else if (!dot || dot == t->name || !dot[1])
                option_fault(f, option, "expected schema.table, such as \"public.orders\"");
        (void)snprintf(option, sizeof option, "tables[%zu].columns", i);
        if (t->columns && !t->columns[0])
                option_fault(
                        f, option, "the list is empty: name the columns, or leave it out for all");
        (void)snprintf(option, sizeof option, "tables[%zu].where", i);
        if (t->where && !t->where[strspn(t->where, " \t\n")])
                option_fault(f, option, "is empty: write an SQL condition, or leave it out");
}

static bool good_slot(const char *name)
{
        size_t n = strlen(name);
        return n > 0 && n < SLOT_NAME_MAX &&
               strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

void postgresql_check(const void *options, OptionFaults *f)
{
        const PostgresqlOptions *o = options;
        Reason reason = {""};
        char option[64];

        if (conninfo_check(o->conninfo, &reason) < 0)
                option_fault(f, "conninfo", "%s", reason.text);
        for (size_t i = 0; i < o->tables.n; i++)
                check_table(&((const TableOption *)o->tables.items)[i], i, f);
        for (size_t i = 0; o->operations && o->operations[i]; i++) {
                (void)snprintf(option, sizeof option, "operations[%zu]", i);
                if (operation_of(o->operations[i]) == 0)
                        option_fault(f, option,
                                "\"%.40s\" is none of insert, update, delete, truncate, message",
                                o->operations[i]);
        }
        if (options_operations(o) == 0)
                option_fault(f, "operations", "the list is empty");
        if (!o->tables.items && !o->publication)
                option_fault(f, "tables",
                        "is missing: name what to watch, such as tables = [ \"public.orders\" ], "
                        "or a "
                        "publication that exists");
        if (o->slot && !good_slot(o->slot))
                option_fault(f, "slot",
                        "expected the name of a slot: lower-case letters, digits and underscores, "
                        "at "
                        "most 63");
        if (o->publication && (!o->publication[0] || strlen(o->publication) >= SLOT_NAME_MAX))
                option_fault(f, "publication", "a name has 1 to 63 bytes");
}

void options_slot(const PostgresqlOptions *o, const char *host, const char *instance,
        char ret[static SLOT_NAME_MAX])
{
        char plain[512];
        uint8_t hash[SHA256_SIZE] = {0};
        const Slice parts[] = {slice_of(host), slice_of(instance)};
        bool exact = true;

        if (o->slot) {
                (void)snprintf(ret, SLOT_NAME_MAX, "%s", o->slot);
                return;
        }
        (void)snprintf(plain, sizeof plain, "belfry_%s_%s", host, instance);
        // What had to be changed or cut gets a hash of what it was, or "a-b" and "a_b" would meet.
        for (size_t i = 0; i < 2; i++)
                for (size_t k = 0; k < parts[i].len; k++)
                        exact = exact &&
                                strchr("abcdefghijklmnopqrstuvwxyz0123456789", parts[i].data[k]);
        for (char *p = plain; *p; p++)
                *p = isalnum((unsigned char)*p) ? (char)tolower((unsigned char)*p) : '_';
        if (exact && strlen(plain) < SLOT_NAME_MAX) {
                (void)snprintf(ret, SLOT_NAME_MAX, "%s", plain);
                return;
        }
        (void)!digest_sha256_parts(parts, 2, hash);
        (void)snprintf(ret, SLOT_NAME_MAX, "%.54s_%02x%02x%02x%02x", plain, hash[0], hash[1],
                hash[2], hash[3]);
}
