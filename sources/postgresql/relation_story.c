// SPDX-License-Identifier: MIT
// A relation told and kept: the data of schema.changed, and the row of the source's state.
//
// State row, little-endian: u8 version (1), bytes schema, bytes name, u8 identity, u16 columns, each:
// u8 in the identity, bytes name, u32 type, u32 typmod, bytes name of the type.
#include "relation.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/wire.h"

#include <errno.h>
#include <stdio.h>

enum { STATE_VERSION = 1 };
#define STATE_PREFIX "relation/"

static void write_column(JsonWriter *w, const Column *c)
{
        json_begin(w, '{');
        json_key(w, "name");
        json_add_string(w, c->name);
        json_key(w, "type");
        json_add_string(w, c->type_name);
        json_key(w, "identity");
        json_bool(w, c->identity);
        json_end(w, '}');
}

static void write_whole(JsonWriter *w, const char *name, const Relation *r)
{
        static const char *const identities[] = {"default", "nothing", "full", "index"};
        const char *letters = "dnfi", *letter = strchr(letters, r->identity);

        json_key(w, name);
        json_begin(w, '{');
        json_key(w, "schema");
        json_add_string(w, r->schema);
        json_key(w, "table");
        json_add_string(w, r->name);
        json_key(w, "replica_identity");
        json_text(w, letter && *letter ? identities[letter - letters] : "unknown");
        json_key(w, "columns");
        json_begin(w, '[');
        for (unsigned i = 0; i < r->n_columns; i++)
                write_column(w, &r->columns[i]);
        json_end(w, ']');
        json_end(w, '}');
}

// Columns keep their order, so the one of that name is nearly always at or near the same place.
static const Column *find_column(const Relation *r, Slice name, unsigned near)
{
        for (unsigned i = 0; i < r->n_columns; i++) {
                const Column *c = &r->columns[(near + i) % r->n_columns];
                if (slice_eq(c->name, name))
                        return c;
        }
        return NULL;
}

static void write_missing(JsonWriter *w, const char *name, const Relation *of, const Relation *in)
{
        json_key(w, name);
        json_begin(w, '[');
        for (unsigned i = 0; i < of->n_columns; i++)
                if (!find_column(in, of->columns[i].name, i))
                        json_add_string(w, of->columns[i].name);
        json_end(w, ']');
}

static void write_retyped(JsonWriter *w, const Relation *before, const Relation *after)
{
        json_key(w, "retyped");
        json_begin(w, '[');
        for (unsigned i = 0; i < after->n_columns; i++) {
                const Column *c = &after->columns[i], *old = find_column(before, c->name, i);
                if (!old || (old->type == c->type && old->typmod == c->typmod))
                        continue;
                json_begin(w, '{');
                json_key(w, "name");
                json_add_string(w, c->name);
                json_key(w, "before");
                json_add_string(w, old->type_name);
                json_key(w, "after");
                json_add_string(w, c->type_name);
                json_end(w, '}');
        }
        json_end(w, ']');
}

void relation_write_changes(const Relation *before, const Relation *after, Buf *out)
{
        JsonWriter w = json_writer(out);

        write_missing(&w, "added", after, before);
        write_missing(&w, "removed", before, after);
        write_retyped(&w, before, after);
        write_whole(&w, "before", before);
        write_whole(&w, "after", after);
}

void relation_state_key(uint32_t oid, Buf *out)
{
        buf_add_str(out, STATE_PREFIX);
        buf_add_u64(out, oid);
}

void relation_state_value(const Relation *r, Buf *out)
{
        wire_put_u8(out, STATE_VERSION);
        wire_put_bytes(out, r->schema);
        wire_put_bytes(out, r->name);
        wire_put_u8(out, (uint8_t)r->identity);
        wire_put_u16(out, r->n_columns);
        for (unsigned i = 0; i < r->n_columns; i++) {
                const Column *c = &r->columns[i];
                wire_put_u8(out, c->identity);
                wire_put_bytes(out, c->name);
                wire_put_u32(out, c->type);
                wire_put_u32(out, (uint32_t)c->typmod);
                wire_put_bytes(out, c->type_name);
        }
}

int relations_load(Relations *r, Slice key, Slice value)
{
        WireReader in = wire_reader(value);
        Slice prefix = SLICE_LIT(STATE_PREFIX);
        uint32_t oid;

        if (!slice_starts(key, prefix))
                return 1;
        if (pg_oid_parse((Slice){key.data + prefix.len, key.len - prefix.len}, &oid) < 0 ||
                wire_u8(&in) != STATE_VERSION)
                return -EBADMSG;
        Slice schema = wire_bytes(&in), name = wire_bytes(&in);
        char identity = (char)wire_u8(&in);
        unsigned n = wire_u16(&in);
        if (in.bad || n > PG_COLUMNS_MAX)
                return -EBADMSG;
        return relations_restore(r, oid, schema, name, identity, n, &in);
}
