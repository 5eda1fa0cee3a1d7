# SPDX-License-Identifier: MIT
"""The app source through the real daemon: answers after the commit, in order; refusals; limits; kills."""
import json
import os
import signal
import socket
import time

import pytest
from harness import wait_for


def config(receiver, options="", extra=""):
    return f"""
sources = {{ apps = {{ module = "app"; {options} }}; }};
sinks = {{ hook = {{ module = "http"; url = "{receiver.url}"; }}; }};
rules = ( {{ name = "all"; from = [ "apps" ]; to = [ "hook" ]; }} );
{extra}
"""


def counts(daemon):
    return next(s for s in daemon.status()["sources"] if s["name"] == "apps")["watches"]


class Client:
    def __init__(self, daemon):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(daemon.run / "events"))
        self.answers = self.socket.makefile("rb")

    def send(self, *lines):
        self.socket.sendall(b"".join((l if isinstance(l, str) else json.dumps(l)).encode() + b"\n" for l in lines))

    def answer(self):
        line = self.answers.readline()
        return json.loads(line) if line else None

    def ask(self, *lines):
        self.send(*lines)
        return [self.answer() for _ in lines]


def test_pipelined_lines_are_answered_in_order(daemon, receiver):
    daemon.write(config(receiver))
    daemon.start()
    c = Client(daemon)
    answers = c.ask(*({"type": "backup.done", "id": f"k{i}", "subject": "db", "data": {"n": i}} for i in range(300)))
    assert len({a["id"] for a in answers}) == 300
    requests = receiver.wait(300)
    assert {r.id: r.event["data"]["n"] for r in requests} == {a["id"]: i for i, a in enumerate(answers)}
    assert requests[0].event["subject"] == "db" and requests[0].event["type"] == "backup.done"
    (made,) = c.ask({"type": "backup.done"})
    assert len(made["key"]) == 32 and made["id"] not in {a["id"] for a in answers}


def test_refusals_stand_in_their_place(daemon, receiver):
    daemon.write(config(receiver))
    daemon.start()
    c = Client(daemon)
    bad = ["{", "[]", {"subject": "x"}, {"type": "file.created"}, {"type": "Bad"}, {"type": "a.b", "more": 1},
           {"type": "a.b", "time": "today"}, {"type": "a.b", "id": ""}, {"type": "a.b", "data": 1},
           {"type": "a.b", "id": "x" * 257}, '{"type":"a.b","type":"a.c"}']
    answers = c.ask({"type": "a.first"}, *bad, {"type": "a.last"})
    assert ["error" in a for a in answers] == [False] + [True] * len(bad) + [False]
    c.send({"type": "a.whole"})
    c.socket.sendall(b'{"type":"a.half"}')
    c.socket.shutdown(socket.SHUT_WR)
    assert "id" in c.answer() and "id" in c.answer() and c.answer() is None
    receiver.wait(4)
    assert sorted(r.event["type"] for r in receiver.all()) == ["a.first", "a.half", "a.last", "a.whole"]


def test_limits(daemon, receiver):
    daemon.write(config(receiver, 'max_line = "1K"; rate = 50; connections = 2; line_timeout = "1s";'))
    daemon.start()
    c, half = Client(daemon), Client(daemon)
    assert "connections" in Client(daemon).answer()["error"]
    refused = daemon.belfry("emit", "a.b", "--timeout", "300ms", check=1).stderr
    assert "connections of this user" in refused and "was not taken" in refused
    half.socket.sendall(b'{"type":')
    assert "line_timeout" in half.answer()["error"] and half.answer() is None
    began = time.monotonic()
    assert all("id" in a for a in c.ask(*({"type": "a.b"} for _ in range(80))))
    assert time.monotonic() - began > 0.5  # 50 at once, 30 at 50 a second
    c.send({"type": "a.b", "data": {"x": "y" * 1024}})
    assert "max_line" in c.answer()["error"] and c.answer() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_who_may(daemon, receiver):
    daemon.write(config(receiver, extra='control = { admin = [ "root" ]; };'))
    daemon.start()
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            said = Client(daemon).answer()
            os.write(w, b"refused" if said and "error" in said else b"taken")
        except PermissionError:
            os.write(w, b"refused")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(r, 20) == b"refused"
    assert "id" in Client(daemon).ask({"type": "a.b"})[0]


