// SPDX-License-Identifier: MIT
// What listen says about a request: type, subject, id, whether its signature holds and whether it
// has been here before. Bodies are saved under a counter; no name in a request becomes a file name.
// Ids are remembered by a hash of fixed size, the newest REMEMBERED_MAX of them.
#include "cli/listen.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/stat.h>
// Keys are SHA-256 already: any four bytes of one will do.
#define HASH_FUNCTION(key, len, hash) memcpy(&(hash), (key), sizeof(hash))
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

enum { REMEMBERED_MAX = 100 * 1000, SHOWN_MAX = 2 * BODY_MAX };

typedef struct Remembered {
        uint8_t id[SHA256_SIZE], body[SHA256_SIZE];
        bool accepted; // answered 2xx at least once
        TAILQ_ENTRY(Remembered) entry;
        UT_hash_handle hh;
} Remembered;

struct Reporter {
        const Context *context;
        Secrets secrets;
        int save_dir;
        uint64_t counter;
        bool unverified_seen;
        Remembered *by_id;
        TAILQ_HEAD(RememberedList, Remembered) oldest;
        unsigned n_remembered;
        JsonTree tree;
        Buf line;
};

// Saving goes on behind what an earlier run left.
static uint64_t highest_saved(int dir)
{
        uint64_t highest = 0;
        int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        if (!d) {
                closep(&fd);
                return 0;
        }
        for (const struct dirent *e; (e = readdir(d));) {
                char *end;
                uint64_t n = e->d_name[0] >= '0' && e->d_name[0] <= '9'
                                     ? strtoull(e->d_name, &end, 10)
                                     : 0;
                if (n > highest && n < UINT64_MAX / 2)
                        highest = n;
        }
        (void)closedir(d);
        return highest;
}

ExitStatus reporter_new(Reporter **ret, const Context *c)
{
        Reporter *r = calloc(1, sizeof(*r));
        if (!r)
                return STATUS_FAILED;
        r->context = c;
        r->save_dir = -1;
        r->line = BUF_INIT(SHOWN_MAX);
        TAILQ_INIT(&r->oldest);
        ExitStatus status = secrets_load(&r->secrets, c, false);
        const char *dir = option_value(c, "save");
        if (status == STATUS_OK && dir) {
                if (mkdir(dir, 0777) < 0 && errno != EEXIST) {
                        (void)fprintf(stderr, "belfry: --save %s: %s\n", dir, strerror(errno));
                        status = STATUS_FAILED;
                }
                r->save_dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (status == STATUS_OK && r->save_dir < 0) {
                        (void)fprintf(stderr, "belfry: --save %s: %s\n", dir, strerror(errno));
                        status = STATUS_FAILED;
                }
                r->counter = r->save_dir >= 0 ? highest_saved(r->save_dir) : 0;
        }
        if (status != STATUS_OK) {
                (void)reporter_free(r);
                return status;
        }
        *ret = r;
        return STATUS_OK;
}

Reporter *reporter_free(Reporter *r)
{
        if (!r)
                return NULL;
        Remembered *m;
        HASH_CLEAR(hh, r->by_id);
        while ((m = TAILQ_FIRST(&r->oldest))) {
                TAILQ_REMOVE(&r->oldest, m, entry);
                free(m);
        }
        secrets_deinit(&r->secrets);
        closep(&r->save_dir);
        json_tree_deinit(&r->tree);
        buf_deinit(&r->line);
        free(r);
        return NULL;
}

bool reporter_all_verified(const Reporter *r)
{
        return !r->unverified_seen;
}

