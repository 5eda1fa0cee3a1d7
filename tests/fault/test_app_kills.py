# SPDX-License-Identifier: MIT
"""Fifty applications hand in events on the socket and trust only answers: what is not answered they hand
in again with its key. Meanwhile every process of the family is killed and started again, at random. The
sink is paused so long, so that the queue can be counted: each event is in it once. Then it is delivered
while sinks are killed, and the oracle finds each under the id that its application was told.
BELFRY_LONG takes 100,000 events."""
import json
import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from pathlib import Path

from harness import wait_for
from killing import IN_FLIGHT, SINK_OPTIONS, Book, kill_hub, kill_sink, kill_source, settle, wait_gone

CLIENTS, WINDOW = 50, 20
EVENTS = 100_000 if os.environ.get("BELFRY_LONG") else 10_000
CONFIG = '''store = {{ size = "256M"; }};
sources = {{ apps = {{ module = "app"; }}; }};
sinks = {{ ops = {{ module = "http"; url = "{url}"; {sink} }}; }};
rules = ( {{ name = "all"; from = [ "apps" ]; to = [ "ops" ]; }} );
'''


def connect(path):
    while True:
        try:
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)
            return s, s.makefile("rb")
        except OSError:  # the hub is down
            s.close()
            time.sleep(0.02)


def client(path, name, n, told):
    """Hands in n events; told[key] is the id that was answered."""
    rng = random.Random(name)
    keys = [f"{name}-{i:05d}" for i in range(n)]
    s, answers = connect(path)
    while keys:
        turn = keys[:WINDOW]
        try:
            s.sendall(b"".join(json.dumps({"type": "job.done", "id": k, "data": {"job": k}}).encode() + b"\n" for k in turn))
            for k in turn:
                line = answers.readline()
                if not line.endswith(b"\n"):
                    raise OSError("half an answer")
                told.setdefault(k, set()).add(json.loads(line)["id"])
                keys.remove(k)
            time.sleep(rng.uniform(0, 0.4))  # the application's own pace
        except OSError:
            s.close()
            s, answers = connect(path)


def clients(path, n, queue):
    told = {}
    threads = [threading.Thread(target=client, args=(path, f"c{i:02d}", n // CLIENTS, told)) for i in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    queue.put({k: sorted(v) for k, v in told.items()})


def births(daemon):
    for p in Path("/proc").iterdir():
        try:
            if p.name.isdigit() and (p / "comm").read_text().strip() == "belfry-births" \
                    and int((p / "stat").read_text().rsplit(")", 1)[1].split()[1]) == daemon.process.pid:
                return int(p.name)
        except OSError:
            continue
    return None


def kill_births(daemon, book):
    """The hub ends with the process that makes its children."""
    os.kill(wait_for(lambda: births(daemon), "a births process"), signal.SIGKILL)
    daemon.process.wait(20)
    wait_gone(daemon)
    book.next_epoch()


def test_each_acknowledged_event_arrives_once(daemon, receiver):
    seed = int(os.environ.get("BELFRY_SEED", random.randrange(1 << 30)))
    print(f"BELFRY_SEED={seed}")
    rng = random.Random(seed)
    daemon.write(CONFIG.format(url=receiver.url, sink=SINK_OPTIONS))
    book = Book(receiver)
    daemon.start()
    daemon.belfry("pause", "ops", check=0)
    queue = multiprocessing.Queue()
    apps = multiprocessing.Process(target=clients, args=(str(daemon.run / "events"), EVENTS, queue), daemon=True)
    apps.start()
    kills = {"hub": lambda: kill_hub(daemon, book), "sink": lambda: kill_sink(daemon, book),
             "births": lambda: kill_births(daemon, book), "source": lambda: kill_source(daemon, "belfry-source-app")}
    done = []
    while queue.empty():
        assert apps.is_alive() or not queue.empty()
        time.sleep(rng.uniform(0.05, 0.5))  # when to strike, not a wait for anything
        left = set(kills) - set(done) or kills
        done.append(rng.choice(sorted(left)))
        kills[done[-1]]()
        if daemon.process.poll() is not None:
            daemon.start(wait=False)
    told = queue.get()
    print(f"{len(done)} kills while they came")
    assert len(told) == EVENTS and set(done) == set(kills)
    assert all(len(ids) == 1 for ids in told.values()), "one key was told two ids"
    daemon.wait_state(seconds=30)
    assert daemon.sink()["depth"] == EVENTS and not book.sent

    daemon.belfry("resume", "ops", check=0)
    for n in range(1, 6):
        wait_for(lambda: len(book.sent) > n * EVENTS // 8, "some more of them", 300)
        kill_sink(daemon, book)
    settle(daemon, book, {f"job.done {k}" for k in told}, IN_FLIGHT, 300)
    ids = {r.what: r.id for r in book.sent}
    assert all(ids[f"job.done {k}"] == i for k, (i,) in told.items())