def test_a_key_is_taken_once(daemon, receiver):
    daemon.write(config(receiver))
    daemon.start()
    c, other = Client(daemon), Client(daemon)
    line = {"type": "a.b", "id": "backup-2026-11-29"}
    first = c.ask(line)[0]
    assert c.ask(line, {**line, "data": {"n": 2}}) == other.ask(line) * 2 == [first] * 2
    made = c.ask({"type": "a.b"}, {"type": "a.b"})
    assert made[0]["id"] != made[1]["id"]
    # The second stands in the same batch as the first and waits for the same commit.
    assert len({a["id"] for a in c.ask(*[{"type": "a.b", "id": "twin"}] * 200)}) == 1
    (pid,) = [p for name, p in daemon.children().items() if name == "belfry-source-app"]
    os.kill(pid, signal.SIGKILL)
    assert Client(daemon).ask(line) == [first]
    daemon.kill()
    daemon.start()
    c = Client(daemon)
    assert c.ask(line) == [first]
    c.ask({"type": "a.last"})
    wait_for(lambda: receiver.of_type("a.last"), "the last event")
    wait_for(lambda: len({r.id for r in receiver.all()}) == 5, "five events")
    wait_for(lambda: counts(daemon)["keys"] == 2 and counts(daemon)["duplicates"] == 1, "the counts of the new process")


def test_a_key_is_forgotten_after_its_window(daemon, receiver):
    daemon.write(config(receiver, 'key_window = "2s"; keys = 2;'))
    daemon.start()
    c = Client(daemon)
    line = {"type": "a.window", "id": "w"}
    answer = c.ask(line)[0]
    began = time.time()
    while len(receiver.all()) < 2:
        assert c.ask(line) == [answer]
        assert time.time() < began + 20
    first, second = receiver.all()[:2]
    assert first.id == second.id == answer["id"]
    # The window counts whole seconds: it is over when two have changed.
    assert second.at - began > 0.9
    # Two are remembered: the third pushes out the first.
    c.ask({"type": "a.one", "id": "1"}, {"type": "a.two", "id": "2"}, {"type": "a.three", "id": "3"}, {"type": "a.one", "id": "1"})
    wait_for(lambda: len(receiver.of_type("a.one")) == 2, "the first again")


def test_acknowledged_survives_kills(daemon, receiver):
    receiver.answer = lambda request: 503
    daemon.write(config(receiver))
    daemon.start()
    told = [a["id"] for a in Client(daemon).ask(*({"type": "a.b", "id": f"k{i}"} for i in range(50)))]
    (pid,) = [p for name, p in daemon.children().items() if name == "belfry-source-app"]
    os.kill(pid, signal.SIGKILL)
    told += [a["id"] for a in Client(daemon).ask({"type": "a.b", "id": "k50"})]  # waits for the new process
    daemon.kill()
    receiver.answer = lambda request: 200
    daemon.start()
    wait_for(lambda: set(told) <= {r.id for r in receiver.all()}, "what was acknowledged")


class Datagrams:
    def __init__(self, daemon):
        self.path = str(daemon.run / "events.dgram")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(20)

    def send(self, *events):
        for e in events:
            self.socket.sendto(e if isinstance(e, bytes) else json.dumps(e).encode(), self.path)


def gaps(receiver):
    return [r.event["data"] for r in receiver.of_type("source.gap")]


