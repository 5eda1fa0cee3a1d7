// SPDX-License-Identifier: MIT
// From the fields of an entry to an event's data. What libsystemd hands out is valid until the next
// field is asked for, so each value is turned into JSON as it comes and put together at the end:
// fields of one name become a list at the place of the first. The order is the journal's, which is
// the same each time an entry is read.
// A value is text when it is valid UTF-8 without NUL; everything else is base64.
#include "entry.h"

#include "filter.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/text.h"

#include <errno.h>
#include <fnmatch.h>

#define COREDUMP_MESSAGE_ID "fc2e22bc6ee647b6b90729ab34a250b1" // SD_MESSAGE_COREDUMP
enum { TEXT_SIZE = 256, ESCAPED_MAX = 6 }; // "\u0000": what one byte becomes at most

typedef struct Item {
        uint32_t name, name_len;   // in `names`
        uint32_t value, value_len; // in `values`
        uint32_t hash;
        bool done;
} Item;

typedef struct Text {
        bool there;
        uint16_t len;
        char text[TEXT_SIZE];
} Text;

struct Entry {
        const EntryRules *rules;
        size_t max_value; // bytes of one value that are shown
        Item items[ENTRY_FIELDS_MAX];
        unsigned n_items;
        Buf names, values, message;
        Buf binary, cut; // JSON strings with commas between
        Text texts[_ENTRY_TEXT_MAX];
};

static const struct {
        Slice name;
        bool own_place; // not in data.fields unless asked for
} known[_ENTRY_TEXT_MAX] = {
        [ENTRY_PRIORITY] = {SLICE_LIT("PRIORITY"), true},
        [ENTRY_IDENTIFIER] = {SLICE_LIT("SYSLOG_IDENTIFIER"), true},
        [ENTRY_PID] = {SLICE_LIT("_PID"), true},
        [ENTRY_UID] = {SLICE_LIT("_UID"), true},
        [ENTRY_HOSTNAME] = {SLICE_LIT("_HOSTNAME"), true},
        [ENTRY_BOOT_ID] = {SLICE_LIT("_BOOT_ID"), true},
        [ENTRY_TRANSPORT] = {SLICE_LIT("_TRANSPORT"), true},
        [ENTRY_SYSTEMD_UNIT] = {SLICE_LIT("_SYSTEMD_UNIT"), false},
        [ENTRY_SYSTEMD_USER_UNIT] = {SLICE_LIT("_SYSTEMD_USER_UNIT"), false},
        [ENTRY_UNIT] = {SLICE_LIT("UNIT"), false},
        [ENTRY_COREDUMP_UNIT] = {SLICE_LIT("COREDUMP_UNIT"), false},
        [ENTRY_OBJECT_UNIT] = {SLICE_LIT("OBJECT_SYSTEMD_UNIT"), false},
        [ENTRY_SLICE] = {SLICE_LIT("_SYSTEMD_SLICE"), false},
        [ENTRY_MESSAGE_ID] = {SLICE_LIT("MESSAGE_ID"), false},
        [ENTRY_COMM] = {SLICE_LIT("_COMM"), false},
        [ENTRY_SOURCE_TIME] = {SLICE_LIT("_SOURCE_REALTIME_TIMESTAMP"), false},
};

Entry *entry_new(const EntryRules *rules)
{
        Entry *e = calloc(1, sizeof(*e));
        if (!e)
                return NULL;
        size_t max = rules->max_data ? rules->max_data : 1;
        e->rules = rules;
        e->max_value = rules->max_field < max / ESCAPED_MAX ? rules->max_field : max / ESCAPED_MAX;
        e->names = e->binary = e->cut = BUF_INIT(ENTRY_FIELDS_MAX * 80);
        e->values = e->message = BUF_INIT(max + 16);
        return e;
}

Entry *entry_free(Entry *e)
{
        if (!e)
                return NULL;
        buf_deinit(&e->names);
        buf_deinit(&e->values);
        buf_deinit(&e->message);
        buf_deinit(&e->binary);
        buf_deinit(&e->cut);
        free(e);
        return NULL;
}

void entry_begin(Entry *e)
{
        enum { KEEP = 64 * 1024 };
        Buf *bufs[] = {&e->names, &e->values, &e->message, &e->binary, &e->cut};
        for (size_t i = 0; i < N_ELEMENTS(bufs); i++)
                buf_shrink(bufs[i], KEEP);
        for (size_t i = 0; i < _ENTRY_TEXT_MAX; i++)
                e->texts[i].there = false;
        e->n_items = 0;
}

static void list_add(Buf *list, Slice name)
{
        size_t before = list->len;
        if (list->len > 0)
                buf_add_char(list, ',');
        buf_add_char(list, '"');
        json_add_escaped(list, name);
        buf_add_char(list, '"');
        if (list->error == -ENOBUFS) { // many long names: the list stays as it was
                list->len = before;
                list->error = 0;
        }
}

static bool is_text(Slice s)
{
        return memchr(s.data, '\0', s.len) == NULL && text_utf8_valid(s);
}

