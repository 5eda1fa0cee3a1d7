# SPDX-License-Identifier: MIT
"""The journal source in the whole daemon, beside a real journald that rotates, is killed and comes again:
each entry under one id, however the processes die."""
import base64
import os
import random
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from harness import wait_for
from journald import Journald, entry_bytes, field_bytes, forge
from test_journal import hub

LONG = bool(os.environ.get("BELFRY_LONG"))


@pytest.fixture
def journald():
    one = Journald(f"d{os.getpid()}", size="1M", use="256M")
    yield one
    one.end()


@pytest.fixture
def wide():
    """One whose files take very large entries."""
    one = Journald(f"w{os.getpid()}", size="512M", use="1G")
    yield one
    one.end()


def config(journald, url, source="", sink="", size="64M"):
    return f'''store = {{ size = "{size}"; }};
sources = {{ errors = {{ module = "journal"; namespace = "{journald.name}"; {source} }}; }};
sinks = {{ ops = {{ module = "http"; url = "{url}"; {sink} }}; }};
rules = ( {{ name = "all"; from = [ "errors" ]; to = [ "ops" ]; }} );
'''


def told(receiver):
    return [r.event["data"].get("message") for r in receiver.all() if r.event["type"] == "journal.entry"]


def ids(receiver):
    found = {}
    for r in receiver.all():
        if r.event["type"] == "journal.entry":
            found.setdefault(r.event["data"].get("message"), set()).add(r.id)
    return found


def open_files(pid):
    """Paths and inodes of what a process holds open."""
    found = {}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[os.readlink(fd)] = fd.stat().st_ino
        except OSError:
            continue
    return found


def no_gaps(receiver):
    gaps = [r.event["data"] for r in receiver.all() if r.event["type"] == "source.gap"]
    assert not gaps, gaps


class Writer(threading.Thread):
    """Logs until told to stop, and rotates the journal and kills journald in between."""

    def __init__(self, journald, seed):
        super().__init__(daemon=True)
        self.journald, self.rng = journald, random.Random(seed)
        self.n, self.over, self.fault = 0, threading.Event(), None

    def run(self):
        try:
            while not self.over.wait(0.002):
                self.journald.send(MESSAGE=f"m{self.n}")
                self.n += 1
                if self.n % 400 == 0:
                    if self.rng.random() < 0.5:
                        self.journald.ctl("--rotate")
                    else:
                        self.journald.ctl("--sync")  # what journald has not taken yet dies with it
                        self.journald.kill()
                        self.journald.start()
        except Exception as e:  # the test's thread tells it
            self.fault = e

    def end(self):
        self.over.set()
        self.join()
        assert self.fault is None, self.fault
        self.journald.ctl("--sync")


def test_each_entry_once_over_kills(daemon, receiver, journald):
    seed = int(os.environ.get("BELFRY_SEED", random.randrange(1 << 30)))
    print(f"BELFRY_SEED={seed}")
    rng = random.Random(seed)
    daemon.write(config(journald, receiver.url))
    daemon.start()
    writer = Writer(journald, seed)
    writer.start()
    for _ in range(200 if LONG else 12):
        writer.over.wait(rng.uniform(0.05, 0.4))  # when to strike
        target = rng.choice(["hub", "belfry-source-journal", "belfry-sink-http"])
        if target == "hub":
            daemon.kill()
            daemon.start(wait=False)
        elif pid := daemon.children().get(target):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    writer.end()
    expected = {f"m{i}" for i in range(writer.n)}
    wait_for(lambda: ids(receiver).keys() >= expected, "all entries", 90)
    found = ids(receiver)
    mine = {m: i for m, i in found.items() if m.startswith("m")}  # not what journald says of itself each time
    assert mine.keys() == expected
    assert all(len(i) == 1 for i in mine.values()), [m for m, i in mine.items() if len(i) > 1][:5]
    no_gaps(receiver)


def test_sigbus_restarts_only_this_process(daemon, receiver, journald):
    """As after a file was cut under the reader."""
    daemon.write(config(journald, receiver.url))
    daemon.start(env={"ASAN_OPTIONS": "abort_on_error=0:detect_leaks=0:handle_sigbus=0"})
    before = daemon.children()
    journald.send(MESSAGE="1")
    wait_for(lambda: "1" in told(receiver), "the first entry")
    os.kill(before["belfry-source-journal"], signal.SIGBUS)
    journald.send(MESSAGE="2")
    wait_for(lambda: "2" in told(receiver), "the entry after it", 30)
    after = daemon.children()
    assert after.pop("belfry-source-journal") != before.pop("belfry-source-journal") and after == before
    assert [m for m in told(receiver) if m in "12"] == ["1", "2"]
    no_gaps(receiver)