// "" the first time; else what it is this time. Remembers it.
static const char *seen_before(Reporter *r, const Received *q)
{
        uint8_t id[SHA256_SIZE], body[SHA256_SIZE];
        if (!q->has_id || digest_sha256(q->id, id) < 0 || digest_sha256(q->body, body) < 0)
                return "";
        bool accepted = q->status >= 200 && q->status < 300;
        Remembered *m = NULL;
        HASH_FIND(hh, r->by_id, id, sizeof(id), m);
        if (m) {
                const char *word = memcmp(m->body, body, sizeof(body)) != 0 ? "SAME ID, OTHER BODY"
                                   : m->accepted                            ? "duplicate"
                                                                            : "repeated";
                m->accepted |= accepted;
                return word;
        }
        if (r->n_remembered == REMEMBERED_MAX) {
                Remembered *old = TAILQ_FIRST(&r->oldest);
                TAILQ_REMOVE(&r->oldest, old, entry);
                HASH_DELETE(hh, r->by_id, old);
                free(old);
                r->n_remembered--;
        }
        m = calloc(1, sizeof(*m));
        if (!m)
                return "";
        memcpy(m->id, id, sizeof(id));
        memcpy(m->body, body, sizeof(body));
        m->accepted = accepted;
        HASH_ADD(hh, r->by_id, id, sizeof(m->id), m);
        if (!m->hh.tbl) { // no memory for the table
                free(m);
                return "";
        }
        TAILQ_INSERT_TAIL(&r->oldest, m, entry);
        r->n_remembered++;
        return "";
}

typedef enum Checked { CHECKED_NOT, CHECKED_UNSIGNED, CHECKED_VALID, CHECKED_BAD } Checked;

static Checked check_signature(Reporter *r, const Received *q, const char **ret_why)
{
        *ret_why = NULL;
        if (r->secrets.n == 0)
                return q->has_signature ? CHECKED_NOT : CHECKED_UNSIGNED;
        if (!q->has_signature) {
                *ret_why = "it is unsigned";
                return CHECKED_BAD;
        }
        int result = signature_verify(r->secrets.keys, r->secrets.n, q->id, q->timestamp,
                q->signature, q->body, clock_wall_usec() / USEC_PER_SEC, SIGNATURE_TOLERANCE_SEC);
        if (result == SIGNATURE_VALID)
                return CHECKED_VALID;
        *ret_why = result < 0 ? "out of memory" : signature_result_to_string(result);
        return CHECKED_BAD;
}

static int hex_digit(char c)
{
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
}

// Undoes the percent-encoding of a ce-* header.
static void add_header_text(Buf *out, Slice s)
{
        for (size_t i = 0; i < s.len; i++) {
                bool escape = s.data[i] == '%' && i + 2 < s.len;
                int high = escape ? hex_digit(s.data[i + 1]) : -1,
                    low = escape ? hex_digit(s.data[i + 2]) : -1;
                if (high >= 0 && low >= 0) {
                        buf_add_char(out, (char)(high << 4 | low));
                        i += 2;
                } else {
                        buf_add_char(out, s.data[i]);
                }
        }
}

// A top-level string of the event, from its body or its ce- header.
static void event_text(Reporter *r, bool json, const char *key, Slice header, Buf *out)
{
        const JsonNode *n = json && r->tree.n_nodes && r->tree.nodes[0].type == JSON_NODE_OBJECT
                                    ? json_get(&r->tree, &r->tree.nodes[0], slice_of(key))
                                    : NULL;
        if (header.data)
                add_header_text(out, header);
        else if (n && n->type == JSON_NODE_STRING)
                json_unescape(out, n->raw);
}

