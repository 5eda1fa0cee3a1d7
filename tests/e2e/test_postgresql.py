# SPDX-License-Identifier: MIT
"""The whole way from a row to a webhook, against a real server: what is made there, what comes of it,
what is confirmed, and what an operator sees."""
import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from harness import wait_for
from postgres_server import Server
from postgres_source import PgSource, drop_database, lsn, make_database


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    s.remove()


@pytest.fixture
def db(server, daemon):
    """A database of this test's own; its slots are dropped with it, once the daemon is gone that would
    connect again."""
    name = make_database(server)
    yield name
    daemon.stop()
    drop_database(server, name)


def config(server, db, url, options="", sink="", extra="", user="postgres", tables='tables = [ "public.*" ];'):
    return (f'store = {{ size = "64M"; }};\n'
            f'sources = {{ shop = {{ module = "postgresql"; conninfo = "{server.conninfo(user, db)}"; slot = "{db}";'
            f' {tables} {options} }}; }};\n'
            f'sinks = {{ ops = {{ module = "http"; url = "{url}"; {sink} }}; }};\n'
            f'rules = ( {{ name = "all"; from = [ "shop" ]; to = [ "ops" ]; }} );\n{extra}')


class Shop:
    """A daemon with one source on one database."""

    def __init__(self, daemon, receiver, server, db):
        self.daemon, self.receiver, self.server, self.db = daemon, receiver, server, db

    def begin(self, schema, options="", state="running", **more):
        if schema:
            self.sql(schema)
        self.daemon.write(config(self.server, self.db, self.receiver.url, options, **more))
        self.daemon.start(state=state, seconds=60)

    def sql(self, text, **more):
        return self.server.sql(text, database=self.db, **more)

    def events(self, n, seconds=30):
        """In the order of the log: they arrive in any."""
        place = lambda e: (e["data"]["tx"]["xid"], e["data"]["tx"]["ordinal"])
        return sorted((r.event for r in self.receiver.wait(n, seconds)), key=place)

    def source(self):
        return self.daemon.status()["sources"][0]

    def slot(self):
        rows = self.server.sql("SELECT confirmed_flush_lsn, active_pid, wal_status, confirmed_flush_lsn >="
                               f" pg_current_wal_flush_lsn() FROM pg_replication_slots WHERE slot_name = '{self.db}'")
        return dict(zip(("confirmed", "pid", "wal_status", "all"), rows[0])) if rows else None

    def confirmed(self, lsn=None):
        """The slot has come to an LSN, or to the end of the log."""
        lsn = lsn or self.server.sql("SELECT pg_current_wal_flush_lsn()")[0][0]
        wait_for(lambda: self.server.sql(f"SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots WHERE"
                                         f" slot_name = '{self.db}'") == [["t"]], f"the slot at {lsn}", 30)


@pytest.fixture
def shop(daemon, receiver, server, db):
    return Shop(daemon, receiver, server, db)


ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, customer text, total numeric, note text);"


def test_from_a_row_to_a_webhook(shop):
    shop.begin(ORDERS)
    shop.sql("INSERT INTO orders VALUES (1, 'ACME', 9.90), (2, NULL, 1e3)")
    shop.sql("UPDATE orders SET total = 10 WHERE id = 1; DELETE FROM orders WHERE id = 2")
    events = shop.events(4)
    assert [e["type"] for e in events] == ["row.inserted", "row.inserted", "row.updated", "row.deleted"]
    first = events[0]
    assert first["subject"] == "public.orders" and first["source"].endswith("/shop")
    assert first["data"]["new"] == {"id": 1, "customer": "ACME", "total": "9.90", "note": None}
    assert first["data"]["key"] == {"id": 1} and first["data"]["tx"]["ordinal"] == 1
    assert events[2]["data"]["new"]["total"] == "10" and events[3]["data"]["key"] == {"id": 2}
    shop.confirmed()
    assert len({e["id"] for e in events}) == 4 and len(shop.receiver.all()) == 4


