# SPDX-License-Identifier: MIT
"""A module that misbehaves stays alone: whatever it does, the other source and its sink go on, and status
says what it did and which limit it met. tests/e2e/modules/rogue.c does what its instance name says."""
import os
import re
import signal

import pytest
from harness import wait_for

CONFIG = '''store = {{ size = "64M"; }};
sources = {{ {rogues} files = {{ module = "inotify"; paths = [ "{watched}" ]; }}; }};
sinks = {{ ops = {{ module = "http"; url = "{url}"; }};
          full = {{ module = "http"; url = "{url}/full"; queue = {{ size = "1M"; }}; }}; }};
rules = ( {{ name = "files"; from = [ "files" ]; to = [ "ops" ]; }}, {rules} );
'''
OWN = '{ name = "rogue"; from = [ "flood" ]; to = [ "full" ]; }'
NONE = '{ name = "none"; when = "subject == \'nothing\'"; to = [ "full" ]; }'


@pytest.fixture
def rogue(daemon, receiver, watched):
    """Starts a daemon with rogue sources of these names; their parts of the status, and that others go on."""
    daemon.own_programs("belfry-source-inotify", "belfry-sink-http", "tests/e2e/modules/belfry-source-rogue")

    class Rogue:
        def start(self, *names, rules=NONE):
            self.name = names[0]
            rogues = " ".join(f'{n} = {{ module = "rogue"; }};' for n in names)
            daemon.write(CONFIG.format(rogues=rogues, watched=watched, url=receiver.url, rules=rules))
            daemon.start(wait=False)
            wait_for(lambda: (s := daemon.status()) and s["sources"][-1]["state"] == "ready", "the other source", 60)

        def status(self, name=None):
            return next(s for s in daemon.status()["sources"] if s["name"] == (name or self.name))

        def told(self, words, name=None, state=None, seconds=60):
            """Its status with these words (a regular expression) as the reason, and the match."""
            def look():
                status = self.status(name)
                match = re.search(words, status["reason"] or "")
                return match and state in (None, status["state"]) and (status, match)
            return wait_for(look, f"{words} as the reason ({self.status(name)})", seconds)

        def others_go_on(self):
            before = len(receiver.all())
            (watched / f"f{before}").write_text("x")
            receiver.wait(before + 1, 30)
            assert receiver.all()[-1].event["data"]["name"] == f"f{before}"

    return Rogue()


def test_each_is_told_and_stays_alone(daemon, rogue):
    """One that ends at once, two that write garbage, one that never greets, one that is never ready."""
    rogue.start("exits", "garbage", "late-garbage", "mute", "unready")
    assert (rogue.status("mute")["state"], rogue.status("unready")["state"]) == ("starting", "starting")
    _, match = rogue.told(r"^ended with status 3; death (\d+) in a row, the next start waits (\d+) s \(at most 60\)$", "exits", "failed")
    deaths, wait = map(int, match.groups())
    assert wait == 2 ** max(deaths - 2, 0)
    rogue.told(rf"death {deaths + 1} in a row, the next start waits {2 ** max(deaths - 1, 0)} s", "exits", "failed")
    assert "ended with status 3" in daemon.belfry("status", check=1).stdout
    for name in ("garbage", "late-garbage"):
        rogue.told(r"^it broke the protocol: the peer sent .*; death \d+ in a row", name, "failed")
    rogue.others_go_on()
    rogue.told(r"^killed: it did not greet within 15 s; death \d+ in a row", "mute")
    status, _ = rogue.told("^not ready, and it has said nothing for 30 s$", "unready")
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
    rogue.start("flood", rules=OWN)
    daemon.belfry("pause", "full", check=0)
    rogue.told("it is paused and goes on sending, beyond its credit of 4 MiB")
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
    words = r"was killed by signal 6 .*; it had \d+ MiB of memory, a module may have 512"
    wait_for(lambda: rogue.status()["restarts"] >= 1, "its death", 150)
    assert re.fullmatch(words, rogue.status()["last_death"])
    assert re.search(r"restarted \d+ times, the last time: " + words, daemon.belfry("status").stdout)
    rogue.others_go_on()
