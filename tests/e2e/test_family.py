# SPDX-License-Identifier: MIT
"""The family of processes: a hung one is reaped before its work is done again, a dead one is back at once
and then not so fast, a second one carries what the first has no room for; what they do not inherit."""
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from harness import simple_config, wait_for


def born(pid):
    """When that process came to be, CLOCK_BOOTTIME, to a hundredth of a second."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat[stat.rindex(")") + 2:].split()[19]) / os.sysconf("SC_CLK_TCK")


def source_pids(daemon):
    status = daemon.status()
    return {s["name"]: s["pid"] for s in status["sources"] if s["pid"]} if status else {}


def sink_processes(daemon):
    return {p["name"]: p for p in daemon.status()["sink_processes"]}


def test_a_hung_sink_process_is_reaped_before_its_work_is_done_again(daemon, receiver, watched):
    """It stands still with a request under way; its endpoint must not hear of that event from another one
    as long as the first could go on."""
    go, seen = threading.Event(), []

    def answer(request):
        seen.append((request.id, os.path.exists(f"/proc/{hung}")))
        if len(seen) == 1:
            go.wait()
        return 200

    daemon.write(simple_config(watched, receiver.url, sink='timeout = "1s";'))
    daemon.start()
    hung = sink_processes(daemon)["sink process 1"]["pid"]
    receiver.answer = answer
    (watched / "a").write_text("x")
    wait_for(lambda: seen, "the request")
    os.kill(hung, signal.SIGSTOP)
    try:
        wait_for(lambda: len(seen) == 2, "the request to be made again", 90)
    finally:
        go.set()
    assert seen[0][1] and seen[1] == (seen[0][0], False)
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    assert "killed: an attempt is out far beyond its time-out" in daemon.text()
    daemon.wait_state()
    (watched / "b").write_text("x")
    wait_for(lambda: daemon.sink()["delivered"] == 2, "life afterwards")


def test_a_dead_module_is_back_at_once_then_not_so_fast(daemon, receiver, tmp_path):
    names = [f"s{i}" for i in range(5)]
    for name in names:
        (tmp_path / name).mkdir()
    sources = "".join(f'{n} = {{ module = "inotify"; paths = [ "{tmp_path}/{n}" ]; }};' for n in names)
    daemon.write(f'store = {{ size = "64M"; }}; sources = {{ {sources} }};')
    daemon.start()

    def deaths(seconds):
        """Kills each of them; after how long a new one was there."""
        took = {}
        for name in names:
            old = source_pids(daemon)[name]
            at = time.clock_gettime(time.CLOCK_BOOTTIME)
            os.kill(old, signal.SIGKILL)
            new = wait_for(lambda: (p := source_pids(daemon).get(name)) != old and p, f"a new {name}", seconds)
            took[name] = born(new) - at
            wait_for(lambda: all(s["state"] == "ready" for s in daemon.status()["sources"]), "it to be ready")
        return took

    first = deaths(20)
    assert min(first.values()) < 0.2, first  # the others may have waited for a busy machine
    second = deaths(30)
    assert all(0.9 < t for t in second.values()), second
    assert {s["restarts"] for s in daemon.status()["sources"]} == {2}
    third = source_pids(daemon)["s0"]
    at = time.clock_gettime(time.CLOCK_BOOTTIME)
    os.kill(third, signal.SIGKILL)
    state = wait_for(lambda: (s := daemon.status()["sources"][0])["pid"] != third and s, "its death to be seen")
    if not state["pid"]:
        assert state["state"] == "failed" and "killed by signal 9" in state["reason"]
        assert daemon.status()["state"] == "degraded"
    new = wait_for(lambda: (p := source_pids(daemon).get("s0")) != third and p, "a new one")
    assert born(new) - at > 1.9
    daemon.wait_state()


def test_the_second_process_takes_what_the_first_has_no_room_for(daemon, receiver, watched):
    go, lock, paths = threading.Event(), threading.Lock(), []

    def answer(request):
        with lock:
            paths.append(request.path)
        go.wait()
        return 200

    receiver.answer = answer
    daemon.write(simple_config(watched, receiver.url, sink="in_flight = 300;", extra="limits = { sink_processes = 2; };"))
    daemon.start()
    for n in range(300):
        (watched / str(n)).write_text("x")
    try:
        wait_for(lambda: daemon.sink()["in_flight"] == 300, "300 requests under way", 60)
        carried = [p["in_flight"] for p in daemon.status()["sink_processes"]]
        assert len(carried) == 2 and sum(carried) == 300 and max(carried) <= 256 and min(carried) >= 44, carried
        wait_for(lambda: len(paths) == 300, "all to be asked", 60)
    finally:
        go.set()
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue", 60)
    assert len({r.id for r in receiver.all()}) == 300 == len(receiver.all())


def test_a_slow_endpoint_leaves_half_of_the_slots(daemon, receiver, watched):
    """While another waits one that hangs gets no more than half of the 256 slots; else it may have all."""
    go, answered, all_of_it = threading.Event(), threading.Semaphore(0), threading.Event()

    def answer(request):
        if request.path.endswith("/slow"):
            go.wait()
        elif not all_of_it.is_set():
            answered.acquire()
        return 200

    def numbers():
        return [(daemon.sink(s)["delivered"], daemon.sink(s)["in_flight"]) for s in ("slow", "ops")]

    receiver.answer = answer
    daemon.write(f'''store = {{ size = "64M"; }};
sources = {{ files = {{ module = "inotify"; paths = [ "{watched}" ]; }}; }};
sinks = {{ slow = {{ module = "http"; url = "{receiver.url}/slow"; in_flight = 400; timeout = "10m"; }};
          ops = {{ module = "http"; url = "{receiver.url}/ops"; in_flight = 400; timeout = "10m"; }}; }};
rules = ( {{ name = "all"; from = [ "files" ]; to = [ "slow", "ops" ]; }} );
limits = {{ sink_processes = 1; }};
''')
    daemon.start()
    daemon.belfry("pause", "slow", check=0)
    try:
        for n in range(400):
            (watched / str(n)).write_text("x")
        wait_for(lambda: numbers() == [(0, 0), (0, 256)], "the only one that may send to have all slots", 60)
        wait_for(lambda: daemon.sink("slow")["depth"] == daemon.sink("ops")["depth"] == 400, "both to have a queue", 60)
        daemon.belfry("resume", "slow", check=0)
        answered.release(150)  # 128 of these slots go to the one that waits, the others do not
        wait_for(lambda: numbers() == [(0, 128), (150, 128)], "half of the slots for each", 60)
        all_of_it.set()
        answered.release(400)
        wait_for(lambda: daemon.sink("ops")["depth"] == 0, "the other one to get all of its own", 90)
        wait_for(lambda: numbers() == [(0, 256), (400, 0)], "the slow one to have the slots nobody waits for", 60)
    finally:
        all_of_it.set()
        answered.release(400)
        go.set()
    wait_for(lambda: daemon.sink("slow")["depth"] == 0, "an empty queue", 90)


@pytest.mark.parametrize("how", ("stop", "kill"))
def test_a_pause_survives(daemon, receiver, watched, how):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    daemon.belfry("pause", "ops", check=0)
    getattr(daemon, how)()
    daemon.start()
    assert daemon.sink()["state"] == "paused"
    (watched / "a").write_text("x")
    wait_for(lambda: daemon.sink()["depth"] == 1, "one held delivery")
    getattr(daemon, how)()
    daemon.start()
    assert daemon.sink()["state"] == "paused" and daemon.sink()["depth"] == 1 and receiver.all() == []
    daemon.belfry("resume", "ops", check=0)
    assert receiver.wait(1)[0].event["data"]["name"] == "a"
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    getattr(daemon, how)()
    daemon.start()
    assert daemon.sink()["state"] == "ready"


def test_the_daemons_proxies_are_nobodys(daemon, receiver, watched):
    """Proxies of the environment would go round every guard of the sink."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        proxy = f"http://127.0.0.1:{trap.getsockname()[1]}"
        names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        daemon.write(simple_config(watched, receiver.url))
        daemon.start(env={**{n: proxy for n in names}, "no_proxy": ""})
        assert all(n.encode() in Path(f"/proc/{daemon.process.pid}/environ").read_bytes() for n in names)
        (watched / "a").write_text("x")
        assert receiver.wait(1)[0].event["data"]["name"] == "a"
        assert "200" in daemon.belfry("ping", "ops", check=0).stdout
        wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()
