# SPDX-License-Identifier: MIT
"""Kill -9 of the hub, the source, the sink and the whole database server while transactions of all
kinds are written. Then the oracle: an audit table, kept by triggers in the database, and what was
delivered are the same set of changes with the same contents; each under ONE id with ONE body; no gap."""
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from harness import wait_for

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
from postgres_server import Server  # noqa: E402

KILLS = int(os.environ.get("BELFRY_PG_KILLS", "60" if os.environ.get("BELFRY_LONG") else "12"))
BIG = 3000  # rows of a large transaction: several batches

SCHEMA = """
CREATE TABLE orders (id serial PRIMARY KEY, v text);
CREATE TABLE items (id serial PRIMARY KEY, v text);
ALTER TABLE items REPLICA IDENTITY FULL;
CREATE TABLE audit (seq bigserial, op text, tab text, id int, v text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF TG_OP = 'DELETE' THEN INSERT INTO audit (op, tab, id) VALUES ('delete', TG_TABLE_NAME, OLD.id); RETURN OLD; END IF;
  INSERT INTO audit (op, tab, id, v) VALUES (lower(TG_OP), TG_TABLE_NAME, NEW.id, NEW.v); RETURN NEW; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON items FOR EACH ROW EXECUTE FUNCTION note();
"""
# {n} is another number in each run.
TRANSACTIONS = (
    "INSERT INTO orders (v) VALUES ('one {n}')",
    "BEGIN; INSERT INTO orders (v) SELECT 'few {n} ' || i FROM generate_series(1, 5) i; UPDATE orders SET v = v || '+' "
    "WHERE id IN (SELECT id FROM orders ORDER BY id DESC LIMIT 3); COMMIT",
    "DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)",
    "BEGIN; INSERT INTO items (v) VALUES ('kept {n}'); SAVEPOINT a; INSERT INTO items (v) VALUES ('never'); "
    "ROLLBACK TO a; INSERT INTO items (v) VALUES ('kept too {n}'); COMMIT",
    "BEGIN; INSERT INTO items (v) VALUES ('never {n}'); ROLLBACK",
    "UPDATE items SET v = v || '*' WHERE id = (SELECT max(id) FROM items)",
    "BEGIN; INSERT INTO orders (v) VALUES ('prepared {n}'); PREPARE TRANSACTION 'p{n}'; COMMIT PREPARED 'p{n}'",
    "DELETE FROM items WHERE id = (SELECT min(id) FROM items)",
)


class Writer(threading.Thread):
    """Runs transactions one after the other, whatever becomes of each: the audit table knows."""

    def __init__(self, server, database, seed):
        super().__init__(daemon=True)
        self.server, self.database, self.rng, self.seed = server, database, random.Random(seed), seed
        self.over = threading.Event()

    def run(self):
        n = 0
        while not self.over.is_set():
            script = []
            for _ in range(5):
                n += 1
                script.append(self.rng.choice(TRANSACTIONS).format(n=f"{self.seed}_{n}") + ";")
            self.server.sql("\n".join(script), database=self.database, check=False)

    def end(self):
        self.over.set()
        self.join()


@pytest.fixture
def server():
    s = Server()
    yield s
    s.remove()


def change(event):
    d = event["data"]
    key = (d.get("new") or d.get("old") or d["key"])["id"]
    return d["op"], d["table"], key, d["new"]["v"] if "new" in d else None


def oracle(receiver, server):
    bodies = {}
    for r in receiver.all():
        assert bodies.setdefault(r.id, r.body) == r.body, f"two bodies of {r.id}"
    events = [json.loads(b) for b in bodies.values()]
    assert {e["type"] for e in events} <= {"row.inserted", "row.updated", "row.deleted"}, {e["type"] for e in events}
    delivered = Counter(change(e) for e in events)
    written = Counter((op, tab, int(key), v if op != "delete" else None)
                      for op, tab, key, v in server.sql("SELECT op, tab, id, v FROM audit", database="shop"))
    assert delivered == written, f"lost {list((written - delivered).items())[:5]}, invented {list((delivered - written).items())[:5]}"


def test_random_kills(daemon, receiver, server):
    seed = int(os.environ.get("BELFRY_SEED", random.randrange(1 << 30)))
    print(f"BELFRY_SEED={seed}")
    rng = random.Random(seed)
    server.sql("CREATE DATABASE shop")
    server.sql(SCHEMA, database="shop")
    daemon.write(f'store = {{ size = "256M"; }};\n'
                 f'sources = {{ shop = {{ module = "postgresql"; conninfo = "{server.conninfo(database="shop")}";'
                 f' tables = [ "public.orders", "public.items" ]; }}; }};\n'
                 f'sinks = {{ ops = {{ module = "http"; url = "{receiver.url}"; }}; }};\n'
                 f'rules = ( {{ name = "all"; from = [ "shop" ]; to = [ "ops" ]; }} );\n')
    daemon.start(seconds=60)
    writers = [Writer(server, "shop", i) for i in range(2)]
    for w in writers:
        w.start()
    targets = ["hub", "belfry-source-postgresql", "belfry-sink-http", "server"] * (KILLS // 4 + 1)
    rng.shuffle(targets)
    for n, target in enumerate(targets[:KILLS]):
        if n % 3 == 0:  # inside a large transaction, its batches on their way
            server.sql(f"INSERT INTO orders (v) SELECT 'big {n} ' || i FROM generate_series(1, {BIG}) i", database="shop", check=False)
        time.sleep(rng.uniform(0.02, 0.5))  # when to strike, not a wait for anything
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
    for w in writers:
        w.end()
    server.sql("SELECT format('COMMIT PREPARED %L;', gid) FROM pg_prepared_xacts \\gexec", database="shop")
    n = int(server.sql("SELECT count(*) FROM audit", database="shop")[0][0])
    assert n > BIG
    daemon.wait_state(seconds=60)
    wait_for(lambda: len({r.id for r in receiver.all()}) >= n, f"{n} ids", 120)
    end = server.sql("SELECT pg_current_wal_flush_lsn()")[0][0]
    wait_for(lambda: server.sql(f"SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots") == [["t"]], "the slot at the end", 60)
    wait_for(lambda: (daemon.sink() or {}).get("depth") == 0, "an empty queue", 60)
    oracle(receiver, server)
