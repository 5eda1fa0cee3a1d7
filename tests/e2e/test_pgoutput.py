# SPDX-License-Identifier: MIT
"""The decoder against a real server: what pgoutput makes of real statements becomes the right events.

Twice: the whole source on a replication connection (live), whose own startup options are what stands
between an odd role and the events; and its pure half, belfry-change-tool, fed with messages that were
taken with pg_logical_slot_get_binary_changes(), which can be stopped and begun again anywhere."""
import json
import subprocess

import pytest
from harness import BUILD
from postgres_server import Server, major
from postgres_source import PgSource
from schemas import check_data


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    s.remove()


class Stream:
    """One publication and slot, and the filter that reads them."""

    def __init__(self, server, *arguments):
        self.server, self.arguments = server, arguments
        self.questions = 0
        self.position = None
        self.messages = []
        self.tool = None
        self.start()

    def start(self):
        self.tool = subprocess.Popen([BUILD / "tests/unit/belfry-change-tool", *self.arguments], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        if self.position:
            self.say("S " + self.position)

    def restart(self):
        self.stop()
        self.start()

    def stop(self):
        self.tool.stdin.close()
        assert self.tool.wait() == 0

    def say(self, line):
        self.tool.stdin.write(line + "\n")
        self.tool.stdin.flush()
        events = []
        while True:
            said = json.loads(self.tool.stdout.readline())
            assert "error" not in said, said["error"]
            if "ok" in said:
                return events
            if "event" in said:
                events.append(said["event"])
            if "position" in said:
                self.position = said["position"]
            if "question" in said:
                self.questions += 1
                self.pending = said["question"]

    def feed(self, message):
        self.pending = None
        events = self.say("M " + message)
        while self.pending:
            question, self.pending = self.pending, None
            for row in self.server.sql(question):
                events += self.say("A " + "\t".join(row))
            events += self.say(".")
        return events

    def fetch(self):
        rows = self.server.sql("SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('s', NULL, NULL,"
                               " 'proto_version', '1', 'publication_names', 'p', 'messages', 'true')")
        return [r[0] for r in rows]

    def events(self):
        self.messages = self.fetch()
        return [e for m in self.messages for e in self.feed(m)]


class Live:
    """The same of a running source: what came since the last time, up to a message of its own."""
    questions = -1  # nobody counts them

    def __init__(self, server, *arguments):
        self.server, self.seen, self.n = server, 0, 0
        self.source = PgSource(server, "postgres", slot="s", publication="p", tables=None,
                               transaction="group" if "group" in arguments else "off")
        self.source.start()

    def events(self):
        self.n += 1
        mark = f"up to here {self.n}"
        self.server.sql(f"SELECT pg_logical_emit_message(false, 'mark', '{mark}')")
        at = lambda: [i for i, e in enumerate(self.source.events) if e.type == "message" and e.data["payload"] == mark]
        self.source.wait(at, 30)
        new, self.seen = self.source.events[self.seen:at()[0]], at()[0] + 1
        return [{"type": e.type, "subject": e.subject.decode(), "key": e.key.decode(), "id": e.id, "data": e.data} for e in new]

    def restart(self):
        self.stop()
        self.source.start()

    def stop(self):
        self.source.stop()
        self.source.let_go()
        for e in self.source.events:
            check_data(e.type, e.data)


def fresh(server):
    server.sql("DROP PUBLICATION IF EXISTS p; DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
               "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots;"
               "CREATE PUBLICATION p FOR ALL TABLES; SELECT 1 FROM pg_create_logical_replication_slot('s', 'pgoutput')")


@pytest.fixture
def stream(server, request):
    """The pure half, for what the other cannot be made to do."""
    fresh(server)
    s = Stream(server, *getattr(request, "param", ()))
    yield s
    s.stop()


@pytest.fixture(params=[Stream, Live], ids=["pure", "live"])
def both(server, request):
    fresh(server)
    s = request.param(server)
    yield s
    try:
        s.stop()
    finally:
        if isinstance(s, Live) and s.source.process.poll() is None:
            s.source.kill()
            s.source.let_go()


# type, value as SQL, what JSON it becomes
VALUES = [
    ("bool", "true", True), ("bool", "false", False),
    ("int2", "-32768", -32768), ("int4", "2147483647", 2147483647),
    ("int8", "9223372036854775807", "9223372036854775807"),
    ("numeric", "12345678901234567890.1234567890", "12345678901234567890.1234567890"),
    ("numeric", "'NaN'", "NaN"), ("numeric(10,2)", "1.5", "1.50"),
    ("float4", "0.1", 0.1), ("float8", "1e300", 1e300), ("float8", "'NaN'", "NaN"), ("float8", "'-Infinity'", "-Infinity"),
    ("float8", "0.1::float8 + 0.2", 0.30000000000000004),
    ("text", "E'a\"\\\\\\n\\u00e9\\U0001F600'", 'a"\\\n\u00e9\U0001F600'), ("text", "''", ""), ("text", "NULL", None),
    ("varchar(5)", "'abc'", "abc"), ("char(5)", "'abc'", "abc  "), ("name", "'n'", "n"), ("\"char\"", "'x'", "x"),
    ("json", "'{\"a\": [1, null]}'", {"a": [1, None]}), ("jsonb", "'{\"b\":1.50}'", {"b": 1.50}), ("jsonb", "'\"x\"'", "x"),
    ("bytea", "'\\x00ff10'", "AP8Q"), ("bytea", "''", ""),
    ("timestamptz", "'2026-11-23 10:33:00.123456+01'", "2026-11-23T09:33:00.123456Z"),
    ("timestamptz", "'infinity'", "infinity"), ("timestamptz", "'0044-03-15 12:00:00+00 BC'", "0044-03-15 12:00:00+00 BC"),
    ("timestamptz", "'12345-01-01 00:00:00+00'", "12345-01-01 00:00:00+00"),
    ("timestamp", "'2026-11-23 09:33:00.5'", "2026-11-23 09:33:00.5"), ("timestamp", "'-infinity'", "-infinity"),
    ("date", "'2026-11-23'", "2026-11-23"), ("time", "'09:33:00'", "09:33:00"), ("timetz", "'09:33:00+02'", "09:33:00+02"),
    ("interval", "'1 year 2 days 03:04:05.5'", "P1Y2DT3H4M5.5S"), ("interval", "'0'", "PT0S"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("inet", "'10.0.0.1/8'", "10.0.0.1/8"), ("cidr", "'10.0.0.0/8'", "10.0.0.0/8"), ("macaddr", "'08:00:2b:01:02:03'", "08:00:2b:01:02:03"),
    ("int4range", "'[1,5)'", "[1,5)"), ("tstzrange", "'[2026-01-01 00:00+00,)'", '["2026-01-01 00:00:00+00",)'),
    ("int4multirange", "'{[1,2),[5,6)}'", "{[1,2),[5,6)}"),
    ("bit(3)", "B'101'", "101"), ("money", "'1.5'", None), ("xml", "'<a/>'", "<a/>"), ("oid", "5", "5"),
    ("point", "'(1,2)'", "(1,2)"), ("tsvector", "'a:1 b'", "'a':1 'b'"), ("pg_lsn", "'0/16B3748'", "0/16B3748"),
    ("int2vector", "'1 2 3'", "1 2 3"),
    ("int4[]", "'{1,NULL,3}'", [1, None, 3]), ("int4[]", "'{}'", []), ("int4[]", "'[2:3]={7,8}'", [7, 8]),
    ("int4[]", "'{{1,2},{3,4}}'", [[1, 2], [3, 4]]), ("int8[]", "'{9007199254740993}'", ["9007199254740993"]),
    ("text[]", "ARRAY['a,b', 'NULL', NULL, '', 'q\"\\', '{}']", ["a,b", "NULL", None, "", 'q"\\', "{}"]),
    ("jsonb[]", "ARRAY['{\"a\":\"x,\\\"y\"}'::jsonb]", [{"a": "x,\"y"}]), ("bool[]", "'{t,f}'", [True, False]),
    ("timestamptz[]", "ARRAY['2026-11-23 09:33:00+00'::timestamptz]", ["2026-11-23T09:33:00Z"]),
    ("bytea[]", "ARRAY['\\x00ff'::bytea]", ["AP8="]), ("float8[]", "'{NaN,1}'", ["NaN", 1]),
    ("numeric[]", "'{1.50}'", ["1.50"]), ("box[]", "'{(1,1),(0,0);(2,2),(1,1)}'", ["(1,1),(0,0)", "(2,2),(1,1)"]),
    ("mood", "'ok'", "ok"), ("mood[]", "'{ok,NULL,\"so so\"}'", ["ok", None, "so so"]),
    ("price", "12.30", "12.30"), ("small", "7", 7), ("smaller", "8", 8), ("small[]", "'{1,2}'", [1, 2]), ("ids", "'{1,2}'", [1, 2]),
    ("ids[]", "ARRAY['{1,2}', '{}']::ids[]", [[1, 2], []]),
    ("pair", "ROW(1, 'x y')", '(1,"x y")'), ("pair[]", "ARRAY[ROW(1, 'x')::pair]", ["(1,x)"]),
    ("doc", "'{\"a\":1}'", {"a": 1}), ("spans", "'[1,2)'", "[1,2)"), ("spans[]", "'{\"[1,2)\"}'", ["[1,2)"]),
    ("_odd", "'x'", "x"), ("_odd[]", "'{x}'", ["x"]), ("sales.mood", "'fine'", "fine"), ("hstore", "'a=>1'", '"a"=>"1"'),
]


def test_every_type_with_odd_role_settings(server, both):
    server.sql("CREATE EXTENSION hstore; CREATE SCHEMA IF NOT EXISTS sales; DROP TYPE IF EXISTS sales.mood;"
               "CREATE TYPE sales.mood AS ENUM ('fine');"
               "CREATE TYPE mood AS ENUM ('ok', 'so so'); CREATE DOMAIN price AS numeric(10,2); CREATE DOMAIN small AS int4;"
               "CREATE DOMAIN smaller AS small CHECK (value < 10); CREATE DOMAIN ids AS int4[]; CREATE TYPE pair AS (a int, b text);"
               "CREATE DOMAIN doc AS jsonb; CREATE TYPE spans AS RANGE (subtype = float8); CREATE TYPE _odd AS ENUM ('x');")
    columns = ", ".join(f"c{i} {t}" for i, (t, _, _) in enumerate(VALUES))
    server.sql(f"CREATE TABLE every (id int PRIMARY KEY, {columns})")
    # The database's own settings are as odd as they can be; those of the connection win.
    server.sql("ALTER ROLE postgres SET datestyle = 'SQL, DMY'; ALTER ROLE postgres SET timezone = 'Asia/Kathmandu';"
               "ALTER ROLE postgres SET bytea_output = 'escape'; ALTER ROLE postgres SET intervalstyle = 'sql_standard';"
               "ALTER ROLE postgres SET extra_float_digits = -5")
    try:
        both.restart()
        server.sql(f"INSERT INTO every VALUES (1, {', '.join(v for _, v, _ in VALUES)})")
        [event] = both.events()
    finally:
        server.sql("ALTER ROLE postgres RESET ALL")
    got = event["data"]["new"]
    wrong = [(t, v, want, got[f"c{i}"]) for i, (t, v, want) in enumerate(VALUES)
             if t != "money" and (got[f"c{i}"] != want or type(got[f"c{i}"]) is not type(want))]
    assert not wrong
    asked = both.questions
    server.sql("INSERT INTO every (id) VALUES (2)")
    [event] = both.events()
    assert both.questions == asked != 0 and set(event["data"]["new"].values()) == {2, None}


@pytest.mark.parametrize("stream", [("numbers",)], indirect=True)
def test_numbers_verbatim(server, stream):
    server.sql("CREATE TABLE n (id int8 PRIMARY KEY, a numeric, b int8[], c numeric);"
               "INSERT INTO n VALUES (9007199254740993, 0.10000000000000000001, '{-9007199254740993}', 'NaN')")
    stream.messages = stream.fetch()
    for m in stream.messages:
        stream.tool.stdin.write("M " + m + "\n")
    stream.tool.stdin.close()
    out = stream.tool.stdout.read()
    assert '"new":{"id":9007199254740993,"a":0.10000000000000000001,"b":[-9007199254740993],"c":"NaN"}' in out
    stream.start()


def test_insert_update_delete_truncate(server, both):
    server.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b int); INSERT INTO t VALUES (1, 'x', 2);"
               "BEGIN; UPDATE t SET b = 3; UPDATE t SET id = 5; DELETE FROM t; TRUNCATE t RESTART IDENTITY CASCADE; COMMIT")
    events = both.events()
    assert [e["type"] for e in events] == ["row.inserted", "row.updated", "row.updated", "row.deleted", "table.truncated"]
    assert all(e["subject"] == "public.t" for e in events)
    assert [e["key"] for e in events] == ["public.t:1", "public.t:1", "public.t:5", "public.t:5", "public.t"]
    d = [e["data"] for e in events]
    assert [x["op"] for x in d] == ["insert", "update", "update", "delete", "truncate"]
    assert d[0]["new"] == {"id": 1, "a": "x", "b": 2} and d[0]["key"] == {"id": 1} and "old" not in d[0]
    assert d[1]["new"] == {"id": 1, "a": "x", "b": 3} and "old" not in d[1] and "changed" not in d[1]
    assert d[2]["key"] == {"id": 5} and d[2]["old"] == {"id": 1}, "a K tuple: the other columns were not sent, they are not null"
    assert d[3]["key"] == {"id": 5} and d[3]["old"] == {"id": 5} and "new" not in d[3]
    assert d[4]["cascade"] and d[4]["restart_identity"]
    assert [x["tx"]["ordinal"] for x in d] == [1, 1, 2, 3, 4]
    assert len({x["tx"]["lsn"] for x in d}) == 2 and len({e["id"] for e in events}) == 5
    assert d[0]["schema"] == "public" and d[0]["table"] == "t"


