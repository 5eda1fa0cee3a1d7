# SPDX-License-Identifier: MIT
"""The lines source: the real process under the hub's side of the link, over appends, rotations,
kills and bad input; then once through the whole daemon."""
import base64
import contextlib
import gzip
import os
import random
import shutil
import subprocess
import time

import pytest
from harness import BUILD, wait_for
from source_hub import SourceHub

PROGRAM = str(BUILD / "belfry-source-lines")
DEFAULTS = {"start": "end", "multiline_wait": 2_000_000, "parse": "none", "max_line": 65536, "poll": 10_000_000}
LONG = bool(os.environ.get("BELFRY_LONG"))


def lines(paths, **options):
    return SourceHub(PROGRAM, {"paths": [str(p) for p in paths], **options}, name="log", defaults=DEFAULTS)


def append(path, *texts):
    with open(path, "ab") as f:
        f.write(b"".join(t if isinstance(t, bytes) else t.encode() + b"\n" for t in texts))


def told(h):
    return [e.data["line"] for e in h.events if e.type == "line.appended"]


def gaps(h):
    return [e for e in h.events if e.type == "source.gap"]


def wait_told(h, n, timeout=20):
    h.wait(lambda: len(told(h)) >= n, timeout)


def at_rest(h, path):
    """All that was appended before is told: a last line came through."""
    mark = f"mark {time.monotonic_ns()}"
    append(path, mark)
    h.wait(lambda: mark in told(h))
    h.events = [e for e in h.events if e.data.get("line") != mark]