def test_goes_on_where_it_was(shop):
    """What is written while nobody listens, and while the daemon dies, comes once each."""
    shop.begin(ORDERS)
    shop.sql("INSERT INTO orders SELECT i FROM generate_series(1, 100) i")
    shop.events(100)
    shop.daemon.kill()
    shop.sql("INSERT INTO orders SELECT i FROM generate_series(101, 200) i")
    shop.daemon.start(seconds=60)
    wait_for(lambda: len({r.id for r in shop.receiver.all()}) >= 200, "200 ids", 30)
    shop.daemon.stop()
    shop.sql("INSERT INTO orders SELECT i FROM generate_series(201, 300) i")
    shop.daemon.start(seconds=60)
    wait_for(lambda: len({r.id for r in shop.receiver.all()}) >= 300, "300 ids", 30)
    shop.confirmed()
    assert sorted({r.event["data"]["new"]["id"] for r in shop.receiver.all()}) == list(range(1, 301))
    assert len({r.id for r in shop.receiver.all()}) == 300


# ---- the source alone, with a hub that can stop giving credit
BIG = "CREATE TABLE t (id int PRIMARY KEY, v text);"


def private(s):
    """KiB of memory that are the source's own."""
    text = open(f"/proc/{s.process.pid}/smaps_rollup").read()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def test_idle_tables_while_others_are_written(server, db):
    """Nothing that is published changes: the slot moves all the same, or the server's disk would fill."""
    server.sql(BIG + "CREATE TABLE noise (id int)", database=db)
    s = PgSource(server, db, tables=[{"name": "public.t"}]).start()
    before = s.slot()
    s.sql("INSERT INTO noise SELECT i FROM generate_series(1, 300000) i")  # more than is waited for
    s.confirmed()
    assert lsn(s.slot()["confirmed"]) - lsn(before["confirmed"]) > 16 << 20 and not s.events
    assert s.where()["end"] >= lsn(s.slot()["confirmed"])
    # What is little is confirmed too, only later: when the server asks at its end, at once.
    s.stop()


def test_back_pressure(server, db):
    """No credit for longer than the server waits for a word: the connection stays, memory does not grow, and
    all of it comes when there is room."""
    server.sql(BIG + "ALTER ROLE postgres SET wal_sender_timeout = '2s'", database=db)
    try:
        s = PgSource(server, db).start()
        pid = s.sql("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '" + db + "'")
        s.sql("INSERT INTO t VALUES (0)")
        s.wait_events(1)
        memory = private(s)
        s.durable = False
        s.sql("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 40000) i")
        s.wait(lambda: sum(b.bytes for b in s.held) > 2 << 20)
        end = time.monotonic() + 5
        s.wait(lambda: time.monotonic() > end)
        assert sum(b.bytes for b in s.held) < 5 << 20 and private(s) < memory + 16 * 1024
        s.durable = True
        s.make_durable()
        s.wait_events(40001, 60)
        s.confirmed()
        assert s.sql("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '" + db + "'") == pid
        assert [e.data["new"]["id"] for e in s.events] == list(range(40001))
        s.stop()
    finally:
        server.sql("ALTER ROLE postgres RESET wal_sender_timeout")


@pytest.mark.parametrize("credit", [True, False], ids=["idle", "blocked"])
def test_a_fast_shutdown_of_the_server(server, db, credit):
    """It ends in under 2 s, beside what the server takes by itself: what is idle is confirmed at once, what
    cannot be read is left for later."""
    server.sql(BIG, database=db)
    s = PgSource(server, db).start()
    s.wait(lambda: s.stats.get("wal_status"))
    s.durable = credit
    if not credit:
        s.sql("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 40000) i")
        s.wait(lambda: sum(b.bytes for b in s.held) > 2 << 20)
    server.sql("CHECKPOINT")  # else it would be made by the shutdown, and measured
    took = []
    stopping = threading.Thread(target=lambda: took.append(server.stop()))
    stopping.start()
    s.wait(lambda: took, 30)
    stopping.join()
    server.start()
    s.sql("INSERT INTO t VALUES (-1)")
    s.durable = True
    s.make_durable()
    s.wait_events(1 if credit else 40001, 60)
    assert s.events[-1].data["new"]["id"] == -1 and len({e.id for e in s.events}) == len(s.events)
    s.stop()
    server.sql("CHECKPOINT")
    alone = server.stop()
    server.start()
    assert took[0] < alone + 2, (took, alone)


