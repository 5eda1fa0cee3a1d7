# SPDX-License-Identifier: MIT
"""A server that says nonsense: between the source and a real server somebody changes single frames. The
connection ends with a clear reason, the process lives, and the next connection makes good what was not
understood."""
import os
import socket
import struct
import tempfile
import threading
from pathlib import Path

import pytest
from postgres_server import Server, major
from postgres_source import PgSource, drop_database, make_database


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    s.remove()


@pytest.fixture
def db(server):
    name = make_database(server)
    yield name
    drop_database(server, name)


class Between:
    """A socket in front of the server's: what the server says in copy mode goes through change(payload),
    which returns another payload, or None for what stays."""

    def __init__(self, server):
        self.dir = tempfile.mkdtemp(prefix="belfry-between-")
        self.to = f"{server.dir}/.s.PGSQL.{server.port}"
        self.change = lambda payload: None
        self.changed = 0
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(f"{self.dir}/.s.PGSQL.{server.port}")
        self.listening.listen()
        self.port = server.port
        threading.Thread(target=self.accept, daemon=True).start()

    def conninfo(self, user, db):
        return f"host={self.dir} port={self.port} user={user} dbname={db}"

    def accept(self):
        while True:
            try:
                client = self.listening.accept()[0]
            except OSError:
                return
            real = socket.socket(socket.AF_UNIX)
            real.connect(self.to)
            for a, b, work in ((client, real, lambda data: data), (real, client, self.frames())):
                threading.Thread(target=self.relay, args=(a, b, work), daemon=True).start()

    @staticmethod
    def relay(a, b, work):
        try:
            while data := a.recv(65536):
                b.sendall(work(data))
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def frames(self):
        buffer = b""

        def work(data):
            nonlocal buffer
            buffer, out = buffer + data, b""
            while len(buffer) >= 5 and len(buffer) >= (n := 1 + struct.unpack_from(">I", buffer, 1)[0]):
                kind, payload, buffer = buffer[:1], buffer[5:n], buffer[n:]
                other = self.change(payload) if kind == b"d" else None
                if other is not None:
                    self.changed += 1
                    payload = other
                out += kind + struct.pack(">I", len(payload) + 4) + payload
            return out
        return work

    def close(self):
        self.listening.close()
        Path(self.listening_path()).unlink()
        os.rmdir(self.dir)

    def listening_path(self):
        return f"{self.dir}/.s.PGSQL.{self.port}"


def of(letter, change):
    """Changes the first pgoutput message of a kind, behind the 25 bytes of the frame."""
    done = []

    def work(payload):
        if payload[:1] != b"w" or payload[25:26] != letter or done:
            return None
        done.append(1)
        return change(payload[:25], payload[25:])
    return work


# What becomes of which message, and a word of the reason.
NONSENSE = {
    "cut": (b"I", lambda head, m: head + m[:-3], "message 'I' of 19 bytes that is malformed at byte 19: a value"),
    "columns": (b"I", lambda head, m: head + m[:6] + b"\x7f\xff" + m[8:], "more columns than there can be"),
    "length": (b"I", lambda head, m: head + m[:9] + b"\x7f\xff\xff\xff" + m[13:], "a value"),
    "table": (b"I", lambda head, m: head + m[:1] + b"\x00\x0f\x42\x40" + m[5:], "a change of table 1000000 without describing it"),
    "other-table": (b"I", lambda head, m: head + m[:6] + b"\x00\x01" + m[8:13] + m[13:14], "has not the 2 columns it described"),
    "unknown": (b"I", lambda head, m: head + b"Z" + m[1:], "'Z'"),
    "empty": (b"I", lambda head, m: head, "an empty pgoutput message"),
    "twice": (b"R", lambda head, m: head + b"B" + bytes(20), "inside another one"),
    "no-begin": (b"B", lambda head, m: head + b"O" + bytes(8) + b"x\0", "outside a transaction"),
    "frame": (b"I", lambda head, m: b"x" + head[1:] + m, "frame of type 'x'"),
    "short": (b"I", lambda head, m: b"w" + bytes(9), "frame of type 'w' with 10 bytes"),
    "keepalive": (b"I", lambda head, m: b"k" + bytes(9), "frame of type 'k' with 10 bytes"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_ends_the_connection_not_the_process(server, db, what):
    letter, change, word = NONSENSE[what]
    between = Between(server)
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v text)", database=db)
    s = PgSource(server, db, conninfo=between.conninfo("postgres", db)).start()
    pid = s.process.pid
    between.change = of(letter, change)
    s.sql("INSERT INTO t VALUES (1, 'one'), (2, 'two')")
    s.wait(lambda: s.degraded)
    assert between.changed == 1 and s.degraded.startswith("the stream cannot be read: ") and word in s.degraded, s.degraded
    assert s.process.poll() is None and not s.events
    if what == "cut":  # one is enough: it waits 5 s before it tries again
        s.wait_events(2)
        assert [e.data["new"]["id"] for e in s.events] == [1, 2] and s.process.pid == pid
        s.wait(lambda: not s.degraded)
        s.confirmed()
    s.stop()
    between.close()


def test_text_that_is_no_utf8(server, db):
    """A database without an encoding gives out whatever bytes it was given: they become the replacement
    character, and nothing stops."""
    server.sql(f"DROP DATABASE {db}; CREATE DATABASE {db} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    server.sql("CREATE TABLE t (id text PRIMARY KEY, v text, j jsonb)", database=db)
    s = PgSource(server, db).start()
    s.sql("INSERT INTO t VALUES (E'a\\xff', E'gr\\xfcn', E'{\"k\": \"\\xfc\"}'); INSERT INTO t VALUES ('b', 'plain', '{}')",
          options="-c client_encoding=SQL_ASCII")
    s.wait_events(2)
    assert [e.data["new"] for e in s.events] == [{"id": "a\ufffd", "v": "gr\ufffdn", "j": '{"k": "\ufffd"}'},
                                                 {"id": "b", "v": "plain", "j": {}}]
    assert s.events[0].key == b"public.t:a\xff"
    s.stop()


@pytest.mark.skipif(major() < 15, reason="the server has no conditions before 15")
def test_what_the_server_cannot_pass(server, db):
    """A condition that fails for a row stops the server's own decoding there, now and each time: it is said,
    and when it is mended the row comes."""
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v int)", database=db)
    s = PgSource(server, db, tables=[{"name": "public.t", "where": "100 / (id - 5) > 0"}]).start()
    s.sql("INSERT INTO t VALUES (6); INSERT INTO t VALUES (5); INSERT INTO t VALUES (7)")
    s.wait(lambda: "division by zero" in s.degraded)
    assert [e.data["new"]["id"] for e in s.events] == [6] and s.stats["state"] != "attaching"
    s.stop()
    # No other condition helps for what is in the log: it is read with the catalogue of its time.
    s.sql(f"SELECT pg_replication_slot_advance('{db}', pg_current_wal_flush_lsn())")
    s.start(on_gap="continue", tables=[{"name": "public.t", "where": "id > 0"}])
    s.sql("INSERT INTO t VALUES (8)")
    s.wait(lambda: s.rows() and s.rows()[-1].data["new"]["id"] == 8)
    assert [e.data["reason"] for e in s.gaps()] == ["slot-ahead"] and not s.degraded
    s.stop()
