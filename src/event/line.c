// SPDX-License-Identifier: MIT
// See line.h. Members are told apart by hand, since a line is looked at for each event; a member that
// is not known or stands twice is refused, so that a misspelling is seen by whoever made it.
#include "event/line.h"

#include "base/clock.h"
#include "base/limits.h"
#include "event/schema.h"

#include <errno.h>

typedef enum Member {
        MEMBER_TYPE,
        MEMBER_SUBJECT,
        MEMBER_ID,
        MEMBER_TIME,
        MEMBER_DATA,
        MEMBER_POSITION,
        MEMBER_READY,
        _MEMBER_MAX,
        _MEMBER_INVALID = -22,
} Member;

static const char *const member_names[_MEMBER_MAX] = {
        [MEMBER_TYPE] = "type",
        [MEMBER_SUBJECT] = "subject",
        [MEMBER_ID] = "id",
        [MEMBER_TIME] = "time",
        [MEMBER_DATA] = "data",
        [MEMBER_POSITION] = "position",
        [MEMBER_READY] = "ready",
};

void event_parser_init(EventParser *p)
{
        *p = (EventParser){
                .texts = BUF_INIT(
                        (LIMIT_SUBJECT + EVENT_LINE_ID_MAX + EVENT_LINE_POSITION_MAX) * 6)};
}

void event_parser_deinit(EventParser *p)
{
        json_tree_deinit(&p->tree);
        buf_deinit(&p->texts);
}

// Those of programs stand at the end of the table.
static int members_known(bool program)
{
        return program ? _MEMBER_MAX : MEMBER_POSITION;
}

static Member member_of(const JsonNode *n, bool program)
{
        for (int m = 0; !n->key_escaped && m < members_known(program); m++)
                if (slice_eq_str(n->key, member_names[m]))
                        return (Member)m;
        return _MEMBER_INVALID;
}

static int refuse_member(const JsonNode *n, bool program, Reason *reason)
{
        return reason_set(reason, -EINVAL,
                "unknown member \"%.*s\"; known are type, subject, id, time%s data",
                (int)(n->key.len < 40 ? n->key.len : 40), n->key.data,
                program ? ", position, ready and" : " and");
}

static int check_form(const JsonNode *n, Member m, Reason *reason)
{
        const char *form = m == MEMBER_DATA    ? "an object, such as {\"size\":1}"
                           : m == MEMBER_READY ? "true"
                                               : "a string";
        JsonType type = m == MEMBER_DATA    ? JSON_NODE_OBJECT
                        : m == MEMBER_READY ? JSON_NODE_TRUE
                                            : JSON_NODE_STRING;
        return n->type == type ? 0
                               : reason_set(reason, -EINVAL, "%s is not %s", member_names[m], form);
}

static int members_find(const JsonTree *t, bool program, const JsonNode **ret, Reason *reason)
{
        const JsonNode *root = t->nodes;
        for (uint32_t i = 1; i < root->next; i = t->nodes[i].next) {
                const JsonNode *n = &t->nodes[i];
                Member m = member_of(n, program);
                if (m < 0)
                        return refuse_member(n, program, reason);
                if (ret[m])
                        return reason_set(reason, -EINVAL, "%s is given twice", member_names[m]);
                int r = check_form(n, m, reason);
                if (r < 0)
                        return r;
                ret[m] = n;
        }
        return 0;
}

static int take_type(const JsonNode *n, EventLine *l, Reason *reason)
{
        if (!n)
                return reason_set(reason, -EINVAL, "type is missing");
        if (n->escaped || !event_type_is_own(n->raw))
                return reason_set(reason, -EINVAL,
                        "type \"%.*s\" is not one that you may use: lower-case letters, "
                        "digits, dots and hyphens, %d at most, and none of Belfry's own families "
                        "(belfry., file., journal., line., row., source., timer. ...)",
                        (int)(n->raw.len < 60 ? n->raw.len : 60), n->raw.data, EVENT_TYPE_MAX);
        memcpy(l->type, n->raw.data, n->raw.len);
        l->type[n->raw.len] = 0;
        return 0;
}

