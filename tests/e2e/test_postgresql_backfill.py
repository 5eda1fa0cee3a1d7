# SPDX-License-Identifier: MIT
"""Rows that are there already: each told once, none missing, none as it was before a change that was
told, whatever is killed, dropped, altered or forbidden meanwhile."""
import json
import subprocess
import threading

import pytest
from harness import wait_for
from postgres_server import Server
from postgres_source import PgSource
from test_postgresql import Shop, config, db  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    s.remove()


@pytest.fixture
def shop(daemon, receiver, server, db):  # noqa: F811
    return Shop(daemon, receiver, server, db)


class Copy:
    """What one has of the tables who believes every event in its turn: rows by table and key."""

    def __init__(self):
        self.rows, self.read, self.stale = {}, {}, []

    def take(self, type, d):
        if not type.startswith("row."):
            return
        table = self.rows.setdefault(d["table"], {})
        key = json.dumps(d.get("key"))
        if type == "row.read":
            self.read[(d["table"], key)] = self.read.get((d["table"], key), 0) + 1
            # It was told before: then it must be as it was told.
            if key in table and any(table[key].get(c, v) != v for c, v in d["new"].items()):
                self.stale.append((key, table[key], d["new"]))
            table[key] = {**table.get(key, {}), **d["new"]}
        elif type == "row.deleted":
            table.pop(key, None)
        else:
            old = json.dumps(d["old"]) if "old" in d and list(d["old"]) == list(d["key"]) else key
            table[key] = {**table.pop(old, {}), **d["new"]}


def backfilled(shop, tables=None):
    b = (shop.source().get("watches") or {}).get("backfill") or {}
    return b.get("state") == "done" and (tables is None or b["tables"] == tables)


def wait_backfill(shop, tables=None, seconds=60):
    wait_for(lambda: backfilled(shop, tables), "all tables read", seconds)


ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, customer text, total numeric, note text);"


def test_rows_that_are_there(shop):
    """Several tables: a key of two columns and of a user's type, one empty, one without a key."""
    shop.begin(ORDERS + """CREATE TYPE mood AS ENUM ('sad', 'ok');
        CREATE TABLE pairs (b text, a mood, v jsonb, PRIMARY KEY (a, b));
        CREATE TABLE nothing (id int PRIMARY KEY);
        CREATE TABLE plain (line text); ALTER TABLE plain REPLICA IDENTITY FULL;
        CREATE TABLE "Odd.Name" ("the key" bigint PRIMARY KEY, twice int GENERATED ALWAYS AS (7) STORED);
        INSERT INTO orders SELECT i, 'c' || i, (i / 4.0)::numeric(9, 2), repeat('x', i % 50) FROM generate_series(1, 1000) i;
        INSERT INTO pairs VALUES ('it''s', 'ok', '{"a": 1}'), ('\\', 'sad', NULL), ('', 'ok', '[]');
        INSERT INTO plain VALUES ('same'), ('same'), (NULL);
        INSERT INTO "Odd.Name" SELECT i FROM generate_series(1, 3) i""", "backfill = true;")
    events = [r.event for r in shop.receiver.wait(1000 + 3 + 3 + 3, 30)]
    wait_backfill(shop, 5)
    assert {e["type"] for e in events} == {"row.read"} and len({e["id"] for e in events}) == 1009
    by_table = {}
    for e in events:
        by_table.setdefault(e["subject"], []).append(e["data"])
    assert sorted(d["new"]["id"] for d in by_table["public.orders"]) == list(range(1, 1001))
    first = next(d for d in by_table["public.orders"] if d["key"] == {"id": 4})
    assert first["new"] == {"id": 4, "customer": "c4", "total": "1.00", "note": "xxxx"}
    assert first["op"] == "read" and "/" in first["tx"]["lsn"] and first["tx"]["ordinal"] == 4
    assert {(d["key"]["a"], d["key"]["b"]) for d in by_table["public.pairs"]} == {("ok", "it's"), ("sad", "\\"), ("ok", "")}
    assert {json.dumps(d["new"]["v"]) for d in by_table["public.pairs"]} == {'{"a": 1}', "null", "[]"}
    assert sorted(str(d["new"]["line"]) for d in by_table["public.plain"]) == ["None", "same", "same"]
    assert sorted(d["new"]["the key"] for d in by_table["public.Odd.Name"]) == ["1", "2", "3"]
    assert all(len(d["new"]) == 1 for d in by_table["public.Odd.Name"])
    # Told once: not again after a restart.
    shop.daemon.stop()
    shop.daemon.start(seconds=60)
    shop.sql("INSERT INTO orders VALUES (2000)")
    wait_for(lambda: shop.receiver.of_type("row.inserted"), "the stream", 30)
    wait_backfill(shop, 5)
    assert len(shop.receiver.of_type("row.read")) == 1009


