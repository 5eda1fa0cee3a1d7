// SPDX-License-Identifier: MIT
// What the store costs: processor time and wall time an event for the hub's hot path (put, and end
// in a later commit) at several batch sizes, with a backlog, with deferring. Prints one line a
// case; no pass and no fail. Arguments: [DIRECTORY [EVENTS]].
#include "base/clock.h"
#include "event/record.h"
#include "store/read.h"
#include "store/store.h"
#include <inttypes.h>
#include <sys/resource.h>
#include <sys/stat.h>

static uint64_t cpu_usec(void)
{
        struct rusage u;
        (void)getrusage(RUSAGE_SELF, &u);
        return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * USEC_PER_SEC +
               (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

typedef struct Case {
        const char *name;
        unsigned batch, backlog, n;
        bool defer;
} Case;

static Buf record = BUF_INIT(1 << 16);
static StoreVerdict verdict = {.status = 200, .attempts = 1, .detail = SLICE_LIT("200 OK")};
static StoreRoute route = {.sink = 1, .method = "POST", .rule = 4711};

static void commit(StoreTxn *t)
{
        Reason reason;
        if (store_commit(t, &reason) != 0) {
                (void)fprintf(stderr, "%s\n", reason.text);
                exit(1);
        }
}

static void put(Store *s, uint64_t n)
{
        while (n) {
                StoreTxn *t = store_begin(s);
                for (unsigned i = 0; i < 1000 && n; i++, n--)
                        (void)store_put_event(t, 1, buf_slice(&record), &route, 1);
                commit(t);
        }
}

static void run(const char *dir, const Case *c)
{
        Store *s = NULL;
        Reason reason;
        StoreOptions o = {.state_dir = dir, .size = 1 << 30, .ledger_percent = 5};
        if (store_open(&s, &o, &reason) < 0) {
                (void)fprintf(stderr, "%s\n", reason.text);
                exit(1);
        }
        uint32_t number;
        StoreTxn *t = store_begin(s);
        (void)!store_intern(t, STORE_SINK, "ops", &number);
        (void)!store_intern(t, STORE_SOURCE, "uploads", &number);
        commit(t);
        StoreUsage usage;
        store_usage(s, &usage);
        uint64_t first = usage.last_seq + 1;
        put(s, c->backlog + c->batch);
        StoreOwed owed = {.state = OWED_WAITS, .attempts = 1, .detail = "connection refused"};
        uint64_t cpu = cpu_usec(), wall = clock_mono_usec();
        for (unsigned done = 0; done < c->n; done += c->batch) {
                t = store_begin(s);
                for (unsigned i = 0; i < c->batch; i++)
                        (void)store_put_event(t, 1, buf_slice(&record), &route, 1);
                for (unsigned i = 0; i < c->batch; i++, first++) {
                        owed.due_usec = first;
                        if (c->defer)
                                store_defer(t, (DeliveryKey){first, 0}, &owed, &verdict);
                        store_end(t, (DeliveryKey){first, 0}, END_DELIVERED, &verdict);
                }
                commit(t);
        }
        cpu = cpu_usec() - cpu;
        wall = clock_mono_usec() - wall;
        store_usage(s, &usage);
        (void)printf("%-24s batch %5u  backlog %7u  cpu %7.2f us/event  wall %8.2f us/event  %5.1f "
                     "MiB used\n",
                c->name, c->batch, c->backlog, (double)cpu / c->n, (double)wall / c->n,
                (double)usage.used / (1 << 20));
        // Emptied outside the measure, for the next case.
        store_usage(s, &usage);
        while (first <= usage.last_seq) {
                t = store_begin(s);
                for (unsigned i = 0; i < 1000 && first <= usage.last_seq; i++, first++)
                        store_end(t, (DeliveryKey){first, 0}, END_DISCARDED, NULL);
                commit(t);
        }
        store_close(s);
}

static void run_open(const char *dir, unsigned backlog)
{
        Store *s = NULL;
        StoreOptions o = {.state_dir = dir, .size = 1 << 30, .ledger_percent = 5};
        if (store_open(&s, &o, NULL) < 0)
                exit(1);
        put(s, backlog);
        store_close(s);
        uint64_t cpu = cpu_usec();
        if (store_open(&s, &o, NULL) < 0)
                exit(1);
        uint64_t opened = cpu_usec() - cpu;
        cpu = cpu_usec();
        int faults = store_scrub(s, NULL, NULL);
        (void)printf("open with %u events: cpu %" PRIu64 " us; scrub: %.2f us/event, %d faults\n",
                backlog, opened, (double)(cpu_usec() - cpu) / backlog, faults);
        DeliveryKey keys[1024];
        uint64_t cursor = 0;
        unsigned n, total = 0;
        cpu = cpu_usec();
        do {
                if (store_read_begin(s) != 0 ||
                        store_scan_fresh(s, 1, &cursor, 1024, keys, NULL, 1024, &n) != 0)
                        exit(1);
                store_read_end(s);
                total += n;
        } while (n);
        (void)printf("scan_fresh: %.2f us/event (%u)\n", (double)(cpu_usec() - cpu) / total, total);
        store_close(s);
}

int main(int argc, char **argv)
{
        char made[] = "/tmp/belfry-bench-XXXXXX";
        const char *dir = argc > 1 ? argv[1] : mkdtemp(made);
        unsigned n = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 40000;
        RecordOrigin origin;
        EventDraft draft = {.time_usec = 1,
                .type = SLICE_LIT("file.created"),
                .subject = SLICE_LIT("/srv/uploads/a.pdf"),
                .id_material = SLICE_LIT("id"),
                .data = SLICE_LIT(
                        "{\"path\":\"/srv/uploads/a.pdf\",\"name\":\"a.pdf\",\"dir\":\"/srv/"
                        "uploads\",\"size\":1234,"
                        "\"mode\":\"0644\",\"uid\":1000,\"gid\":1000,\"owner\":\"user\",\"group\":"
                        "\"user\","
                        "\"mtime\":\"2026-11-23T09:33:00.123456Z\",\"dev\":2049,\"ino\":1234567}")};
        Reason reason;
        if (!dir || record_origin_init(&origin, "host", "uploads") < 0 ||
                record_build(&record, &origin, &draft, 1 << 16, &reason) < 0)
                return 1;
        (void)printf("record of %zu bytes, store in %s\n", record.len, dir);
        const Case cases[] = {
                {"put + end", 1, 0, n / 40, false},
                {"put + end", 16, 0, n / 4, false},
                {"put + end", 40, 0, n, false},
                {"put + end", 40, 100000, n, false},
                {"put + end", 256, 0, n, false},
                {"put + end", 2048, 0, n, false},
                {"put + defer + end", 40, 0, n, true},
        };
        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                run(dir, &cases[i]);
        run_open(dir, 100000);
        buf_deinit(&record);
        return 0;
}