def test_datagrams(daemon, receiver):
    daemon.write(config(receiver, 'max_line = "1K"; rate = 120;'))
    daemon.start()
    d = Datagrams(daemon)
    d.send(*({"type": "a.d", "id": f"d{i}", "data": {"n": i}} for i in range(100)))
    answer = Client(daemon).ask({"type": "a.d", "id": "d7"})[0]  # one space of keys
    wait_for(lambda: len(receiver.of_type("a.d")) == 100, "100 events")
    assert {r.event["data"]["n"] for r in receiver.of_type("a.d")} == set(range(100))
    assert answer["id"] in {r.id for r in receiver.of_type("a.d")}
    assert daemon.status()["state"] == "running"
    d.send(b"", b"{", {"type": "file.created"}, {"type": "a.long", "data": {"x": "y" * 1024}}, {"type": "a.good"})
    (gap,) = wait_for(lambda: gaps(receiver), "a gap")
    assert gap["reason"] == "dropped" and gap["detail"].startswith("4 datagrams were dropped: 3 no event"), gap
    assert "file.created" in gap["detail"] and "1 longer than max_line" in gap["detail"]
    wait_for(lambda: receiver.of_type("a.good"), "what came behind them")
    wait_for(lambda: counts(daemon)["datagrams"] == 105 and counts(daemon)["dropped"] == 4, "the counts")
    daemon.wait_state("degraded")
    daemon.belfry("gaps", "ack", check=0)
    daemon.wait_state()
    # Faster than their rate: dropped and counted, told at the end at the latest.
    total = dropped = 0
    while not dropped and total < 6000:  # this test itself may be held up
        d.send(*({"type": "a.fast", "data": {"n": i}} for i in range(total, total + 300)))
        total += 300
        wait_for(lambda: counts(daemon)["datagrams"] == 105 + total, "all of them read")
        dropped = counts(daemon)["dropped"] - 4
    assert dropped > 0 and wait_for(lambda: len(receiver.of_type("a.fast")) == total - dropped, "the others")
    daemon.stop()
    daemon.start(state="degraded")
    wait_for(lambda: len(gaps(receiver)) == 2, "the second gap")
    assert f"{dropped} datagrams were dropped: {dropped} over the rate" in gaps(receiver)[1]["detail"]


def test_datagrams_and_deaths(daemon, receiver):
    daemon.write(config(receiver))
    daemon.start()
    d = Datagrams(daemon)
    d.send({"type": "a.one"})
    receiver.wait(1)
    daemon.stop()
    daemon.start()  # running, not degraded: nothing can be missing
    d.send({"type": "a.two"})
    receiver.wait(2)
    os.kill(daemon.children()["belfry-source-app"], signal.SIGKILL)
    d.send({"type": "a.three"})  # waits in the hub's socket
    wait_for(lambda: receiver.of_type("a.three"), "what was sent meanwhile")
    wait_for(lambda: [g["reason"] for g in gaps(receiver)] == ["died"], "a gap")
    d.send({"type": "a.four"})
    wait_for(lambda: receiver.of_type("a.four"), "a datagram")
    daemon.kill()
    daemon.start(state="degraded")
    wait_for(lambda: [g["reason"] for g in gaps(receiver)] == ["died"] * 2, "another gap")


def test_full_queue(daemon, receiver):
    """The stream waits and loses nothing; datagrams wait for a moment, are dropped and told."""
    receiver.answer = lambda request: 503
    daemon.write(config(receiver).replace('url = "', 'queue = { size = "256K"; }; url = "'))
    daemon.start()
    c, d = Client(daemon), Datagrams(daemon)
    c.socket.settimeout(0.5)
    told, sent = set(), 0

    def state():
        return next(s for s in daemon.status()["sources"] if s["name"] == "apps")["state"]
    while state() != "paused":
        lines = [{"type": "a.s", "id": f"s{i}", "data": {"x": "x" * 1000}} for i in range(sent, sent + 50)]
        sent += 50
        c.send(*lines)
        try:
            told |= {c.answer()["id"] for _ in lines}
        except TimeoutError:
            break
    wait_for(lambda: state() == "paused", "a pause")
    began = time.monotonic()
    d.send(*({"type": "a.d"} for _ in range(100)))  # more than wait in the kernel
    assert time.monotonic() - began < 15
    wait_for(lambda: counts(daemon)["dropped"] > 0, "datagrams to be dropped")
    receiver.answer = lambda request: 200
    daemon.belfry("resume", "hook", check=0)
    wait_for(lambda: any("while the queue was full" in g["detail"] for g in gaps(receiver)), "the gap", 30)
    c.socket.settimeout(20)
    c = Client(daemon)
    told |= {a["id"] for a in c.ask(*({"type": "a.s", "id": f"s{i}", "data": {"x": "x" * 1000}} for i in range(sent)))}
    assert len(told) == sent
    wait_for(lambda: told <= {r.id for r in receiver.all()}, "all that was acknowledged")
