# SPDX-License-Identifier: MIT
"""Kill -9 of the hub, the source, the sink and the whole database server inside a backfill, while others
write. Then the oracle: the changes that were delivered are those of the audit table, and all that was
told, in the order of the log, is what the tables hold; each row read once, under one id with one body."""
import json
import os
import random
import signal

from harness import wait_for
from test_postgresql_kills import SCHEMA, Writer, change, server  # noqa: F401 (a fixture)

KILLS = int(os.environ.get("BELFRY_PG_KILLS", "60" if os.environ.get("BELFRY_LONG") else "12"))
ROWS = 2500 * KILLS
# Rows that are there are changed too, before and after they are read.
TOUCH = ("UPDATE orders SET v = v || '!' WHERE id IN (SELECT 1 + floor(random() * {rows})::int FROM generate_series(1, 5));"
         "DELETE FROM orders WHERE id = 1 + floor(random() * {rows})::int")


class Toucher(Writer):
    def run(self):
        while not self.over.is_set():
            self.server.sql(TOUCH.format(rows=ROWS), database=self.database, check=False)


def place(event):
    high, low = event["data"]["tx"]["lsn"].split("/")
    return int(high, 16) << 32 | int(low, 16), event["type"] != "row.read", event["data"]["tx"]["ordinal"]


def oracle(receiver, server):  # noqa: F811
    bodies = {}
    for r in receiver.all():
        assert bodies.setdefault(r.id, r.body) == r.body, f"two bodies of {r.id}"
    events = sorted((json.loads(b) for b in bodies.values()), key=place)
    told = sorted(map(str, (change(e) for e in events if e["type"] != "row.read")))
    audit = server.sql("SELECT op, tab, id, v FROM audit", database="shop")
    assert told == sorted(str((op, tab, int(key), v if op != "delete" else None)) for op, tab, key, v in audit)
    rows, read = {}, set()
    for e in events:
        op, table, key, v = change(e)
        if op == "read":
            assert (table, key) not in read, f"{table} {key} was read twice"
            read.add((table, key))
            assert rows.get((table, key), v) == v, f"{table} {key} was read as it was before a change"
        if op == "delete":
            rows.pop((table, key), None)
        else:
            rows[table, key] = v
    want = {(t, int(key)): v for t in ("orders", "items") for key, v in server.sql(f"SELECT id, v FROM {t}", database="shop")}
    assert rows == want, f"{len(rows)} rows are not {len(want)}"
    return len(read)


def strike(daemon, server, target):  # noqa: F811
    if target == "hub":
        daemon.kill()
    elif target == "server":
        server.stop("immediate")
        server.start()
    else:
        # A hub that only begins asks its modules to describe themselves: not those.
        pid = daemon.children().get(target) if daemon.status() else None
        if pid:
            os.kill(pid, signal.SIGKILL)
    if daemon.process.poll() is not None:
        daemon.start(wait=False)


def test_kills_inside_a_backfill(daemon, receiver, server):  # noqa: F811
    seed = int(os.environ.get("BELFRY_SEED", random.randrange(1 << 30)))
    print(f"BELFRY_SEED={seed}")
    rng = random.Random(seed)
    server.sql("CREATE DATABASE shop")
    server.sql("CREATE TABLE orders (id serial PRIMARY KEY, v text); INSERT INTO orders (v)"
               f" SELECT 'old ' || i || repeat('.', 400) FROM generate_series(1, {ROWS}) i;"
               + SCHEMA.replace("CREATE TABLE orders (id serial PRIMARY KEY, v text);", ""), database="shop")
    daemon.write(f'store = {{ size = "256M"; }};\n'
                 f'sources = {{ shop = {{ module = "postgresql"; conninfo = "{server.conninfo(database="shop")}";'
                 f' tables = [ "public.orders", "public.items" ]; backfill = true; }}; }};\n'
                 f'sinks = {{ ops = {{ module = "http"; url = "{receiver.url}"; }}; }};\n'
                 f'rules = ( {{ name = "all"; from = [ "shop" ]; to = [ "ops" ]; }} );\n')
    daemon.start(seconds=60)
    writers = [Writer(server, "shop", 0), Toucher(server, "shop", 1)]
    for w in writers:
        w.start()
    read = lambda: len({r.id for r in receiver.all() if b'"row.read"' in r.body[:500]})
    targets = ["hub", "belfry-source-postgresql", "belfry-sink-http", "server"] * (KILLS // 4 + 1)
    rng.shuffle(targets)
    inside = 0
    for target in targets[:KILLS]:
        goal = read() + rng.randrange(1, 1500)
        wait_for(lambda: read() >= min(goal, ROWS // 2), "rows that were read", 120)
        inside += read() < ROWS * 9 // 10
        strike(daemon, server, target)
    for w in writers:
        w.end()
    server.sql("SELECT format('COMMIT PREPARED %L;', gid) FROM pg_prepared_xacts \\gexec", database="shop")
    assert inside > KILLS // 2, f"{inside} of {KILLS} inside the backfill"
    daemon.wait_state(seconds=60)
    state = lambda: (daemon.status()["sources"][0].get("watches") or {}).get("backfill") or {}
    wait_for(lambda: state().get("state") == "done", "the end of the backfill", 120)
    end = server.sql("SELECT pg_current_wal_flush_lsn()")[0][0]
    wait_for(lambda: server.sql(f"SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots") == [["t"]], "the slot at the end", 60)
    wait_for(lambda: (daemon.sink() or {}).get("depth") == 0, "an empty queue", 60)
    assert oracle(receiver, server) > ROWS // 2
