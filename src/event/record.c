// SPDX-License-Identifier: MIT
// Building and reading records. Layout, all little-endian, HEADER_SIZE bytes before the text:
//   u32 magic, u16 version, u64 time, u32 flags, u16 id, u16 source, u16 source length,
//   u16 type, u16 type length, u16 subject, u32 subject length, u32 key, u16 key length,
//   u32 data, u32 data length; offsets count from the start of the text.
// Invariants: the text is valid JSON of at most LIMIT_JSON_DEPTH levels; the same draft and origin
// give the same bytes, so that a replayed event is the same event; the id depends on instance and
// id material alone. A reader trusts no offset. Nothing is kept between calls.
#include "event/record.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/wire.h"
#include "event/schema.h"
#include <assert.h>
#include <errno.h>

#define MAGIC UINT32_C(0x44524342) // "BCRD"

enum {
        VERSION = 1,
        HEADER_SIZE = 48,
        FLAG_OVERSIZED = 1 << 0,
        FLAG_OWN_KEY = 1 << 1, // else the subject is the key
        FLAGS_KNOWN = FLAG_OVERSIZED | FLAG_OWN_KEY,
        TYPE_MAX = 128,
        DATA_DEPTH = LIMIT_JSON_DEPTH - 1, // the envelope is a level itself
};

static const char text_head[] = "{\"specversion\":\"1.0\",\"id\":\"";
static const char text_source[] = "\",\"source\":\"";
static const char text_type[] = "\",\"type\":\"";
static const char text_subject[] = "\",\"subject\":\"";
static const char text_time[] = "\",\"time\":\"";
static const char text_key[] = "\",\"partitionkey\":\"";
static const char text_schema[] = "\",\"dataschema\":\"" EVENT_SCHEMA_URN;
static const char text_data[] = "\",\"datacontenttype\":\"application/json\",\"data\":";

typedef struct Layout {
        uint32_t flags;
        Slice id, source, type, subject, key, data; // data pointers unused: lengths and offsets
        uint32_t at_id, at_source, at_type, at_subject, at_key, at_data;
} Layout;

int record_origin_init(RecordOrigin *o, const char *hostname, const char *instance)
{
        if (!text_is_name(slice_of(instance)) || !*hostname)
                return -EINVAL;
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(sizeof(o->source) - 1);
        buf_add_str(&b, "/belfry/");
        json_add_escaped(&b, slice_of(hostname));
        buf_add_char(&b, '/');
        buf_add_str(&b, instance);
        const char *text = buf_text(&b);
        if (b.error < 0)
                return b.error == -ENOBUFS ? -EINVAL : b.error;
        *o = (RecordOrigin){0};
        memcpy(o->source, text, b.len);
        memcpy(o->instance, instance, strlen(instance));
        return 0;
}

// Event types are constants of the modules' tables; anything that JSON would have to escape, or
// that a header could not carry, is none.
static bool type_is_plain(Slice type)
{
        if (type.len == 0 || type.len > TYPE_MAX)
                return false;
        for (size_t i = 0; i < type.len; i++) {
                char c = type.data[i];
                if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\')
                        return false;
        }
        return true;
}

static int check_draft(const EventDraft *d, Reason *ret_reason)
{
        if (!type_is_plain(d->type))
                return reason_set(
                        ret_reason, -EINVAL, "event type is empty, too long or not plain");
        if (d->id_material.len == 0 || d->id_material.len > LIMIT_ID_MATERIAL)
                return reason_set(ret_reason, -EINVAL, "id material is %zu bytes, expected 1 to %u",
                        d->id_material.len, LIMIT_ID_MATERIAL);
        if (d->subject.len > LIMIT_SUBJECT)
                return reason_set(ret_reason, -EINVAL, "subject is %zu bytes, at most %u",
                        d->subject.len, LIMIT_SUBJECT);
        if (d->key.len > LIMIT_KEY)
                return reason_set(
                        ret_reason, -EINVAL, "key is %zu bytes, at most %u", d->key.len, LIMIT_KEY);
        size_t offset = 0;
        int r = json_check(d->data, DATA_DEPTH, &offset);
        if (r == -E2BIG)
                return reason_set(ret_reason, -EBADMSG,
                        "data nests deeper than %d levels at byte %zu", DATA_DEPTH, offset);
        if (r < 0)
                return reason_set(
                        ret_reason, -EBADMSG, "data is not valid JSON at byte %zu", offset);
        return 0;
}

int record_id(const RecordOrigin *o, Slice id_material, char ret[static ID_HEX])
{
        uint8_t sum[SHA256_SIZE];
        int r = digest_sha256_parts((Slice[]){slice_of(o->instance), id_material}, 2, sum);
        if (r < 0)
                return r;
        digest_hex(sum, ID_HEX / 2, ret);
        return 0;
}

