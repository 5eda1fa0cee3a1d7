// SPDX-License-Identifier: MIT
// The known tables. A relation is one block: the struct, its columns, and one run of text behind
// them that all its slices point into. It is never changed but for what is resolved later (types, the
// catalogue's key); a new description makes a new one, and the old one is handed out to be compared.
#include "relation.h"

#include "base/json.h"

#include <errno.h>

int relations_init(Relations *r)
{
        *r = (Relations){.types = types_new()};
        return r->types ? 0 : -ENOMEM;
}

Relation *relation_free(Relation *r)
{
        if (r)
                free(r->told);
        free(r);
        return NULL;
}

static void relations_remove(Relations *all, Relation *r)
{
        HASH_DEL(all->by_oid, r);
        all->n--;
        all->bytes -= r->bytes;
}

void relations_deinit(Relations *r)
{
        Relation *x, *next;

        HASH_ITER (hh, r->by_oid, x, next) {
                relations_remove(r, x);
                relation_free(x);
        }
        r->types = types_free(r->types);
}

void relations_disconnected(Relations *r)
{
        for (Relation *x = r->by_oid; x; x = x->hh.next) {
                x->seen = x->resolved = false;
                for (unsigned i = 0; i < x->n_columns; i++)
                        x->columns[i].value = NULL;
        }
        types_reset(r->types);
}

static Relation *relations_known(const Relations *r, uint32_t oid)
{
        Relation *x;
        HASH_FIND(hh, r->by_oid, &oid, sizeof oid, x);
        return x;
}

Relation *relations_find(Relations *r, uint32_t oid)
{
        Relation *x = relations_known(r, oid);
        return x && x->seen ? x : NULL;
}

// While a relation is put together its slices hold offsets into the text, which still moves.
static Slice text_from(const Buf *text, size_t start)
{
        return (Slice){(const char *)(uintptr_t)start, text->len - start};
}

static Slice text_keep(Buf *text, Slice s)
{
        size_t start = text->len;
        buf_add_slice(text, s);
        return text_from(text, start);
}

static void rebase(Slice *s, const char *base)
{
        s->data = base + (uintptr_t)s->data;
}

typedef struct Draft {
        Relation head;
        Column columns[PG_COLUMNS_MAX];
        Buf text;
} Draft;

static void draft_free(Draft **d)
{
        if (*d)
                buf_deinit(&(*d)->text);
        free(*d);
}

static Draft *draft_new(uint32_t oid, Slice schema, Slice name, char identity)
{
        Draft *d = calloc(1, sizeof *d);
        if (!d)
                return NULL;
        d->text = BUF_INIT(RELATIONS_BYTES_MAX);
        Relation *r = &d->head;
        *r = (Relation){.oid = oid, .identity = identity};
        r->key_known = identity == 'd' || identity == 'i';
        r->schema = text_keep(&d->text, schema);
        r->name = text_keep(&d->text, name);
        size_t start = d->text.len;
        buf_add_slice(&d->text, schema);
        buf_add_char(&d->text, '.');
        buf_add_slice(&d->text, name);
        r->subject = text_from(&d->text, start);
        start = d->text.len;
        JsonWriter w = json_writer(&d->text);
        json_key(&w, "schema");
        json_add_string(&w, schema);
        json_key(&w, "table");
        json_add_string(&w, name);
        r->head = text_from(&d->text, start);
        return d;
}

// The name of its type has been put at the end of the text, from type_name on.
static void draft_add(Draft *d, const PgColumn *from, size_t type_name)
{
        Column *c = &d->columns[d->head.n_columns++];

        *c = (Column){.type = from->type, .typmod = from->typmod, .identity = from->key};
        c->type_name = text_from(&d->text, type_name);
        c->name = text_keep(&d->text, from->name);
        size_t start = d->text.len;
        JsonWriter w = json_writer(&d->text);
        json_key_slice(&w, from->name);
        c->json_name = text_from(&d->text, start);
        c->key = d->head.key_known && from->key;
        d->head.n_key = (uint16_t)(d->head.n_key + c->key);
}

static Relation *draft_finish(const Draft *d)
{
        size_t columns = d->head.n_columns * sizeof(Column);
        size_t bytes = sizeof(Relation) + columns + d->text.len;

        Relation *r = d->text.error < 0 ? NULL : malloc(bytes);
        if (!r)
                return NULL;
        *r = d->head;
        r->bytes = bytes;
        r->columns = (Column *)(r + 1);
        memcpy(r->columns, d->columns, columns);
        char *text = (char *)r->columns + columns;
        memcpy(text, d->text.data, d->text.len);
        rebase(&r->schema, text);
        rebase(&r->name, text);
        rebase(&r->subject, text);
        rebase(&r->head, text);
        for (unsigned i = 0; i < r->n_columns; i++) {
                rebase(&r->columns[i].name, text);
                rebase(&r->columns[i].json_name, text);
                rebase(&r->columns[i].type_name, text);
        }
        return r;
}

static int relations_insert(Relations *all, Relation *r)
{
        HASH_ADD(hh, all->by_oid, oid, sizeof r->oid, r);
        if (!r->hh.tbl)
                return -ENOMEM;
        all->n++;
        all->bytes += r->bytes;
        r->used = ++all->clock;
        return 0;
}

