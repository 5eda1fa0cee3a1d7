// SPDX-License-Identifier: MIT
// See line.h. Members are told apart by hand, since a line is looked at for each event; a member that
// is not known or stands twice is refused, so that a misspelling is seen by whoever made it.
#include "line.h"

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
        _MEMBER_MAX,
        _MEMBER_INVALID = -22,
} Member;

static const char *const member_names[_MEMBER_MAX] = {
        [MEMBER_TYPE] = "type",
        [MEMBER_SUBJECT] = "subject",
        [MEMBER_ID] = "id",
        [MEMBER_TIME] = "time",
        [MEMBER_DATA] = "data",
};

void app_parser_init(AppParser *p)
{
        *p = (AppParser){.texts = BUF_INIT(LIMIT_SUBJECT * 6 + APP_KEY_MAX * 6)};
}

void app_parser_deinit(AppParser *p)
{
        json_tree_deinit(&p->tree);
        buf_deinit(&p->texts);
}

static Member member_of(const JsonNode *n)
{
        for (int m = 0; !n->key_escaped && m < _MEMBER_MAX; m++)
                if (slice_eq_str(n->key, member_names[m]))
                        return (Member)m;
        return _MEMBER_INVALID;
}

static int refuse_member(const JsonNode *n, Reason *reason)
{
        return reason_set(reason, -EINVAL,
                "unknown member \"%.*s\"; known are type, subject, id, time and data",
                (int)(n->key.len < 40 ? n->key.len : 40), n->key.data);
}

static int members_find(const JsonTree *t, const JsonNode **ret, Reason *reason)
{
        const JsonNode *root = t->nodes;
        for (uint32_t i = 1; i < root->next; i = t->nodes[i].next) {
                const JsonNode *n = &t->nodes[i];
                Member m = member_of(n);
                if (m < 0)
                        return refuse_member(n, reason);
                if (ret[m])
                        return reason_set(reason, -EINVAL, "%s is given twice", member_names[m]);
                bool text = m != MEMBER_DATA;
                if (n->type != (text ? JSON_NODE_STRING : JSON_NODE_OBJECT))
                        return reason_set(reason, -EINVAL, "%s is not %s", member_names[m],
                                text ? "a string" : "an object, such as {\"size\":1}");
                ret[m] = n;
        }
        return 0;
}

static int take_type(const JsonNode *n, AppLine *l, Reason *reason)
{
        if (!n)
                return reason_set(reason, -EINVAL, "type is missing");
        if (n->escaped || !event_type_is_own(n->raw))
                return reason_set(reason, -EINVAL,
                        "type \"%.*s\" is not one an application may use: lower-case letters, "
                        "digits, dots and hyphens, %d at most, and none of Belfry's own families "
                        "(belfry., file., journal., line., row., source., timer. ...)",
                        (int)(n->raw.len < 60 ? n->raw.len : 60), n->raw.data, EVENT_TYPE_MAX);
        memcpy(l->type, n->raw.data, n->raw.len);
        l->type[n->raw.len] = 0;
        return 0;
}

// Into p->texts, whose memory may move: the caller makes slices of it at the end.
static int take_text(AppParser *p, const JsonNode *n, const char *name, size_t max, size_t *ret_len,
        Reason *reason)
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

static int take_time(const JsonNode *n, AppLine *l, Reason *reason)
{
        if (n && clock_parse_rfc3339(n->raw.data, n->raw.len, &l->time_usec) < 0)
                return reason_set(
                        reason, -EINVAL, "time is not of the form 2026-11-23T09:33:00Z (RFC 3339)");
        return 0;
}

int app_line_parse(AppParser *p, Slice text, AppLine *ret, Reason *reason)
{
        const JsonNode *members[_MEMBER_MAX] = {NULL};
        AppLine l = {.data = SLICE_LIT("{}")};
        size_t n_subject, n_key;

        buf_reset(&p->texts);
        int r = json_parse(&p->tree, text, LIMIT_JSON_DEPTH);
        if (r == -E2BIG)
                return reason_set(reason, -EINVAL,
                        "the line nests deeper than %u levels or has too many values",
                        LIMIT_JSON_DEPTH);
        if (r == -ENOMEM)
                return r;
        if (r < 0 || p->tree.nodes[0].type != JSON_NODE_OBJECT)
                return reason_set(reason, -EINVAL,
                        "the line is not a JSON object such as {\"type\":\"backup.done\"}");
        r = members_find(&p->tree, members, reason);
        if (r >= 0)
                r = take_type(members[MEMBER_TYPE], &l, reason);
        if (r >= 0)
                r = take_time(members[MEMBER_TIME], &l, reason);
        if (r >= 0)
                r = take_text(
                        p, members[MEMBER_SUBJECT], "subject", LIMIT_SUBJECT, &n_subject, reason);
        if (r >= 0)
                r = take_text(p, members[MEMBER_ID], "id", APP_KEY_MAX, &n_key, reason);
        if (r < 0)
                return r;
        if (members[MEMBER_ID] && n_key == 0)
                return reason_set(reason, -EINVAL, "id is empty");
        if (members[MEMBER_DATA])
                l.data = members[MEMBER_DATA]->raw;
        if (n_subject)
                l.subject = slice_mem(p->texts.data, n_subject);
        if (n_key)
                l.key = slice_mem(p->texts.data + n_subject, n_key);
        *ret = l;
        return 0;
}

Slice app_material(char out[static APP_MATERIAL_MAX], unsigned uid, Slice key)
{
        int n = snprintf(out, APP_MATERIAL_MAX, "%u:", uid);
        memcpy(out + n, key.data, key.len);
        return slice_mem(out, (size_t)n + key.len);
}
