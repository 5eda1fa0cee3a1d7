// SPDX-License-Identifier: MIT
// The events of the postgresql source and the fields of their data. The rule checker, the manual and
// the samples come from here.
#include "change.h"

#define TX                                                                                   \
        {"tx.xid", FIELD_NUMBER, "The transaction's number in the database."},               \
                {"tx.lsn", FIELD_STRING,                                                     \
                        "Where its commit stands in the database's log, as \"0/16B3748\"."}, \
                {"tx.time", FIELD_TIME, "When it was committed, by the server's clock."},    \
        {                                                                                    \
                "tx.ordinal", FIELD_NUMBER,                                                  \
                        "The how-manieth change of its transaction this is, from 1."         \
        }
#define TABLE(operation)                                                      \
        {"op", FIELD_STRING, "\"" operation "\""},                            \
                {"schema", FIELD_STRING, "The schema of the table."},         \
        {                                                                     \
                "table", FIELD_STRING, "The table's name without its schema." \
        }
#define KEY                                                                                \
        {                                                                                  \
                "key", FIELD_OBJECT,                                                       \
                        "The primary key, by column (or the columns of the index that is " \
                        "the replica identity). Missing when the table has none."          \
        }

static const EventField insert_fields[] = {
        TABLE("insert"), KEY, {"new", FIELD_OBJECT, "The row, by column."}, TX};
static const EventField update_fields[] = {TABLE("update"), KEY,
        {"new", FIELD_OBJECT, "The row as it is now, by column, but for what `unchanged` names."},
        {"old", FIELD_OBJECT,
                "The row as it was: all of it with REPLICA IDENTITY FULL, else the key and only "
                "when the key changed."},
        {"changed", FIELD_LIST,
                "Names of the columns that differ; only with REPLICA IDENTITY FULL."},
        {"unchanged", FIELD_LIST,
                "Names of columns whose large value did not change, so that the database did not "
                "send it. They are missing in `new`."},
        TX};
static const EventField delete_fields[] = {TABLE("delete"), KEY,
        {"old", FIELD_OBJECT,
                "The row as it was: all of it with REPLICA IDENTITY FULL, else its key."},
        TX};
static const EventField truncate_fields[] = {TABLE("truncate"),
        {"cascade", FIELD_BOOL, "true with TRUNCATE ... CASCADE."},
        {"restart_identity", FIELD_BOOL, "true with TRUNCATE ... RESTART IDENTITY."}, TX};
static const EventField read_fields[] = {TABLE("read"), KEY,
        {"new", FIELD_OBJECT, "The row, by column."},
        {"tx.lsn", FIELD_STRING,
                "Where the database's log stood when the row was read: all that was committed "
                "before it is in the row."},
        {"tx.ordinal", FIELD_NUMBER, "The how-manieth row of this reading of the table it is."}};
static const EventField message_fields[] = {{"op", FIELD_STRING, "\"message\""},
        {"prefix", FIELD_STRING, "The first argument after the flag of pg_logical_emit_message()."},
        {"transactional", FIELD_BOOL, "Whether it belongs to a transaction."},
        {"encoding", FIELD_STRING,
                "What the payload is: \"json\" (an object or a list), \"text\", or \"base64\" when "
                "it "
                "is not UTF-8."},
        {"payload", FIELD_ANY, "What was sent: JSON as it is, else a string."}, TX};
static const EventField schema_fields[] = {TABLE("schema"),
        {"added", FIELD_LIST, "Names of columns that are new."},
        {"removed", FIELD_LIST, "Names of columns that are gone."},
        {"retyped", FIELD_LIST, "Columns of another type: {name, before, after}."},
        {"before", FIELD_OBJECT,
                "The table as it was: {schema, table, replica_identity, columns: [{name, type, "
                "identity}]}."},
        {"after", FIELD_OBJECT, "The table as it is, likewise."}, TX};
static const EventField transaction_fields[] = {{"op", FIELD_STRING, "\"transaction\""},
        {"changes", FIELD_LIST,
                "The changes in their order, each as the data of its own event would be, with "
                "`ordinal` in place of `tx`."},
        {"rows", FIELD_NUMBER, "How many changes are in this part."}, TX,
        {"tx.part", FIELD_NUMBER, "Which part of the transaction this is, from 1."},
        {"tx.last", FIELD_BOOL, "Whether it is the last one."}};

#define SAMPLE_TX(ordinal)                                                                    \
        "\"tx\":{\"xid\":741,\"lsn\":\"0/16B3748\",\"time\":\"2026-11-23T09:33:00.123456Z\"," \
        "\"ordinal\":" ordinal