def test_on_demand(shop):
    shop.begin(ORDERS + "CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1), (2);"
               "INSERT INTO orders SELECT i FROM generate_series(1, 10) i; CREATE TABLE other (id int PRIMARY KEY)",
               tables='tables = [ "public.orders", "public.items" ];')
    shop.sql("INSERT INTO items VALUES (3)")
    shop.events(1)
    refused = shop.daemon.belfry("source", "backfill", "shop", "public.other", check=1)
    assert "no published table is named public.other" in refused.stdout + refused.stderr
    shop.daemon.belfry("source", "backfill", "shop", "public.items", check=0)
    wait_for(lambda: len(shop.receiver.of_type("row.read")) == 3, "three rows", 30)
    wait_backfill(shop, 1)
    r = shop.daemon.belfry("source", "backfill", "shop", check=0)
    assert "2 tables are being read" in r.stdout
    wait_for(lambda: len(shop.receiver.of_type("row.read")) == 16, "all rows once more", 30)
    wait_backfill(shop, 2)
    assert len({r.id for r in shop.receiver.of_type("row.read")}) == 16, "another reading has other ids"


STATEMENTS = """
    UPDATE orders SET total = total + 1 WHERE id IN (SELECT 1 + floor(random() * {rows})::int FROM generate_series(1, 20));
    DELETE FROM orders WHERE id = 1 + floor(random() * {rows})::int;
    INSERT INTO orders SELECT {base} + i, 'new', i FROM generate_series({n}, {n} + 2) i;
    UPDATE orders SET customer = 'moved', id = {base} + 500000 + {n}, note = 'm' WHERE id = 1 + floor(random() * {rows})::int;
    BEGIN; UPDATE orders SET customer = 'undone' WHERE id < 100; ROLLBACK;
    UPDATE orders SET customer = 'hot' || {n} WHERE id IN (7, {rows} - 7, {rows} / 2);"""
LARGE = ("ALTER TABLE orders ALTER note SET STORAGE EXTERNAL; INSERT INTO orders SELECT i, 'c' || i, i,"
         " CASE WHEN i % 500 = 0 THEN repeat('long ', 1000) ELSE 'n' END FROM generate_series(1, {rows}) i;")


class Writers:
    """Updates, deletes, inserts and moved keys, large values among them, until it is stopped."""

    def __init__(self, sql, rows):
        self.sql, self.rows, self.over, self.n = sql, rows, threading.Event(), 0
        self.threads = [threading.Thread(target=self.write, args=(seed,)) for seed in range(2)]
        for t in self.threads:
            t.start()

    def write(self, seed):
        n = 0
        while not self.over.is_set():
            self.sql(STATEMENTS.format(rows=self.rows, base=(seed + 1) * 10_000_000, n=n), check=False)
            n += 3
            self.n += 1

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join()


def table_of(sql, table="orders"):
    rows = [json.loads(line) for [line] in sql(f"SELECT row_to_json(t) FROM (SELECT id, customer, total::text, note FROM {table}) t")]
    return {json.dumps({"id": r["id"]}): r for r in rows}


