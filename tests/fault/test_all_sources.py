# SPDX-License-Identifier: MIT
"""All sources at once into one sink, while the hub, the sink and each source are killed at random: files,
lines of a log that is rotated, journal entries, rows, a timer of every second, and an application that
hands in again what it has no answer for. The oracle is the one of test_kills.py: each of these things
arrived or is a dead letter, once but for what was in flight, under one id with one body; no gap."""
import datetime
import json
import os
import random
import socket
import sys
import time
from pathlib import Path

import pytest
from harness import wait_for
from killing import (IN_FLIGHT, SINK_OPTIONS, Book, Writer, files, kill_hub, kill_sink, kill_source, modules, settle)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
from journald import Journald  # noqa: E402
from postgres_server import Server  # noqa: E402

KILLS = int(os.environ.get("BELFRY_KILLS", "1000" if os.environ.get("BELFRY_LONG") else "100")) // 4
BACK_OFF = 90  # seconds: one that died often within a minute is born again after up to 60
MODULES = ("inotify", "lines", "journal", "postgresql", "timer", "app")


@pytest.fixture
def server():
    s = Server()
    s.sql("CREATE TABLE orders (id serial PRIMARY KEY, v text)")
    yield s
    s.remove()


@pytest.fixture
def journald():
    j = Journald(f"k{os.getpid()}")
    yield j
    j.end()


def lines(path):
    """Every 200th the file is renamed, and never compressed or removed."""
    path.parent.mkdir()
    path.touch()

    def make(n):
        if n and n % 200 == 0:
            path.rename(f"{path}.{n // 200}")
        with path.open("a") as f:
            f.write(f"line {n}\n")
        return [f"line.appended line {n}"]
    return make


def entries(journald):
    def make(n):
        journald.send(MESSAGE=f"entry {n}")
        return [f"journal.entry entry {n}"]
    return make


def rows(server):
    """Transactions of five."""
    def make(n):
        server.sql(f"INSERT INTO orders (v) SELECT 'row ' || i FROM generate_series({n}, {n + 4}) i")
        return [f"row.inserted row {i}" for i in range(n, n + 5)]
    return make


def jobs(path):
    """Hands each in until there is an answer, with the same key."""
    def once(line):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(str(path))
            s.sendall(line)
            return json.loads(s.makefile("rb").readline() or b"{}")

    def make(n):
        line = json.dumps({"type": "job.done", "id": f"job {n}", "data": {"job": n}}).encode() + b"\n"

        def answered():
            try:
                answer = once(line)
            except OSError:  # nobody is there, or was killed
                return False
            assert "error" not in answer, answer
            return answer
        wait_for(answered, f"an answer for job {n}", BACK_OFF)
        return [f"job.done {n}"]
    return make


def second(t):
    return f"timer.elapsed {datetime.datetime.fromtimestamp(t, datetime.timezone.utc):%Y-%m-%dT%H:%M:%S.000000Z}"


def config(receiver, options):
    named = "\n".join(f'  {m} = {{ module = "{m}"; {o} }};' for m, o in options.items())
    return f'''store = {{ size = "128M"; }};
sources = {{
{named} }};
sinks = {{ ops = {{ module = "http"; url = "{receiver.url}"; {SINK_OPTIONS} }}; }};
rules = ( {{ name = "all"; from = [ {", ".join(f'"{m}"' for m in options)} ]; to = [ "ops" ]; }} );
'''


def test_random_kills_of_all(daemon, receiver, watched, server, journald, tmp_path):
    seed = int(os.environ.get("BELFRY_SEED", random.randrange(1 << 30)))
    print(f"BELFRY_SEED={seed}")
    rng = random.Random(seed)
    log = tmp_path / "log/app.log"
    makers = [(files(watched), 0.01), (lines(log), 0.01), (entries(journald), 0.01), (rows(server), 0.1),
              (jobs(daemon.run / "events"), 0.01)]
    options = {"inotify": f'paths = [ "{watched}" ];', "lines": f'paths = [ "{log}" ];',
               "journal": f'namespace = "{journald.name}";', "timer": 'schedule = "*:*:*";', "app": "",
               "postgresql": f'conninfo = "{server.conninfo()}"; tables = [ "public.orders" ];'}
    assert set(options) == set(MODULES)
    book = Book(receiver)
    daemon.write(config(receiver, options))
    began = int(time.time())
    daemon.start(seconds=60)
    armed = int(time.time())
    writers = [Writer(make, pause) for make, pause in makers]
    for w in writers:
        w.start()
    targets = ["hub", "hub", "sink", *MODULES] * (KILLS // 9 + 1)
    rng.shuffle(targets)
    for target in targets[:KILLS]:
        time.sleep(rng.uniform(0.02, 0.4))  # when to strike, not a wait for anything
        if target == "hub":
            kill_hub(daemon, book)
            daemon.start(wait=False)
        elif target == "sink":
            kill_sink(daemon, book)
        else:
            kill_source(daemon, f"belfry-source-{target}")
    happened = {w for writer in writers for w in writer.end()}
    daemon.wait_state(seconds=BACK_OFF)
    # The timer goes on: it is taken out once the seconds of the kills have come.
    seconds = {second(t) for t in range(armed + 1, int(time.time()) + 1)}
    wait_for(lambda: book.came() >= seconds, "every second", 60)
    del options["timer"]
    daemon.write(config(receiver, options))
    daemon.belfry("reload", check=0)
    wait_for(lambda: not modules(daemon, "belfry-source-timer"), "the timer to be gone")
    wait_for(lambda: daemon.sink()["depth"] == 0, "all that it told", 60)
    seconds |= book.came() & {second(t) for t in range(began, int(time.time()) + 1)}
    settle(daemon, book, happened | seconds, IN_FLIGHT)
    assert daemon.status()["gaps"] == 0
    counts = {kind: sum(w.startswith(kind) for w in happened) for kind in ("file", "line", "journal", "row", "job")}
    print(f"{KILLS} kills, {counts}, {len(seconds)} seconds, {len(book.sent)} requests")
    assert all(counts.values()), counts