static int put_id(Buf *out, const RecordOrigin *o, Slice material)
{
        char hex[ID_HEX];
        int r = record_id(o, material, hex);
        if (r < 0)
                return r;
        buf_add(out, hex, ID_HEX);
        return 0;
}

// Each put_* notes where its value begins, counted from the text's start at `base`.
static uint32_t put_plain(Buf *out, size_t base, const char *lead, size_t n_lead, Slice value)
{
        buf_add(out, lead, n_lead);
        uint32_t at = (uint32_t)(out->len - base);
        buf_add_slice(out, value);
        return at;
}

static uint32_t put_escaped(Buf *out, size_t base, const char *lead, size_t n_lead, Slice *value)
{
        buf_add(out, lead, n_lead);
        uint32_t at = (uint32_t)(out->len - base);
        json_add_escaped(out, *value);
        value->len = out->len - base - at;
        return at;
}

static int put_oversized(Buf *out, Slice data)
{
        uint8_t sum[SHA256_SIZE];
        char hex[2 * SHA256_SIZE];
        int r = digest_sha256(data, sum);
        if (r < 0)
                return r;
        digest_hex(sum, SHA256_SIZE, hex);
        JsonWriter w = json_writer(out);
        json_begin(&w, '{');
        json_key(&w, "oversized");
        json_bool(&w, true);
        json_key(&w, "bytes");
        json_u64(&w, data.len);
        json_key(&w, "sha256");
        json_add_string(&w, slice_mem(hex, sizeof(hex)));
        json_end(&w, '}');
        return 0;
}

#define LEAD(text) text, sizeof(text) - 1

static int put_text(
        Buf *out, const RecordOrigin *o, const EventDraft *d, size_t max_record, Layout *l)
{
        size_t base = out->len;
        buf_add(out, LEAD(text_head));
        l->at_id = sizeof(text_head) - 1;
        int r = put_id(out, o, d->id_material);
        if (r < 0)
                return r;
        l->source = slice_of(o->source);
        l->at_source = put_plain(out, base, LEAD(text_source), l->source);
        l->type = d->type;
        l->at_type = put_plain(out, base, LEAD(text_type), l->type);
        if (d->subject.len > 0) { // CloudEvents: absent or not empty
                l->subject = d->subject;
                l->at_subject = put_escaped(out, base, LEAD(text_subject), &l->subject);
        }
        char time[CLOCK_RFC3339_MAX];
        (void)clock_rfc3339(d->time_usec, time);
        (void)put_plain(out, base, LEAD(text_time), slice_mem(time, CLOCK_RFC3339_MAX - 1));
        if (d->key.len > 0) {
                l->key = d->key;
                l->at_key = put_escaped(out, base, LEAD(text_key), &l->key);
                l->flags |= FLAG_OWN_KEY;
        }
        if (d->schema_version > 0) {
                (void)put_plain(out, base, LEAD(text_schema), d->type);
                buf_addf(out, ":%u", d->schema_version);
        }
        buf_add(out, LEAD(text_data));
        l->at_data = (uint32_t)(out->len - base);
        if (HEADER_SIZE + l->at_data + d->data.len + 1 > max_record) {
                l->flags |= FLAG_OVERSIZED;
                r = put_oversized(out, d->data);
                if (r < 0)
                        return r;
        } else {
                buf_add_slice(out, d->data);
        }
        l->data.len = out->len - base - l->at_data;
        buf_add_char(out, '}');
        return out->error;
}

static void put_header(Buf *b, uint64_t time_usec, const Layout *l)
{
        wire_put_u32(b, MAGIC);
        wire_put_u16(b, VERSION);
        wire_put_u64(b, time_usec);
        wire_put_u32(b, l->flags);
        wire_put_u16(b, (uint16_t)l->at_id);
        wire_put_u16(b, (uint16_t)l->at_source);
        wire_put_u16(b, (uint16_t)l->source.len);
        wire_put_u16(b, (uint16_t)l->at_type);
        wire_put_u16(b, (uint16_t)l->type.len);
        wire_put_u16(b, (uint16_t)l->at_subject);
        wire_put_u32(b, (uint32_t)l->subject.len);
        wire_put_u32(b, l->at_key);
        wire_put_u16(b, (uint16_t)l->key.len);
        wire_put_u32(b, l->at_data);
        wire_put_u32(b, (uint32_t)l->data.len);
}