def judge(copy, sql):
    """What was told is what is there."""
    assert not copy.stale, copy.stale[:3]
    want, got = table_of(sql), copy.rows["orders"]
    assert set(got) == set(want), (sorted(set(got) - set(want))[:3], sorted(set(want) - set(got))[:3])
    assert not (wrong := [(got[k], want[k]) for k in want if got[k] != want[k]]), wrong[:3]


def test_consistent_while_others_write(server, db):  # noqa: F811
    """Rows are read while two write: in the order in which events are stored none is as it was before a
    change that was told, and in the end they say what the table is. Now and then the source is killed
    and what was not durable is lost."""
    s = PgSource(server, db, tables=[{"name": "public.orders"}], backfill=True)
    s.sql(ORDERS + LARGE.format(rows=6000))
    s.start()
    writers = Writers(s.sql, 6000)
    try:
        for _ in range(3):
            have = len(s.rows())
            s.wait(lambda: len(s.rows()) > have + 1000, 60)
            s.kill()
            s.let_go()
            s.start()
        s.wait(lambda: done(s), 120)
    finally:
        writers.end()
    s.confirmed()
    assert writers.n > 4
    copy = Copy()
    for e in s.rows():
        copy.take(e.type, e.data)
    judge(copy, s.sql)
    assert len(copy.read) > 3000 and max(copy.read.values()) == 1, "a row was read twice"
    assert len({e.id for e in s.rows()}) == len(s.rows())
    s.stop()


KINDS = """
    CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE COLLATION de (provider = icu, locale = 'de-u-kn-true');
    CREATE TABLE folded (k text COLLATE ci PRIMARY KEY, v int);
    INSERT INTO folded SELECT chr(97 + i % 26) || CASE WHEN i % 2 = 0 THEN 'X' ELSE 'x' END || i, i FROM generate_series(1, 700) i;
    CREATE TABLE numbered (k varchar(40) COLLATE de PRIMARY KEY, v int);
    INSERT INTO numbered SELECT 'Straße ''' || i || chr(228), i FROM generate_series(1, 700) i;
    CREATE TABLE padded (k char(8), n numeric, b bytea, v int, PRIMARY KEY (n, k, b));
    INSERT INTO padded SELECT 'k' || i % 3, (i % 50) / 8.0, decode(md5(i::text), 'hex'), i FROM generate_series(1, 700) i;
    CREATE TABLE pages (v int, filler text);
    INSERT INTO pages SELECT i, repeat('x', 300) FROM generate_series(1, 2000) i; DELETE FROM pages WHERE v % 7 = 0;
    CREATE TABLE parts (k int, v int, PRIMARY KEY (k, v)) PARTITION BY RANGE (v);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (400);
    CREATE TABLE parts_high PARTITION OF parts DEFAULT;
    INSERT INTO parts SELECT i % 5, i FROM generate_series(1, 700) i;
    CREATE TABLE keyless (v int) PARTITION BY HASH (v);
    CREATE TABLE keyless_0 PARTITION OF keyless FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE keyless_1 PARTITION OF keyless FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO keyless SELECT i FROM generate_series(1, 700) i;
    CREATE TABLE wide (v int PRIMARY KEY, big text);
    INSERT INTO wide SELECT i, repeat('w', 400000) FROM generate_series(1, 5) i;
    INSERT INTO wide VALUES (6, repeat('o', 2000000));"""


def done(s):
    return (s.stats.get("backfill") or {}).get("state") == "done"


