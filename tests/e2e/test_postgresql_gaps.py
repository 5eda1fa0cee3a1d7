# SPDX-License-Identifier: MIT
"""Honesty: whatever becomes of the slot, of the server or of what is stored here, the source says what
was missed, once, with its range, or says that nothing was. Then the budget of the server's disk."""
import pytest
from harness import wait_for
from postgres_server import Server
from postgres_source import PgSource, drop_database, lsn, make_database


@pytest.fixture(scope="module")
def server():
    s = Server(max_wal_size="64MB", min_wal_size="32MB")
    yield s
    s.remove()


@pytest.fixture
def db(server):
    name = make_database(server)
    yield name
    drop_database(server, name)


TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text);"


def begun(server, db, **options):
    """A source that has seen rows 1 and 2 and was killed."""
    server.sql(TABLE, database=db)
    s = PgSource(server, db, **options).start()
    s.sql("INSERT INTO t VALUES (1), (2)")
    s.wait_events(2)
    s.confirmed()
    s.kill()
    s.let_go()
    return s


def ids(s):
    return [e.data["new"]["id"] for e in s.rows() if e.type == "row.inserted"]


def create(s, name=None):
    return s.sql(f"SELECT lsn FROM pg_create_logical_replication_slot('{name or s.db}', 'pgoutput')")[0][0]


def drop(s):
    s.sql(f"SELECT pg_drop_replication_slot('{s.db}')")


# What happens to the slot between two lives, the word for it, and whether its new beginning is known.
def dropped(s):
    drop(s)
    s.sql("INSERT INTO t VALUES (3)")


def recreated(s):
    drop(s)
    s.sql("INSERT INTO t VALUES (3)")
    return create(s)


def advanced(s):
    s.sql("INSERT INTO t VALUES (3)")
    return s.sql(f"SELECT end_lsn FROM pg_replication_slot_advance('{s.db}', pg_current_wal_flush_lsn())")[0][0]


def invalidated(s):
    s.sql("INSERT INTO t VALUES (3)")
    for i in range(6):
        s.sql("SELECT pg_switch_wal(); INSERT INTO t VALUES (100); DELETE FROM t WHERE id = 100")
    s.server.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'; SELECT pg_reload_conf()")
    try:
        s.sql("SELECT pg_switch_wal(); CHECKPOINT; INSERT INTO t VALUES (101); DELETE FROM t WHERE id = 101; CHECKPOINT;")
    finally:
        s.server.sql("ALTER SYSTEM RESET max_slot_wal_keep_size; SELECT pg_reload_conf()")
    assert s.slot()["wal_status"] == "lost"


@pytest.mark.parametrize("happens,reason", [(dropped, "slot-missing"), (recreated, "slot-ahead"), (advanced, "slot-ahead"),
                                            (invalidated, "slot-invalidated")])
def test_a_slot_that_lost_something(server, db, happens, reason):
    s = begun(server, db, on_gap="continue")
    before = s.where()["end"]
    to = happens(s)
    s.start()
    s.wait_events(3)
    gap = s.events[-1]
    assert gap.type == "source.gap" and gap.data["reason"] == reason and db in gap.data["detail"]
    assert lsn(gap.data["from"]) == before and lsn(gap.data["to"]) > before
    assert not to or gap.data["to"] == to
    s.sql("INSERT INTO t VALUES (4)")
    s.wait(lambda: 4 in ids(s))
    s.confirmed()
    s.stop()
    # It is said once.
    s.start()
    s.sql("INSERT INTO t VALUES (5)")
    s.wait(lambda: 5 in ids(s))
    assert len(s.gaps()) == 1 and 3 not in ids(s)
    s.stop()


def test_nothing_is_delivered_behind_a_gap_until_told(server, db):
    s = begun(server, db)
    dropped(s)
    s.start()
    s.wait(lambda: "belfry source continue shop" in s.degraded)
    assert len(s.gaps()) == 1 and s.ready and "gap from " in s.degraded
    s.sql("INSERT INTO t VALUES (4)")
    s.kill()
    s.start()
    s.wait(lambda: "belfry source continue shop" in s.degraded)
    assert s.slot()["active"] == "f" and ids(s) == [1, 2]
    s.stop()
    # The operator chose otherwise: what came since the gap is there, the slot was made with it.
    s.start(on_gap="continue")
    s.wait(lambda: 4 in ids(s))
    assert len(s.gaps()) == 1 and ids(s) == [1, 2, 4] and not s.degraded
    s.stop()