int record_build(
        Buf *out, const RecordOrigin *o, const EventDraft *d, size_t max_record, Reason *ret_reason)
{
        if (out->error < 0)
                return out->error;
        int r = check_draft(d, ret_reason);
        if (r < 0)
                return r;
        size_t start = out->len;
        Layout l = {0};
        r = buf_grow(out, HEADER_SIZE) ? 0 : out->error;
        if (r == 0)
                r = put_text(out, o, d, max_record, &l);
        if (r < 0) { // a batch holds many records: the others stay
                out->len = start;
                out->error = 0;
                return reason_errno(ret_reason, r, "cannot build the record");
        }
        // The header goes into the room left for it, through a Buf that cannot grow.
        Buf header = {.data = out->data + start, .cap = HEADER_SIZE, .max = HEADER_SIZE};
        put_header(&header, d->time_usec, &l);
        assert(header.error == 0 && header.len == HEADER_SIZE);
        return 0;
}

// A run of `len` bytes at `at` within the text; *bad is set when it is not there.
static Slice run(Slice text, uint32_t at, uint32_t len, bool *bad)
{
        if (at > text.len || len > text.len - at) {
                *bad = true;
                return SLICE_LIT("");
        }
        return slice_mem(text.data + at, len);
}

int record_parse(Slice bytes, Record *ret)
{
        WireReader r = wire_reader(bytes);
        if (wire_u32(&r) != MAGIC || wire_u16(&r) != VERSION)
                return -EBADMSG;
        Record rec = {.time_usec = wire_u64(&r)};
        uint32_t flags = wire_u32(&r);
        uint32_t at_id = wire_u16(&r);
        uint32_t at_source = wire_u16(&r), n_source = wire_u16(&r);
        uint32_t at_type = wire_u16(&r), n_type = wire_u16(&r);
        uint32_t at_subject = wire_u16(&r), n_subject = wire_u32(&r);
        uint32_t at_key = wire_u32(&r), n_key = wire_u16(&r);
        uint32_t at_data = wire_u32(&r), n_data = wire_u32(&r);
        if (r.bad || r.left > UINT32_MAX || (flags & ~(uint32_t)FLAGS_KNOWN))
                return -EBADMSG;
        bool bad = false;
        rec.json = slice_mem(r.at, r.left);
        rec.id = run(rec.json, at_id, ID_HEX, &bad);
        rec.source = run(rec.json, at_source, n_source, &bad);
        rec.type = run(rec.json, at_type, n_type, &bad);
        rec.subject = run(rec.json, at_subject, n_subject, &bad);
        rec.key = flags & FLAG_OWN_KEY ? run(rec.json, at_key, n_key, &bad) : rec.subject;
        rec.data = run(rec.json, at_data, n_data, &bad);
        rec.oversized = flags & FLAG_OVERSIZED;
        // The values stand in this order, and data is followed by the closing brace alone.
        if (bad || n_data == 0 || rec.json.data[0] != '{' || at_source < at_id + ID_HEX ||
                at_type < at_source + n_source || at_data < at_type + n_type ||
                (uint64_t)at_data + n_data + 1 != rec.json.len ||
                rec.json.data[rec.json.len - 1] != '}')
                return -EBADMSG;
        *ret = rec;
        return 0;
}

Slice record_schema(const Record *r)
{
        // Between type and data no text of a user's own can hold these bytes: its quotes are escaped.
        static const char lead[] = ",\"dataschema\":\"";
        const char *from = r->type.data + r->type.len;
        const char *at = memmem(from, (size_t)(r->data.data - from), lead, sizeof(lead) - 1);
        if (!at)
                return SLICE_LIT("");
        at += sizeof(lead) - 1;
        const char *end = memchr(at, '"', (size_t)(r->data.data - at));
        return end ? slice_mem(at, (size_t)(end - at)) : SLICE_LIT("");
}

void record_text(Buf *out, Slice escaped)
{
        json_unescape(out, escaped);
}

uint32_t rule_hash(const char *rule_name)
{
        uint32_t h = digest_crc32c(0, rule_name, strlen(rule_name));
        return h ? h : 1;
}

void delivery_id(char out[static DELIVERY_ID_MAX], Slice event_id, uint32_t hash_or_0)
{
        assert(event_id.len <= ID_HEX);
        memcpy(out, event_id.data, event_id.len);
        char *at = out + event_id.len;
        if (hash_or_0) {
                const uint8_t big_endian[4] = {(uint8_t)(hash_or_0 >> 24),
                        (uint8_t)(hash_or_0 >> 16), (uint8_t)(hash_or_0 >> 8), (uint8_t)hash_or_0};
                *at++ = '_';
                digest_hex(big_endian, sizeof(big_endian), at);
                at += 8;
        }
        *at = 0;
}