def test_tables_of_all_kinds(server, db):  # noqa: F811
    """Keys in odd collations, of three columns, none at all, partitions, rows larger than a chunk and
    than an event: each row once, also when the source dies now and then."""
    s = PgSource(server, db, tables=[{"name": "public.*"}], backfill=True, operations=["insert"])
    s.sql(KINDS)
    s.start()
    for have in (500, 2500):
        s.wait(lambda: len(s.events) > have, 60)
        s.kill()
        s.let_go()
        s.start()
    s.wait(lambda: done(s), 60)
    got = {}
    for e in s.rows():
        assert e.type == "row.read"
        if "oversized" not in e.data:
            got.setdefault(e.data["table"].split("_")[0], []).append(e.data["new"]["v"])
    for table in ("folded", "numbered", "padded", "pages", "parts", "keyless"):
        want = sorted(int(v) for [v] in s.sql(f"SELECT v FROM {table}"))
        assert sorted(got[table]) == want, table
    assert sorted(got["wide"]) == [1, 2, 3, 4, 5]
    assert [e.data["bytes"] > 2000000 for e in s.rows() if "oversized" in e.data] == [True]
    assert len({e.id for e in s.rows()}) == len(s.rows())
    s.stop()


@pytest.mark.parametrize("change", [
    "DROP TABLE orders", "TRUNCATE orders",
    "ALTER TABLE orders ADD more int DEFAULT 7; UPDATE orders SET more = 8 WHERE id > 5990"],
    ids=["dropped", "emptied", "altered"])
def test_a_table_that_changes_while_it_is_read(server, db, change):  # noqa: F811
    """In the middle of one table; the rest of it and the next one are read, nothing is in the way."""
    s = PgSource(server, db, backfill=True)
    s.sql(f"{ORDERS} INSERT INTO orders SELECT i, 'c', i, repeat('x', 900) FROM generate_series(1, 6000) i;"
          "CREATE TABLE others (id int PRIMARY KEY); INSERT INTO others VALUES (1)")
    s.durable = False  # without credit the table is left where it is
    s.start()
    s.wait(lambda: any(b.events for b in s.held), 60)
    thread = threading.Thread(target=s.sql, args=(change,))
    thread.start()  # it may wait for our lock, which is not held for long
    while thread.is_alive():
        s.pump()
    assert sum(len(b.events) for b in s.held) < 6000
    s.durable = True
    s.make_durable()
    s.wait(lambda: done(s) and any(e.data["table"] == "others" for e in s.rows()), 60)
    s.confirmed()
    copy = Copy()
    for e in s.events:
        copy.take(e.type, e.data)
    assert not copy.stale
    read = [e for e in s.rows() if e.type == "row.read" and e.data["table"] == "orders"]
    if "ALTER" in change:
        assert len(copy.rows["orders"]) == 6000 and copy.rows["orders"]['{"id": 6000}']["more"] == 8
    else:
        assert 0 < len(read) < 6000
        assert any("read no further" in text for _, text in s.logs) == ("DROP" in change)
        assert any(e.type == "table.truncated" for e in s.events) == ("TRUNCATE" in change)
    s.stop()