BIG = "repeat('x', 20) || string_agg(md5(i::text), '') FROM generate_series(1, 3000) i"


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL", "USING INDEX other", "NOTHING"])
def test_toast_under_each_identity(server, both, identity):
    server.sql(f"""CREATE TABLE t (id int PRIMARY KEY, code int NOT NULL, big text, b int);
        CREATE UNIQUE INDEX other ON t (code); ALTER TABLE t ALTER big SET STORAGE EXTERNAL; ALTER TABLE t REPLICA IDENTITY {identity};
        INSERT INTO t SELECT 1, 10, {BIG}""")
    [inserted] = both.events()
    size = len(inserted["data"]["new"]["big"])
    assert size > 90000
    if identity == "NOTHING":
        assert inserted["data"]["key"] == {"id": 1}, "the catalogue knows the primary key"
        assert "replica identity" in subprocess.run(
            ["psql", "-X", server.conninfo(), "-c", "UPDATE t SET b = 1"], capture_output=True, text=True).stderr
        return
    key = {"code": 10} if "other" in identity else {"id": 1}
    assert inserted["data"]["key"] == key
    server.sql("UPDATE t SET b = 1; UPDATE t SET big = 'short'; DELETE FROM t")
    untouched, short, deleted = [e["data"] for e in both.events()]
    if identity == "FULL":
        assert len(untouched["new"]["big"]) == size and untouched["changed"] == ["b"] and "unchanged" not in untouched
        assert len(untouched["old"]["big"]) == size and untouched["key"] == {"id": 1}
        assert short["changed"] == ["big"] and len(short["old"]["big"]) == size
        assert deleted["old"] == {"id": 1, "code": 10, "big": "short", "b": 1} and deleted["key"] == {"id": 1}
    else:
        assert untouched["unchanged"] == ["big"] and untouched["new"] == {"id": 1, "code": 10, "b": 1}
        assert "old" not in untouched and "changed" not in untouched
        assert short["new"]["big"] == "short" and "unchanged" not in short
        assert deleted["old"] == key and deleted["key"] == key


