// SPDX-License-Identifier: MIT
// Counting the hub's deaths, and setting aside what it died at. Two places can kill it at an event:
// where it comes in (checked, enveloped, routed) and where an attempt is made of it. A stored event
// is moved to the dead letters route by route; should that kill the hub too, its rows go to the
// store's quarantine unread. One on its way in becomes a dead letter of no sink, and its source goes
// on; should already its envelope kill the hub, it loses its subject and its data.
#include "hub/poison.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/wire.h"
#include "event/messages.h"
#include "hub/commit.h"
#include "hub/hub.h"
#include "module/verdict.h"
#include "store/read.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define POISON_META "poison"
#define POISON_REASON "quarantined"

enum { MARK_MAGIC = 0x42664d31, META_MAX = 8192 };
typedef enum MarkKind { MARK_NONE, MARK_STORED, MARK_ARRIVING, MARK_EVENT } MarkKind;

// Written by plain stores; `kind` last, so that a hub killed between two of them left no half mark.
struct PoisonMark {
        uint32_t magic, kind;
        uint64_t seq;
        char id[ID_HEX];
        char instance[LIMIT_NAME + 1];
        uint32_t material_len;
        uint8_t material[LIMIT_ID_MATERIAL];
};

static void mark_set(PoisonMark *m, MarkKind kind)
{
        __atomic_store_n(&m->kind, kind, __ATOMIC_RELEASE);
}

void poison_at_stored(Hub *h, uint64_t seq)
{
        h->poison.mark->seq = seq;
        mark_set(h->poison.mark, MARK_STORED);
}

void poison_at_arriving(Hub *h, const RecordOrigin *o, Slice id_material)
{
        PoisonMark *m = h->poison.mark;
        if (id_material.len == 0 || id_material.len > sizeof(m->material))
                return; // refused before anybody reads it
        memcpy(m->instance, o->instance, sizeof(m->instance));
        memcpy(m->material, id_material.data, id_material.len);
        m->material_len = (uint32_t)id_material.len;
        mark_set(m, MARK_ARRIVING);
}

void poison_at_event(Hub *h, Slice id)
{
        if (id.len != ID_HEX)
                return;
        memcpy(h->poison.mark->id, id.data, ID_HEX);
        mark_set(h->poison.mark, MARK_EVENT);
}

void poison_past(Hub *h)
{
        mark_set(h->poison.mark, MARK_NONE);
}

// A file of another version, or one that is too short to be touched safely, is made anew. All of it
// is written, so that a full disk cannot take it from under the mapping.
static int mark_map(int fd, PoisonMark **ret)
{
        struct stat st;
        PoisonMark empty = {.magic = MARK_MAGIC};
        uint32_t magic = 0;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size != sizeof(empty) || pread(fd, &magic, sizeof(magic), 0) != sizeof(magic) ||
                magic != MARK_MAGIC) {
                if (ftruncate(fd, 0) < 0)
                        return -errno;
                int r = file_write_all(fd, &empty, sizeof(empty));
                if (r < 0)
                        return r;
        }
        void *at = mmap(NULL, sizeof(empty), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED)
                return -errno;
        *ret = at;
        return 0;
}

static void mark_open(Hub *h)
{
        static PoisonMark forgetful = {.magic = MARK_MAGIC};
        char path[4096];
        int n = snprintf(path, sizeof(path), "%s/poison.mark", h->state_dir);
        _cleanup_(closep) int fd =
                n < (int)sizeof(path) ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)
                                      : -1;
        int r = fd < 0 ? -errno : mark_map(fd, &h->poison.mark);
        if (r >= 0)
                return;
        h->poison.mark = &forgetful;
        log_write(LOG_WARNING, &(LogFields){.message_id = MESSAGE_ID_STORE},
                "%s: %s: should belfryd die at an event, it will not know at which", path,
                strerror(-r));
}

// ---- what is remembered of earlier deaths

