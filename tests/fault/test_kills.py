# SPDX-License-Identifier: MIT
"""Kill -9 of the hub, a source or the sink, at random and at every named fail point, while files are
created and the endpoint now and then refuses. Then the oracle (oracle.py): every file arrived or is a
dead letter, each under ONE id with ONE body, nothing that never was, sent again only what was in flight
at a kill; and the queue drains. BELFRY_KILLS sets the number of random kills."""
import fcntl
import json
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from harness import BUILD, simple_config, wait_for
from oracle import ENDED, faults

KILLS = int(os.environ.get("BELFRY_KILLS", "1000" if os.environ.get("BELFRY_LONG") else "100"))
IN_FLIGHT = 8
SOURCE, SINK = "belfry-source-inotify", "belfry-sink-http"


class Writer(threading.Thread):
    """Creates files until told to stop; knows what it created."""

    def __init__(self, directory, pause=0.002):
        super().__init__(daemon=True)
        self.directory, self.pause = directory, pause
        self.names, self.over = [], threading.Event()

    def run(self):
        while not self.over.wait(self.pause):
            name = f"f{len(self.names):06d}"
            (self.directory / name).write_text(name)
            self.names.append(name)

    def end(self):
        self.over.set()
        self.join()


def refused_for_good(name):
    return zlib.crc32(name.encode()) % 40 == 0


class Book:
    """What came, in its order, with its answer and the epoch it came in. One name in 40 is refused for
    good, one in 20 is refused the first time."""

    def __init__(self, receiver):
        self.receiver, self.epoch, self.sent = receiver, 0, []
        self.lock, self.refused = threading.Lock(), set()
        receiver.answer = self.answer

    def answer(self, request):
        event = request.event
        request.kind, request.name = event["type"], event["data"].get("name", event["type"])
        with self.lock:
            request.status = 200
            if refused_for_good(request.name):
                request.status = ENDED
            elif zlib.crc32(request.name.encode()) % 20 == 1 and request.id not in self.refused:
                self.refused.add(request.id)
                request.status = 503
            request.epoch = self.epoch
            self.sent.append(request)
        return request.status

    def next_epoch(self):
        """Once all is read that a killed process had sent."""
        wait_for(self.receiver.quiet, "the receiver to have read everything")
        with self.lock:
            self.epoch += 1

    def ended(self):
        with self.lock:
            return {r.name for r in self.sent if r.status != 503}


def configure(daemon, receiver, watched, in_flight=IN_FLIGHT, source=""):
    daemon.write(simple_config(watched, receiver.url, source=source, sink=f'in_flight = {in_flight}; '
                               'retry = { schedule = [ "0s", "20ms", "50ms", "100ms", "1s", "1s", "1s", "1s" ]; };'))


def dead_letters(daemon):
    return [json.loads(line) for line in daemon.belfry("dead", "ls", "--json", check=0).stdout.splitlines()]


def settle(daemon, book, names, repeats_at_most):
    """Everything arrives and the queue drains; then the oracle."""
    if daemon.process.poll() is not None:
        daemon.start(wait=False)
    wait_for(lambda: book.ended() >= set(names), "all files to arrive", 90)
    wait_for(lambda: (s := daemon.sink()) and s["depth"] == 0 and s["in_flight"] == 0, "an empty queue", 30)
    letters = dead_letters(daemon)
    dead = [Path(d["subject"]).name for d in letters]
    assert len(set(dead)) == len(dead) and {d["id"] for d in letters} <= {r.id for r in book.sent}
    assert set(dead) == {n for n in names if refused_for_good(n)}
    wrong = faults(book.sent, set(names), set(dead), repeats_at_most)
    assert not wrong, wrong[:20]


def family(daemon):
    """The pids of all that belongs to the hub, births included."""
    mine = []
    for p in Path("/proc").iterdir():
        try:
            stat = (p / "stat").read_text() if p.name.isdigit() else ""
        except OSError:
            continue
        if stat and int(stat[stat.rindex(")") + 2:].split()[1]) == daemon.process.pid:
            mine.append(int(p.name))
    return mine


def gone(pids):
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def kill_hub(daemon, book):
    children = family(daemon)
    daemon.kill()
    wait_for(lambda: gone(children), "the family to die with its hub")
    book.next_epoch()


def kill_sink(daemon, book):
    """The hub stands still meanwhile, so that no new process mixes with the old one."""
    pid = daemon.children().get(SINK)
    if not pid:
        return
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
        book.next_epoch()
    finally:
        daemon.process.send_signal(signal.SIGCONT)


