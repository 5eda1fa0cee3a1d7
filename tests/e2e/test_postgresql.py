# SPDX-License-Identifier: MIT
"""The whole way from a row to a webhook, against a real server: what is made there, what comes of it,
what is confirmed, and what an operator sees."""
import json
import os
import signal
import threading
import time

import pytest
from harness import wait_for
from postgres_server import Server


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    s.remove()


@pytest.fixture
def db(server):
    """A database of this test's own; its slots are dropped with it."""
    name = f"t{time.monotonic_ns()}"
    server.sql(f"CREATE DATABASE {name}")
    yield name
    server.sql("SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
               f" WHERE database = '{name}' AND active_pid IS NOT NULL")
    server.sql(f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{name}'")
    server.sql(f"DROP DATABASE {name} WITH (FORCE)", check=False)


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
        return [r.event for r in self.receiver.wait(n, seconds)]

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