// Into p->texts, whose memory may move: the caller makes slices of it at the end.
static int take_text(EventParser *p, const JsonNode *n, const char *name, size_t max,
        size_t *ret_len, Reason *reason)
{
        *ret_len = 0;
        if (!n)
                return 0;
        size_t before = p->texts.len;
        if (n->raw.len <= max * 6) // the longest spelling of a byte is \u0001
                json_unescape(&p->texts, n->raw);
        if (p->texts.error == -ENOMEM)
                return -ENOMEM;
        *ret_len = p->texts.len - before;
        if (p->texts.error || n->raw.len > max * 6 || *ret_len > max)
                return reason_set(reason, -EINVAL, "%s is longer than %zu bytes", name, max);
        return 0;
}

static int take_time(const JsonNode *n, EventLine *l, Reason *reason)
{
        if (n && clock_parse_rfc3339(n->raw.data, n->raw.len, &l->time_usec) < 0)
                return reason_set(
                        reason, -EINVAL, "time is not of the form 2026-11-23T09:33:00Z (RFC 3339)");
        return 0;
}

// The environment and a line of text carry it to the program again.
static int check_position(Slice position, Reason *reason)
{
        for (size_t i = 0; i < position.len; i++)
                if ((unsigned char)position.data[i] < 0x20)
                        return reason_set(reason, -EINVAL, "position holds a control character");
        return 0;
}

static int take_texts(EventParser *p, const JsonNode *const *members, EventLine *l, Reason *reason)
{
        static const struct {
                Member member;
                size_t max;
        } texts[] = {{MEMBER_SUBJECT, LIMIT_SUBJECT}, {MEMBER_ID, EVENT_LINE_ID_MAX},
                {MEMBER_POSITION, EVENT_LINE_POSITION_MAX}};
        Slice *const slices[] = {&l->subject, &l->key, &l->position};
        size_t lengths[N_ELEMENTS(texts)], at = 0;
        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                int r = take_text(p, members[texts[i].member], member_names[texts[i].member],
                        texts[i].max, &lengths[i], reason);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                if (lengths[i])
                        *slices[i] = slice_mem(p->texts.data + at, lengths[i]);
                else if (members[texts[i].member] && texts[i].member != MEMBER_SUBJECT)
                        return reason_set(
                                reason, -EINVAL, "%s is empty", member_names[texts[i].member]);
                at += lengths[i];
        }
        return check_position(l->position, reason);
}

static int refuse_text(Slice text, Reason *reason)
{
        size_t at = 0;
        if (json_check(text, LIMIT_JSON_DEPTH, &at) < 0)
                return reason_set(reason, -EINVAL,
                        "the line is not JSON from byte %zu on; expected one object such as "
                        "{\"type\":\"backup.done\"}",
                        at + 1);
        return reason_set(reason, -EINVAL,
                "the line is not a JSON object such as {\"type\":\"backup.done\"}");
}

static int tree_parse(JsonTree *t, Slice text, Reason *reason)
{
        int r = json_parse(t, text, LIMIT_JSON_DEPTH);
        if (r == -E2BIG)
                return reason_set(reason, -EINVAL,
                        "the line nests deeper than %u levels or has too many values",
                        LIMIT_JSON_DEPTH);
        if (r == -ENOMEM)
                return r;
        if (r < 0 || t->nodes[0].type != JSON_NODE_OBJECT)
                return refuse_text(text, reason);
        return 0;
}

int event_line_parse(EventParser *p, Slice text, bool program, EventLine *ret, Reason *reason)
{
        const JsonNode *members[_MEMBER_MAX] = {NULL};
        EventLine l = {.data = SLICE_LIT("{}")};

        buf_reset(&p->texts);
        int r = tree_parse(&p->tree, text, reason);
        if (r >= 0)
                r = members_find(&p->tree, program, members, reason);
        // What a program says without a type is about itself.
        l.ready = members[MEMBER_READY];
        if (r >= 0 && (members[MEMBER_TYPE] || !(l.ready || members[MEMBER_POSITION])))
                r = take_type(members[MEMBER_TYPE], &l, reason);
        if (r >= 0)
                r = take_time(members[MEMBER_TIME], &l, reason);
        if (r >= 0)
                r = take_texts(p, members, &l, reason);
        if (r < 0)
                return r;
        if (members[MEMBER_DATA])
                l.data = members[MEMBER_DATA]->raw;
        *ret = l;
        return 0;
}