// At most max bytes of s, not ending within a character.
static Slice cut_text(Slice s, size_t max)
{
        if (s.len <= max)
                return s;
        s.len = max;
        while (s.len > 0 && max - s.len < 4 && ((uint8_t)s.data[s.len] & 0xc0) == 0x80)
                s.len--;
        return s;
}

// One value as a JSON string. What is cut off is not looked at: a text that ends in the middle of a
// character is text up to there.
static void value_add(Entry *e, Buf *out, Slice name, Slice value)
{
        bool cut = value.len > e->max_value;
        Slice shown = cut_text(value, e->max_value);
        buf_add_char(out, '"');
        if (shown.len == 0 || is_text(shown)) {
                json_add_escaped(out, shown);
                if (cut)
                        buf_add_str(out, "…");
        } else {
                shown.len = cut ? e->max_value : value.len;
                digest_base64(out, shown);
                list_add(&e->binary, name);
        }
        buf_add_char(out, '"');
        if (cut)
                list_add(&e->cut, name);
}

static uint32_t name_hash(Slice name)
{
        uint32_t h = 2166136261u;
        for (size_t i = 0; i < name.len; i++)
                h = (h ^ (uint8_t)name.data[i]) * 16777619u;
        return h;
}

static EntryText known_name(Slice name)
{
        for (EntryText t = 0; t < _ENTRY_TEXT_MAX; t++)
                if (slice_eq(name, known[t].name))
                        return t;
        return _ENTRY_TEXT_MAX;
}

static bool wanted(const Entry *e, Slice name, EntryText t)
{
        if (!e->rules->fields)
                return t == _ENTRY_TEXT_MAX || !known[t].own_place;
        for (char *const *p = e->rules->fields; *p; p++)
                if (field_pattern_matches(*p, name))
                        return true;
        return false;
}

static void text_keep(Text *t, Slice value)
{
        if (t->there)
                return;
        t->there = true;
        t->len = (uint16_t)(value.len < TEXT_SIZE ? value.len : TEXT_SIZE);
        memcpy(t->text, value.data, t->len);
}

static void item_add(Entry *e, Slice name, Slice value)
{
        size_t n_names = e->names.len, n_values = e->values.len, n_binary = e->binary.len,
               n_cut = e->cut.len;
        if (e->n_items < ENTRY_FIELDS_MAX) {
                buf_add_slice(&e->names, name);
                value_add(e, &e->values, name, value);
                if (e->names.error >= 0 && e->values.error >= 0) {
                        e->items[e->n_items++] = (Item){.name = (uint32_t)n_names,
                                .name_len = (uint32_t)name.len,
                                .value = (uint32_t)n_values,
                                .value_len = (uint32_t)(e->values.len - n_values),
                                .hash = name_hash(name)};
                        return;
                }
        }
        // No room: as if the field had not come, but for its name among those cut.
        Buf *bufs[] = {&e->names, &e->values, &e->binary, &e->cut};
        size_t lens[] = {n_names, n_values, n_binary, n_cut};
        for (size_t i = 0; i < N_ELEMENTS(bufs); i++) {
                bufs[i]->len = lens[i];
                if (bufs[i]->error == -ENOBUFS)
                        bufs[i]->error = 0;
        }
        list_add(&e->cut, name);
}

void entry_add(Entry *e, Slice field)
{
        const char *equals = memchr(field.data, '=', field.len);
        if (!equals || equals == field.data)
                return;
        Slice name = {field.data, (size_t)(equals - field.data)};
        Slice value = {equals + 1, field.len - name.len - 1};
        if (name.len > FIELD_NAME_MAX)
                return; // journald takes none
        if (slice_eq(name, SLICE_LIT("MESSAGE"))) {
                bool first = e->message.len == 0;
                if (first)
                        value_add(e, &e->message, name, value);
                if (first && !e->rules->fields)
                        return;
        }
        EntryText t = known_name(name);
        if (t != _ENTRY_TEXT_MAX)
                text_keep(&e->texts[t], value);
        if (wanted(e, name, t))
                item_add(e, name, value);
}

Slice entry_text(const Entry *e, EntryText which)
{
        const Text *t = &e->texts[which];
        return t->there ? (Slice){t->text, t->len} : SLICE_LIT("");
}

bool entry_was_cut(const Entry *e)
{
        return e->cut.len > 0;
}

// ---- units

static bool about(const Entry *e, EntryText said, EntryText who, Slice is, Slice *ret)
{
        *ret = entry_text(e, said);
        return ret->len > 0 && slice_eq(entry_text(e, who), is);
}

Slice entry_unit(const Entry *e)
{
        Slice unit;
        if (about(e, ENTRY_COREDUMP_UNIT, ENTRY_UID, SLICE_LIT("0"), &unit) &&
                slice_eq(entry_text(e, ENTRY_MESSAGE_ID), SLICE_LIT(COREDUMP_MESSAGE_ID)))
                return unit;
        if (about(e, ENTRY_UNIT, ENTRY_PID, SLICE_LIT("1"), &unit) ||
                about(e, ENTRY_OBJECT_UNIT, ENTRY_UID, SLICE_LIT("0"), &unit))
                return unit;
        return entry_text(e, ENTRY_SYSTEMD_UNIT);
}

