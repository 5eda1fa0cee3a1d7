# SPDX-License-Identifier: MIT
"""What an option promises, seen from outside, for those that no story of their own covers."""
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from harness import BUILD, simple_config, wait_for


def dead(daemon):
    return json.loads(daemon.belfry("dead", "ls", "--json", check=0).stdout)


def test_what_is_over_the_share_becomes_dead_and_the_oldest_go(daemon, receiver, watched):
    """queue.on_full = "dead" and store.dead_full = "drop-oldest": 400 KiB of dead letters stay."""
    config = simple_config(watched, receiver.url, sink='queue = { size = "64K"; on_full = "dead"; };')
    daemon.write(config.replace('size = "64M"', 'size = "4M"; dead_full = "drop-oldest"'))
    daemon.start()
    daemon.belfry("pause", "ops", check=0)
    names = [f"{n:04}-" + "x" * 200 for n in range(700)]
    for name in names:
        (watched / name).write_text("x")
    wait_for(lambda: daemon.status()["sources"][0]["events"] == 700, "every event to be taken", 60)
    wait_for(lambda: daemon.sink()["dead"] + daemon.sink()["depth"] == 700, "the rest to be dead", 30)
    queued = daemon.sink()["depth"]
    letters = wait_for(lambda: dead(daemon), "dead letters")
    kept = sorted(d["subject"].rsplit("/", 1)[1] for d in letters)
    assert {d["reason"] for d in letters} == {"queue-full"}
    assert queued < 200 and 100 < len(kept) < 700 - queued
    assert kept == names[-len(kept):], "the newest dead letters are kept"
    daemon.belfry("resume", "ops", check=0)
    receiver.wait(queued, 30)
    assert [r.event["data"]["name"] for r in sorted(receiver.all(), key=lambda r: r.event["subject"])] == names[:queued]


def test_a_capped_back_off(daemon, receiver, watched):
    """retry = { base, cap, attempts }: 700 ms, then never more than 1 s apart, at most 4 times."""
    receiver.answer = lambda request: 401
    sink = 'retry = { base = "700ms"; cap = "1s"; attempts = 4; };'
    daemon.write(simple_config(watched, receiver.url, sink=sink))
    daemon.start()
    (watched / "a").write_text("x")
    letter = wait_for(lambda: dead(daemon), "the delivery to be given up", 30)[0]
    assert (letter["reason"], letter["attempts"]) == ("client", 4)
    times = [r.at for r in receiver.all()]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert len(gaps) == 3 and gaps[0] >= 0.7 and gaps[1] >= 1 and 1 <= gaps[2] < 2.8  # the double of 1.4 s without a cap


def test_max_age_under_a_held_endpoint(daemon, receiver, watched):
    """What is older than max_age dies although the endpoint is held, and the end is on disk."""
    receiver.answer = lambda request: 503
    daemon.write(simple_config(watched, receiver.url, sink='max_age = "4s"; retry = { schedule = [ "0s", "1s", "1s", "1s", "1s" ]; };'))
    daemon.start()
    for n in range(8):
        (watched / str(n)).write_text("x")
    letters = wait_for(lambda: len(dead(daemon)) == 8 and dead(daemon), "all to be too old", 40)
    assert {(d["reason"], d["detail"]) for d in letters} >= {("expired", "older than max_age")}
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    daemon.kill()
    daemon.start()
    assert len(dead(daemon)) == 8
    assert quiet(daemon)


def quiet(daemon, seconds=1.0):
    """The hub has nothing to do: it uses less than a fifth of a processor."""
    ticks = lambda: sum(int(n) for n in Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13])
    def look():
        before, began = ticks(), time.monotonic()
        time.sleep(seconds)  # what is measured is this second
        return (ticks() - before) / os.sysconf("SC_CLK_TCK") < 0.2 * (time.monotonic() - began)
    return wait_for(look, "a quiet second", 15)


@pytest.mark.parametrize("status", (503, 429))
def test_a_pause_over_deliveries_that_are_due_costs_nothing(daemon, receiver, watched, status):
    receiver.answer = lambda request: status
    daemon.write(simple_config(watched, receiver.url, sink='retry = { schedule = [ "0s", "1s", "1s", "1h" ]; };'))
    daemon.start()
    for n in range(8):
        (watched / str(n)).write_text("x")
    wait_for(lambda: daemon.sink()["failed"] >= 8 or daemon.sink()["state"] == "held", "failures")
    daemon.belfry("pause", "ops", check=0)
    assert quiet(daemon, 2)
    receiver.answer = lambda request: 200
    daemon.belfry("resume", "ops", check=0)
    wait_for(lambda: daemon.sink()["depth"] == 0, "all to be delivered")
    assert len({r.id for r in receiver.all()}) == 8


@pytest.mark.parametrize("stop,at_most", (("1s", 7), ("60s", 30)))
def test_stop_waits_for_what_is_under_way(daemon, receiver, watched, stop, at_most):
    receiver.answer = lambda request: time.sleep(4) or 200
    daemon.write(simple_config(watched, receiver.url, extra=f'limits = {{ stop = "{stop}"; }};'))
    daemon.start()
    (watched / "a").write_text("x")
    wait_for(lambda: daemon.sink()["in_flight"] == 1, "the request to be under way")
    began = time.monotonic()
    assert daemon.stop(at_most) == 0
    took = time.monotonic() - began
    assert took < 4 if stop == "1s" else took > 2
    receiver.wait(1)
    receiver.answer = lambda request: 200
    daemon.start()
    if stop == "1s":  # it stayed in the queue
        assert len({r.id for r in receiver.wait(2)}) == 1
    else:
        assert daemon.sink()["depth"] == 0 and len(receiver.all()) == 1


