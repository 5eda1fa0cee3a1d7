# SPDX-License-Identifier: MIT
"""One event at which the hub dies, again and again, or a sink: it is set aside, it is told, and everything
else goes on. Killed by fail points at one event, and by the real crash of a sink process."""
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from harness import simple_config, wait_for


def dead(daemon):
    return json.loads(daemon.belfry("dead", "ls", "--json", check=0).stdout)


def dies(daemon, point, first=None):
    """A new hub that is killed at that point. `first` is done once it is up."""
    daemon.start(wait=first is not None, env={"BELFRY_FAILPOINT": point})
    if first:
        first()
    assert daemon.process.wait(20) == -signal.SIGKILL, daemon.text()


def holder(daemon, port):
    """The sink process whose socket has that local port."""
    sockets = {int(f[1].split(":")[1], 16): f[9] for f in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])}
    for p in Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split():
        try:
            if any(os.readlink(fd) == f"socket:[{sockets[port]}]" for fd in Path(f"/proc/{p}/fd").iterdir()):
                return int(p)
        except OSError:
            continue
    return None


def names(receiver):
    return sorted(r.event["data"]["name"] for r in receiver.all())


def queued(daemon, receiver, watched, n=5):
    """So many events in the queue of a paused sink, in the order of their names; no hub is running."""
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    daemon.belfry("pause", "ops", check=0)
    for i in range(n):
        (watched / f"f{i}").write_text("x")
        wait_for(lambda: daemon.sink()["depth"] == i + 1, "it to be queued")
    daemon.kill()


@pytest.mark.parametrize("deaths", (2, 3))
def test_a_stored_event_the_hub_dies_at(daemon, receiver, watched, deaths):
    queued(daemon, receiver, watched)
    dies(daemon, "hub.attempt-built:3", lambda: daemon.belfry("resume", "ops"))
    for _ in range(deaths - 1):
        dies(daemon, "hub.attempt-built:3")
    assert receiver.all() == []
    if deaths == 2:
        daemon.start()
        receiver.wait(5)
        assert names(receiver) == [f"f{i}" for i in range(5)] and dead(daemon) == []
        return
    daemon.start(state="degraded")
    receiver.wait(4)
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    assert names(receiver) == ["f0", "f1", "f3", "f4"]
    (letter,) = dead(daemon)
    assert (letter["reason"], letter["subject"], letter["sink"], letter["rule"]) == ("quarantined", str(watched / "f2"), "ops", "all")
    assert letter["detail"] == "belfryd died three times at this event"
    told = f"belfryd died three times at an event: it is quarantined as dead letter {letter['number']}"
    assert told in daemon.status()["problems"][0] and told in daemon.belfry("status", check=1).stdout
    # It is told until somebody acts, over restarts too; then it goes the way of any dead letter.
    daemon.stop()
    daemon.start(state="degraded")
    assert told in daemon.status()["problems"][0]
    daemon.belfry("dead", "retry", letter["number"], check=0)
    again = receiver.wait(5)[4]
    assert again.id == letter["id"] and again.event["data"]["name"] == "f2"
    daemon.wait_state("running")


def test_setting_it_aside_is_deadly_too(daemon, receiver, watched):
    queued(daemon, receiver, watched)
    dies(daemon, "hub.attempt-built:3", lambda: daemon.belfry("resume", "ops"))
    for _ in range(2):
        dies(daemon, "hub.attempt-built:3")
    dies(daemon, "store.before-commit:2")  # the first one says that it died again
    daemon.start(state="degraded")
    receiver.wait(4)
    assert names(receiver) == ["f0", "f1", "f3", "f4"] and dead(daemon) == []
    status = daemon.status()
    assert status["store"]["quarantined"] == 1 and "set aside" in status["problems"][0]
    (watched / "last").write_text("x")
    assert receiver.wait(5)[4].event["data"]["name"] == "last"
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")


