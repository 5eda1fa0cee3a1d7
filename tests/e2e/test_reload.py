# SPDX-License-Identifier: MIT
"""From one configuration to the next: what would newly be degraded is refused unless forced, by the
verb and by SIGHUP; what is owed to a sink that goes is kept or dropped, as asked."""
import json
import os
import signal
import threading

import pytest

from harness import BUILD, simple_config, wait_for


def two_sources(watched, other, url, sink=""):
    return simple_config(watched, url, sink=sink).replace(
        "sources = {", f'sources = {{ more = {{ module = "inotify"; paths = [ "{other}" ]; }};')


def refusals(daemon):
    return daemon.log.read_text().count("reload refused: ")


def test_a_missing_path_is_refused(daemon, receiver, watched, tmp_path):
    good = simple_config(watched, receiver.url)
    daemon.write(good)
    daemon.start()
    away = tmp_path / "away"
    daemon.write(two_sources(watched, away, receiver.url))
    r = daemon.belfry("reload", check=1)
    assert f"{daemon.config}:2:13: warning: sources.more.paths: would be degraded: {away}: No such file" in r.stderr
    assert "1 thing would newly be degraded; nothing was changed" in r.stderr and "--force" in r.stderr
    status = daemon.status()
    assert status["state"] == "running" and [s["name"] for s in status["sources"]] == ["files"]
    live = daemon.belfry("check", "--live", check=1)
    assert str(away) in live.stderr and "finds all it names" not in live.stdout

    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: refusals(daemon) == 1, "a refusal in the log")
    wait_for(lambda: f"sources.more.paths: would be degraded: {away}" in daemon.text(), "its reason in the log")
    assert daemon.status()["state"] == "running"

    forced = json.loads(daemon.belfry("reload", "--force", "--json", check=0).stdout)
    assert [d["path"] for d in forced["diagnostics"] if "degraded" in d["message"]] == ["sources.more.paths"] and forced["sources"] == 2
    daemon.wait_state("degraded")
    # What is degraded already is no reason to refuse, nor is what does not change.
    daemon.write(two_sources(watched, str(away) + "/below", receiver.url, sink="in_flight = 3;"))
    daemon.belfry("reload", check=0)
    away.mkdir()
    (away / "below").mkdir()
    daemon.wait_state("running")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: daemon.log.read_text().count("configuration reloaded: 2 sources") == 3, "a reload")
    assert refusals(daemon) == 1


def test_what_the_service_sees_of_its_credentials(daemon, receiver, watched, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "ops").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    daemon.write(simple_config(watched, receiver.url))
    daemon.start(env={"CREDENTIALS_DIRECTORY": str(credentials)})
    private = tmp_path / "private"
    for reference, words in (("credential:opps", "there is no such credential (add LoadCredential=opps:"),
                             (f"file:{private}", "No such file"),
                             (f"file:{watched}", "Is a directory")):
        daemon.write(simple_config(watched, receiver.url, sink=f'secret = "{reference}";'))
        assert words in daemon.belfry("reload", check=1).stderr
    private.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    private.chmod(0o644)
    daemon.write(simple_config(watched, receiver.url, sink=f'secret = [ "credential:ops", "file:{private}" ];'))
    assert "group or others can read" in daemon.belfry("reload", check=1).stderr
    private.chmod(0o600)
    daemon.belfry("reload", check=0)
    (watched / "x").write_text("x")
    assert receiver.wait(1)[0].headers["webhook-signature"].count("v1,") == 2
    assert daemon.status()["state"] == "running"


def test_other_things_that_would_be_degraded(daemon, receiver, watched, tmp_path):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    daemon.write(simple_config(watched, receiver.url, extra='control = { read = [ "nobody-of-this-name" ]; };'))
    assert "control: would be degraded: no such user or group: nobody-of-this-name" in \
        daemon.belfry("reload", check=1).stderr
    daemon.write(two_sources(watched, tmp_path, receiver.url))  # the state directory is below it
    assert "contains the state directory" in daemon.belfry("reload", check=1).stderr
    daemon.write(simple_config(watched, receiver.url, sink='ca = "/nonexistent/ca.pem";'))
    assert "sinks.ops.ca: would be degraded: /nonexistent/ca.pem: No such" in daemon.belfry("reload", check=1).stderr
    receiver.stop()
    daemon.belfry("pause", "ops", check=0)
    for i in range(200):
        (watched / f"{i:03d}").write_text("x")
    wait_for(lambda: daemon.sink()["bytes"] > 64 * 1024, "a queue")
    daemon.write(simple_config(watched, receiver.url, sink='queue = { size = "64K"; };'))
    assert "sinks.ops: would be degraded: it is owed more than queue.size" in daemon.belfry("reload", check=1).stderr
    assert daemon.status()["state"] == "running"