static void save_body(Reporter *r, const Received *q, bool json)
{
        for (unsigned tries = 0; r->save_dir >= 0 && tries < 1000; tries++) {
                char name[48];
                (void)snprintf(name, sizeof(name), "%06llu.%s", (unsigned long long)++r->counter,
                        json ? "json" : "bin");
                _cleanup_(closep) int fd = openat(r->save_dir, name,
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
                if (fd < 0 && errno == EEXIST)
                        continue;
                int e = fd < 0 ? -errno : file_write_all(fd, q->body.data, q->body.len);
                if (e < 0)
                        (void)fprintf(stderr, "belfry: cannot save %s: %s\n", name, strerror(-e));
                return;
        }
}

static void show_json(Reporter *r, const Received *q, bool json, Slice type, Slice subject,
        Checked checked, const char *why, const char *again)
{
        char time[CLOCK_RFC3339_MAX];
        Buf *b = &r->line;
        buf_reset(b);
        JsonWriter w = json_writer(b);
        json_begin(&w, '{');
        json_key(&w, "time"), json_text(&w, clock_rfc3339(clock_wall_usec(), time));
        json_key(&w, "type"), json_add_string(&w, type);
        json_key(&w, "subject"), json_add_string(&w, subject);
        json_key(&w, "id");
        if (q->has_id)
                json_add_string(&w, q->id);
        else
                json_add_null(&w);
        json_key(&w, "verified");
        if (checked == CHECKED_VALID || checked == CHECKED_BAD)
                json_bool(&w, checked == CHECKED_VALID);
        else
                json_add_null(&w);
        json_key(&w, "signed"), json_bool(&w, q->has_signature);
        json_key(&w, "reason"), json_text(&w, why);
        json_key(&w, "duplicate"), json_bool(&w, strcmp(again, "duplicate") == 0);
        json_key(&w, "again"), json_text(&w, *again ? again : NULL);
        json_key(&w, "status"), json_u64(&w, q->status);
        json_key(&w, "method"), json_add_string(&w, q->method);
        json_key(&w, "path"), json_add_string(&w, q->path);
        json_key(&w, "content_type"), json_add_string(&w, q->content_type);
        json_key(&w, "bytes"), json_u64(&w, q->body.len);
        json_key(&w, "body");
        if (json)
                json_raw(&w, q->body);
        else
                json_add_string(&w, q->body);
        json_end(&w, '}');
        buf_add_char(b, '\n');
        if (!b->error)
                (void)fwrite(b->data, 1, b->len, stdout);
}

static void show_line(Reporter *r, const Received *q, Slice type, Slice subject, Checked checked,
        const char *why, const char *again)
{
        const Context *c = r->context;
        char time[64];
        Buf *b = &r->line;
        buf_reset(b);
        buf_addf(b, "%s  ", local_time(clock_wall_usec(), time));
        text_add_escaped(b, type.len ? type : SLICE_LIT("-"));
        buf_add_str(b, "  ");
        text_add_escaped(b, subject.len ? subject : SLICE_LIT("-"));
        buf_add_str(b, "  ");
        text_add_escaped(b, q->has_id ? q->id : SLICE_LIT("-"));
        buf_add_str(b, "  ");
        Colour colour = checked == CHECKED_VALID ? COLOUR_GOOD
                        : checked == CHECKED_BAD ? COLOUR_BAD
                                                 : COLOUR_WARN;
        buf_add_str(b, colour_on(c, colour));
        switch (checked) {
        case CHECKED_VALID:
                buf_add_str(b, "verified");
                break;
        case CHECKED_BAD:
                buf_addf(b, "NOT VERIFIED: %s", why);
                break;
        case CHECKED_UNSIGNED:
                buf_add_str(b, "unsigned");
                break;
        case CHECKED_NOT:
                buf_add_str(b, "signed, not checked (no --secret)");
                break;
        }
        buf_add_str(b, colour_off(c, colour));
        if (*again)
                buf_addf(b, "  %s%s%s", colour_on(c, COLOUR_WARN), again,
                        colour_off(c, COLOUR_WARN));
        if (q->status != 200)
                buf_addf(b, "  answered %u%s", q->status, q->too_large ? " (body too large)" : "");
        buf_add_char(b, '\n');
        (void)fwrite(b->data, 1, b->len, stdout);
}

void reporter_show(Reporter *r, const Received *q)
{
        const char *why;
        Checked checked = check_signature(r, q, &why);
        if (checked == CHECKED_BAD)
                r->unverified_seen = true;
        bool json = q->body.len > 0 && json_parse(&r->tree, q->body, LIMIT_JSON_DEPTH) >= 0;
        const char *again = seen_before(r, q);
        _cleanup_(buf_deinitp) Buf type = BUF_INIT(LIMIT_SUBJECT),
                                   subject = BUF_INIT(4 * LIMIT_SUBJECT);
        event_text(r, json, "type", q->ce_type, &type);
        event_text(r, json, "subject", q->ce_subject, &subject);
        save_body(r, q, json);
        if (r->context->json)
                show_json(r, q, json, buf_slice(&type), buf_slice(&subject), checked, why, again);
        else
                show_line(r, q, buf_slice(&type), buf_slice(&subject), checked, why, again);
}
