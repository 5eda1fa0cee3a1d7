# SPDX-License-Identifier: MIT
"""Rows that are there already: each told once, none missing, none as it was before a change that was
told, whatever is killed, dropped, altered or forbidden meanwhile."""
import json
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
    assert [d["new"] for d in by_table["public.Odd.Name"]] == [{"the key": str(i)} for i in (1, 2, 3)]
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
        s.wait(lambda: (s.stats.get("backfill") or {}).get("state") == "done", 120)
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