static void poison_load(Hub *h)
{
        Poison *p = &h->poison;
        Slice row;
        if (store_read_begin(h->store) < 0)
                return;
        if (store_get_meta(h->store, POISON_META, &row) == 0) {
                WireReader r = wire_reader(row);
                unsigned n = wire_u16(&r);
                while (n-- > 0 && !r.bad && p->n_known < POISON_KNOWN) {
                        PoisonEvent *e = &p->known[p->n_known];
                        e->seq = wire_u64(&r);
                        e->deaths = wire_u16(&r);
                        Slice id = wire_raw(&r, ID_HEX);
                        if (r.bad)
                                break;
                        memcpy(e->id, id.data, ID_HEX);
                        p->n_known++;
                }
                while (r.left > 0 && !r.bad && p->n_letters < POISON_LETTERS)
                        p->letters[p->n_letters++] = wire_u64(&r);
        }
        store_read_end(h->store);
}

static void poison_store(const Poison *p, StoreTxn *t)
{
        _cleanup_(buf_deinitp) Buf b = BUF_INIT(META_MAX);
        wire_put_u16(&b, (uint16_t)p->n_known);
        for (unsigned i = 0; i < p->n_known; i++) {
                wire_put_u64(&b, p->known[i].seq);
                wire_put_u16(&b, (uint16_t)p->known[i].deaths);
                buf_add(&b, p->known[i].id, ID_HEX);
        }
        for (unsigned i = 0; i < p->n_letters; i++)
                wire_put_u64(&b, p->letters[i]);
        if (!b.error)
                store_put_meta(t, POISON_META, buf_slice(&b));
}

static void poison_forget(Poison *p, unsigned i)
{
        memmove(&p->known[i], &p->known[i + 1], (--p->n_known - i) * sizeof(p->known[0]));
}

static PoisonEvent *poison_find(Poison *p, uint64_t seq, const char *id)
{
        for (unsigned i = 0; i < p->n_known; i++)
                if (p->known[i].seq == seq && (seq || memcmp(p->known[i].id, id, ID_HEX) == 0))
                        return &p->known[i];
        return NULL;
}

unsigned poison_deaths(Hub *h, Slice id)
{
        const PoisonEvent *e =
                h->poison.n_known && id.len == ID_HEX ? poison_find(&h->poison, 0, id.data) : NULL;
        return e ? e->deaths : 0;
}

void poison_forgive(Hub *h, Slice id)
{
        const PoisonEvent *e = id.len == ID_HEX ? poison_find(&h->poison, 0, id.data) : NULL;
        if (e) {
                poison_forget(&h->poison, (unsigned)(e - h->poison.known));
                poison_store(&h->poison, batch_txn(h));
        }
}

static void poison_add_letter(Poison *p, uint64_t letter)
{
        if (!letter)
                return;
        if (p->n_letters ==
                POISON_LETTERS) // told is the newest part; all are among the dead letters
                memmove(p->letters, p->letters + 1, --p->n_letters * sizeof(p->letters[0]));
        p->letters[p->n_letters++] = letter;
}

void poison_look(Hub *h)
{
        Poison *p = &h->poison;
        unsigned n = 0;
        if (p->n_letters == 0 || store_read_begin(h->store) < 0)
                return;
        for (unsigned i = 0; i < p->n_letters; i++) {
                StoreDead d;
                if (store_get_dead(h->store, p->letters[i], &d) == 0 &&
                        strcmp(d.reason, POISON_REASON) == 0)
                        p->letters[n++] = p->letters[i];
        }
        store_read_end(h->store);
        p->n_letters = n;
}

static StoreVerdict poison_verdict(void)
{
        return (StoreVerdict){.class = VERDICT_REJECTED,
                .when_usec = clock_wall_usec(),
                .detail = SLICE_LIT("belfryd died three times at this event")};
}

void poison_set_aside(Hub *h, uint32_t source, Slice record)
{
        StoreVerdict v = poison_verdict();
        uint64_t letter = store_put_dead(batch_txn(h), source, record, POISON_REASON, &v);
        poison_add_letter(&h->poison, letter);
        poison_store(&h->poison, batch_txn(h));
        log_write(LOG_ERR, &(LogFields){.message_id = MESSAGE_ID_DEAD},
                "an event at which belfryd died three times is dead letter %llu now, no rule has "
                "seen "
                "it: belfry dead show %llu",
                (unsigned long long)letter, (unsigned long long)letter);
}