def test_ddl_inside_a_transaction(server, both):
    server.sql("CREATE TABLE t (id int PRIMARY KEY, a varchar(10), gone int); INSERT INTO t VALUES (1, 'x', 0)")
    both.events()
    server.sql("BEGIN; INSERT INTO t VALUES (2, 'y', 0); ALTER TABLE t ADD note text DEFAULT 'n'; ALTER TABLE t DROP gone;"
               "ALTER TABLE t ALTER a TYPE varchar(20); INSERT INTO t VALUES (3, 'z', 'm'); COMMIT")
    events = both.events()
    assert [e["type"] for e in events] == ["row.inserted", "schema.changed", "row.inserted"]
    d = events[1]["data"]
    assert d["added"] == ["note"] and d["removed"] == ["gone"]
    assert d["retyped"] == [{"name": "a", "before": "varchar(10)", "after": "varchar(20)"}]
    assert [c["name"] for c in d["before"]["columns"]] == ["id", "a", "gone"]
    assert d["after"]["columns"][2] == {"name": "note", "type": "text", "identity": False}
    assert events[0]["data"]["new"]["gone"] == 0 and events[2]["data"]["new"] == {"id": 3, "a": "z", "note": "m"}
    assert events[1]["subject"] == "public.t" and len({e["id"] for e in events}) == 3
    server.sql("ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (4, 'x', 'm')")
    renamed, row = both.events()
    assert renamed["type"] == "schema.changed" and renamed["data"]["before"]["table"] == "t" and row["subject"] == "public.u"


