// SPDX-License-Identifier: MIT
// JSON Schema (2020-12) of an event's data, from its field table. A dotted name is a member of an
// object; what the table does not declare may be there as well, and every field may be absent, as
// for the rule checker. What stands for data that was too large is valid too.
#include <stdio.h>

#include "base/cleanup.h"
#include "config/document.h"

static json_t *field_schema(const EventField *f)
{
        static const char *const types[_FIELD_TYPE_MAX] = {
                [FIELD_STRING] = "string",
                [FIELD_NUMBER] = "number",
                [FIELD_BOOL] = "boolean",
                [FIELD_TIME] = "string",
                [FIELD_LIST] = "array",
                [FIELD_OBJECT] = "object",
        };
        json_t *o = json_object();
        // Any field may be null: "nothing there" is a value of its own.
        if (o && types[f->type])
                (void)json_object_set_new(o, "type", json_pack("[s, s]", types[f->type], "null"));
        if (o && f->type == FIELD_TIME)
                (void)json_object_set_new(o, "format", json_string("date-time"));
        if (o && f->prose)
                (void)json_object_set_new(o, "description", json_string(f->prose));
        return o;
}

// The properties of the object at the end of the path before the last dot, made where missing.
static json_t *properties_at(json_t *properties, const char **name)
{
        const char *dot;
        while (properties && (dot = strchr(*name, '.'))) {
                char part[128];
                (void)snprintf(part, sizeof(part), "%.*s", (int)(dot - *name), *name);
                json_t *inner = json_object_get(properties, part);
                if (!inner) {
                        inner = json_pack("{s:[s, s]}", "type", "object", "null");
                        if (!inner || json_object_set_new(properties, part, inner) < 0)
                                return NULL;
                }
                json_t *below = json_object_get(inner, "properties");
                if (!below) {
                        below = json_object();
                        if (!below || json_object_set_new(inner, "properties", below) < 0)
                                return NULL;
                }
                properties = below;
                *name = dot + 1;
        }
        return properties;
}

static bool add_fields(json_t *properties, const EventField *fields, size_t n)
{
        bool whole = properties != NULL;
        for (size_t i = 0; whole && i < n; i++) {
                const char *name = fields[i].name;
                json_t *at = properties_at(properties, &name), *known = NULL;
                if (at)
                        known = json_object_get(
                                at, name); // an object declared by its members before
                json_t *own = field_schema(&fields[i]);
                whole = at && own &&
                        (known ? json_object_update(known, own) : json_object_set(at, name, own)) ==
                                0;
                json_decref(own);
        }
        return whole;
}

char *event_type_urn(const EventType *t, char out[static EVENT_URN_MAX])
{
        (void)snprintf(
                out, EVENT_URN_MAX, EVENT_SCHEMA_URN "%.128s:%u", t->name, event_type_version(t));
        return out;
}

json_t *event_type_schema(const EventType *t)
{
        char urn[EVENT_URN_MAX];
        json_t *properties = json_object();
        if (!add_fields(properties, t->fields, t->n_fields) ||
                !add_fields(properties, event_common_fields, n_event_common_fields)) {
                json_decref(properties);
                return NULL;
        }
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "$schema",
                "https://json-schema.org/draft/2020-12/schema", "$id", event_type_urn(t, urn),
                "title", t->name, "description", t->prose ? t->prose : "", "type", "object",
                "properties", properties);
}

json_t *event_type_sample(const EventType *t, const char *module)
{
        char source[128], urn[EVENT_URN_MAX];
        json_t *data = t->sample ? json_loads(t->sample, JSON_REJECT_DUPLICATES, NULL) : NULL;
        (void)snprintf(source, sizeof(source), "/belfry/web1/%.64s", module);
        json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "specversion", "1.0", "id",
                "5f0c6bd2a1f94c0e8b7d3a1e6c2f9b04", "source", source, "type", t->name);
        if (o && t->sample_subject)
                (void)json_object_set_new(o, "subject", json_string(t->sample_subject));
        json_t *rest = json_pack("{s:s, s:s, s:s, s:o}", "time", "2026-11-23T09:33:00.123456Z",
                "dataschema", event_type_urn(t, urn), "datacontenttype", "application/json", "data",
                data ? data : json_object());
        if (o && rest)
                (void)json_object_update(o, rest);
        json_decref(rest);
        return o;
}
