// SPDX-License-Identifier: MIT
// What the stream does not say and the catalogue does: whether a user's type is an array and of
// what, what a domain is made of, and the primary key of a table whose replica identity is not it.
// One SQL command asks for all that the next row lacks; what is not answered is taken as "nothing
// known" (the type or table was dropped since), so that no question is asked twice.
#include "change_internal.h"

#include <errno.h>
#include <stdlib.h>

enum { QUESTION_MAX = 4096 };

// Types: oid, base of a domain, element of a true array, delimiter.
#define ASK_TYPES                                                                      \
        "SELECT 't', t.oid::pg_catalog.text,"                                          \
        " (CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE 0 END)::pg_catalog.text," \
        " (CASE WHEN t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc"         \
        " THEN t.typelem ELSE 0 END)::pg_catalog.text, t.typdelim::pg_catalog.text"    \
        " FROM pg_catalog.pg_type t WHERE t.oid IN ("
// Columns of the primary key.
#define ASK_KEY                                                                       \
        "SELECT 'k', i.indrelid::pg_catalog.text, a.attname::pg_catalog.text, '', ''" \
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a"                  \
        " ON a.attrelid = i.indrelid"                                                 \
        " AND a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])"    \
        " WHERE i.indisprimary AND i.indrelid = "

static bool ask_before(const Change *c, uint32_t oid)
{
        for (unsigned i = 0; i < c->n_asked; i++)
                if (c->asked[i] == oid)
                        return true;
        return false;
}

int change_ask(Change *c, Relation *r)
{
        if (r->resolved || relation_resolve(&c->relations, r))
                return 0;
        buf_reset(&c->question);
        c->question.max = QUESTION_MAX;
        c->n_asked = 0;
        unsigned at = 0;
        uint32_t oid;
        while (c->n_asked < N_ELEMENTS(c->asked) &&
                (oid = relation_missing_type(&c->relations, r, &at)) != 0) {
                if (ask_before(c, oid))
                        continue;
                buf_add_str(&c->question, c->n_asked ? ", " : ASK_TYPES);
                buf_add_u64(&c->question, oid);
                c->asked[c->n_asked++] = oid;
        }
        if (c->n_asked)
                buf_add_char(&c->question, ')');
        if (!r->key_known) {
                buf_add_str(&c->question, c->n_asked ? " UNION ALL " ASK_KEY : ASK_KEY);
                buf_add_u64(&c->question, r->oid);
        }
        (void)buf_text(&c->question);
        if (c->question.error < 0)
                return c->question.error;
        c->asking = r;
        return 1;
}

const char *change_question(const Change *c)
{
        return c->asking ? (const char *)c->question.data : NULL;
}

int change_answer(Change *c, const Slice fields[static CHANGE_ANSWER_FIELDS])
{
        uint32_t oid, base, element;

        if (!c->asking || pg_oid_parse(fields[1], &oid) < 0)
                return -EBADMSG;
        if (slice_eq(fields[0], SLICE_LIT("k"))) {
                if (oid != c->asking->oid)
                        return -EBADMSG;
                relation_key_column(c->asking, fields[2]);
                return 0;
        }
        if (!slice_eq(fields[0], SLICE_LIT("t")) || !ask_before(c, oid) ||
                pg_oid_parse(fields[2], &base) < 0 || pg_oid_parse(fields[3], &element) < 0 ||
                fields[4].len != 1)
                return -EBADMSG;
        return types_learn(c->relations.types, oid, base, element, fields[4].data[0]);
}

int change_answered(Change *c, Reason *reason)
{
        if (!c->asking)
                return 0;
        for (unsigned i = 0; i < c->n_asked; i++) {
                if (types_ask(c->relations.types, c->asked[i]) != c->asked[i])
                        continue;
                int r = types_unknown(c->relations.types, c->asked[i]);
                if (r < 0)
                        return reason_set(reason, r,
                                r == -ENOSPC ? "more than %d types of users on one connection; the "
                                               "next one goes on"
                                             : "no memory for a type (%d are kept)",
                                TYPES_MAX);
        }
        c->asking->key_known = true;
        c->asking = NULL;
        return change_go(c, reason);
}