@pytest.mark.parametrize("deaths", (2, 3))
def test_an_event_the_hub_dies_at_before_it_is_stored(daemon, receiver, watched, deaths):
    daemon.write(simple_config(watched, receiver.url))
    dies(daemon, "hub.event-routed:1", lambda: (watched / "poison").write_text("x"))
    for _ in range(deaths - 1):
        dies(daemon, "hub.event-routed:1")
    if deaths == 2:
        daemon.start()
        assert receiver.wait(1)[0].event["data"]["name"] == "poison" and dead(daemon) == []
        return
    daemon.start(wait=False)
    letter = wait_for(lambda: daemon.status() and dead(daemon), "a dead letter")[0]
    assert (letter["reason"], letter["subject"], letter["sink"], letter["rule"]) == ("quarantined", str(watched / "poison"), "-", "-")
    (watched / "good").write_text("x")
    assert receiver.wait(1)[0].event["data"]["name"] == "good"
    daemon.wait_state("degraded")
    daemon.stop()
    daemon.start(state="degraded")
    assert f"quarantined as dead letter {letter['number']}" in daemon.status()["problems"][0]
    daemon.belfry("dead", "retry", "--all", check=0)  # now the rules see it
    again = receiver.wait(2)[1]
    assert again.id == letter["id"] and again.event["data"]["name"] == "poison"
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    daemon.wait_state("running")
    daemon.stop()
    daemon.start()
    assert dead(daemon) == [] and len(receiver.all()) == 2


def test_an_event_whose_envelope_is_deadly(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url))
    dies(daemon, "hub.event-arrived:1", lambda: (watched / "poison").write_text("x"))
    for _ in range(3):
        dies(daemon, "hub.event-arrived:1")
    daemon.start(wait=False)
    letter = wait_for(lambda: daemon.status() and dead(daemon), "a dead letter")[0]
    assert letter["reason"] == "quarantined" and letter["type"] == "file.created"
    assert "withheld" in daemon.belfry("dead", "show", letter["number"], check=0).stdout
    (watched / "good").write_text("x")
    assert receiver.wait(1)[0].event["data"]["name"] == "good"
    daemon.belfry("dead", "drop", letter["number"], check=0)
    daemon.wait_state("running")


@pytest.mark.parametrize("hub", ("lives", "is killed in between", "is killed while it is out"))
def test_an_event_a_sink_dies_of(daemon, receiver, watched, hub):
    """A sink process really crashes whenever it has sent this one: in company, then three times alone. A
    death once seen is never forgotten; what a killed hub had out is nobody's death and goes out once more."""
    crashed, company, lock, held, go = [], threading.Event(), threading.Lock(), threading.Event(), threading.Event()

    def answer(request):
        if request.event["data"]["name"] != "poison":
            company.wait(30)
            return 200
        with lock:
            pid = holder(daemon, request.from_port)
            crashed.append((request.id, request.body, pid))
            if hub != "lives" and len(crashed) == 3:
                held.set()
                go.wait(60)
                if hub == "is killed while it is out":
                    return 200
            if pid:
                os.kill(pid, signal.SIGABRT)
        company.set()
        return 200

    receiver.answer = answer
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    for name in ("a", "b", "poison", "c", "d"):
        (watched / name).write_text("x")
    if hub != "lives":
        assert held.wait(60), "it is out alone for the second time"
        if hub == "is killed in between":
            daemon.belfry("pause", "ops", check=0)  # so that no third follows
            go.set()
            wait_for(lambda: daemon.log.read_text().count("was killed by signal 6") == 3, "the hub to see it")
            assert daemon.status()["sinks"][0]["state"] == "paused"  # an answer comes when it is done with the death
        daemon.kill()
        go.set()
        daemon.start(wait=False)
        if hub == "is killed in between":
            wait_for(daemon.status, "it to be up")
            daemon.belfry("resume", "ops", check=0)
    letter = wait_for(lambda: daemon.status() and dead(daemon), "a dead letter", 60)[0]
    assert (letter["reason"], letter["subject"]) == ("sink-crashed", str(watched / "poison"))
    times = 5 if hub == "is killed while it is out" else 4
    assert len(crashed) == times and len({c[:2] for c in crashed}) == 1 and all(c[2] for c in crashed), crashed
    wait_for(lambda: daemon.sink()["depth"] == 0, "the rest to be delivered")
    (watched / "last").write_text("x")
    wait_for(lambda: {"a", "b", "c", "d", "last"} <= set(names(receiver)), "life afterwards")
    assert len(dead(daemon)) == 1 and len(crashed) == times
    daemon.wait_state("running")
