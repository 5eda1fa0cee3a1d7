# SPDX-License-Identifier: MIT
"""One postgresql source alone, without a daemon: on a database of its own, with a hub of the tests'
that can lose what is not durable, keep an old position, or stop giving credit."""
import struct
import time

from harness import BUILD, wait_for
from source_hub import SourceHub

PROGRAM = BUILD / "belfry-source-postgresql"
DEFAULTS = {"operations": ["insert", "update", "delete", "truncate", "message"], "create": "auto", "numeric": "string",
            "transaction": "off", "on_budget": "alert", "on_gap": "stop",
            "service_file": "/etc/postgresql-common/pg_service.conf"}
# u8 version, u64 system id, u32 timeline, u64 end LSN, u64 message LSN, u64 commit LSN, u64 ordinal, u32 part
POSITION = "<BQIQQQQI"


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def make_database(server):
    name = f"t{time.monotonic_ns()}"
    server.sql(f"CREATE DATABASE {name}")
    return name


def drop_database(server, name):
    for source in PgSource.alive:
        if source.process and source.process.poll() is None:
            source.kill()
    PgSource.alive.clear()
    slots = f"FROM pg_replication_slots WHERE database = '{name}'"
    wait_for(lambda: not server.sql(f"SELECT pg_terminate_backend(active_pid, 5000) {slots} AND active_pid IS NOT NULL"),
             "the slots to be free")
    server.sql(f"SELECT pg_drop_replication_slot(slot_name) {slots}")
    server.sql(f"DROP DATABASE {name} WITH (FORCE)", check=False)


class PgSource(SourceHub):
    alive = []  # those of a test that failed hold its slots

    def __init__(self, server, db, user="postgres", name="shop", host="host", **options):
        self.server, self.db = server, db
        values = {"conninfo": server.conninfo(user, db), "slot": db, "tables": [{"name": "public.*"}], **options}
        super().__init__(PROGRAM, values, name=name, defaults=DEFAULTS, host=host)
        self.alive.append(self)

    def sql(self, text, **more):
        return self.server.sql(text, database=self.db, **more)

    def where(self):
        """The stored position as a dict."""
        system, timeline, end, message, commit, ordinal, part = struct.unpack_from(POSITION, self.position)[1:]
        return {"system": system, "timeline": timeline, "end": end, "commit": commit, "ordinal": ordinal, "part": part}

    def move(self, **changes):
        """What is stored is something else: another system, timeline or end."""
        w = {**dict(zip(("version", "system", "timeline", "end", "message", "commit", "ordinal", "part"),
                        struct.unpack_from(POSITION, self.position))), **changes}
        self.position = struct.pack(POSITION, *w.values()) + self.position[struct.calcsize(POSITION):]

    def slot(self):
        rows = self.server.sql("SELECT confirmed_flush_lsn, restart_lsn, active, wal_status FROM pg_replication_slots"
                               f" WHERE slot_name = '{self.options['slot']}'")
        return dict(zip(("confirmed", "restart", "active", "wal_status"), rows[0])) if rows else None

    def now(self):
        return self.server.sql("SELECT pg_current_wal_flush_lsn()")[0][0]

    def confirmed(self, to=None, timeout=30):
        """The slot comes to an LSN, or to the end of the log as it is."""
        to = to or self.now()
        self.wait(lambda: lsn(self.slot()["confirmed"]) >= lsn(to), timeout)

    def let_go(self):
        """The slot is nobody's."""
        end = time.monotonic() + 20
        while self.slot() and self.slot()["active"] == "t":
            assert time.monotonic() < end, "the slot is held"
            time.sleep(0.02)

    def gaps(self):
        return [e for e in self.events if e.type == "source.gap"]

    def rows(self):
        return [e for e in self.events if e.type.startswith("row.")]