@pytest.mark.parametrize("root", [True, False])
def test_partitions(server, both, root):
    server.sql(f"ALTER PUBLICATION p SET (publish_via_partition_root = {root});"
               "CREATE TABLE t (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);"
               "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');"
               "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');"
               "INSERT INTO t VALUES (1, '2026-01-05'), (2, '2026-02-05'); UPDATE t SET day = '2026-02-07' WHERE id = 1; TRUNCATE t")
    events = both.events()
    names = ["public.t"] * 4 if root else ["public.t1", "public.t2", "public.t1", "public.t2"]
    assert [e["subject"] for e in events[:4]] == names
    assert [e["type"] for e in events[:4]] == ["row.inserted"] * 2 + ["row.deleted", "row.inserted"]
    assert events[0]["key"] == names[0] + ":1,2026-01-05"
    assert {e["type"] for e in events[4:]} == {"table.truncated"}


def test_copy_savepoints_two_phase(server, both):
    server.sql("CREATE TABLE t (id int PRIMARY KEY, a text)")
    server.sql("COPY t FROM stdin;\n1\tx\n2\t\\N\n3\tz\n\\.\n")
    server.sql("BEGIN; INSERT INTO t VALUES (10); SAVEPOINT s; INSERT INTO t VALUES (11); ROLLBACK TO s; INSERT INTO t VALUES (12);"
               "SAVEPOINT s2; INSERT INTO t VALUES (13); RELEASE s2; COMMIT; BEGIN; INSERT INTO t VALUES (99); ROLLBACK;"
               "BEGIN; INSERT INTO t VALUES (20); PREPARE TRANSACTION 'two'; INSERT INTO t VALUES (30)")
    events = both.events()
    assert [e["data"]["key"]["id"] for e in events] == [1, 2, 3, 10, 12, 13, 30], "only what was committed"
    assert [e["data"]["tx"]["ordinal"] for e in events] == [1, 2, 3, 1, 2, 3, 1]
    assert events[1]["data"]["new"]["a"] is None
    server.sql("COMMIT PREPARED 'two'")
    assert [e["data"]["key"]["id"] for e in both.events()] == [20]


