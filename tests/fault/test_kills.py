# SPDX-License-Identifier: MIT
"""Kill -9 of the hub, a source or the sink, at random and at every named fail point, while files are
created. Then the oracle: every file arrived, each under ONE id with ONE body, nothing that never was,
repeats at most what was in flight, and the queue drains. BELFRY_KILLS sets the number of random kills."""
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from harness import BUILD, simple_config, wait_for

KILLS = int(os.environ.get("BELFRY_KILLS", "1000" if os.environ.get("BELFRY_LONG") else "100"))
IN_FLIGHT = 64


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


def oracle(receiver, names, kills):
    created = [r for r in receiver.all() if r.event["type"] == "file.created"]
    ids, bodies = {}, {}
    for r in created:
        ids.setdefault(r.event["data"]["name"], set()).add(r.id)
        bodies.setdefault(r.id, set()).add(r.body)
    assert set(ids) == set(names), f"lost {sorted(set(names) - set(ids))[:5]}, invented {sorted(set(ids) - set(names))[:5]}"
    assert all(len(i) == 1 for i in ids.values()), [n for n, i in ids.items() if len(i) > 1][:5]
    assert all(len(b) == 1 for b in bodies.values())
    other = [r.event["type"] for r in receiver.all() if r.event["type"] != "file.created"]
    assert not other, f"events of what never happened: {set(other)}"
    assert len(created) - len(names) <= IN_FLIGHT * kills


def drained(daemon):
    sink = daemon.sink()
    return sink and sink["depth"] == 0 and sink["in_flight"] == 0


def settle(daemon, receiver, names):
    if daemon.process.poll() is not None:
        daemon.start(wait=False)
    wait_for(lambda: {r.event["data"]["name"] for r in receiver.all()} >= set(names), "all files to arrive", 90)
    wait_for(lambda: drained(daemon), "an empty queue", 30)


def test_random_kills(daemon, receiver, watched):
    seed = int(os.environ.get("BELFRY_SEED", random.randrange(1 << 30)))
    print(f"BELFRY_SEED={seed}")
    rng = random.Random(seed)
    daemon.write(simple_config(watched, receiver.url, sink=f"in_flight = {IN_FLIGHT};"))
    daemon.start()
    writer = Writer(watched)
    writer.start()
    hub_kills = 0
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.01, 0.12))  # when to strike, not a wait for anything
        target = rng.choice(["hub", "belfry-source-inotify", "belfry-sink-http"])
        if target == "hub":
            daemon.kill()
            hub_kills += 1
            daemon.start(wait=False)
        else:
            pid = daemon.children().get(target)
            if pid:
                os.kill(pid, signal.SIGKILL)
        if daemon.process.poll() is not None:
            daemon.start(wait=False)
    writer.end()
    assert len(writer.names) > KILLS and hub_kills
    settle(daemon, receiver, writer.names)
    oracle(receiver, writer.names, KILLS)


def failpoints():
    r = subprocess.run([BUILD / "belfryd", "--list-failpoints"], capture_output=True, text=True)
    # Salvage needs a damaged store: its points are passed in the store's own tests.
    return [line.split()[0] for line in r.stdout.splitlines() if line.split() and "salvage" not in line.split()[0]]


@pytest.mark.parametrize("point", failpoints())
def test_failpoint(daemon, receiver, watched, point):
    # "report": a file that is there before the first stock-taking is durable counts too.
    daemon.write(simple_config(watched, receiver.url, source='initial = "report";', sink=f"in_flight = {IN_FLIGHT};"))
    writer = Writer(watched)
    daemon.start(wait=False, env={"BELFRY_FAILPOINT": f"{point}:1"})
    writer.start()
    hit = 0
    for n in (3, 7):
        try:
            daemon.process.wait(10)
        except subprocess.TimeoutExpired:
            break
        assert daemon.process.returncode == -signal.SIGKILL, daemon.text()
        hit += 1
        daemon.start(wait=False, env={"BELFRY_FAILPOINT": f"{point}:{n}"})
    if daemon.process.poll() is None and hit:
        try:
            daemon.process.wait(5)
            hit += 1
        except subprocess.TimeoutExpired:
            daemon.kill()
    writer.end()
    if daemon.process.poll() is None:
        daemon.kill()
    daemon.start(wait=False)
    settle(daemon, receiver, writer.names)
    oracle(receiver, writer.names, hit + 2)
    assert hit, f"{point} was never reached"