#define SAMPLE_TABLE(operation) \
        "{\"op\":\"" operation "\",\"schema\":\"public\",\"table\":\"orders\","
#define SAMPLE_ROW(status) \
        "{\"id\":42,\"customer\":\"ACME\",\"total\":\"99.90\",\"status\":\"" status "\"}"
#define SAMPLE_COLUMN(name, type, identity) \
        "{\"name\":\"" name "\",\"type\":\"" type "\",\"identity\":" identity "}"
#define SAMPLE_COLUMNS \
        SAMPLE_COLUMN("id", "int4", "true") "," SAMPLE_COLUMN("customer", "text", "false")
#define SAMPLE_IS                                                                       \
        "{\"schema\":\"public\",\"table\":\"orders\",\"replica_identity\":\"default\"," \
        "\"columns\":["

#define FIELDS(list) .fields = list, .n_fields = sizeof(list) / sizeof *(list)

const EventType postgresql_types[] = {
        {.name = "row.inserted",
                FIELDS(insert_fields),
                .sample_subject = "public.orders",
                .sample = SAMPLE_TABLE("insert") "\"key\":{\"id\":42},\"new\":" SAMPLE_ROW(
                        "new") "," SAMPLE_TX("1") "}}",
                .prose = "A row was inserted (INSERT, COPY, or an update that made a row pass the "
                         "publication's row filter)."},
        {.name = "row.updated",
                FIELDS(update_fields),
                .sample_subject = "public.orders",
                .sample = SAMPLE_TABLE("update") "\"key\":{\"id\":42},\"new\":" SAMPLE_ROW(
                        "paid") ",\"old\":" SAMPLE_ROW("new") ",\"changed\":[\"status\"]"
                                                              "," SAMPLE_TX("2") "}}",
                .prose = "A row was updated."},
        {.name = "row.deleted",
                FIELDS(delete_fields),
                .sample_subject = "public.orders",
                .sample = SAMPLE_TABLE(
                        "delete") "\"key\":{\"id\":42},\"old\":{\"id\":42}," SAMPLE_TX("1") "}}",
                .prose = "A row was deleted."},
        {.name = "table.truncated",
                FIELDS(truncate_fields),
                .sample_subject = "public.orders",
                .sample = SAMPLE_TABLE("truncate") "\"cascade\":true," SAMPLE_TX("1") "}}",
                .prose = "A table was emptied by TRUNCATE."},
        {.name = "row.read",
                FIELDS(read_fields),
                .sample_subject = "public.orders",
                .sample = SAMPLE_TABLE("read") "\"key\":{\"id\":42},\"new\":" SAMPLE_ROW(
                        "new") ",\"tx\":{\"lsn\":\"0/16B3748\",\"ordinal\":17}}",
                .prose = "A row that was there already was read (backfill). Never as it was before "
                         "a change that was told."},
        {.name = "message",
                FIELDS(message_fields),
                .sample_subject = "invoice.sent",
                .sample = "{\"op\":\"message\",\"prefix\":\"invoice.sent\",\"transactional\":true,"
                          "\"encoding\":\"json\",\"payload\":{\"invoice\":42}," SAMPLE_TX("3") "}}",
                .prose = "pg_logical_emit_message() was called."},
        {.name = "schema.changed",
                FIELDS(schema_fields),
                .sample_subject = "public.orders",
                .sample = SAMPLE_TABLE(
                        "schema") "\"added\":[\"note\"],\"removed\":[],\"retyped\":[],"
                                  "\"before\":" SAMPLE_IS SAMPLE_COLUMNS
                                  "]},\"after\":" SAMPLE_IS SAMPLE_COLUMNS "," SAMPLE_COLUMN(
                                          "note", "text", "false") "]}," SAMPLE_TX("0") "}}",
                .prose = "A table's columns, name or replica identity are not what they were. Told "
                         "before the first row of the new form."},
        {.name = "transaction",
                FIELDS(transaction_fields),
                .sample = "{\"op\":\"transaction\",\"changes\":[" SAMPLE_TABLE(
                        "insert") "\"key\":{\"id\":42},"
                                  "\"new\":" SAMPLE_ROW("new") ",\"ordinal\":1}],\"rows\":"
                                                               "1," SAMPLE_TX(
                                                                       "1") ",\"part\":1,\"last\":"
                                                                            "true}}",
                .prose = "With transaction = \"group\": a committed transaction, or a part of a "
                         "large "
                         "one, in place of the events of its changes."},
};
const size_t n_postgresql_types = sizeof postgresql_types / sizeof *postgresql_types;