def test_messages(server, both):
    server.sql("""SELECT pg_logical_emit_message(true, 'order.paid', '{"id": 1}');
        SELECT pg_logical_emit_message(false, 'note', 'plain "text"'); SELECT pg_logical_emit_message(true, 'n', '12');
        SELECT pg_logical_emit_message(true, 'raw', '\\xff00'::bytea);
        BEGIN; SELECT pg_logical_emit_message(true, 'undone', 'x'); SELECT pg_logical_emit_message(false, 'stays', 'x'); ROLLBACK;
        SELECT pg_logical_emit_message(true, 'end', '')""")
    events = both.events()
    assert [(e["type"], e["subject"]) for e in events] == [("message", s) for s in ("order.paid", "note", "n", "raw", "stays", "end")]
    assert [(e["data"]["encoding"], e["data"]["payload"]) for e in events] == [
        ("json", {"id": 1}), ("text", 'plain "text"'), ("text", "12"), ("base64", "/wA="), ("text", "x"), ("text", "")]
    assert [e["data"]["transactional"] for e in events] == [True, False, True, True, False, True]
    assert events[0]["data"]["tx"]["ordinal"] == 1 and set(events[1]["data"]["tx"]) == {"lsn"}
    assert len({e["id"] for e in events}) == 6


@pytest.mark.skipif(major() < 15, reason="the server has none before 15")
def test_row_filter_and_column_list(server, both):
    server.sql("CREATE TABLE t (id int PRIMARY KEY, a int, secret text); DROP PUBLICATION p;"
               "CREATE PUBLICATION p FOR TABLE t (id, a) WHERE (id > 10); INSERT INTO t VALUES (1, 1, 's'), (11, 1, 's');"
               "UPDATE t SET id = 12 WHERE id = 1; UPDATE t SET id = 2 WHERE id = 11")
    events = both.events()
    assert [e["type"] for e in events] == ["row.inserted", "row.inserted", "row.deleted"]
    assert events[0]["data"]["new"] == {"id": 11, "a": 1}