def test_a_large_transaction(server, db, monkeypatch):
    """It flows: the source stays small, and the ids are those of its rows, each once."""
    n = 1000000 if os.environ.get("BELFRY_LONG") else 100000
    server.sql(BIG, database=db)
    monkeypatch.setenv("ASAN_OPTIONS", "quarantine_size_mb=1")  # what is freed would count
    s = PgSource(server, db).start()
    s.sql(f"INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, {n}) i")
    most = 0
    while len(s.events) < n:
        s.wait_events(min(n, len(s.events) + 20000), 300)
        most = max(most, private(s))
    assert most < 64 * 1024, most
    assert [e.data["tx"]["ordinal"] for e in s.events] == list(range(1, n + 1)) and len({e.id for e in s.events}) == n
    s.confirmed()
    s.stop()


def test_killed_inside_a_transaction(server, db):
    """It goes on behind the last row that is durable, with the same ids for what comes again."""
    server.sql(BIG, database=db)
    s = PgSource(server, db).start()
    s.durable = False
    s.sql("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i")
    kept = []
    for _ in range(4):
        before = len(s.events)
        while len(s.events) == before:  # a batch may hold nothing but a table's description
            s.wait(lambda: len(s.held) >= 2)
            s.make_durable(1)
        kept = [e.id for b in s.held for e in b.events]
        where = s.where()
        assert where["commit"] and where["ordinal"] == len(s.events)
        s.kill()
        s.let_go()
        s.start()
    s.durable = True
    s.make_durable()
    s.wait_events(20000, 60)
    assert [e.data["new"]["id"] for e in s.events] == list(range(1, 20001)) and len({e.id for e in s.events}) == 20000
    assert set(kept) <= {e.id for e in s.events}
    s.confirmed()
    s.stop()


# ---- the operator
def test_the_doctor(shop):
    """All findings with the SQL for what is missing; before the source ever worked, and after."""
    shop.sql(ORDERS + "CREATE TABLE bare (id int)")
    shop.daemon.write(config(shop.server, shop.db, shop.receiver.url, user="nobody_yet"))
    shop.daemon.start(state="degraded", seconds=60)
    r = shop.daemon.belfry("source", "doctor", "shop", check=1)
    assert 'role "nobody_yet" does not exist' in r.stdout + r.stderr
    shop.server.sql("CREATE ROLE nobody_yet LOGIN")
    r = shop.daemon.belfry("source", "doctor", "shop", check=1)
    assert 'ALTER ROLE "nobody_yet" REPLICATION;' in r.stdout + r.stderr
    shop.server.sql('ALTER ROLE "nobody_yet" REPLICATION;')
    r = shop.daemon.belfry("source", "doctor", "shop", check=1)
    text = r.stdout
    assert "what is marked BAD" in r.stderr
    # What the role may not do is said as what somebody else is to run.
    assert f"BAD  publication {shop.db} does not exist, and the role may not make it (CREATE on the database)" in text
    assert f'       CREATE PUBLICATION "{shop.db}" FOR TABLE public.orders WITH (publish = ' in text
    assert "BAD  table public.bare has no replica identity" in text and "ALTER TABLE public.bare REPLICA IDENTITY FULL;" in text
    assert "wal_level is logical" in text and "max_slot_wal_keep_size" in text
    shop.sql("DROP TABLE bare")
    shop.daemon.write(config(shop.server, shop.db, shop.receiver.url))
    shop.daemon.belfry("reload", "--force", check=0)
    shop.daemon.wait_state(seconds=60)
    r = shop.daemon.belfry("source", "doctor", "shop", check=0)
    assert "BAD" not in r.stdout and f"slot {shop.db}: wal_status reserved" in r.stdout and "in use" in r.stdout
    assert "table public.orders is published" in r.stdout
    shop.daemon.stop()
    shop.server.sql('DROP OWNED BY "nobody_yet"; DROP ROLE "nobody_yet"')


