# SPDX-License-Identifier: MIT
"""What each option of the source does, against a real server; and what is refused before any is asked."""
import json

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


def marked(s, text="end"):
    """All that was written before is there: a message comes behind it."""
    s.sql(f"SELECT pg_logical_emit_message(false, 'mark', '{text}')")
    s.wait(lambda: any(e.type == "message" and e.data["payload"] == text for e in s.events))


def told(s):
    return [(e.data["op"], e.data["table"], (e.data.get("new") or e.data.get("old"))) for e in s.rows()]


CONFIG = '''sources = {{ shop = {{ module = "postgresql"; {} }}; }};
sinks = {{ ops = {{ module = "http"; url = "http://127.0.0.1:1/"; }}; }};
rules = ( {{ name = "all"; from = [ "shop" ]; to = [ "ops" ]; }} );
'''
GOOD = 'conninfo = "dbname=x"; tables = [ "public.*" ];'


@pytest.mark.parametrize("options,words", [
    ('conninfo = "dbname=x password=geheim"; tables = [ "public.*" ];', ("conninfo: a password does not belong", "passfile")),
    ('conninfo = "postgresql://u:geheim@db/x"; tables = [ "public.*" ];', ("conninfo: a password does not belong",)),
    ('conninfo = "dbname=x pasword=geheim"; tables = [ "public.*" ];', ('conninfo: invalid connection option "pasword"',)),
    (GOOD + 'passfile = "geheim";', ("passfile", "credential:")),
    ('conninfo = "dbname=x"; tables = [ "orders" ];', ('tables[0].name: names no schema: write "public.orders"',)),
    ('conninfo = "dbname=x"; tables = ( { name = "public.a"; where = " "; columns = [ ]; } );',
     ("tables[0].where: is empty", "tables[0].columns: the list is empty")),
    ('conninfo = "dbname=x";', ("tables: is missing",)),
    (GOOD + 'operations = [ "insert", "upsert" ];', ('operations[1]: "upsert" is none of insert, update',)),
    (GOOD + 'operations = [ ];', ("operations: the list is empty",)),
    (GOOD + 'slot = "Shop-1";', ("slot: expected the name of a slot",)),
    (GOOD + 'publication = "";', ("publication: a name has 1 to 63 bytes",)),
    (GOOD + 'wal_budget = "1M";', ("wal_budget", "64M")),
    (GOOD + 'on_gap = "ignore";', ("on_gap", "stop", "continue", "backfill")),
])
def test_refused_with_its_place(daemon, options, words):
    daemon.write(CONFIG.format(options))
    r = daemon.belfry("check", daemon.config, check=1)
    assert all(w in r.stderr for w in words) and f"{daemon.config}:1:" in r.stderr, r.stderr
    assert "geheim" not in r.stderr + r.stdout


def test_password_service_and_hosts(daemon, receiver, server, db, tmp_path):
    """The password comes from a credential, the rest from a service file; of two hosts the one that is up."""
    server.sql("CREATE TABLE t (id int PRIMARY KEY)", database=db)
    server.sql("CREATE ROLE hook LOGIN REPLICATION PASSWORD 'sesam'")
    server.sql(f"GRANT CREATE ON DATABASE {db} TO hook")
    server.sql("ALTER TABLE t OWNER TO hook", database=db)
    hba = server.dir / "data/pg_hba.conf"
    before = hba.read_text()
    hba.write_text("local all hook scram-sha-256\n" + before)
    server.sql("SELECT pg_reload_conf()")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "shop").write_text("*:*:*:hook:falsch\n")
    (credentials / "shop").chmod(0o600)
    services = tmp_path / "services.conf"
    services.write_text(f"[shop]\nhost={tmp_path}/nobody,{server.dir}\nport=5432,{server.port}\ndbname={db}\nuser=hook\n"
                        "target_session_attrs=read-write\n")
    daemon.write('store = { size = "64M"; };\n' + CONFIG.format(
        f'conninfo = "service=shop"; service_file = "{services}"; passfile = "credential:shop"; slot = "{db}"; '
        f'files = [ "{services}" ]; tables = [ "public.*" ];').replace("http://127.0.0.1:1/", receiver.url))
    daemon.start(env={"CREDENTIALS_DIRECTORY": str(credentials)}, state="degraded", seconds=60)
    reason = daemon.status()["sources"][0]["reason"]
    assert "password authentication failed" in reason and "the password comes from passfile" in reason
    (credentials / "shop").write_text("*:*:*:hook:sesam\n")
    daemon.wait_state(seconds=60)
    server.sql("INSERT INTO t VALUES (1)", database=db)
    assert receiver.wait(1)[0].event["data"]["new"] == {"id": 1}
    watches = daemon.status()["sources"][0]["watches"]
    assert watches["slot"] == db and watches["state"] == "streaming" and watches["database"] == db
    daemon.stop()
    hba.write_text(before)
    server.sql("SELECT pg_reload_conf()")


