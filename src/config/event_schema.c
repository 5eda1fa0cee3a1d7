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

json_t *event_type_schema(const EventType *t)
{
        json_t *properties = json_object();
        bool whole = properties != NULL;
        for (size_t i = 0; whole && i < t->n_fields; i++) {
                const char *name = t->fields[i].name;
                json_t *at = properties_at(properties, &name), *known = NULL;
                if (at)
                        known = json_object_get(
                                at, name); // an object declared by its members before
                json_t *own = field_schema(&t->fields[i]);
                whole = at && own &&
                        (known ? json_object_update(known, own) : json_object_set(at, name, own)) ==
                                0;
                json_decref(own);
        }
        if (!whole) {
                json_decref(properties);
                return NULL;
        }
        return json_pack("{s:s, s:s, s:s, s:s, s:o}", "$schema",
                "https://json-schema.org/draft/2020-12/schema", "title", t->name, "description",
                t->prose ? t->prose : "", "type", "object", "properties", properties);
}