def test_endpoint_down(daemon, receiver, journald):
    """The queue fills, the source pauses and lets go of removed files; then everything comes, each once."""
    n = 3000
    url = receiver.url
    receiver.stop()
    daemon.write(config(journald, url, sink='queue = { size = "512K"; };', size="16M"))
    daemon.start()
    for i in range(n):
        journald.send(MESSAGE=f"m{i} " + "x" * 300)
    journald.ctl("--sync")
    wait_for(lambda: any(s["state"] == "paused" for s in daemon.status()["sources"]), "a paused source", 30)
    pid = daemon.children()["belfry-source-journal"]
    journald.ctl("--rotate")
    active = os.stat(journald.directory / "system.journal").st_ino
    wait_for(lambda: active in open_files(pid).values(), "the new file to be open while nothing is read")
    receiver.start()
    wait_for(lambda: len(ids(receiver)) >= n, "all entries", 60)
    assert [len(i) for i in ids(receiver).values()] == [1] * len(ids(receiver))
    no_gaps(receiver)


def test_backlog(tmp_path):
    """Each once, in order, with a kill in between; memory does not grow with it."""
    n = 200000 if LONG else 20000
    forge(tmp_path / "f.journal", ({"MESSAGE": str(i)} for i in range(n)))
    with hub(directory=str(tmp_path), since="beginning") as h:
        h.wait_events(n // 2, 200)
        h.kill()
        h.start()
        h.wait_events(n, 200)
        assert [e.data["message"] for e in h.events] == [str(i) for i in range(n)]
        del h.events[20:]  # the schema of some is enough


def test_huge_fields(wide):
    """A value of 64 MiB is cut with a mark, the next entry is read, and memory stays bounded."""
    with hub(namespace=wide.name) as h:
        h.wait(lambda: h.stats.get("at_end"))
        wide.send_large(entry_bytes({"MESSAGE": "huge"}) + field_bytes("TEXT", b"x" * (64 << 20)) +
                            field_bytes("RAW", b"\0\xff" * 1000000))
        wide.send(MESSAGE="after")
        h.wait(lambda: any(e.data.get("message") == "after" for e in h.events), 60)
        event, = [e for e in h.events if e.data.get("message") == "huge"]
        fields = event.data["fields"]
        assert fields["TEXT"] == "x" * 65536 + "…" and base64.b64decode(fields["RAW"]) == b"\0\xff" * 32768
        assert sorted(event.data["cut"]) == ["RAW", "TEXT"] and event.data["binary"] == ["RAW"]
        status = Path(f"/proc/{h.process.pid}/status").read_text()
        assert int(status.split("RssAnon:")[1].split()[0]) < 200 * 1024


def test_journald_killed_and_vacuumed_beside(journald):
    """kill -9, restart, rotation and vacuuming of what was read: nothing twice, nothing lost, no gap."""
    with hub(namespace=journald.name) as h:
        h.wait(lambda: h.stats.get("at_end"))
        for round_ in range(6):
            for i in range(200):
                journald.send(MESSAGE=f"{round_}.{i}")
            h.wait(lambda r=round_: any(e.data.get("message") == f"{r}.199" for e in h.events))
            if round_ % 2:
                journald.ctl("--sync")
                journald.kill()
                journald.start()
            else:
                journald.ctl("--rotate")
                subprocess.run(["journalctl", f"--directory={journald.directory}", "--vacuum-files=1", "-q"], check=True,
                               capture_output=True)
        told_ = [e.data.get("message") for e in h.events if e.type == "journal.entry" and "." in e.data.get("message", "")]
        assert [m for m in told_ if m.split(".")[0].isdigit()] == [f"{r}.{i}" for r in range(6) for i in range(200)]
        assert not [e.data for e in h.events if e.type == "source.gap"]


def test_flood_of_files_that_are_removed_unread(journald):
    """A paused source: what is vacuumed unread is one gap, and what is left comes."""
    with hub(namespace=journald.name) as h:
        journald.send(MESSAGE="first")
        h.wait_events(1)
        h.send(34)  # pause
        for i in range(3000):
            journald.send(MESSAGE=f"f{i} " + "y" * 400)
        journald.ctl("--rotate")
        subprocess.run(["journalctl", f"--directory={journald.directory}", "--vacuum-size=1M", "-q"], check=True, capture_output=True)
        journald.send(MESSAGE="last")
        journald.ctl("--sync")
        h.wait(lambda: not any(".journal (deleted)" in path for path in open_files(h.process.pid)))
        assert len(h.events) == 1
        h.send(35)  # resume
        h.wait(lambda: any(e.data.get("message") == "last" for e in h.events))
        gap, = [e.data for e in h.events if e.type == "source.gap"]
        assert gap["reason"] == "vacuumed"