def test_halted_until_told(shop):
    """A gap with on_gap = "stop": degraded, in the list of gaps, and on with one command."""
    shop.begin(ORDERS)
    shop.sql("INSERT INTO orders VALUES (1)")
    shop.events(1)
    shop.confirmed()
    shop.daemon.stop()
    shop.sql(f"SELECT pg_drop_replication_slot('{shop.db}'); INSERT INTO orders VALUES (2)")
    shop.daemon.start(state="degraded", seconds=60)
    wait_for(lambda: "belfry source continue shop" in (shop.source()["reason"] or ""), "the reason", 60)
    gap = wait_for(lambda: json.loads(shop.daemon.belfry("gaps", "--json").stdout), "a gap")
    assert "slot-missing" in json.dumps(gap)
    shop.sql("INSERT INTO orders VALUES (3)")
    assert "halted at a gap" not in shop.daemon.belfry("source", "continue", "shop", check=0).stdout
    wait_for(lambda: any(r.event["type"] == "row.inserted" and r.event["data"]["new"]["id"] == 3 for r in shop.receiver.all()), "row 3")
    assert [r.event["data"]["reason"] for r in shop.receiver.of_type("source.gap")] == ["slot-missing"]
    assert "not halted" in shop.daemon.belfry("source", "continue", "shop", check=1).stderr
    shop.daemon.belfry("gaps", "ack", check=0)
    shop.daemon.wait_state()


def test_it_leaves_the_configuration(shop):
    """Its slot holds the server's log: said at once, and given back with one command."""
    shop.begin(ORDERS)
    assert "would make the slot anew" in shop.daemon.belfry("source", "drop-slot", "shop", check=1).stderr
    shop.daemon.write('store = { size = "64M"; };\n')
    r = shop.daemon.belfry("reload", check=0)
    told = "its replication slot holds the server's WAL until: belfry source drop-slot shop"
    assert told in r.stdout + r.stderr and told in shop.daemon.text()
    wait_for(lambda: "belfry-source-postgresql" not in shop.daemon.children(), "the end of the source")
    assert shop.slot()
    assert f"slot {shop.db} is dropped" in shop.daemon.belfry("source", "drop-slot", "shop", check=0).stdout
    assert not shop.slot() and shop.sql("SELECT count(*) FROM pg_publication") == [["0"]]


def test_the_endpoint_is_down(shop):
    """The queue on disk takes what comes: the slot moves on, nothing is held on the server."""
    shop.receiver.stop()
    shop.begin(ORDERS)
    shop.sql("INSERT INTO orders SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i")
    shop.confirmed()
    assert wait_for(lambda: shop.daemon.sink()["depth"] == 20000 and shop.daemon.sink(), "all in the queue")
    held = wait_for(lambda: shop.source()["watches"].get("lag_bytes", 1 << 30) < 1 << 20, "a small lag in status", 30)
    assert held and shop.source()["watches"]["wal_status"] == "reserved"


def test_events_look_as_the_manual_shows(server, db):
    """Each statement and event of its list, in their order."""
    page = (Path(__file__).resolve().parents[2] / "man/belfry-postgresql.5").read_text()
    listed = page[page.index("One event for each operation"):]
    listed = listed[listed.index(".EX\n") + 4:listed.index(".EE")].strip()
    pairs = [block.split("\n", 1) for block in listed.split("\n\n")]
    assert len(pairs) == 5
    server.sql("CREATE TABLE orders (id int PRIMARY KEY, customer text, total numeric)", database=db)
    s = PgSource(server, db).start()
    for n, (statement, event) in enumerate(pairs, 1):
        s.sql(statement)
        s.wait_events(n)
        shown, real = json.loads(event.replace("{...}", "{}")), s.events[-1].data
        assert set(real.pop("tx")) == {"xid", "lsn", "time", "ordinal"}
        del shown["tx"]
        assert real == shown and list(real) == list(shown)
    s.stop()
