# SPDX-License-Identifier: MIT
"""Kill -9 of the hub, a source or the sink, at random and at every named fail point, while files are
created and the endpoint now and then refuses. Then the oracle (oracle.py): every file arrived or is a
dead letter, each under ONE id with ONE body, nothing that never was, sent again only what was in flight
at a kill; and the queue drains. BELFRY_KILLS sets the number of random kills."""
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness import BUILD, simple_config, wait_for
from killing import (IN_FLIGHT, SINK, SINK_OPTIONS, Book, Writer, files, kill_hub, kill_sink, kill_source, modules,
                     settle, wait_gone)

KILLS = int(os.environ.get("BELFRY_KILLS", "1000" if os.environ.get("BELFRY_LONG") else "100"))
SOURCE, BIRTHS = "belfry-source-inotify", "belfry-births"


def begin(daemon, receiver, watched, source="", pause=0.002):
    daemon.write(simple_config(watched, receiver.url, source=source, sink=SINK_OPTIONS))
    book, writer = Book(receiver), Writer(files(watched), pause)
    return book, writer


def test_random_kills(daemon, receiver, watched):
    seed = int(os.environ.get("BELFRY_SEED", random.randrange(1 << 30)))
    print(f"BELFRY_SEED={seed}")
    rng = random.Random(seed)
    book, writer = begin(daemon, receiver, watched)
    daemon.start()
    writer.start()
    kills = {"hub": lambda: kill_hub(daemon, book), "sink": lambda: kill_sink(daemon, book),
             "source": lambda: kill_source(daemon, SOURCE)}
    done = []
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.01, 0.12))  # when to strike, not a wait for anything
        done.append(rng.choice(list(kills)))
        kills[done[-1]]()
        if daemon.process.poll() is not None:
            daemon.start(wait=False)
    happened = writer.end()
    assert len(happened) > KILLS and len(set(done)) == 3
    settle(daemon, book, happened, IN_FLIGHT)


def test_kills_without_a_breath(daemon, receiver, watched):
    """Who is born at once meets what the dead have left. What is whose cannot be told then."""
    rng = random.Random()
    book, writer = begin(daemon, receiver, watched)
    daemon.start()
    writer.start()
    for _ in range(KILLS // 5):
        time.sleep(rng.uniform(0, 0.1))
        daemon.kill()
        daemon.start(wait=False)
        kill_source(daemon, SOURCE)
    settle(daemon, book, writer.end())


def test_an_orphan_never_posts(daemon, receiver, watched):
    """The hub is killed while its sink stands still with attempts that it has not read. Nothing of them
    goes out; after the next start each goes out once."""
    book, writer = begin(daemon, receiver, watched)
    daemon.start()
    (sink,) = modules(daemon, SINK)
    os.kill(sink, signal.SIGSTOP)
    writer.start()
    wait_for(lambda: daemon.sink()["in_flight"] == IN_FLIGHT, "attempts on their way")
    happened = writer.end()
    daemon.kill()
    try:
        os.kill(sink, signal.SIGCONT)
    except ProcessLookupError:
        pass  # dead already
    wait_gone(daemon)
    book.next_epoch()
    assert not book.sent
    daemon.start()
    settle(daemon, book, happened, 0)


# ---- fail points

def failpoints():
    """Each with the program that shall die there. Salvage needs a damaged store: its points are passed in
    the store's own tests."""
    r = subprocess.run([BUILD / "belfryd", "--list-failpoints"], capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in r.stdout.splitlines()]
    for name in names:
        if name == "link.written":
            yield from ((name, program) for program in ("belfryd", SOURCE, SINK))
        elif "salvage" not in name:
            part = name.split(".")[0]
            yield name, {"source": SOURCE, "sink": SINK, "births": BIRTHS}.get(part, "belfryd")


def test_every_fail_point_is_passed_somewhere():
    r = subprocess.run([BUILD / "belfryd", "--list-failpoints"], capture_output=True, text=True, check=True)
    store = (Path(__file__).resolve().parents[1] / "unit/store_damage_test.c").read_text()
    here = {name for name, _ in failpoints()}
    for line in r.stdout.splitlines():
        name = line.split()[0]
        assert name in here or f'"{name}:1"' in store, name


def reached(daemon, point):
    return daemon.log.read_text().count(f"fail point {point} reached in ") if daemon.log.exists() else 0


# How often the place is passed before it kills, one life of the hub each: at once for what a hub does at
# its start, a module that dies at its first step would never get anywhere. Births of a life: a source and
# a sink.
PASSES = {"belfryd": [1, 3, 7], BIRTHS: [1, 2], SOURCE: [2, 3], SINK: [10, 25]}


@pytest.mark.parametrize("point, program", failpoints())
def test_failpoint(daemon, receiver, watched, point, program):
    # "report": a file that is there before the first stock-taking is durable counts too.
    book, writer = begin(daemon, receiver, watched, source='initial = "report";', pause=0.005)
    writer.start()
    once = point == "store.create-before-rename"  # in a store's life
    armed = "belfryd" if program == BIRTHS else program  # a fork of the hub, under its name
    for passes in PASSES[program][:1 if once else None]:
        daemon.start(wait=False, env={"BELFRY_FAILPOINT": f"{point}@{armed}:{passes}"})
        # A module is born again and dies again.
        more = reached(daemon, point) + (2 if program in (SOURCE, SINK) else 1)
        wait_for(lambda: reached(daemon, point) >= more, f"{point} in {program}", 30)
        if program == "belfryd":
            assert daemon.process.wait(20) == -signal.SIGKILL, daemon.text()
        elif program == BIRTHS:  # the hub cannot go on without, and says so
            assert daemon.process.wait(20) == 1 and "makes births is gone" in daemon.text(), daemon.text()
        else:
            daemon.kill()
        wait_gone(daemon)
    happened = writer.end()
    daemon.start(wait=False)
    settle(daemon, book, happened)
