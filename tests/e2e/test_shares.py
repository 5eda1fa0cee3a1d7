# SPDX-License-Identifier: MIT
"""What is full stays alone: a sink at its share of the store, a sink that was disabled and left so, and
the dead letters' share. The other sinks and sources go on, and nothing is missing afterwards."""
import json

from harness import wait_for

CONFIG = '''store = {{ size = "16M"; }};
sources = {{ bad = {{ module = "inotify"; paths = [ "{watched}/bad" ]; }};
            good = {{ module = "inotify"; paths = [ "{watched}/good" ]; }}; }};
sinks = {{ full = {{ module = "http"; url = "{url}/full"; {full} }};
          ops = {{ module = "http"; url = "{url}/ops"; }}; }};
rules = ( {{ name = "bad"; from = [ "bad" ]; to = [ "full" ]; }},
          {{ name = "good"; from = [ "good" ]; to = [ "ops" ]; }} );
'''
SHARE = 'queue = { size = "1M"; };'


def configure(daemon, receiver, watched, answer, full=""):
    """The endpoint of the sink `full` gives this answer, that of `ops` 200."""
    for d in ("bad", "good"):
        (watched / d).mkdir(exist_ok=True)
    receiver.answer = lambda request: answer if request.path.endswith("/full") else 200
    daemon.write(CONFIG.format(watched=watched, url=receiver.url, full=full))
    daemon.start()


def source(daemon, name):
    return next(s for s in daemon.status()["sources"] if s["name"] == name)


def names(receiver, path):
    return {r.event["data"]["name"] for r in receiver.all() if r.path.endswith(path)}


def fill(daemon, watched):
    """Files for the sink `full` until the source that feeds it is paused. Returns their names."""
    made = []

    def more():
        for _ in range(200):
            made.append(f"f{len(made)}")
            (watched / "bad" / made[-1]).write_text("x")
        return source(daemon, "bad")["state"] == "paused"
    wait_for(more, "the source to be paused")
    return made


def others_go_on(daemon, receiver, watched, n=50):
    before = len(names(receiver, "/ops"))
    for i in range(n):
        (watched / "good" / f"g{before + i}").write_text("x")
    wait_for(lambda: len(names(receiver, "/ops")) == before + n, "the other sink to deliver")
    assert source(daemon, "good")["state"] == "ready"


def test_full_share_pauses_only_what_feeds_it(daemon, receiver, watched):
    configure(daemon, receiver, watched, 503, SHARE)
    made = fill(daemon, watched)
    full = daemon.sink("full")
    assert full["bytes"] <= full["share"] + (1 << 20), full  # a batch that was under way
    for i in range(len(made), len(made) + 500):  # seen while it is paused
        made.append(f"f{i}")
        (watched / "bad" / made[-1]).write_text("x")
    others_go_on(daemon, receiver, watched)
    assert source(daemon, "bad")["state"] == "paused"
    depth = daemon.sink("full")["depth"]
    assert depth < len(made)
    # A restart changes nothing of that.
    daemon.stop()
    daemon.start(wait=False)
    wait_for(lambda: (s := daemon.status()) and source(daemon, "good")["state"] == "ready", "a new daemon")
    others_go_on(daemon, receiver, watched)
    wait_for(lambda: source(daemon, "bad")["state"] == "paused", "the source to be paused again")
    assert daemon.sink("full")["depth"] >= depth
    receiver.answer = lambda request: 200
    daemon.belfry("resume", "full", check=0)
    wait_for(lambda: names(receiver, "/full") >= set(made), "all that waited", 60)
    wait_for(lambda: source(daemon, "bad")["state"] == "ready", "the source to go on")
    wait_for(lambda: daemon.sink("full")["depth"] == 0, "an empty queue")
    accepted = [r.id for r in receiver.all() if r.path.endswith("/full") and r.event["type"] == "file.created"]
    assert len(set(accepted)) == len(made)


def test_disabled_for_long(daemon, receiver, watched):
    configure(daemon, receiver, watched, 410, SHARE)
    (watched / "bad/first").write_text("x")
    wait_for(lambda: daemon.sink("full")["state"] == "disabled", "a disabled sink")
    made = fill(daemon, watched)
    others_go_on(daemon, receiver, watched)
    assert names(receiver, "/full") == {"first"}
    receiver.answer = lambda request: 200
    daemon.belfry("resume", "full", check=0)
    wait_for(lambda: names(receiver, "/full") == {"first", *made}, "all that was held", 60)


def test_reload_under_pressure(daemon, receiver, watched):
    """What feeds a full sink may change: the source is released, another one is paused."""
    configure(daemon, receiver, watched, 503, SHARE)
    fill(daemon, watched)
    text = daemon.config.read_text()
    daemon.write(text.replace('from = [ "bad" ]', 'from = [ "good" ]'))
    daemon.belfry("reload", check=0)
    wait_for(lambda: source(daemon, "bad")["state"] == "ready", "the source to go on")
    wait_for(lambda: source(daemon, "good")["state"] == "paused", "the other one to be paused")
    daemon.write(text)
    daemon.belfry("reload", check=0)
    wait_for(lambda: source(daemon, "good")["state"] == "ready", "the first rules again")
    wait_for(lambda: source(daemon, "bad")["state"] == "paused", "the first source to be paused again")


def test_full_dead_letters(daemon, receiver, watched):
    """The default, dead_full = "pause": what is refused stays in the queue of its sink."""
    configure(daemon, receiver, watched, 422)
    made = 0

    def more():  # no faster than they die, or the sink's own share is full first and the source is paused
        nonlocal made
        status = daemon.status()
        if next(x for x in status["sinks"] if x["name"] == "full")["depth"] < 400:
            for _ in range(200):
                (watched / "bad" / f"f{made}").write_text("x")
                made += 1
        return status["store"]["dead_bytes"] >= status["store"]["size"] // 10
    wait_for(more, "a full share of dead letters", 60)
    for i in range(made, made + 100):
        (watched / "bad" / f"f{i}").write_text("x")
    made += 100
    others_go_on(daemon, receiver, watched)
    wait_for(lambda: daemon.status()["dead"] + daemon.sink("full")["depth"] == made, "each to be dead or queued")
    assert daemon.sink("full")["depth"] >= 100
    dead = daemon.status()["dead"]
    receiver.answer = lambda request: 200
    json.loads(daemon.belfry("dead", "retry", "--all", "--json").stdout or "{}")
    wait_for(lambda: daemon.status()["dead"] == 0, f"{dead} letters to be retried", 60)
    daemon.belfry("resume", "full", check=0)  # what waits for room asks every five minutes; at once by hand
    wait_for(lambda: daemon.sink("full")["depth"] == 0, "an empty queue", 60)
    assert names(receiver, "/full") == {f"f{i}" for i in range(made)}