static bool relation_equal(const Relation *a, const Relation *b)
{
        if (!slice_eq(a->subject, b->subject) || !slice_eq(a->name, b->name) ||
                a->identity != b->identity || a->n_columns != b->n_columns)
                return false;
        for (unsigned i = 0; i < a->n_columns; i++) {
                const Column *x = &a->columns[i], *y = &b->columns[i];
                if (!slice_eq(x->name, y->name) || x->type != y->type || x->typmod != y->typmod ||
                        x->identity != y->identity)
                        return false;
        }
        return true;
}

// Makes room for one more: false when all that could go was described on this connection.
static bool relations_evict(Relations *all)
{
        while (all->n >= RELATIONS_MAX || all->bytes > RELATIONS_BYTES_MAX) {
                Relation *oldest = NULL;
                for (Relation *x = all->by_oid; x; x = x->hh.next)
                        if (!x->seen && (!oldest || x->used < oldest->used))
                                oldest = x;
                if (!oldest || all->n_evicted == RELATIONS_EVICT)
                        return false;
                all->evicted[all->n_evicted++] = oldest->oid;
                relations_remove(all, oldest);
                relation_free(oldest);
        }
        return true;
}

static Relation *relation_from_message(const Relations *all, const PgMessage *m)
{
        _cleanup_(draft_free) Draft *d = draft_new(
                m->relation.oid, m->relation.schema, m->relation.name, m->relation.identity);
        if (!d)
                return NULL;
        Slice rest = m->relation.columns;
        for (unsigned i = 0; i < m->relation.n_columns; i++) {
                PgColumn c = pg_next_column(&rest);
                size_t type_name = d->text.len;
                types_add_name(all->types, c.type, c.typmod, &d->text);
                draft_add(d, &c, type_name);
        }
        return draft_finish(d);
}

// Which of the two that were known is what the state row says, and what becomes of the other.
static RelationNews relation_news(Relation *r, Relation *known, bool replay, Relation **ret_before)
{
        if (!known)
                return RELATION_NEW;
        Relation *told = known;
        if (known->told) {
                told = TAKE_PTR(known->told);
                relation_free(known);
        }
        if (relation_equal(told, r)) {
                relation_free(told);
                return RELATION_SAME;
        }
        if (replay) {
                r->told = told;
                return RELATION_SAME;
        }
        *ret_before = told;
        return RELATION_CHANGED;
}

int relations_describe(Relations *all, const PgMessage *m, bool replay, Relation **ret,
        Relation **ret_before, Reason *reason)
{
        all->n_evicted = 0;
        Relation *known = relations_known(all, m->relation.oid);
        Relation *r = relation_from_message(all, m);
        if (!r)
                return reason_set(reason, -ENOMEM, "no memory for the description of a table");
        if (known)
                relations_remove(all, known);
        else if (!relations_evict(all)) {
                relation_free(r);
                return reason_set(reason, -ENOSPC,
                        "more than %d tables were described on one connection (%zu bytes of "
                        "columns); the next one goes on",
                        RELATIONS_MAX, all->bytes);
        }
        int k = relations_insert(all, r);
        if (k < 0) {
                relation_free(r);
                relation_free(known);
                return reason_set(reason, k, "no memory for the description of a table");
        }
        r->seen = true;
        *ret = r;
        return (int)relation_news(r, known, replay, ret_before);
}

bool relation_resolve(Relations *all, Relation *r)
{
        bool whole = r->key_known;

        for (unsigned i = 0; i < r->n_columns; i++) {
                r->columns[i].value = types_find(all->types, r->columns[i].type);
                whole = whole && r->columns[i].value;
        }
        return r->resolved = whole;
}

uint32_t relation_missing_type(const Relations *all, const Relation *r, unsigned *at)
{
        while (*at < r->n_columns) {
                uint32_t oid = types_ask(all->types, r->columns[(*at)++].type);
                if (oid)
                        return oid;
        }
        return 0;
}

void relation_key_column(Relation *r, Slice name)
{
        for (unsigned i = 0; i < r->n_columns; i++)
                if (!r->columns[i].key && slice_eq(r->columns[i].name, name)) {
                        r->columns[i].key = true;
                        r->n_key++;
                }
}

// The columns of a stored row, as relation_state_value() wrote them.
static int relation_from_wire(Draft *d, unsigned n, WireReader *in)
{
        for (unsigned i = 0; i < n && !in->bad; i++) {
                PgColumn c = {.key = wire_u8(in) != 0};
                c.name = wire_bytes(in);
                c.type = wire_u32(in);
                c.typmod = (int32_t)wire_u32(in);
                size_t type_name = d->text.len;
                buf_add_slice(&d->text, wire_bytes(in));
                draft_add(d, &c, type_name);
        }
        return wire_end(in) ? 0 : -EBADMSG;
}

int relations_restore(Relations *all, uint32_t oid, Slice schema, Slice name, char identity,
        unsigned n, WireReader *in)
{
        if (relations_known(all, oid))
                return -EBADMSG;
        _cleanup_(draft_free) Draft *d = draft_new(oid, schema, name, identity);
        if (!d)
                return -ENOMEM;
        int r = relation_from_wire(d, n, in);
        if (r < 0)
                return r;
        Relation *x = draft_finish(d);
        r = x ? relations_insert(all, x) : -ENOMEM;
        if (r < 0)
                relation_free(x);
        return r;
}