def kill_source(daemon, book):
    pid = daemon.children().get(SOURCE)
    if pid:
        os.kill(pid, signal.SIGKILL)


def test_random_kills(daemon, receiver, watched):
    seed = int(os.environ.get("BELFRY_SEED", random.randrange(1 << 30)))
    print(f"BELFRY_SEED={seed}")
    rng = random.Random(seed)
    book = Book(receiver)
    configure(daemon, receiver, watched)
    daemon.start()
    writer = Writer(watched)
    writer.start()
    done = {kill_hub: 0, kill_sink: 0, kill_source: 0}
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.01, 0.12))  # when to strike, not a wait for anything
        kill = rng.choice(list(done))
        kill(daemon, book)
        done[kill] += 1
        if daemon.process.poll() is not None:
            daemon.start(wait=False)
    writer.end()
    assert len(writer.names) > KILLS and all(done.values()), done
    settle(daemon, book, writer.names, IN_FLIGHT)


def test_kills_without_a_breath(daemon, receiver, watched):
    """Who is born at once meets what the dead have left. What is whose cannot be told then, so repeats
    are not counted."""
    rng = random.Random()
    book = Book(receiver)
    configure(daemon, receiver, watched)
    daemon.start()
    writer = Writer(watched)
    writer.start()
    for _ in range(KILLS // 5):
        time.sleep(rng.uniform(0, 0.1))
        daemon.kill()
        with book.lock:
            book.epoch += 1
        daemon.start(wait=False)
        kill_source(daemon, book)
    writer.end()
    settle_roughly(daemon, book, writer.names)


def settle_roughly(daemon, book, names):
    for n, r in enumerate(book.sent):
        r.epoch = n
    settle(daemon, book, names, len(names))


# ---- fail points

def failpoints():
    """Each with the program that shall die there. Salvage needs a damaged store: its points are passed in
    the store's own tests."""
    r = subprocess.run([BUILD / "belfryd", "--list-failpoints"], capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in r.stdout.splitlines()]
    for name in names:
        part = name.split(".")[0]
        if name == "link.written":
            yield from ((name, program) for program in ("belfryd", SOURCE, SINK))
        elif "salvage" not in name:
            yield name, {"source": SOURCE, "sink": SINK}.get(part, "belfryd")


def test_every_fail_point_is_passed_somewhere():
    r = subprocess.run([BUILD / "belfryd", "--list-failpoints"], capture_output=True, text=True, check=True)
    store = (Path(__file__).resolve().parents[1] / "unit/store_damage_test.c").read_text()
    here = {name for name, _ in failpoints()}
    for line in r.stdout.splitlines():
        name = line.split()[0]
        assert name in here or f'"{name}:1"' in store, name


def reached(daemon, point, program):
    return daemon.log.read_text().count(f"fail point {point} reached in {program}\n") if daemon.log.exists() else 0


# How often the place is passed before it kills: once for what a hub does at its start; a module that
# dies at its first step would never get anywhere, and not every step leaves something behind.
PASSES = {"belfryd": [1, 3, 7], SOURCE: [2, 3], SINK: [10, 25]}


@pytest.mark.parametrize("point, program", failpoints())
def test_failpoint(daemon, receiver, watched, point, program):
    book = Book(receiver)
    # "report": a file that is there before the first stock-taking is durable counts too.
    configure(daemon, receiver, watched, source='initial = "report";')
    writer = Writer(watched, 0.005)
    writer.start()
    wanted = 0
    for passes in PASSES[program]:
        daemon.start(wait=False, env={"BELFRY_FAILPOINT": f"{point}@{program}:{passes}"})
        children = []
        wanted = reached(daemon, point, program) + (1 if program == "belfryd" else 2)
        if point == "store.create-before-rename" and passes > 1:
            wanted -= 1  # passed once in a store's life
        wait_for(lambda: reached(daemon, point, program) >= wanted, f"{point} in {program}", 30)
        if program == "belfryd" and point != "births.child-cloned":
            if point != "store.create-before-rename" or passes == 1:
                assert daemon.process.wait(20) == -signal.SIGKILL, daemon.text()
        children = family(daemon) if daemon.process.poll() is None else []
        if point == "births.child-cloned":
            assert daemon.process.wait(20) == 1, daemon.text()  # it cannot go on, and says so
        else:
            daemon.kill()
        wait_for(lambda: gone(children), "the family to die with its hub")
    writer.end()
    daemon.start(wait=False)
    settle_roughly(daemon, book, writer.names)