def test_several_processes_deliver(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url, extra="limits = { sink_processes = 3; };"))
    daemon.start()
    assert [p["name"] for p in daemon.status()["sink_processes"]] == [f"sink process {n}" for n in (1, 2, 3)]
    for n in range(100):
        (watched / str(n)).write_text("x")
    assert len({r.id for r in receiver.wait(100)}) == 100


def test_an_unverified_certificate_shows_in_status(daemon, receiver, watched):
    url = receiver.url.replace("http:", "https:")
    words = "its certificate is not verified (verify = false)"
    for value in ("true", "false"):
        daemon.write(simple_config(watched, url, sink=f"verify = {value};"))
        daemon.belfry("reload", check=0) if daemon.process else daemon.start()
        assert daemon.sink()["verify"] is (value == "true")
        assert (words in daemon.belfry("status", check=0).stdout) == (value == "false")


def test_log_level(daemon, receiver, watched):
    config = simple_config(watched, receiver.url)
    daemon.write(config + 'log = { level = "err"; };')
    daemon.start()
    daemon.belfry("reload", check=0)
    assert daemon.text() == ""
    daemon.write(config + 'log = { level = "info"; };')
    daemon.belfry("reload", check=0)
    daemon.belfry("reload", check=0)
    wait_for(lambda: "reloaded" in daemon.text(), "the line of the reload")


def test_inject_is_a_role_of_its_own(daemon):
    """A name that does not exist is told and degrades; handing in events lets nobody look."""
    daemon.write('store = { size = "64M"; }; control = { inject = [ "nobody", "no-such-user" ]; read = [ "root" ]; };')
    daemon.start(state="degraded")
    told = "control: no such user or group: no-such-user; create it or correct the configuration, then: belfry reload"
    assert daemon.status()["problems"] == [told] and f"  {told}\n" in daemon.belfry("status", check=1).stdout
    if os.geteuid() == 0:
        r = subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", BUILD / "belfry", "--runtime-dir",
                            daemon.run, "status"], capture_output=True, text=True)
        assert r.returncode == 4, r


def test_body_file_and_a_rule_switched_off(daemon, receiver, watched):
    (daemon.directory / "body.json").write_text('{ "text": "${data.name} has ${data.size} bytes", "size": "${data.size}" }')
    config = simple_config(watched, receiver.url, rule='body_file = "body.json";')
    config = config.replace("rules = (", 'rules = ( { name = "off"; to = "ops"; enabled = false; },')
    daemon.write(config)
    daemon.start()
    (watched / "a").write_text("four")
    request = receiver.wait(1)[0]
    assert json.loads(request.body) == {"text": "a has 4 bytes", "size": 4} and "_" in request.id
    (watched / "b").write_text("x")
    receiver.wait(2)
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    assert len(receiver.all()) == 2
    assert "off" in daemon.belfry("rules", check=0).stdout


FILES = "when = \"type == 'file.created'\";"


def deep(watched):
    """A file whose path is about 3,000 bytes long."""
    directory = watched.joinpath(*("d" * 200 for _ in range(15)))
    directory.mkdir(parents=True)
    (directory / "deep").write_text("x")
    return directory / "deep"


def test_an_event_over_the_limit_comes_without_its_data(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url, rule=FILES, extra='limits = { event = "4K"; };'))
    daemon.start()
    path = deep(watched)
    (watched / "short").write_text("x")
    events = {r.event["subject"]: r.event for r in receiver.wait(2)}
    large = events[str(path)]
    assert large["type"] == "file.created" and events[str(watched / "short")]["data"]["name"] == "short"
    assert large["data"]["oversized"] is True and large["data"]["bytes"] > 4096 and len(large["data"]["sha256"]) == 64
    assert "name" not in large["data"]


def test_a_body_over_the_limit_is_a_dead_letter(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url, extra='limits = { body = "1K"; };', rule=FILES + 'body = { at = "${data.path}"; };'))
    daemon.start()
    path = deep(watched)
    letters = wait_for(lambda: dead(daemon), "the dead letter")
    assert [(d["subject"], d["reason"]) for d in letters] == [(str(path), "render-failed")], letters
    assert "limits.body" in letters[0]["detail"], letters
    (watched / "short").write_text("x")
    assert receiver.wait(1)[0].event == {"at": str(watched / "short")}


def test_method_format_and_headers(daemon, receiver, watched):
    sinks = "".join(f'{name} = {{ module = "http"; url = "{receiver.url}/{name}"; method = "{method}"; format = "{form}"; }};'
                    for name, method, form in (("whole", "PUT", "cloudevents"), ("binary", "PATCH", "cloudevents-binary"),
                                               ("plain", "POST", "data")))
    daemon.write(f'''store = {{ size = "64M"; }};
sources = {{ files = {{ module = "inotify"; paths = [ "{watched}" ]; }}; }};
sinks = {{ {sinks} }};
rules = ( {{ name = "all"; to = [ "whole", "binary", "plain" ]; headers = {{ X-File = "is ${{data.name}}"; }}; }} );''')
    daemon.start()
    (watched / "a").write_text("x")
    got = {r.path.rsplit("/", 1)[1]: r for r in receiver.wait(3)}
    whole, binary, plain = got["whole"], got["binary"], got["plain"]
    assert (whole.method, binary.method, plain.method) == ("PUT", "PATCH", "POST")
    assert whole.event["data"] == binary.event == plain.event and whole.event["data"]["name"] == "a"
    assert {r.headers["x-file"] for r in got.values()} == {"is a"}
    assert whole.headers["content-type"].startswith("application/cloudevents+json")
    for name in ("specversion", "id", "source", "type", "subject", "time"):
        assert binary.headers[f"ce-{name}"] == whole.event[name] and f"ce-{name}" not in plain.headers