def test_the_default_names(server, db):
    """Made of host and instance, so that two hosts never share one; what had to be changed in them gets a
    hash, so that none meet."""
    names = []
    for host, name in (("host", "shop"), ("host", "shop-a"), ("host-2", "shop"), ("host.2", "shop"), ("h" * 63, "shop")):
        s = PgSource(server, db, name=name, host=host, slot=None, tables=[]).start()
        [[slot]] = server.sql("SELECT slot_name FROM pg_replication_slots WHERE active AND plugin = 'pgoutput'")
        assert server.sql(f"SELECT count(*) FROM pg_publication WHERE pubname = '{slot}'", database=db) == [["1"]]
        names.append(slot)
        s.stop()
    assert names[0] == "belfry_host_shop" and names[1].startswith("belfry_host_shop_a_") and len(names[1]) == 27
    assert len(set(names)) == 5 and all(len(n) <= 63 for n in names) and names[2].startswith("belfry_host_2_shop_")


needs_15 = pytest.mark.skipif(major() < 15, reason="where and columns need PostgreSQL 15")


def test_conditions_and_columns_by_version(server, db):
    """Before 15 the server would send all rows and columns: refused, and nothing is published."""
    server.sql("CREATE TABLE t (id int PRIMARY KEY, secret text)", database=db)
    for more in ({"where": "id > 1"}, {"columns": ["id"]}):
        s = PgSource(server, db, tables=[{"name": "public.t", **more}]).start(wait=False)
        if server.major < 15:
            s.wait(lambda: "where and columns need PostgreSQL 15" in s.degraded)
            assert not server.sql("SELECT 1 FROM pg_publication", database=db) and not s.slot()
        else:
            s.wait(lambda: s.ready)
        s.stop()
        s.let_go()