static bool name_matches(const char *pattern, Slice name)
{
        char text[TEXT_SIZE + 1];
        if (name.len == 0)
                return false;
        (void)snprintf(text, sizeof text, "%.*s", SLICE_ARG(name));
        return fnmatch(pattern, text, FNM_NOESCAPE) == 0;
}

bool entry_is_of_unit(const Entry *e, const char *pattern)
{
        Slice unit;
        if (name_matches(pattern, entry_text(e, ENTRY_SYSTEMD_UNIT)))
                return true;
        if (about(e, ENTRY_COREDUMP_UNIT, ENTRY_UID, SLICE_LIT("0"), &unit) &&
                slice_eq(entry_text(e, ENTRY_MESSAGE_ID), SLICE_LIT(COREDUMP_MESSAGE_ID)) &&
                name_matches(pattern, unit))
                return true;
        if (about(e, ENTRY_UNIT, ENTRY_PID, SLICE_LIT("1"), &unit) && name_matches(pattern, unit))
                return true;
        if (about(e, ENTRY_OBJECT_UNIT, ENTRY_UID, SLICE_LIT("0"), &unit) &&
                name_matches(pattern, unit))
                return true;
        Slice slice = entry_text(e, ENTRY_SLICE);
        return slice.len > 6 &&
               slice_eq(slice_mem(slice.data + slice.len - 6, 6), SLICE_LIT(".slice")) &&
               name_matches(pattern, slice);
}

// ---- the data

static Slice item_name(const Entry *e, const Item *i)
{
        return slice_mem(e->names.data + i->name, i->name_len);
}

static Slice item_value(const Entry *e, const Item *i)
{
        return slice_mem(e->values.data + i->value, i->value_len);
}

static void item_write(Entry *e, JsonWriter *w, unsigned at)
{
        const Item *i = &e->items[at];
        bool list = false;
        json_key_slice(w, item_name(e, i));
        for (unsigned k = at + 1; k < e->n_items; k++) {
                Item *other = &e->items[k];
                if (other->hash != i->hash || other->done ||
                        !slice_eq(item_name(e, other), item_name(e, i)))
                        continue;
                if (!list) {
                        json_begin(w, '[');
                        json_raw(w, item_value(e, i));
                }
                list = other->done = true;
                json_raw(w, item_value(e, other));
        }
        if (list)
                json_end(w, ']');
        else
                json_raw(w, item_value(e, i));
}

static void put_text(JsonWriter *w, const char *key, Slice value)
{
        if (value.len == 0)
                return;
        json_key(w, key);
        json_add_string(w, value);
}

// Decimal digits as a JSON number; anything else is left out.
static void put_number(JsonWriter *w, const char *key, Slice value)
{
        if (value.len == 0 || value.len > 18)
                return;
        for (size_t i = 0; i < value.len; i++)
                if (value.data[i] < '0' || value.data[i] > '9')
                        return;
        while (value.len > 1 && value.data[0] == '0') {
                value.data++;
                value.len--;
        }
        json_key(w, key);
        json_raw(w, value);
}

static void put_names(JsonWriter *w, const char *key, const Buf *names)
{
        if (names->len == 0)
                return;
        json_key(w, key);
        json_begin(w, '[');
        json_raw(w, buf_slice(names));
        json_end(w, ']');
}

int entry_data(Entry *e, Slice cursor, Buf *out)
{
        JsonWriter w = json_writer(out);
        json_begin(&w, '{');
        if (e->message.len > 0) {
                json_key(&w, "message");
                json_raw(&w, buf_slice(&e->message));
        }
        put_number(&w, "priority", entry_text(e, ENTRY_PRIORITY));
        put_text(&w, "unit", entry_unit(e));
        put_text(&w, "identifier", entry_text(e, ENTRY_IDENTIFIER));
        put_number(&w, "pid", entry_text(e, ENTRY_PID));
        put_number(&w, "uid", entry_text(e, ENTRY_UID));
        put_text(&w, "hostname", entry_text(e, ENTRY_HOSTNAME));
        put_text(&w, "boot", entry_text(e, ENTRY_BOOT_ID));
        put_text(&w, "transport", entry_text(e, ENTRY_TRANSPORT));
        put_text(&w, "cursor", cursor);
        json_key(&w, "fields");
        json_begin(&w, '{');
        for (unsigned i = 0; i < e->n_items; i++)
                if (!e->items[i].done)
                        item_write(e, &w, i);
        json_end(&w, '}');
        put_names(&w, "binary", &e->binary);
        put_names(&w, "cut", &e->cut);
        json_end(&w, '}');
        const Buf *parts[] = {&e->names, &e->values, &e->message, &e->binary, &e->cut, out};
        for (size_t i = 0; i < N_ELEMENTS(parts); i++)
                if (parts[i]->error < 0)
                        return parts[i]->error;
        return 0;
}