// ---- the death before this start

// The event the last hub died at; NULL when it died at none. It has one death more now.
static PoisonEvent *poison_count(Poison *p)
{
        PoisonMark *m = p->mark;
        PoisonEvent at = {.seq = m->kind == MARK_STORED ? m->seq : 0};
        memset(at.id, '0', ID_HEX);
        if (m->kind == MARK_EVENT) {
                memcpy(at.id, m->id, ID_HEX);
        } else if (m->kind == MARK_ARRIVING && m->material_len <= sizeof(m->material)) {
                RecordOrigin o = {};
                memcpy(o.instance, m->instance, sizeof(m->instance));
                o.instance[sizeof(m->instance) - 1] = 0;
                if (record_id(&o, slice_mem(m->material, m->material_len), at.id) < 0)
                        return NULL;
        } else if (m->kind != MARK_STORED || m->seq == 0) {
                return NULL;
        }
        const PoisonEvent *known = poison_find(p, at.seq, at.id);
        if (known) {
                at = *known;
                poison_forget(p, (unsigned)(known - p->known));
        } else if (p->n_known == POISON_KNOWN) {
                poison_forget(p, 0);
        }
        at.deaths++;
        p->known[p->n_known] = at;
        return &p->known[p->n_known++];
}

static int poison_commit(Hub *h, StoreTxn *t, Reason *reason)
{
        int r = store_commit(t, reason);
        if (r != -ENOSPC)
                return r;
        log_write(LOG_ERR, &(LogFields){.message_id = MESSAGE_ID_FULL},
                "no room in the store to set aside what belfryd died at");
        reason->text[0] = 0;
        return 0;
}

// Its deliveries become dead letters. Once that was deadly too, nobody reads it any more.
static int poison_bury(Hub *h, const PoisonEvent *at, Reason *reason)
{
        StoreEvent e;
        unsigned n_routes = 0;
        uint64_t seq = at->seq;
        StoreVerdict v = poison_verdict();
        bool unread = at->deaths > POISON_DEATHS;
        if (!unread) {
                int r = store_read_begin(h->store);
                if (r < 0)
                        return reason_errno(reason, r, "cannot read the store");
                if (store_get_event(h->store, seq, &e) == 0)
                        n_routes = e.n_routes;
                store_read_end(h->store);
        }
        poison_forget(&h->poison, (unsigned)(at - h->poison.known));
        StoreTxn *t = store_begin(h->store);
        for (unsigned i = 0; i < n_routes; i++)
                poison_add_letter(&h->poison,
                        store_bury(t, (DeliveryKey){seq, (uint16_t)i}, POISON_REASON, &v));
        if (unread)
                store_quarantine(t, seq);
        poison_store(&h->poison, t);
        log_write(LOG_ERR, &(LogFields){.message_id = MESSAGE_ID_DEAD},
                "belfryd died %s at the stored event %llu: it %s, the rest goes on",
                unread ? "again" : "three times", (unsigned long long)seq,
                unread ? "is kept in the quarantine" : "is among the dead letters now");
        return poison_commit(h, t, reason);
}

int poison_start(Hub *h, Reason *reason)
{
        mark_open(h);
        poison_load(h);
        PoisonEvent *at = poison_count(&h->poison);
        int r = 0;
        if (at) {
                // By itself: should setting it aside be deadly, the next start knows.
                StoreTxn *t = store_begin(h->store);
                poison_store(&h->poison, t);
                r = poison_commit(h, t, reason);
                log_write(LOG_WARNING, &(LogFields){.message_id = MESSAGE_ID_STORE},
                        "the belfryd before this one died while it worked on one event, for the %s "
                        "time at this one",
                        at->deaths == 1   ? "first"
                        : at->deaths == 2 ? "second"
                                          : "third");
                if (r >= 0 && at->seq && at->deaths >= POISON_DEATHS)
                        r = poison_bury(h, at, reason);
        }
        if (r >= 0)
                poison_past(h);
        return r;
}
