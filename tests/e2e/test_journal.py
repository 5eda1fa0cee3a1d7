# SPDX-License-Identifier: MIT
"""The journal source: the real process reading journals that a real systemd-journald writes, and the
whole daemon. What it takes and leaves out is compared with `journalctl -o json`."""
import base64
import os
import random

import pytest
from harness import BUILD
from journald import Journald, forge, journalctl_json
from source_hub import SourceHub

PROGRAM = str(BUILD / "belfry-source-journal")
DEFAULTS = {"boot": "all", "since": "now", "exclude_self": True, "max_field": 65536}


def hub(**options):
    return SourceHub(PROGRAM, options, name="errors", defaults=DEFAULTS)


@pytest.fixture
def journald(request):
    one = Journald(f"t{os.getpid()}")
    yield one
    one.end()


def messages(h):
    return [e.data.get("message") for e in h.events if e.type == "journal.entry"]


def test_follows(journald):
    journald.send(MESSAGE="before")
    journald.ctl("--sync")
    with hub(namespace=journald.name) as h:
        journald.send(MESSAGE="first", PRIORITY=3, SYSLOG_IDENTIFIER="test", COLOUR="red")
        h.wait_events(1)
        event = h.events[0]
        assert event.type == "journal.entry" and event.subject == b"test"
        assert event.data["message"] == "first" and event.data["priority"] == 3
        assert event.data["identifier"] == "test" and event.data["pid"] == os.getpid() and event.data["uid"] == 0
        assert event.data["fields"]["COLOUR"] == "red" and event.data["transport"] == "journal"
        assert event.data["cursor"].encode() == event.id
        for i in range(100):
            journald.send(MESSAGE=f"m{i}")
        h.wait_events(101)
        assert messages(h) == ["first", *(f"m{i}" for i in range(100))]


# ---- what is taken, against journalctl

UNITS = ["a.service", "b.service", "app@1.service", "app@2.service", "c.socket"]
COREDUMP = "fc2e22bc6ee647b6b90729ab34a250b1"


def mixed_entries(n, seed=4):
    """Entries of all the kinds that -u, -p, -t and matches tell apart."""
    r = random.Random(seed)
    for i in range(n):
        e = {"MESSAGE": f"m{i}", "NUMBER": i, "_UID": r.choice([0, 0, 1000]), "_PID": r.choice([1, 1, 400, 500]),
             "SYSLOG_IDENTIFIER": r.choice(["cron", "sshd", "kernel"]), "COLOUR": r.choice(["red", "green", "blue"])}
        if r.random() < 0.9:
            e["PRIORITY"] = r.randint(0, 7)
        if r.random() < 0.7:
            e["_SYSTEMD_UNIT"] = r.choice(UNITS)
            e["_SYSTEMD_SLICE"] = r.choice(["system.slice", "system-app.slice"])
        kind = r.random()
        if kind < 0.2:
            e["UNIT"] = r.choice(UNITS)
        elif kind < 0.4:
            e["OBJECT_SYSTEMD_UNIT"] = r.choice(UNITS)
        elif kind < 0.6:
            e["COREDUMP_UNIT"] = r.choice(UNITS)
            e["MESSAGE_ID"] = r.choice([COREDUMP, "0" * 32])
        e["_BOOT_ID"] = r.choice(["1" * 32, "2" * 32])
        yield e


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    where = tmp_path_factory.mktemp("mixed")
    for k in range(3):  # several files, interleaved in time
        forge(where / f"f{k}.journal", [{**e, "__REALTIME_TIMESTAMP": 1700000000000000 + (3 * i + k) * 1000}
                                        for i, e in enumerate(mixed_entries(400, k))])
    return where


def taken(where, **options):
    with hub(directory=str(where), since=options.pop("since", "beginning"), **options) as h:
        h.wait(lambda: h.stats.get("at_end"))
        return h.events


SELECTIONS = [
    ({}, []),
    ({"priority": "err"}, ["-p", "err"]),
    ({"priority": "5"}, ["-p", "5"]),
    ({"priority": "warning..emerg"}, ["-p", "warning..emerg"]),
    ({"priority": "info..crit"}, ["-p", "info..crit"]),
    ({"units": ["a"]}, ["-u", "a"]),
    ({"units": ["a.service", "c.socket"]}, ["-u", "a.service", "-u", "c.socket"]),
    ({"units": ["app@*.service"]}, ["-u", "app@*.service"]),
    ({"units": ["system-app.slice"]}, ["-u", "system-app.slice"]),
    ({"units": ["*"]}, ["-u", "*"]),
    ({"units": ["nothing", "?.s*"]}, ["-u", "nothing", "-u", "?.s*"]),
    ({"identifiers": ["cron", "sshd"]}, ["-t", "cron", "-t", "sshd"]),
    ({"match": ["COLOUR=red"]}, ["COLOUR=red"]),
    ({"match": ["COLOUR=red", "COLOUR=blue", "_UID=0"]}, ["COLOUR=red", "COLOUR=blue", "_UID=0"]),
    ({"match": ["COLOUR=red", "_UID=0", "+", "PRIORITY=3", "_PID=1"]}, ["COLOUR=red", "_UID=0", "+", "PRIORITY=3", "_PID=1"]),
    ({"boot": "2" * 32}, ["-b", "2" * 32]),
    ({"units": ["b"], "priority": "err", "match": ["COLOUR=green", "+", "_UID=1000"], "identifiers": ["kernel"], "boot": "1" * 32},
     ["-u", "b", "-p", "err", "-t", "kernel", "-b", "1" * 32, "COLOUR=green", "+", "_UID=1000"]),
]