@needs_15
def test_tables(server, db):
    """Names, patterns, conditions and columns; a table that comes later; one that cannot be published."""
    server.sql('CREATE TABLE orders (id int PRIMARY KEY, status text, secret text);'
               'CREATE TABLE "Odd Name" (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY);'
               'CREATE SCHEMA log; CREATE TABLE log.a (id int PRIMARY KEY); CREATE TABLE log.bare (id int);', database=db)
    s = PgSource(server, db, tables=[
        {"name": "public.orders", "where": "id > 10 AND id < 1000", "columns": ["id", "status"]},
        {"name": "public.Odd*"}, {"name": "log.*"}, {"name": "nowhere.none"}]).start()
    s.wait(lambda: s.degraded)
    assert "table log.bare has no replica identity" in s.degraded and 'ALTER TABLE log.bare REPLICA IDENTITY FULL;' in s.degraded
    s.sql("INSERT INTO orders VALUES (1, 'new', 's'), (11, 'new', 's'); UPDATE orders SET id = 2 WHERE id = 11;"
          "UPDATE orders SET id = 12 WHERE id = 1; INSERT INTO \"Odd Name\" VALUES (1); INSERT INTO other VALUES (1);"
          "INSERT INTO log.a VALUES (1); INSERT INTO log.bare VALUES (1); UPDATE log.bare SET id = 2; DELETE FROM log.bare")
    marked(s)
    assert told(s) == [("insert", "orders", {"id": 11, "status": "new"}), ("delete", "orders", {"id": 11}),
                       ("insert", "orders", {"id": 12, "status": "new"}), ("insert", "Odd Name", {"id": 1}),
                       ("insert", "a", {"id": 1})]
    # What comes later is taken up with the next look, which a new connection has too.
    s.sql("CREATE TABLE log.later (id int PRIMARY KEY); ALTER TABLE log.bare ADD PRIMARY KEY (id)")
    s.sql(f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{db}'")
    published = lambda: server.sql("SELECT count(*) FROM pg_publication_tables WHERE schemaname = 'log'", database=db)
    s.wait(lambda: published() == [["3"]])
    s.wait(lambda: "has no replica identity" not in s.degraded)
    s.sql("INSERT INTO log.later VALUES (1); INSERT INTO log.bare VALUES (7)")
    marked(s, "second")
    assert told(s)[5:] == [("insert", "later", {"id": 1}), ("insert", "bare", {"id": 7})]
    s.stop()
    # Fewer tables: the publication, which is Belfry's, follows.
    s.start(tables=[{"name": "public.other"}])
    assert server.sql("SELECT schemaname, tablename FROM pg_publication_tables", database=db) == [["public", "other"]]
    s.stop()


@needs_15
def test_a_condition_that_would_break_the_application(server, db):
    """The condition's column is not of the replica identity: the server would refuse the application's
    UPDATE and DELETE, so nothing is published."""
    server.sql("CREATE TABLE orders (id int PRIMARY KEY, status text);", database=db)
    s = PgSource(server, db, tables=[{"name": "public.orders", "where": "status = 'paid'"}]).start(wait=False)
    s.wait(lambda: s.degraded)
    assert "cannot be made" in s.degraded and 'cannot delete from table "orders"' in s.degraded
    s.sql("INSERT INTO orders VALUES (1, 'new'); UPDATE orders SET status = 'paid'; DELETE FROM orders")
    s.sql("ALTER TABLE orders REPLICA IDENTITY FULL")
    s.wait(lambda: s.ready and not s.degraded, 60)
    s.sql("INSERT INTO orders VALUES (2, 'paid'); UPDATE orders SET status = 'late'")
    marked(s)
    assert [o for o, _, _ in told(s)] == ["insert", "delete"]
    s.stop()


def test_operations(server, db):
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v int);", database=db)
    s = PgSource(server, db, operations=["insert", "truncate", "message"]).start()
    s.sql("INSERT INTO t VALUES (1); UPDATE t SET v = 2; DELETE FROM t; INSERT INTO t VALUES (2); TRUNCATE t")
    marked(s)
    assert [e.type for e in s.events] == ["row.inserted", "row.inserted", "table.truncated", "message"]
    assert server.sql("SELECT pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication", database=db) == [["t", "f", "f", "t"]]
    s.stop()
    s.start(operations=["delete"])
    s.sql("INSERT INTO t VALUES (1); DELETE FROM t")
    s.wait(lambda: s.events[-1].type == "row.deleted")
    s.stop()


def test_messages_alone(server, db):
    """tables = [ ]: the outbox without a table."""
    server.sql("CREATE TABLE t (id int PRIMARY KEY);", database=db)
    s = PgSource(server, db, tables=[]).start()
    s.sql("BEGIN; INSERT INTO t VALUES (1); SELECT pg_logical_emit_message(true, 'invoice.sent', '{\"id\": 7}'); COMMIT;"
          "BEGIN; SELECT pg_logical_emit_message(true, 'never', 'x'), pg_logical_emit_message(false, 'at once', 'y'); ROLLBACK;"
          "SELECT pg_logical_emit_message(false, 'bytes', '\\xff00'::bytea)")
    marked(s)
    assert [(e.subject.decode(), e.data["transactional"], e.data["encoding"], e.data["payload"]) for e in s.events] == [
        ("invoice.sent", True, "json", {"id": 7}), ("at once", False, "text", "y"), ("bytes", False, "base64", "/wA="),
        ("mark", False, "text", "end")]
    s.stop()


def test_create_never(server, db):
    """Each missing thing is said with the SQL that makes it; when it is there, on it goes."""
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v int);", database=db)
    s = PgSource(server, db, create="never").start(wait=False)
    s.wait(lambda: f"publication {db} does not exist" in s.degraded)
    sql = s.degraded.split("run: ", 1)[1]
    assert "CREATE PUBLICATION" in sql and "FOR TABLE public.t" in sql
    s.sql(sql)
    s.wait(lambda: f"slot {db} does not exist" in s.degraded, 30)
    s.sql(s.degraded.split("run: ", 1)[1])
    s.sql("INSERT INTO t VALUES (1)")
    s.wait(lambda: s.ready and not s.degraded, 60)
    s.wait_events(1)
    s.stop()