def test_a_module_of_another_build_is_refused(daemon, receiver, watched):
    daemon.own_programs("belfry-source-inotify", "belfry-sink-http", "tests/e2e/modules/belfry-source-asked")
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    program = daemon.programs / "belfry-source-asked"
    info = (BUILD / "build_id.h").read_text().split('"')[1].encode()
    other = daemon.directory / "other"
    other.write_bytes(program.read_bytes().replace(info, info[:-1] + b"#"))
    other.chmod(0o755)
    os.rename(other, program)
    daemon.write(simple_config(watched, receiver.url).replace("sources = {", 'sources = { new = { module = "asked"; };'))
    assert "restart belfryd after an upgrade" in daemon.belfry("reload", check=1).stderr
    assert daemon.status()["state"] == "running"


def gone(watched):
    return f'''store = {{ size = "64M"; }};
sources = {{ files = {{ module = "inotify"; paths = [ "{watched}" ]; }}; }};
'''


@pytest.fixture
def owing(daemon, receiver, watched):
    """A daemon whose sink is owed deliveries in every state; webhook-ids and bodies as sent so far."""
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    tried, never = [], threading.Event()

    def answer(request):
        tried.append(request)
        if "waits" in request.event["subject"]:
            return 503
        never.wait()
        return 200

    receiver.answer = answer
    (watched / "waits").write_text("x")
    wait_for(lambda: daemon.sink().get("last_status") == 503, "one that waits")
    for name in ("alone1", "alone2", "alone3"):
        (watched / name).write_text("x")
    wait_for(lambda: len(tried) == 4, "three on their way")
    os.kill(daemon.children()["belfry-sink-http"], signal.SIGKILL)
    wait_for(lambda: len(tried) == 5, "the first alone")
    daemon.belfry("pause", "ops", check=0)
    (watched / "fresh").write_text("x")
    wait_for(lambda: daemon.sink()["depth"] == 5, "five owed")
    daemon.tried = tried
    daemon.now = lambda: sorted(json.loads(daemon.belfry("why", i, "--json").stdout)[0]["routes"][0]["now"]
                                for i in {r.id for r in tried})
    yield daemon
    never.set()


def kept(daemon):
    return [(p["name"], p["depth"]) for p in daemon.status()["parked"]]


def test_what_a_removed_sink_is_owed_is_parked(owing, receiver, watched):
    daemon, good = owing, owing.config.read_text()
    before = {r.id: r.body for r in daemon.tried}
    assert daemon.now() == ["in flight", "to be sent alone", "to be sent alone", "waits for its next attempt"]
    daemon.write(gone(watched))
    assert "sink ops would go, but is still owed 5 deliveries" in daemon.belfry("reload", check=1).stderr
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: refusals(daemon) == 1, "a refusal in the log")
    assert "which is it?" in daemon.belfry("reload", "--park", "--drop", check=1).stderr
    assert daemon.sink()["depth"] == 5
    daemon.belfry("reload", "--park", check=0)
    assert kept(daemon) == [("ops", 5)]
    assert "sink ops is not configured: 5 deliveries are kept" in daemon.belfry("status").stdout
    daemon.belfry("reload", check=0)  # no reason to refuse any more
    daemon.kill()
    daemon.start()
    assert kept(daemon) == [("ops", 5)]
    n = len(daemon.tried)
    receiver.answer = lambda request: daemon.tried.append(request) or 200
    daemon.write(good)
    daemon.belfry("reload", check=0)
    daemon.belfry("resume", "ops", check=0)  # the pause survived too
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    after = {r.id: r.body for r in daemon.tried[n:]}
    assert len(after) == 5 and len(daemon.tried) - n == 5
    assert all(after[i] == body for i, body in before.items())
    assert kept(daemon) == [] and daemon.status()["state"] == "running"


@pytest.mark.parametrize("parked", [False, True], ids=["leaving", "parked-before"])
def test_what_a_removed_sink_is_owed_is_dropped(owing, receiver, watched, parked):
    daemon, good = owing, owing.config.read_text()
    ids = {r.id for r in daemon.tried}
    daemon.write(gone(watched))
    if parked:
        daemon.belfry("reload", "--park", check=0)
    assert "sinks.ops: dropped 5 deliveries" in daemon.belfry("reload", "--drop", check=0).stderr
    assert kept(daemon) == [] and daemon.status()["store"]["events"] == 0
    n = len(daemon.tried)
    receiver.answer = lambda request: daemon.tried.append(request) or 200
    daemon.write(good)
    daemon.belfry("reload", check=0)
    daemon.belfry("resume", "ops", check=0)
    (watched / "last").write_text("x")
    wait_for(lambda: daemon.sink()["delivered"] == 1, "life afterwards")
    assert [r.event["subject"] for r in daemon.tried[n:]] == [str(watched / "last")]
    for i in ids:
        assert "dropped with its sink" in daemon.belfry("why", i, check=0).stdout
    daemon.kill()
    daemon.start()
    assert daemon.sink()["depth"] == 0 and len(daemon.tried) == n + 1