def test_appended_lines(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    with lines([log]) as h:
        append(log, "one", "two")
        wait_told(h, 2)
        append(log, b"half")
        append(log, b" and half\r\n", "")
        wait_told(h, 4)
        first = h.events[0]
        assert told(h) == ["one", "two", "half and half", ""]
        assert first.data == {"path": str(log), "name": "a.log", "line": "one", "offset": 4, "bytes": 3, "lines": 1}
        assert first.subject.decode() == str(log) and h.events[1].data["offset"] == 8
        assert len({e.id for e in h.events}) == 4
        h.wait(lambda: h.stats.get("events") == 4)
        assert h.stats["files"] == 1 and h.stats["behind_bytes"] == 0 and h.stats["watches"] == [str(log)]


def test_start_at_the_beginning(tmp_path):
    append(tmp_path / "a.log", "one", "two", b"thr")
    with lines([tmp_path / "*.log"], start="beginning") as h:
        wait_told(h, 2)
        append(tmp_path / "a.log", b"ee\n")
        wait_told(h, 3)
        assert told(h) == ["one", "two", "three"]


def test_the_line_under_way_at_the_start_comes_whole(tmp_path):
    append(tmp_path / "a.log", "one", b"tw")
    with lines([tmp_path / "a.log"]) as h:
        append(tmp_path / "a.log", b"o\n")
        wait_told(h, 1)
        assert told(h) == ["two"]


def test_files_that_appear_are_read_from_their_beginning(tmp_path):
    d = tmp_path / "logs" / "app"
    with lines([tmp_path / "logs/*/*.log"], exclude=["debug*", str(tmp_path / "logs/app/no/*")]) as h:
        d.mkdir(parents=True)
        append(d / "a.log", "one")
        wait_told(h, 1)
        append(d / "b.log", "two")
        append(d / "debug.log", "never")
        append(d / "c.log.gz", "never")
        (d / "d.log").mkdir()
        wait_told(h, 2)
        at_rest(h, d / "b.log")
        assert told(h) == ["one", "two"]


def test_two_names_of_one_file(tmp_path):
    append(tmp_path / "a.log", "old")
    os.link(tmp_path / "a.log", tmp_path / "b.log")
    os.symlink("a.log", tmp_path / "c.log")
    with lines([tmp_path / "*.log"]) as h:
        append(tmp_path / "b.log", "one")
        wait_told(h, 1)
        at_rest(h, tmp_path / "a.log")
        assert told(h) == ["one"]


# ---- rotation

def test_rotation_by_rename(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    with lines([log]) as h:
        for i in range(20):
            append(log, f"{i} before")
            for n in range(i, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{log}.{n}", f"{log}.{n + 1}")
            os.rename(log, f"{log}.1")
            append(f"{log}.1", f"{i} after")  # the writer has it open still
            append(log, f"{i} new")
        wait_told(h, 60)
        at_rest(h, log)
        assert sorted(told(h)) == sorted(f"{i} {w}" for i in range(20) for w in ("before", "after", "new"))
        assert not gaps(h) and len({e.id for e in h.events}) == len(h.events)


def test_rotated_file_that_is_deleted_with_lines_unread(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    with lines([log]) as h:
        append(log, *[f"{i}" for i in range(5000)])
        os.rename(log, f"{log}.1")
        os.unlink(f"{log}.1")
        append(log, "new")
        wait_told(h, 5001)
        assert sorted(told(h)) == sorted([*map(str, range(5000)), "new"]) and not gaps(h)


def test_rotation_by_rename_while_down(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    h = lines([log]).start()
    append(log, "one")
    wait_told(h, 1)
    h.stop()
    append(log, "two")
    os.rename(log, tmp_path / "a.log-20261129")
    append(log, "three")
    h.start()
    wait_told(h, 3)
    at_rest(h, log)
    assert sorted(told(h)) == ["one", "three", "two"] and not gaps(h)
    assert next(e for e in h.events if e.data["line"] == "two").data["path"] == str(tmp_path / "a.log-20261129")
    h.stop()


@pytest.mark.parametrize("pattern", ["a.log", "a.log*"])
def test_copytruncate(tmp_path, pattern):
    log = tmp_path / "a.log"
    append(log, "old")
    with lines([tmp_path / pattern]) as h:
        append(log, "first")
        wait_told(h, 1)
        for i in range(10):
            append(log, *[f"{i} {j}" for j in range(1000)])
            shutil.copy(log, f"{log}.{i + 1}")
            os.truncate(log, 0)
            append(log, f"{i} new")
        wait_told(h, 10011)
        at_rest(h, log)
        assert sorted(told(h)) == sorted(["first", *(f"{i} {j}" for i in range(10) for j in [*range(1000), "new"])])
        assert not gaps(h) and len({e.id for e in h.events}) == len(h.events)
        h.wait(lambda: h.stats.get("truncated", 0) >= 1)


@pytest.mark.parametrize("pattern", ["a.log", "a.log*"])
def test_copytruncate_while_down(tmp_path, pattern):
    log = tmp_path / "a.log"
    append(log, "old")
    h = lines([tmp_path / pattern]).start()
    append(log, "one")
    wait_told(h, 1)
    h.stop()
    append(log, "two")
    shutil.copy(log, f"{log}.1")
    os.truncate(log, 0)
    append(log, "three", "a longer text than what was there before it was truncated")
    h.start()
    wait_told(h, 4)
    at_rest(h, log)
    assert told(h)[:3] == ["one", "two", "three"] and len(told(h)) == 4 and not gaps(h)
    h.stop()


def test_truncated_without_a_copy_while_down_is_a_gap(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    h = lines([log]).start()
    append(log, "one")
    wait_told(h, 1)
    h.stop()
    os.truncate(log, 0)
    append(log, "x")
    h.start()
    h.wait(lambda: gaps(h) and len(told(h)) == 2)
    (gap,) = gaps(h)
    assert gap.data["reason"] == "truncated" and gap.data["from"] == "8" and str(log) in gap.data["detail"]
    assert told(h) == ["one", "x"]
    h.kill()
    h.start()
    at_rest(h, log)
    assert len(gaps(h)) == 1
    h.stop()


def test_truncated_when_all_was_read_is_no_gap(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    with lines([log]) as h:
        append(log, "one")
        wait_told(h, 1)
        os.truncate(log, 0)
        h.wait(lambda: h.stats.get("truncated") == 1)
        append(log, "two")
        wait_told(h, 2)
        assert told(h) == ["one", "two"] and not gaps(h)
        assert len({e.id for e in h.events}) == 2


def test_a_file_gone_while_down_is_a_gap(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    h = lines([log]).start()
    append(log, "one")
    wait_told(h, 1)
    h.stop()
    append(log, "two")
    with gzip.open(f"{log}.1.gz", "wb") as z:
        z.write(log.read_bytes())
    os.unlink(log)
    append(log, "three")
    h.start()
    h.wait(lambda: gaps(h) and len(told(h)) == 2)
    assert gaps(h)[0].data["reason"] == "file-gone" and told(h) == ["one", "three"]
    assert len(h.state) == 1
    h.stop()


def test_a_path_taken_out_of_the_options(tmp_path):
    append(tmp_path / "a.log", "old")
    append(tmp_path / "b.log", "old")
    h = lines([tmp_path / "a.log", tmp_path / "b.log"]).start()
    append(tmp_path / "a.log", "one")
    wait_told(h, 1)
    h.stop()
    append(tmp_path / "a.log", "nobody asks for it any more")
    append(tmp_path / "b.log", "two")
    append(tmp_path / "c.log", "there from before")
    h.start(paths=[str(tmp_path / "b.log"), str(tmp_path / "c.log")])
    wait_told(h, 2)
    append(tmp_path / "c.log", "three")
    wait_told(h, 3)
    assert told(h) == ["one", "two", "three"] and not gaps(h) and len(h.state) == 2
    h.stop()


# ---- what a line is

def test_lines_that_belong_together(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    with lines([log], multiline=r"^\d{4}-", multiline_wait=300_000) as h:
        append(log, "2026-11-29 boom", "  at a", "  at b", "2026-11-29 next")
        wait_told(h, 1)
        assert told(h) == ["2026-11-29 boom\n  at a\n  at b"] and h.events[0].data["lines"] == 3
        wait_told(h, 2)  # after the wait
        assert told(h)[1] == "2026-11-29 next"
        append(log, "2026 no start", b"2026-11-29 wi")
        wait_told(h, 3)
        append(log, b"th a half\n", "  more")
        wait_told(h, 4)
        assert told(h)[2:] == ["2026 no start", "2026-11-29 with a half\n  more"]


def cpu_seconds(h):
    with open(f"/proc/{h.process.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_waiting_costs_nothing(tmp_path):
    """With a line that is not over, with one that might go on, and with a rotated file."""
    log = tmp_path / "a.log"
    append(log, "old")
    with lines([log], multiline="^S", multiline_wait=100_000) as h:
        append(log, "S1", b"half")
        wait_told(h, 1)
        os.rename(log, f"{log}.1")
        append(log, "S2", b"half")
        wait_told(h, 2)
        before, end = cpu_seconds(h), time.monotonic() + 1.5
        while time.monotonic() < end:
            h.pump(0.1)
        assert cpu_seconds(h) - before < 0.15


def test_lines_that_belong_together_over_a_kill(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    h = lines([log], multiline="^S", multiline_wait=3_600_000_000).start()
    append(log, "S1", " a")
    h.kill()
    append(log, " b", "S2")
    h.start()
    wait_told(h, 1)
    assert told(h) == ["S1\n a\n b"]
    h.stop()


@pytest.mark.parametrize("parse,line,fields", [
    ("json", '{"level":"error","n":1.50,"deep":{"a":[1]}}', {"level": "error", "n": 1.5, "deep": {"a": [1]}}),
    ("json", "not json", None), ("json", "[1]", None), ("json", '{"a":1', None),
    ("json", "[" * 100 + "]" * 100, None), ("json", '{"a":' + "[" * 70 + "]" * 70 + "}", None),
    ("logfmt", r'level=info msg="disk \"full\"" n=007 flag empty= last="a\u00e4"',
     {"level": "info", "msg": 'disk "full"', "n": "007", "flag": True, "empty": "", "last": "aä"}),
    ("logfmt", "no pairs here", None), ("logfmt", 'a="never ends', None), ("logfmt", "=x", None),
    (r"/^(?<ip>\S+) (?<status>\d+)( (?<rest>.*))?$/", "10.0.0.1 404", {"ip": "10.0.0.1", "status": "404"}),
    (r"/^(?<ip>\S+) (?<status>\d+)$/", "10.0.0.1 x", None), ("/(?<word>ERROR)/i", "an error", {"word": "error"}),
])
def test_parse(tmp_path, parse, line, fields):
    log = tmp_path / "a.log"
    append(log, "old")
    with lines([log], parse=parse) as h:
        append(log, line)
        wait_told(h, 1)
        assert h.events[0].data["line"] == line
        assert h.events[0].data.get("fields") == fields
        h.wait(lambda: h.stats.get("unparsed") == (fields is None))


def test_long_lines_are_cut_and_nothing_else_suffers(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    with lines([log], max_line=1024) as h:
        append(log, "a" * 1024, "b" * 1025, "c" * 3_000_000, "ä" * 600, "end")
        wait_told(h, 5)
        assert told(h) == ["a" * 1024, "b" * 1024, "c" * 1024, "ä" * 512, "end"]
        assert [e.data.get("cut", False) for e in h.events] == [False, True, True, True, False]
        append(log, b"d" * 5000)
        wait_told(h, 6)
        h.kill()
        h.start()
        append(log, b"d" * 5000 + b"\n", "after")
        wait_told(h, 7)
        assert told(h)[5:] == ["d" * 1024, "after"]
        h.wait(lambda: h.stats.get("events") == 1)


def test_bytes_that_are_no_text(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    bad = [b"\xff\xfe\x00abc", b"\xc3(", b"\x1b[31mred\x1b[0m\x00", bytes(range(1, 256)).replace(b"\n", b"")]
    with lines([log], parse="logfmt") as h:
        append(log, *[b + b"\n" for b in bad])
        wait_told(h, len(bad))
        for e, raw in zip(h.events, bad):
            got = base64.b64decode(e.data["line_b64"]) if "line_b64" in e.data else e.data["line"].encode()
            assert got == raw and e.data["bytes"] == len(raw)


# ---- trouble

def test_what_cannot_be_followed_is_named(tmp_path):
    os.chmod(tmp_path.parent, 0o755)
    os.chmod(tmp_path, 0o755)
    secret, d = tmp_path / "secret.log", tmp_path / "dir"
    append(secret, "x")
    os.chmod(secret, 0o600)
    d.mkdir()
    h = SourceHub(PROGRAM, {"paths": [str(secret), str(d), str(tmp_path / "later.log")]}, name="log", defaults=DEFAULTS,
                  user="nobody")
    for parent in [tmp_path, *tmp_path.parents]:
        if os.stat(parent).st_mode & 0o001 == 0:
            os.chmod(parent, os.stat(parent).st_mode | 0o011)
    h.start()
    h.wait(lambda: h.degraded)
    assert f"{secret} cannot be read: setfacl -m u:nobody:r '{secret}'" in h.degraded
    assert f"{d} is a directory: name the files in it, as {d}/*.log" in h.degraded
    assert "later.log" not in h.degraded
    os.rmdir(d)
    os.chmod(secret, 0o644)
    h.wait(lambda: not h.degraded)
    append(secret, "y")
    h.wait(lambda: told(h)[-1:] == ["y"])
    h.stop()


def test_back_pressure_loses_nothing(tmp_path):
    log = tmp_path / "a.log"
    append(log, "old")
    with lines([log]) as h:
        h.durable = False
        append(log, *[f"{i} " + "x" * 200 for i in range(60000)])
        end = time.monotonic() + 2
        while time.monotonic() < end:
            h.pump(0.05)
        assert sum(b.bytes for b in h.held) <= 5 << 20
        h.durable = True
        h.make_durable()
        wait_told(h, 60000, 60)
        assert [int(t.split()[0]) for t in told(h)] == list(range(60000))


def test_bad_options(tmp_path):
    conf = tmp_path / "belfry.conf"
    for option, message in [('parse = "jsn";', 'expected none, json, logfmt or a regular expression between slashes'),
                            ('parse = "/(/";', "the regular expression is wrong here"),
                            ('parse = "/abc/";', "names no group"),
                            ('parse = "/(?<a>b)/q";', "expected letters of imsx"),
                            ('multiline = "[";', "the regular expression is wrong here"),
                            ('max_line = "1M";', "512K"), ('start = "middle";', 'expected "end" or "beginning"')]:
        conf.write_text('sources = { log = { module = "lines"; paths = [ "/var/log/a.log" ];\n  ' + option + ' }; };\n')
        r = subprocess.run([BUILD / "belfry", "check", conf], capture_output=True, text=True)
        assert r.returncode == 1 and message in r.stdout + r.stderr and f"{conf}:2:" in r.stdout + r.stderr, (option, r.stdout, r.stderr)


# ---- the proof

class Writer:
    """Appends numbered lines as a service does, with rotation of one kind or the other under it."""

    def __init__(self, directory, seed, copytruncate):
        self.log, self.random, self.copytruncate = directory / "w.log", random.Random(seed), copytruncate
        self.n = self.rotations = 0
        self.file = open(self.log, "ab", buffering=0)

    def write(self, count):
        out = b""
        for _ in range(count):
            out += b"%d %s\n" % (self.n, b"x" * self.random.randrange(80))
            self.n += 1
        cut = self.random.randrange(len(out))
        self.file.write(out[:cut])
        self.file.write(out[cut:])

    def rotate(self):
        self.rotations += 1
        if self.copytruncate:
            shutil.copy(self.log, f"{self.log}.{self.rotations}")
            os.truncate(self.log, 0)
            return
        os.rename(self.log, f"{self.log}.{self.rotations}")
        if self.random.random() < 0.5:
            self.write(50)  # until it is told to open its log anew
        self.file.close()
        self.file = open(self.log, "ab", buffering=0)


@pytest.mark.parametrize("copytruncate", [False, True], ids=["rename", "copytruncate"])
@pytest.mark.parametrize("covers_rotated", [False, True], ids=["alone", "pattern"])
def test_every_line_once_over_kills_and_rotations(tmp_path, copytruncate, covers_rotated):
    seed = int(os.environ.get("BELFRY_SEED", random.randrange(1 << 30)))
    print(f"BELFRY_SEED={seed}")
    total, kills = (1_000_000, 50) if LONG else (40_000, 12)
    r = random.Random(seed)
    w = Writer(tmp_path, seed, copytruncate)
    h = lines([tmp_path / ("w.log*" if covers_rotated else "w.log")], start="beginning").start()
    killed = 0
    while w.n < total or killed < kills:
        w.write(r.randrange(1, max(2, total // 500)))
        if r.random() < 0.05:
            w.rotate()
        h.pump(0.001)
        if r.random() < 0.1:
            h.durable = not h.durable
        if r.random() < kills / 500:
            h.make_durable(upto=r.randrange(len(h.held) + 1))
            h.kill()
            killed += 1
            h.durable = True
            if r.random() < 0.5:
                w.write(100)
            if r.random() < 0.5:
                w.rotate()
            h.start(wait=r.random() < 0.5)
    h.durable = True
    h.make_durable()
    h.wait(lambda: len(told(h)) >= w.n, 120)
    at_rest(h, w.log)
    numbers = [int(t.split()[0]) for t in told(h)]
    assert sorted(numbers) == list(range(w.n)), (len(numbers), w.n, sorted(set(range(w.n)) - set(numbers))[:10])
    assert len({e.id for e in h.events}) == len(h.events) and not gaps(h)
    h.stop()


def test_through_the_daemon(daemon, receiver, tmp_path):
    log = tmp_path / "log" / "app.log"
    log.parent.mkdir()
    append(log, "old")
    daemon.write(f"""
sources = {{ app = {{ module = "lines"; paths = [ "{log}" ]; parse = "logfmt"; poll = "2s"; }}; }};
sinks = {{ hook = {{ module = "http"; url = "{receiver.url}"; }}; }};
rules = ( {{ name = "errors"; from = [ "app" ]; when = "type == 'line.appended' and data.fields.level == 'error'"; to = [ "hook" ];
            body = {{ text = "${{data.name}}: ${{data.fields.msg}}"; }}; }} );
""")
    daemon.start()
    append(log, "level=info msg=fine", 'level=error msg="disk full"')
    (request,) = receiver.wait(1)
    assert request.event == {"text": "app.log: disk full"}
    daemon.kill()
    append(log, "level=error msg=again")
    os.rename(log, f"{log}.1")
    append(log, "level=error msg=new")
    daemon.start()
    wait_for(lambda: len({r.id for r in receiver.all()}) == 3, "three deliveries")  # one may come twice
    assert sorted({r.event["text"] for r in receiver.all()}) == ["app.log.1: again", "app.log: disk full", "app.log: new"]
    out = daemon.belfry("status").stdout
    assert str(log) in out, out
