# SPDX-License-Identifier: MIT
"""A module that misbehaves stays alone: whatever it does, the other source and its sink go on, and status
says what it did and which limit it met. tests/e2e/modules/rogue.c does what its instance name says."""
import os
import signal

import pytest
from harness import wait_for

CONFIG = '''store = {{ size = "64M"; }};
sources = {{ {name} = {{ module = "rogue"; }}; files = {{ module = "inotify"; paths = [ "{watched}" ]; }}; }};
sinks = {{ ops = {{ module = "http"; url = "{url}"; }};
          full = {{ module = "http"; url = "{url}/full"; queue = {{ size = "1M"; }}; }}; }};
rules = ( {{ name = "files"; from = [ "files" ]; to = [ "ops" ]; }}, {rules} );
'''
OWN = '{ name = "rogue"; from = [ "flood" ]; to = [ "full" ]; }'
NONE = '{ name = "none"; when = "subject == \'nothing\'"; to = [ "full" ]; }'


@pytest.fixture
def rogue(daemon, receiver, watched):
    """Starts a daemon with a rogue source of that name; its part of the status, and that others go on."""
    daemon.own_programs("belfry-source-inotify", "belfry-sink-http", "tests/e2e/modules/belfry-source-rogue")

    class Rogue:
        def start(self, name, rules=NONE):
            self.name = name
            daemon.write(CONFIG.format(name=name, watched=watched, url=receiver.url, rules=rules))
            daemon.start(wait=False)
            wait_for(lambda: (s := daemon.status()) and s["sources"][1]["state"] == "ready", "the other source")

        def status(self):
            return daemon.status()["sources"][0]

        def told(self, *words, seconds=60):
            return wait_for(lambda: (s := self.status()) and all(w in (s["reason"] or "") for w in words) and s,
                            f"{words} as the reason", seconds)

        def others_go_on(self):
            before = len(receiver.all())
            (watched / f"f{before}").write_text("x")
            receiver.wait(before + 1, 30)
            assert receiver.all()[-1].event["data"]["name"] == f"f{before}"

    return Rogue()


def test_it_ends_at_once(daemon, rogue):
    rogue.start("exits")
    status = rogue.told("ended with status 3; death 3 in a row, the next start waits 2 s (at most 60)")
    assert status["state"] == "failed" and daemon.status()["state"] == "degraded"
    rogue.others_go_on()
    assert "ended with status 3" in daemon.belfry("status", check=1).stdout
    rogue.told("death 4 in a row, the next start waits 4 s")


@pytest.mark.parametrize("when", ("garbage", "late-garbage"))
def test_it_writes_garbage_to_the_link(daemon, rogue, when):
    rogue.start(when)
    status = rogue.told("it broke the protocol: the peer sent", "death 2 in a row")
    assert status["state"] == "failed"
    rogue.others_go_on()
    assert daemon.status()["state"] == "degraded"


def test_it_never_greets(daemon, rogue):
    rogue.start("mute")
    assert daemon.status()["state"] == "starting"
    rogue.others_go_on()
    rogue.told("killed: it did not greet within 15 s", "death 2 in a row")
    assert daemon.status()["state"] == "degraded"


def test_it_is_never_ready(daemon, rogue):
    rogue.start("unready")
    assert daemon.status()["state"] == "starting"
    status = rogue.told("not ready, and it has said nothing for 30 s")
    assert (status["state"], status["restarts"]) == ("starting", 0) and daemon.status()["state"] == "degraded"
    rogue.others_go_on()


def test_it_logs_without_end(daemon, rogue):
    rogue.start("chatty")
    wait_for(lambda: rogue.status()["log_dropped"] > 5000, "lines to be dropped", 60)
    rogue.others_go_on()
    lines = daemon.log.read_text().splitlines()
    windows = [i for i, line in enumerate(lines) if "it logs more than 200 lines in 10 s: the rest is dropped" in line]
    said = sum("so it goes" in line for line in lines)
    assert windows and 200 <= said <= 200 * (len(windows) + 1)
    assert "log lines dropped" in daemon.belfry("status", check=0).stdout


def test_it_floods_and_hears_no_pause(daemon, rogue, receiver):
    rogue.start("flood", OWN)
    daemon.belfry("pause", "full", check=0)
    status = rogue.told("it is paused and goes on sending, beyond its credit of 4 MiB")
    assert status["state"] in ("failed", "starting", "paused"), status
    rogue.others_go_on()
    wait_for(lambda: rogue.status()["restarts"] >= 3, "it to be killed again", 60)
    sink = daemon.sink("full")
    # What it sent of its credit has a head of some 200 bytes for each event in the store.
    assert sink["share"] <= sink["bytes"] < sink["share"] + 4 * (4 << 20), sink
    depth = sink["depth"]
    wait_for(lambda: rogue.status()["restarts"] >= 4, "it to be killed once more", 60)
    assert daemon.sink("full")["depth"] == depth, "no second credit"
    rogue.others_go_on()
    assert not daemon.status()["store"]["paused"]


def test_it_floods_with_what_nobody_wants(daemon, rogue, receiver):
    """Nothing of it is stored, so nothing pauses it; yet attempts and deaths have their turn."""
    rogue.start("flood")
    wait_for(lambda: rogue.status()["unmatched"] > 20000, "a flood", 60)
    for _ in range(3):
        rogue.others_go_on()
    old = daemon.status()["sink_processes"][0]["pid"]
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: (p := daemon.status()["sink_processes"][0])["pid"] != old and p["state"] == "ready", "a new sink process", 30)
    rogue.others_go_on()
    assert rogue.status()["state"] == "ready"


@pytest.mark.bursts
def test_it_eats_memory(daemon, rogue):
    """The limit is the kernel's (RLIMIT_DATA), which a sanitizer's shadow memory would be over at once."""
    rogue.start("hungry")
    status = rogue.told("was killed by signal 6", "MiB of memory, a module may have 512", "death 2 in a row")
    assert status["state"] == "failed"
    rogue.others_go_on()
