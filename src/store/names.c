// SPDX-License-Identifier: MIT
// Names to numbers. Sources and sinks count from 1 in the order they were first seen and never
// change; of a rule only the spelling behind its hash is remembered, for display. Each name is
// written twice, because rows of a source or sink whose name is lost belong to nobody.
#include "store/files.h"

#include "event/record.h"
#include <errno.h>

static Key name_key(char copy, StoreNameKind kind, uint32_t number)
{
        Key k;
        k.len = 0;
        key_u8(&k, (uint8_t)copy);
        key_u8(&k, (uint8_t)('0' + kind));
        key_u32(&k, number);
        return k;
}

static const Name *names_by_text(const Names *n, const char *text)
{
        for (size_t i = 0; i < n->n; i++)
                if (strcmp(n->names[i].text, text) == 0)
                        return &n->names[i];
        return NULL;
}

static const Name *names_by_number(const Names *n, uint32_t number)
{
        for (size_t i = 0; i < n->n; i++)
                if (n->names[i].number == number)
                        return &n->names[i];
        return NULL;
}

static int names_append(Names *n, uint32_t number, Slice text)
{
        char *copy = strndup(text.data, text.len);
        Name *grown = copy ? reallocarray(n->names, n->n + 1, sizeof(*grown)) : NULL;
        if (!grown) {
                free(copy);
                return -ENOMEM;
        }
        n->names = grown;
        n->names[n->n++] = (Name){number, copy};
        return 0;
}

int store_intern(StoreTxn *t, StoreNameKind kind, const char *name, uint32_t *ret)
{
        Names *names = &t->s->names[kind];
        const Name *known = names_by_text(names, name);
        if (known) {
                *ret = known->number;
                return 0;
        }
        uint32_t number = 0;
        if (kind == STORE_RULE) {
                number = rule_hash(name);
                if (names->n >= RULE_NAMES_MAX || names_by_number(names, number)) {
                        *ret = number; // not remembered: shown as "?", or under its twin's name
                        return 0;
                }
        } else {
                for (size_t i = 0; i < names->n; i++)
                        if (names->names[i].number > number)
                                number = names->names[i].number;
                if (++number > NUMBER_MAX)
                        return -ENOSPC;
        }
        if (t->error)
                return t->error;
        for (const char *copy = "nN"; *copy; copy++) {
                Key key = name_key(*copy, kind, number);
                txn_put(t, TABLE_META, key_slice(&key), slice_of(name));
        }
        if (t->error)
                return t->error;
        int r = names_append(names, number, slice_of(name));
        if (r < 0)
                return r;
        *ret = number;
        return 0;
}

int store_lookup(Store *s, StoreNameKind kind, const char *name, uint32_t *ret)
{
        const Name *n = names_by_text(&s->names[kind], name);
        if (!n)
                return -ENOENT;
        *ret = n->number;
        return 0;
}

const char *store_name(Store *s, StoreNameKind kind, uint32_t number)
{
        const Name *n = names_by_number(&s->names[kind], number);
        return n ? n->text : "?";
}

int store_each_name(Store *s, StoreNameKind kind,
        int (*each)(uint32_t number, const char *name, void *u), void *u)
{
        const Names *names = &s->names[kind];
        uint64_t last = 0; // numbers are unique; rules come in any order
        for (size_t round = 0; round < names->n; round++) {
                const Name *next = NULL;
                for (size_t i = 0; i < names->n; i++) {
                        const Name *n = &names->names[i];
                        if (n->number >= last && (!next || n->number < next->number))
                                next = n;
                }
                if (!next)
                        break;
                last = (uint64_t)next->number + 1;
                int r = each(next->number, next->text, u);
                if (r)
                        return r;
        }
        return 0;
}

int names_load(Store *s, MDB_txn *txn)
{
        MDB_cursor *cursor;
        int rc = mdb_cursor_open(txn, s->dbi[TABLE_META], &cursor);
        if (rc)
                return lmdb_error(rc);
        MDB_val key = val_of(SLICE_LIT("N")), row;
        int r = 0;
        for (rc = mdb_cursor_get(cursor, &key, &row, MDB_SET_RANGE); rc == 0 && r == 0;
                rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) {
                const uint8_t *k = key.mv_data;
                if (key.mv_size != 6 || (k[0] != 'n' && k[0] != 'N') || k[1] < '0' ||
                        k[1] >= '0' + N_NAME_KINDS)
                        continue;
                uint32_t number;
                memcpy(&number, k + 2, sizeof(number));
                number = be32toh(number);
                Names *names = &s->names[k[1] - '0'];
                Slice text;
                if (row_at(TABLE_META, &key, &row, &text) < 0) {
                        store_suspect(s);
                        continue; // its twin is enough
                }
                if (!names_by_number(names, number))
                        r = names_append(names, number, text);
        }
        mdb_cursor_close(cursor);
        for (size_t i = 0; i < N_NAME_KINDS; i++)
                s->names[i].n_committed = s->names[i].n;
        if (r < 0)
                return r;
        return rc == MDB_NOTFOUND || rc == 0 ? 0 : lmdb_error(rc);
}

void names_settle(Store *s, bool committed)
{
        for (size_t i = 0; i < N_NAME_KINDS; i++) {
                Names *n = &s->names[i];
                while (!committed && n->n > n->n_committed)
                        free(n->names[--n->n].text);
                n->n_committed = n->n;
        }
}

void names_free(Store *s)
{
        for (size_t i = 0; i < N_NAME_KINDS; i++) {
                Names *n = &s->names[i];
                for (size_t j = 0; j < n->n; j++)
                        free(n->names[j].text);
                free(n->names);
                *n = (Names){0};
        }
}