def test_a_publication_of_somebody_else_is_used_as_it_is(server, db):
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY);"
               "CREATE PUBLICATION theirs FOR TABLE t", database=db)
    s = PgSource(server, db, publication="theirs", tables=None).start()
    s.sql("INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)")
    marked(s)
    assert told(s) == [("insert", "t", {"id": 1, "v": None})]
    s.stop()
    # Tables are asked for that are not in it: said, never changed.
    s.start(tables=[{"name": "public.*"}])
    s.wait(lambda: "public.u is not in publication theirs" in s.degraded and "ADD TABLE public.u" in s.degraded)
    assert server.sql("SELECT tablename FROM pg_publication_tables", database=db) == [["t"]]
    s.stop()


def test_numeric(server, db):
    server.sql("CREATE TABLE t (id bigint PRIMARY KEY, n numeric, a numeric[]);", database=db)
    insert = "INSERT INTO t VALUES (9223372036854775807, 12345678901234567890, '{1,NULL,NaN}'); DELETE FROM t"
    s = PgSource(server, db).start()
    s.sql(insert)
    marked(s)
    assert told(s)[0][2] == {"id": "9223372036854775807", "n": "12345678901234567890", "a": ["1", None, "NaN"]}
    s.stop()
    s.start(numeric="number")
    s.sql(insert)
    marked(s, "second")
    assert told(s)[2][2] == {"id": 9223372036854775807, "n": 12345678901234567890, "a": [1, None, "NaN"]}
    s.stop()


def test_group(server, db):
    """One event a transaction; a large one comes in parts of fixed size, and the same parts again after a
    kill in its middle."""
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY)", database=db)
    s = PgSource(server, db, transaction="group").start()
    s.sql("BEGIN; INSERT INTO t VALUES (-1, 'a'); UPDATE t SET v = 'b'; INSERT INTO u VALUES (5); DELETE FROM t;"
          "SELECT pg_logical_emit_message(true, 'in', 'side'); COMMIT")
    s.wait_events(1)
    d = s.events[0].data
    assert s.events[0].type == "transaction" and d["rows"] == 5 and d["tx"]["part"] == 1 and d["tx"]["last"] is True
    assert [(c["op"], c["ordinal"]) for c in d["changes"]] == [("insert", 1), ("update", 2), ("insert", 3), ("delete", 4), ("message", 5)]

    def parts():
        return [e for e in s.events if e.type == "transaction"][1:]

    s.durable = False
    s.sql("INSERT INTO t SELECT i FROM generate_series(1, 2500) i")
    s.wait(lambda: len([e for b in s.held for e in b.events]) >= 2)
    first = s.held[0].events[0].id
    s.make_durable(1)
    s.kill()
    s.let_go()
    s.durable = True
    s.start()
    s.wait(lambda: parts() and parts()[-1].data["tx"]["last"])
    assert [p.data["rows"] for p in parts()] == [1000, 1000, 500] and parts()[0].id == first
    assert [p.data["tx"]["part"] for p in parts()] == [1, 2, 3] and len({p.id for p in parts()}) == 3
    assert [c["new"]["id"] for p in parts() for c in p.data["changes"]] == list(range(1, 2501))
    s.sql("INSERT INTO t SELECT i, repeat('x', 10000) FROM generate_series(3001, 3100) i")
    s.wait(lambda: parts()[-1].data["tx"]["last"] and len(parts()) > 3)
    big = parts()[3:]
    assert sum(p.data["rows"] for p in big) == 100 and all(len(json.dumps(p.data)) < 300 * 1024 for p in big)
    assert {p.data["rows"] for p in big[:-1]} == {25}
    s.stop()


def test_the_role(server, db):
    """LOGIN and REPLICATION suffice when the rest was made by somebody else; what lacks is named."""
    server.sql("CREATE ROLE bare LOGIN", check=False)
    server.sql("CREATE ROLE reader LOGIN REPLICATION", check=False)
    server.sql(f"CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION {db} FOR TABLE t", database=db)
    s = PgSource(server, db, user="bare").start(wait=False)
    s.wait(lambda: 'ALTER ROLE' in s.degraded)
    assert "bare" in s.degraded and "REPLICATION;" in s.degraded
    s.stop()
    s = PgSource(server, db, user="reader").start()
    s.sql("INSERT INTO t VALUES (1)")
    s.wait_events(1)
    s.stop()