def test_cancelled_and_asked_for_again(shop):
    """While somebody holds the table it cannot be read: long enough to think better of it."""
    shop.begin(ORDERS + "INSERT INTO orders SELECT i FROM generate_series(1, 100) i")
    refused = shop.daemon.belfry("source", "backfill-cancel", "shop", check=1)
    assert "no such table is being read" in refused.stdout + refused.stderr
    holder = subprocess.Popen(["psql", "-XAtq", shop.server.conninfo(database=shop.db)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    holder.stdin.write("BEGIN; LOCK orders; SELECT 'held';\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "held\n"
    shop.daemon.belfry("source", "backfill", "shop", "public.orders", check=0)
    text = shop.daemon.belfry("source", "backfill-cancel", "shop", "public.o*", check=0).stdout
    assert "1 table is read no further" in text
    wait_for(lambda: backfilled(shop), "the end", 30)
    assert shop.source()["watches"]["backfill"]["tables_cancelled"] == 1
    assert "backfill done, 0 rows (1 of 1 table)" in shop.daemon.belfry("status").stdout
    holder.communicate("ROLLBACK;")
    shop.daemon.stop()
    shop.daemon.start(seconds=60)
    shop.sql("INSERT INTO orders VALUES (101)")
    shop.events(1)
    assert not shop.receiver.of_type("row.read"), "it is cancelled for good"
    shop.daemon.belfry("source", "backfill", "shop", check=0)
    wait_for(lambda: len(shop.receiver.of_type("row.read")) == 101, "all rows", 30)
    wait_for(lambda: "tables_cancelled" not in shop.source()["watches"]["backfill"], "the status", 30)


def test_not_allowed_to_read(shop):
    """Streaming needs no SELECT, reading does: the SQL is told, and the stream goes on."""
    shop.sql(f"CREATE ROLE reader LOGIN REPLICATION; {ORDERS} INSERT INTO orders VALUES (1);"
             "CREATE PUBLICATION given FOR TABLE orders")
    shop.begin("", 'backfill = true; publication = "given";', state="degraded", user="reader")
    grant = "GRANT SELECT ON public.orders TO"
    wait_for(lambda: f'{grant} "reader";' in (shop.source()["reason"] or ""), "the reason", 30)
    doctor = shop.daemon.belfry("source", "doctor", "shop", check=1)
    assert f"{grant} reader;" in doctor.stdout + doctor.stderr
    shop.sql("INSERT INTO orders VALUES (2)")
    shop.events(1)
    shop.sql("GRANT SELECT ON orders TO reader")
    shop.daemon.belfry("source", "backfill", "shop", check=0)
    # The second was told by the stream; it is there once more, the same.
    wait_for(lambda: len(shop.receiver.of_type("row.read")) == 2, "both rows", 30)
    shop.daemon.wait_state(seconds=30)
    assert sorted(r.event["data"]["new"]["id"] for r in shop.receiver.of_type("row.read")) == [1, 2]
    shop.daemon.stop()
    shop.sql(f"SELECT pg_drop_replication_slot('{shop.db}'); DROP OWNED BY reader; DROP ROLE reader")


def test_pages_that_are_rewritten(server, db):  # noqa: F811
    """Without a key rows are found by their place: after VACUUM FULL they are elsewhere, and are read
    from the beginning rather than missed."""
    s = PgSource(server, db, backfill=True, operations=["insert"])
    s.sql("CREATE TABLE plain (v int, filler text); INSERT INTO plain SELECT i, repeat('x', 900) FROM generate_series(1, 20000) i;"
          "DELETE FROM plain WHERE v < 10000")
    s.durable = False  # without credit it stays where it is
    s.start()
    s.wait(lambda: any(b.events for b in s.held), 60)
    thread = threading.Thread(target=s.sql, args=("VACUUM FULL plain",))
    thread.start()
    while thread.is_alive():
        s.pump()
    assert 0 < sum(len(b.events) for b in s.held) < 9000
    s.durable = True
    s.make_durable()
    s.wait(lambda: done(s), 60)
    assert {e.data["new"]["v"] for e in s.rows()} == set(range(10000, 20001))
    assert len({e.id for e in s.rows()}) == len(s.rows())
    s.stop()


def test_behind_a_gap(server, db):  # noqa: F811
    """The slot was dropped: what is in the tables is told anew behind the gap."""
    s = PgSource(server, db, on_gap="backfill")
    s.sql(ORDERS + "INSERT INTO orders VALUES (1), (2)")
    s.start()
    s.sql("INSERT INTO orders VALUES (3)")
    s.wait_events(1)
    s.stop()
    s.let_go()
    s.sql(f"SELECT pg_drop_replication_slot('{db}'); DELETE FROM orders WHERE id = 1; INSERT INTO orders VALUES (4)")
    s.start()
    s.wait(lambda: done(s), 30)
    assert [e.type for e in s.events[1:]] == ["source.gap", "row.read", "row.read", "row.read"]
    assert [e.data["new"]["id"] for e in s.rows()[1:]] == [2, 3, 4]
    s.sql("INSERT INTO orders VALUES (5)")
    s.wait_events(6)
    s.stop()