@pytest.mark.parametrize("options,arguments", SELECTIONS, ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_takes_what_journalctl_shows(mixed, options, arguments):
    theirs = journalctl_json(mixed, *arguments)
    ours = taken(mixed, **options)
    assert len(theirs) == 1200 if not options else theirs
    assert [e.data["cursor"] for e in ours] == [t["__CURSOR"] for t in theirs]


def generated_selections(n):
    r = random.Random(7)
    terms = ["COLOUR=red", "COLOUR=blue", "_UID=0", "_UID=1000", "PRIORITY=3", "PRIORITY=4", "_PID=1", "_SYSTEMD_UNIT=a.service",
             "SYSLOG_IDENTIFIER=cron", "UNIT=b.service"]
    for _ in range(n):
        match = []
        for _ in range(r.randint(0, 3)):
            match += ([*match, "+"] if match and r.random() < 0.5 else match)[len(match):]
            match += r.sample(terms, r.randint(1, 3))
        options, arguments = {}, []
        if match:
            options["match"] = match
            arguments += match
        if r.random() < 0.4:
            options["priority"] = r.choice(["err", "debug", "alert..warning", "6..2"])
            arguments += ["-p", options["priority"]]
        if r.random() < 0.4:
            options["units"] = r.sample([*UNITS, "app@*", "system.slice"], r.randint(1, 2))
            arguments += [w for u in options["units"] for w in ("-u", u)]
        if r.random() < 0.3:
            options["identifiers"] = [r.choice(["cron", "sshd", "nobody"])]
            arguments += ["-t", options["identifiers"][0]]
        yield options, arguments


def test_generated_selections(mixed):
    some = 0
    for options, arguments in generated_selections(300 if os.environ.get("BELFRY_LONG") else 12):
        theirs = [t["__CURSOR"] for t in journalctl_json(mixed, *arguments)]
        assert [e.data["cursor"] for e in taken(mixed, **options)] == theirs, (options, arguments)
        some += 0 < len(theirs) < 1200
    assert some > 5


# ---- what is told

def forged(tmp_path, *entries, **options):
    forge(tmp_path / "j/f.journal", entries)
    return taken(tmp_path / "j", **options)


def test_fields(tmp_path):
    entry = [("MESSAGE", "two\nlines ✓"), ("PRIORITY", 4), ("_PID", 7), ("_UID", 33), ("SYSLOG_IDENTIFIER", "x"), ("_HOSTNAME", "web1"),
             ("_SYSTEMD_UNIT", "x.service"), ("TAG", "a"), ("TAG", "b"), ("OTHER", "o"), ("TAG", "c"), ("RAW", b"\x00\xff\x01"),
             ("_SOURCE_REALTIME_TIMESTAMP", 1699999999000000)]
    event, = forged(tmp_path, entry)
    assert {k: v for k, v in event.data.items() if k not in ("cursor", "fields")} == {
        "message": "two\nlines ✓", "priority": 4, "unit": "x.service", "identifier": "x", "pid": 7, "uid": 33, "hostname": "web1",
        "boot": "1" * 32, "binary": ["RAW"]}
    fields = event.data["fields"]
    assert sorted(fields.pop("TAG")) == ["a", "b", "c"] and base64.b64decode(fields.pop("RAW")) == b"\x00\xff\x01"
    assert fields == {"_SYSTEMD_UNIT": "x.service", "OTHER": "o", "_SOURCE_REALTIME_TIMESTAMP": "1699999999000000"}
    assert event.subject == b"x.service" and event.time == 1699999999000000


def test_chosen_fields(tmp_path):
    entry = {"MESSAGE": "m", "COREDUMP_EXE": "/bin/x", "COREDUMP_PID": 3, "OTHER": "o", "_PID": 1}
    event, = forged(tmp_path, entry, fields=["COREDUMP_*", "_PID", "MESSAGE"])
    assert event.data["fields"] == {"MESSAGE": "m", "COREDUMP_EXE": "/bin/x", "COREDUMP_PID": "3", "_PID": "1"}
    assert event.data["message"] == "m"


def test_long_values_are_cut(tmp_path):
    event, = forged(tmp_path, {"MESSAGE": "ä" * 3000, "LONG": "x" * 200000, "RAW": b"\xff" * 5000}, max_field=2049)
    assert event.data["message"] == "ä" * 1024 + "…" and event.data["fields"]["LONG"] == "x" * 2049 + "…"
    assert base64.b64decode(event.data["fields"]["RAW"]) == b"\xff" * 2049
    assert sorted(event.data["cut"]) == ["LONG", "MESSAGE", "RAW"]


def test_own_entries_are_left_out(tmp_path):
    entries = [{"MESSAGE": "1", "_COMM": "belfryd"}, {"MESSAGE": "2", "_COMM": "belfry-source-j"}, {"MESSAGE": "3", "_COMM": "sshd"}]
    assert [e.data["message"] for e in forged(tmp_path, *entries)] == ["3"]
    everything = taken(tmp_path / "j", exclude_self=False)
    assert len(everything) == 3


def test_since(tmp_path):
    forge(tmp_path / "f.journal", [{"MESSAGE": str(i)} for i in range(10)])
    for since, n in [("beginning", 10), ("2023-11-14T22:13:20.005Z", 5), ("now", 0), ("-1h", 0), ("yesterday", 0)]:
        assert len(taken(tmp_path, since=since)) == n, since


def test_restart_goes_on(journald):
    with hub(namespace=journald.name) as h:
        journald.send(MESSAGE="1")
        h.wait_events(1)
        h.stop()
        journald.send(MESSAGE="2")
        h.start()
        journald.send(MESSAGE="3")
        h.wait_events(3)
        assert messages(h) == ["1", "2", "3"]