def test_an_old_copy_of_the_state(server, db):
    s = begun(server, db, on_gap="continue")
    old, at = (s.position, dict(s.state)), s.where()["end"]
    s.start()
    s.sql("INSERT INTO t VALUES (3)")
    s.wait(lambda: 3 in ids(s))
    s.confirmed()
    s.stop()
    to = s.slot()["confirmed"]
    s.position, s.state = old
    s.start()
    s.wait(lambda: s.gaps())
    assert s.gaps()[0].data["reason"] == "slot-ahead" and lsn(s.gaps()[0].data["from"]) == at
    assert s.gaps()[0].data["to"] == to and "old copy" in s.gaps()[0].data["detail"]
    s.stop()


@pytest.mark.parametrize("change,reason", [({"system": 42}, "other-cluster"), ({"end": 1 << 60}, "position-ahead"),
                                           ({"timeline": 7}, "other-timeline")])
def test_another_server(server, db, change, reason):
    s = begun(server, db, on_gap="continue")
    s.move(**change)
    ours = s.where()["end"]
    s.sql("INSERT INTO t VALUES (3)")
    s.start()
    s.wait(lambda: s.gaps())
    gap = s.gaps()[0].data
    assert gap["reason"] == reason
    if reason == "position-ahead":
        assert lsn(gap["from"]) < ours == lsn(gap["to"])
    else:
        assert lsn(gap["from"]) == ours
    s.sql("INSERT INTO t VALUES (4)")
    s.wait(lambda: 4 in ids(s))
    assert len(s.gaps()) == 1
    s.stop()


def test_a_slot_of_somebody_else_is_left_alone(server, db):
    server.sql(TABLE, database=db)
    server.sql(f"SELECT pg_create_logical_replication_slot('{db}', 'test_decoding')", database=db, check=False)
    s = PgSource(server, db).start(wait=False)
    s.wait(lambda: "belongs to somebody else" in s.degraded)
    assert f"pg_drop_replication_slot('{db}')" in s.degraded and not s.ready
    s.stop()


def test_a_slot_that_is_busy(server, db):
    """Another one reads it: said as it is, and gone when it is free."""
    a = begun(server, db)
    a.start()
    b = PgSource(server, db)
    b.position, b.state = a.position, dict(a.state)
    b.start(wait=False)
    b.wait(lambda: "is active for PID" in b.degraded)
    a.stop()
    b.wait(lambda: b.ready and not b.degraded)
    b.stop()


def test_a_publication_dropped_on_the_way(server, db):
    """The server cannot pass that point with this slot: a gap, and on from behind it."""
    s = begun(server, db, on_gap="continue")
    s.sql(f"DROP PUBLICATION {db}; INSERT INTO t VALUES (3)")
    s.start()
    s.wait(lambda: s.gaps(), 60)
    assert s.gaps()[0].data["reason"] == "publication-missing"
    s.sql("INSERT INTO t VALUES (4)")
    s.wait(lambda: 4 in ids(s))
    s.stop()


def test_another_name_for_the_slot(server, db):
    s = begun(server, db, on_gap="continue")
    s.options["slot"] = db + "_b"
    s.start()
    s.wait(lambda: s.gaps())
    assert s.gaps()[0].data["reason"] == "slot-renamed" and db in s.gaps()[0].data["detail"]
    s.stop()


def test_a_promotion_is_no_gap(db, server):
    """The server changes its timeline; the slot and all that was not read yet are still there."""
    s = begun(server, db)
    s.sql("INSERT INTO t VALUES (3)")
    server.become_standby()
    server.sql("SELECT pg_promote()")
    s.sql("INSERT INTO t VALUES (4)")
    timeline = s.where()["timeline"]
    s.start()
    s.wait(lambda: 4 in ids(s))
    assert ids(s) == [1, 2, 3, 4] and not s.gaps() and s.where()["timeline"] == timeline + 1
    # Had we been beyond the switch point, what lay there was taken back.
    s.stop()
    s.let_go()
    s.move(timeline=timeline, end=s.where()["end"] + 4096)
    s.start(on_gap="continue")
    s.wait(lambda: s.gaps())
    assert s.gaps()[0].data["reason"] == "position-ahead" and "left timeline" in s.gaps()[0].data["detail"]
    s.stop()