@pytest.mark.parametrize("stream", [("group", "small")], indirect=True)
def test_group(server, stream):
    server.sql("CREATE TABLE t (id int PRIMARY KEY, a text); BEGIN; INSERT INTO t VALUES (1, 'x'); UPDATE t SET a = 'y'; COMMIT;"
               "INSERT INTO t SELECT i, repeat('z', 50) FROM generate_series(10, 2509) i; BEGIN; INSERT INTO t VALUES (2); ROLLBACK")
    events = stream.events()
    assert {e["type"] for e in events} == {"transaction"}
    first, parts = events[0]["data"], [e["data"] for e in events[1:]]
    assert [c["op"] for c in first["changes"]] == ["insert", "update"] and first["rows"] == 2
    assert first["changes"][1]["new"] == {"id": 1, "a": "y"} and first["changes"][1]["ordinal"] == 2
    assert (first["tx"]["part"], first["tx"]["last"]) == (1, True)
    assert [p["tx"]["part"] for p in parts] == list(range(1, len(parts) + 1)) and len(parts) > 3
    assert [p["tx"]["last"] for p in parts] == [False] * (len(parts) - 1) + [True]
    assert [c["new"]["id"] for p in parts for c in p["changes"]] == list(range(10, 2510))
    assert all(p["rows"] == len(p["changes"]) and p["tx"]["ordinal"] == p["changes"][0]["ordinal"] for p in parts)


@pytest.mark.parametrize("stream", [(), ("group", "small")], indirect=True, ids=["rows", "group"])
def test_resume_anywhere(server, stream):
    """Stopped after any message, and begun again from the position with everything sent once more."""
    server.sql("CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE u (id int PRIMARY KEY);"
               "INSERT INTO t VALUES (1, 'x'); BEGIN; INSERT INTO t SELECT i, repeat('y', 3000) FROM generate_series(2, 30) i; TRUNCATE t, u;"
               "INSERT INTO u VALUES (1); COMMIT; SELECT pg_logical_emit_message(false, 'm', 'x'); INSERT INTO t VALUES (50)")
    whole = stream.events()
    messages = stream.messages
    stream.position = None
    for cut in range(len(messages)):
        stream.restart()
        before = [e for m in messages[:cut] for e in stream.feed(m)]
        stream.restart()
        after = [e for m in messages for e in stream.feed(m)]
        assert [e["id"] for e in before + after] == [e["id"] for e in whole], f"stopped after message {cut}"
        assert [e["data"] for e in before + after] == [e["data"] for e in whole]
        stream.position = None


@pytest.mark.parametrize("stream", [("small",)], indirect=True)
def test_too_large_a_row_is_told_by_its_key(server, stream):
    server.sql(f"CREATE TABLE t (id int PRIMARY KEY, big text); INSERT INTO t SELECT 1, {BIG}; INSERT INTO t VALUES (2, 'x')")
    large, small = stream.events()
    assert large["data"]["oversized"] and large["data"]["key"] == {"id": 1} and large["data"]["bytes"] > 90000
    assert len(large["data"]["sha256"]) == 64 and "new" not in large["data"] and large["data"]["tx"]["ordinal"] == 1
    assert small["data"]["new"]["big"] == "x"