def test_a_failover_to_a_standby(server, db):
    """The standby takes over with the same data. Where it has the slot too (synced, from PostgreSQL 17 on)
    the stream goes on without a gap, whatever was read before; where it has none, that is said."""
    s = begun(server, db)
    synced = server.major >= 17
    standby = Server(standby_of=server, **({"sync_replication_slots": "on"} if synced else {}))
    try:
        hosts = f"host={server.dir},{standby.dir} port={server.port},{standby.port} target_session_attrs=read-write"
        s.start(conninfo=f"{hosts} user=postgres dbname={db}", on_gap="continue")
        s.sql("INSERT INTO t VALUES (3)")
        s.wait(lambda: 3 in ids(s))
        s.confirmed()

        def is_synced():
            # A new slot is only kept once the primary's has come as far as the standby's own beginning.
            s.sql("SELECT pg_logical_emit_message(true, 'on', 'x'); SELECT pg_log_standby_snapshot()")
            return standby.sql(f"SELECT synced AND NOT temporary FROM pg_replication_slots WHERE slot_name = '{db}'") == [["t"]]
        if synced:
            s.wait(is_synced, 60)
        s.kill()
        s.let_go()
        s.sql("INSERT INTO t VALUES (4)")  # read by nobody yet
        end = server.sql("SELECT pg_current_wal_flush_lsn()")[0][0]
        wait_for(lambda: standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == [["t"]], "the standby")
        server.stop("immediate")
        standby.sql("SELECT pg_promote()")
        s.server = standby
        s.start()
        s.sql("INSERT INTO t VALUES (5)")
        s.wait(lambda: 5 in ids(s))
        if synced:
            assert ids(s) == [1, 2, 3, 4, 5] and not s.gaps()
        else:
            assert ids(s) == [1, 2, 3, 5] and [g.data["reason"] for g in s.gaps()] == ["slot-missing"]
        s.confirmed()
        s.stop()
        s.let_go()
    finally:
        s.server = server
        standby.remove()
        server.stop("immediate")
        server.start()
        server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_type = 'physical'")


# ---- the server's disk
def fill(s, mib):
    """WAL that the slot would hold."""
    for _ in range(mib // 16 + 1):
        s.sql("INSERT INTO t VALUES (1000); DELETE FROM t WHERE id = 1000; SELECT pg_switch_wal()")


def test_the_budget(server, db):
    s = begun(server, db, wal_budget=64 << 20, on_gap="continue")
    s.durable = False  # nothing is confirmed
    s.start()
    s.sql("INSERT INTO t VALUES (3)")
    fill(s, 48)
    s.wait(lambda: any("more than half of what it may" in text for _, text in s.logs), 30)
    assert not s.degraded
    assert s.stats["wal_status"] == "reserved" and s.stats["held_bytes"] > 32 << 20 and s.stats["lag_bytes"] > 32 << 20
    assert s.stats["oldest_holder"] == db
    fill(s, 32)
    s.wait(lambda: "over its budget" in s.degraded, 30)
    assert s.slot() and s.stats["state"] == "streaming"
    s.durable = True
    s.make_durable()
    s.confirmed()
    s.sql("CHECKPOINT")
    s.wait(lambda: not s.degraded, 60)
    s.stop()


def test_the_budget_that_drops(server, db):
    s = begun(server, db, wal_budget=64 << 20, on_budget="drop", on_gap="continue")
    at = s.where()["end"]
    s.durable = False
    s.start()
    fill(s, 96)
    s.wait(lambda: any("dropped slot" in text for _, text in s.logs), 60)
    s.durable = True
    s.make_durable()
    s.wait(lambda: s.gaps(), 60)
    gap = s.gaps()[0].data
    assert gap["reason"] == "slot-missing" and lsn(gap["from"]) >= at
    s.sql("INSERT INTO t VALUES (4)")
    s.wait(lambda: 4 in ids(s))
    assert len(s.gaps()) == 1
    s.stop()
